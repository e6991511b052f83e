"""Reading and verifying an access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.audit.access.entries import LOG, RETIRE
from modeldb_core.audit.access.segments import segments_in
from modeldb_core.audit.log import LogAudit
from modeldb_core.audit.report import Report
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
        self._at, self._going_on = 0, iter(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._base.close()

    def __iter__(self) -> Iterator[Change]:
        """Iterate over all changes, stream by stream; what is damaged is noted in ``damages``."""
        for segments in self._streams.values():
            for segment in segments:
                yield from self._changes(segment)

    def _changes(self, segment: Segment) -> Iterator[Change]:
        try:
            yield from segment.changes(self._base)
        except (IntegrityError, OSError) as error:
            self.damages[f"file {segment.stream_id}/{segment.name}"] = str(error)

    def starts(self) -> dict[str, Head]:
        """Return where streams begin of which the first part was removed, as the log itself says."""
        starts: dict[str, Head] = {}
        for change in self:
            if change.action == RETIRE and change.kind == LOG:
                try:
                    for stream_id, (seq, value) in change.data().get("removed_up_to", {}).items():
                        starts[str(stream_id)] = Head(int(seq), bytes.fromhex(value), 0)
                except (ModelDBError, TypeError, ValueError, AttributeError):
                    continue  # a finding of the audit, where its chain does not verify
        return starts

    def heads(self) -> dict[str, Head]:
        """Return the last change of every stream."""
        return {stream_id: head for stream_id, segments in self._streams.items() if (head := self._head(segments)).seq}

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


def verify_access(folder: Path, progress: Progress | None = None, *, checkpoint: Checkpoint | None = None) -> Report:
    """Verify an access log: that every stream is as it was written, but for the beginnings that it says were removed.

    Args:
        folder: where it lies.
        progress: called as it goes on.
        checkpoint: of this log.
    """
    report = Report()
    with AccessReader(folder) as reader:
        LogAudit(reader, report, checkpoint, starts=reader.starts()).run(progress or (lambda *_: None))
        for subject, message in reader.damages.items():
            report.add("change", subject, message)
    return report
