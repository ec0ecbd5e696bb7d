# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with one account, ready to be renewed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.credentials import Credentials
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.limits import Limits
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.renewer import Renewer
from ansible_collections.dcta.fleet.plugins.module_utils.accounts.store import Store
from identity_fake import EMAIL, PASSWORD, Clock, FakeProvider, World, example_provider, me, runtime


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "tokens"
    folder.mkdir(mode=0o700)
    clock = Clock()
    provider = FakeProvider(clock)
    with Store(str(folder), me(), sleep=clock.sleep) as store:
        renewer = Renewer(
            store=store,
            provider=example_provider(),
            credentials={"alice": Credentials(name="alice", email=EMAIL, password=PASSWORD)},
            runtime=runtime(provider.session, clock, seed=1),
            limits=Limits(),
        )
        yield World(clock=clock, provider=provider, folder=folder, store=store, renewer=renewer)
