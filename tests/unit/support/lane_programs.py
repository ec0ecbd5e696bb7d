# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the lanes as modules, and the description of a node's lanes."""

from __future__ import annotations

import importlib
import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

importlib.import_module("node_modules")  # the programs import from there

ROLE = Path(__file__).resolve().parents[3] / "roles/api"
FILES = ROLE / "files"
TOKEN = "planted-token"
PROFILE: dict[str, Any] = {
    "name": "acheong08_2023_08",
    "program": "/opt/dcta/current/chatgpt-to-api",
    "token_file": {"name": "access_tokens.json", "form": "object_list"},
    "proxies_file": {"name": "proxies.txt", "schemes": {"http": "http", "socks5h": "socks5"}},
    "forbidden_files": ["accounts.txt", "api_keys.txt"],
    "environment": {"GIN_MODE": "release"},
    "max_token_file_age": 518400,
}


def known_profile(name: str) -> dict[str, Any]:
    """Return one of the role's profiles, as the node gets it."""
    profiles = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__api_profiles"]
    return {**PROFILE, **profiles[name], "name": name}


def load_program(name: str) -> ModuleType:
    """Import a program that has no .py in its name."""
    loader = SourceFileLoader(name.replace("-", "_"), str(FILES / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def write_lanes(path: Path, *names: str, **profile: Any) -> None:
    """Describe lanes as the role does."""
    lanes = {
        name: {"address": f"127.64.0.{number}", "ports": {"a": 8081, "b": 8082}} for number, name in enumerate(names, 1)
    }
    path.write_text(json.dumps({"profile": {**PROFILE, **profile}, "lanes": lanes}))
