# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is seen anywhere: a canary leaked on purpose is found in each place, and then no planted secret in any.

Two runs change every secret and change it back, with -vvv and --diff, and all that time the process lists of the nodes
are watched.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fleet_world import World
from secret_scan import SecretScan, key_lines, leaves

PLACES = (
    "output",
    "encoded output",
    "journal",
    "log",
    "command line",
    "environment",
    "readable file",
    "facts",
    "fact cache",
)
STOP = "/run/watched-by-a-test"
PUBLIC = "/opt/leaked-by-a-test"
LOGGED = "/var/log/dcta/leaked-by-a-test.log"
FACT = "/etc/ansible/facts.d/leaked.fact"

# Remembers every command line and environment that it ever saw, until it is told to stop.
WATCH = f"""
import pathlib, sys, time
seen = set()
while not pathlib.Path("{STOP}").exists():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                seen.add((name, (process / name).read_bytes()))
            except OSError:
                pass
    time.sleep(0.1)
for name, data in seen:
    sys.stdout.buffer.write(name.encode() + b" " + data.replace(b"\\n", b" ") + b"\\n")
"""

LEAK = f"""
import os, pathlib, subprocess, syslog
canaries = CANARIES
syslog.syslog(canaries["journal"])
pathlib.Path("{LOGGED}").write_text(canaries["log"])
public = pathlib.Path("{PUBLIC}")
public.write_text(canaries["readable file"])
public.chmod(0o644)
fact = pathlib.Path("{FACT}")
fact.parent.mkdir(parents=True, exist_ok=True)
fact.write_text('{{"leaked": "%s"}}' % canaries["facts"])
fact.chmod(0o755 & ~0o111)
subprocess.run(["sh", "-c", "sleep 2; :", canaries["command line"]], check=True)
subprocess.run(["sleep", "2"], env={{"PATH": os.environ["PATH"], "LEAK": canaries["environment"]}}, check=True)
"""

# What only the node knows.
KNOWN_TO_THE_NODE = """
import json, pathlib
known = {}
for file in pathlib.Path("/var/lib/dcta/tokens").glob("[!.]*.json"):
    for key, value in json.loads(file.read_text()).items():
        if key in ("access_token", "refresh_token") and value:
            known[f"{key} of {file.stem}"] = value
for file in pathlib.Path("/run/dcta-lanes").glob("*.json"):
    for key, value in json.loads(file.read_text()).items():
        if value:
            known[f"{key} of lane {file.stem}"] = value
for file in pathlib.Path("/var/lib/private/dcta-api").glob("*/.env"):
    known[f"admin password of {file.parent.name}"] = file.read_text().partition("=")[2].strip()
known["admin key"] = pathlib.Path("/etc/dcta/credentials/admin_key").read_text().strip()
print(json.dumps(known))
"""

# What came with the host's image and was never written since cannot hold a secret of now.
READABLE = """
list=$(mktemp) && trap 'rm --force "$list"' EXIT && chmod 644 "$list"
find / '(' -path /proc -o -path /sys ')' -prune -o -type f -cnewer /etc/machine-id -print0 > "$list"
# One grep, since only one can read the patterns; xargs ends where the list is too long for that.
runuser -u nobody -- xargs --null --exit --max-args=1000000 --max-chars=2000000 --arg-file="$list" \\
  grep --files-with-matches --text --fixed-strings --no-messages --file=-
"""


@dataclass
class Evidence:
    """What was found in each place, by the name of the place."""

    canaries: dict[str, str] = field(repr=False)
    texts: dict[str, bytes] = field(default_factory=dict, repr=False)
    scan: SecretScan = field(default_factory=SecretScan, repr=False)
    # Names of files that others may read and that hold a canary, and of those that hold a secret.
    readable: dict[str, list[str]] = field(default_factory=dict)


def rotated_secrets(world: World) -> dict[str, Any]:
    """Return settings with other passwords, API keys, and another certificate pair."""
    accounts = []
    for entry in world.vault["dcta_accounts"]:
        fresh = {"password": secrets.token_urlsafe(18)} if "password" in entry else {}
        accounts.append({**entry, **fresh})
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rotated")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return {
        "dcta_accounts": accounts,
        "dcta_api_keys": [
            {"name": entry["name"], "key": secrets.token_hex(24)} for entry in world.vault["dcta_api_keys"]
        ],
        "dcta_tls_private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "dcta_tls_certificate": certificate.public_bytes(Encoding.PEM).decode(),
    }


def plant(scan: SecretScan, settings: dict[str, Any], label: str) -> None:
    """Teach a scan the secrets of the vault."""
    texts = dict(leaves(settings["dcta_accounts"], f"{label} account"))
    texts |= dict(leaves(settings["dcta_api_keys"], f"{label} API key"))
    scan.plant({name: text for name, text in texts.items() if not name.endswith((".name", ".node"))})
    scan.plant(key_lines(settings["dcta_tls_private_key"], f"{label} private key"))


def plant_what_nodes_know(world: World, scan: SecretScan) -> None:
    """Teach a scan the tokens, the admin key and the admin passwords of all nodes."""
    for node in world.nodes:
        known = json.loads(world.root_text(node, "python3", "-", stdin=KNOWN_TO_THE_NODE))
        assert len([name for name in known if name.startswith("admin password")]) == 2 * len(world.lanes(node))
        scan.plant({f"{name} on {node}": secret for name, secret in known.items()})


def log_in_anew(world: World, passwords: dict[str, str]) -> None:
    """Let the provider expect some passwords, and the nodes forget the tokens of those accounts."""
    for account, password in passwords.items():
        world.control("/users", email=world.email(account), password=password)
    for node in world.nodes:
        files = [f"/var/lib/dcta/tokens/{account}.json" for account in passwords]
        world.stop_agent(node)
        world.root_run(node, "rm", "--force", *files)


def leaking_playbook(canaries: dict[str, str]) -> str:
    """Return a playbook that shows canaries in its difference and encoded in a result, and caches one as a fact."""
    return textwrap.dedent(f"""\
        - hosts: dcta_nodes[0]
          gather_facts: false
          tasks:
            - ansible.builtin.copy: {{content: "{canaries["output"]}", dest: /run/never-written}}
              check_mode: true
            - ansible.builtin.debug: {{msg: "{{{{ 'x{canaries["encoded output"]}x' | b64encode }}}}"}}
            - ansible.builtin.set_fact: {{leaked: "{canaries["fact cache"]}", cacheable: true}}
        """)


@pytest.fixture(scope="module")
def evidence(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Change all secrets and change them back, and gather what that left in each place."""
    folder = tmp_path_factory.mktemp("leaks")
    found = Evidence({place: f"canary-{secrets.token_hex(12)}" for place in PLACES})
    before = {**world.vault, "dcta_tls_certificate": ""}
    after = rotated_secrets(world)
    plant(found.scan, before, "first")
    plant(found.scan, after, "second")
    found.scan.plant({"vault password": (world.state / "vault-password").read_text(encoding="utf-8").strip()})
    plant_what_nodes_know(world, found.scan)
    cache = {
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
    }
    leaking = folder / "leak.yml"
    leaking.write_text(leaking_playbook(found.canaries), encoding="utf-8")
    watchers = {node: watch(world, node) for node in world.nodes}
    try:
        leak = LEAK.replace("CANARIES", repr(found.canaries))
        for node in world.nodes:
            world.root_run(node, "python3", "-", stdin=leak.encode())
        runs = [world.playbook(str(leaking), "-vvv", "--diff", environment=cache)]
        for settings in (after, before):
            passwords = {entry["name"]: entry["password"] for entry in settings["dcta_accounts"] if "password" in entry}
            log_in_anew(world, passwords)
            chosen = settings if settings is after else None
            runs.append(world.playbook("site.yml", "-vvv", "--diff", settings=chosen, environment=cache))
            plant_what_nodes_know(world, found.scan)
        facts = world.module("dcta_nodes", "ansible.builtin.setup")
        for node in world.nodes:
            world.root_run(node, "touch", STOP)
        seen = {node: watcher.communicate(timeout=60)[0].splitlines() for node, watcher in watchers.items()}
        for run in [*runs, facts]:
            assert run.status == 0, found.scan.found_in(run.text.encode()) or run.tail
        for run in runs[1:]:
            assert min(run.changed.values()) >= len(("credentials", "API keys", "private key")), "no secret changed"
        output = "\n".join(run.text for run in runs).encode()
        found.texts |= {"output": output, "encoded output": output, "facts": facts.text.encode()}
        found.texts["fact cache"] = b"".join(file.read_bytes() for file in sorted((folder / "facts").iterdir()))
        for place, kind in (("command line", b"cmdline "), ("environment", b"environ ")):
            found.texts[place] = b"\n".join(line for lines in seen.values() for line in lines if line.startswith(kind))
        look_through_nodes(world, found)
        yield found
    finally:
        world.control("/reset", tokens=False)
        for node, watcher in watchers.items():
            world.root_run(node, "touch", STOP)
            watcher.communicate(timeout=60)
            world.root_run(node, "rm", "--force", STOP, PUBLIC, LOGGED, FACT)


def watch(world: World, node: str) -> subprocess.Popen[bytes]:
    """Watch the processes of a node until the file STOP is there."""
    watcher = subprocess.Popen(
        [*world.ssh(node), "sudo", "python3", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert watcher.stdin
    watcher.stdin.write(WATCH.encode())
    watcher.stdin.close()
    watcher.stdin = None
    return watcher


def look_through_nodes(world: World, found: Evidence) -> None:
    """Put journal, logs and the names of readable files of all nodes into the evidence."""
    texts = found.texts
    texts["journal"] = texts["log"] = b""
    everything = SecretScan()
    everything.plant(found.canaries)
    for node in world.nodes:
        texts["journal"] += world.root_run(node, "journalctl", "--all", "--no-pager", "--output=export").stdout
        logs = [
            "find",
            "/var/log",
            "-type",
            "f",
            "!",
            "-path",
            "/var/log/journal/*",
            "-exec",
            "zcat",
            "--force",
            "{}",
            "+",
        ]
        texts["log"] += world.root_run(node, *logs).stdout
        for name, scan in (("canary", everything), ("secret", found.scan)):
            files = world.root_run(node, "sh", "-c", READABLE, stdin=scan.patterns(), check=False).stdout.decode()
            found.readable.setdefault(name, []).extend(f"{node}:{file}" for file in files.splitlines())


@pytest.mark.parametrize("place", [place for place in PLACES if place != "readable file"])
def test_a_canary_is_found_and_no_secret(place: str, evidence: Evidence) -> None:
    canary = SecretScan()
    canary.plant({place: evidence.canaries[place]})
    found = canary.found_in(evidence.texts[place])
    assert found == {place}
    found = evidence.scan.found_in(evidence.texts[place])
    assert found == set()


def test_a_canary_is_found_and_no_secret_in_files_that_others_may_read(evidence: Evidence, world: World) -> None:
    assert {f"{node}:{PUBLIC}" for node in world.nodes} <= set(evidence.readable["canary"])
    assert evidence.readable["secret"] == []


def test_the_world_is_back_at_its_first_secrets(evidence: Evidence, world: World) -> None:
    assert len(evidence.scan.names()) > 30
    for node in world.nodes.values():
        with world.client(node) as client:
            answer = client.chat.completions.create(
                model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Say hello"}]
            )
        assert answer.choices[0].message.content == "You said: Say hello"
