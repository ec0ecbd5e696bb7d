# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chat service under its own name: what has to be asked there before a chat, and where a login begins."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from .standins import ALICE, BOB, Answer, StandIns, send

NAME = "chat.example.org"
MESSAGE = {"id": "1", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}


class Service:
    """A client of the service.

    Args:
        standins: the process; it serves the name beside the identity provider.
    """

    def __init__(self, standins: StandIns) -> None:
        self.standins = standins

    def ask(self, method: str, path: str, token: str = "", body: object = None, **headers: str) -> Answer:
        """Send one request to the service's name."""
        sent = {"Host": NAME, "Content-Type": "application/json", **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        return send(method, self.standins.issuer + path, json.dumps(body).encode(), sent)

    def requirements(self, token: str = "", access: str = "api") -> Answer:
        """Ask what a chat requires."""
        return self.ask("POST", f"/backend-{access}/sentinel/chat-requirements", token, {"p": "x"})

    def chat(self, token: str, permit: str, access: str = "api") -> Answer:
        """Ask a question."""
        headers = {"Openai-Sentinel-Chat-Requirements-Token": permit}
        return self.ask("POST", f"/backend-{access}/conversation", token, {"messages": [MESSAGE]}, **headers)

    def issue(self, email: str = ALICE) -> str:
        """Issue an access token."""
        return str(self.standins.control("/issue", email=email)["access_token"])

    def events(self) -> list[str]:
        """Return what happened, without the control API's own doings."""
        return [event["event"] for event in self.standins.statistics()["events"]]


@pytest.fixture(scope="module")
def _named(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[StandIns]:
    process = StandIns(tmp_path_factory.mktemp("service"), chat={"host": "127.0.0.1", "port": 0, "name": NAME})
    yield process
    assert process.stop() == 0


@pytest.fixture
def service(_named: StandIns) -> Service:
    """The service with all switches at rest."""
    _named.control("/reset", tokens=True)
    return Service(_named)


def test_the_service_and_the_identity_provider_share_an_address_and_nothing_else(service: Service) -> None:
    document = "/.well-known/openid-configuration"
    assert service.ask("GET", "/").status == 200
    assert service.ask("GET", document).status == 404
    assert send("GET", service.standins.issuer + document).json["issuer"] == service.standins.issuer
    assert send("GET", service.standins.issuer + "/").status == 404


def test_a_chat_needs_what_was_asked_before_it_once(service: Service) -> None:
    token = service.issue()
    permit = service.requirements(token).json
    assert not permit["proofofwork"]["required"]
    assert not permit["turnstile"]["required"]
    assert "You said: Hi" in service.chat(token, permit["token"]).text
    assert service.chat(token, permit["token"]).status == 403
    assert service.chat(token, "").status == 403
    assert service.standins.statistics()["accounts"][ALICE]["chat"] == {"200": 1, "403": 2}


def test_what_one_account_asked_does_not_serve_another(service: Service) -> None:
    assert service.chat(service.issue(BOB), service.requirements(service.issue()).json["token"]).status == 403


def test_a_token_that_is_not_good_is_refused_at_both_places(service: Service) -> None:
    token = service.issue()
    permit = service.requirements(token).json["token"]
    service.standins.control("/revoke", email=ALICE)
    assert service.requirements(token).json["detail"]["code"] == "token_expired"
    assert service.chat(token, permit).status == 401


def test_who_has_no_token_is_sent_to_a_login_unless_everybody_may_chat(service: Service) -> None:
    assert service.requirements(access="anon").json == {"force_login": True}
    service.standins.switch(anonymous_chat=True)
    permit = service.requirements(access="anon").json["token"]
    assert service.chat("", permit, access="anon").status == 200


def test_a_login_begins_at_the_service_and_goes_on_elsewhere(service: Service) -> None:
    assert service.ask("GET", "/api/auth/csrf").json["csrfToken"]
    assert service.ask("POST", "/api/auth/signin/openai").json["url"].startswith("https://auth.openai.com/")
    assert service.events() == ["login_begun", "login_page"]


@pytest.mark.parametrize(
    ("fault", "status", "kind"), [("bot_wall", 403, "text/html"), ("rate_limit", 429, "application/json")]
)
def test_the_questions_before_a_chat_fail_by_their_own_switch(
    service: Service, fault: str, status: int, kind: str
) -> None:
    token = service.issue()
    service.standins.switch(ALICE, requirements_answer={"kind": fault, "times": 1})
    answer = service.requirements(token)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (status, kind)
    assert service.requirements(token).status == 200


def test_a_service_that_is_down_answers_nothing_and_the_identity_provider_goes_on(service: Service) -> None:
    service.standins.switch(chat_down=True)
    with pytest.raises(OSError, match=r"closed connection|reset by peer"):
        service.ask("GET", "/")
    with pytest.raises(OSError, match=r"closed connection|reset by peer"):
        service.requirements(service.issue())
    assert send("GET", service.standins.issuer + "/.well-known/openid-configuration").status == 200


def test_the_plain_address_of_the_chat_asks_for_nothing_before(service: Service) -> None:
    assert service.standins.chat(service.issue()).status == 200


def test_without_a_name_nobody_is_served_the_service(tmp_path: Path) -> None:
    standins = StandIns(tmp_path)
    try:
        assert Service(standins).requirements().status == 404
    finally:
        standins.stop()
