# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of a run.py become settings that preflight accepts; the file is parsed and never executed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dcta.fleet.plugins.filter.inventory_problems import inventory_problems
from ansible_collections.dcta.fleet.plugins.module_utils.lane_address import lane_address
from ansible_collections.dcta.fleet.plugins.plugin_utils import run_py
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parents[4]
KEY = "k" * 40
ONE = 'accounts = {"jane@example.org": "planted-1"}\n'
NOTHING_TO_SAY = ONE + f'custom_API_key = "{KEY}"\n'


def migrate(source: str, folder: Path = Path("/nonexistent"), address: str = run_py.LOCAL) -> run_py.Migration:
    migration = run_py.migrate(source.encode(), folder, address)
    assert "planted" not in " ".join(migration.notes)
    assert "example.org" not in " ".join(migration.notes)
    assert "planted" not in repr(migration)
    return migration


def problems(migration: run_py.Migration) -> list[str]:
    """Return what preflight has to say about the result."""
    known = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["__preflight_known_settings"]
    settings = migration.settings | migration.vault
    hosts = migration.hosts["dcta_nodes"]["hosts"]
    given: dict[str, Any] = {
        **{name.removeprefix("dcta_"): settings.get(name, "") for name in known},
        "nodes": list(hosts),
        "require_api_key": True,
        "tls": settings.get("dcta_tls", True),
        "settings": list(settings),
        "known_settings": known,
        "renamed_settings": {},
    }
    return inventory_problems(given)


def pair(folder: Path) -> tuple[str, str]:
    """Lay a certificate and its key where the original looks for them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    (folder / "certifications").mkdir()
    (folder / "certifications/api.crt").write_text(certificate)
    (folder / "certifications/api.key").write_text(private_key)
    return certificate, private_key


def expired_token() -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1_700_000_000}).encode()).decode().rstrip("=")
    return f"planted.{claims}.planted"


def test_every_value_is_carried_over_and_preflight_accepts_it(tmp_path: Path) -> None:
    certificate, private_key = pair(tmp_path)
    migration = migrate(
        'proxy = "proxy.example.net:1080"  # a comment\n'
        'proxy_type = "socks5"\n'
        'accounts = {"jane@example.org": "planted-1", "john@example.org": "planted-2"}\n'
        'access_tokens = ["planted-token"]\n'
        f'custom_API_key = "{KEY}"\n'
        'server_host = "0.0.0.0"\n'
        'server_port = "443"\n'
        'cert_filename = "api.crt"\n'
        'key_filename = "api.key"\n',
        tmp_path,
        "192.0.2.11",
    )
    assert migration.notes == ()
    assert problems(migration) == []
    assert migration.accounts == ("jane", "john", "token")
    assert migration.hosts == {"dcta_nodes": {"hosts": {"node1": {"ansible_host": "192.0.2.11"}}}}
    assert migration.settings == {
        "dcta_mode": "native",
        "dcta_listen": "0.0.0.0:443",
        "dcta_proxy": "socks5://proxy.example.net:1080",
        "dcta_tls_certificate": certificate,
    }
    assert migration.vault == {
        "dcta_accounts": [
            {"name": "jane", "email": "jane@example.org", "password": "planted-1"},
            {"name": "john", "email": "john@example.org", "password": "planted-2"},
            {"name": "token", "access_token": "planted-token"},
        ],
        "dcta_api_keys": [{"name": "original", "key": KEY}],
        "dcta_tls_private_key": private_key,
    }


@pytest.mark.parametrize(
    "code",
    [
        'accounts = __import__("os").environ',
        'accounts = {"jane@example.org": open("CANARY", "w")}',
        'accounts = {"jane@example.org": (lambda: open("CANARY", "w"))()}',
        "accounts = {f\"{open('CANARY', 'w')}@example.org\": \"planted\"}",
        'accounts = [open("CANARY", "w") for _ in (1,)]',
        '@open("CANARY", "w")\ndef accounts(): pass',
        'open("CANARY", "w")\nraise SystemExit',
        'while True: open("CANARY", "w")',
        "import CANARY",
    ],
)
def test_nothing_is_executed(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CANARY.py").write_text("open('CANARY', 'w')")
    with pytest.raises(run_py.RunPyError, match="no account that can be carried over") as refused:
        run_py.migrate(code.encode(), tmp_path)
    assert "planted" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["CANARY.py"]


@pytest.mark.parametrize(
    "source",
    [
        b"accounts = {",
        b"\0",
        b"\xff\xfe",
        b"(" * 100_000,
        b"-" * 200_000 + b"1",
        b"# coding: nonsense\n",
        b"x = 'planted",
    ],
)
def test_what_is_no_program_is_refused_without_a_word_of_it(source: bytes, tmp_path: Path) -> None:
    with pytest.raises(run_py.RunPyError) as refused:
        run_py.migrate(source, tmp_path)
    assert "planted" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (ONE, "custom_API_key is replaced by a fresh key, because it is not set"),
        (
            ONE + 'custom_API_key = "planted-short"',
            "custom_API_key is replaced by a fresh key, because it is shorter than 32",
        ),
        (ONE + f'custom_API_key = "{KEY} blank"', "custom_API_key is replaced by a fresh key"),
        (ONE + 'custom_API_key = os.environ["KEY"]', "custom_API_key of line 2 is not carried over"),
        (ONE + 'server_host = "api.example.net"', "server_host is not carried over"),
        (ONE + 'server_port = "planted"', "server_port is not carried over"),
        (ONE + "server_port = 70000", "server_port is not carried over"),
        (ONE + "server_port = True", "server_port of line 2 is not carried over"),
        (ONE + 'proxy = "proxy.example.net"\nproxy_type = "http"', "proxy is not carried over"),
        (ONE + 'proxy = "proxy.example.net:1080"', "proxy is not carried over"),
        (ONE + 'proxy = "proxy.example.net:1080"\nproxy_type = "ssh"', "proxy is not carried over"),
        (ONE + "cert_filename = None", "cert_filename of line 2 is not carried over"),
        (ONE + 'cert_filename = "a.crt"', "cert_filename and key_filename are not both set"),
        (ONE + 'cert_filename = "a.crt"\nkey_filename = "a.key"', "certifications/ beside run.py lacks"),
        (ONE + 'cert_filename = "../a.crt"\nkey_filename = "\\0"', "certifications/ beside run.py lacks"),
        (ONE + 'accounts["john@example.org"] = "planted"', "What line 2 does with accounts is not carried over"),
        (
            ONE + 'accounts.update({"john@example.org": "planted"})',
            "What line 2 does with accounts is not carried over",
        ),
        (
            ONE + 'access_tokens = []\naccess_tokens += ["planted"]',
            "What line 3 does with access_tokens is not carried",
        ),
        (ONE + 'if True:\n    proxy = "planted:1"', "What line 2 does with proxy is not carried over"),
        ('accounts = {"jane@example.org": "planted", "user1": "planted"}', "Entry 2 of accounts is not carried over"),
        ('accounts = {"@": "planted", "jane@example.org": "planted"}', "Entry 1 of accounts is not carried over"),
        ('accounts = {"jane@example.org": "planted", "j@example.org": ""}', "Entry 2 of accounts is not carried over"),
        ('accounts = {"jane@example.org": "planted", "j@example.org": 7}', "Entry 2 of accounts is not carried over"),
        (ONE + 'access_tokens = ["planted", " planted "]', "Entry 2 of access_tokens is not carried over"),
        (ONE + "access_tokens = [None]", "Entry 1 of access_tokens is not carried over"),
        (ONE + f'access_tokens = ["{expired_token()}"]', "Entry 1 of access_tokens has expired: give account token"),
        (ONE + 'access_tokens = ["\\ud800"]', "Entry 1 of access_tokens is not carried over"),
    ],
)
def test_what_is_not_carried_over_is_named_with_the_reason(source: str, note: str) -> None:
    migration = migrate(source)
    assert [found for found in migration.notes if note in found], migration.notes
    assert problems(migration) == []
    assert "jane" in migration.accounts


def test_a_replaced_key_is_fresh_each_time() -> None:
    keys = {migrate(ONE).vault["dcta_api_keys"][0]["key"] for _ignored in range(3)}
    assert len(keys) == 3
    assert all(len(key) == 48 for key in keys)


@pytest.mark.parametrize(
    ("host", "port", "listen"),
    [
        ("127.0.0.1", "8080", "127.0.0.1:8080"),
        ("localhost", "8080", "127.0.0.1:8080"),
        ("::", "8080", "[::]:8080"),
        ("192.0.2.1", " 443 ", "192.0.2.1:443"),
    ],
)
def test_the_gateway_listens_where_the_original_did(host: str, port: str, listen: str) -> None:
    migration = migrate(f'{NOTHING_TO_SAY}server_host = "{host}"\nserver_port = "{port}"')
    assert migration.settings["dcta_listen"] == listen
    assert problems(migration) == []


def test_a_proxy_with_a_password_goes_into_the_vault_and_a_local_one_is_pointed_out() -> None:
    migration = migrate(NOTHING_TO_SAY + 'proxy = "user:planted@proxy.example.net:1"\nproxy_type = "http"')
    assert migration.vault["dcta_proxy"] == "http://user:planted@proxy.example.net:1"
    assert "dcta_proxy" not in migration.settings
    local = NOTHING_TO_SAY + 'proxy = "localhost:7890"\nproxy_type = "socks5"'
    assert not any("proxy" in note for note in migrate(local).notes)
    assert any("proxy is a program on the machine itself" in note for note in migrate(local, address="192.0.2.1").notes)


def test_without_a_certificate_it_stays_plain_http_and_that_is_said() -> None:
    migration = migrate(NOTHING_TO_SAY)
    assert migration.settings["dcta_tls"] is False
    assert [note for note in migration.notes if "travel in the clear" in note]


def test_a_private_key_of_another_certificate_is_not_carried_over(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pair(tmp_path)
    pair(tmp_path / "other")
    (tmp_path / "other/certifications/api.key").replace(tmp_path / "certifications/api.key")
    migration = migrate(ONE + 'cert_filename = "api.crt"\nkey_filename = "api.key"', tmp_path)
    assert [note for note in migration.notes if "does not belong to dcta_tls_certificate" in note]
    assert "dcta_tls_private_key" not in migration.vault


def test_the_tokens_that_the_original_kept_are_left_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    assert [note for note in migrate(ONE, tmp_path).notes if note.startswith("cache/ is not read")]


def test_the_last_assignment_counts_as_in_python() -> None:
    assert migrate(ONE + 'accounts = other = {"john@example.org": "p"}').accounts == ("john",)
    assert migrate('accounts: dict = {"john@example.org": "p"}').accounts == ("john",)


def test_what_the_original_does_itself_is_not_remarked_on() -> None:
    source = (
        "import os\n"
        "def show(proxy): print(proxy, accounts)\n"
        "class Login:\n    proxy = None\n"
        "started = os.environ.get(proxy)\n"
        'if __name__ == "__main__":\n    proxy = "{}://{}".format(proxy_type, proxy)\n    for i in accounts: show(i)\n'
    )
    assert migrate(NOTHING_TO_SAY + source).notes == migrate(NOTHING_TO_SAY).notes


def test_names_are_labels_that_preflight_accepts_each_only_once() -> None:
    emails = [
        "jane@example.org",
        "Jane@example.net",
        "jane.doe+api@example.org",
        "7up@example.org",
        "Jürgen@example.org",
        "...@example.org",
        "李@example.org",
        f"{'a' * 30}@example.org",
        f"{'a' * 40}@example.org",
        f"{'b' * 19}-c@example.org",
        '"x@y"@example.org',
    ]
    migration = migrate(f"accounts = {dict.fromkeys(emails, 'planted')!r}")
    assert migration.accounts == (
        "jane",
        "jane-2",
        "jane-doe-api",
        "a-7up",
        "jurgen",
        "account",
        "account-2",
        "a" * 20,
        "a" * 18 + "-2",
        "b" * 19,
        "x-y",
    )
    assert problems(migration) == []


def test_names_whose_lanes_would_share_an_address_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_py, "lane_address", lambda name: lane_address("jane" if name == "john" else name))
    migration = migrate('accounts = {"jane@example.org": "p", "john@example.org": "p"}')
    assert migration.accounts == ("jane", "john-2")
