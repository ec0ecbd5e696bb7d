# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each account, in words that a person reads at the end of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.dcta.fleet.plugins.filter.account_lines import account_lines, distance

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def account(**values: Any) -> dict[str, Any]:
    """Return an account whose token is good, with some changes."""
    return {
        "name": "alice",
        "state": "valid",
        "usable": True,
        "expires_at": "2026-12-02T18:00:00Z",
        "next_renewal": "2026-11-30T00:00:00Z",
        "error_class": None,
        "message": "The token is good.",
        "cure": "",
        **values,
    }


def test_a_good_account_says_how_long() -> None:
    assert account_lines([account()], NOW) == ["alice: valid [expires in 9 days, next renewal in 6 days]"]


def test_an_account_in_trouble_says_class_sentence_and_cure() -> None:
    trouble = account(
        state="quarantined",
        usable=False,
        expires_at=None,
        next_renewal=None,
        error_class="bad_credentials",
        message="The provider rejected the password.",
        cure="Correct it.",
    )
    [line] = account_lines([trouble], NOW)
    assert line == "alice: quarantined (bad_credentials) The provider rejected the password. Correct it."


def test_an_account_without_a_token_says_why() -> None:
    waiting = account(
        state="waiting", usable=False, expires_at=None, next_renewal="2026-11-23T12:00:40Z", message="It waits."
    )
    assert account_lines([waiting], NOW) == ["alice: waiting. It waits. [next renewal in 40 seconds]"]


def test_what_is_past_is_told_as_past() -> None:
    past = account(expires_at="2026-11-23T09:00:00Z", next_renewal="1970-01-01T00:00:00Z")
    assert account_lines([past], NOW) == ["alice: valid [expired 3 hours ago, next renewal now]"]


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-11-23T12:00:01Z", "now"),
        ("2026-11-23T12:01:30Z", "in 90 seconds"),
        ("2026-11-23T13:30:00Z", "in 90 minutes"),
        ("2026-11-25T11:00:00Z", "in 47 hours"),
        ("2026-11-25T12:00:00Z", "in 2 days"),
        ("2026-11-20T12:00:00Z", "3 days ago"),
    ],
)
def test_distances_use_the_largest_unit_with_two_of_it(moment: str, words: str) -> None:
    assert distance(moment, NOW) == words
