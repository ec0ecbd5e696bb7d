# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One set of stand-ins for all tests of this folder, brought back to its beginnings before each."""

from __future__ import annotations

import typing

import pytest

from .standins import ALICE, Browser, StandIns


@pytest.fixture(scope="session")
def _process(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[StandIns]:
    process = StandIns(tmp_path_factory.mktemp("standins"))
    yield process
    assert process.stop() == 0


@pytest.fixture
def standins(_process: StandIns) -> StandIns:
    """The running stand-ins with all switches at rest."""
    _process.control("/reset", tokens=True)
    return _process


@pytest.fixture
def alice(standins: StandIns) -> Browser:
    """A browser in which Alice types the right password."""
    return Browser(standins, username=ALICE, password="alice's & password")
