# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page consists of for a login: forms with fields and buttons, and what a form sends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

_TYPED = "text email tel number password search url textarea date month week time datetime-local file"
_TYPED_BY_PERSONS = frozenset(_TYPED.split())
_LINE_BREAK = re.compile(r"\r\n?|\n")
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One value of a form.

    Attributes:
        name: may be empty; then it is never sent.
        kind: the lower-case input type, ``select`` or ``textarea``.
        value: what is sent when nobody changes it.
        autocomplete: the lower-case hint of the page.
        editable: whether a person may change it.
        required: whether a browser refuses to send the form while it is empty or not ticked.
        sent: whether it is sent at all; a box that is not ticked is not.
        seen: whether the page shows it.
    """

    name: str
    kind: str
    value: str = field(default="", repr=False)
    autocomplete: str = ""
    editable: bool = True
    required: bool = False
    sent: bool = True
    seen: bool = True

    @property
    def fillable(self) -> bool:
        """Whether a person would type into it."""
        return self.editable and self.kind in _TYPED_BY_PERSONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Button:
    """A button; without a name it sends nothing of its own.

    Attributes:
        name: what it sends as, with ``value``.
        value: see ``name``.
        kind: ``submit``, ``image``, or ``button`` and ``reset``, which send nothing.
        label: the text on it.
        action: where the form goes when it is chosen; empty for the form's own.
        method: likewise.
        enctype: likewise.
        enabled: whether it can be chosen.
        seen: whether a browser with scripts shows it.
        fallback: whether it is there for browsers without scripts only.
    """

    name: str = ""
    value: str = ""
    kind: str = "submit"
    label: str = ""
    action: str = ""
    method: str = ""
    enctype: str = ""
    enabled: bool = True
    seen: bool = True
    fallback: bool = False

    @property
    def submits(self) -> bool:
        """Whether choosing it sends the form."""
        return self.enabled and self.kind in {"submit", "image"}


@dataclass(slots=True)
class HtmlForm:
    """One form.

    Attributes:
        action: where it goes, as the page writes it.
        method: ``get``, ``post`` or ``dialog``, which sends nothing.
        enctype: how its body is written.
        charset: what it says in ``accept-charset``.
        controls: its fields and buttons in the order of the page.
        captcha: whether it holds a captcha.
    """

    action: str
    method: str = "get"
    enctype: str = URLENCODED
    charset: str = ""
    controls: list[Field | Button] = field(default_factory=list)
    captcha: bool = False

    @property
    def fields(self) -> list[Field]:
        """The fields that are sent."""
        return [item for item in self.controls if isinstance(item, Field) and item.sent and item.name]

    @property
    def unset(self) -> list[Field]:
        """The fields that are not: not ticked, not chosen, or without a name."""
        return [item for item in self.controls if isinstance(item, Field) and not (item.sent and item.name)]

    @property
    def buttons(self) -> list[Button]:
        """All its buttons."""
        return [item for item in self.controls if isinstance(item, Button)]

    @property
    def default_button(self) -> Button | None:
        """The button that the form is sent with: the first one that can be."""
        return next((button for button in self.buttons if button.submits), None)

    def entries(self, button: Button | None, fill: Callable[[Field], str]) -> list[tuple[str, str]]:
        """Return what the form sends (HTML standard, section 4.10.21.4).

        Args:
            button: the one that was chosen.
            fill: gives the value of a field.

        Returns:
            Names and values in the order of the page.
        """
        entries: list[tuple[str, str]] = []
        for item in self.controls:
            if isinstance(item, Field):
                if item.sent and item.name:
                    own = item.kind == "hidden" and item.name.lower() == "_charset_"
                    entries.append((item.name, "UTF-8" if own else fill(item)))
            elif item is button and item.kind == "image":
                point = f"{item.name}." if item.name else ""
                entries += [(f"{point}x", "0"), (f"{point}y", "0")]
            elif item is button and item.name:
                entries.append((item.name, item.value))
        return [(_LINE_BREAK.sub("\r\n", name), _LINE_BREAK.sub("\r\n", value)) for name, value in entries]


@dataclass(slots=True)
class Page:
    """What a login needs to know of a page.

    Attributes:
        forms: in the order of the page.
        buttons: texts of the buttons that a person sees and that belong to no form.
        error_codes: in the order of the page.
        captcha: whether there is a captcha anywhere.
        captcha_outside: whether there is one outside of all forms.
        heading: its first heading, else its title.
        base: what addresses on it are relative to, if not to its own.
        submitted_by_script: whether a script of its own may send a form.
        submitted_by_other_script: whether a script that it loads may.
    """

    forms: list[HtmlForm] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)
    error_codes: list[str] = field(default_factory=list)
    captcha: bool = False
    captcha_outside: bool = False
    heading: str = ""
    base: str = ""
    submitted_by_script: bool = False
    submitted_by_other_script: bool = False
