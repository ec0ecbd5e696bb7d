# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The refresh tokens of a provider made of functions: rotation, reuse and revocation (RFC 9700 section 4.14.2)."""

from __future__ import annotations

import itertools


class TokenFamilies:
    """Which refresh tokens are good, and what becomes of those that were used.

    Attributes:
        live: the good ones; a test may add a token that has no family, or forget all.
        leeway: seconds for which a rotated token may be used again; 0 is not at all.
        reuses: how many families ended because a rotated token came after the leeway.
    """

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.leeway = 0.0
        self.reuses = 0
        self._families: dict[str, int] = {}
        self._rotated: dict[str, float] = {}
        self._ended: set[int] = set()
        self._numbers = itertools.count(1)

    def new_family(self) -> int:
        """Begin the family of a login."""
        return next(self._numbers)

    def add(self, token: str, family: int) -> None:
        """Take a token into a family."""
        self.live.add(token)
        self._families[token] = family

    def use(self, token: str, now: float, *, rotate: bool) -> int | None:
        """Use a token.

        Args:
            token: what the client sent.
            now: seconds since the epoch.
            rotate: whether another one replaces it.

        Returns:
            Its family; None when it is not good, and then its family is not good either if it was rotated before.
        """
        if token in self.live:
            if rotate:
                self.live.discard(token)
                self._rotated[token] = now
            return self._families.setdefault(token, self.new_family())
        family, rotated = self._families.get(token, 0), self._rotated.get(token)
        if rotated is None or family in self._ended:
            return None
        if now - rotated < self.leeway:
            return family
        self.reuses += 1
        self.end(family)
        return None

    def revoke(self, token: str) -> None:
        """End the family of a token; an unknown one is nothing special (RFC 7009 section 2.2)."""
        self.live.discard(token)
        if token in self._families:
            self.end(self._families[token])

    def end(self, family: int) -> None:
        """End all tokens of a family."""
        self._ended.add(family)
        self.live -= {token for token, owner in self._families.items() if owner == family}
