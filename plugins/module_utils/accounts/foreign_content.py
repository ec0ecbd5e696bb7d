# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and formulas in a page: inside of them, tags are not HTML (HTML standard, section 13.2.6.5)."""

from __future__ import annotations

_FOREIGN = frozenset({"svg", "math"})
_HTML_AGAIN = frozenset({"foreignobject", "desc", "title", "mi", "mo", "mn", "ms", "mtext", "annotation-xml"})
_BREAKERS = (
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta "
    "nobr ol p pre ruby s small span strike strong sub sup table tt u ul var"
)
_BREAKS_OUT = frozenset(_BREAKERS.split())


class ForeignContent:
    """Whether the reader of a page is inside of a picture or formula."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def swallows(self, name: str) -> bool:
        """Take note of a start tag; tell whether it is none of HTML.

        Args:
            name: the tag's name.
        """
        inside = bool(self._open) and self._open[-1] in _FOREIGN
        if inside and name in _BREAKS_OUT:
            self._open.clear()
            return False
        if name in _FOREIGN or (inside and name in _HTML_AGAIN):
            self._open.append(name)
            return True
        return inside

    def ends(self, name: str) -> bool:
        """Take note of an end tag; tell whether it is none of HTML.

        Args:
            name: the tag's name.
        """
        if self._open and self._open[-1] == name:
            self._open.pop()
            return True
        return bool(self._open) and self._open[-1] in _FOREIGN
