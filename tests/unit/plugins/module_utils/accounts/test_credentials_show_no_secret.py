# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials, tokens and errors can be printed anywhere."""

from __future__ import annotations

import dataclasses
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts import errors
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import (
    Credentials,
    load_credentials,
    token_fingerprint,
)
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import AccountsError, ConfigurationError
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.forms import Field
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.oauth import Pkce, TokenAnswer, jwt_expiry
from identity_fake import jwt

VALUES = {
    "email": "planted@example.test",
    "password": "planted-1",
    "totp_secret": "planted-2",
    "refresh_token": "planted-3",
    "access_token": "planted-4",
    "proxy": "socks5h://u:planted@p.test",
}


def _file(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "accounts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    "shown",
    [
        Credentials(name="alice", **VALUES),
        TokenAnswer(access_token="planted", refresh_token="planted", issued_at=0, expires_at=None),
        Pkce(verifier="planted", challenge="c"),
        Field(name="password", kind="password", value="planted"),
    ],
)
def test_no_secret_shows_in_a_repr(shown: object) -> None:
    assert "planted" not in f"{shown!r} {shown}"


def test_a_fingerprint_depends_on_every_value_and_on_the_salt() -> None:
    whole = Credentials(name="alice", **VALUES)
    others = [dataclasses.replace(whole, **{key: "x"}) for key in VALUES]
    assert len({entry.fingerprint(b"salt") for entry in (whole, *others)}) == len(VALUES) + 1
    assert whole.fingerprint(b"salt") != whole.fingerprint(b"other")
    assert len({entry.login_fingerprint(b"salt") for entry in (whole, *others)}) == 4
    assert "planted" not in whole.fingerprint(b"salt") + token_fingerprint("planted")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (("email", "password", "totp_secret", "refresh_token", "access_token"), "password"),
        (("refresh_token", "access_token"), "refresh_token"),
        (("email", "access_token"), "access_token"),
    ],
)
def test_the_kind_is_the_best_way_to_a_token(given: tuple[str, ...], kind: str) -> None:
    assert Credentials(name="alice", **{key: VALUES[key] for key in given}).kind == kind


def test_a_file_is_read_and_empty_and_foreign_values_are_left_alone(tmp_path: Path) -> None:
    entry = {"name": "alice", "email": "e", "password": "p", "proxy": "", "totp_secret": None, "node": "n", "weight": 1}
    assert load_credentials(_file(tmp_path, {"accounts": [entry], "more": 1})) == {
        "alice": Credentials(name="alice", email="e", password="p")
    }


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("planted", "not JSON"),
        ([], "no list"),
        ({"accounts": {}}, "no list"),
        ({"accounts": ["planted"]}, "number 1"),
        ({"accounts": [{"name": "Planted"}]}, "number 1"),
        ({"accounts": [{"name": "alice", "password": 12345}]}, "password of account alice"),
        ({"accounts": [{"name": "alice", "email": "planted"}]}, "Account alice"),
        ({"accounts": [{"name": "alice", "access_token": "planted"}] * 2}, "alice twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_quoting_it(tmp_path: Path, content: Any, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        load_credentials(_file(tmp_path, content))
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.cure
    assert "planted" not in shown.lower().replace(str(tmp_path).lower(), "")
    assert "12345" not in shown


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_credentials(str(tmp_path / "accounts.json"))


def test_every_error_has_a_sentence_and_a_cure_of_its_own() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, AccountsError)]
    assert len(classes) > 15
    for item in classes:
        assert item().sentence.endswith(".")
        assert item().cure.endswith(".")
        assert (item("Mine.").sentence, item("Mine.", cure="So.").cure, str(item("Mine."))) == ("Mine.", "So.", "Mine.")


@pytest.mark.parametrize("padding", range(4))
def test_the_expiry_of_a_jwt_is_read_whatever_its_padding(padding: int) -> None:
    assert jwt_expiry(jwt(10**padding)) == 10**padding


@pytest.mark.parametrize("token", ["", "opaque", "a.b", "a.b.c.d", "a.!!.c", "a.bm8.c", "a.W10.c", "a.e30.c", "a.ä.c"])
def test_what_is_no_jwt_says_nothing(token: str) -> None:
    assert jwt_expiry(token) is None


@pytest.mark.parametrize("expiry", ["soon", True, None, float("inf"), [1]])
def test_an_expiry_that_is_no_time_says_nothing(expiry: Any) -> None:
    assert jwt_expiry(jwt(expiry)) is None
