# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack the collections that ``requirements.yml`` names out of the wheel of the ``ansible`` package."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path

import yaml


def unpack(wheel: Path, name: str, version: str, into: Path) -> None:
    """Unpack one collection.

    Args:
        wheel: The wheel of the ``ansible`` package.
        name: Fully qualified name of the collection.
        version: The version that the wheel has to hold.
        into: Folder that gets ``ansible_collections``.

    Raises:
        SystemExit: The wheel does not hold the collection in this version.
    """
    folder = f"ansible_collections/{name.replace('.', '/')}/"
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.namelist() if member.startswith(folder)]
        if not members:
            sys.exit(f"{wheel.name} holds no collection {name}; correct its name in requirements.yml")
        found = json.loads(archive.read(f"{folder}MANIFEST.json"))["collection_info"]["version"]
        if found != version:
            sys.exit(f"{wheel.name} holds {name} {found}, requirements.yml asks for {version}; make the two agree")
        archive.extractall(into, members)


def main() -> None:
    """Read the command line and unpack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True, help="folder that holds the one wheel")
    parser.add_argument("--into", type=Path, required=True)
    arguments = parser.parse_args()
    (wheel,) = arguments.bundle.glob("*.whl")
    for wanted in yaml.safe_load(arguments.requirements.read_text(encoding="utf-8"))["collections"]:
        unpack(wheel, wanted["name"], wanted["version"], arguments.into)


if __name__ == "__main__":
    main()
