# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known variants of the program: the files that each one reads, what it is handed, and what it never gets."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from lane_programs import known_profile, load_program, write_lanes
from lanes import Lane, LaneError, check_token, token_document
from node_modules import files_of_the_lanes

lane_exec = load_program("lane-exec")
runner = load_program("lanes-runner")

NAMES = ("acheong08_2023_07", "acheong08_2023_08", "xqdoo00o_2025_02")
TEXTS, OBJECTS, MAP = NAMES
TOKEN = "planted.token.x"


def lane(profile: str, **changes: Any) -> Lane:
    return Lane("alice", "127.64.0.1", {"a": 8081, "b": 8082}, {**known_profile(profile), **changes})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory of a replica."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.chdir(tmp_path / "state")
    return tmp_path / "state"


def lay_down(folder: Path, token: str = TOKEN, proxy: str = "") -> None:
    credential = {"access_token": token, "admin_password": "planted-admin", "proxy": proxy}
    (folder.parent / "credentials/lane").write_text(json.dumps(credential))


@pytest.mark.parametrize(
    ("profile", "at_start", "over_http"),
    [
        (TEXTS, [TOKEN], [TOKEN]),
        (OBJECTS, [{"token": TOKEN, "puid": ""}], [{"token": TOKEN, "puid": ""}]),
        (MAP, {"alice": {"token": TOKEN, "puid": ""}}, {"alice.patched": {"token": TOKEN, "puid": ""}}),
    ],
)
def test_each_profile_has_its_form_of_token(folder: Path, profile: str, at_start: Any, over_http: Any) -> None:
    lay_down(folder)
    lane_exec.prepare(lane(profile))
    assert json.loads((folder / "access_tokens.json").read_text()) == at_start
    assert token_document(lane(profile), TOKEN) == over_http


def test_a_map_that_does_not_log_in_by_itself_has_one_name(folder: Path) -> None:
    lay_down(folder)
    own = lane(MAP, patch_at_start=False)
    lane_exec.prepare(own)
    assert (folder / "accounts.txt").read_text() == "alice:-\n"
    assert token_document(own, TOKEN) == token_document(own, TOKEN, start=True)


def test_the_accounts_file_names_accounts_and_never_holds_a_password(folder: Path) -> None:
    lay_down(folder)
    (folder / "accounts.txt").write_text("planted@example.test:planted-password\n")
    lane_exec.prepare(lane(MAP))
    assert (folder / "accounts.txt").read_text() == "alice:-\nalice.patched:-\n"


@pytest.mark.parametrize("profile", NAMES)
def test_every_file_is_private_and_none_that_would_change_the_program_stays(folder: Path, profile: str) -> None:
    lay_down(folder, proxy="socks5://proxy.example.test:1080")
    forbidden = known_profile(profile)["forbidden_files"]
    assert "api_keys.txt" in forbidden
    for name in forbidden:
        (folder / name).write_text("planted by somebody")
    lane_exec.prepare(lane(profile))
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    expected = {"access_tokens.json", ".env", "proxies.txt"} | ({"accounts.txt"} if profile == MAP else set())
    assert files == dict.fromkeys(expected, 0o600)


@pytest.mark.parametrize(
    ("profile", "url", "line"),
    [
        (TEXTS, "socks5://proxy.example.test:1080", "proxy.example.test:1080"),
        (TEXTS, "socks5h://user:p%40ss@proxy.example.test:1080", "proxy.example.test:1080:user:p@ss"),
        (OBJECTS, "socks5h://user:p%40ss@proxy.example.test:1080", "socks5://user:p%40ss@proxy.example.test:1080"),
        (MAP, "http://proxy.example.test:3128", "http://proxy.example.test:3128"),
    ],
)
def test_each_profile_has_its_form_of_proxy(folder: Path, profile: str, url: str, line: str) -> None:
    lay_down(folder, proxy=url)
    lane_exec.prepare(lane(profile))
    assert (folder / "proxies.txt").read_text() == line + "\n"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:planted@proxy.example.test:3128", "use one of socks5, socks5h"),
        ("socks5://user:planted%3Ax@proxy.example.test:1080", "a colon or a blank"),
        ("socks5://user:planted%0Ax@proxy.example.test:1080", "a colon or a blank"),
        ("socks5://user:planted@[::1]:1080", "a colon or a blank"),
        ("socks5://user:planted@proxy.example.test:x", "no valid port"),
    ],
)
def test_a_proxy_that_the_oldest_profile_would_go_around_stops_the_start(folder: Path, url: str, words: str) -> None:
    lay_down(folder, proxy=url)
    with pytest.raises(LaneError, match=words) as caught:
        lane_exec.prepare(lane(TEXTS))
    assert "planted" not in str(caught.value)
    assert not (folder / "proxies.txt").exists()


# Tokens that the program could not bear.


@pytest.mark.parametrize(
    ("profile", "token", "fits"),
    [
        (MAP, "opaque", False),
        (MAP, "a.b", True),
        (MAP, "a.b.c", True),
        (MAP, ".x", False),
        (TEXTS, "opaque", True),
        (OBJECTS, "opaque", True),
    ],
)
def test_a_token_is_looked_at_before_the_program_gets_it(folder: Path, profile: str, token: str, fits: bool) -> None:
    lay_down(folder, token=token)
    if fits:
        lane_exec.prepare(lane(profile))
        check_token(lane(profile), token)
        return
    for refuse in (lambda: lane_exec.prepare(lane(profile)), lambda: check_token(lane(profile), token)):
        with pytest.raises(LaneError, match=r"the token of alice does not have the form .* another profile") as caught:
            refuse()
        assert token not in str(caught.value).replace("[^.]", "")
    assert list(folder.iterdir()) == []


def test_the_lane_runner_does_not_lay_down_a_token_that_would_end_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lanes(tmp_path / "lanes.json", "alice", **known_profile(MAP))
    monkeypatch.setattr(runner.load_lanes, "__defaults__", (tmp_path / "lanes.json",))
    monkeypatch.setattr(runner, "LANE_RUNNER_FOLDER", str(tmp_path))
    with pytest.raises(runner.LaneError, match="does not have the form"):
        runner.answer({"operation": "put", "lane": "alice", "token": "opaque"})
    assert not (tmp_path / "alice.json").exists()


# The second name of a program that logs in by itself.


class Program(BaseHTTPRequestHandler):
    """Takes tokens as the program does, or refuses them."""

    status = 200
    taken: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_PATCH(self) -> None:
        """Answer and remember."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.taken.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:  # noqa: D102 (silence)
        return


@pytest.fixture
def program() -> Iterator[tuple[str, int]]:
    """Run the program's admin route; return where."""
    server = HTTPServer(("127.0.0.1", 0), Program)
    Program.status, Program.taken = 200, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "127.0.0.1", server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def running(profile: str, program: tuple[str, int]) -> Lane:
    return Lane("alice", program[0], {"a": program[1]}, known_profile(profile))


@pytest.fixture
def put_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lane runner have laid down another token since the replica was started."""
    monkeypatch.setattr(lane_exec, "LANE_RUNNER_FOLDER", str(folder.parent))
    lay_down(folder, token="planted.token.last")
    (folder.parent / "credentials/lane").rename(folder.parent / "alice.json")


@pytest.mark.usefixtures("put_last")
def test_a_replica_counts_as_started_only_when_its_second_name_has_the_token_of_now(program: tuple[str, int]) -> None:
    lane_exec.settle(running(MAP, program), "a")
    assert Program.taken == [
        ("/admin/tokens", "planted-admin", {"alice.patched": {"token": "planted.token.last", "puid": ""}})
    ]


@pytest.mark.usefixtures("put_last")
@pytest.mark.parametrize("profile", [TEXTS, OBJECTS])
def test_a_program_that_never_logs_in_is_left_alone_after_its_start(program: tuple[str, int], profile: str) -> None:
    lane_exec.settle(running(profile, program), "a")
    assert Program.taken == []


@pytest.mark.usefixtures("put_last")
def test_a_program_that_does_not_take_its_second_name_has_not_started(program: tuple[str, int]) -> None:
    Program.status = 400
    with pytest.raises(LaneError, match="does not take its token after the start, it answers 400") as caught:
        lane_exec.settle(running(MAP, program), "a")
    assert "planted" not in str(caught.value)


@pytest.mark.usefixtures("put_last")
def test_a_program_that_ended_meanwhile_has_not_started(program: tuple[str, int]) -> None:
    with pytest.raises(LaneError, match="it answers nothing"):
        lane_exec.settle(running(MAP, (program[0], 1)), "a")
    assert Program.taken == []


# Input and environment.


@pytest.mark.slow
def test_a_program_that_asks_a_person_waits_instead_of_asking_again(tmp_path: Path) -> None:
    for name, content in files_of_the_lanes().items():
        (tmp_path / name).write_text(content)
    source = (
        f"import sys, os; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import importlib.util, importlib.machinery as machinery\n"
        f"loader = machinery.SourceFileLoader('lane_exec', {str(tmp_path / 'lane-exec')!r})\n"
        "module = importlib.util.module_from_spec(importlib.util.spec_from_loader('lane_exec', loader))\n"
        "loader.exec_module(module)\n"
        "module.never_ending_input()\n"
        "os.execv('/bin/cat', ['cat'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.kill()


@pytest.mark.parametrize("profile", NAMES)
def test_no_profile_sets_what_it_forbids_others_to_set_but_history(profile: str) -> None:
    known = known_profile(profile)
    own = {**known["environment"], **known["history_off_environment"], **known["history_on_environment"]}
    assert set(own) & set(known["forbidden_environment"]) <= {"ENABLE_HISTORY"}
    assert {"ADMIN_PASSWORD", "ACCESS_TOKENS", "OPENAI_PASSWORD", "CF_PROXY", "http_proxy"} <= set(
        known["forbidden_environment"]
    )


def test_history_is_off_in_the_word_of_each_profile() -> None:
    words = {name: known_profile(name)["history_off_environment"].get("ENABLE_HISTORY") for name in NAMES}
    assert words == {TEXTS: "false", OBJECTS: "false", MAP: None}
    assert known_profile(MAP)["history_on_environment"] == {"ENABLE_HISTORY": "true"}
