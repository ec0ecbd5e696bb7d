# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of an HTML page, as a browser without scripts sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_TYPED_BY_PERSONS = frozenset({"text", "email", "tel", "number", "password", "search", "url"})
_CAPTCHA_CLASSES = frozenset({"g-recaptcha", "h-captcha", "cf-turnstile", "frc-captcha"})
_CAPTCHA_ATTRIBUTES = ("data-sitekey", "data-captcha-sitekey", "data-captcha-provider")
_CAPTCHA_FRAMES = ("recaptcha", "hcaptcha", "turnstile", "arkoselabs", "challenges.cloudflare.com")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value of a form: ``kind`` is the lower-case input type, ``autocomplete`` the lower-case hint of the page."""

    name: str
    kind: str
    value: str = field(default="", repr=False)
    autocomplete: str = ""
    editable: bool = True
    required: bool = False

    @property
    def fillable(self) -> bool:
        """Whether a person would type into it."""
        return self.editable and self.kind in _TYPED_BY_PERSONS


@dataclass(frozen=True, kw_only=True)
class Button:
    """A submit button; without a name it sends nothing of its own."""

    name: str
    value: str
    action: str


@dataclass
class HtmlForm:
    """One form: where it goes, what it sends, which buttons it shows."""

    action: str
    method: str
    fields: list[Field] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)
    captcha: bool = False


@dataclass
class Page:
    """What the login driver needs to know of a page."""

    forms: list[HtmlForm] = field(default_factory=list)
    error_codes: list[str] = field(default_factory=list)
    captcha: bool = False


class _Reader(HTMLParser):
    def __init__(self, error_attribute: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._error_attribute = error_attribute
        self._open: HtmlForm | None = None
        self._by_id: dict[str, HtmlForm] = {}
        self._strays: list[tuple[str, Field | Button]] = []
        self._select: tuple[str, str | None, bool] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if code := attributes.get(self._error_attribute):
            self.page.error_codes.append(code)
        if self._is_captcha(tag, attributes):
            self.page.captcha = True
            if self._open is not None:
                self._open.captcha = True
        if tag == "form":
            self._start_form(attributes)
        elif tag == "input":
            self._input(attributes)
        elif tag == "button" and attributes.get("type", "submit").lower() == "submit":
            self._add(attributes, self._button(attributes))
        elif tag == "select" and attributes.get("name"):
            self._select = (attributes["name"], None, False)
        elif tag == "option":
            self._option(attributes)
        elif tag == "textarea" and attributes.get("name"):
            self._add(attributes, Field(name=attributes["name"], kind="textarea"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select" and self._select is not None:
            name, value, _chosen = self._select
            self._select = None
            if value is not None and self._open is not None:
                self._open.fields.append(Field(name=name, kind="select", value=value))

    def close(self) -> None:
        super().close()
        for form_id, part in self._strays:
            if (form := self._by_id.get(form_id)) is not None:
                self._put(form, part)

    @staticmethod
    def _is_captcha(tag: str, attributes: dict[str, str]) -> bool:
        return (
            not _CAPTCHA_CLASSES.isdisjoint(attributes.get("class", "").split())
            or any(name in attributes for name in _CAPTCHA_ATTRIBUTES)
            or (tag == "iframe" and any(word in attributes.get("src", "") for word in _CAPTCHA_FRAMES))
        )

    def _start_form(self, attributes: dict[str, str]) -> None:
        # HTML knows no form inside a form: the parser of a browser ignores the inner tag.
        if self._open is None:
            self._open = HtmlForm(
                action=attributes.get("action", "").strip(), method=attributes.get("method", "get").strip().lower()
            )
            self.page.forms.append(self._open)
            if form_id := attributes.get("id"):
                self._by_id[form_id] = self._open

    def _input(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text").strip().lower() or "text"
        if "disabled" in attributes or kind in {"button", "reset", "file"}:
            return
        if kind in {"submit", "image"}:
            self._add(attributes, self._button(attributes))
        elif attributes.get("name") and (kind not in {"checkbox", "radio"} or "checked" in attributes):
            self._add(
                attributes,
                Field(
                    name=attributes["name"],
                    kind=kind,
                    value=attributes.get("value", "on" if kind in {"checkbox", "radio"} else ""),
                    autocomplete=attributes.get("autocomplete", "").strip().lower(),
                    editable=kind != "hidden" and "readonly" not in attributes,
                    required="required" in attributes,
                ),
            )

    @staticmethod
    def _button(attributes: dict[str, str]) -> Button | None:
        if "disabled" in attributes:
            return None
        return Button(
            name=attributes.get("name", ""),
            value=attributes.get("value", ""),
            action=attributes.get("formaction", "").strip(),
        )

    def _option(self, attributes: dict[str, str]) -> None:
        if self._select is not None:
            name, value, chosen = self._select
            if "selected" in attributes and not chosen:
                self._select = (name, attributes.get("value", ""), True)
            elif value is None:
                self._select = (name, attributes.get("value", ""), False)

    def _add(self, attributes: dict[str, str], part: Field | Button | None) -> None:
        if part is None:
            return
        if form_id := attributes.get("form"):
            self._strays.append((form_id, part))
        elif self._open is not None:
            self._put(self._open, part)

    @staticmethod
    def _put(form: HtmlForm, part: Field | Button) -> None:
        if isinstance(part, Field):
            form.fields.append(part)
        else:
            form.buttons.append(part)


def parse(html: str, error_attribute: str) -> Page:
    """Read a page.

    Args:
        html: the page's text; broken markup is read as far as it goes.
        error_attribute: name of the attribute in which the provider shows error codes.

    Returns:
        Its forms in the order of the page, its error codes, and whether it shows a captcha.
    """
    reader = _Reader(error_attribute.lower())
    reader.feed(html)
    reader.close()
    return reader.page
