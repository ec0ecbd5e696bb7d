#!/usr/bin/env python3
# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write every role's README.md from its argument_specs: `role_readmes.py`, or `--check` to see which are stale."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def plain(text: object) -> str:
    """Turn Ansible's semantic markup into Markdown."""
    paragraphs = [text] if isinstance(text, str) else list(text or [])  # type: ignore[call-overload]
    joined = " ".join(str(paragraph) for paragraph in paragraphs)
    joined = re.sub(r"P\(([^)#]+)#\w+\)", r"`\1`", joined)
    return re.sub(r"[CVOP]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|")


def default_cell(option: Mapping[str, Any]) -> str:
    """Return how a table shows an option's default."""
    if "default" not in option:
        return "required" if option.get("required") else ""
    value = option["default"]
    text = value if isinstance(value, str) and value else json.dumps(value)
    return "`" + text.replace("|", "\\|") + "`"


def rows(options: Mapping[str, Any], fleet_wide: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """Yield one table row an option, nested ones after the option that holds them."""
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        choices = ": " + ", ".join(f"`{choice}`" for choice in option["choices"]) if "choices" in option else ""
        source = f" Taken from `{fleet_wide[name]}`." if name in fleet_wide else ""
        text = plain(option["description"]) + source
        yield f"| `{prefix}{name}` | {kind}{choices} | {default_cell(option)} | {text} |"
        yield from rows(option.get("options", {}), {}, f"{prefix}{name}.")


def readme(role: Path) -> str:
    """Return the README of a role."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    main = specs["main"]
    defaults = role / "defaults/main.yml"
    fleet_wide = (
        dict(re.findall(r"^(\w+): .*\b(dcta_\w+)(?: \||',)", defaults.read_text(), re.MULTILINE))
        if defaults.exists()
        else {}
    )
    lines = [f"# dcta.fleet.{role.name}", "", main["short_description"], "", plain(main["description"]), ""]
    for name, spec in specs.items():
        if name != "main":
            lines += [f"Entry point `{name}`: {spec['short_description']} {plain(spec['description'])}", ""]
    if main["options"]:
        lines += [
            "| setting | type | default | what it does |",
            "|---|---|---|---|",
            *rows(main["options"], fleet_wide),
            "",
        ]
    lines += ["This page is made from `meta/argument_specs.yml` by `tools/role_readmes.py`.", ""]
    return "\n".join(lines)


def main() -> int:
    """Write or check the pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    check = parser.parse_args().check
    stale = 0
    for role in sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml")):
        page, text = role / "README.md", readme(role)
        if page.exists() and page.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{page.relative_to(ROOT)} is stale: run tools/role_readmes.py", file=sys.stderr)
        else:
            page.write_text(text)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
