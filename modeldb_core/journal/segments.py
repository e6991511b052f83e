"""The segments of a journal: preallocated, memory-mapped files of records, in a folder that a living process locks."""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import adler32

from modeldb_core.errors import CorruptJournalError, StoreVersionError
from modeldb_core.journal.records import CHECK_BYTES, HEADER, RECORD
from modeldb_core.runtime import disk, owned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modeldb_core.runtime.owned import Folder

FORMAT = 1
"""Of the journal; ``docs/format.md`` describes it."""

LOCK = "lock"
SPOOL = "spool"
MAX_READ_BYTES = 1 << 28
"""Of a segment that is read: those that are written grow to 8 MiB, or to the size of their largest record."""
_SEGMENT = re.compile(r"[0-9]{8}\.journal")
_SPOOLED = re.compile(r"[0-9a-f]{64}|\.[a-z0-9_]{8}")  # what hashlib and tempfile make
_MAX_HEADER_BYTES = 1 << 16
_CHUNK = 1 << 20


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
    """Return the descriptor that holds the lock of a stream's directory, or ``None`` where a living process has it.

    The lock is made where there is none.

    Raises:
        NotOursError: the directory, or what is called ``lock`` in it, is not this user's, or is a link.
    """
    with owned.Folder.open(directory) as folder:
        return lock_folder(folder, os.O_RDWR | os.O_CREAT)


def lock_folder(folder: Folder, flags: int = os.O_RDWR) -> int | None:
    """Return the descriptor that holds the lock of a stream's open directory; otherwise as :func:`lock_directory`."""
    try:
        fd = folder.open_file(LOCK, flags)
    except OSError as error:
        if flags & os.O_CREAT or error.errno not in (errno.EACCES, errno.EROFS):
            raise
        fd = folder.open_file(LOCK)  # where nothing may be written, it shows all the same whether a process has it
    try:
        if disk.try_lock(fd):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def claim_directory(directory: Path) -> int:
    """Make a stream's directory; return the descriptor that holds its lock.

    It gets its name when the lock is held, so that nobody who looks for the journals of the dead ever sees it unlocked.
    """
    if directory.is_dir():  # blobs wait in it already
        fd = lock_directory(directory)
    else:
        unborn = directory.with_name(f".{directory.name}")
        owned.make_private(directory.parent)
        unborn.mkdir(exist_ok=True, mode=0o700)
        fd = lock_directory(unborn)
        try:
            unborn.rename(directory)
        except PermissionError:  # Windows renames no folder in which a file is open
            if fd is not None:
                os.close(fd)
            unborn.rename(directory)
            fd = lock_directory(directory)
    if fd is None:
        msg = "another process is checking whether its process is alive"
        raise BlockingIOError(errno.EAGAIN, msg)
    return fd


def is_segment(name: str) -> bool:
    """Return whether a name is one that a segment has."""
    return _SEGMENT.fullmatch(name) is not None


def is_spooled(name: str) -> bool:
    """Return whether a name is one that a file of a spool has: its digest, or a temporary one."""
    return _SPOOLED.fullmatch(name) is not None


def remove_directory(directory: Path, lock: int | None = None) -> bool:
    """Remove what ModelDB makes in a stream's directory, the lock last so that nobody recovers half of it.

    Only files of this user with the names that ModelDB gives are removed, never through a link. The directory and its
    lock go if nothing else is in it.

    Args:
        lock: the descriptor that holds the lock, which is closed.

    Returns:
        Whether the directory is gone.

    Raises:
        NotOursError: it is not a directory of this user; nothing is removed.
    """
    if lock is not None and os.name == "nt":  # where what is open cannot be removed
        os.close(lock)
        lock = None
    try:
        with owned.Folder.open(directory) as folder:
            names = folder.names()
            for name in filter(is_segment, names):
                folder.unlink(name)
            if SPOOL in names:
                _remove_spool(folder)
            if folder.names() == [LOCK] and folder.stat(LOCK).st_size == 0:  # as ours is
                folder.unlink(LOCK)
        try:
            directory.rmdir()  # which removes no link, and nothing that is not empty
        except OSError:
            return False
        return True
    finally:
        if lock is not None:
            os.close(lock)


def _remove_spool(folder: Folder) -> None:
    with suppress(OSError):  # a link, or somebody else's: it stays
        with folder.folder(SPOOL) as spool:
            for name in filter(is_spooled, spool.names()):
                spool.unlink(name)
        folder.rmdir(SPOOL)


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
    def open(cls, path: Path, folder: Folder | None = None, *, to_seal: bool = True) -> SegmentReader | None:
        """Return the reader of a segment, or ``None`` if its process died before the first record.

        Args:
            folder: the open folder that it lies in, to be sure of that.
            to_seal: whether it is to be written, too.

        Raises:
            CorruptJournalError: it does not begin with a header of a known format, or is larger than any segment.
            StoreVersionError: it was written by a newer version of ModelDB.
            NotOursError: it is not a file of this user, or is a link.
        """
        flags = os.O_RDWR if to_seal else os.O_RDONLY
        fd = owned.open_file(path, flags) if folder is None else folder.open_file(path.name, flags)
        try:
            size = os.fstat(fd).st_size
            if size > MAX_READ_BYTES:
                msg = f"{path} has {size:,} bytes, more than the {MAX_READ_BYTES:,} of any segment"
                raise CorruptJournalError(msg)
            if size < RECORD.size:
                return None
            memory = mmap.mmap(fd, size, access=mmap.ACCESS_WRITE if to_seal else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        first = next(read_records(memory, 0, size), None)
        if first is None:
            is_zero = _is_zero(memory, 0)
            memory.close()
            if is_zero:
                return None
            msg = f"{path} does not begin with a record of a journal"
            raise CorruptJournalError(msg)
        _, record_type, body = first
        content = bytes(body[:_MAX_HEADER_BYTES])
        body.release()
        header = _parse_header(path, record_type, content)
        used = 0
        for at, _, body in read_records(memory, 0, size):
            used = at + RECORD.size + len(body) + CHECK_BYTES
            body.release()
        rest = memory[used : used + RECORD.size]
        torn = any(rest)
        (claimed,) = struct.unpack_from("<I", rest.ljust(4, b"\0"))
        damaged = torn and not _is_zero(memory, used + max(claimed, RECORD.size))
        return cls(path, memory, header, used, torn, damaged)

    def segment(self) -> Segment:
        """Return it as a segment, for sealing."""
        number, base = int(self.header["number"]), int(self.header["base"])
        return Segment(number, base, len(self.memory), self.memory, self.path, self.used)


def _is_zero(memory: mmap.mmap, start: int) -> bool:
    return not any(memory[at : at + _CHUNK].strip(b"\0") for at in range(start, len(memory), _CHUNK))


def _parse_header(path: Path, record_type: int, content: bytes) -> dict[str, Any]:
    """Return the map that the first record of a segment holds, of the format that is known here."""
    try:
        header = json.loads(content) if record_type == HEADER else None
    except (ValueError, RecursionError):  # not UTF-8, not JSON, numbers of thousands of digits, too deep
        header = None
    if not isinstance(header, dict):
        msg = f"{path} does not begin with the header of a journal"
        raise CorruptJournalError(msg)
    if isinstance(version := header.get("format"), int) and version > FORMAT:
        msg = (
            f"{path} is a journal of format {version}, and this ModelDB knows {FORMAT}: it was written by a newer one, "
            f"which will ship it; or update this one: pip install --upgrade modeldb-core"
        )
        raise StoreVersionError(msg)
    if version != FORMAT or isinstance(version, bool):
        msg = f"{path} is not a journal of format {FORMAT}; move it away, or recover it with the ModelDB that wrote it"
        raise CorruptJournalError(msg)
    return header


def read_records(memory: mmap.mmap | memoryview, start: int, end: int) -> Iterator[tuple[int, int, memoryview]]:
    """Iterate over (offset, type, body) of the whole records in a stretch of a segment; stops at the first that is not.

    The bodies are views: release them before the segment is discarded.
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
    fd = owned.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
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
    """Remove a segment's file and release its memory."""
    with suppress(BufferError):  # a view of it is still being read; the mapping goes with the last one
        segment.memory.close()
    if segment.path is not None:
        owned.unlink_file(segment.path)
