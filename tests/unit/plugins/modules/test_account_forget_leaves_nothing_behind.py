# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module stops the lane, revokes the token and removes the record of every account that does not stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.record import Record
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from ansible_collections.dcta.fleet.plugins.module_utils.lane_runner import LaneRunnerError
from ansible_collections.dcta.fleet.plugins.modules import account_forget
from identity_fake import APPLICATION, EMAIL, HOST, PASSWORD, Clock, FakeProvider, Reply, me, no_connection

Run = Callable[..., dict[str, Any]]


class Scene:
    """A node with lanes, and the order in which things happen to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = FakeProvider(Clock())
        self.proxies: list[str | None] = []
        self.happened: list[str] = []
        self.broken: set[str] = set()
        self.provider.answers["POST /oauth/revoke"] = self._revoke

    def _revoke(self, fields: dict[str, str]) -> Reply:
        self.happened.append(f"revoke {fields['token'].rpartition('-')[2]}")
        return self.provider.handle("POST", "/oauth/revoke", fields)

    def session(self, **settings: Any) -> FakeProvider:
        """Stand in for a session."""
        self.proxies.append(settings["proxy"])
        return self.provider.session()

    def lane_runner(self) -> Scene:
        """Stand in for the client of the lane runner."""
        return self

    def ask(self, operation: str, name: str) -> dict[str, Any]:
        """Answer as the lane runner does."""
        if name in self.broken:
            raise LaneRunnerError(f"lane {name} does not stop")
        self.happened.append(f"{operation} {name}")
        (self.folder / "run" / f"{name}.json").unlink(missing_ok=True)
        return {}

    def clean(self, arguments: list[str], **_options: Any) -> None:
        """Stand in for the program that removes the working folders."""
        self.happened.append(" ".join(arguments[:3] + [unit.partition("@")[2] for unit in arguments[3:]]))

    @property
    def files(self) -> set[str]:
        """What the store holds."""
        return {path.name for path in (self.folder / "tokens").iterdir()}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path)
    (tmp_path / "tokens").mkdir(mode=0o700)
    (tmp_path / "run").mkdir()
    (tmp_path / "socket").touch()
    entries = [
        {"name": "alice", "email": EMAIL, "password": PASSWORD},
        {"name": "bob", "email": EMAIL, "password": PASSWORD, "proxy": "http://proxy.example.test:3128"},
    ]
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": entries}))
    with Store(str(tmp_path / "tokens"), me()) as store:
        for name in ("alice", "bob"):
            store.save(Record(name=name, state="valid", access_token="planted-a", refresh_token=f"planted-r-{name}"))
            (tmp_path / "run" / f"{name}.json").touch()
        store.save(Record(name="carol", state="valid", access_token="planted-a"))
        with store.lock("bob", 1):
            pass
    monkeypatch.setattr(account_forget, "HttpSession", scene.session)
    monkeypatch.setattr(account_forget, "LaneRunner", scene.lane_runner)
    monkeypatch.setattr(account_forget, "LANE_RUNNER_FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(account_forget, "LANE_RUNNER_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setattr("ansible.module_utils.basic.AnsibleModule.run_command", scene.clean)
    return scene


@pytest.fixture
def run(scene: Scene, capsys: pytest.CaptureFixture[str]) -> Run:
    def execute(*keep: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "keep": list(keep),
            "credentials": str(scene.folder / "accounts.json"),
            "store": str(scene.folder / "tokens"),
            "owner": me(),
            "provider": {
                "authorization_endpoint": f"{HOST}/authorize",
                "token_endpoint": f"{HOST}/oauth/token",
                "revocation_endpoint": f"{HOST}/oauth/revoke",
                **APPLICATION,
            },
            **arguments,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            account_forget.main()
        shown = capsys.readouterr()
        assert "planted" not in shown.out + shown.err
        assert EMAIL not in shown.out + shown.err
        result: dict[str, Any] = json.loads(shown.out)
        return result

    return execute


def test_check_real_check_again_real_again(run: Run, scene: Scene) -> None:
    steps = [run("alice", check=check) for check in (True, False, True, False)]
    assert [step["changed"] for step in steps] == [True, True, False, False]
    for step in steps[:2]:
        assert [(account["name"], account["revoked"]) for account in step["accounts"]] == [
            ("bob", True),
            ("carol", False),
        ]
        assert step["diff"] == {"before": "alice\nbob\ncarol\n", "after": "alice\n"}
    assert [step["accounts"] for step in steps[2:]] == [[], []]
    assert scene.provider.revoked == ["planted-r-bob"]


def test_check_mode_leaves_no_trace(run: Run, scene: Scene) -> None:
    before = scene.files
    run("alice", check=True)
    assert scene.happened == []
    assert scene.files == before


def test_lanes_stop_before_tokens_are_revoked_and_then_nothing_is_left(run: Run, scene: Scene) -> None:
    run("alice")
    assert sorted(scene.happened[:2]) == ["stop bob", "stop carol"]
    assert scene.happened[2:] == [
        "systemctl clean --what=state bob.service bob.service carol.service carol.service",
        "revoke bob",
    ]
    assert {file for file in scene.files if not file.startswith("alice")} <= {".salt"}
    assert {path.name for path in (scene.folder / "run").iterdir()} == {"alice.json"}


def test_the_revocation_leaves_by_the_accounts_own_proxy(run: Run, scene: Scene) -> None:
    run("alice")
    assert scene.proxies == ["http://proxy.example.test:3128"]


def test_a_lane_whose_record_is_gone_stops_too(run: Run, scene: Scene) -> None:
    (scene.folder / "run" / "zoe.json").touch()
    result = run("alice", "bob", "carol")
    assert [account["name"] for account in result["accounts"]] == ["zoe"]
    assert "stop zoe" in scene.happened


def test_a_revocation_that_fails_is_a_warning_with_its_class(run: Run, scene: Scene) -> None:
    scene.provider.answers["POST /oauth/revoke"] = no_connection
    result = run("alice")
    assert "failed" not in result
    assert (result["accounts"][0]["revoked"], result["accounts"][0]["error_class"]) == (False, "network_error")
    assert "account bob could not be revoked (network_error)" in str(result["warnings"])
    assert not {file for file in scene.files if file.startswith("bob")}


def test_a_lane_that_does_not_stop_keeps_its_account_and_fails(run: Run, scene: Scene) -> None:
    scene.broken = {"bob"}
    before = scene.files
    result = run("alice")
    assert result["failed"]
    assert "lane bob does not stop" in result["msg"]
    assert scene.files == before


def test_a_host_that_was_never_deployed_has_nothing_to_forget(run: Run, scene: Scene) -> None:
    result = run(store=str(scene.folder / "none"), owner="no-such-user")
    assert (result["changed"], result["accounts"]) == (False, [])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"owner": "daemon"}, "does not belong to daemon"),
        ({"provider": {"tokenendpoint": "x"}}, "tokenendpoint"),
        ({"limits": {"logingap": 1}}, "logingap"),
    ],
)
def test_what_cannot_be_meant_fails_before_a_lane_stops(
    run: Run, scene: Scene, arguments: dict[str, Any], word: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert word in result["msg"]
    assert scene.happened == []


def test_a_missing_requests_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_forget, "REQUESTS_IMPORT_ERROR", "ImportError: no requests")
    assert "requests" in run()["msg"]
