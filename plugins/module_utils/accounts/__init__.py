# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts that look after themselves: login, tokens, store and renewal policy.

The package needs nothing beyond the standard library and its own files, so that the folder can be copied to a node and
imported there under any name. HTTP session, clock, sleep and randomness are handed in by the caller.
"""

from __future__ import annotations
