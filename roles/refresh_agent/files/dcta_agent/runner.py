# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lane runner, asked without a thread: it may take minutes over one lane, and no other lane may wait for that."""

from __future__ import annotations

import asyncio
from typing import Any

from dcta_library.accounts.node_paths import LANE_RUNNER_SOCKET
from dcta_library.lane_runner import ANSWER_SECONDS, read_answer, unreachable, write_request


class Runner:
    """Asks the lane runner, one connection a request.

    Args:
        path: its socket.
        timeout: how long an answer may take, in seconds.
    """

    def __init__(self, path: str = LANE_RUNNER_SOCKET, timeout: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._timeout = timeout

    async def ask(self, operation: str, lane: str, **arguments: str) -> dict[str, Any]:
        """Send one request.

        Args:
            operation: put, start, stop, roll, end, kill or status.
            lane: the lane's name.
            arguments: further fields, for instance the token of ``put``.

        Returns:
            The answer without its field ``ok``.

        Raises:
            LaneRunnerError: the runner refuses or cannot be reached.
        """
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(write_request(operation, lane, **arguments))
                    line = await reader.readline()
                finally:
                    writer.close()
        except OSError as error:
            raise unreachable(error) from None
        except ValueError:  # a line without an end
            line = b""
        return read_answer(line, operation)
