"""What all blob stores do alike: where a blob lies, how a stream becomes content, when content is what was said."""

from __future__ import annotations

import hashlib
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.runtime.hashing import hashing
from modeldb_core.stores import BlobInfo, can_seek

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 1 << 20  # larger ones no longer fit the processor's cache beside each other

_DIGEST = re.compile(r"[0-9a-f]{64}")


def blob_path(digest: str) -> str:
    """Return where a blob lies below its store's root: in one of 256 folders, by the first digits of its digest.

    A second level would mean that almost every one of the first thousands of blobs makes a folder, which costs more
    than writing the blob; folders of file systems hold some 100,000 files each without slowing down.

    Raises:
        InvalidArgumentError: it is not a digest, and could be a path out of the store.
    """
    if not _DIGEST.fullmatch(str(digest)):
        msg = f"{str(digest)[:80]!r} is not a digest; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg)
    return f"{digest[:2]}/{digest}"


OWNERS = ".owners"
"""The folder below a store's root in which each store of runs that uses it has a file with its name."""


def owner_path(owner: str) -> str:
    """Return where the mark of an owner lies below its store's root."""
    return f"{OWNERS}/{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def is_digest(name: str) -> bool:
    """Whether a file of this name is a blob."""
    return _DIGEST.fullmatch(name) is not None


def check_digest(hashed: BlobInfo, digest: str | None) -> None:
    """Raise an IntegrityError where content is not what was said; ``None``: nothing was."""
    if digest is not None and hashed.digest != digest:
        msg = f"the content hashes to {hashed.digest}, not to {digest} as was given; nothing is stored"
        raise IntegrityError(msg)


def hash_rest(stream: BinaryIO, take: Callable[[bytes], object] | None = None, first: bytes = b"") -> BlobInfo:
    """Hash what is left of a stream, after ``first``; ``take`` is given every piece, while it is hashed."""
    sha, size, chunk = hashlib.sha256(), 0, first or stream.read(CHUNK_BYTES)
    while chunk:
        size += len(chunk)
        if take is None:
            sha.update(chunk)
        else:
            with hashing(sha, chunk):
                take(chunk)
        chunk = stream.read(CHUNK_BYTES)
    return BlobInfo(sha.hexdigest(), size)


def read_fully(stream: BinaryIO, size: int) -> bytes:
    """Return the next ``size`` bytes; fewer only at the end of the stream, where a plain read may return fewer early."""
    content = stream.read(size)
    if len(content) == size or not content:
        return content
    parts = [content]
    left = size - len(content)
    while left and (content := stream.read(left)):
        parts.append(content)
        left -= len(content)
    return b"".join(parts)


def size_of_rest(stream: BinaryIO) -> int | None:
    """Return how much of a stream is left, and leave it where it is; ``None`` where its end cannot be reached.

    What can go back need not know its end: a stream that is unpacked while it is read refuses to go there.
    """
    if not can_seek(stream):
        return None
    start = stream.tell()
    try:
        end = stream.seek(0, io.SEEK_END)
    except (OSError, ValueError):  # io.UnsupportedOperation is both; gzip, among others, raises a plain ValueError
        return None
    finally:
        stream.seek(start)
    return max(end - start, 0)


def time_of(seconds: float | None) -> datetime | None:
    """Return a time of a file system."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
