# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of the lanes, and what is derived from it."""

from __future__ import annotations

from pathlib import Path

import lanes
import pytest
from lane_programs import write_lanes
from lanes import LaneError, admin_password, load_lanes, token_document

KEY = b"0123456789abcdef"


def test_every_lane_has_its_address_its_ports_and_the_profile(tmp_path: Path) -> None:
    write_lanes(tmp_path / "lanes.json", "alice", "bob")
    described = load_lanes(tmp_path / "lanes.json")
    assert {name: lane.address for name, lane in described.items()} == {"alice": "127.64.0.1", "bob": "127.64.0.2"}
    assert described["bob"].ports == {"a": 8081, "b": 8082}


def test_programs_of_the_first_release_find_what_they_import_until_they_are_replaced() -> None:
    """They may start between the moment in which lanes.py is replaced and the one in which they are."""
    names = ["LANE_NAME", "REPLICAS", "LANES_FILE", "Lane", "LaneError", "account_names", "admin_password"]
    names += ["check_token", "load_lanes", "patches_at_start", "token_document"]
    assert [name for name in names if not hasattr(lanes, name)] == []
    assert (lanes.REPLICAS, str(lanes.LANES_FILE)) == (("a", "b"), "/etc/dcta/lanes.json")
    # They look whether it matches, and not whether it does to its end.
    assert lanes.LANE_NAME.match("alice-1")
    assert not [name for name in ("alice/../bob", "alice\n", "a" * 21, "") if lanes.LANE_NAME.match(name)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"profile": {}, "lanes": {"alice": {}}}', "null"])
def test_a_description_of_another_form_says_what_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "lanes.json").write_text(text)
    with pytest.raises(LaneError, match="run the playbook deploy again"):
        load_lanes(tmp_path / "lanes.json")


def test_a_missing_description_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(LaneError, match=r"FileNotFoundError.*run the playbook deploy again"):
        load_lanes(tmp_path / "none.json")


def test_the_program_gets_a_token_in_the_form_it_reads(tmp_path: Path) -> None:
    write_lanes(tmp_path / "lanes.json", "alice")
    lane = load_lanes(tmp_path / "lanes.json")["alice"]
    assert token_document(lane, "planted") == [{"token": "planted", "puid": ""}]


def test_no_two_lanes_and_no_two_nodes_share_an_admin_password() -> None:
    passwords = {admin_password(key, lane) for key in (KEY, KEY + b"x") for lane in ("alice", "bob")}
    assert len(passwords) == 4
    assert admin_password(KEY + b"\n", "alice") == admin_password(KEY, "alice")
