# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page of a login says: that it went wrong and in which way, or nothing, so that its form can be filled in.

A rejection locks an account until its credentials change, so it takes a sign: a known error code, a 401 to the
password, or the page of a step that comes back although all that it asks for was given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .errors import (
    ACCOUNT_ERRORS,
    AccountError,
    BadCredentials,
    CaptchaRequired,
    MfaInvalid,
    ProviderError,
    UnknownPage,
)
from .limits import Limits
from .login_pages import FILLED, NAME_THE_FIELD, LoginPage
from .provider import Provider, error_of
from .shown_text import Shown
from .transport import Client, Response, header, json_object, refusal

_MOST_IDENTIFIERS = 3
_CODE = re.compile(r"\S{1,60}")
# Frameworks repeat the status in words where a code belongs.
_PHRASES = frozenset(status.phrase.lower() for status in HTTPStatus)


@dataclass
class Progress:
    """What a login has sent so far.

    Attributes:
        steps: for each step the fields that its page showed.
        codes: one-time codes.
        submissions: forms that were filled in.
    """

    steps: dict[str, frozenset[str]] = field(default_factory=dict)
    codes: int = 0
    submissions: int = 0

    def note(self, step: str, fields: frozenset[str]) -> None:
        """Note that a form was filled in."""
        self.steps[step] = fields
        self.submissions += 1


class Judge:
    """Reads what pages say.

    Args:
        provider: its error codes and the classes of its pages.
        client: the provider's clock.
        limits: how many one-time codes may be tried.
        shown: cleans what messages quote of a page.
    """

    def __init__(self, provider: Provider, client: Client, limits: Limits, shown: Shown) -> None:
        self._provider = provider
        self._client = client
        self._limits = limits
        self._shown = shown

    def check(self, page: LoginPage, response: Response, progress: Progress, *, answers: str | None) -> None:
        """Return if the form of a page is to be filled in.

        Args:
            page: the answer as a page.
            response: the answer.
            progress: what was sent before.
            answers: the step that it is the direct answer to.

        Raises:
            AccountError: the page tells of a failure, wants what cannot be given, or is not understood.
        """
        failed, fillable = response.status_code >= 400, page.step in FILLED
        repeated = page.step in progress.steps
        again = page.step == "code" and progress.codes <= self._limits.mfa_retries
        waits = refusal(response, self._client.clock(), page.where)
        # The codes on a page that goes on are there for the page's scripts.
        if failed or repeated or not (fillable or page.step == "continue"):
            self._read_codes(page, response, progress, waits, again=again)
        # A 403 without anything of the provider's own comes from a guard in front of it; nothing outweighs 429 and 5xx.
        speaks = fillable or page.offers_choice or (answers is not None and _is_json(response))
        if waits is not None and not (response.status_code == 403 and speaks):
            raise waits
        if answers == "password" and response.status_code == 401 and not (page.step in FILLED and _asks_more(page)):
            raise self._rejected("password")
        for fragment, error_class in self._provider.page_errors.items():
            if fragment in page.path:
                raise ACCOUNT_ERRORS[error_class](f"{page.where} asks for something that only a person can do.")
        if page.captcha:
            raise CaptchaRequired
        if page.step is None or (failed and not fillable and not page.offers_choice):
            raise _no_form(page, response, answers)
        if (obstacle := page.obstacle()) is not None:
            raise obstacle
        if repeated and not again:
            self._refuse_repetition(page, progress)

    def _read_codes(
        self, page: LoginPage, response: Response, progress: Progress, waits: AccountError | None, *, again: bool
    ) -> None:
        codes = list(_codes(page, response))
        known = next((code for code in codes if error_of(self._provider, code) is not None), None)
        if known is not None:
            kind = ACCOUNT_ERRORS[error_of(self._provider, known) or "unknown_page"]
            if kind is MfaInvalid and again:
                return
            if kind in {BadCredentials, MfaInvalid} and not (progress.codes if kind is MfaInvalid else progress.steps):
                raise UnknownPage(
                    f"{page.where} shows the error code {self._shown.name(known)} before it was given anything."
                )
            if kind is MfaInvalid:
                raise self._code_rejected()
            error = kind(f"{kind.default_sentence.rstrip('.')} (code {self._shown.name(known)}).")
            error.retry_after = waits.retry_after if waits is not None else None
            raise error
        if codes and (waits is None or response.status_code == 403):
            # Before anything was sent another try does no harm.
            unknown = UnknownPage if progress.submissions else ProviderError
            raise unknown(
                f"{page.where} shows the error code {self._shown.name(codes[0])}, which is not known.",
                cure="Look at the page with a browser, then give the code its class in error_codes of the provider.",
            )

    def _rejected(self, step: str) -> AccountError:
        error_class = self._provider.step_errors.get(step, "unknown_page")
        return self._code_rejected() if error_class == "mfa_invalid" else ACCOUNT_ERRORS[error_class]()

    def _code_rejected(self) -> AccountError:
        skew = self._client.skew
        if skew is not None and abs(skew) > self._limits.totp_skew:
            return MfaInvalid(
                f"The provider rejected the one-time code, and the node's clock differs from its own by {skew:+.0f} s.",
                cure="Set the node's clock, then lift the account.",
            )
        return MfaInvalid()

    def _refuse_repetition(self, page: LoginPage, progress: Progress) -> None:
        """Judge the page of a step that was done already."""
        step = str(page.step)
        if page.fields != progress.steps[step]:
            if step == "identifier" and progress.submissions < _MOST_IDENTIFIERS:
                return
            names = self._shown.names(sorted(page.fields))
            raise UnknownPage(f"{page.where} asks for the {step} again, with other fields than before: {names}.")
        if unknown := page.unknown_fields():
            raise UnknownPage(
                f"{page.where} came back, perhaps since nothing fills in {self._shown.names(unknown)}.",
                cure=NAME_THE_FIELD,
            )
        raise self._rejected(step)


def _codes(page: LoginPage, response: Response) -> Iterator[str]:
    yield from page.page.error_codes
    if not _is_json(response):
        return
    try:
        body = json_object(response)
    except RecursionError:
        return
    errors = body.get("errors")
    inner = [body.get("error"), *(errors[:1] if isinstance(errors, list) else [])]
    places = [body, *(item for item in inner if isinstance(item, dict))]
    values: list[Any] = [place.get(name) for place in places for name in ("error", "code", "error_code", "errorCode")]
    for value in values:
        # Some put a sentence where a code belongs.
        if isinstance(value, str) and _CODE.fullmatch(value) and value.lower() not in _PHRASES:
            yield value


def _is_json(response: Response) -> bool:
    return "json" in header(response, "Content-Type").lower()


def _asks_more(page: LoginPage) -> bool:
    """Tell whether a page wants what was not given, so that its 401 says nothing of the password."""
    return page.step != "password" or page.captcha or page.obstacle() is not None


def _no_form(page: LoginPage, response: Response, answers: str | None) -> AccountError:
    told = page.describe()
    shows = f"; it shows {told}" if told else ""
    if response.status_code < 400:
        return UnknownPage(f"{page.where} shows no form that can be filled in{shows}.")
    answered = f"{page.where} answered {response.status_code}"
    if answers == "password" and (response.status_code in {400, 422} or _is_json(response)):
        # Whether the password is wrong it does not say, but it would say the same to the next one.
        return UnknownPage(
            f"{answered} to the password, with no known error code and no form{shows}.",
            cure="Log in with a browser. If the password is wrong correct it, else supply an access_token by hand.",
        )
    if page.asks:
        return UnknownPage(f"{answered} with a form that cannot be filled in{shows}.")
    return ProviderError(
        f"{answered}{shows}.",
        cure="Check client_id, redirect_uri and scope of the provider if it does not pass.",
    )
