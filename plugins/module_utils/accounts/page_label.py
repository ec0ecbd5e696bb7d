# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A text of a page that is collected up to the end of its element: a heading, a title, what a button says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_LONGEST = 1_000


@dataclass(slots=True)
class Label:
    """A text that is being collected.

    Attributes:
        tags: the elements whose end ends it.
        done: is given the whole text, its blanks made single ones.
    """

    tags: frozenset[str]
    done: Callable[[str], None]
    text: list[str] = field(default_factory=list)
    length: int = 0

    def add(self, text: str) -> None:
        """Take a piece of it."""
        if self.length < _LONGEST:
            self.text.append(text[:_LONGEST])
            self.length += len(text)

    def finish(self) -> None:
        """Hand it over."""
        self.done(" ".join("".join(self.text).split()))
