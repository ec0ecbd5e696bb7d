# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the agent waits where no setting says so, in seconds."""

from __future__ import annotations

import asyncio
import contextlib

# A replica takes a token within milliseconds; one that does not is about to go or to come.
PATCH_SECONDS = 5.0
PATCH_PAUSE = 0.2
# How many times a replica that runs may leave the same token unanswered before it is restarted with it.
PATCHES_UNANSWERED_MAX = 3
# For so long the first renewal waits until the lane runs with what the store has.
FIRST_SUPPLY_SECONDS = 10.0
# How long a replica that hangs has to heed SIGTERM.
HEED_SECONDS = 1.0
# After a failure of the node itself: the lane runner, the disk.
REPAIR_SECONDS = 5.0
# How long another process may hold an account's delivery; the lane runner may make it wait for the lane's restart.
DELIVERY_SECONDS = 300.0
# Whatever a provider's tokens say of their lifetime, renewals of one account keep this distance.
RENEWAL_GAP = 1.0
# A replica that crashes again and again, or hangs again and again, is repaired ever more seldom.
BACKOFF_LONGEST = 300.0
# Between two looks at the connections to the lanes: the gateway's reports may get lost.
RECOUNT_SECONDS = 2.0
REPORT_SECONDS = 0.5
# Between two looks at what the operator should be told.
ALERT_SECONDS = 5.0


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until something happens, but no longer than some seconds.

    Args:
        event: what is waited for.
        seconds: how long.
    """
    # asyncio.wait_for of Python 3.11 takes a cancellation that comes together with the event for none.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
