"""Writing an access log: in groups, by a thread of its own, and bounded in memory and on the disk."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from modeldb_core.audit.access.entries import FRAME, LOG, LOSE, REFUSE, RETIRE, segment_name
from modeldb_core.audit.access.segments import segments_in
from modeldb_core.errors import IntegrityError
from modeldb_core.log.batches import encode_changes
from modeldb_core.log.changes import CLOSE, OPEN, STREAM
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.runtime import disk
from modeldb_core.runtime.owned import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from modeldb_core.audit.access.entries import Access
    from modeldb_core.audit.access.segments import Segment
    from modeldb_core.log.changes import Change

logger = logging.getLogger("modeldb_server.access_log")

INTERVAL_S = 1.0
"""So long an entry waits for others at most: what a killed process takes with it."""
MAX_WAITING = 10_000
GROUP = 500
SEGMENT_BYTES = 8 << 20
"""A file that has so many bytes is followed by another one."""
MAX_BYTES = 256 << 20
_ABOUT: dict[str, Any] = {"access_log": True}


class AccessLog:
    """One stream of an access log, written by one process. Thread-safe; :meth:`record` waits for nothing.

    What cannot be written, because the disk is full or too much comes at once, is counted by what it was, and the next
    entry that can be written says so.

    Args:
        folder: of the log; streams of other processes may lie beside this one. It is made where it is missing.
        max_bytes: of all files in the folder; the oldest ones are removed, which the log says.
        segment_bytes: of one file.
        max_waiting: entries that are in memory at once; a place for each tenth is kept for refusals.
        on_lost: called with the number of entries that could not be kept.

    Raises:
        OSError: the folder cannot be made, or is somebody else's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        max_waiting: int = MAX_WAITING,
        on_lost: Callable[[int], object] | None = None,
    ) -> None:
        self.folder = folder
        self.stream_id = new_id()
        self._max_bytes, self._segment_bytes, self._max_waiting = max_bytes, segment_bytes, max_waiting
        self._on_lost = on_lost
        self._base = make_folder(folder)
        self._own = make_folder(folder / self.stream_id)
        self._writer = StreamWriter(self.stream_id, "")
        self._waiting: deque[Access] = deque()
        self._lost: Counter[str] = Counter()
        self._lock = threading.Lock()  # of what waits
        self._turn = threading.Lock()  # of the files
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._descriptor: int | None = None
        self._size = 0
        self._next_number = 1
        self._group = GROUP
        self._is_failing = self._is_closed = False

    def record(self, access: Access) -> None:
        """Have something recorded soon. What there is no room for is counted."""
        with self._lock:
            room = self._max_waiting if access.action == REFUSE else self._max_waiting * 9 // 10
            if self._is_closed or len(self._waiting) >= room:
                self._lost[access.action] += 1
                is_lost = True
            else:
                self._waiting.append(access)
                is_lost = False
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="modeldb-access-log", daemon=True)
                self._thread.start()
            is_full = len(self._waiting) >= GROUP and not self._is_failing
        if is_full:
            self._wake.set()
        if is_lost and self._on_lost is not None:
            self._on_lost(1)

    def flush(self) -> None:
        """Write what waits. What cannot be written waits on, and a warning says so once."""
        with self._turn:
            while self._flush_group():
                pass

    def close(self) -> None:
        """Write what waits, and seal the stream, so that a lost end shows. Calling it twice is not an error."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(10 * INTERVAL_S)
        self.flush()
        with self._turn:
            if self._writer.seq:
                self._write([Entry(CLOSE, STREAM, self.stream_id, {})], [now_us()], [""])
            self._close_segment()
            if not self._writer.seq:
                self._base.rmdir(self.stream_id)
            self._own.close()
            self._base.close()

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.wait(INTERVAL_S)
            self._wake.clear()
            try:
                self.flush()
            except Exception:  # what a thread raises, nobody sees
                logger.exception("the access log in %s cannot be written", self.folder)

    def _flush_group(self) -> bool:
        """Write one group; return whether there may be more to write."""
        with self._lock:
            group = [self._waiting[at] for at in range(min(self._group, len(self._waiting)))]
            lost = dict(self._lost)
        if not group and not lost:
            return False
        entries = [Entry(each.action, each.kind, each.subject, each.data) for each in group]
        times, actors = [each.at for each in group], [each.actor for each in group]
        if lost:
            entries.append(Entry(LOSE, LOG, self.stream_id, {"entries": lost}))
            times, actors = [*times, now_us()], [*actors, ""]
        unfit: Counter[str] = Counter()
        try:
            if not self._write(entries, times, actors):
                return False
        except Exception:
            logger.exception("entries of the access log in %s cannot be written", self.folder)
            if len(group) != 1:
                self._group = 1  # to find the one: it is lost, and stops no others
                return bool(group)
            unfit[group[0].action] += 1
            lost = {}
        with self._lock:
            for _ in group:
                self._waiting.popleft()
            self._lost.subtract(lost)
            self._lost.update(unfit)
            self._lost += Counter()  # without those that are 0
            has_more = bool(self._waiting)
        if unfit or not has_more:
            self._group = GROUP
        if unfit and self._on_lost is not None:
            self._on_lost(1)
        if self._size >= self._segment_bytes:
            self._close_segment()
            self._retire()
        return has_more

    def _write(self, entries: list[Entry], times: Iterable[int], actors: Iterable[str]) -> bool:
        """Write entries as one batch; return whether that could be done. The stream goes on as if not, where it could not."""
        if not self._writer.seq:
            entries = [Entry(OPEN, STREAM, self.stream_id, _ABOUT), *entries]
            times, actors = [now_us(), *times], ["", *actors]
        changes: list[Change] = []
        try:
            for entry, at, actor in zip(entries, times, actors, strict=True):
                self._writer.actor = actor
                changes.append(self._writer.write(entry, at))
            self._append(encode_changes(changes))
        except BaseException as error:
            if changes:
                self._writer.take_back(changes[0])
            if not isinstance(error, OSError):
                raise
            if not self._is_failing:
                logger.warning(
                    "the access log in %s cannot be written (%s); entries wait in memory, and are lost from %d on",
                    *(self.folder, error, self._max_waiting),
                )
            self._is_failing = True
            return False
        self._is_failing = False
        return True

    def _append(self, batch: bytes) -> None:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._descriptor, self._size = self._own.open_file(segment_name(self._next_number), flags), 0
            disk.try_lock(self._descriptor)  # others who make room leave it alone
        data, start = FRAME.pack(len(batch)) + batch, self._size
        try:
            while data:
                written = os.write(self._descriptor, data)
                data, self._size = data[written:], self._size + written
        except BaseException:
            os.ftruncate(self._descriptor, start)
            os.lseek(self._descriptor, start, os.SEEK_SET)
            self._size = start
            raise
        self._next_number = self._writer.seq + 1

    def _close_segment(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                disk.reach_disk(descriptor)
            finally:
                os.close(descriptor)

    def _retire(self) -> None:
        """Remove the oldest files while there are too many bytes, each after the log has said so."""
        found = segments_in(self._base)
        total = sum(each.size_bytes for each in found)
        for each in found:
            if total <= self._max_bytes:
                break
            if end := self._end_of(each):
                if not self._say_removed(each.stream_id, end):
                    break  # the next file that is full tries again
                self._remove(each)
                total -= each.size_bytes

    def _say_removed(self, stream_id: str, end: list[Any]) -> bool:
        """Write up to which change streams are gone: this one, and those of which an earlier change says so.

        That change may be in the file that goes now. A process that is killed before the file is removed leaves a
        change that says too much, which nobody believes while the file is there.
        """
        gone = {stream_id: end}
        seen: set[str] = set()
        for each in segments_in(self._base):
            is_next = each.stream_id not in seen
            seen.add(each.stream_id)
            if is_next and each.first > 1 and each.stream_id != stream_id:
                with suppress(OSError, IntegrityError):  # removed by another process, or damaged
                    for change in islice(each.changes(self._base), 1):
                        gone[each.stream_id] = [change.seq - 1, change.previous_hash.hex()]
        is_said = self._write([Entry(RETIRE, LOG, self.stream_id, {"removed_up_to": gone})], [now_us()], [""])
        if is_said and self._descriptor is not None:
            disk.reach_disk(self._descriptor)
        return is_said

    def _end_of(self, segment: Segment) -> list[Any] | None:
        """Return number and hash of the last change of a file that nobody writes, ``None`` where it has to stay.

        One that is damaged stays: an audit is to find it.
        """
        try:
            with self._base.folder(segment.stream_id) as folder:
                descriptor = folder.open_file(segment.name)
            try:
                if not disk.try_lock(descriptor):
                    return None
                end: list[Any] = [segment.first, ""]
                for change in segment.changes(self._base):
                    end = [change.seq, change.hash.hex()]
            finally:
                os.close(descriptor)
        except (OSError, IntegrityError):  # another process has removed it, or it is damaged
            return None
        return end

    def _remove(self, segment: Segment) -> None:
        with suppress(OSError):  # another process has removed it
            with self._base.folder(segment.stream_id) as folder:
                folder.unlink(segment.name)
            self._base.rmdir(segment.stream_id)  # stays where it is not empty
