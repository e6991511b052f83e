"""The crash-safe local journal: where everything is written before a ``log_*`` call returns.

A process owns one directory per stream: ``<journal_dir>/<stream_id>/`` with a ``lock`` that it holds while it lives, and
numbered *segments*. A segment is a preallocated, memory-mapped file of records; appending one is a copy into the page
cache, which survives the death of the process by any signal. A record is

    size u32 | type u8 | 3 bytes 0 | body | adler32 u32 of all before it          (little endian; a size of 0: the end)

so a torn tail is recognized and cut. Rows of metrics name a *plan* (run and keys) that stands earlier in the same
segment: :meth:`Journal.define` and :meth:`Journal.append` alone ensure that. A *seal* says which records became which changes of the stream, with the random salts: turning records into
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
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.journal.records import HEADER, MAX_SEAL_BYTES, make_record
from modeldb_core.journal.segments import FORMAT, Segment, claim_directory, discard, map_new, remove_directory
from modeldb_core.runtime.disk import lock_problem, memory_reaches_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("modeldb")

FIRST_SEGMENT_BYTES = 1 << 18
MAX_SEGMENT_BYTES = 1 << 23
RESERVE_BYTES = 4 * MAX_SEAL_BYTES
"""Room for the last seals of a segment: two of the process that filled it, one of a recovery, and one to spare."""
RETRY_S = 0.1  # while there is room nowhere, a log call must not cost more than finding that out so often
MAX_VOLATILE_BYTES = 1 << 26  # what is kept in memory while the disk takes nothing


class RowPlan(NamedTuple):
    """How rows with given keys are packed.

    Attributes:
        pack: the packing function: of size, type, number, step, time, and a value for each key.
        number: of the plan, which no other plan of this process ever has.
        size: of a row's record, in bytes.
        memory: the segment that defines the plan, if one does; rows for another one need the definition again.
        definition: the plan's record.
    """

    pack: Callable[..., bytes]
    number: int
    size: int
    memory: mmap.mmap | None
    definition: bytes


class Journal:
    """Appends records to a stream's segments.

    Any thread may append, and so may what interrupts a thread in the middle of an append: a signal handler, a
    destructor, a callback of the garbage collector. ``lock`` keeps threads apart. ``busy`` keeps a thread apart from what
    interrupts it: whatever moves the position or replaces the list of segments is done while it is set, and
    what comes meanwhile in the same thread is written by :meth:`_leave`.

    The first line of slots is public to the one hot path, :meth:`RunHandle.log_metrics`: it writes while ``fast_limit``
    leaves room and nobody is ``busy``, and calls :meth:`append` otherwise. The lock is only ever taken by ``with``: an
    exception that a signal handler raises right after ``acquire()`` would keep it for good.
    """

    __slots__ = (
        "_deferred",
        "_fsync",
        "_header",
        "_limit",
        "_lock_fd",
        "_retry_at",
        "_warned",
        "busy",
        "directory",
        "fast_limit",
        "is_closed",
        "lock",
        "lost",
        "memory",
        "on_rotate",
        "position",
        "seen",
        "segments",
        "stream_id",
    )

    def __init__(self, directory: Path, stream_id: str, header: dict[str, Any], *, fsync: bool = False) -> None:
        self.lock = threading.RLock()
        self.busy = False
        self.lost = 0
        """How many records neither disk nor memory had room for."""
        self.is_closed = False
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
        self.seen = 0
        """Up to where the last snapshot reaches: what is appended from here on is in none."""
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._rotate(0)

    def append(self, record: bytes, plan: RowPlan | None = None) -> bool:
        """Append a whole record; False where the journal was closed, and nothing is in it.

        What there is no room for, on the disk or in memory, is counted as :attr:`lost`.

        Args:
            plan: of a row; it is defined again where the segment does not define it.
        """
        with self.lock:
            if self.is_closed:
                return False
            if self.busy:
                self._deferred.append((record, plan))
                return True
            self.busy = True
            try:
                self.lost += not self._write(record, plan)
            finally:
                self._leave()
            return True

    def offer(self, record: bytes) -> bool:
        """Append a record if there is room; False where there is none, and nothing is counted as lost."""
        with self.lock:
            if self.busy or self.is_closed:
                return False
            self.busy = True
            try:
                return self._write(record, None)
            finally:
                self._leave()

    def define(self, plan: RowPlan) -> RowPlan:
        """Define a plan in the current segment; return it with that segment, or without one where there is no room."""
        with self.lock:
            if self.busy or self.is_closed:
                return plan  # its rows bring the definition along
            self.busy = True
            try:
                # What interrupts this cannot begin another segment before _leave().
                return plan._replace(memory=self.memory if self._write(plan.definition, None) else None)
            finally:
                self._leave()

    def append_seal(self, segment: Segment, record: bytes) -> None:
        """Append a seal to the segment whose records it seals: at the end of the current one, else in its reserve."""
        with self.lock:
            self.busy = True
            try:
                if segment is self.segments[-1] and self.position + len(record) <= segment.size:
                    self.memory[self.position : self.position + len(record)] = record
                    self.position += len(record)
                else:
                    segment.memory[segment.used : segment.used + len(record)] = record
                    segment.used += len(record)
                if segment is not self.segments[-1]:
                    self._flush(segment)
            finally:
                self._leave()

    def snapshot(self) -> list[Segment]:
        """Return the segments, with ``used`` up to date."""
        with self.lock:
            self.segments[-1].used = self.position
            self.seen = self.segments[-1].end
            return [*self.segments]

    @property
    def end(self) -> int:
        """The position after the last record."""
        with self.lock:  # and no call: a signal handler that waits for the writer would have it wait for this lock
            return self.segments[-1].base + self.position

    @property
    def is_interrupted(self) -> bool:
        """Whether the caller interrupts an append of its own thread: it must not wait for others then."""
        with self.lock:
            return self.busy

    @property
    def is_volatile(self) -> bool:
        """Whether new records live in memory only, because the disk takes nothing."""
        return self.segments[-1].path is None

    def drop_until(self, position: int) -> None:
        """Remove the segments that end at or before ``position``; the current one stays."""
        with self.lock:
            self.busy = True
            try:
                gone = [segment for segment in self.segments[:-1] if segment.end <= position]
                self.segments = [segment for segment in self.segments[:-1] if segment.end > position] + [
                    self.segments[-1]
                ]
                self._retry_at = 0.0
            finally:
                self._leave()
        for segment in gone:
            with suppress(OSError):  # a folder that has become read-only
                discard(segment)

    def end_with(self, last: Callable[[], bytes | None]) -> None:
        """Take nothing more, after one last record if there is one: what others log from now on is refused.

        Args:
            last: returns it; called when nobody else can append any more.
        """
        with self.lock:
            was_closed, self.is_closed, self.fast_limit, self.busy = self.is_closed, True, -1, True
            try:
                if not was_closed and (record := last()) is not None:
                    self._write(record, None)
            finally:
                self._leave()

    def close(self, *, remove: bool) -> None:
        """End the journal; ``remove`` it where all of it has arrived in the store.

        Nothing is raised: what cannot be removed is found, and found to be shipped, by the next process.
        """
        self.end_with(lambda: None)
        try:
            for segment in self.snapshot():
                if remove:
                    discard(segment)
                elif segment.path is not None:
                    segment.memory.flush()
            if remove and self._lock_fd is not None:
                fd, self._lock_fd = self._lock_fd, None
                remove_directory(self.directory, fd)
        except OSError as error:
            logger.debug("the journal %s is not removed: %s", self.directory, error)
        self._unlock()

    def abandon(self) -> None:
        """Release everything without touching it: what a forked child does with its parent's journal."""
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            fd, self._lock_fd = self._lock_fd, None
            os.close(fd)  # a forked copy of the descriptor keeps the parent's lock alive, and the reverse

    def _leave(self) -> None:
        """Write what has come meanwhile, and let others write; ``busy`` is set, and the lock held, by the caller."""
        try:
            flushes = self._fsync
            while self._deferred or flushes:
                if self._deferred:
                    self.lost += not self._write(*self._deferred[0])
                    del self._deferred[0]  # after it was written: what interrupts this may raise
                else:  # once: what interrupts it is written after it, or a fast timer would keep this here
                    flushes = False
                    self._flush(self.segments[-1])
        finally:
            self.busy = False

    def _flush(self, segment: Segment) -> None:
        if self._fsync and segment.path is not None:
            segment.memory.flush()
            memory_reaches_disk(segment.path)

    def _write(self, record: bytes, plan: RowPlan | None) -> bool:
        """Write a record where ``busy`` is set; False where there is no room."""
        definition = plan.definition if plan is not None else b""
        room = len(definition) + len(record)
        if self.position + room > self._limit and not self._rotate(room):
            return False
        if plan is not None and plan.memory is not self.memory:
            record = definition + record
        end = self.position + len(record)
        self.memory[self.position : end] = record
        self.position = end
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
        self.fast_limit = -1 if self._fsync or self.is_closed else self._limit
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
        "process. %s.",
        path,
        error.strerror or error,
        MAX_VOLATILE_BYTES >> 20,
        "pip install portalocker" if lock_problem() else "Free some space, or set journal_dir",
    )
