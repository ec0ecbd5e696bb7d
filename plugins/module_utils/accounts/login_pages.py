# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A page of a login: which of its forms goes on, which step that is, and what it asks for."""

from __future__ import annotations

from typing import Literal

from .errors import AccountError, ConsentRequired, UnknownPage
from .form_parts import URLENCODED, Button, Field, HtmlForm
from .forms import parse
from .provider import Provider
from .shown_text import Shown
from .transport import Response
from .web_address import WebAddress

Role = Literal["identifier", "password", "code"]
Step = Literal["identifier", "password", "code", "continue", "choice"]

FILLED: frozenset[Step | None] = frozenset({"identifier", "password", "code"})
"""Steps in which something of the account is sent."""
NAME_THE_FIELD = (
    "If it wants the e-mail add it to identifier_fields of the provider, if the one-time code to code_fields, if it "
    "may stay empty to optional_fields; else supply an access_token by hand."
)
_ORDER: tuple[Step, ...] = ("password", "code", "identifier", "continue", "choice")
_IDENTIFIER_HINTS = frozenset({"username", "email"})
_UTF8 = frozenset({"utf-8", "utf8", "unicode-1-1-utf-8"})


class LoginPage:
    """A page that a provider shows in a login.

    Args:
        provider: the names on its pages.
        address: where the page was found.
        response: the page.
        shown: cleans what messages quote of it.

    Attributes:
        where: the subject of a sentence on it.
        page: what stands on it.
        form: the form that goes on; None if there is none.
        step: which step that is. ``continue`` is a form that a browser with scripts sends by itself, ``choice`` one
            that waits for a person although there is nothing to fill in.
    """

    def __init__(self, provider: Provider, address: WebAddress, response: Response, shown: Shown) -> None:
        self._shown = shown
        self._names: dict[Role, frozenset[str]] = {
            "code": _lower(provider.code_fields),
            "password": _lower(provider.password_fields),
            "identifier": _lower(provider.identifier_fields),
        }
        self._captcha_names = _lower(provider.captcha_fields)
        self._optional_names = _lower(provider.optional_fields)
        self.path = address.path
        self.where = f"The page {shown.path(address.path)}"
        self.page = parse(response.text, provider.error_code_attribute)
        self._way_on = self._find_way_on()
        self.form, self.step = self._choose_form()
        self._controls = [] if self.form is None else [*self.form.fields, *self.form.unset]
        self._roles_seen = {self.role(item) for item in self._controls if item.seen}

    @property
    def fields(self) -> frozenset[str]:
        """Names of the fields of the form that a person would fill in."""
        return frozenset(item.name for item in self._controls if item.fillable)

    @property
    def captcha(self) -> bool:
        """Whether a captcha stands on the way: in the form, or beside it and in no other form."""
        if self.form is None:
            return self.page.captcha
        return (
            self.form.captcha
            or self.page.captcha_outside
            or any(item.name.lower() in self._captcha_names for item in self._controls)
            or any("captcha" in name.lower() for name in self.fields)
        )

    def role(self, item: Field) -> Role | None:
        """Return what of the account a field wants; None for a field that no login fills in."""
        if not item.fillable:
            return None
        name, hints = item.name.lower(), item.autocomplete.split()
        if name in self._names["code"] or "one-time-code" in hints:
            return "code"
        if item.kind == "password" or name in self._names["password"]:
            return "password"
        hinted = item.kind == "email" or not _IDENTIFIER_HINTS.isdisjoint(hints)
        return "identifier" if hinted or name in self._names["identifier"] else None

    def fills(self, item: Field) -> bool:
        """Tell whether a field gets what its role says: one out of sight does not where the page shows another one."""
        role = self.role(item)
        return role is not None and (item.seen or role not in self._roles_seen)

    def unfilled(self) -> list[str]:
        """Return the names of the fields that the form wants and that nothing fills."""
        chosen = {item.name for item in self._controls if item.kind == "radio" and item.sent}
        wanted: list[str] = []
        for item in self._controls:
            if item.name and item.name.lower() in self._optional_names:
                continue
            if self.role(item) is not None:
                wanted += [] if item.name else [item.name]
            elif item.kind == "radio":
                wanted += [item.name] if item.required and item.name not in chosen else []
            elif item.kind != "checkbox" and not (item.sent and item.value):
                # Beside a password nothing is left empty that a person would see: it may be the user name.
                beside = self.step == "password" and item.fillable and item.seen
                wanted += [item.name] if item.required or beside else []
        return list(dict.fromkeys(wanted))

    def unknown_fields(self) -> list[str]:
        """Return the names of the empty fields that a person sees and no login fills in."""
        return [
            item.name
            for item in self._controls
            if item.fillable
            and item.seen
            and not (item.value or self.role(item) or item.name.lower() in self._optional_names)
        ]

    @property
    def offers_choice(self) -> bool:
        """Whether the form has buttons that mean different things; the only one of an error page means "try again"."""
        buttons = [] if self.form is None or self.step != "choice" else self.form.buttons
        return len(buttons) > 1 or any(button.name for button in buttons)

    def obstacle(self) -> AccountError | None:
        """Return why the form is not sent although it is known which step it is; None if nothing is in the way."""
        form, shown = self.form, self._shown
        if form is None or self.step == "choice" or any(_must_be_ticked(item) for item in form.controls):
            return self._decision()
        if unfilled := self.unfilled():
            return UnknownPage(
                f"{self.where} wants what nothing fills in: {shown.names(unfilled)}. Its fields are "
                f"{shown.names(item.name for item in self._controls if item.kind != 'hidden')}.",
                cure=NAME_THE_FIELD,
            )
        button = form.default_button
        method = (button.method if button is not None else "") or form.method
        if method == "dialog" or (method == "get" and self.step in FILLED):
            return UnknownPage(
                f"{self.where} would put credentials into an address."
                if method == "get"
                else f"{self.where} has a form that only a script can send."
            )
        enctype = (button.enctype if button is not None else "") or form.enctype
        charsets = form.charset.replace(",", " ").lower().split()
        if method == "post" and enctype != URLENCODED:
            return UnknownPage(f"{self.where} wants its form as {enctype}, which is not supported.")
        if charsets and charsets[0] not in _UTF8:
            return UnknownPage(
                f"{self.where} wants its form in the character set {shown.name(charsets[0])}, not UTF-8."
            )
        return None

    def describe(self) -> str:
        """Return what the page shows, as a part of a sentence; empty if that is nothing."""
        fields = self._visible_fields()
        parts = [
            f"the heading {self._shown.texts([self.page.heading])}" if self._shown.text(self.page.heading) else "",
            f"the fields {self._shown.names(fields)}" if fields else "",
            f"the buttons {labels}" if (labels := self._shown.texts(self._labels())) else "",
        ]
        return " and ".join(part for part in parts if part)

    @property
    def asks(self) -> bool:
        """Whether the page asks for something in a form that is no search."""
        return any(item.fillable for form in self.page.forms if form.method == "post" for item in form.fields)

    def _decision(self) -> ConsentRequired:
        told = self.describe()
        return ConsentRequired(
            f"{self.where} asks the owner of the account for a decision{f': it shows {told}' if told else ''}."
        )

    def _visible_fields(self) -> list[str]:
        return [
            item.name
            for form in self.page.forms
            for item in form.controls
            if isinstance(item, Field) and item.kind != "hidden" and item.seen
        ]

    def _labels(self) -> list[str]:
        own = [button.label for form in self.page.forms for button in form.buttons if button.seen]
        return [*own, *self.page.buttons]

    def _choose_form(self) -> tuple[HtmlForm | None, Step | None]:
        steps = [(form, self._step(form)) for form in self.page.forms]
        for wanted in _ORDER:
            for form, step in steps:
                if step == wanted:
                    return form, step
        return None, None

    def _step(self, form: HtmlForm) -> Step | None:
        typed = [item for item in [*form.fields, *form.unset] if item.fillable]
        roles = [self.role(item) for item in typed]
        new = any("new-password" in item.autocomplete.split() for item in typed)
        if new or sum(1 for item, role in zip(typed, roles, strict=True) if role == "password" and item.seen) > 1:
            return None
        for role in ("password", "code", "identifier"):
            if role in roles:
                return role
        if any(item.seen for item in typed):
            return None
        if form is self._way_on:
            return "continue"
        return "choice" if self.page.buttons or any(item.seen for item in form.controls) else None

    def _find_way_on(self) -> HtmlForm | None:
        """Return the form that a browser with scripts sends by itself, if nothing on the page is for a person."""
        page = self.page
        if page.buttons or any(item.seen for form in page.forms for item in form.controls):
            return None
        candidates = [form for form in page.forms if any(button.fallback for button in form.buttons)]
        if not candidates and (page.submitted_by_script or page.submitted_by_other_script):
            candidates = page.forms
        return candidates[0] if len(candidates) == 1 else None


def _lower(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _must_be_ticked(item: Field | Button) -> bool:
    return isinstance(item, Field) and item.kind == "checkbox" and item.required
