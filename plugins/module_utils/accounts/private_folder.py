# Copyright (c) 2026, the dcta.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of a service user: files replaced as a whole, locks, and no link followed.

The folder belongs to a service that may one day be taken over. A root process therefore never touches anything in it as
root: it becomes the folder's owner, opens names relative to the folder and follows no link.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import stat
import threading
import time
from collections.abc import Callable, Iterator

from . import atomic_file
from .errors import StoreBusy, StoreError

_POLL = 0.02
_LARGEST = 1 << 20


# A process has one identity for all its threads.
_identity = threading.RLock()


@contextlib.contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Become another user for a while, if this process is root and that user is not; other threads wait meanwhile.

    Args:
        uid: the user.
        gid: the group; all supplementary groups are dropped.
    """
    with _identity:
        if os.geteuid() != 0 or uid == 0:
            yield
            return
        groups, own_gid = os.getgroups(), os.getegid()
        try:
            os.setgroups([])
            os.setegid(gid)
            os.seteuid(uid)
            yield
        finally:
            os.seteuid(0)
            os.setegid(own_gid)
            os.setgroups(groups)


class PrivateFolder:
    """A folder that belongs to one user alone.

    Args:
        path: the folder.
        owner: name of the user that must own it.
        what: what the folder is, for messages, such as "token store".
        sleep: waits some seconds, between two tries for a lock.

    Raises:
        StoreError: the folder is missing, a link, someone else's, or others may write in it.
    """

    def __init__(self, path: str, owner: str, *, what: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._what = what
        self._sleep = sleep
        try:
            user = pwd.getpwnam(owner)
        except KeyError:
            raise StoreError(f"There is no user {owner} to own the {what}.", cure="Run the role node first.") from None
        try:
            self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise failed(f"The {what} {path} cannot be opened", error) from None
        status = os.fstat(self._folder)
        if status.st_uid != user.pw_uid or status.st_mode & 0o022:
            os.close(self._folder)
            raise StoreError(
                f"The {what} {path} does not belong to {owner} alone.",
                cure=f"Make {owner} its owner and give it mode 0700.",
            )
        self._uid, self._gid = user.pw_uid, user.pw_gid

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)

    def entries(self) -> list[str]:
        """Return the names of all that is in it.

        Raises:
            StoreError: it cannot be listed.
        """
        try:
            with self._owner():
                return os.listdir(self._folder)  # noqa: PTH208 - pathlib knows no open folder
        except OSError as error:
            raise failed(f"The {self._what} {self.path} cannot be listed", error) from None

    def read(self, file: str) -> str | None:
        """Read a file.

        Args:
            file: its name.

        Returns:
            Its text, or None if there is none.

        Raises:
            ValueError: it is a link, no regular file, too large or no UTF-8.
            StoreError: it cannot be read for another reason.
        """
        try:
            descriptor = self._open(file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if stat.S_ISLNK(self._mode(file)):
                raise ValueError("a link") from None
            raise failed(f"{self.path}/{file} cannot be read", error) from None
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError("too large")
        return data.decode("utf-8")

    def changed_at(self, file: str) -> int | None:
        """Return when a file was last written, in nanoseconds since the epoch; None if there is none."""
        try:
            with self._owner():
                return os.stat(file, dir_fd=self._folder, follow_symlinks=False).st_mtime_ns
        except OSError:
            return None

    def write(self, file: str, text: str, *, reserved: bool = False) -> None:
        """Replace a file; when this returns it is on the disk.

        Args:
            file: its name.
            text: its new content.
            reserved: use the room that `reserve` has set aside.

        Raises:
            StoreError: it could not be written; the old one is whole.
        """
        if len(text.encode()) > _LARGEST:
            raise StoreError(
                f"{self.path}/{file} would be larger than any of its kind.", cure="Supply a shorter token."
            )
        try:
            with self._owner():
                atomic_file.replace(file, text.encode(), folder=self._folder, reserved=reserved)
        except OSError as error:
            raise failed(f"{self.path}/{file} cannot be written", error) from None

    def reserve(self, file: str, size: int) -> None:
        """Set room aside for the next `write` with ``reserved``.

        Args:
            file: its name.
            size: bytes.

        Raises:
            StoreError: there is no room.
        """
        try:
            with self._owner():
                atomic_file.reserve(file, size, folder=self._folder)
        except OSError as error:
            raise failed(f"{self.path}/{file} cannot be written", error) from None

    def release(self, file: str) -> None:
        """Give back what `reserve` has set aside."""
        with self._owner():
            atomic_file.release(file, folder=self._folder)

    def rename(self, file: str, other: str) -> None:
        """Give a file another name, if it is there."""
        with contextlib.suppress(OSError), self._owner():
            os.rename(file, other, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def remove(self, files: list[str]) -> None:
        """Remove files, whichever of them are there, for good.

        Args:
            files: their names.

        Raises:
            OSError: one of them cannot be removed.
        """
        with self._owner():
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=self._folder)
            os.fsync(self._folder)

    @contextlib.contextmanager
    def lock(self, file: str, timeout: float) -> Iterator[None]:
        """Hold a lock that every other process sees and that ends with this one.

        Args:
            file: name of the lock.
            timeout: seconds to wait for another holder.

        Raises:
            StoreBusy: another process held it all that time.
            StoreError: it cannot be opened.
        """
        waited = 0.0
        while True:
            descriptor = self._open_lock(file)
            try:
                while not _try_lock(descriptor):
                    if waited >= timeout:
                        raise StoreBusy(
                            f"Another process has held {file} of the {self._what} for {timeout:.0f} s.",
                            cure="Try again later; if it stays so, restart dcta-agent.",
                        )
                    self._sleep(_POLL)
                    waited += _POLL
                if self._is_current(file, descriptor):
                    yield
                    return
            finally:
                os.close(descriptor)

    def _owner(self) -> contextlib.AbstractContextManager[None]:
        return acting_as(self._uid, self._gid)

    def _open(self, file: str, flags: int) -> int:
        # O_NONBLOCK: a planted FIFO must not hold the caller up.
        with self._owner():
            descriptor = os.open(
                file, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode=0o600, dir_fd=self._folder
            )
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ValueError("not a regular file")
        return descriptor

    def _mode(self, file: str) -> int:
        try:
            with self._owner():
                return os.stat(file, dir_fd=self._folder, follow_symlinks=False).st_mode
        except OSError:
            return 0

    def _open_lock(self, file: str) -> int:
        try:
            return self._open(file, os.O_RDWR | os.O_CREAT)
        except ValueError:
            raise StoreError(
                f"{self.path}/{file} is not a regular file.", cure="Remove it and look who made it."
            ) from None
        except OSError as error:
            raise failed(f"{self.path}/{file} cannot be locked", error) from None

    def _is_current(self, file: str, descriptor: int) -> bool:
        # The holder before may have removed the account with its lock: then this lock guards nothing.
        try:
            with self._owner():
                status = os.stat(file, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(status, os.fstat(descriptor))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def failed(what: str, error: OSError) -> StoreError:
    """Return the error for a file that could not be used."""
    return StoreError(f"{what}: {os.strerror(error.errno or 0)}.")
