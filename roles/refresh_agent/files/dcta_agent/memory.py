# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of the lanes survives its restart."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

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

    def save(self) -> None:
        """Write what is known now. A crash of the node may lose it: the lanes die with it as well."""
        document = {name: lane.remembered() for name, lane in self._lanes.items()}
        try:
            atomic_file.replace(str(self._path), json.dumps(document).encode(), durable=False)
        except OSError as error:
            log.warning("what was learned cannot be kept over a restart: %s", error.strerror)

    def recall(self, now: float) -> None:
        """Read what was known; what cannot be read is found out again.

        Args:
            now: seconds since the epoch.
        """
        try:
            document = json.loads(self._path.read_bytes())
            for name, known in document.items():
                if name in self._lanes:
                    self._lanes[name].recall(known, now)
        except FileNotFoundError:
            return
        except (OSError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError):
            log.warning("%s cannot be read: the lanes are looked at anew", self._path)
