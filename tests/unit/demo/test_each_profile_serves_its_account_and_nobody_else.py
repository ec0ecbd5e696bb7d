# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lane-exec and the stand-in program together, for every profile: the account's token goes out, never none."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
from lane_programs import known_profile, load_program
from lanes import Lane, token_document

from .standins import DEMO

lane_exec = load_program("lane-exec")

NAMES = ("acheong08_2023_07", "acheong08_2023_08", "xqdoo00o_2025_02")
MAP = NAMES[2]
DAY = 86400
QUESTION = json.dumps({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hi"}]}).encode()

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="no Go toolchain on this machine")


def _line(text: str) -> str:
    message = {
        "id": "m",
        "author": {"role": "assistant"},
        "content": {"content_type": "text", "parts": [text]},
        "metadata": {"message_type": "next", "finish_details": {"type": "stop"} if text else None},
        "recipient": "all",
    }
    return f"data: {json.dumps({'message': message, 'conversation_id': 'c'})}\n\n"


class Outside(BaseHTTPRequestHandler):
    """The chat service, which answers everybody, and the page of the program's own logins, which refuses them."""

    authorizations: ClassVar[list[str]] = []
    logins: ClassVar[list[dict[str, list[str]]]] = []
    address = ""

    def do_GET(self) -> None:
        """Answer the questions before a login, and show its page."""
        self._answer(200, {"csrfToken": "csrf"})

    def do_POST(self) -> None:
        """Answer and remember."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/login":
            self.logins.append(parse_qs(body.decode()))
            self._answer(401, {})
        elif self.path == "/api/auth/signin/openai":
            self._answer(200, {"url": f"{self.address}/login"})
        elif self.path.endswith("/chat-requirements"):
            self._answer(200, {"token": "permit"})
        else:
            self.authorizations.append(self.headers.get("Authorization", ""))
            self._send(200, "".join(map(_line, ("", "Good day"))) + "data: [DONE]\n\n")

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self._send(status, json.dumps(body))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:  # noqa: D102 (silence)
        return


@pytest.fixture
def outside() -> Iterator[str]:
    """Run what is outside of the node; return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    Outside.authorizations.clear()
    Outside.logins.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Outside.address = f"http://127.0.0.1:{server.server_port}"
    yield Outside.address
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the stand-in."""
    path = tmp_path_factory.mktemp("program") / "program"
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "build", "-o", path, "."], cwd=DEMO / "upstream", env=environment, check=True, timeout=300)
    return path


def token(subject: str, ends_in: float = 9 * DAY) -> str:
    """Return what the program takes for an access token that ends in some seconds."""
    claims = json.dumps({"sub": subject, "exp": int(time.time() + ends_in)}).encode()
    return f"h.{base64.b64encode(claims).decode().rstrip('=')}.planted"


Replica = tuple[Lane, Callable[[], str]]


@contextmanager
def replica(
    folder: Path, program: Path, outside: str, profile: str, access_token: str, **changes: Any
) -> Iterator[Replica]:
    """Run a replica as its unit does; yield its lane and a function that asks it and returns the answer's text."""
    (folder / "credentials").mkdir()
    (folder / "state").mkdir()
    credential = {"access_token": access_token, "admin_password": "planted-admin"}
    (folder / "credentials/lane").write_text(json.dumps(credential))
    (folder / "alice.json").write_text(json.dumps(credential))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"STANDIN_PROFILE": profile, "STANDIN_SERVICE_URL": outside, "API_REVERSE_PROXY": outside}
    lane = Lane("alice", "127.0.0.1", {"a": port}, {**known_profile(profile), "environment": environment, **changes})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "state")
        patch.setenv("CREDENTIALS_DIRECTORY", str(folder / "credentials"))
        patch.setattr(lane_exec, "LANE_RUNNER_FOLDER", str(folder))
        lane_exec.prepare(lane)
        process = subprocess.Popen(
            [program],
            env=lane_exec.program_environment(lane, "a", "/"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            lane_exec.wait(lane, "a")
            lane_exec.settle(lane, "a")
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            yield lane, lambda: json.loads(ask(url, "POST", QUESTION))["choices"][0]["message"]["content"]
        finally:
            process.kill()
            process.wait()


def ask(url: str, method: str, body: bytes, **headers: str) -> str:
    """Send one request and return its answer; every status but 200 fails the test."""
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


@pytest.mark.slow
@pytest.mark.parametrize("profile", NAMES)
def test_a_replica_serves_with_its_accounts_token_and_with_the_next_one(
    tmp_path: Path, program: Path, outside: str, profile: str
) -> None:
    first, second = token("first"), token("second")
    with replica(tmp_path, program, outside, profile, first) as (lane, question):
        assert question() == "Good day"
        document = json.dumps(token_document(lane, second)).encode()
        url = f"http://127.0.0.1:{lane.ports['a']}/admin/tokens"
        assert ask(url, "PATCH", document, Authorization="planted-admin") == "tokens updated"
        assert question() == "Good day"
    assert Outside.authorizations == [f"Bearer {first}", f"Bearer {second}"]
    assert [form for form in Outside.logins if form["username"] != ["alice.patched"]] == []


@pytest.mark.slow
@pytest.mark.parametrize(("settled", "served_as"), [(True, "the account"), (False, "nobody")])
def test_the_daily_login_of_the_map_takes_no_account_away(
    tmp_path: Path, program: Path, outside: str, settled: bool, served_as: str
) -> None:
    """The second case is the trap itself: without the second name the program goes on without an account."""
    own = token("daily", ends_in=DAY + 2)
    with replica(tmp_path, program, outside, MAP, own, patch_at_start=settled) as (_lane, question):
        deadline = time.monotonic() + 15
        while ["alice"] not in [form["username"] for form in Outside.logins]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        assert question() == "Good day"
    assert Outside.authorizations == [f"Bearer {own}" if served_as == "the account" else ""]
    assert {form["password"][0] for form in Outside.logins} == {"-"}
