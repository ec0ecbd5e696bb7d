# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen to one answer of a provider made of functions, by the names of the stand-in provider's faults."""

from __future__ import annotations

import json
from collections.abc import Callable

from ansible_collections.dcta.fleet.plugins.module_utils.accounts.errors import NetworkError
from identity_fake import FakeProvider, Reply, document, page


def _lost(_done: Reply) -> Reply:
    raise NetworkError("The connection to login.example.test was lost.", sent=True)


def _cut(done: Reply) -> Reply:
    return Reply(done.status_code, done.headers, done.text[: len(done.text) // 2], complete=False)


def _no_access_token(done: Reply) -> Reply:
    return document({name: value for name, value in json.loads(done.text).items() if name != "access_token"})


AFTERWARDS: dict[str, Callable[[Reply], Reply]] = {
    "lost": _lost,
    "lost_bad_gateway": lambda _done: page("<h1>Bad gateway</h1>", 502),
    "empty": lambda _done: Reply(),
    "cut": _cut,
    "no_access_token": _no_access_token,
}
"""What becomes of an answer when the work is done."""


def break_once(provider: FakeProvider, kind: str, endpoint: str = "POST /oauth/token") -> None:
    """Let one request meet a fault.

    Args:
        provider: the fake.
        kind: ``bad_gateway``, where nothing is done, or one of ``AFTERWARDS``.
        endpoint: method and path.
    """

    def answer(fields: dict[str, str]) -> Reply:
        del provider.answers[endpoint]
        if kind == "bad_gateway":
            return page("<h1>Bad gateway</h1>", 502)
        method, _space, path = endpoint.partition(" ")
        return AFTERWARDS[kind](provider.handle(method, path, fields))

    provider.answers[endpoint] = answer
