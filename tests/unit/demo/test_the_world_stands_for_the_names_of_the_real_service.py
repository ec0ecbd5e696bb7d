# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the demo's world every name that a program asks leads to the stand-ins, and their certificate holds it."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
import yaml
from world import prepare

from .standins import DEMO

ROOT = DEMO.parent


def _yaml(path: str) -> typing.Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture
def names() -> dict[str, str]:
    """What stands in the hosts files of the world."""
    found: dict[str, str] = _yaml("demo/world/create.yml")[0]["vars"]["world_names"]
    return found


def test_every_name_of_the_stand_ins_leads_to_them(names: dict[str, str]) -> None:
    assert set(prepare.SERVICES) <= names.keys()
    assert set(names.values()) == {"{{ world_provider }}"}


def test_no_host_that_a_profile_blocks_is_one_of_the_outside(names: dict[str, str]) -> None:
    profiles = _yaml("roles/api/vars/main.yml")["__api_profiles"]
    blocked = {host for profile in profiles.values() for host in profile["blocked_hosts"]}
    assert blocked
    assert blocked <= names.keys()


def test_a_certificate_is_made_anew_for_another_name_only(tmp_path: Path) -> None:
    prepare.make_certificate(tmp_path, "ca", ["An authority"], None)

    def made(*names: str) -> bytes:
        prepare.make_certificate(tmp_path, "tls", list(names), tmp_path)
        return (tmp_path / "tls.crt").read_bytes()

    first = made("login.dcta.test", "127.0.0.1")
    assert made("login.dcta.test", "127.0.0.1") == first
    second = made("login.dcta.test", "127.0.0.1", "chatgpt.com")
    assert second != first
    assert made("login.dcta.test", "127.0.0.1", "chatgpt.com") == second
