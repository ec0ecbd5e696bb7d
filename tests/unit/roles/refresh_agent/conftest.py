# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a node the library is a package of its own; here it is the same files under the same name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

LIBRARY = ModuleType("dcta_library")
LIBRARY.__path__ = [str(Path(__file__).resolve().parents[4] / "plugins/module_utils")]
sys.modules.setdefault("dcta_library", LIBRARY)
