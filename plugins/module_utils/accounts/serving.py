# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an account's lane may run: what the refresh agent and the module ``lanes`` both go by."""

from __future__ import annotations

from .record import Record


def may_run(record: Record | None, now: float, *, running: bool) -> bool:
    """Tell whether a lane may run: with a good token, or up while the next one is being fetched.

    Args:
        record: the account's record; None if there is none.
        now: seconds since the epoch.
        running: whether the lane runs.
    """
    if record is None:
        return False
    if record.usable(now):
        return True
    # A renewal hands its token to a running program, so only a final verdict stops the lane.
    if record.access_token is None:
        return running and _is_blank(record)
    return running and record.state in ("valid", "waiting")


def _is_blank(record: Record) -> bool:
    """Say whether nothing is known of any token: the record was damaged and put aside, and the login is still to come.

    What the lane runs with may be as good as ever. That ends with the login, whatever comes of it. A token that was
    dropped because the entry now has another e-mail is known, and its lane does not run on.
    """
    return record.state == "new" and record.rejected_token is None
