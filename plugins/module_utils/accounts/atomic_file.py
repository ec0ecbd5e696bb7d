# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace a file as a whole: whatever happens meanwhile, the old content is there or the new, never a part of one.

The one writer of all programs and modules of a node.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath

MODE = 0o600


def draft_of(path: str) -> str:
    """Return where the new content of a file is written before it takes the file's place.

    No two files of a folder share a draft, because the whole name stands in it, a leading dot included.

    Args:
        path: the file.
    """
    return _beside(path, "tmp")


def room_of(path: str) -> str:
    """Return where `reserve` sets room aside for a file.

    Args:
        path: the file.
    """
    return _beside(path, "room")


def _beside(path: str, ending: str) -> str:
    pure = PurePath(path)
    return str(pure.with_name(f".{pure.name}.{ending}"))


def replace(
    path: str, data: bytes, *, folder: int | None = None, mode: int = MODE, durable: bool = True, reserved: bool = False
) -> None:
    """Replace a file, or make it.

    Args:
        path: the file; relative to ``folder`` when that is given.
        data: its new content.
        folder: descriptor of an open folder.
        mode: its permissions, whatever the umask is.
        durable: whether it is on the disk when this returns; else a power failure may bring the old content back.
        reserved: use the room that `reserve` has set aside.

    Raises:
        OSError: it could not be written; the old content is whole.
    """
    draft = room_of(path) if reserved else draft_of(path)
    try:
        _write(draft, data, folder, mode=mode, durable=durable, new=not reserved)
        os.rename(draft, path, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            _unlink(draft, folder)
        raise
    if durable:
        _sync_folder(path, folder)


def replace_all(contents: Mapping[str, bytes], *, mode: int = MODE) -> None:
    """Replace several files, or make them, in one moment: all are written before the first one takes its place.

    Args:
        contents: new content by path. They take their places in this order.
        mode: their permissions, whatever the umask is.

    Raises:
        OSError: one could not be written. Every file is whole, and unless one could not take its place all are the old.
    """
    try:
        for path, data in contents.items():
            _write(draft_of(path), data, None, mode=mode, durable=True, new=True)
        for path in contents:
            Path(draft_of(path)).rename(path)
    except OSError:
        for path in contents:
            with contextlib.suppress(OSError):
                _unlink(draft_of(path), None)
        raise
    for path in {PurePath(path).parent: path for path in contents}.values():
        _sync_folder(path, None)


def reserve(path: str, size: int, *, folder: int | None = None) -> None:
    """Set room aside on the disk, so that a later `replace` with ``reserved`` does not fail for want of it.

    Args:
        path: the file; relative to ``folder`` when that is given.
        size: bytes.
        folder: descriptor of an open folder.

    Raises:
        OSError: there is no room.
    """
    draft = room_of(path)
    try:
        _unlink(draft, folder)
        descriptor = _open_draft(draft, folder, new=True)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            _unlink(draft, folder)
        raise


def release(path: str, *, folder: int | None = None) -> None:
    """Give the room back that `reserve` has set aside; nothing is wrong when there is none."""
    with contextlib.suppress(OSError):
        _unlink(room_of(path), folder)


def _write(draft: str, data: bytes, folder: int | None, *, mode: int, durable: bool, new: bool) -> None:
    if new:
        _unlink(draft, folder)
    descriptor = _open_draft(draft, folder, new=new)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        stream.write(data)
        stream.flush()
        os.ftruncate(descriptor, len(data))
        if durable:
            os.fsync(descriptor)


def _open_draft(draft: str, folder: int | None, *, new: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_EXCL if new else 0)
    descriptor = os.open(draft, flags, mode=MODE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{draft} is not a regular file")
    return descriptor


def _unlink(draft: str, folder: int | None) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)


def _sync_folder(path: str, folder: int | None) -> None:
    if folder is not None:
        os.fsync(folder)
        return
    descriptor = os.open(PurePath(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
