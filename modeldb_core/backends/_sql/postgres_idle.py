"""Idle connections to PostgreSQL go back to the server after a while: others may need them."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from modeldb_core.backends._sql.postgres_driver import DriverConnection


class IdleConnections:
    """Closes connections of a pool that nobody has used for a while; the pool opens others when they are needed.

    A thread does it, which is there as long as a connection is idle. A forked child needs an object of its own.

    Args:
        timeout_s: how long a connection may be idle.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._condition = threading.Condition()
        self._since: weakref.WeakKeyDictionary[ConnectionPoolEntry, float] = weakref.WeakKeyDictionary()
        self._has_thread = False

    def watch(self, engine: Engine) -> None:
        """Look after the connections of an engine."""
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._given_back)
        event.listen(engine, "close", self._closed)

    def _taken(self, connection: DriverConnection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        with self._condition:
            self._since.pop(entry, None)
            if connection.closed:  # between being taken out of the pool and now
                raise DisconnectionError  # the pool tries again with another one

    def _given_back(self, connection: DriverConnection | None, entry: ConnectionPoolEntry) -> None:
        if connection is None or connection.closed:
            return
        with self._condition:
            self._since[entry] = time.monotonic()
            if self._has_thread:
                return
            try:
                threading.Thread(target=self._run, name="modeldb-idle-connections", daemon=True).start()
                self._has_thread = True
            except RuntimeError:  # the interpreter ends, and the connections with it
                pass

    def _closed(self, _connection: DriverConnection, entry: ConnectionPoolEntry) -> None:
        with self._condition:
            self._since.pop(entry, None)
            self._condition.notify()

    def _run(self) -> None:
        with self._condition:
            while self._since:
                oldest = min(self._since.values(), default=0.0)  # those of an engine that is gone go by themselves
                if self._condition.wait(max(oldest + self.timeout_s - time.monotonic(), 0.01)):
                    continue
                now = time.monotonic()
                for entry, since in list(self._since.items()):
                    if since + self.timeout_s <= now:
                        del self._since[entry]
                        entry.invalidate()
            self._has_thread = False
