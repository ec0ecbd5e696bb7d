# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every input of a role is specified, has the specified default, and stands in the README, values too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def _options(role: str) -> dict[str, Any]:
    specs = _load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec["options"].items()}


def _without_fleet_wide(value: Any) -> Any:
    """Return what a default is where the operator did not set the fleet-wide setting that it reads."""
    pattern = r"\{\{ (?:dcta_\w+ \| default\(|lookup\('dcta\.fleet\.resolved', 'dcta_\w+', default=)(.*)\) \}\}"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    return yaml.safe_load(match[1]) if match else value


@pytest.mark.parametrize("role", ROLES)
def test_specified_defaults_are_the_real_defaults(role: str) -> None:
    """A specification without its default, or with another one, is a lie."""
    specified = {name: option["default"] for name, option in _options(role).items() if "default" in option}
    real = _load(ROOT / "roles" / role / "defaults/main.yml") or {}
    assert specified == {name: _without_fleet_wide(value) for name, value in real.items()}


@pytest.mark.parametrize("role", ROLES)
def test_inputs_carry_the_roles_prefix(role: str) -> None:
    """A stranger sees by the name which role a setting belongs to."""
    assert [name for name in _options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_used(role: str) -> None:
    """A setting that nothing reads does nothing."""
    files = [path for path in (ROOT / "roles" / role).rglob("*") if path.is_file() and path.suffix in (".yml", ".j2")]
    text = "\n".join(path.read_text() for path in files if path.parent.name not in ("meta", "defaults"))
    defaults = ROOT / "roles" / role / "defaults/main.yml"
    assert [name for name in _options(role) if not re.search(rf"\b{name}\b", text)] == [], (
        f"{defaults} names unused inputs"
    )


@pytest.mark.parametrize("role", ROLES)
def test_internal_names_and_fleet_wide_settings_stay_where_they_belong(role: str) -> None:
    """dcta_* is read in role defaults only, and no role knows another role's variables."""
    others = "|".join(sorted((other for other in ROLES if other != role), key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w/.-])(?:dcta_(?!agent\b|library\b)[a-z]\w*|__(?:{others})_\w+)(?![\w/.-])")
    found = [
        f"{path.name}: {match}"
        for path in (ROOT / "roles" / role).rglob("*")
        if path.suffix in (".yml", ".j2") and path.parent.name in ("tasks", "handlers", "templates")
        for line in path.read_text().splitlines()
        for match in pattern.findall(re.sub(r"(fail_msg|sentence|#).*", "", line))
        if not match.startswith(f"__{role}_")
    ]
    assert found == []


@pytest.mark.parametrize("role", ROLES)
def test_secret_options_are_marked_no_log(role: str) -> None:
    """What is a secret by its name never shows in Ansible's output."""

    def walk(options: dict[str, Any]) -> list[str]:
        result = []
        for name, option in options.items():
            secret = re.search(r"(password|secret$|_token$|private_key|deploy_key)", name) or name == "key"
            if secret and option["type"] != "bool" and not option.get("no_log"):
                result.append(name)
            result += walk(option.get("options", {}))
        return result

    assert walk(_options(role)) == []


def test_readmes_are_made_from_the_specs_of_now() -> None:
    """The tables that users read are never older than the specifications."""
    result = subprocess.run(
        [sys.executable, ROOT / "tools/role_readmes.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_fleet_wide_setting_is_known_to_preflight_and_documented() -> None:
    """A setting that preflight does not know would be refused; one that nobody reads is not a setting."""
    known = set(_load(ROOT / "roles/preflight/vars/main.yml")["__preflight_known_settings"])
    sources = [*(ROOT / "roles").rglob("defaults/main.yml"), *(ROOT / "playbooks").rglob("*.yml")]
    read = {name for path in sources for name in re.findall(r"\bdcta_[a-z_]+\b", path.read_text())} - {"dcta_nodes"}
    documented = set(re.findall(r"`(dcta_[a-z_]+)`", (ROOT / "docs/variables.md").read_text()))
    assert read == known == documented
