# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of the accounts return, in one form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .accounts.outcome import Outcome


def moment(seconds: float | None) -> str | None:
    """Write a point in time in UTC.

    Args:
        seconds: since the epoch, or None.

    Returns:
        RFC 3339 with whole seconds, or None.
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition_of(outcome: Outcome) -> dict[str, Any]:
    """Return how an account is, without any secret.

    Args:
        outcome: what the library says of it.

    Returns:
        What ``account_info`` promises for each account.
    """
    return {
        "name": outcome.name,
        "kind": outcome.kind,
        "state": outcome.state,
        "usable": outcome.usable,
        "expires_at": moment(outcome.expires_at),
        "next_renewal": moment(outcome.next_renewal),
        "error_class": outcome.error_class,
        "message": outcome.message,
        "cure": outcome.cure,
    }


def result_of(outcome: Outcome) -> dict[str, Any]:
    """Return how an account is and what was done about it.

    Args:
        outcome: what the library says of it.

    Returns:
        What ``account_login`` promises for each account.
    """
    return {**condition_of(outcome), "action": outcome.action, "changed": outcome.changed}
