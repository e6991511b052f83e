"""Digests of files that were hashed before, so that a folder of which nothing changed need not be read again.

A digest is used again only for a file of the same device, inode, size, time of modification and time of change (``ctime``,
which no program can set). What was written within the clock's last tick before it was hashed is not kept, since it
could be written again within the same tick. So a digest is wrong only where content changed and all of that stayed: a clock set
back, a disk written past its file system, or a mapping (``mmap``) that is still being written to.

The cache is a file of ours in the user's cache folder. It is used only where folder and file belong to this user and nobody
else may write them; each row carries a checksum, and one that does not match is not there. Without a cache all is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import stat
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime import owned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger("modeldb")

_FILE = "hashes-1.db"
_AT_ONCE = 400  # rows that are asked for in one question
_TICK_NS = 100_000_000  # no clock of a file system that counts nanoseconds goes in longer ticks
_COARSE_TICK_NS = 2_500_000_000  # FAT counts in steps of two seconds
_SECOND_NS = 1_000_000_000
_ROW = struct.Struct("<qqqqq32s")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (device INTEGER, inode INTEGER, size INTEGER, modified_ns INTEGER, changed_ns INTEGER,
    digest BLOB, checksum BLOB, PRIMARY KEY (device, inode)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (name BLOB PRIMARY KEY, digest BLOB, checksum BLOB) WITHOUT ROWID;
"""


class HashCache:
    """The digests of files by what their file system says of them. Safe for any number of threads and processes.

    Args:
        folder: the user's cache folder; ``None``: nothing is remembered.
    """

    def __init__(self, folder: Path | None) -> None:
        self._lock = threading.Lock()
        self._connection = None if folder is None else _connect(folder)

    def find(self, states: Iterable[os.stat_result]) -> dict[tuple[int, int], bytes]:
        """Return the digests of files that are as they were when they were hashed, by device and inode."""
        by_name = {(_signed(state.st_dev), _signed(state.st_ino)): state for state in states}
        wanted: dict[int, list[int]] = {}
        for device, inode in by_name:
            wanted.setdefault(device, []).append(inode)
        found: dict[tuple[int, int], bytes] = {}
        for device, inodes in wanted.items():
            for at in range(0, len(inodes), _AT_ONCE):
                some = inodes[at : at + _AT_ONCE]
                marks = ",".join("?" * len(some))
                for row in self._ask(f"SELECT * FROM files WHERE device = ? AND inode IN ({marks})", [device, *some]):
                    state = by_name[row[0], row[1]]
                    if tuple(row[:5]) == _key_of(state) and row[6] == _checksum(row[:5], row[5]):
                        found[state.st_dev, state.st_ino] = row[5]
        return found

    def keep(self, hashed: Iterable[tuple[os.stat_result, bytes, int]]) -> None:
        """Remember digests of files; each with the time (``time.time_ns``) at which it began to be read."""
        rows = [
            (*key, digest, _checksum(key, digest))
            for state, digest, began_ns in hashed
            if _is_settled(state, began_ns)
            for key in [_key_of(state)]
        ]
        if rows:
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def find_objects(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of objects of a bucket by names that say address and version."""
        by_name = {hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(): name for name in names}
        found: dict[str, bytes] = {}
        keys = list(by_name)
        for at in range(0, len(keys), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            for name, digest, checksum in self._ask(
                f"SELECT * FROM objects WHERE name IN ({','.join('?' * len(some))})", some
            ):
                if checksum == _checksum((), digest, name):
                    found[by_name[name]] = digest
        return found

    def keep_objects(self, digests: Mapping[str, bytes]) -> None:
        """Remember the digests of objects of a bucket."""
        rows = []
        for name, digest in digests.items():
            hashed = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
            rows.append((hashed, digest, _checksum((), digest, hashed)))
        if rows:
            self._write("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Release it."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, question: str, values: Sequence[object]) -> list[Any]:
        with self._lock:
            if self._connection is None:
                return []
            try:
                return self._connection.execute(question, values).fetchall()
            except sqlite3.Error as error:
                logger.debug("the cache of digests is not used: %r", error)
                return []

    def _write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        with self._lock:
            if self._connection is not None:
                try:
                    with self._connection:
                        self._connection.executemany(statement, rows)
                except sqlite3.Error as error:  # what is not remembered is read again
                    logger.debug("digests are not remembered: %r", error)


def _connect(folder: Path) -> sqlite3.Connection | None:
    path = folder / _FILE
    try:
        owned.make_folder(folder).close()
        with suppress(FileExistsError):
            os.close(owned.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        owned.check_file(path)
        if hasattr(os, "geteuid") and any(_others_write(each) for each in (folder, path)):
            logger.debug("the cache of digests in %s is not used: others may write it", folder)
            return None
        connection = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        logger.debug("there is no cache of digests in %s: %r", folder, error)
        return None
    try:
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again
        connection.executescript(_SCHEMA)
    except sqlite3.Error as error:
        logger.debug("the cache of digests in %s is damaged, and is made again the next time: %r", folder, error)
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            owned.unlink_file(path)
        return None
    return connection


def _others_write(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _is_settled(state: os.stat_result, began_ns: int) -> bool:
    """Return whether a change after the file was read would show in its times."""
    last = max(state.st_mtime_ns, state.st_ctime_ns)
    is_coarse = state.st_mtime_ns % _SECOND_NS == 0 and state.st_ctime_ns % _SECOND_NS == 0
    return last + (_COARSE_TICK_NS if is_coarse else _TICK_NS) < min(began_ns, time.time_ns())


def _key_of(state: os.stat_result) -> tuple[int, int, int, int, int]:
    return (
        _signed(state.st_dev),
        _signed(state.st_ino),
        state.st_size,
        _signed(state.st_mtime_ns),
        _signed(state.st_ctime_ns),
    )


def _checksum(key: Sequence[int], digest: bytes, name: bytes = b"") -> bytes:
    numbers = [*key, 0, 0, 0, 0, 0][:5]
    return hashlib.blake2b(_ROW.pack(*numbers, digest) + name, digest_size=8, person=b"modeldb-hashes").digest()


def _signed(number: int) -> int:
    """Return a number of 64 bits as SQLite keeps it."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number
