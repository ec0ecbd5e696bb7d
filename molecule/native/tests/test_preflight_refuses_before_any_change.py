# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is refused by the role preflight, in one sentence that names the cure, before anything changed."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fleet_world import Run, World
from secret_scan import SecretScan, leaves

# Debian 12's own series.
OLD_CORE = "ansible-core>=2.14,<2.15"
# The last Python that it runs on.
OLD_CORE_PYTHON = (3, 11)
FREE_PORT = 9443
FAILURE = re.compile(r"fatal: \[(\S+)\]: FAILED! => (\{.*\})")
# What only a run changes; the services of a node write elsewhere.
WATCHED = ["/etc/dcta", "/etc/systemd/system", "/opt/dcta", "/usr/local/lib/dcta", "/var/lib/dpkg/status"]
PLANTED = "planted-password-of-this-test"


def account(**changes: Any) -> dict[str, Any]:
    """Return an account that would be good, with some changes."""
    return {"name": "alice", "email": "somebody@example.org", "password": PLANTED, **changes}


def foreign_key(_world: World) -> dict[str, Any]:
    """Return a private key that belongs to another certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"dcta_tls_private_key": pem}


REFUSALS: dict[str, tuple[Callable[[World], dict[str, Any]], str]] = {
    "key-of-another-certificate": (foreign_key, "dcta_tls_private_key does not belong to .*: give the matching pair"),
    "no-certificate": (
        lambda _world: {"dcta_tls_certificate": "none"},
        "dcta_tls_certificate holds no certificate .*: give the",
    ),
    "undefined-vault-value": (
        lambda _world: {"dcta_accounts": [account(), account(name="bob", password="{{ vault_bob_password }}")]},
        "dcta_accounts cannot be read, because 'vault_bob_password' is undefined: define it in the vault",
    ),
    "undefined-api-key": (
        lambda _world: {"dcta_api_keys": [{"name": "web", "key": "{{ vault_web_key }}"}]},
        "dcta_api_keys cannot be read, because 'vault_web_key' is undefined: define it in the vault",
    ),
    "undefined-private-key": (
        lambda _world: {"dcta_tls_private_key": "{{ vault_private_key }}"},
        "dcta_tls_private_key holds no unencrypted private key in PEM: put it into the vault",
    ),
    "empty-vault-value": (
        lambda _world: {"dcta_accounts": [account(password="")]},
        "account alice has an empty password: give its value in the vault",
    ),
    "no-api-keys": (
        lambda _world: {"dcta_api_keys": []},
        "dcta_api_keys holds no key: define at least one in the vault",
    ),
    "unknown-account-key": (
        lambda _world: {"dcta_accounts": [account(pasword=PLANTED)]},
        "account alice has the unknown key pasword: the keys are",
    ),
    "two-accounts-of-one-name": (
        lambda _world: {"dcta_accounts": [account(), account()]},
        "two accounts are named alice: give each its own name",
    ),
    "misspelt-setting": (
        lambda world: {"dcta_acounts": world.vault["dcta_accounts"]},
        "the setting dcta_acounts does not exist: the settings are .*dcta_accounts",
    ),
    "proxy-that-is-down": (
        lambda _world: {"dcta_proxy": f"http://user:{PLANTED}@127.0.0.1:9"},
        r"the proxy 127\.0\.0\.1:9 of accounts? .* cannot be reached \(connection refused\): start it, or correct",
    ),
}


@pytest.fixture
def _unchanged(world: World) -> Iterator[None]:
    def state() -> list[str]:
        command = ["find", *WATCHED, "-printf", "%p %T@ %C@\\n"]
        return [world.root_text(node, *command) for node in world.nodes]

    before = state()
    yield
    same = state() == before
    assert same, "the run that was refused changed a file"


def assert_refused(world: World, run: Run, sentence: str, hosts: list[str]) -> None:
    """Hold a refused run against what an operator may expect.

    Args:
        world: the world.
        run: the run.
        sentence: a pattern of what it had to say.
        hosts: the hosts that had to say it.
    """
    assert run.status != 0
    failures = {host: json.loads(result)["msg"] for host, result in FAILURE.findall(run.text)}
    assert sorted(failures) == sorted(hosts), run.tail
    for message in failures.values():
        assert re.search(sentence, message), message
        assert message.endswith(".")
        assert "\n" not in message
        assert ". " not in message
    assert set(run.changed.values()) == {0}
    scan = SecretScan()
    texts = [*leaves(world.vault["dcta_accounts"], "account"), *leaves(world.vault["dcta_api_keys"], "API key")]
    scan.plant({name: text for name, text in texts if not name.endswith((".name", ".node"))} | {"planted": PLANTED})
    found = scan.found_in(run.text.encode())
    assert found == set()


@pytest.mark.usefixtures("_unchanged")
@pytest.mark.parametrize(("settings", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_settings_that_cannot_work_are_refused(
    settings: Callable[[World], dict[str, Any]], sentence: str, world: World
) -> None:
    run = world.playbook("site.yml", settings=settings(world), environment={"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"})
    assert_refused(world, run, sentence, list(world.nodes))


@pytest.mark.usefixtures("_unchanged")
def test_a_port_that_somebody_else_uses_is_refused(world: World) -> None:
    name = world.first.name
    unit = "port-taken-by-a-test"
    command = ["python3", "-m", "http.server", str(FREE_PORT)]
    world.root_run(name, "systemd-run", "--quiet", "--collect", f"--unit={unit}", *command)
    try:
        waiting = f"until ss --listening --tcp --numeric | grep --quiet :{FREE_PORT}; do sleep 0.1; done"
        world.root_run(name, "timeout", "20", "sh", "-c", waiting)
        run = world.playbook(
            "site.yml",
            settings={"dcta_listen": f"0.0.0.0:{FREE_PORT}"},
            environment={"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        )
    finally:
        world.root_run(name, "systemctl", "stop", unit)
    sentence = f"port {FREE_PORT} is in use by python3: stop it or choose another port in dcta_listen"
    assert_refused(world, run, sentence, [name])


@pytest.fixture(scope="session")
def old_ansible(world: World) -> Path:
    """An ``ansible-playbook`` of the series that Debian 12 ships, kept for the next time."""
    folder = world.state / "ansible-core-2.14"
    program = folder / "bin/ansible-playbook"
    if not program.exists():
        python = sys.executable if sys.version_info[:2] <= OLD_CORE_PYTHON else shutil.which("python3.11")
        if python is None:
            pytest.skip(f"{OLD_CORE} needs Python 3.11 or older, here is only {platform.python_version()}")
        subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=300)
        install = [
            str(folder / "bin/python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            OLD_CORE,
        ]
        subprocess.run(install, check=True, timeout=300)
    return program


@pytest.mark.usefixtures("_unchanged")
def test_an_ansible_that_is_too_old_is_refused(world: World, old_ansible: Path) -> None:
    run = world.playbook("site.yml", program=str(old_ansible), environment={"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"})
    sentence = r"ansible-core 2\.14\.\d+ is too old, 2\.17 or newer is needed: install it .* pipx install ansible-core"
    assert_refused(world, run, sentence, [world.first.name])
