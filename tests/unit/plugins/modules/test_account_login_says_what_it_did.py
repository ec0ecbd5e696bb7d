# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: four steps, check mode, one bad account among good ones, arguments that cannot be meant, no secret."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.runtime import Runtime
from ansible_collections.dcta.fleet.plugins.modules import account_login
from identity_fake import APPLICATION, EMAIL, HOST, PASSWORD, Clock, FakeProvider, jwt, me

Run = Callable[..., dict[str, Any]]
PROMISED = {
    "name",
    "kind",
    "state",
    "usable",
    "action",
    "changed",
    "expires_at",
    "next_renewal",
    "error_class",
    "message",
    "cure",
}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    fake = FakeProvider(Clock())
    monkeypatch.setattr(account_login, "HttpSession", lambda **_settings: fake.session())
    return fake


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "tokens").mkdir(mode=0o700)
    entries = [
        {"name": "alice", "email": EMAIL, "password": PASSWORD},
        {"name": "bob", "email": EMAIL, "password": "planted-wrong"},
        {"name": "carol", "access_token": jwt(4e9)},
    ]
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": entries}))
    return tmp_path


@pytest.fixture
def run(node: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> Run:
    del provider

    def execute(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "accounts": ["alice"],
            "credentials": str(node / "accounts.json"),
            "store": str(node / "tokens"),
            "owner": me(),
            "provider": {
                "authorization_endpoint": f"{HOST}/authorize",
                "token_endpoint": f"{HOST}/oauth/token",
                **APPLICATION,
            },
            "limits": {"login_gap": 0, "login_gap_random": 0},
            **arguments,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            account_login.main()
        shown = capsys.readouterr()
        assert "planted" not in shown.out + shown.err
        assert EMAIL not in shown.out + shown.err
        result: dict[str, Any] = json.loads(shown.out)
        return result

    return execute


def test_check_real_check_again_real_again(run: Run, provider: FakeProvider) -> None:
    steps = [run(check=check, accounts=["alice", "carol"]) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [True, True, False, False]
    assert [[account["action"] for account in step["accounts"]] for step in steps] == [
        ["login", "adopt"],
        ["login", "adopt"],
        ["none", "none"],
        ["none", "none"],
    ]
    assert provider.passwords_seen == [PASSWORD]


def test_check_real_check_again_real_again_where_not_all_have_their_turn(
    run: Run, node: Path, provider: FakeProvider
) -> None:
    entries = [{"name": name, "email": EMAIL, "password": PASSWORD} for name in ("alice", "dave", "erin")]
    (node / "accounts.json").write_text(json.dumps({"accounts": entries}))
    arguments = {"accounts": ["alice", "dave", "erin"], "limits": {}, "wait": 0}
    steps = [run(check=check, **arguments) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [True, True, False, False]
    assert [account["action"] for account in steps[0]["accounts"]] == ["login", "login", "login"]
    alice, dave, erin = steps[1]["accounts"]
    assert (alice["state"], dave["state"], erin["state"]) == ("valid", "waiting", "waiting")
    assert (dave["action"], dave["error_class"], dave["usable"]) == ("none", None, False)
    assert dave["message"] == "The account waits for its turn to log in."
    assert dave["next_renewal"] < erin["next_renewal"]
    assert steps[3]["accounts"][1:] == [{**account, "changed": False} for account in (dave, erin)]
    assert provider.passwords_seen == [PASSWORD]


def test_a_login_waits_for_its_turn_as_long_as_it_may(
    run: Run, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    del provider
    slept: list[float] = []
    now = time.time()
    simulated = partial(Runtime, clock=lambda: now + sum(slept), timer=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(account_login, "Runtime", simulated)
    run(limits={})
    result = run(accounts=["bob"], limits={})
    assert result["accounts"][0]["error_class"] == "bad_credentials"
    assert len(slept) == 1
    assert 30 <= slept[0] <= 60


def test_check_mode_leaves_no_trace(run: Run, node: Path, provider: FakeProvider) -> None:
    run(check=True)
    assert list((node / "tokens").iterdir()) == []
    assert provider.requests == []


def test_every_promised_value_is_returned(run: Run) -> None:
    account = run()["accounts"][0]
    assert set(account) == PROMISED
    assert (account["kind"], account["state"], account["usable"], account["error_class"]) == (
        "password",
        "valid",
        True,
        None,
    )
    assert account["expires_at"].endswith("Z")
    assert account["next_renewal"] < account["expires_at"]


def test_the_documentation_promises_what_is_returned() -> None:
    documented = account_login.RETURN.partition("contains:")[2]
    assert {
        line.strip(" :") for line in documented.splitlines() if line.startswith(" " * 4) and line[4] != " "
    } == PROMISED


def test_a_bad_account_fails_neither_the_module_nor_the_others(run: Run) -> None:
    result = run(accounts=["bob", "alice", "carol"])
    assert [account["usable"] for account in result["accounts"]] == [False, True, True]
    assert (result["accounts"][0]["error_class"], result["accounts"][0]["state"]) == ("bad_credentials", "quarantined")
    assert result["accounts"][0]["cure"]
    assert result["changed"]
    assert not run(accounts=["bob", "alice", "carol"])["changed"]


def test_a_replaced_token_by_hand_is_adopted(run: Run, node: Path) -> None:
    run(accounts=["carol"])
    (node / "accounts.json").write_text(json.dumps({"accounts": [{"name": "carol", "access_token": jwt(4.1e9)}]}))
    result = run(accounts=["carol"])
    assert (result["accounts"][0]["action"], result["changed"]) == ("adopt", True)


def test_a_token_near_its_end_is_warned_about(run: Run, node: Path) -> None:
    token = jwt(time.time() + 7200)
    (node / "accounts.json").write_text(json.dumps({"accounts": [{"name": "carol", "access_token": token}]}))
    assert "supply a new one" in str(run(accounts=["carol"])["warnings"])


def test_on_a_new_host_check_mode_predicts_a_login_for_all(run: Run, node: Path) -> None:
    nothing = {"credentials": str(node / "none.json"), "store": str(node / "none"), "owner": "no-such-user"}
    result = run(check=True, accounts=["alice", "carol"], **nothing)
    assert [(account["action"], account["kind"]) for account in result["accounts"]] == [("login", None)] * 2
    assert result["changed"]
    only_store_missing = run(check=True, accounts=["alice", "carol"], store=nothing["store"])
    assert [account["action"] for account in only_store_missing["accounts"]] == ["login", "adopt"]


def test_check_mode_predicts_a_login_for_an_account_that_is_new_to_the_node(run: Run) -> None:
    run()
    result = run(check=True, accounts=["zoe", "alice"])
    assert [(account["name"], account["action"]) for account in result["accounts"]] == [
        ("zoe", "login"),
        ("alice", "none"),
    ]


def test_lifting_is_predicted_and_done(run: Run) -> None:
    run(accounts=["bob"])
    more = {"login_gap": 0, "login_gap_random": 0, "login_interval": 0}
    assert run(check=True, accounts=["bob"], lift=True, limits=more)["accounts"][0]["action"] == "login"
    assert run(accounts=["bob"], lift=True, limits=more)["accounts"][0]["action"] == "login"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"accounts": ["alice", "zoe"]}, "lacks zoe"),
        ({"credentials": "/nonexistent.json"}, "cannot be read"),
        ({"store": "/nonexistent"}, "cannot be opened"),
        ({"owner": "daemon"}, "does not belong to daemon"),
        ({"provider": {"tokenendpoint": "x"}}, "tokenendpoint"),
        ({"limits": {"logingap": 1}}, "logingap"),
        ({"ca_bundle": "/nonexistent.pem"}, "no CA bundle"),
    ],
)
def test_what_cannot_be_meant_fails_in_a_sentence_with_its_cure(run: Run, arguments: dict[str, Any], word: str) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert word in result["msg"]
    assert result["msg"].count(".") >= 2


def test_a_missing_requests_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_login, "REQUESTS_IMPORT_ERROR", "ImportError: no requests")
    assert "requests" in run()["msg"]
