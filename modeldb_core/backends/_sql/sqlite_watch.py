"""Whether anybody has written to a SQLite file since, told without a question to its tables."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from modeldb_core.backends._sql.sqlite_connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """A connection that never writes: what SQLite calls the data version alters for it with each commit of another one.

    Args:
        connect: opens a connection that waits for nobody.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.connections = Connections(connect, keeps=1)
        self._lock = threading.Lock()

    def write_mark(self) -> object:
        """Return what differs once anybody has committed; ``None`` where that cannot be told at once."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            with self.connections.one() as held:
                (version,) = held.driver.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        else:
            return held, version  # the number means nothing to another connection
        finally:
            self._lock.release()
