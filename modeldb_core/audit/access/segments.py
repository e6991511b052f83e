"""The files of an access log."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.audit.access.entries import FRAME, SEGMENT, STREAM_NAME, segment_name
from modeldb_core.errors import IntegrityError
from modeldb_core.log.batches import decode_changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.log.changes import Change
    from modeldb_core.runtime.owned import Folder


class Segment(NamedTuple):
    """A file of a stream.

    Attributes:
        stream_id: the stream.
        first: the number of its first change.
        size_bytes: when it was looked at; what is written later is not read.
        written_ns: when it was written last.
    """

    stream_id: str
    first: int
    size_bytes: int
    written_ns: int

    @property
    def name(self) -> str:
        """Its name in the folder of its stream."""
        return segment_name(self.first)

    def changes(self, base: Folder) -> Iterator[Change]:
        """Iterate over its changes; see :meth:`batches`."""
        for batch in self.batches(base):
            yield from batch

    def batches(self, base: Folder) -> Iterator[list[Change]]:
        """Iterate over what was written together. A batch at the end that a killed process did not finish is left out.

        Raises:
            IntegrityError: it holds what is not a batch; it names the file.
            OSError: it cannot be read.
        """
        with base.folder(self.stream_id) as folder:
            descriptor = folder.open_file(self.name)
        at = 0
        with os.fdopen(descriptor, "rb") as file:
            while len(head := file.read(FRAME.size)) == FRAME.size:
                (length,) = FRAME.unpack(head)
                at += FRAME.size + length
                if at > self.size_bytes:
                    return
                try:
                    yield list(decode_changes(file.read(length)))
                except IntegrityError as error:
                    msg = f"{base.path / self.stream_id / self.name} is damaged before byte {at:,}: {error}"
                    raise IntegrityError(msg) from error


def segments_in(base: Folder) -> list[Segment]:
    """Return all files of a log: those that were written first before others, those of one stream in their order."""
    found: list[Segment] = []
    for stream_id in base.names():
        if not STREAM_NAME.fullmatch(stream_id):
            continue
        latest = 0
        with suppress(OSError), base.folder(stream_id) as folder:  # another process may have removed it
            for name in folder.names():
                if match := SEGMENT.fullmatch(name):
                    stat = folder.stat(name)
                    latest = max(latest, stat.st_mtime_ns)
                    found.append(Segment(stream_id, int(match[1]), stat.st_size, latest))
    return sorted(found, key=lambda each: (each.written_ns, each.stream_id, each.first))
