"""Reading many blobs: the small ones in groups, each of which a store on a network gives in one answer."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.stores.blob_batches import MAX_BLOBS, MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SMALL_BYTES = 256 << 10
"""What is longer goes by itself: the time for its bytes is longer than that for a request."""

T = TypeVar("T")


class ReadableBlobs(Protocol):
    """What blobs are read from: an artifact store, a bundle, or what stands before one."""

    def open(self, digest: str, /) -> BinaryIO:
        """Return the content of a blob, or raise NotFoundError."""


@runtime_checkable
class ReadableTogether(ReadableBlobs, Protocol):
    """One that gives many at once, as an artifact store does."""

    def read_many(self, digests: Sequence[str], max_bytes: int, /) -> Sequence[bytes]:
        """Return the content of small blobs."""


class Wanted(NamedTuple, Generic[T]):
    """A blob to be read.

    Attributes:
        what: that it is for.
        digest: its name.
        size_bytes: as somebody says; where that is wrong, it takes a request more.
    """

    what: T
    digest: str
    size_bytes: int


def groups(wanted: Iterable[Wanted[T]]) -> Iterator[list[Wanted[T]]]:
    """Put blobs into groups, in their order: small ones that fit into one answer, a long one by itself."""
    group: list[Wanted[T]] = []
    size = 0
    for each in wanted:
        if each.size_bytes > SMALL_BYTES:
            yield [each]
            continue
        if group and (len(group) == MAX_BLOBS or size + each.size_bytes > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size_bytes
    if group:
        yield group


def contents(blobs: ReadableBlobs, group: Sequence[Wanted[T]]) -> Iterator[tuple[T, BinaryIO]]:
    """Iterate over what a group is for, with the contents; who gets one closes it.

    Where one of a group cannot be read each is opened by itself, so that the others come, and the error is about that one.
    """
    found: Sequence[bytes] | None = None
    if len(group) > 1 and isinstance(blobs, ReadableTogether):
        with suppress(IntegrityError, NotFoundError):
            found = blobs.read_many([each.digest for each in group], SMALL_BYTES)
    for at, each in enumerate(group):
        yield each.what, blobs.open(each.digest) if found is None else io.BytesIO(found[at])
