"""Blobs on their way from one artifact store to another."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import ArtifactStore, BlobInfo, check_stored, put_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WORKERS = 4
_REMEMBERED = 200_000  # digests that need not be asked for again, some 100 bytes each
_FRESH = timedelta(hours=12)
"""A blob that was put so recently is far from being collected as garbage: it need not be put again."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class BlobTarget(Protocol):
    """What blobs are copied into."""

    def stat(self, digest: str) -> BlobInfo:
        """Return the size of a blob that is there, or raise NotFoundError."""

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        """Store a blob."""


class BlobCopier:
    """Copies blobs that the target lacks, several at a time, each verified on the way.

    Attributes:
        source: from where.
        copied, copied_bytes: what was copied, or with ``dry_run`` would be.
        missing: digests that the source does not have.
        damaged: by digest, what is wrong with the blob at the source.
    """

    def __init__(
        self, source: ArtifactStore, target: BlobTarget, *, workers: int = WORKERS, dry_run: bool = False
    ) -> None:
        self.source = source
        self._target, self._dry_run = target, dry_run
        self._workers = Workers(workers, "modeldb-blobs") if workers > 1 else None
        self._seen: dict[str, None] = {}
        self.copied = self.copied_bytes = 0
        self.missing: set[str] = set()
        self.damaged: dict[str, str] = {}

    def copy(self, digests: Iterable[str], advance: Callable[[int, int], None] | None = None) -> None:
        """Copy those of ``digests`` that the source has and the target lacks; all are there when this returns.

        Args:
            advance: called with the number of blobs and bytes that came over, for each.

        Raises:
            StoreUnavailableError, StoreReadOnlyError: one of the stores cannot be used.
        """
        wanted = [digest for digest in dict.fromkeys(digests) if digest not in self._seen]
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        for digest, size in zip(wanted, self.map(self._copy, wanted), strict=True):
            self._seen[digest] = None
            if size is not None:
                self._count(size)
                if advance is not None:
                    advance(1, size)

    def map(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Do some work on each of some items, several at a time; the results come in their order."""
        return self._workers.map(work, items) if self._workers else map(work, items)

    def put_nodes(self, contents: list[bytes]) -> None:
        """Put nodes of a tree of which the target has all that is below them, together; where one is there, again."""
        sent = [BlobInfo(hashlib.sha256(content).hexdigest(), len(content)) for content in contents]
        standing = list(self.map(self._stat, [info.digest for info in sent]))
        if not self._dry_run:
            needed = [each for each, there in zip(contents, standing, strict=True) if not (there and _is_safe(there))]
            self._put_together(needed)
        for info, there in zip(sent, standing, strict=True):
            self._seen[info.digest] = None
            if there is None:
                self._count(info.size_bytes)

    def _put_together(self, contents: list[bytes]) -> None:
        if isinstance(self._target, ArtifactStore):
            put_together(self._target, contents, [hashlib.sha256(content).hexdigest() for content in contents])
            return
        for content in contents:
            sent = BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
            check_stored(self._target.put(io.BytesIO(content), digest=sent.digest), sent, "the target of the copy")

    def _stat(self, digest: str) -> BlobInfo | None:
        try:
            return self._target.stat(digest)
        except NotFoundError:
            return None

    def _count(self, size: int) -> None:
        self.copied += 1
        self.copied_bytes += size

    def _copy(self, digest: str) -> int | None:
        """Return the size of a blob that had to be copied."""
        there = self._stat(digest)
        if there is not None and _is_safe(there):
            return None
        try:
            if self._dry_run:
                return None if there else self.source.stat(digest).size_bytes
            with self.source.open(digest) as stream:
                info = self._target.put(stream, digest=digest)
                check_stored(info, BlobInfo(digest, info.size_bytes), "the target of the copy")
        except NotFoundError:
            if there is None:
                self.missing.add(digest)
        except IntegrityError as error:
            self.damaged[digest] = str(error)
        else:
            return None if there else info.size_bytes
        return None


def _is_safe(info: BlobInfo) -> bool:
    """Return whether a blob that is there will stay until what names it is there as well.

    An old one that nothing names yet could be collected in between; putting it again makes it young. Where nobody knows
    how old it is, nothing is collected.
    """
    return info.modified_at is None or datetime.now(UTC) - info.modified_at < _FRESH
