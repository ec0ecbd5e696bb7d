# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API, for tests only: switches, holds, lifetimes, revocation and statistics over plain HTTP and JSON."""

from __future__ import annotations

import dataclasses
import typing

from aiohttp import web

from .config import ConfigError, User, build
from .grants import Grants
from .holds import GRANTS, Holds
from .records import Records
from .switches import SwitchError, Switches

KINDS = ("access", "refresh", "everything")


class _Refused(Exception):
    """The request cannot be served; the message says what would be right."""


def _take(body: dict[str, typing.Any], **known: object) -> list[typing.Any]:
    """Return the named values of a body in their order, or their defaults; nothing else may be in it."""
    if unknown := sorted(set(body) - set(known)):
        raise _Refused(f"Unknown key {unknown[0]!r}; known are: {', '.join(known)}.")
    for name, default in known.items():
        wanted = (int, float) if isinstance(default, float) else type(default)
        if name in body and not isinstance(body[name], wanted):
            raise _Refused(f"{name!r} must be of the same kind as {default!r}.")
    return [body.get(name, default) for name, default in known.items()]


async def _read(request: web.Request) -> dict[str, typing.Any]:
    body = await request.json() if request.can_read_body else {}
    if not isinstance(body, dict):
        raise _Refused("The body must be a JSON object.")
    return body


class Control:
    """The web application of the control API.

    Args:
        grants: shared state.
        switches: variants and faults.
        holds: what waits at the token endpoint.
        records: counters and events.
    """

    def __init__(self, grants: Grants, switches: Switches, holds: Holds, records: Records) -> None:
        self._grants = grants
        self._switches = switches
        self._holds = holds
        self._records = records

    def application(self) -> web.Application:
        """Build the application."""
        application = web.Application()
        application.router.add_get("/statistics", self._statistics)
        application.router.add_get("/switches", self._show_switches)
        for path, action in {
            "/switches": self._set_switches,
            "/reset": self._reset,
            "/revoke": self._revoke,
            "/hold": self._hold,
            "/release": self._release,
            "/lifetimes": self._lifetimes,
            "/clock": self._clock,
            "/issue": self._issue,
            "/users": self._user,
        }.items():
            application.router.add_post(path, self._json(action))
        return application

    def _json(
        self, action: typing.Callable[[dict[str, typing.Any]], dict[str, object]]
    ) -> typing.Callable[[web.Request], typing.Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                return web.json_response(action(await _read(request)))
            except (_Refused, SwitchError, ConfigError, ValueError) as refusal:
                return web.json_response({"error": str(refusal)}, status=400)

        return handle

    async def _statistics(self, _request: web.Request) -> web.Response:
        return web.json_response({**self._records.show(), "waiting": self._holds.show()})

    async def _show_switches(self, _request: web.Request) -> web.Response:
        return web.json_response(self._switches.show())

    def _set_switches(self, body: dict[str, typing.Any]) -> dict[str, object]:
        email, switches = _take(body, email="", switches={})
        self._switches.set(switches, email)
        return self._switches.show()

    def _reset(self, body: dict[str, typing.Any]) -> dict[str, object]:
        (tokens,) = _take(body, tokens=False)
        self._switches.clear()
        self._holds.release(GRANTS)
        self._grants.restore_settings()
        if tokens:
            self._grants.forget()
        self._records.clear()
        return {}

    def _revoke(self, body: dict[str, typing.Any]) -> dict[str, object]:
        email, everybody, kind = _take(body, email="", all=False, kind="access")
        if bool(email) == everybody:
            raise _Refused("Name either an 'email' or 'all': true.")
        if kind not in KINDS:
            raise _Refused(f"'kind' must be one of {', '.join(KINDS)}.")
        return {"ended": self._grants.revoke_account(email, kind)}

    def _held(self, body: dict[str, typing.Any]) -> tuple[list[str], str]:
        email, grants = _take(body, email="", grants=list(GRANTS))
        if not grants or any(grant not in GRANTS for grant in grants):
            raise _Refused(f"'grants' must be a list out of {', '.join(GRANTS)}.")
        return grants, email

    def _hold(self, body: dict[str, typing.Any]) -> dict[str, object]:
        self._holds.hold(*self._held(body))
        return self._holds.show()

    def _release(self, body: dict[str, typing.Any]) -> dict[str, object]:
        waiting = self._holds.show()
        self._holds.release(*self._held(body))
        return waiting

    def _lifetimes(self, body: dict[str, typing.Any]) -> dict[str, object]:
        self._grants.set_lifetimes(
            {name: value for name, value in body.items() if name != "email"}, body.get("email", "")
        )
        return {}

    def _clock(self, body: dict[str, typing.Any]) -> dict[str, object]:
        (ahead,) = _take(body, ahead=0.0)
        self._grants.set_clock(float(ahead))
        return {}

    def _issue(self, body: dict[str, typing.Any]) -> dict[str, object]:
        email, refresh, lifetime = _take(body, email="", refresh=False, lifetime=-1.0)
        if not email:
            raise _Refused("'email' is missing.")
        return self._grants.issue(email, refresh=refresh, lifetime=None if lifetime < 0 else lifetime).answer()

    def _user(self, body: dict[str, typing.Any]) -> dict[str, object]:
        user = build(User, body, "body")
        self._grants.set_user(user)
        return {"fields": sorted(name for name, value in dataclasses.asdict(user).items() if value)}
