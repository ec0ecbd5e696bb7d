# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter plugin account_lines."""

from __future__ import annotations

DOCUMENTATION = r"""
name: account_lines
short_description: Say in one line how each account is
version_added: 0.1.0
author: the dcta.fleet authors (@dcta)
description:
  - Turns what M(dcta.fleet.account_login) or M(dcta.fleet.account_info) returned into one line for each account, with
    its state, when its token expires, when it is renewed next, and for an account in trouble the class of the failure,
    a sentence and the cure.
options:
  _input:
    type: list
    elements: dict
    required: true
    description: The accounts as one of the modules returned them.
"""

EXAMPLES = r"""
- name: See how the accounts of this node are
  dcta.fleet.account_info:
  register: info

- name: Say it
  ansible.builtin.debug:
    msg: "{{ info.accounts | dcta.fleet.account_lines }}"
"""

RETURN = r"""
_value:
  type: list
  elements: str
  description: One line for each account.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

SPANS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


def distance(moment: str, now: datetime) -> str:
    """Say how far away a point in time is, in the largest unit of which there are at least two.

    Args:
        moment: RFC 3339, in UTC.
        now: what it is compared with.

    Returns:
        For example ``in 9 days``, ``now`` or ``2 hours ago``.
    """
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    if abs(seconds) < 2:
        return "now"
    span = next(f"{abs(seconds) // size:.0f} {unit}" for size, unit in SPANS if abs(seconds) >= 2 * size)
    return f"in {span}" if seconds > 0 else f"{span} ago"


def account_lines(accounts: Iterable[Mapping[str, Any]], now: datetime | None = None) -> list[str]:
    """Return one line for each account; see DOCUMENTATION."""
    now = now or datetime.now(UTC)
    lines = []
    for account in accounts:
        line = f"{account['name']}: {account['state']}"
        if account["error_class"]:
            line += f" ({account['error_class']}) {account['message']} {account['cure']}"
        elif not account["usable"]:
            line += f". {account['message']}"
        facts = []
        if account["expires_at"]:
            past = account["expires_at"] <= f"{now:%Y-%m-%dT%H:%M:%SZ}"
            facts.append(f"{'expired' if past else 'expires'} {distance(account['expires_at'], now)}")
        if account["next_renewal"]:
            due = account["next_renewal"] <= f"{now:%Y-%m-%dT%H:%M:%SZ}"
            facts.append(f"next renewal {'now' if due else distance(account['next_renewal'], now)}")
        lines.append(f"{line} [{', '.join(facts)}]" if facts else line)
    return lines


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name to function."""
        return {"account_lines": account_lines}
