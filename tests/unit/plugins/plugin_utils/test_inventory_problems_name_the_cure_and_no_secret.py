# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight refuses, and how it says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.plugin_utils import inventory_rules as rules
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SECRET = "Correct-Horse-Battery-Staple-0123456789"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {"name": "alice", "email": "alice@example.org", "password": SECRET}


def pair(days: int = 30) -> tuple[str, str]:
    """Return a self-signed certificate and its key, valid for some days from NOW on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=100))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


@pytest.mark.parametrize(
    "webhook",
    ["", f"https://hooks.example.org/{SECRET}?a=b", "http://192.0.2.1:8080", f"https://u:{SECRET}@[2001:db8::1]/"],
)
def test_a_webhook_that_can_be_asked_is_accepted(webhook: str) -> None:
    assert rules.webhook_problems(webhook) == []


@pytest.mark.parametrize(
    "webhook",
    [
        SECRET,
        f"ftp://hooks.example.org/{SECRET}",
        f"https:///{SECRET}",
        f"https://hooks.example.org:99999/{SECRET}",
        f"https://hooks.example.org:0/{SECRET}",
        f"https://hooks.example.org/{SECRET} x",
        f"https://hooks.example.org/{SECRET}\n",
        f"https://hooks.example.org/{SECRET}ä",
        f"https://[::1/{SECRET}",
    ],
)
def test_a_webhook_that_cannot_be_asked_is_refused_without_its_secret(webhook: str) -> None:
    [problem] = rules.webhook_problems(webhook)
    assert "dcta_alert_webhook is no usable URL: write it like" in problem
    assert SECRET not in problem


def test_a_webhook_whose_variable_is_missing_names_it() -> None:
    [problem] = rules.webhook_problems({"undefined": "'vault_hook' is undefined"})
    assert problem == "dcta_alert_webhook cannot be read, because 'vault_hook' is undefined: define it in the vault"


@pytest.mark.parametrize("proxy", ["", "http://proxy.example.org:3128", "https://[2001:db8::1]:3128"])
def test_a_build_proxy_without_a_password_is_accepted(proxy: str) -> None:
    assert rules.build_proxy_problems(proxy) == []


@pytest.mark.parametrize("proxy", [f"http://user:{SECRET}@proxy.example.org:3128", f"http://{SECRET}@[::1"])
def test_a_build_proxy_with_a_password_is_refused_because_the_process_list_would_show_it(proxy: str) -> None:
    [problem] = rules.build_proxy_problems(proxy)
    assert "process list" in problem
    assert SECRET not in problem


def test_a_build_proxy_that_is_no_url_is_refused() -> None:
    [problem] = rules.build_proxy_problems("proxy.example.org")
    assert "dcta_build_proxy is not a URL with scheme, host and port" in problem


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ([], "not a list with at least one account"),
        ("alice", "not a list with at least one account"),
        ({"undefined": "'vault_password' is undefined"}, "because 'vault_password' is undefined"),
        (["alice"], "entry 1 of dcta_accounts is not an account"),
        ([{**GOOD, "name": "Alice"}], "no valid name"),
        ([{**GOOD, "name": "a" * 21}], "no valid name"),
        ([{**GOOD, "name": "alice\n"}], "no valid name"),
        ([{**GOOD, "pasword": SECRET}], "unknown key pasword"),
        ([{**GOOD, "password": ""}], "empty password"),
        ([{**GOOD, "password": None}], "empty password"),
        ([{"name": "alice", "email": "a@example.org"}], "no password"),
        ([{"name": "alice", "password": SECRET}], "no email"),
        ([{"name": "alice"}], "nothing to log in with"),
        ([{**GOOD, "totp_secret": "not base 32 !"}], "not base32"),
        ([{**GOOD, "node": "node9"}], "pinned to node9"),
        ([{**GOOD, "proxy": f"user:{SECRET}@proxy:1080"}], "the proxy of account alice"),
        ([{**GOOD, "proxy": f"ftp://user:{SECRET}@proxy:1080"}], "the proxy of account alice"),
        ([GOOD, GOOD], "two accounts are named alice"),
    ],
)
def test_each_bad_account_gets_one_sentence(accounts: Any, expected: str) -> None:
    problems = rules.account_problems(accounts, ["node1"])
    assert len(problems) == 1, problems
    assert expected in problems[0]
    assert ": " in problems[0], "the cure follows a colon"
    assert SECRET not in problems[0]


def test_a_proxy_that_the_profile_would_go_around_is_refused_without_its_password() -> None:
    account = {**GOOD, "proxy": f"http://user:{SECRET}@proxy.example.org:3128"}
    for problems in (
        rules.account_problems([account], ["node1"], ["socks5", "socks5h"]),
        rules.proxy_problems(account["proxy"], "dcta_proxy", ["socks5", "socks5h"]),
    ):
        [problem] = problems
        assert problem.endswith(
            "is http, which the program of this api_profile does not know: use one of socks5, socks5h"
        )
    assert rules.account_problems([{**GOOD, "proxy": "socks5h://h:1"}], ["node1"], ["socks5", "socks5h"]) == []


@pytest.mark.parametrize("userinfo", ["u:p", "u:p%40s%2Fs%3A%25", "u:p:q", "u-._~!$&'()*+,;=:p"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_user_and_password_of_a_proxy_may_be_anything_that_is_percent_encoded(userinfo: str, scheme: str) -> None:
    assert rules.proxy_problems(f"{scheme}://{userinfo}@proxy.example.org:1080", "dcta_proxy") == []


@pytest.mark.parametrize(
    "userinfo",
    [
        "planted",  # the agent would send neither
        "planted:",
        ":planted",
        "u:planted@x",
        "u:planted%zz",  # the program would go around the proxy
        "u:planted^",
        "u:plant\N{LATIN SMALL LETTER E WITH ACUTE}d",
        "u:planted%C3%A9",  # agent and program would encode it differently
        "u:planted%0A",
        "planted%3Au:p",
        "u:" + "planted" * 40,
    ],
)
def test_credentials_of_a_proxy_that_would_be_sent_wrongly_are_refused(userinfo: str) -> None:
    [problem] = rules.proxy_problems(f"http://{userinfo}@proxy.example.org:3128", "dcta_proxy")
    assert "dcta_proxy has a user and a password that not every program can send: write user:password@" in problem
    assert "plant" not in problem


def test_a_token_that_would_end_the_program_is_refused_without_showing_it() -> None:
    pattern = r"[^.]+(\.[^.]*)+"
    [problem] = rules.account_problems([{"name": "carol", "access_token": SECRET}], ["node1"], token_pattern=pattern)
    assert "account carol has an access_token that the program of this profile cannot bear" in problem
    assert SECRET not in problem
    for token in ("a.b", "a.b.c"):
        account = {"name": "carol", "access_token": token}
        assert rules.account_problems([account], ["node1"], token_pattern=pattern) == []


def test_good_accounts_of_all_kinds_pass() -> None:
    accounts = [
        GOOD,
        {**GOOD, "name": "bob", "totp_secret": "JBSW Y3DP EHPK 3PXP", "node": "node1", "proxy": "socks5h://u:p@h:1080"},
        {"name": "carol", "access_token": SECRET},
        {"name": "dave", "refresh_token": SECRET},
    ]
    assert rules.account_problems(accounts, ["node1"]) == []


def test_two_names_with_one_address_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "lane_address", lambda _name: "127.64.0.1")
    problems = rules.account_problems([GOOD, {**GOOD, "name": "bob"}], ["node1"])
    assert problems == ["accounts alice and bob would share the address 127.64.0.1: rename one of them"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], "holds no key"),
        ([{"name": "web", "key": SECRET[:31]}], "API key web is not at least 32"),
        ([{"name": "web", "key": SECRET + '"'}], "API key web is not at least 32"),
        ([{"name": "web", "key": SECRET + "\n"}], "API key web is not at least 32"),
        ([{"name": 'we"b', "key": SECRET}], "no valid name"),
        ([{"name": "web", "key": SECRET}, {"name": "web", "key": SECRET + "x"}], "two API keys are named web"),
        ([{"name": "web", "key": SECRET}, {"name": "app", "key": SECRET}], "app and web are the same key"),
    ],
)
def test_each_bad_api_key_gets_one_sentence(keys: Any, expected: str) -> None:
    problems = rules.api_key_problems(keys)
    assert len(problems) == 1, problems
    assert expected in problems[0]
    assert SECRET[:31] not in problems[0]


def test_a_matching_certificate_pair_passes() -> None:
    assert rules.certificate_problems(*pair(), now=NOW) == []


def test_broken_certificate_pairs_are_told_apart() -> None:
    certificate, key = pair()
    other = pair()[1]
    assert "holds no certificate" in rules.certificate_problems("", key, now=NOW)[0]
    assert "no unencrypted private key" in rules.certificate_problems(certificate, "", now=NOW)[0]
    assert "does not belong" in rules.certificate_problems(certificate, other, now=NOW)[0]
    assert "expired on 2025" in rules.certificate_problems(*pair(days=-10), now=NOW)[0]


@pytest.mark.parametrize(
    "listen", ["8443", "localhost:8443", "0.0.0.0:0", "0.0.0.0:70000", "0.0.0.0:8443; evil", ":::8443", ""]
)
def test_a_listen_address_that_nginx_could_not_use_is_refused(listen: str) -> None:
    assert len(rules.listen_problems(listen)) == 1


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "127.0.0.1:443", "[::]:8443", "[2001:db8::1]:1"])
def test_a_listen_address_of_either_family_passes(listen: str) -> None:
    assert rules.listen_problems(listen) == []


def test_a_mode_that_does_not_exist_is_refused_and_the_others_are_named() -> None:
    assert rules.mode_problems("podman") == ["dcta_mode is none of native, docker: choose one"]
    assert [rules.mode_problems(mode) for mode in ("native", "docker")] == [[], []]


def test_a_misspelt_setting_is_refused_and_a_renamed_one_gets_its_new_name() -> None:
    problems = rules.setting_problems(
        ["dcta_proxi", "dcta_old", "dcta_proxy"], ["dcta_proxy"], {"dcta_old": "dcta_proxy"}
    )
    assert problems == [
        "the setting dcta_old does not exist: it is called dcta_proxy now",
        "the setting dcta_proxi does not exist: the settings are dcta_proxy",
    ]
