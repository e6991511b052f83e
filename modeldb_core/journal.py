"""The crash-safe local journal: where everything is written before a ``log_*`` call returns.

A process owns one directory per stream: ``<journal_dir>/<stream_id>/`` with a ``lock`` that it holds while it lives, and
numbered *segments*. A segment is a preallocated, memory-mapped file of records; appending one is a copy into the page
cache, which survives the death of the process by any signal. A record is

    size u32 | type u8 | 3 bytes 0 | body | adler32 u32 of all before it          (little endian; a size of 0: the end)

so a torn tail is recognized and cut. Rows of metrics name a *plan* (run and keys) that stands earlier in the same
segment. A *seal* says which records became which changes of the stream, with the random salts: turning records into
changes is a function of the segment alone, so a batch that was sent before a crash is rebuilt bit for bit after it. The
last bytes of a segment are kept free for its last seal, so that a segment explains itself alone.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.records import HEADER, make_record
from modeldb_core.segments import FORMAT, Segment, claim_directory, discard, map_new, remove_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("modeldb")

FIRST_SEGMENT_BYTES = 1 << 18
MAX_SEGMENT_BYTES = 1 << 23
RESERVE_BYTES = 512  # room for the last seals of a segment, of 152 bytes each
RETRY_S = 0.1  # while there is room nowhere, a log call must not cost more than finding that out so often
MAX_VOLATILE_BYTES = 1 << 26  # what is kept in memory while the disk takes nothing


class RowPlan(NamedTuple):
    """How rows with given keys are packed into the current segment.

    Attributes:
        pack: the packing function: of size, type, number, step, time, and a value for each key.
        number: of the plan.
        size: of a row's record, in bytes.
        memory: the segment that defines the plan; rows for another one need the definition again.
        definition: the plan's record.
    """

    pack: Callable[..., bytes]
    number: int
    size: int
    memory: mmap.mmap
    definition: bytes


class Journal:
    """Appends records to a stream's segments.

    Any thread may append, a signal handler in the middle of an append too. ``lock`` guards the position; the first line
    of slots is public to the one hot path, :meth:`RunHandle.log_metrics`: it writes while ``fast_limit`` leaves room and
    nobody is ``busy``, and calls :meth:`append` otherwise. The lock is only ever taken by ``with``: an exception that a
    signal handler raises right after ``acquire()`` would keep it for good.
    """

    __slots__ = (
        *("lock", "memory", "position", "fast_limit", "busy"),
        *(
            "segments",
            "directory",
            "stream_id",
            "_retry_at",
            "on_rotate",
            "_deferred",
            "_fsync",
            "_header",
            "_limit",
            "_lock_fd",
            "_warned",
        ),
    )

    def __init__(self, directory: Path, stream_id: str, header: dict[str, Any], *, fsync: bool = False) -> None:
        self.lock = threading.RLock()
        self.busy = False
        self._fsync = fsync
        self.stream_id = stream_id
        self.directory = directory / stream_id
        self.segments: list[Segment] = []
        self._retry_at = 0.0
        self.on_rotate: Any = None
        self._deferred: list[tuple[bytes, RowPlan | None]] = []
        self._header = {**header, "stream_id": stream_id, "format": FORMAT}
        self._lock_fd: int | None = None
        self._warned = False
        self.position = self.fast_limit = self._limit = 0
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._rotate(0)

    def append(self, record: bytes, plan: RowPlan | None = None) -> bool:
        """Append a whole record; False where neither disk nor memory had room for it, and it is lost.

        Args:
            plan: of a row; it is defined again where the segment does not define it yet.
        """
        with self.lock:
            if self.busy:  # this thread was interrupted in the middle of an append: the outer call writes it
                self._deferred.append((record, plan))
                return True
            self.busy = True
            try:
                taken = self._write(record, plan)
                while self._deferred:
                    self._write(*self._deferred.pop(0))
                return taken
            finally:
                self.busy = False

    def append_seal(self, segment: Segment, record: bytes) -> None:
        """Append a seal to the segment whose records it seals: at the end of the current one, else in its reserve."""
        with self.lock:
            if segment is self.segments[-1] and self.position + len(record) <= segment.size:
                self.memory[self.position : self.position + len(record)] = record
                self.position += len(record)
            else:
                segment.memory[segment.used : segment.used + len(record)] = record
                segment.used += len(record)
            if self._fsync:
                segment.memory.flush()

    def snapshot(self) -> list[Segment]:
        """Return the segments, with ``used`` up to date."""
        with self.lock:
            self.segments[-1].used = self.position
            return list(self.segments)

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self.snapshot()[-1].end

    @property
    def is_volatile(self) -> bool:
        """Whether new records live in memory only, because the disk takes nothing."""
        return self.segments[-1].path is None

    def drop_until(self, position: int) -> None:
        """Remove the segments that end at or before ``position``; the current one stays."""
        with self.lock:
            keep = [s for s in self.segments[:-1] if s.end > position] + self.segments[-1:]
            gone = [s for s in self.segments if s not in keep]
            self.segments = keep
            self._retry_at = 0.0
        for segment in gone:
            discard(segment)

    def close(self, *, remove: bool) -> None:
        """End the journal; ``remove`` it where all of it has arrived in the store."""
        for segment in self.snapshot():
            if remove:
                discard(segment)
            elif segment.path is not None:
                segment.memory.flush()
        if remove:
            remove_directory(self.directory)
        self._unlock()

    def abandon(self) -> None:
        """Let go of everything without touching it: what a forked child does with its parent's journal."""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)  # a forked copy of the descriptor keeps the parent's lock alive, and the reverse
            self._lock_fd = None

    def _write(self, record: bytes, plan: RowPlan | None) -> bool:
        definition = plan.definition if plan is not None else b""
        room = len(definition) + len(record)
        if self.position + room > self._limit and not self._rotate(room):
            return False
        if plan is not None and plan.memory is not self.memory:
            record = definition + record
        end = self.position + len(record)
        self.memory[self.position : end] = record
        self.position = end
        if self._fsync and not self.is_volatile:
            self.memory.flush()
        return True

    def _rotate(self, needed: int) -> bool:
        """Go on in a new segment with room for ``needed`` bytes; False where neither disk nor memory has any."""
        if time.monotonic() < self._retry_at:
            return False
        previous = self.segments[-1] if self.segments else None
        if previous is not None:
            previous.used = self.position
        # Positions leave room for seals that the previous segment may still get.
        number, base = (previous.number + 1, previous.base + previous.size) if previous else (1, 0)
        header = make_record(HEADER, json.dumps({**self._header, "number": number, "base": base}).encode())
        grown = min(MAX_SEGMENT_BYTES, previous.size * 2) if previous else FIRST_SEGMENT_BYTES
        least = needed + len(header) + RESERVE_BYTES
        sizes = {_page_multiple(max(wish, least)): None for wish in (grown, FIRST_SEGMENT_BYTES)}
        segment = self._allocate(number, base, list(sizes))
        if segment is None:
            self._retry_at = time.monotonic() + RETRY_S
            return False
        size, start = segment.size, len(header)
        segment.memory[:start] = header
        self.segments = [*self.segments, segment]  # no call from here on, so no signal handler comes between
        self.memory = segment.memory
        self.position = start
        self._limit = size - RESERVE_BYTES
        self.fast_limit = 0 if self._fsync else self._limit
        if self.on_rotate is not None:
            self.on_rotate()
        return True

    def _allocate(self, number: int, base: int, sizes: list[int]) -> Segment | None:
        """Return a segment of the first size there is room for: on the disk, else in memory."""
        path = self.directory / f"{number:08d}.journal"
        for size in sizes:
            try:
                if self._lock_fd is None:
                    self._lock_fd = claim_directory(self.directory)
                return Segment(number, base, size, map_new(path, size), path)
            except OSError as error:
                problem = error
        if not self._warned:
            self._warned = True
            _warn_volatile(path, problem)
        taken = sum(segment.size for segment in self.segments if segment.path is None)
        for size in sizes:
            if taken + size <= MAX_VOLATILE_BYTES:
                return Segment(number, base, size, mmap.mmap(-1, size), None)
        return None


def _page_multiple(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _warn_volatile(path: Path, error: OSError) -> None:
    logger.warning(
        "The journal cannot be written (%s: %s). Logging goes on in memory, up to %d MiB, and would be lost with the "
        "process. Free some space, or set journal_dir.",
        path,
        error.strerror or error,
        MAX_VOLATILE_BYTES >> 20,
    )
