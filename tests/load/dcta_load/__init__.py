# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded load client that never repeats a request and checks every byte of the answers.

`Load` is the entry; `Target` says where requests may go, `Question` what is asked, `Result` what became of it.
"""

from __future__ import annotations

from .load import Clients, Load
from .question import Question, questions
from .result import Result, percentile
from .target import Target, TargetRefused

__all__ = ["Clients", "Load", "Question", "Result", "Target", "TargetRefused", "percentile", "questions"]
