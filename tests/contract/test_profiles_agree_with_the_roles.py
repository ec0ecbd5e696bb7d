# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile crosses roles: what each has on its own is what the default profile says, and all profiles are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def _load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


PROFILES: dict[str, dict[str, Any]] = _load("roles/api/vars/main.yml")["__api_profiles"]
SPECS: dict[str, Any] = _load("roles/api/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
OPTIONS: dict[str, Any] = SPECS["api_custom_profile"]["options"]
TYPES: dict[str, type] = {"str": str, "dict": dict, "list": list, "bool": bool, "int": int}


def test_the_roles_on_their_own_stand_for_the_default_profile() -> None:
    defaults = {
        name: value
        for role in ("api_build", "golang", "gateway", "api")
        for name, value in _load(f"roles/{role}/defaults/main.yml").items()
    }
    profile = PROFILES[defaults["api_profile"]]
    assert f"default('{defaults['api_profile']}')" in _load("playbooks/vars/profile.yml")["__deploy_profile"]
    assert (defaults["api_build_repository"], defaults["api_build_commit"]) == (
        profile["repository"],
        profile["commit"],
    )
    assert (defaults["golang_minimum_version"], defaults["gateway_models"]) == (
        profile["go_version"],
        profile["models"],
    )


def test_every_profile_can_be_chosen_and_is_documented() -> None:
    documentation = (ROOT / "docs/profiles.md").read_text()
    assert SPECS["api_profile"]["choices"] == sorted(PROFILES)
    assert [name for name in PROFILES if f"`{name}`" not in documentation] == []


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_has_all_keys_of_the_right_type(profile: str) -> None:
    assert set(PROFILES[profile]) | {"name"} == set(OPTIONS)
    for key, value in PROFILES[profile].items():
        option = OPTIONS[key]
        assert value.__class__ is TYPES[option["type"]], key
        inner = {name: rule for name, rule in option.get("options", {}).items() if "choices" in rule}
        assert [
            (key, name) for name, rule in inner.items() if PROFILES[profile][key][name] not in rule["choices"]
        ] == []
    assert re.fullmatch(r"[0-9a-f]{40}", PROFILES[profile]["commit"])
    re.compile(PROFILES[profile]["token_pattern"])


def test_every_key_of_a_profile_is_documented() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/profiles.md").read_text().split("| key |")[1]))
    assert set(OPTIONS) <= documented


def test_a_profile_is_never_an_if() -> None:
    """Data decides; the name of a variant stands in its entry and nowhere else."""
    files = [
        path
        for path in (ROOT / "roles").rglob("*")
        if path.is_file() and path.parent.name in ("tasks", "templates", "files")
    ]
    assert [
        str(path) for path in files for name in PROFILES if path.suffix != ".pyc" and name in path.read_text()
    ] == []
