# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the attributes of an input, a button or a list of choices mean (HTML standard, section 4.10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .form_parts import URLENCODED, Button, Field, HtmlForm

_ATTRIBUTES = (
    "accept-charset action alt aria-required autocomplete checked disabled enctype form formaction formenctype "
    "formmethod id max method min multiple name readonly required selected size type value"
)
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
"""The attributes that are looked at here."""
BLANKS = "\t\n\f\r "

_KINDS = (
    "hidden text search tel url email password date month week time datetime-local number range color checkbox radio "
    "file submit image reset button"
)
_INPUT_KINDS = frozenset(_KINDS.split())
_NEVER_REQUIRED = frozenset({"hidden", "range", "color"})
_ENCTYPES = frozenset({URLENCODED, "multipart/form-data", "text/plain"})
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


def keyword(attributes: Mapping[str, str], name: str) -> str:
    """Return an attribute whose value has no case."""
    return attributes.get(name, "").strip(BLANKS).lower()


def form_of(attributes: Mapping[str, str]) -> HtmlForm:
    """Return the form that a start tag begins."""
    return HtmlForm(
        action=attributes.get("action", "").strip(BLANKS),
        method=_method(keyword(attributes, "method")) or "get",
        enctype=_enctype(keyword(attributes, "enctype")) or URLENCODED,
        charset=attributes.get("accept-charset", "").strip(BLANKS),
    )


def input_kind(attributes: Mapping[str, str]) -> str:
    """Return the type of an input; what no browser knows is a text."""
    kind = keyword(attributes, "type")
    return kind if kind in _INPUT_KINDS else "text"


def field_of(attributes: Mapping[str, str], kind: str, value: str, *, seen: bool) -> Field:
    """Return the field that an input, a textarea or a select is.

    Args:
        attributes: of its start tag.
        kind: see `Field`.
        value: likewise.
        seen: whether the page shows what stands at its place.
    """
    ticks = kind in {"checkbox", "radio"}
    read_only = "readonly" in attributes and not ticks and kind != "select"
    # Pages whose scripts check them say it with the second one.
    marked = "required" in attributes or keyword(attributes, "aria-required") == "true"
    return Field(
        name=attributes.get("name", ""),
        kind=kind,
        value=value,
        autocomplete=keyword(attributes, "autocomplete"),
        editable=kind != "hidden" and not read_only,
        required=marked and not read_only and kind not in _NEVER_REQUIRED,
        sent=not ticks or "checked" in attributes,
        seen=kind != "hidden" and seen,
    )


def input_button(attributes: Mapping[str, str], kind: str) -> Button:
    """Return the button that an input is."""
    text = attributes.get("value", {"submit": "Submit", "reset": "Reset"}.get(kind, ""))
    label = attributes.get("alt", "") if kind == "image" else text
    return replace(button_of(attributes), kind=kind, value=text, label=label)


def button_of(attributes: Mapping[str, str]) -> Button:
    """Return the button that an element of this name is, without the text on it."""
    kind = keyword(attributes, "type")
    return Button(
        name=attributes.get("name", ""),
        value=attributes.get("value", ""),
        kind=kind if kind in {"reset", "button"} else "submit",
        action=attributes.get("formaction", "").strip(BLANKS),
        method=_method(keyword(attributes, "formmethod")),
        enctype=_enctype(keyword(attributes, "formenctype")),
    )


def input_value(attributes: Mapping[str, str], kind: str) -> str:
    """Return what a browser makes of the value of an input (section 4.10.5.1)."""
    value = attributes.get("value", "on" if kind in {"checkbox", "radio"} else "")
    if kind in {"text", "search", "tel", "password", "url", "email"}:
        value = value.replace("\n", "")
        value = value.strip(BLANKS) if kind in {"url", "email"} else value
    elif kind == "file":
        value = ""
    elif kind == "color":
        value = value.lower() if _COLOR.fullmatch(value) else "#000000"
    elif kind == "number":
        value = value if _NUMBER.fullmatch(value) else ""
    elif kind == "range" and not _NUMBER.fullmatch(value):
        low, high = _number(attributes, "min", 0), _number(attributes, "max", 100)
        value = f"{low + max(0.0, high - low) / 2:g}"
    return value


@dataclass(slots=True)
class Option:
    """One choice of a select; ``value`` is None where its text is what it sends."""

    value: str | None
    selected: bool
    disabled: bool
    text: list[str] = field(default_factory=list)

    @property
    def sends(self) -> str:
        """What it is sent as."""
        return " ".join("".join(self.text).split()) if self.value is None else self.value


@dataclass(slots=True)
class Select:
    """A list of choices; ``group_disabled`` is whether the group disables what stands in it."""

    attributes: Mapping[str, str]
    disabled: bool
    seen: bool
    options: list[Option] = field(default_factory=list)
    group_disabled: bool = False

    def add(self, attributes: Mapping[str, str]) -> None:
        """Begin another choice."""
        disabled = "disabled" in attributes or self.group_disabled
        self.options.append(Option(attributes.get("value"), "selected" in attributes, disabled))

    def fields(self) -> list[Field]:
        """Return a field for each choice that is sent, or one that is not sent if there is none (section 4.10.7)."""
        if self.disabled:
            return []
        chosen = [option for option in self.options if option.selected]
        if "multiple" not in self.attributes:
            if not chosen and keyword(self.attributes, "size") in {"", "0", "1"}:
                chosen = [option for option in self.options if not option.disabled][:1]
            chosen = chosen[-1:]
        one = field_of(self.attributes, "select", "", seen=self.seen)
        sent = [replace(one, value=option.sends) for option in chosen if not option.disabled]
        return sent or [replace(one, sent=False)]


def one_of_each_group(controls: list[Field | Button]) -> list[Field | Button]:
    """Of the radio buttons of one name, leave only the last one set."""
    taken: set[str] = set()
    kept: list[Field | Button] = []
    for item in reversed(controls):
        if isinstance(item, Field) and item.kind == "radio" and item.sent:
            kept.append(replace(item, sent=False) if item.name in taken else item)
            taken.add(item.name)
        else:
            kept.append(item)
    return kept[::-1]


def _method(word: str) -> str:
    return word if word in {"get", "post", "dialog", ""} else "get"


def _enctype(word: str) -> str:
    return word if word in _ENCTYPES or not word else URLENCODED


def _number(attributes: Mapping[str, str], name: str, default: float) -> float:
    text = attributes.get(name, "")
    return float(text) if _NUMBER.fullmatch(text) else default
