"""The lock by which one thread of one process of a machine at a time brings a replica up to date."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from modeldb_core.errors import ConfigurationError, StoreUnavailableError
from modeldb_core.runtime import disk, owned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 60.0
"""Waited for who holds the lock and does nothing. To fill a replica may take longer, and is seen at its files."""
_PAUSE_S = 0.05


class ReplicaLock:
    """A lock among processes, which is a file, and among the threads of this one.

    Args:
        path: the file.
        url: of the bucket, for messages.
        watched: gives the files that who holds the lock writes to.
    """

    def __init__(self, path: Path, url: str, watched: Callable[[], Iterator[Path]]) -> None:
        self._path = path
        self._url = url
        self._watched = watched
        self.begin()

    def begin(self) -> None:
        """Begin again in a forked child: a thread of the parent may have held the lock."""
        self.threads = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all others from bringing the replica up to date meanwhile.

        Raises:
            ConfigurationError: the file cannot be made.
            StoreUnavailableError: who holds the lock does not go on.
        """
        threads = self.threads
        self._wait(lambda: threads.acquire(timeout=_PAUSE_S))
        try:
            descriptor = self._opened()
            try:
                self._wait(lambda: _try(descriptor))
                try:
                    yield
                finally:
                    with suppress(OSError):
                        disk.unlock(descriptor)  # not by closing alone: a forked child may have it too
            finally:
                os.close(descriptor)
        finally:
            threads.release()

    def _opened(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return owned.open_file(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            msg = (
                f"the local replica of {self._url} cannot be kept in {self._path.parent}: {error.strerror or error}; set "
                f"cache_dir to a folder that this process may write"
            )
            raise ConfigurationError(msg) from error

    def _wait(self, attempt: Callable[[], bool]) -> None:
        """Try until it works, or until nothing has moved for too long."""
        if attempt():
            return
        seen, deadline = self._signs(), time.monotonic() + TIMEOUT_S
        while not attempt():
            if time.monotonic() < deadline:
                continue
            now = self._signs()
            if now == seen:
                msg = (
                    f"the local replica of {self._url} has been locked for {TIMEOUT_S:g} s by a process that does not "
                    f"go on; look for one that is stopped or hangs and holds {self._path} open, or set another "
                    f"cache_dir"
                )
                raise StoreUnavailableError(msg)
            seen, deadline = now, time.monotonic() + TIMEOUT_S

    def _signs(self) -> list[tuple[str, int, int]]:
        """Return what alters while who holds the lock fills the replica."""
        signs = []
        for path in self._watched():
            with suppress(OSError):
                found = path.stat()
                signs.append((path.name, found.st_mtime_ns, found.st_size))
        return signs


def _try(descriptor: int) -> bool:
    if disk.try_lock(descriptor):
        return True
    time.sleep(_PAUSE_S)
    return False
