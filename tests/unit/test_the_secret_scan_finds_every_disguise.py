# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret scan finds a secret in every disguise, names it and never shows it."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from secret_scan import SecretScan, key_lines, leaves

SECRET = 'a "quoted" secret/with+signs'


@pytest.fixture
def scan() -> SecretScan:
    scan = SecretScan()
    scan.plant({"the secret": SECRET})
    return scan


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_base64_hides_nothing_wherever_the_secret_stands(scan: SecretScan, before: int, after: int) -> None:
    text = ("x" * before + SECRET + "y" * after).encode()
    assert scan.found_in(b"value: " + base64.b64encode(text)) == {"the secret"}
    assert scan.found_in(b"value: " + base64.urlsafe_b64encode(text)) == {"the secret"}


def test_json_and_urls_hide_nothing(scan: SecretScan) -> None:
    assert scan.found_in(json.dumps({"key": SECRET}).encode()) == {"the secret"}
    assert scan.found_in(f"https://example.org/?key={urllib.parse.quote(SECRET, safe='')}".encode()) == {"the secret"}


def test_what_holds_no_secret_is_left_alone(scan: SecretScan) -> None:
    other = SECRET.swapcase().encode()
    assert scan.found_in(b"value: " + other + base64.b64encode(other)) == set()


def test_the_scan_itself_shows_no_secret(scan: SecretScan) -> None:
    assert SECRET not in repr(scan)


def test_what_chance_would_find_is_refused() -> None:
    with pytest.raises(ValueError, match="short has fewer than 12 characters"):
        SecretScan().plant({"short": "secret"})


def test_a_private_key_is_searched_line_by_line() -> None:
    body = ["A" * 64, "B" * 64, "C" * 20, "=="]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----", ""])
    assert key_lines(pem, "key") == {f"key, line {number}": line for number, line in enumerate(body[:3], 1)}


def test_nested_values_are_named_by_their_entries() -> None:
    accounts = [{"name": "alice", "password": "p"}, {"name": "bob", "totp_secret": "t"}]
    assert dict(leaves(accounts, "account")) == {
        "account.alice.name": "alice",
        "account.alice.password": "p",
        "account.bob.name": "bob",
        "account.bob.totp_secret": "t",
    }
