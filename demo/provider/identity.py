# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity provider's front: discovery, the authorization endpoint and the pages of a login."""

from __future__ import annotations

import dataclasses
import hmac
import re
import secrets
import typing
import urllib.parse

from aiohttp import web

from . import faults, pages
from .config import Identity
from .grants import Grants
from .holds import Holds
from .records import Records
from .switches import Switches
from .token_endpoint import TokenEndpoint, read_form

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
GIT = "/git/"


@dataclasses.dataclass
class _Transaction:
    """One login between the authorization request and the callback."""

    id: str
    cookie: str
    csrf: str
    redirect_uri: str
    scope: str
    client_state: str
    challenge: str
    expires_at: float
    email: str = ""
    authenticated: bool = False
    otp_done: bool = False
    consented: bool = False


class _Refused(Exception):
    """A request that ends in an error page."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class IdentityProvider:
    """The web application of the identity provider.

    Args:
        config: paths and addresses.
        base: scheme, host and port that clients use, without the prefix.
        grants: shared state.
        switches: variants and faults.
        holds: what waits at the token endpoint.
        records: counters and events.
    """

    def __init__(
        self, config: Identity, base: str, grants: Grants, *, switches: Switches, holds: Holds, records: Records
    ) -> None:
        self._prefix = config.prefix
        self._paths = config.paths
        self._base = base
        self._issuer = base + config.prefix
        self._grants = grants
        self._switches = switches
        self._records = records
        self._faults = faults.Faults(switches, records)
        self._tokens = TokenEndpoint(grants, switches, holds, records)
        self._secure = base.startswith("https:")
        self._transactions: dict[str, _Transaction] = {}

    def application(self, git_root: str = "") -> web.Application:
        """Build the application.

        Args:
            git_root: a folder served as plain files below ``/git/``; empty for none.
        """
        application = web.Application(middlewares=[self._guard])
        add, paths = application.router, self._paths
        add.add_get(f"{self._prefix}/.well-known/openid-configuration", self._discovery)
        add.add_get(f"/.well-known/oauth-authorization-server{self._prefix}", self._discovery)
        add.add_get(self._prefix + paths.authorize, self._authorize)
        add.add_get(self._prefix + paths.resume, self._resume)
        add.add_post(self._prefix + paths.token, self._tokens.token)
        add.add_post(self._prefix + paths.revoke, self._tokens.revoke)
        for path, handler in {
            paths.login: self._login_page,
            paths.identifier: self._identifier_page,
            paths.password: self._password_page,
            paths.otp: self._otp_page,
            paths.consent: self._consent_page,
            paths.notice: self._notice_page,
        }.items():
            add.add_get(self._prefix + path, handler)
            add.add_post(self._prefix + path, handler)
        add.add_get(self._prefix + paths.pages + "/{name}", self._other_factor_page)
        add.add_post(self._prefix + paths.pages + "/{name}", self._other_factor_page)
        if git_root:
            add.add_static(GIT, git_root)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: faults.Handler) -> web.StreamResponse:
        if self._switches.flag("identity_down") and not request.path.startswith(GIT):
            return faults.drop(request)
        try:
            return await handler(request)
        except _Refused as refused:
            return faults.html_page(pages.message("Something is wrong", refused.text), 400)

    async def _meet(self, request: web.Request, endpoint: str, email: str, work: faults.Work) -> web.StreamResponse:
        """Do the work of a page unless a delay or fault comes first."""
        state = urllib.parse.quote(request.query.get("state", ""))
        notice = f"{self._prefix}{self._paths.notice}?state={state}"
        return await self._faults.meet(request, endpoint, email, work, faults.Refusals(unknown_page=notice))

    def _redirect(self, path: str, transaction: _Transaction) -> web.Response:
        location = f"{self._prefix}{path}?state={transaction.id}"
        if self._switches.flag("absolute_redirects", transaction.email):
            location = self._base + location
        return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})

    def _callback(self, redirect_uri: str, client_state: str, email: str = "", **parameters: str) -> web.Response:
        fields = dict(parameters)
        if client_state:
            fields["state"] = secrets.token_hex(8) if self._switches.flag("wrong_state", email) else client_state
        wrong = self._switches.flag("wrong_issuer", email)
        fields["iss"] = "https://other-issuer.invalid" if wrong else self._issuer
        joint = "&" if "?" in redirect_uri else "?"
        location = redirect_uri + joint + urllib.parse.urlencode(fields)
        return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})

    async def _discovery(self, _request: web.Request) -> web.Response:
        root = self._issuer
        return web.json_response(
            {
                "issuer": self._issuer,
                "authorization_endpoint": root + self._paths.authorize,
                "token_endpoint": root + self._paths.token,
                "revocation_endpoint": root + self._paths.revoke,
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        client = self._grants.client
        if any(len(query.getall(name)) > 1 for name in query):
            raise _Refused("A parameter was given twice.")
        if query.get("client_id") != client.id:
            raise _Refused("Unknown client.")
        if query.get("redirect_uri") != client.redirect_uri:
            raise _Refused("Callback URL mismatch.")
        return await self._meet(request, "authorize", query.get("login_hint", ""), lambda: self._start(request.query))

    def _start(self, query: typing.Mapping[str, str]) -> web.Response:
        redirect_uri, client_state = query["redirect_uri"], query.get("state", "")
        audience, scope = self._grants.client.audience, query.get("scope", "")
        challenge = query.get("code_challenge", "")
        forced = self._switches.text("authorize_error", query.get("login_hint", ""))
        error = ""
        if forced:
            error = forced
        elif query.get("response_type") != "code":
            error = "unsupported_response_type"
        elif query.get("code_challenge_method") != "S256" or not re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge):
            error = "invalid_request"
        elif audience and query.get("audience") != audience:
            error = "access_denied"
        elif query.get("prompt") == "none":
            error = "login_required"
        if error:
            return self._callback(redirect_uri, client_state, error=error, error_description="The request was refused.")
        if self._switches.flag("offline_needs_consent") and "consent" not in query.get("prompt", "").split():
            scope = " ".join(word for word in scope.split() if word != "offline_access")
        now = self._grants.clock()
        self._transactions = {key: old for key, old in self._transactions.items() if old.expires_at > now}
        transaction = _Transaction(
            id=secrets.token_urlsafe(24),
            cookie=secrets.token_urlsafe(24),
            csrf=secrets.token_urlsafe(24),
            redirect_uri=redirect_uri,
            scope=scope,
            client_state=client_state,
            challenge=challenge,
            expires_at=now + self._grants.lifetime("transaction"),
            email=query.get("login_hint", ""),
        )
        self._transactions[transaction.id] = transaction
        first = self._paths.login if self._switches.flag("one_page", transaction.email) else self._paths.identifier
        answer = self._redirect(first, transaction)
        self._cookie(answer, "transaction", transaction.cookie)
        return answer

    def _cookie(self, answer: web.Response, name: str, value: str) -> None:
        same_site = "None" if self._secure else "Lax"
        answer.set_cookie(name, value, path=self._prefix or "/", httponly=True, secure=self._secure, samesite=same_site)

    def _transaction(self, request: web.Request) -> _Transaction:
        transaction = self._transactions.get(request.query.get("state", ""))
        if transaction is None or transaction.expires_at <= self._grants.clock():
            raise _Refused("This login is unknown or has expired.")
        if not hmac.compare_digest(request.cookies.get("transaction", ""), transaction.cookie):
            raise _Refused("This login was started elsewhere: its cookie is missing.")
        return transaction

    def _show(self, transaction: _Transaction, text: str, status: int = 200) -> web.Response:
        answer = faults.html_page(text, status)
        self._cookie(answer, "_csrf", transaction.csrf)
        return answer

    async def _form(self, request: web.Request, transaction: _Transaction) -> dict[str, str]:
        form = await read_form(request)
        if form is None:
            raise _Refused("The form could not be read.")
        if not hmac.compare_digest(request.cookies.get("_csrf", ""), transaction.csrf):
            raise _Refused("The cookie of the page is missing.")
        if form.get("state") != transaction.id:
            raise _Refused("The hidden state of the form is missing or of another login.")
        if "action" not in form:
            raise _Refused("The form was sent without its button.")
        return form

    def _captcha(self, email: str, page: str) -> bool:
        return self._switches.text("captcha", email) == page

    async def _identifier_page(self, request: web.Request) -> web.StreamResponse:
        transaction = self._transaction(request)
        if request.method != "POST":
            captcha = self._captcha(transaction.email, "identifier")
            return self._show(transaction, pages.identifier(transaction.id, email=transaction.email, captcha=captcha))
        form = await self._form(request, transaction)
        email = form.get("username", "")

        def work() -> web.Response:
            captcha = self._captcha(email, "identifier")
            error = self._switches.text("identifier_error", email)
            if not error and not EMAIL.fullmatch(email):
                error = "invalid-email-format"
            if not error and captcha:
                error = "invalid-captcha"
            if error:
                page = pages.identifier(transaction.id, email=email, error=error, captcha=captcha)
                return self._show(transaction, page, 400)
            transaction.email = email
            return self._redirect(self._paths.password, transaction)

        return await self._meet(request, "identifier", email, work)

    async def _password_page(self, request: web.Request) -> web.StreamResponse:
        transaction = self._transaction(request)
        if not transaction.email:
            return self._redirect(self._paths.identifier, transaction)
        return await self._ask_password(request, transaction, one_page=False)

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        return await self._ask_password(request, self._transaction(request), one_page=True)

    async def _ask_password(
        self, request: web.Request, transaction: _Transaction, *, one_page: bool
    ) -> web.StreamResponse:
        page = pages.login if one_page else pages.password
        if request.method != "POST":
            captcha = self._captcha(transaction.email, "password")
            return self._show(transaction, page(transaction.id, email=transaction.email, captcha=captcha))
        form = await self._form(request, transaction)
        email = form.get("username", "")
        if not one_page and email not in ("", transaction.email):
            raise _Refused("The form is of another account.")
        email = email or transaction.email
        self._records.count("password_submissions", email)

        def work() -> web.Response:
            transaction.email = email
            captcha = self._captcha(email, "password")
            error, status = self._switches.text("password_error", email), 400
            if not error and captcha:
                error = "invalid-captcha"
            if not error and not self._grants.check_password(email, form.get("password", "")):
                error = self._switches.text("wrong_password_code", email)
                status = self._switches.number("wrong_password_status", email)
            if error:
                shown = error if status != 200 else ""
                return self._show(transaction, page(transaction.id, email=email, error=shown, captcha=captcha), status)
            transaction.authenticated = True
            if self._switches.flag("mfa_before_resume", email) and (factor := self._factor(transaction)):
                return self._redirect(factor, transaction)
            return self._redirect(self._paths.resume, transaction)

        return await self._meet(request, "password", email, work)

    def _factor(self, transaction: _Transaction) -> str:
        """Return the path of the second factor that is still to come, or an empty text."""
        other = self._switches.text("mfa_page", transaction.email)
        if other:
            return f"{self._paths.pages}/{other}"
        user = self._grants.user(transaction.email)
        return self._paths.otp if user and user.totp_secret and not transaction.otp_done else ""

    def _authenticated(self, request: web.Request) -> _Transaction:
        transaction = self._transaction(request)
        if not transaction.authenticated:
            raise _Refused("The password comes first.")
        return transaction

    async def _otp_page(self, request: web.Request) -> web.StreamResponse:
        transaction = self._authenticated(request)
        if request.method != "POST":
            return self._show(transaction, pages.one_time_code(transaction.id))
        form = await self._form(request, transaction)
        email = transaction.email

        def work() -> web.Response:
            refused = self._switches.flag("invalid_code", email)
            if refused or not self._grants.check_totp(email, form.get("code", "")):
                self._records.event("code_refused", email)
                return self._show(transaction, pages.one_time_code(transaction.id, error="invalid-code"), 400)
            transaction.otp_done = True
            return self._redirect(self._paths.resume, transaction)

        return await self._meet(request, "otp", email, work)

    async def _other_factor_page(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if not name.startswith("mfa-"):
            return faults.html_page(pages.message("Not found", "There is no such page."), 404)
        transaction = self._authenticated(request)
        return self._show(
            transaction, pages.other_factor(transaction.id, name), 400 if request.method == "POST" else 200
        )

    async def _consent_page(self, request: web.Request) -> web.StreamResponse:
        transaction = self._authenticated(request)
        if request.method != "POST":
            return self._show(transaction, pages.consent(transaction.id))
        form = await self._form(request, transaction)

        def work() -> web.Response:
            if form["action"] != "accept":
                return self._finish(transaction, error="access_denied")
            transaction.consented = True
            return self._redirect(self._paths.resume, transaction)

        return await self._meet(request, "consent", transaction.email, work)

    async def _notice_page(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "")
        return faults.html_page(pages.notice(state), 400 if request.method == "POST" else 200)

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        transaction = self._authenticated(request)

        def work() -> web.Response:
            if factor := self._factor(transaction):
                return self._redirect(factor, transaction)
            if error := self._switches.text("callback_error", transaction.email):
                return self._finish(transaction, error=error)
            if self._switches.flag("consent", transaction.email) and not transaction.consented:
                return self._redirect(self._paths.consent, transaction)
            code = self._grants.authorize(
                transaction.email, transaction.scope, transaction.challenge, transaction.redirect_uri
            )
            return self._finish(transaction, code=code)

        return await self._meet(request, "resume", transaction.email, work)

    def _finish(self, transaction: _Transaction, **parameters: str) -> web.Response:
        del self._transactions[transaction.id]
        return self._callback(transaction.redirect_uri, transaction.client_state, transaction.email, **parameters)
