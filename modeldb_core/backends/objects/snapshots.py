"""Snapshots: what a replica holds, as an object, so that a machine which sees the bucket for the first time need not replay it.

A snapshot is a SQLite file, compressed. Anyone with write access to the bucket may have written it, so it becomes a replica
only where

- its content hashes to what its name says, and is no longer than it may be;
- its tables and indexes are those that this code makes, to the letter: no trigger and no view of anybody else runs here;
- SQLite finds it in order;
- after the first listing, every number of every stream is in an object that was listed under the name, and so with the
  content, that the snapshot knows.

That its answers follow from the changes, and its changes from the objects, is what ``audit verify`` looks at, which reads all.
Where anything does not fit, the bucket is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import tempfile
import zlib
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.backends.objects.audit import uncovered
from modeldb_core.backends.objects.replica import Replica
from modeldb_core.errors import IntegrityError, NotFoundError, StoreUnavailableError
from modeldb_core.model.entities import now_us
from modeldb_core.runtime import owned

if TYPE_CHECKING:
    from modeldb_core.backends.objects.bucket import Bucket

logger = logging.getLogger("modeldb")

SNAPSHOTS = "snapshots/"
ENOUGH_CHANGES = 2000
"""So many are worth a snapshot; fewer are taken in at once."""
_NAME = re.compile(r"snapshots/([0-9a-f]{24})/([0-9a-f]{16})\.([0-9]{1,12})\.([0-9]{1,12})\.([0-9a-f]{64})\.db\.z")
_MAX_BYTES = 4 << 30  # of a replica; of a larger one no snapshot is made, because it is held in memory compressed
_PIECE = 1 << 20
_UNCHECKED = "snapshot"
"""What a replica is called in its state as long as nobody has compared it with a listing."""


def put(bucket: Bucket, replica: Replica, code: str) -> None:
    """Write a snapshot, unless there is one that holds as much; delete those that it replaces.

    Args:
        code: the fingerprint of the code that made the replica: it is for the same code only.

    Raises:
        StoreReadOnlyError: the bucket may not be written.
        StoreUnavailableError: it cannot be reached.
    """
    changes, erased = _extent(replica)
    if changes < ENOUGH_CHANGES or replica.path.stat().st_size > _MAX_BYTES:
        return
    listed = [found for name in bucket.listing(SNAPSHOTS) if (found := _NAME.fullmatch(name)) and found[1] == code]
    if any((int(found[3]), int(found[4])) == (changes, erased) for found in listed):
        return
    content = _content(replica)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{SNAPSHOTS}{code}/{now_us():016x}.{changes}.{erased}.{digest}.db.z"
    bucket.write(name, content)
    if bucket.read(name) != content:
        msg = f"the object {name} was written to {bucket.url} and reads differently; check the storage system"
        raise StoreUnavailableError(msg)
    bucket.delete([found[0] for found in listed])


def drop_outdated(bucket: Bucket, replica: Replica) -> int:
    """Delete the snapshots, of any code, that may hold payloads which were erased since; return how many."""
    _, erased = _extent(replica)
    found = [match for name in bucket.listing(SNAPSHOTS) if (match := _NAME.fullmatch(name)) and int(match[4]) < erased]
    if found:
        bucket.delete([match[0] for match in found])
    return len(found)


def take(bucket: Bucket, code: str, path: Path) -> None:
    """Make a replica of the newest snapshot that will do; where there is none, make nothing."""
    for name in sorted(bucket.listing(f"{SNAPSHOTS}{code}/"), reverse=True):
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        try:
            _install(bucket.read(name), found[5], path, bucket.url)
        except NotFoundError:  # replaced since it was listed
            continue
        except IntegrityError as error:
            logger.warning("The snapshot %s in %s is left out: %s", name, bucket.url, error)
        else:
            return


def is_unchecked(replica: Replica) -> bool:
    """Return whether a replica comes from a snapshot that was not compared with a listing yet."""
    return replica.state(_UNCHECKED) is not None


def fits(replica: Replica) -> bool:
    """Return whether all that a replica holds is in objects that were listed just now; if so, it counts as any other."""
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for stream_id, first, last in replica.query("SELECT stream_id, first, last FROM bucket_parts"):
        seen[stream_id].append((first, last))
    if any(uncovered(replica, replica.heads(), seen)):
        logger.warning("A snapshot of %s holds changes that are in no object there; the bucket is read.", replica.url)
        return False
    replica.execute_many("DELETE FROM bucket_state WHERE name = ?", [(_UNCHECKED,)])
    return True


def _extent(replica: Replica) -> tuple[int, int]:
    """Return how many changes a replica holds, and how many payloads were erased."""
    ((changes, erased),) = replica.query(
        "SELECT (SELECT count(*) FROM changes), (SELECT count(*) FROM erased WHERE done = 1)"
    )
    return changes, erased


def _content(replica: Replica) -> bytes:
    """Return a replica without what it has deleted, and without what is about this machine, compressed."""
    with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=replica.path.parent) as folder:
        copy = Path(folder, "copy.db")
        with closing(sqlite3.connect(replica.path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("DELETE FROM bucket_state WHERE name NOT IN ('marker')")
            connection.execute("INSERT INTO bucket_state VALUES (?, 1)", (_UNCHECKED,))
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite!_stat%' ESCAPE '!'"
            ).fetchall():
                connection.execute(f"DROP TABLE {table}")
        packer, packed = zlib.compressobj(1), list[bytes]()
        with copy.open("rb") as file:
            while piece := file.read(_PIECE):
                packed.append(packer.compress(piece))
        return b"".join([*packed, packer.flush()])


def _install(content: bytes, digest: str, path: Path, url: str) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        msg = "its content does not hash to what its name says"
        raise IntegrityError(msg)
    owned.make_private(path.parent)
    new = path.with_name(f"{path.name}.new")
    try:
        _unpack(content, new)
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            _check(connection, path.parent, url)
        os.replace(new, path)
    except (sqlite3.Error, zlib.error) as error:
        msg = f"it is not a database: {error}"
        raise IntegrityError(msg) from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{new}{suffix}")


def _unpack(content: bytes, path: Path) -> None:
    unpacker, size = zlib.decompressobj(), 0
    with os.fdopen(owned.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        for at in range(0, len(content), _PIECE):
            rest = content[at : at + _PIECE]
            while not unpacker.eof and (piece := unpacker.decompress(rest, _PIECE)):
                rest = unpacker.unconsumed_tail
                size += len(piece)
                if size > _MAX_BYTES:
                    msg = f"it holds more than {_MAX_BYTES:,} bytes"
                    raise IntegrityError(msg)
                file.write(piece)
    if not unpacker.eof:
        msg = "it is cut off"
        raise IntegrityError(msg)


def _check(connection: sqlite3.Connection, folder: Path, url: str) -> None:
    """See that a database is one that this code could have made.

    Raises:
        IntegrityError: it is not.
    """
    with (
        tempfile.TemporaryDirectory(prefix=".snapshot-", dir=folder) as other,
        closing(Replica(Path(other, "empty.db"), url)) as empty,
    ):
        expected = empty.query(_SCHEMA)
    found = connection.execute(_SCHEMA).fetchall()
    if sorted(map(tuple, found)) != sorted(map(tuple, expected)):
        strange = {row[1] for row in found} ^ {row[1] for row in expected}
        msg = f"its tables are not those that this code makes: {', '.join(sorted(strange))[:200] or 'they differ'}"
        raise IntegrityError(msg)
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        msg = f"it is damaged: {said}"
        raise IntegrityError(msg)
    if connection.execute("SELECT 1 FROM bucket_state WHERE name = ?", (_UNCHECKED,)).fetchone() is None:
        msg = "it does not say that it is a snapshot"
        raise IntegrityError(msg)
    # It was listed by another machine, and cursors of its log are of no use here.
    connection.execute("DELETE FROM bucket_state WHERE name NOT IN ('marker', ?)", (_UNCHECKED,))


_SCHEMA = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema"
