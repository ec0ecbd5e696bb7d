# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults and variants that tests turn on, for everybody or for one account."""

from __future__ import annotations

import dataclasses
import typing

ENDPOINTS = (
    "authorize",
    "identifier",
    "password",
    "otp",
    "consent",
    "resume",
    "code",
    "refresh",
    "revoke",
    "requirements",
    "chat",
)
INSTEAD = (
    "rate_limit",
    "bot_wall",
    "server_error",
    "bad_gateway",
    "unavailable",
    "invalid_grant",
    "invalid_client",
    "unknown_page",
    "close",
)
"""Faults that come in place of an endpoint's work."""
AFTERWARDS = ("lost", "lost_bad_gateway", "empty", "cut", "drip", "no_access_token")
"""Faults of the answer when the work is done."""
FAULTS = INSTEAD + AFTERWARDS
GLOBAL_ONLY = ("identity_down", "chat_down", "anonymous_chat", "html_errors")
WHOLE_NUMBERS = ("retry_after", "times", "status")

_DEFAULTS: dict[str, object] = {
    "one_page": False,
    "mfa_before_resume": False,
    "consent": False,
    "absolute_redirects": False,
    "offline_needs_consent": False,
    "rotate": True,
    "captcha": "",
    "identifier_error": "",
    "password_error": "",
    "wrong_password_code": "wrong-email-credentials",
    "wrong_password_status": 400,
    "mfa_page": "",
    "invalid_code": False,
    "authorize_error": "",
    "callback_error": "",
    "wrong_state": False,
    "wrong_issuer": False,
    "invalid_grant_status": 403,
    "html_errors": False,
    "expires_in": None,
    "piece_delay": 0.0,
    "max_tokens": 0,
    "identity_down": False,
    "chat_down": False,
    "anonymous_chat": False,
    **{f"{endpoint}_delay": 0.0 for endpoint in ENDPOINTS},
    **{f"{endpoint}_answer": None for endpoint in ENDPOINTS},
}


class SwitchError(Exception):
    """A switch was named or set wrongly; the message says how it is meant."""


@dataclasses.dataclass
class Fault:
    """A canned answer for an endpoint.

    Args:
        kind: one of ``FAULTS``.
        retry_after: seconds, for ``rate_limit`` and ``unavailable``.
        times: how many requests get it; 0 means until it is taken away.
        status: of ``bad_gateway`` and ``lost_bad_gateway``.
        pause: seconds between the bytes of a ``drip``.
    """

    kind: str
    retry_after: int = 30
    times: int = 0
    status: int = 502
    pause: float = 1.0


def _parse(name: str, value: object) -> object:
    if name not in _DEFAULTS:
        raise SwitchError(f"Unknown switch {name!r}; known are: {', '.join(sorted(_DEFAULTS))}.")
    if name.endswith("_answer"):
        return _parse_fault(name, value)
    default = _DEFAULTS[name]
    if default is None:
        return value
    wanted: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise SwitchError(f"Switch {name!r} must be of the same kind as {default!r}.")
    return value


def _parse_fault(name: str, value: object) -> Fault:
    fields = {"kind": value} if isinstance(value, str) else value
    known = [field.name for field in dataclasses.fields(Fault)]
    if not isinstance(fields, dict) or set(fields) - set(known) or fields.get("kind") not in FAULTS:
        raise SwitchError(
            f"Switch {name!r} must be one of {', '.join(FAULTS)}, or an object with {', '.join(known)}, kind at least."
        )
    if not all(type(fields[key]) is int and fields[key] >= 0 for key in WHOLE_NUMBERS if key in fields):
        raise SwitchError(f"Switch {name!r} takes {', '.join(WHOLE_NUMBERS)} as whole numbers.")
    if type(fields.get("pause", 1.0)) not in (int, float) or fields.get("pause", 1.0) < 0:
        raise SwitchError(f"Switch {name!r} takes pause as a number of seconds.")
    return Fault(**fields)


class Switches:
    """The current setting of all switches; an account's own setting goes before the global one."""

    def __init__(self) -> None:
        self._global: dict[str, object] = {}
        self._accounts: dict[str, dict[str, object]] = {}

    def set(self, values: dict[str, object], email: str = "") -> None:
        """Change switches; the value None takes a setting away.

        Args:
            values: switch names and their new values.
            email: the account meant; empty means everybody.

        Raises:
            SwitchError: unknown name or wrong value; nothing is changed then.
        """
        parsed = {name: None if value is None else _parse(name, value) for name, value in values.items()}
        if email and (refused := sorted(set(parsed) & set(GLOBAL_ONLY))):
            raise SwitchError(f"Switch {refused[0]!r} is global; leave the e-mail out.")
        scope = self._accounts.setdefault(email, {}) if email else self._global
        for name, value in parsed.items():
            if value is None:
                scope.pop(name, None)
            else:
                scope[name] = value

    def clear(self) -> None:
        """Return every switch to its default."""
        self._global.clear()
        self._accounts.clear()

    def _get(self, name: str, email: str) -> object:
        return self._accounts.get(email, {}).get(name, self._global.get(name, _DEFAULTS[name]))

    def flag(self, name: str, email: str = "") -> bool:
        """Return a switch that is on or off."""
        return typing.cast(bool, self._get(name, email))

    def text(self, name: str, email: str = "") -> str:
        """Return a switch that holds a text."""
        return typing.cast(str, self._get(name, email))

    def number(self, name: str, email: str = "") -> int:
        """Return a switch that holds a whole number."""
        return typing.cast(int, self._get(name, email))

    def value(self, name: str, email: str = "") -> object:
        """Return a switch that holds anything; None when it is not set."""
        return self._get(name, email)

    def seconds(self, name: str, email: str = "") -> float:
        """Return a switch that holds a duration in seconds."""
        return float(typing.cast(float, self._get(name, email)))

    def take_fault(self, endpoint: str, email: str = "") -> Fault | None:
        """Return the fault that the next request to an endpoint meets, and count it off.

        Args:
            endpoint: one of ``ENDPOINTS``.
            email: the account the request is about, empty when unknown.

        Returns:
            The fault, or None.
        """
        name = f"{endpoint}_answer"
        for scope in (self._accounts.get(email, {}), self._global):
            fault = scope.get(name)
            if isinstance(fault, Fault):
                if fault.times == 1:
                    del scope[name]
                elif fault.times > 1:
                    fault.times -= 1
                return fault
        return None

    def take_count(self, name: str, email: str = "") -> bool:
        """Count a number switch down by one; True while it was above zero."""
        for scope in (self._accounts.get(email, {}), self._global):
            left = scope.get(name)
            if isinstance(left, int) and left > 0:
                scope[name] = left - 1
                return True
        return False

    def show(self) -> dict[str, object]:
        """Return what is set, for the control API."""

        def plain(scope: dict[str, object]) -> dict[str, object]:
            return {name: dataclasses.asdict(v) if isinstance(v, Fault) else v for name, v in scope.items()}

        return {"global": plain(self._global), "accounts": {e: plain(s) for e, s in self._accounts.items() if s}}
