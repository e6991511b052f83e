"""How bytes get into the artifact store, and large values out of the record."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.commands.values import SPILL_BYTES, recorded
from modeldb_core.errors import IntegrityError, InvalidTypeError, ModelDBError, StoreUnavailableError
from modeldb_core.journal.segments import is_spooled
from modeldb_core.journal.uploads import spool
from modeldb_core.model.values import BlobReference, Value, decode, normalize
from modeldb_core.runtime import owned
from modeldb_core.tracking.description.plain import Plain, map_of

if TYPE_CHECKING:
    from modeldb_core.journal.writer import Writer
    from modeldb_core.stores import ArtifactStore, BlobInfo

logger = logging.getLogger("modeldb")


class BlobUploader:
    """Puts blobs into the artifact store at once where that is local, else beside the journal to be shipped later."""

    def __init__(self, open_artifacts: Callable[[], ArtifactStore], writer: Writer) -> None:
        self._open_artifacts = open_artifacts
        self._writer = writer

    def put(self, stream: BinaryIO) -> BlobInfo:
        """Store what ``stream`` holds; it is safe from a crash when this returns."""
        start = stream.tell()
        try:
            artifacts = self._open_artifacts()
            if artifacts.is_local:
                return artifacts.put(stream)
        except IntegrityError:
            raise
        except (ModelDBError, OSError) as error:
            logger.warning("The artifact store took nothing (%s); it is tried again in the background.", error)
            stream.seek(start)
        return self._put_later(stream, start)

    def _put_later(self, stream: BinaryIO, start: int) -> BlobInfo:
        try:
            while True:
                open_stream = self._writer.ensure_stream()
                folder = open_stream.journal.directory / "spool"
                info = spool(stream, folder)
                if open_stream.uploads.add(folder / info.digest) or not open_stream.journal.is_closed:
                    return info
                stream.seek(start)  # the stream was closed meanwhile, and the file may have gone with it
        except StoreUnavailableError as error:  # there is no room: then it is sent here and now
            stream.seek(start)
            try:
                return self._open_artifacts().put(stream)
            except ModelDBError as further:
                msg = f"a file could not be kept: {error}; and not be sent: {further}"
                raise StoreUnavailableError(msg) from further

    def open(self, digest: str) -> BinaryIO:
        """Return a blob's content, also one that still waits beside the journal."""
        return self._waiting(digest) or self._open_artifacts().open(digest)

    def read_many(self, digests: Sequence[str], max_bytes: int) -> Sequence[bytes]:
        """Return the content of small blobs, as :meth:`open` finds them."""
        found: dict[str, bytes] = {}
        for digest in digests:
            if (file := self._waiting(digest)) is not None:
                with file:
                    found[digest] = file.read()
        if others := [digest for digest in digests if digest not in found]:
            found.update(zip(others, self._open_artifacts().read_many(others, max_bytes), strict=True))
        return [found[digest] for digest in digests]

    def _waiting(self, digest: str) -> BinaryIO | None:
        """Return the content of a blob that was not sent yet; ``None`` where it is not one."""
        if self._writer.stream is not None and is_spooled(digest):  # a record of somebody may hold any text
            with suppress(FileNotFoundError):  # also where it is delivered at this moment
                return os.fdopen(owned.open_file(self._writer.spool / digest), "rb")
        return None

    def checked_map(
        self, values: object, section: str, limit: int = SPILL_BYTES, *, notes: list[str] | None = None
    ) -> dict[str, Value]:
        """Return ``values`` as they are recorded: checked, and the large ones replaced by references to blobs.

        Args:
            values: a map; with ``notes`` also a namespace, a dataclass or a configuration.
            section: what they are, for messages.
            limit: bytes from which on a value is large.
            notes: takes what is to be said of objects that were turned into values; without it they are refused.

        Raises:
            InvalidTypeError: it is not a map, a key is not a string, or a value cannot be stored; the message names it.
            InvalidArgumentError: a key is empty or too long.
        """
        if notes is None:
            return recorded(values, section, self.put, limit)
        given = map_of(values)
        if not isinstance(given, Mapping):
            return recorded(values, section, self.put, limit)  # which says what is wrong with it
        plain = Plain()
        kept = recorded(given, section, self.put, limit, value_of=partial(_plain, plain))
        if note := plain.note():
            notes.append(note)
        return kept

    def resolve(self, value: Value) -> Value:
        """Return ``value`` with references to blobs replaced by what was stored there."""
        if isinstance(value, BlobReference):
            with self.open(value.digest) as stream:
                return decode(stream.read())
        if isinstance(value, Mapping):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value


def _plain(plain: Plain, value: object, where: str) -> Value:
    try:
        return normalize(value, where)
    except InvalidTypeError:
        return normalize(plain.value(value, where), where)
