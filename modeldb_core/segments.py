"""The segments of a journal: preallocated, memory-mapped files of records, in a folder that a living process locks."""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import adler32

from modeldb_core import disk
from modeldb_core.errors import CorruptJournalError, StoreVersionError
from modeldb_core.records import CHECK_BYTES, HEADER, RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
"""Of the journal; ``docs/format.md`` describes it."""


@dataclass(slots=True)
class Segment:
    """A stretch of the journal. ``base`` is the position of its first byte in the whole journal."""

    number: int
    base: int
    size: int
    memory: mmap.mmap
    path: Path | None  # None: it lives in memory only
    used: int = 0

    @property
    def end(self) -> int:
        """The position after its last record."""
        return self.base + self.used


def lock_directory(directory: Path) -> int | None:
    """Return the descriptor that holds the lock of a stream's directory, or ``None`` where a living process has it."""
    fd = disk.open_private(directory / "lock")
    try:
        if disk.try_lock(fd):
            return fd
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def is_locked(directory: Path) -> bool:
    """Return whether a living process has the lock of a stream's directory, or it cannot be told."""
    try:
        fd = os.open(directory / "lock", os.O_RDWR | disk.PRIVATE)
    except OSError:  # its owner is just making it, or it is not ours
        return True
    try:
        return not disk.try_lock(fd)
    except OSError:
        return True
    finally:
        os.close(fd)


def claim_directory(directory: Path) -> int:
    """Make a stream's directory; return the descriptor that holds its lock.

    It gets its name when the lock is held, so that nobody who looks for the journals of the dead ever sees it unlocked.
    """
    if directory.is_dir():  # blobs wait in it already
        fd = lock_directory(directory)
    else:
        unborn = directory.with_name(f".{directory.name}")
        unborn.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = lock_directory(unborn)
        try:
            unborn.rename(directory)
        except PermissionError:  # Windows renames no folder in which a file is open
            if fd is not None:
                os.close(fd)
            unborn.rename(directory)
            fd = lock_directory(directory)
    if fd is None:
        msg = "somebody is just looking whether its process is alive"
        raise BlockingIOError(errno.EAGAIN, msg)
    return fd


def remove_directory(directory: Path, lock: int | None = None) -> None:
    """Remove a stream's directory, the lock last, so that nobody recovers half of it.

    Args:
        lock: the descriptor that holds the lock, which is closed.
    """
    if lock is not None and os.name == "nt":  # where what is open cannot be removed
        os.close(lock)
        lock = None
    for path in sorted(directory.rglob("*"), key=lambda p: (p.name == "lock", -len(p.parts))):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    directory.rmdir()
    if lock is not None:
        os.close(lock)


@dataclass(slots=True)
class SegmentReader:
    """A segment of a dead process, opened for reading.

    Attributes:
        header: what its first record says: stream_id, base, store_url, actor, host, pid.
        end: the position after the last whole record.
        torn: whether bytes of an unfinished record follow.
    """

    path: Path
    memory: mmap.mmap
    header: dict[str, Any]
    used: int
    torn: bool
    damaged: bool

    @classmethod
    def open(cls, path: Path) -> SegmentReader | None:
        """Return the reader of a segment, or ``None`` if its process died before the first record.

        Raises:
            CorruptJournalError: it does not begin with a header of a known format.
            StoreVersionError: it was written by a newer version of ModelDB.
        """
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size < RECORD.size:
                return None
            memory = mmap.mmap(file.fileno(), size)
        first = next(read_records(memory, 0, size), None)
        if first is None:
            return None
        _, record_type, body = first
        header = json.loads(bytes(body)) if record_type == HEADER else {}
        body.release()
        if isinstance(version := header.get("format"), int) and version > FORMAT:
            msg = (
                f"{path} is a journal of format {version}, and this ModelDB knows {FORMAT}: it was written by a newer one, "
                f"which will ship it; or update this one: pip install --upgrade modeldb-core"
            )
            raise StoreVersionError(msg)
        if version != FORMAT:
            msg = f"{path} is not a journal of format {FORMAT}; move it away, or recover it with the ModelDB that wrote it"
            raise CorruptJournalError(msg)
        used = 0
        for at, _, body in read_records(memory, 0, size):
            used = at + RECORD.size + len(body) + CHECK_BYTES
            body.release()
        rest = memory[used : used + 1 << 20]
        torn = any(rest[: RECORD.size])
        (claimed,) = struct.unpack_from("<I", rest.ljust(4, b"\0"))
        after = memory[used + max(claimed, RECORD.size) :] if torn else b""
        return cls(path, memory, header, used, torn, bool(after.strip(b"\0")))

    def segment(self) -> Segment:
        """Return it as a segment, for sealing."""
        number, base = int(self.header["number"]), int(self.header["base"])
        return Segment(number, base, len(self.memory), self.memory, self.path, self.used)


def read_records(memory: mmap.mmap | memoryview, start: int, end: int) -> Iterator[tuple[int, int, memoryview]]:
    """Iterate over (offset, type, body) of the whole records in a stretch of a segment; stops at the first that is not.

    The bodies are views: let go of them before the segment is discarded.
    """
    view = memoryview(memory)
    at = start
    while at + RECORD.size + CHECK_BYTES <= end:
        size, record_type = RECORD.unpack_from(view, at)
        if size < RECORD.size + CHECK_BYTES or at + size > end:
            return
        check = int.from_bytes(view[at + size - CHECK_BYTES : at + size], "little")
        if adler32(view[at : at + size - CHECK_BYTES]) != check:
            return
        yield at, record_type, view[at + RECORD.size : at + size - CHECK_BYTES]
        at += size


def map_new(path: Path, size: int) -> mmap.mmap:
    """Return a new file of zeros in memory, with its room on the disk allocated.

    Raises:
        OSError: there is no room; no file is left behind.
    """
    fd = disk.open_private(path, new=True)
    try:
        disk.allocate(fd, size)
        memory = mmap.mmap(fd, size)
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    os.close(fd)
    return memory


def discard(segment: Segment) -> None:
    """Remove a segment's file and let go of its memory."""
    with suppress(BufferError):  # a view of it is still being read; the mapping goes with the last one
        segment.memory.close()
    if segment.path is not None:
        segment.path.unlink(missing_ok=True)
