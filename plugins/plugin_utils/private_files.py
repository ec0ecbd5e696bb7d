# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with secrets on the controller: encrypted with the run's own vault password before they touch the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import VaultLib, match_encrypt_secret


def controller_path(path: str) -> Path:
    """Return a path on the controller; a relative one begins where the run was started.

    Args:
        path: as an operator writes it.
    """
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - Path.resolve would follow links


def vault_secret(loader: Any) -> tuple[str, Any]:
    """Return the vault secret that the run encrypts with, and its label.

    Args:
        loader: the run's data loader.

    Raises:
        AnsibleActionFail: the run has no vault secret, or not the one that the configuration wants.
    """
    known = loader._vault.secrets
    if not known:
        raise AnsibleActionFail(
            "The run has no vault password to encrypt with: give --vault-password-file, --vault-id or --ask-vault-pass."
        )
    try:
        label, secret = match_encrypt_secret(known, constants.DEFAULT_VAULT_ENCRYPT_IDENTITY)
    except AnsibleError:
        raise AnsibleActionFail(
            "The run lacks the vault password that ANSIBLE_VAULT_ENCRYPT_IDENTITY names: give it with --vault-id."
        ) from None
    return label, secret


def encrypt(loader: Any, text: str) -> bytes:
    """Encrypt a text with the run's vault secret.

    Args:
        loader: the run's data loader.
        text: what is secret.

    Returns:
        What ``ansible-vault`` reads.

    Raises:
        AnsibleActionFail: see `vault_secret`.
    """
    label, secret = vault_secret(loader)
    encrypted: bytes = VaultLib(loader._vault.secrets).encrypt(text, secret, label)
    return encrypted


def decrypt(loader: Any, path: Path) -> str:
    """Read an encrypted file.

    Args:
        loader: the run's data loader.
        path: the file.

    Returns:
        The text.

    Raises:
        AnsibleActionFail: there is no such file, or no vault secret of the run opens it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnsibleActionFail(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from None
    try:
        plain: bytes = VaultLib(loader._vault.secrets).decrypt(content)
        return plain.decode()
    except (AnsibleError, UnicodeError):
        raise AnsibleActionFail(
            f"No vault password of this run opens {path}: give the one it was encrypted with, or move the file away."
        ) from None


def answer_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module of the node answered; of a failure only the sentence, since the rest may hold secrets.

    Args:
        answer: the module's result.

    Raises:
        AnsibleActionFail: the module failed.
    """
    if answer.get("failed"):
        raise AnsibleActionFail(str(answer.get("msg", "The module failed on the node.")))
    return dict(answer)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file for the operator alone; when this returns it is on the disk, and before the old one is whole.

    Args:
        path: the file; missing folders above it are made.
        content: all of it.

    Raises:
        AnsibleActionFail: it cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes it for the operator alone.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".bak", dir=path.parent)
        temporary = Path(name)
        _fill(descriptor, content)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise AnsibleActionFail(f"{path} cannot be written: {os.strerror(error.errno or 0)}.") from None


def new_folder(path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Make a folder with all of its files at once, or nothing.

    Args:
        path: the folder; there may be an empty one.
        files: content and mode by path below the folder.

    Raises:
        AnsibleActionFail: something is there already, or it cannot be written.
    """
    refuse_what_exists(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        for name, (content, mode) in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _fill(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), content)
        # Fails where somebody was faster, unless with an empty folder.
        temporary.rename(path)
        _sync(path.parent)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise AnsibleActionFail(f"{path} cannot be written: {os.strerror(error.errno or 0)}.") from None


def refuse_what_exists(path: Path) -> None:
    """Refuse to write where something is.

    Args:
        path: what shall be made.

    Raises:
        AnsibleActionFail: it exists and is no empty folder.
    """
    with contextlib.suppress(OSError):
        if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
            raise AnsibleActionFail(f"{path} exists already and nothing is overwritten: name another folder.")


def _fill(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
