"""Reading and verifying an access log."""

from __future__ import annotations

import heapq
from collections import deque
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING

from modeldb_core.audit.access.entries import LOG, RETIRE
from modeldb_core.audit.access.segments import segments_in
from modeldb_core.audit.log import LogAudit
from modeldb_core.audit.report import MAX_FINDINGS, Report
from modeldb_core.errors import IntegrityError, ModelDBError, NotFoundError
from modeldb_core.log.changes import EMPTY_HEAD, Change, Head, advance
from modeldb_core.runtime.owned import Folder, NotOursError
from modeldb_core.stores import ChangePage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from modeldb_core.audit.access.segments import Segment
    from modeldb_core.audit.checkpoints import Checkpoint
    from modeldb_core.audit.report import Progress


class AccessReader:
    """An access log as it is when this is made: a log of changes, as an audit and a checkpoint read one.

    Args:
        folder: where it lies.

    Attributes:
        damages: by file, what is wrong with those that were read.
        starts: where streams begin of which the first part was removed, as what was read of the log says.

    Raises:
        NotFoundError: there is no such folder.
        NotOursError: it belongs to another user.
    """

    is_partial = False

    def __init__(self, folder: Path) -> None:
        try:
            self._base = Folder.open(folder)
        except NotOursError:
            raise
        except OSError as error:
            msg = f"there is no access log in {folder} ({error.strerror}); a server writes one where server.access_log_dir says"
            raise NotFoundError(msg) from error
        self.url = f"access log in {folder}"
        by_stream: dict[str, list[Segment]] = {}
        for segment in segments_in(self._base):
            by_stream.setdefault(segment.stream_id, []).append(segment)
        self._streams = dict(sorted(by_stream.items()))  # identifiers begin with the time
        self.damages: dict[str, str] = {}
        self.starts: dict[str, Head] = {}
        self._begins: dict[str, int] = {}
        self._retired: dict[tuple[str, str], tuple[int, Change]] = {}
        self._heads: dict[str, Head] | None = None
        self._at, self._going_on = 0, iter(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._base.close()

    def __iter__(self) -> Iterator[Change]:
        """Iterate over all changes, stream by stream; what is damaged, and what was removed, is noted meanwhile."""
        for segments in self._streams.values():
            for segment in segments:
                for change in self._changes(segment):
                    if change.action == RETIRE and change.kind == LOG:
                        self._note(change)
                    yield change

    def _note(self, change: Change) -> None:
        """Note what a change says was removed, and is not there: it is said before it is done."""
        for stream_id, head in _removed(change).items():
            if stream_id not in self._begins:
                changes = chain.from_iterable(map(self._changes, self._streams.get(stream_id, ())))
                self._begins[stream_id] = next((first.seq for first in changes), 0)  # 0: nothing of it can be read
            begins = self._begins[stream_id]
            if not begins or head.seq < begins:
                self.starts[stream_id] = head
                self._retired[stream_id, change.stream_id] = head.seq, change

    def by_time(self) -> Iterator[Change]:
        """Iterate over all changes, those of all streams by time; of each stream, in memory is what was written together."""
        waiting = deque(
            sorted((_earliest(self._first_batch(segments)), stream_id) for stream_id, segments in self._streams.items())
        )
        going: list[tuple[int, str, Change, Iterator[Change]]] = []
        while waiting or going:
            while waiting and (not going or waiting[0][0] <= going[0][0]):
                _, stream_id = waiting.popleft()
                _go_on(going, stream_id, self._of_stream(self._streams[stream_id]))
            if going:
                _, stream_id, change, rest = heapq.heappop(going)
                yield change
                _go_on(going, stream_id, rest)

    def _of_stream(self, segments: list[Segment]) -> Iterator[Change]:
        for segment in segments:
            for batch in self._batches(segment):
                # Sorted, as that a stream was opened is written when there is something to write.
                yield from sorted(batch, key=_time_of)

    def _first_batch(self, segments: list[Segment]) -> list[Change]:
        return next(self._batches(segments[0]), [])

    def _changes(self, segment: Segment) -> Iterator[Change]:
        for batch in self._batches(segment):
            yield from batch

    def _batches(self, segment: Segment) -> Iterator[list[Change]]:
        try:
            yield from segment.batches(self._base)
        except (IntegrityError, OSError) as error:
            self.damages[f"file {segment.stream_id}/{segment.name}"] = str(error)

    def retired(self) -> Iterator[str]:
        """Iterate over sentences on what was removed, as what was read of the log says: each stream that says so of each."""
        for (stream_id, by), (seq, change) in self._retired.items():
            what = (
                f"all of stream {stream_id}"
                if stream_id not in self._streams
                else f"the beginning of stream {stream_id}"
            )
            yield (
                f"{what} (up to change {seq:,}) was removed, says stream {by} at {change.time}: so does a server that makes room, and so"
                " would anyone who wants to hide it; hold the log against a checkpoint that was made before"
            )

    def heads(self) -> dict[str, Head]:
        """Return the last change of every stream."""
        if self._heads is None:  # the log stays as it was when this was made
            heads = ((stream_id, self._head(segments)) for stream_id, segments in self._streams.items())
            self._heads = {stream_id: head for stream_id, head in heads if head.seq}
        return self._heads

    def _head(self, segments: list[Segment]) -> Head:
        head = EMPTY_HEAD
        for segment in reversed(segments):
            for change in self._changes(segment):
                head = advance(head, change)
            if head.seq:
                break
        return head

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return a page of the log; see :meth:`~modeldb_core.stores.MetadataStore.read_changes`."""
        if after != self._at:
            self._at, self._going_on = 0, iter(self)
            while self._at < after and next(self._going_on, None) is not None:
                self._at += 1
        found: list[Change] = []
        while len(found) < limit and (change := next(self._going_on, None)) is not None:
            self._at += 1
            if entity_id in (None, change.entity_id) and stream_id in (None, change.stream_id):
                found.append(change)
        return ChangePage(tuple(found), self._at)


def _removed(change: Change) -> dict[str, Head]:
    """Return up to where streams were removed, as a change says."""
    removed: dict[str, Head] = {}
    # Data that cannot be read is a finding of the audit: its chain does not verify.
    with suppress(ModelDBError, TypeError, ValueError, AttributeError):
        for stream_id, (seq, value) in change.data().get("removed_up_to", {}).items():
            removed[str(stream_id)] = Head(int(seq), bytes.fromhex(value), 0)
    return removed


def _time_of(change: Change) -> int:
    return change.recorded_at


def _earliest(batch: list[Change]) -> int:
    return min(map(_time_of, batch), default=0)


def _go_on(going: list[tuple[int, str, Change, Iterator[Change]]], stream_id: str, rest: Iterator[Change]) -> None:
    """Put the next change of a stream beside those of others; of one that is at its end there is none."""
    change = next(rest, None)
    if change is not None:
        heapq.heappush(going, (change.recorded_at, stream_id, change, rest))


def verify_access(folder: Path, progress: Progress | None = None, *, checkpoint: Checkpoint | None = None) -> Report:
    """Verify an access log: that every stream is as it was written, but for the beginnings that it says were removed.

    Args:
        folder: where it lies.
        progress: called as it goes on.
        checkpoint: of this log.
    """
    report = Report()
    with AccessReader(folder) as reader:
        LogAudit(reader, report, checkpoint, starts=reader.starts).run(progress or (lambda *_: None))
        report.retired.extend(islice(reader.retired(), MAX_FINDINGS))
        for subject, message in reader.damages.items():
            report.add("change", subject, message)
    return report
