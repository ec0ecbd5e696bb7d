# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first release, as an operator has it: a clone in which its commit is checked out."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "5301d0eb9f94a7d317c2663e777b06826dc3e602"
CHECKOUT = f"git checkout {COMMIT[:7]}"
"""What docs/upgrading.md tells the operator to type."""


class HistoryMissing(Exception):
    """The repository does not hold the first release, as after a shallow clone."""


def check_out(folder: Path, repository: Path = ROOT) -> None:
    """Clone a repository and check the first release out.

    Args:
        folder: where the clone shall be; it does not exist yet.
        repository: a clone with its whole history.

    Raises:
        HistoryMissing: the repository does not hold the commit.
    """
    known = _git(repository, "cat-file", "-e", f"{COMMIT}^{{commit}}", check=False)
    if known.returncode != 0:
        raise HistoryMissing(
            f"{repository} does not hold the first release, {COMMIT[:7]}, that upgrades are tested from: get the whole "
            "history with `git fetch --unshallow` (in GitHub Actions: fetch-depth: 0 of actions/checkout)."
        )
    _git(repository, "clone", "--quiet", "--shared", "--no-checkout", str(repository), str(folder))
    _program, *arguments = CHECKOUT.split()
    _git(folder, *arguments)


def _git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=check, timeout=60)
