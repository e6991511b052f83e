"""Whether anybody has written to a SQLite file since, told without a question to its tables."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """A connection that never writes: what SQLite calls the data version alters for it with each commit of another one.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._which = object()

    def write_mark(self) -> object:
        """Return what differs once anybody has committed; ``None`` where that cannot be told at once."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._connection is None:
                self._connection, self._which = self._connect(), object()
                self._connection.execute("PRAGMA busy_timeout = 0")
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        else:
            return self._which, version  # the number means nothing to another connection
        finally:
            self._lock.release()

    def close(self) -> None:
        """Release the connection; the next mark is made with another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
