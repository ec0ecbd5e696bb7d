# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of the lanes survives its restart."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcta_library.accounts import atomic_file

from .lane import Lane

log = logging.getLogger(__name__)


class Memory:
    """The file that keeps it.

    Args:
        path: the file.
        lanes: the lanes by name.
    """

    def __init__(self, path: Path, lanes: Mapping[str, Lane]) -> None:
        self._path = path
        self._lanes = lanes

    def save(self) -> bool:
        """Write what is known now, and say whether that is done.

        A crash of the node may lose it: the lanes die with it as well.
        """
        document = {name: lane.remembered() for name, lane in self._lanes.items()}
        try:
            atomic_file.replace(str(self._path), json.dumps(document).encode(), durable=False)
        except OSError as error:
            log.warning("what was learned cannot be kept over a restart: %s", error.strerror)
            return False
        return True

    def recall(self, now: float) -> None:
        """Read what was known; what cannot be read is found out again, and doubted until then.

        Args:
            now: seconds since the epoch.
        """
        document: Any = None
        try:
            document = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            # No agent before this one can have sent anything: it would have written the file first.
            return
        except (OSError, ValueError):
            pass
        for name, lane in self._lanes.items():
            try:
                # One that is new on this node stands in no file yet.
                if name in document.keys():  # noqa: SIM118 - a list or a text has none
                    lane.recall(document[name], now)
            except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError):
                log.warning("%s cannot be read: lane %s is looked at anew", self._path, name)
                lane.doubt()
