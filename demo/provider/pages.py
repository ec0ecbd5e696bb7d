# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML pages of the identity provider: plain forms, one purpose each."""

from __future__ import annotations

import html

_BROWSER_FIELDS = ("js-available", "webauthn-available", "is-brave", "webauthn-platform-available")


def _page(title: str, body: str) -> str:
    return (
        f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'


def _field(name: str, kind: str, value: str = "", *, readonly: bool = False) -> str:
    lock = " readonly" if readonly else ""
    return f'<label>{name} <input name="{name}" type="{kind}" value="{html.escape(value)}" required{lock}></label>'


def _error(code: str) -> str:
    return f'<p role="alert" data-error-code="{html.escape(code)}">This did not work.</p>' if code else ""


def _form(state: str, fields: list[str], *buttons: str, error: str = "", captcha: bool = False) -> str:
    if captcha:
        fields = [*fields, '<img alt="captcha" src="data:,">', _field("captcha", "text")]
    submit = [f'<button type="submit" name="action" value="{b}">{b.title()}</button>' for b in buttons or ("default",)]
    inner = "\n".join([_hidden("state", state), *fields, *submit])
    return f'<form method="POST">\n{inner}\n</form>\n{_error(error)}'


def _federated(state: str) -> str:
    return (
        f'<form method="post" data-provider="federated">{_hidden("state", state)}{_hidden("connection", "federated")}'
        '<button type="submit">Continue with another service</button></form>'
    )


def identifier(state: str, *, email: str = "", error: str = "", captcha: bool = False) -> str:
    """Return the page that asks for the e-mail address."""
    fields = [_field("username", "email", email), *(_hidden(name, "false") for name in _BROWSER_FIELDS)]
    return _page("Log in", _form(state, fields, error=error, captcha=captcha) + _federated(state))


def password(state: str, *, email: str, error: str = "", captcha: bool = False) -> str:
    """Return the page that asks for the password."""
    fields = [_field("username", "text", email, readonly=True), _field("password", "password")]
    return _page("Enter your password", _form(state, fields, error=error, captcha=captcha))


def login(state: str, *, email: str = "", error: str = "", captcha: bool = False) -> str:
    """Return the page that asks for e-mail address and password together."""
    fields = [_field("username", "email", email), _field("password", "password")]
    return _page("Log in", _form(state, fields, error=error, captcha=captcha) + _federated(state))


def one_time_code(state: str, *, error: str = "") -> str:
    """Return the page that asks for a code of an authenticator application."""
    return _page("Verify your identity", _form(state, [_field("code", "text")], error=error))


def other_factor(state: str, name: str) -> str:
    """Return the page of a second factor that needs a person, such as ``mfa-sms-challenge``."""
    return _page(f"Verify your identity: {name}", _form(state, [_field("code", "text")]))


def consent(state: str) -> str:
    """Return the page that asks to allow the client."""
    return _page("Authorize the application", _form(state, [], "accept", "deny"))


def notice(state: str) -> str:
    """Return a page that no login flow knows."""
    return _page("News from us", _form(state, [_field("nickname", "text")], "later"))


def message(title: str, text: str) -> str:
    """Return a page without a form."""
    return _page(title, f"<p>{html.escape(text)}</p>")
