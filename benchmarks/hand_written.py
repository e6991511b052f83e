"""The limits in SQL: what somebody would write by hand for one purpose, with the indexes that it needs."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.content import RunContent

_SCHEMA = """
    CREATE TABLE runs (run_pk INTEGER PRIMARY KEY, run_id TEXT UNIQUE, name TEXT, status TEXT,
                       started_at INTEGER, finished_at INTEGER);
    CREATE INDEX runs_by_start ON runs (started_at);
    CREATE TABLE keys (key_pk INTEGER PRIMARY KEY, key TEXT UNIQUE);
    CREATE TABLE hyperparameters (run_pk INTEGER, key_pk INTEGER, value, PRIMARY KEY (run_pk, key_pk)) WITHOUT ROWID;
    CREATE INDEX hyperparameters_by_value ON hyperparameters (key_pk, value, run_pk);
    CREATE TABLE metrics (run_pk INTEGER, key_pk INTEGER, value REAL, PRIMARY KEY (run_pk, key_pk)) WITHOUT ROWID;
    CREATE INDEX metrics_by_value ON metrics (key_pk, value, run_pk);
    CREATE TABLE tags (run_pk INTEGER, tag TEXT, PRIMARY KEY (run_pk, tag)) WITHOUT ROWID;
    CREATE TABLE points (run_pk INTEGER, key_pk INTEGER, step INTEGER, time INTEGER, value REAL);
"""


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a database with the schema, made where it is missing, with a write-ahead log."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -65536")
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(_SCHEMA)
    try:
        yield connection
    finally:
        connection.close()


class Rows:
    """Inserts runs, row by row."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._keys: dict[str, int] = {}
        self._last = connection.execute("SELECT coalesce(max(run_pk), 0) FROM runs").fetchone()[0]

    def key(self, key: str) -> int:
        """Return the number of a key."""
        if key not in self._keys:
            self.connection.execute("INSERT OR IGNORE INTO keys (key) VALUES (?)", (key,))
            (self._keys[key],) = self.connection.execute("SELECT key_pk FROM keys WHERE key = ?", (key,)).fetchone()
        return self._keys[key]

    def insert(self, run_id: str, content: RunContent) -> None:
        """Insert one run, within the caller's transaction."""
        self._last += 1
        execute, many, number = self.connection.execute, self.connection.executemany, self._last
        row = (number, run_id, content.name, "finished", content.started_at, content.finished_at)
        execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)
        for name, values in (("hyperparameters", content.hyperparameters), ("metrics", content.metrics)):
            many(
                f"INSERT INTO {name} VALUES (?, ?, ?)",
                [(number, self.key(key), value) for key, value in values.items()],
            )
        many("INSERT INTO tags VALUES (?, ?)", [(number, tag) for tag in content.tags])

    def insert_all(self, contents: Iterable[tuple[str, RunContent]]) -> None:
        """Insert runs in one transaction, and let SQLite look at them for its plans."""
        self.connection.execute("BEGIN")
        for run_id, content in contents:
            self.insert(run_id, content)
        self.connection.execute("COMMIT")
        self.connection.execute("ANALYZE")


def whole_runs(connection: sqlite3.Connection, numbers: list[int]) -> list[dict[str, Any]]:
    """Return whole runs by their numbers, in that order."""
    among = f"({','.join(map(str, numbers))})"
    names = ("run_pk", "run_id", "name", "status", "started_at", "finished_at")
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(f"SELECT {', '.join(names)} FROM runs WHERE run_pk IN {among}"):
        found[row[0]] = {**dict(zip(names, row, strict=True)), "hyperparameters": {}, "metrics": {}, "tags": []}
    keys = dict(connection.execute("SELECT key_pk, key FROM keys"))
    for section in ("hyperparameters", "metrics"):
        rows = connection.execute(f"SELECT run_pk, key_pk, value FROM {section} WHERE run_pk IN {among}")
        for run_pk, key_pk, value in rows:
            found[run_pk][section][keys[key_pk]] = value
    for run_pk, tag in connection.execute(f"SELECT run_pk, tag FROM tags WHERE run_pk IN {among}"):
        found[run_pk]["tags"].append(tag)
    return [found[number] for number in numbers]
