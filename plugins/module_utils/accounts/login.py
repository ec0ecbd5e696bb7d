# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login: a loop over redirect, page and callback, driven by the forms that the provider shows."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from . import totp, web_address
from .credentials import Credentials
from .errors import ACCOUNT_ERRORS, MfaRequired, ProviderError, UnknownPage
from .form_parts import Field
from .limits import Limits
from .login_pages import FILLED, LoginPage
from .login_verdict import Judge, Progress
from .oauth import Pkce, TokenAnswer, base64url, exchange_code
from .provider import Provider, error_of, unknown_host
from .shown_text import Shown
from .transport import Client, Form, Response, header
from .web_address import UnusableAddressError, WebAddress, shown_address

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})
# A form may hold the password, and every time counts for the provider's own limits.
_MOST_RESENT = 2


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What is sent next.

    Attributes:
        method: GET or POST.
        url: a checked address.
        data: the form.
        step: the step that the form of an account is sent for.
        resent: how often a redirect has sent the form on.
    """

    method: str
    url: str
    data: Form | None = field(default=None, repr=False)
    step: str | None = None
    resent: int = 0


class Journal(Protocol):
    """Where a login writes down what it is about to do, before it does it."""

    @property
    def last_code_step(self) -> int | None:
        """Time step of the one-time code that was sent last, over all logins of the account."""

    def password_submission(self) -> None:
        """A password goes out next."""

    def code_submission(self, step: int) -> None:
        """The one-time code of this time step goes out next."""


def log_in(
    client: Client,
    provider: Provider,
    credentials: Credentials,
    *,
    journal: Journal,
    limits: Limits,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> TokenAnswer:
    """Log an account in with the authorization code grant and PKCE.

    Args:
        client: the way to the provider, with an empty cookie jar.
        provider: endpoints, client and the names on its pages; already discovered.
        credentials: e-mail, password and, where the provider asks for it, the TOTP secret.
        journal: told before the password and before each code are sent.
        limits: hop limit and the rules for one-time codes.
        sleep: waits some seconds, for the next time step.
        rng: source of randomness for the PKCE verifier and ``state``.

    Returns:
        What the provider delivered.

    Raises:
        AccountError: the login failed; the class says how.
    """
    driver = _Login(client, provider, credentials, journal=journal, limits=limits, sleep=sleep, rng=rng)
    return driver.run()


class _Login:
    def __init__(
        self,
        client: Client,
        provider: Provider,
        credentials: Credentials,
        *,
        journal: Journal,
        limits: Limits,
        sleep: Callable[[float], None],
        rng: random.Random,
    ) -> None:
        self._client = client
        self._provider = provider
        self._credentials = credentials
        self._shown = Shown(credentials)
        self._judge = Judge(provider, client, limits, self._shown)
        self._journal = journal
        self._limits = limits
        self._sleep = sleep
        self._pkce = Pkce.fresh(rng)
        self._state = base64url(rng.randbytes(24))
        self._progress = Progress()
        self._code: tuple[LoginPage, str] | None = None
        # A secret that cannot be decoded must be found before the password is spent.
        self._totp_key = totp.decode_secret(credentials.totp_secret) if credentials.totp_secret else None

    def run(self) -> TokenAnswer:
        request = _Request(method="GET", url=str(self._allowed(self._authorization_url())))
        hops = 0
        while True:
            response = self._client.send(request.method, request.url, request.data)
            if response.status_code in _REDIRECTS and (location := header(response, "Location")):
                # The callback is read and never asked, so it need not be written as strictly as other addresses.
                target = location if self._is_callback(location) else self._resolve(request.url, location)
                if self._is_callback(target):
                    return exchange_code(self._client, self._provider, self._read_callback(target), self._pkce)
                url = str(self._allowed(target))
                if response.status_code in _KEEP_METHOD and request.data is not None:
                    request = replace(request, url=url, resent=request.resent + 1)
                    if request.resent > _MOST_RESENT:
                        raise ProviderError("The login went in circles: the provider sends a form on and on.")
                else:
                    request = _Request(method="GET", url=url)
            else:
                sent = self._progress.submissions
                request = self._answer_page(request, response)
                if self._progress.submissions > sent:
                    hops = 0
            hops += 1
            if hops > self._limits.hop_limit:
                raise ProviderError(
                    f"The login went in circles: more than {self._limits.hop_limit} steps without progress."
                )

    def _authorization_url(self) -> str:
        # RFC 6749 section 4.1.1, RFC 7636 section 4.3.
        provider = self._provider
        parameters = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": provider.redirect_uri,
            "scope": provider.scope,
            "state": self._state,
            "code_challenge": self._pkce.challenge,
            "code_challenge_method": "S256",
            "audience": provider.audience,
            "prompt": provider.prompt,
            **provider.authorization_parameters,
        }
        query = urlencode({name: value for name, value in parameters.items() if value})
        endpoint = provider.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def _resolve(self, base: str, reference: str) -> str:
        try:
            return web_address.join(base, reference)
        except UnusableAddressError:
            raise unknown_host(reference) from None

    def _allowed(self, url: str) -> WebAddress:
        address = self._provider.allowed(url)
        if address is None:
            raise unknown_host(url)
        return address

    def _is_callback(self, url: str) -> bool:
        try:
            target, own = urlsplit(url), urlsplit(self._provider.redirect_uri)
        except ValueError:
            return False
        return (target.scheme, target.netloc.lower(), target.path or "/") == (
            own.scheme,
            own.netloc.lower(),
            own.path or "/",
        )

    def _read_callback(self, url: str) -> str:
        parameters: Mapping[str, str] = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        if not hmac.compare_digest(parameters.get("state", "").encode(), self._state.encode()):
            raise ProviderError("The callback does not belong to this login: its state differs.")
        issuer = parameters.get("iss")
        if issuer is not None and self._provider.issuer and issuer != self._provider.issuer:
            # RFC 9207 section 2.4.
            raise ProviderError(
                f"The callback names the issuer {shown_address(issuer)}, not {shown_address(self._provider.issuer)}.",
                cure="Set issuer to exactly that if it is the provider's own, a last slash included.",
            )
        if error := parameters.get("error"):
            error_class = error_of(self._provider, error) or "provider_error"
            if error_class in {"bad_credentials", "mfa_invalid"} and not self._progress.submissions:
                # Nothing was given that it could be about.
                error_class = "unknown_page"
            raise ACCOUNT_ERRORS[error_class](f"The provider ended the login with the error {self._shown.name(error)}.")
        if not parameters.get("code"):
            raise ProviderError("The callback holds no code.")
        return parameters["code"]

    def _answer_page(self, request: _Request, response: Response) -> _Request:
        """Read a page, raise what it tells, or return its filled form."""
        page = LoginPage(self._provider, web_address.read(request.url), response, self._shown)
        self._judge.check(page, response, self._progress, answers=request.step)
        return self._submit(request.url, page)

    def _submit(self, url: str, page: LoginPage) -> _Request:
        form = page.form
        if form is None:
            raise UnknownPage
        button = form.default_button
        action = (button.action if button is not None else "") or form.action
        target = self._allowed(self._resolve(self._base(url, page) if action else url, action))
        # Codes first: without a secret the password is not sent either.
        data = form.entries(button, lambda item: self._filled(page, item))
        if page.step == "password":
            self._journal.password_submission()
        if page.step in FILLED and page.step is not None:
            self._progress.note(page.step, page.fields)
        if ((button.method if button is not None else "") or form.method) != "post":
            return _Request(method="GET", url=str(target.with_query(urlencode(data))))
        return _Request(method="POST", url=str(target), data=data, step=page.step if page.step in FILLED else None)

    def _base(self, url: str, page: LoginPage) -> str:
        base = self._resolve(url, page.page.base)
        # A browser ignores a base that is no place of the web.
        return base if base.lower().startswith(("https://", "http://")) else url

    def _filled(self, page: LoginPage, item: Field) -> str:
        role = page.role(item) if page.fills(item) else None
        if role == "code":
            optional = page.step == "password" and not item.required and self._totp_key is None
            return "" if optional else self._one_time_code(page)
        if role == "password":
            return self._credentials.password or ""
        if role == "identifier":
            return self._credentials.email or ""
        return item.value

    def _one_time_code(self, page: LoginPage) -> str:
        """Return the code of a page, the same for all its fields."""
        if self._totp_key is None:
            raise MfaRequired
        if self._code is not None and self._code[0] is page:
            return self._code[1]
        step, wait = totp.choose_step(self._client.clock(), self._journal.last_code_step, self._limits.totp_min_left)
        if wait > 0:
            self._sleep(wait)
        self._journal.code_submission(step)
        self._progress.codes += 1
        self._code = page, totp.code_at(self._totp_key, step)
        return self._code[1]
