"""A file that one process uses at a time; its lock ends with the process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["FileLock", "holder_of"]

_MOST_TRIES: Final = 100
# Whoever only asks who holds it has it for microseconds.
_LOOKS: Final = 5
_LOOK_S: Final = 0.01
_HOLDER_BYTES: Final = 200

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock far behind what the holder writes, which others must be able to read."""
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock the whole file."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Holds a lock beside a file, in `NAME.lock`, until it is released or the process ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: Another process holds it; says which.
            OSError: The lock file cannot be made.
        """
        self._path = path.with_name(f"{path.name}.lock")
        self._descriptor: int | None = None
        for _ in range(_MOST_TRIES):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            if not _locks(descriptor):
                holder = _holder(descriptor)
                os.close(descriptor)
                raise BlockingIOError(errno.EAGAIN, f"it is in use by {holder}", str(path))
            if _is_at(descriptor, self._path):
                self._descriptor = descriptor
                break
            # Whoever held it has removed the file in this moment: a lock on that is none.
            os.close(descriptor)
        else:
            raise BlockingIOError(errno.EAGAIN, "it is in use", str(path))
        os.truncate(self._descriptor, 0)
        os.write(
            self._descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode()[:_HOLDER_BYTES]
        )

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform != "win32":
            # While it is held: afterwards it may be somebody else's.
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(descriptor)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self._path.unlink()


def holder_of(path: Path) -> str | None:
    """Return who holds the lock of a file, None when nobody does."""
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        _lock(descriptor)
    except OSError:
        return _holder(descriptor)
    else:
        return None
    finally:
        # Which gives it back.
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    """Take the lock of an open file; say whether it could be had."""
    for left in reversed(range(_LOOKS)):
        try:
            _lock(descriptor)
        except OSError:
            if left:
                time.sleep(_LOOK_S)
        else:
            return True
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    """Say whether an open file is still the one of that name."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _holder(descriptor: int) -> str:
    """Return who wrote into the lock file."""
    try:
        return os.read(descriptor, _HOLDER_BYTES).decode("utf-8", "replace") or "another process"
    except OSError:
        return "another process"
