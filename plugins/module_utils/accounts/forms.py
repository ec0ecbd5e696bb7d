# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of an HTML page, as a browser without scripts sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from . import captcha_signs, form_controls, open_elements
from .captcha_signs import is_captcha
from .foreign_content import ForeignContent
from .form_controls import (
    BLANKS,
    Select,
    button_of,
    field_of,
    form_of,
    input_button,
    input_kind,
    input_value,
    keyword,
    one_of_each_group,
)
from .form_parts import Button, Field, HtmlForm, Page
from .html_events import END_OF_FORM, FORM, TooMuchError, tell
from .open_elements import OpenElements, hides
from .page_label import Label

__all__ = ["Button", "Field", "HtmlForm", "Page", "parse"]

LONGEST_PAGE = 1 << 19
"""Characters of a page that is read; a login page has some ten thousand."""
MOST_PARTS = 20_000
"""Forms, fields, buttons, options and open elements of a page that is read."""

_WANTED = (
    captcha_signs.ATTRIBUTES
    | form_controls.ATTRIBUTES
    | open_elements.ATTRIBUTES
    | {"aria-label", "href", "onload", "role", "src"}
)
_PROGRAMS = frozenset({"", "module", "text/javascript", "application/javascript", "text/ecmascript"})
_UNREAD = frozenset(["iframe", "noembed", "noframes", "script", "style", "xmp"])
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


class _Reader:
    def __init__(self, error_attribute: str) -> None:
        self.page = Page()
        self._error_attribute = error_attribute
        self._wanted = _WANTED | {error_attribute}
        self._foreign = ForeignContent()
        self._title = ""
        self._form: HtmlForm | None = None
        self._form_hides = False
        self._by_id: dict[str, HtmlForm] = {}
        self._controls: list[tuple[HtmlForm | str | None, Field | Button]] = []
        self._parts = 0
        self._around = OpenElements()
        self._templates = 0
        self._select: Select | None = None
        self._textarea: tuple[dict[str, str], list[str]] | None = None
        self._labels: dict[str, Label] = {}
        self._unread = ""
        self._program = False
        self._starts: dict[str, Callable[[dict[str, str]], None]] = {
            "base": self._base,
            "button": self._button,
            FORM: self._start_form,
            END_OF_FORM: self._end_form,
            "input": self._input,
            "optgroup": self._optgroup,
            "option": self._option,
            "script": self._script,
            "select": self._start_select,
            "textarea": self._start_textarea,
        }

    def read(self, html: str) -> Page:
        tell(html, self)
        self._finish()
        return self.page

    # Tags and texts.

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "template":
            self._templates += 1
        # What a browser takes for text, or for no HTML, may look like tags to a parser.
        elif not (self._templates or self._unread or self._textarea is not None or self._foreign.swallows(name)):
            self._start(name, {key: attributes[key] for key in self._wanted if key in attributes})

    def end(self, name: str) -> None:
        if name == "template":
            self._templates = max(0, self._templates - 1)
        elif not self._templates and not self._foreign.ends(name):
            self._end(name)

    def text(self, text: str) -> None:
        if not self._templates:
            self._text(text)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if attributes or "captcha" in name:
            self._look_for_signs(name, attributes)
        if name in _UNREAD:
            self._unread = name
        if self._around.start(name, attributes):
            if len(self._around) > MOST_PARTS:
                raise TooMuchError
        elif (start := self._starts.get(name)) is not None:
            start(attributes)
        elif name in _HEADINGS:
            self._end_label("heading")
            if name == "h1" and not self.page.heading and not self._around.hidden:
                self._labels["heading"] = Label(_HEADINGS, self._take_heading)
        elif name == "title" and not self._title:
            self._labels["title"] = Label(frozenset({"title"}), self._take_title)
        elif name == "img" and (label := self._labels.get("button")) is not None:
            label.add(attributes.get("alt", ""))

    def _end(self, name: str) -> None:
        if name == self._unread:
            self._unread, self._program = "", False
        elif self._around.end(name):
            pass
        elif name == "textarea":
            self._end_textarea()
        elif name == "select":
            self._end_select()
        elif name == "optgroup" and self._select is not None:
            self._select.group_disabled = False
        for kind in [kind for kind, label in self._labels.items() if name in label.tags]:
            self._end_label(kind)

    def _text(self, text: str) -> None:
        if self._unread:
            if self._program and _sends_a_form(text):
                self.page.submitted_by_script = True
            return
        if self._textarea is not None:
            self._textarea[1].append(text)
        elif self._select is not None and self._select.options and self._select.options[-1].value is None:
            self._select.options[-1].text.append(text)
        for label in self._labels.values():
            label.add(text)

    def _finish(self) -> None:
        self._end_textarea()
        self._end_select()
        for kind in list(self._labels):
            self._end_label(kind)
        self.page.heading = self.page.heading or self._title
        for owner, control in self._controls:
            form = self._by_id.get(owner) if isinstance(owner, str) else owner
            if form is not None:
                form.controls.append(control)
            elif isinstance(control, Button) and control.seen:
                self.page.buttons.append(control.label)
        for form in self.page.forms:
            form.controls = one_of_each_group(form.controls)

    # What stands around a control.

    def _seen(self, attributes: dict[str, str]) -> bool:
        inside = self._around.hidden or (self._form is not None and self._form_hides)
        return not (inside or hides(attributes))

    def _disabled(self, attributes: dict[str, str]) -> bool:
        return "disabled" in attributes or self._around.disabled

    # Forms and what belongs to them.

    def _start_form(self, attributes: dict[str, str]) -> None:
        # HTML knows no form inside a form: the parser of a browser ignores the inner tag.
        if self._form is not None:
            return
        self._count()
        self._form, self._form_hides = form_of(attributes), hides(attributes)
        self.page.forms.append(self._form)
        if form_id := attributes.get("id"):
            self._by_id.setdefault(form_id, self._form)

    def _end_form(self, _attributes: dict[str, str]) -> None:
        if self._select is None:
            self._form = None

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise TooMuchError

    def _add(self, attributes: dict[str, str], control: Field | Button) -> None:
        self._count()
        if isinstance(control, Button) or not self._around.inside("datalist"):
            self._controls.append((attributes.get("form", self._form), control))

    def _add_field(self, attributes: dict[str, str], kind: str, value: str) -> None:
        if not self._disabled(attributes):
            self._add(attributes, field_of(attributes, kind, value, seen=self._seen(attributes)))

    def _add_button(self, attributes: dict[str, str], button: Button) -> None:
        fallback = self._around.inside("noscript")
        seen = not fallback and self._seen(attributes)
        enabled = not self._disabled(attributes)
        self._add(attributes, replace(button, enabled=enabled, seen=seen, fallback=fallback))

    def _input(self, attributes: dict[str, str]) -> None:
        self._end_select()
        kind = input_kind(attributes)
        if kind in {"submit", "image", "reset", "button"}:
            self._add_button(attributes, input_button(attributes, kind))
        else:
            self._add_field(attributes, kind, input_value(attributes, kind))

    def _button(self, attributes: dict[str, str]) -> None:
        self._end_label("button")
        place = len(self._controls)
        self._add_button(attributes, button_of(attributes))

        def name(text: str) -> None:
            owner, button = self._controls[place]
            if isinstance(button, Button):
                self._controls[place] = owner, replace(button, label=text or attributes.get("aria-label", ""))

        self._labels["button"] = Label(frozenset({"button"}), name)

    def _start_textarea(self, attributes: dict[str, str]) -> None:
        self._end_select()
        self._textarea = attributes, []

    def _end_textarea(self) -> None:
        if self._textarea is not None:
            (attributes, texts), self._textarea = self._textarea, None
            self._add_field(attributes, "textarea", "".join(texts).removeprefix("\n"))

    def _start_select(self, attributes: dict[str, str]) -> None:
        if self._select is not None:
            # A browser takes the second start tag for the end of the first one.
            self._end_select()
        else:
            self._select = Select(attributes, disabled=self._disabled(attributes), seen=self._seen(attributes))

    def _optgroup(self, attributes: dict[str, str]) -> None:
        if self._select is not None:
            self._select.group_disabled = "disabled" in attributes

    def _option(self, attributes: dict[str, str]) -> None:
        self._count()
        if self._select is not None:
            self._select.add(attributes)

    def _end_select(self) -> None:
        if self._select is not None:
            select, self._select = self._select, None
            for item in select.fields():
                self._add(dict(select.attributes), item)

    # What the page says of itself.

    def _base(self, attributes: dict[str, str]) -> None:
        if not self.page.base:
            self.page.base = attributes.get("href", "").strip(BLANKS)

    def _script(self, attributes: dict[str, str]) -> None:
        self._program = keyword(attributes, "type") in _PROGRAMS
        if self._program and "src" in attributes:
            self.page.submitted_by_other_script = True

    def _look_for_signs(self, name: str, attributes: dict[str, str]) -> None:
        if code := attributes.get(self._error_attribute, "").strip(BLANKS):
            self._count()
            self.page.error_codes.append(code)
        if _sends_a_form(attributes.get("onload", "")):
            self.page.submitted_by_script = True
        if keyword(attributes, "role") == "button" and name not in {"button", "input"} and self._seen(attributes):
            self._count()
            self._end_label("role")
            self._labels["role"] = Label(frozenset({name}), self.page.buttons.append)
        if is_captcha(name, attributes):
            self.page.captcha = True
            if self._form is not None:
                self._form.captcha = True
            else:
                self.page.captcha_outside = True

    def _take_heading(self, text: str) -> None:
        self.page.heading = self.page.heading or text

    def _take_title(self, text: str) -> None:
        self._title = self._title or text

    def _end_label(self, kind: str) -> None:
        if (label := self._labels.pop(kind, None)) is not None:
            label.finish()


def _sends_a_form(program: str) -> bool:
    return "submit" in program.lower() or ".click()" in program


def parse(html: str, error_attribute: str) -> Page:
    """Read a page.

    Args:
        html: the page's text; broken markup is read as browsers read it.
        error_attribute: name of the attribute in which the provider shows error codes.

    Returns:
        Its forms in the order of the page, its error codes, and whether it shows a captcha. An empty page for one that
        is larger than any page of a login.
    """
    if len(html) > LONGEST_PAGE:
        return Page()
    try:
        return _Reader(error_attribute.lower()).read(html)
    except TooMuchError:
        return Page()
