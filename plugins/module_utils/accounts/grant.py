# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refresh token and what may have become of it at the provider."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Fate = Literal["unsent", "maybe_spent"]


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A refresh token as the only small state machine that decides whether it may be sent.

    ========================  =======================================================================================
    ``unsent``                no request that held it is open: it may be sent
    ``maybe_spent``           one was sent and nothing definite came back: the provider may have rotated the token, and
                              to use it again may cost the whole family (RFC 9700 section 4.14.2)
    refused                   the provider said ``invalid_grant``: there is no grant any more
    ========================  =======================================================================================

    An attempt is written down with `sending` before anything leaves. Only a definite answer, or the proof that nothing
    left, undoes that, and it undoes its own attempt only: what was open before stays open.

    Attributes:
        token: the refresh token.
        sent_at: when the first attempt began that is still open, in seconds since the epoch; None while none is.
    """

    token: str = field(repr=False)
    sent_at: float | None = None

    @property
    def fate(self) -> Fate:
        """What may have become of it."""
        return "unsent" if self.sent_at is None else "maybe_spent"

    def sending(self, now: float) -> Grant:
        """Return the grant while an attempt is open.

        Args:
            now: seconds since the epoch.
        """
        return self if self.sent_at is not None else replace(self, sent_at=now)
