# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login: a loop over redirect, page and callback, driven by the forms that the provider shows."""

from __future__ import annotations

import hmac
import random
import re
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from . import totp
from .credentials import Credentials
from .errors import (
    ACCOUNT_ERRORS,
    AccountError,
    CaptchaRequired,
    ConsentRequired,
    MfaInvalid,
    MfaRequired,
    ProviderError,
    UnknownPage,
)
from .forms import Field, HtmlForm, Page, parse
from .limits import Limits
from .oauth import Pkce, TokenAnswer, base64url, exchange_code
from .provider import Provider, error_of, unknown_host
from .transport import Client, Form, Response, header, json_object, refusal

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})


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
        self._journal = journal
        self._limits = limits
        self._sleep = sleep
        self._pkce = Pkce.fresh(rng)
        self._state = base64url(rng.randbytes(24))
        self._submitted: set[str] = set()
        self._code_attempts = 0
        # A secret that cannot be decoded must be found before the password is spent.
        self._totp_key = totp.decode_secret(credentials.totp_secret) if credentials.totp_secret else None

    def run(self) -> TokenAnswer:
        method, url, data = "GET", self._authorization_url(), None
        hops = 0
        while True:
            response = self._client.send(method, url, data)
            if response.status_code in _REDIRECTS and (location := header(response, "Location")):
                target = self._resolve(url, location)
                if self._is_callback(target):
                    return exchange_code(self._client, self._provider, self._read_callback(target), self._pkce)
                if response.status_code not in _KEEP_METHOD:
                    method, data = "GET", None
                url = self._allowed(target)
            else:
                submitted = len(self._submitted) + self._code_attempts
                url, data = self._answer_page(url, response)
                method = "POST"
                if data is None:
                    method = "GET"
                if len(self._submitted) + self._code_attempts > submitted:
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

    @staticmethod
    def _resolve(base: str, location: str) -> str:
        try:
            target = urljoin(base, location.strip())
            urlsplit(target)
        except ValueError:
            raise UnknownPage("The provider redirects to an unreadable address.") from None
        return target

    def _allowed(self, url: str) -> str:
        if not self._provider.allows(url):
            raise unknown_host(url)
        return urlunsplit(urlsplit(url)._replace(fragment=""))

    def _is_callback(self, url: str) -> bool:
        target, own = urlsplit(url), urlsplit(self._provider.redirect_uri)
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
            raise ProviderError("The callback names another issuer.", cure="Correct the provider's issuer.")
        if error := parameters.get("error"):
            name = error if re.fullmatch(r"[A-Za-z0-9_\-]{1,40}", error) else "unreadable"
            raise ACCOUNT_ERRORS[error_of(self._provider, error) or "provider_error"](
                f"The provider ended the login with the error {name}."
            )
        if not parameters.get("code"):
            raise ProviderError("The callback holds no code.")
        return parameters["code"]

    def _answer_page(self, url: str, response: Response) -> tuple[str, Form | None]:
        """Read a page, raise what it tells, or return where its filled form goes."""
        parts = urlsplit(url)
        where = f"The page {_shown_path(parts.path)}"
        page = parse(response.text, self._provider.error_code_attribute)
        form, step = self._choose_form(page)
        failed = response.status_code >= 400
        repeated = step in self._submitted
        if failed or repeated or step is None:
            self._raise_code(page, response, step, where)
        blocked = refusal(response, self._client.clock(), where)
        # A form that can still be filled in outweighs a 403; nothing outweighs 429 and 5xx.
        if blocked is not None and (response.status_code != 403 or step in {None, "continue"}):
            raise blocked
        for fragment, error_class in self._provider.page_errors.items():
            if fragment in parts.path:
                raise ACCOUNT_ERRORS[error_class](f"{where} asks for something that only a person can do.")
        if self._shows_captcha(page, form):
            raise CaptchaRequired
        if form is None or step is None or (failed and step == "continue"):
            if failed:
                raise ProviderError(
                    f"{where} answered {response.status_code}.",
                    cure="Check client_id, redirect_uri and scope of the provider if it does not pass.",
                )
            raise UnknownPage(f"{where} shows no form that can be filled in.")
        if repeated and not (step == "code" and self._code_attempts <= self._limits.mfa_retries):
            self._raise_rejected(step)
        return self._submit(url, form, step, where)

    def _raise_code(self, page: Page, response: Response, step: str | None, where: str) -> None:
        codes = list(page.error_codes)
        if "json" in header(response, "Content-Type").lower():
            body = json_object(response)
            codes += [value for value in (body.get("error"), body.get("code")) if isinstance(value, str)]
        for code in codes:
            error_class = error_of(self._provider, code)
            if error_class is None:
                continue
            if error_class == "mfa_invalid" and step == "code" and self._code_attempts <= self._limits.mfa_retries:
                return
            if error_class == "mfa_invalid":
                raise self._code_rejected()
            waits = refusal(response, self._client.clock(), where)
            error = ACCOUNT_ERRORS[error_class](
                f"{ACCOUNT_ERRORS[error_class].default_sentence.rstrip('.')} (code {code})."
            )
            error.retry_after = waits.retry_after if waits is not None else None
            raise error

    def _raise_rejected(self, step: str) -> None:
        error_class = self._provider.step_errors.get(step, "unknown_page")
        raise self._code_rejected() if error_class == "mfa_invalid" else ACCOUNT_ERRORS[error_class]()

    def _code_rejected(self) -> AccountError:
        skew = self._client.skew
        if skew is not None and abs(skew) > self._limits.totp_skew:
            return MfaInvalid(
                f"The provider rejected the one-time code, and the node's clock differs from its own by {skew:+.0f} s.",
                cure="Set the node's clock, then lift the account.",
            )
        return MfaInvalid()

    def _choose_form(self, page: Page) -> tuple[HtmlForm | None, str | None]:
        steps = [(form, self._step(form)) for form in page.forms]
        for wanted in ("password", "code", "identifier", "continue"):
            for form, step in steps:
                if step == wanted:
                    return form, step
        return next(((form, step) for form, step in steps if step == "choice"), (None, None))

    def _step(self, form: HtmlForm) -> str | None:
        fillable = [item for item in form.fields if item.fillable]
        passwords = [item for item in fillable if self._is_password(item)]
        if any(item.autocomplete == "new-password" for item in passwords) or len(passwords) > 1:
            return None
        if passwords:
            return "password"
        if any(self._is_code(item) for item in fillable):
            return "code"
        if any(self._is_identifier(item) for item in fillable):
            return "identifier"
        if fillable:
            return None
        # Nothing to fill in: a named or second button is a choice that is the owner's to make, anything else a way on.
        return "choice" if len(form.buttons) > 1 or any(button.name for button in form.buttons) else "continue"

    def _is_password(self, item: Field) -> bool:
        return (item.kind == "password" or item.name in self._provider.password_fields) and not self._is_code(item)

    def _is_code(self, item: Field) -> bool:
        return item.name in self._provider.code_fields or item.autocomplete == "one-time-code"

    def _is_identifier(self, item: Field) -> bool:
        return (
            item.name in self._provider.identifier_fields
            or item.kind == "email"
            or item.autocomplete.split(" ")[0] in {"username", "email"}
        )

    def _shows_captcha(self, page: Page, form: HtmlForm | None) -> bool:
        if form is None:
            return page.captcha
        return form.captcha or any(item.name in self._provider.captcha_fields for item in form.fields)

    def _submit(self, url: str, form: HtmlForm, step: str, where: str) -> tuple[str, Form | None]:
        if step == "choice":
            raise ConsentRequired(f"{where} asks the owner of the account for a decision.")
        button = form.buttons[0] if form.buttons else None
        action = (button.action if button is not None else "") or form.action
        target = self._allowed(self._resolve(url, action or url))
        if form.method != "post" and step != "continue":
            raise UnknownPage(f"{where} would put credentials into an address.")
        data = [self._filled(item, step) for item in form.fields]
        if button is not None and button.name:
            data.append((button.name, button.value))
        if step == "password":
            self._journal.password_submission()
        if step != "continue":
            self._submitted.add(step)
        if form.method != "post":
            return urlunsplit(urlsplit(target)._replace(query=urlencode(data))), None
        return target, data

    def _filled(self, item: Field, step: str) -> tuple[str, str]:
        if item.fillable:
            if self._is_code(item):
                optional = step == "password" and not item.required and self._totp_key is None
                return item.name, "" if optional else self._one_time_code()
            if self._is_password(item):
                return item.name, self._credentials.password or ""
            if self._is_identifier(item):
                return item.name, self._credentials.email or ""
        return item.name, item.value

    def _one_time_code(self) -> str:
        if self._totp_key is None:
            raise MfaRequired
        step, wait = totp.choose_step(self._client.clock(), self._journal.last_code_step, self._limits.totp_min_left)
        if wait > 0:
            self._sleep(wait)
        self._journal.code_submission(step)
        self._code_attempts += 1
        return totp.code_at(self._totp_key, step)


def _shown_path(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9/._\-]", "?", path)[:80] or "/"
