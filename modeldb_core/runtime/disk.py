"""Files as the journal and others need them, where operating systems differ: locks, reserved room, reaching the disk."""

from __future__ import annotations

import errno
import os
import stat
from importlib import import_module
from typing import TYPE_CHECKING, Any

fcntl: Any
try:
    fcntl = import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)
"""Flags of ``os.open`` for files that started programs do not inherit, of bytes."""


_NO_LOCKS = "files cannot be locked: Python has no fcntl here, and portalocker is not installed"


def try_lock(descriptor: int) -> bool:
    """Lock an open file until the descriptor is closed; False where somebody else holds the lock.

    The lock belongs to the open file, not to the process: a forked child that has a copy of the descriptor has the lock
    too, and closing its copy takes it from nobody.

    Raises:
        OSError: the file system or the operating system has no locks.
    """
    if fcntl is None:
        return _try_portable_lock(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(descriptor: int) -> None:
    """Wait for the lock of an open file; only where there is ``fcntl``."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def lock_problem() -> str | None:
    """Return what keeps this Python from locking files; ``None`` where nothing does."""
    if fcntl is None:
        try:
            import_module("portalocker")
        except ImportError:
            return _NO_LOCKS
    return None


def unlock(descriptor: int) -> None:
    """Take the lock of a file away, also from forked children that have a copy of the descriptor."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return
    import portalocker

    portalocker.unlock(descriptor)


def _try_portable_lock(descriptor: int) -> bool:
    # Imported where it is needed: fcntl is part of Python, and a tenth of the price.
    try:
        import portalocker
    except ImportError as error:
        raise OSError(errno.ENOLCK, _NO_LOCKS) from error
    try:
        portalocker.lock(descriptor, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        raise OSError(errno.ENOLCK, f"files cannot be locked: {error}") from error
    return True


def allocate(descriptor: int, size: int) -> None:
    """Reserve room for a new file of zeros: a write into a hole of a full disk would kill the process with SIGBUS.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = memoryview(bytes(min(size, 1 << 20)))
    while size > 0:
        size -= os.write(descriptor, zeros[:size])


def reach_disk(descriptor: int) -> None:
    """Wait until the content of a file outlives a power failure."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync() leaves it in the cache of the drive
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
        except OSError:  # a network file system
            pass
        else:
            return
    os.fsync(descriptor)


def memory_reaches_disk(path: Path) -> None:
    """Wait, after a memory-mapped file was flushed, for what the flush alone does not wait for."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        descriptor = os.open(path, os.O_RDWR | PRIVATE)
        try:
            reach_disk(descriptor)
        finally:
            os.close(descriptor)


def open_regular(path: str | Path, *, follow: bool = False) -> int:
    """Open a file for reading, if it is one: a pipe or a device is not waited for.

    Args:
        follow: the path may be a link to a file.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    flags = os.O_RDONLY | PRIVATE | getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def read_regular(path: str | Path) -> bytes:
    """Return the content of a file; raises as :func:`open_regular` does."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def open_private(path: Path, *, new: bool = False, write_over: bool = False) -> int:
    """Open a file for reading and writing that only this user may read, making it where there is none.

    Args:
        new: it must not exist yet.
        write_over: it is emptied first.
    """
    flags = os.O_RDWR | os.O_CREAT | PRIVATE | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | (os.O_EXCL if new else 0) | (os.O_TRUNC if write_over else 0), 0o600)
