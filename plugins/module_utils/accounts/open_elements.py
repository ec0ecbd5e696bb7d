# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elements of a page that are open at a place, as far as they say something of what stands in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

ATTRIBUTES = frozenset({"disabled", "hidden", "open", "style"})
"""The attributes that are looked at here."""
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# A browser closes each of these by an end tag alone, so that no other tag has to be known for them.
_KEPT = "datalist dialog div fieldset label legend main noscript section span"
_NAMES = frozenset(_KEPT.split())


def hides(attributes: Mapping[str, str]) -> bool:
    """Tell whether an element with these attributes is out of sight."""
    return "hidden" in attributes or ("style" in attributes and _HIDING.search(attributes["style"]) is not None)


@dataclass(slots=True)
class _Open:
    name: str
    hides: bool = False
    disables: bool = False
    excepted: bool = False
    legends: int = 0


class OpenElements:
    """What is open; each element is opened and closed once, however its end tags stand."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._open = dict.fromkeys(_NAMES, 0)
        self._hiding = 0
        self._disabling = 0

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._stack)

    @property
    def hidden(self) -> bool:
        """Whether one of them hides what stands here."""
        return self._hiding > 0

    @property
    def disabled(self) -> bool:
        """Whether a fieldset disables what stands here (HTML standard, section 4.10.15)."""
        return self._disabling > 0

    def inside(self, name: str) -> bool:
        """Tell whether an element of this name is open."""
        return self._open[name] > 0

    def start(self, name: str, attributes: Mapping[str, str]) -> bool:
        """Take a start tag; return whether it is one of those that are kept."""
        if name not in _NAMES:
            return False
        opened = _Open(name, hides=hides(attributes) or (name == "dialog" and "open" not in attributes))
        if name == "fieldset":
            opened.disables = "disabled" in attributes
        elif name == "legend" and self._stack and self._stack[-1].name == "fieldset":
            around = self._stack[-1]
            # What stands in the first legend of a disabled fieldset is not disabled by it.
            opened.excepted = around.disables and not around.legends
            around.legends += 1
        self._hiding += opened.hides
        self._disabling += opened.disables - opened.excepted
        self._stack.append(opened)
        self._open[name] += 1
        return True

    def end(self, name: str) -> bool:
        """Take an end tag; return whether it closed something."""
        if not self._open.get(name):
            return False
        while True:
            closed = self._stack.pop()
            self._hiding -= closed.hides
            self._disabling -= closed.disables - closed.excepted
            self._open[closed.name] -= 1
            if closed.name == name:
                return True
