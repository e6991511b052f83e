"""The contract of artifact stores.

``docs/backends.md`` walks through an implementation; ``modeldb_core.testing`` proves one.
"""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol

from modeldb_core.errors import IntegrityError, NotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob.

    Attributes:
        digest: the SHA-256 of its content in hexadecimal, which is also its name.
        size_bytes: how long it is.
        modified_at: when it was put, or put again where the store writes that down; ``stat`` and ``list`` tell where
            they know. Collecting garbage spares what is young, so that a blob is safe between its put and the change
            that names it. Two descriptions of a blob that differ in it alone are equal.
    """

    digest: str
    size_bytes: int
    modified_at: datetime | None = field(default=None, compare=False)


def check_stored(stored: object, sent: BlobInfo, url: str) -> BlobInfo:
    """Return what a store says that it holds, where that is what was sent; anything else is not an acknowledgement.

    Raises:
        StoreUnavailableError: something answered, but for another blob, or for less of it.
    """
    answered = (
        f"{stored.digest!r:.80} of {stored.size_bytes!r:.20} bytes"
        if isinstance(stored, BlobInfo)
        else f"{stored!r:.80}"
    )
    if not isinstance(stored, BlobInfo) or (stored.digest, stored.size_bytes) != (sent.digest, sent.size_bytes):
        msg = (
            f"{url} did not confirm blob {sent.digest} of {sent.size_bytes:,} bytes: it answered with {answered}; the same "
            f"call may succeed later"
        )
        raise StoreUnavailableError(msg)
    return stored


def put_together(
    artifacts: ArtifactStore, contents: Sequence[bytes], digests: Sequence[str] | None = None
) -> list[str]:
    """Put small blobs with :meth:`ArtifactStore.put_many`, and return the digests that the store has confirmed, in order.

    Args:
        artifacts: the store.
        contents: the blobs.
        digests: theirs, which must be confirmed; default: the caller compares what is returned.

    Raises:
        StoreUnavailableError: the store answered with something else.
    """
    answer: object = artifacts.put_many(contents)
    told = list(answer) if isinstance(answer, (list, tuple)) else None
    if told is None or len(told) != len(contents) or (digests is not None and told != list(digests)):
        msg = (
            f"{artifacts.url} did not confirm {len(contents):,} blobs: it answered with {answer!r:.80}, not with their "
            f"digests; the same call may succeed later"
        )
        raise StoreUnavailableError(msg)
    return told


def can_seek(stream: BinaryIO) -> bool:
    """Return whether a stream can go back; some do not say, such as a member of a tar file that is read as it arrives."""
    says = getattr(stream, "seekable", None)
    return says is not None and bool(says())


REFRESH_S = 24 * 3600.0
"""A blob that is put again may look so much older than it is; a grace period before deletion must be longer."""


class Uploads(Protocol):
    """Takes content in order and piece by piece, over any number of connections and processes, and makes a blob of it.

    An upload has a name of 64 hexadecimal digits that its sender chooses; anyone who knows it can go on with it. One that
    nobody goes on with is removed some day. Every method may be called again after an unknown outcome.

    Raises:
        NotFoundError: (all methods) the store takes no uploads.
    """

    def received(self, upload: str) -> int:
        """Return how many bytes have arrived; 0 where nobody has begun."""
        ...

    def append(self, upload: str, offset: int, content: bytes | memoryview) -> int:
        """Add ``content`` where just ``offset`` bytes have arrived, else nothing; return how many have arrived now.

        Where fewer have arrived, the rest may be on its way by another connection: waiting for it a moment saves sending twice.
        The content may be used for something else afterwards.
        """
        ...

    def finish(self, upload: str, info: BlobInfo) -> BlobInfo:
        """Make the blob that ``info`` says of what has arrived.

        Raises:
            NotFoundError: there is no such upload, and no such blob.
            IntegrityError: what has arrived is something else; it is removed.
        """
        ...

    def discard(self, upload: str) -> None:
        """Remove what has arrived; nothing is no error."""
        ...


class ArtifactStore(ABC):
    """Keeps blobs, each under the SHA-256 of its content.

    Safe for any number of threads and processes at once. A blob is either there whole or not at all.
    """

    url: str
    """Where the store is, without secrets."""

    is_local: bool = False
    """Whether a put costs a copy on this machine and no network: callers then need not put it off."""

    uploads: Uploads | None = None
    """How content comes piece by piece, each byte written once; ``None``: only as a stream, by :meth:`put`."""

    owner: str = ""
    """The store of runs that names what is put here, in words that tell it from others; "": nobody has said."""

    def owners(self) -> frozenset[str]:
        """Return the stores of runs that have put something here, as their ``owner`` names them.

        What one of them does not name may be another's, so garbage is collected only where there is no other. A store
        that keeps no such names returns none.
        """
        return frozenset()

    def add_owner(self, owner: str) -> None:
        """Have a store of runs among the :meth:`owners` from now on."""
        del owner

    def _claim(self) -> None:
        """Have the ``owner`` noted, once; a put begins with it."""
        if self.owner and self._claimed != self.owner:
            self.add_owner(self.owner)
            self._claimed = self.owner

    _claimed = ""

    @abstractmethod
    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        """Store what ``stream`` holds from its position to its end; a blob that is there is not written again.

        Where the store keeps :meth:`owners`, its ``owner`` is among them before anything is there.
        What was put, also again, is young: where the store tells ``modified_at`` at all, that lies at most
        :data:`REFRESH_S` seconds before the put.

        Args:
            digest: what the content must hash to, where the caller knows it.

        Raises:
            IntegrityError: the content hashes to something else. Nothing is stored.
        """

    @abstractmethod
    def open(self, digest: str) -> BinaryIO:
        """Return the content, checked while it is read: the end of the stream raises where it does not match.

        Raises:
            NotFoundError: there is no such blob.
            IntegrityError: (on reading) the stored bytes are not the ones that were put.
        """

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        """Store small blobs, in no order, and return their digests; raises as :meth:`put` does, and then some may be there.

        A store that can take many in one request, or several at once, overrides this.
        """
        sent = [BlobInfo(hashlib.sha256(content).hexdigest(), len(content)) for content in contents]
        for info, content in zip(sent, contents, strict=True):
            check_stored(self.put(io.BytesIO(content), digest=info.digest), info, self.url)
        return [info.digest for info in sent]

    def read_many(self, digests: Sequence[str], max_bytes: int) -> Sequence[bytes]:
        """Return the content of small blobs, as they are asked for; raises as :meth:`open` does.

        A store that can give many in one answer, or several at once, overrides this.

        Args:
            digests: of the blobs.
            max_bytes: what a single one may have; what is longer is none of those that are meant.

        Raises:
            IntegrityError: a blob is longer, or is damaged.
        """
        return [self._read_small(digest, max_bytes) for digest in digests]

    def _read_small(self, digest: str, max_bytes: int) -> bytes:
        with self.open(digest) as stream:
            parts, left = [], max_bytes + 1
            while left > 0 and (part := stream.read(left)):
                parts.append(part)
                left -= len(part)
        if left <= 0:
            msg = f"blob {digest} in {self.url} has more than {max_bytes:,} bytes, which is more than was to be read"
            raise IntegrityError(msg)
        return b"".join(parts)

    @abstractmethod
    def stat(self, digest: str) -> BlobInfo:
        """Return what is known of a blob without reading it.

        Raises:
            NotFoundError: there is no such blob.
        """

    @abstractmethod
    def list(self) -> Iterator[BlobInfo]:
        """Iterate over all blobs, in no order."""

    @abstractmethod
    def delete(self, digest: str) -> None:
        """Remove a blob; one that is not there is no error."""

    def delete_stale(self, digest: str, before: datetime) -> bool:
        """Remove a blob unless it was put after ``before``, or nobody knows when; return whether it was removed.

        A store that can do it so that no put comes between looking and removing overrides this.
        """
        try:
            modified_at = self.stat(digest).modified_at
        except NotFoundError:
            return False
        if modified_at is None or modified_at >= before:
            return False
        self.delete(digest)
        return True

    def url_for(self, digest: str, *, expires_s: int = 3600) -> str | None:
        """Return a URL from which anyone can download the blob for a while, or ``None`` where the store has none."""
        del digest, expires_s
        return None

    @abstractmethod
    def close(self) -> None:
        """Release connections. Calling it twice is not an error."""
