# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewals in a process of their own: the provider's pages are read outside of the agent, whose memory stays small."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[1] / "renew-account"


class RenewalError(Exception):
    """One sentence: why no renewal could be tried."""


async def renewal(request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Run one renewal.

    Args:
        request: what renew-account reads from its standard input.
        timeout: seconds after which it is given up.

    Returns:
        The outcome, without any secret.

    Raises:
        RenewalError: the process did not come to an outcome.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise RenewalError(
            f"no renewal can be started ({error.strerror}): look at the node's memory and processes"
        ) from None
    # Not ended with the agent: its refresh token may be spent already, and only it will learn the next one.
    try:
        async with asyncio.timeout(timeout):
            output, _ignored = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RenewalError(f"the renewal took more than {timeout:.0f} s") from None
    try:
        outcome = json.loads(output)
    except ValueError:
        raise RenewalError(f"the renewal ended with status {process.returncode} and no outcome") from None
    if not isinstance(outcome, dict) or "error" in outcome:
        raise RenewalError(str(outcome.get("error") if isinstance(outcome, dict) else "the renewal gave no outcome"))
    return outcome
