"""Bundles: streams and blobs of a store in one file that can be verified by itself.

A :class:`Bundle` speaks as stores do, so that an import is a copy from one. See
:mod:`~modeldb_core.movement.bundle_writer` for how one is written.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    StoreVersionError,
)
from modeldb_core.log.batches import MAX_BATCH_BYTES, decode_changes, measure
from modeldb_core.movement.archive import BLOCK, Member, read_members
from modeldb_core.movement.manifest import (
    BATCH_NAME,
    BLOB_NAME,
    CRATE_NAME,
    FORMAT,
    FORMAT_NAME,
    MANIFEST_NAME,
    Manifest,
    manifest_limit,
)
from modeldb_core.runtime import disk
from modeldb_core.stores import BlobInfo, ChangePage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.log.changes import Change, Head

_CHUNK = 1 << 20
_BLOB_RECORD = [("digest", "S32"), ("offset", "<u8"), ("size", "<u8")]


class Bundle:
    """An open bundle: a log of changes and blobs, as a store has them. Safe for any number of threads.

    Opening it reads the headers of its members and the manifest. Memory holds 48 bytes for each blob.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is not a bundle, not complete, or does not hold what its manifest says.
        StoreVersionError: it was written by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.url = f"bundle://{self.path}"
        try:
            self._descriptor = disk.open_regular(self.path, follow=True)
        except OSError as error:
            msg = f"there is no bundle that can be read at {self.path}: {error.strerror}"
            raise NotFoundError(msg) from error
        self._lock = threading.Lock()
        self._starts: list[int] = []  # of each batch: the place in the log before its first change
        self._batches: list[Member] = []
        self._decoded: tuple[int, tuple[Change, ...] | IntegrityError] = (-1, ())
        self._index: Any = None
        try:
            self.manifest = self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. Calling it twice is not an error."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # As a log

    def heads(self) -> Mapping[str, Head]:
        """Return how far each stream goes, as the manifest says."""
        return dict(self.manifest.heads)

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return a page of the changes, in the order in which they had arrived in the store that was exported.

        Raises:
            IntegrityError: they cannot be read.
        """
        found: list[Change] = []
        position = max(after, 0)
        while len(found) < limit and position < self.manifest.changes:
            number = bisect_right(self._starts, position) - 1
            start = self._starts[number] if number >= 0 else 0
            changes = self._batch(number)
            if start + len(changes) <= position:
                msg = f"{self.path} has {start + len(changes):,} changes; its manifest says {self.manifest.changes:,}"
                raise IntegrityError(msg)
            for change in changes[position - start :]:
                if len(found) >= limit:
                    break
                position += 1
                if entity_id in (None, change.entity_id) and stream_id in (None, change.stream_id):
                    found.append(change)
        return ChangePage(tuple(found), position)

    @property
    def is_partial(self) -> bool:
        """Whether payloads were withheld when it was written: what is left can be read and verified, but not copied."""
        return self.manifest.withheld > 0

    def batches(self) -> Iterator[bytes]:
        """Iterate over the batches as they stand in the file."""
        for member in self._batches:
            yield self._read(member, MAX_BATCH_BYTES)

    # As an artifact store

    def open(self, digest: str) -> BinaryIO:
        """Return a blob's content, checked while it is read.

        Raises:
            NotFoundError: the bundle does not hold it.
        """
        reader = _BlobReader(self._descriptor, *self._find(digest), digest, self.url)
        return cast("BinaryIO", io.BufferedReader(reader, 1 << 16))

    def stat(self, digest: str) -> BlobInfo:
        """Return the size of a blob; raises as :meth:`open` does."""
        return BlobInfo(digest, self._find(digest)[1])

    def has(self, digest: str) -> bool:
        """Return whether a blob is there."""
        try:
            self._find(digest)
        except NotFoundError:
            return False
        return True

    def list(self) -> Iterator[BlobInfo]:
        """Iterate over all blobs."""
        for record in self._index:
            yield BlobInfo(bytes(record["digest"]).ljust(32, b"\0").hex(), int(record["size"]))

    # Inside

    def _open(self) -> Manifest:
        import numpy as np

        blobs, digests, size = bytearray(), hashlib.sha256(), 0
        manifest: Manifest | None = None
        crate = ""
        for number, member in enumerate(read_members(self._descriptor, str(self.path))):
            blob, batch = BLOB_NAME.fullmatch(member.name), BATCH_NAME.fullmatch(member.name)
            if number == 0:
                self._check_format(member)
            elif (
                manifest is not None
                or not (blob or batch or member.name in (MANIFEST_NAME, CRATE_NAME))
                or (crate and member.name != MANIFEST_NAME)
            ):
                msg = f"{self.path} holds {member.name!r}, which has no place there: it is not a bundle of ModelDB"
                raise IntegrityError(msg)
            elif blob:
                digest = bytes.fromhex(blob[1])
                digests.update(digest)
                size += member.size
                blobs += digest + member.offset.to_bytes(8, "little") + member.size.to_bytes(8, "little")
            elif batch:
                self._starts.append(int(batch[1]))
                self._batches.append(member)
            elif member.name == CRATE_NAME:
                crate = self._sha256(member)
            else:
                manifest = self._read_manifest(member)
        if manifest is None:
            msg = f"{self.path} has no manifest: it is not complete, or not a bundle of ModelDB"
            raise IntegrityError(msg)
        index = np.frombuffer(bytes(blobs), np.dtype(_BLOB_RECORD))
        self._index = np.sort(index, order="digest")
        if (len(index), size, digests.hexdigest()) != (manifest.blobs, manifest.blob_bytes, manifest.blobs_sha256):
            msg = f"{self.path} holds other blobs than its manifest says: it was altered"
            raise IntegrityError(msg)
        if crate != manifest.crate_sha256:
            msg = f"{self.path} holds other metadata of a crate than its manifest says: it was altered"
            raise IntegrityError(msg)
        if self._starts != sorted(set(self._starts)) or (self._starts or [0])[0] != 0:
            msg = f"the changes in {self.path} are not in order: it was altered"
            raise IntegrityError(msg)
        if bool(self._starts) != bool(manifest.changes) or manifest.changes < (self._starts or [0])[-1]:
            msg = f"{self.path} holds another number of changes than its manifest says: it was altered"
            raise IntegrityError(msg)
        return manifest

    def _sha256(self, member: Member) -> str:
        sha, at = hashlib.sha256(), member.offset
        while at < member.offset + member.size:
            chunk = os.pread(self._descriptor, min(_CHUNK, member.offset + member.size - at), at)
            if not chunk:
                break  # the file was cut meanwhile: the digest differs
            sha.update(chunk)
            at += len(chunk)
        return sha.hexdigest()

    def _check_format(self, member: Member) -> None:
        text = self._read(member, BLOCK)[:100].decode("ascii", "replace") if member.size < BLOCK else ""
        if member.name == FORMAT_NAME and text.startswith("modeldb-bundle-") and text.strip() != FORMAT:
            msg = (
                f"{self.path} has the format {text.strip()}; this version reads {FORMAT}: it was written by a newer one; install "
                f"that: pip install --upgrade modeldb-core"
            )
            raise StoreVersionError(msg)
        if member.name != FORMAT_NAME or text != f"{FORMAT}\n":
            msg = f"{self.path} is not a bundle of ModelDB; make one with: modeldb export FILE"
            raise IntegrityError(msg)

    def _read_manifest(self, member: Member) -> Manifest:
        size = sum(batch.size for batch in self._batches)
        if member.size > (limit := manifest_limit(size)):
            msg = (
                f"the manifest of {self.path} has {member.size:,} bytes, and what it describes has {size:,} bytes; expected "
                f"at most {limit:,}"
            )
            raise IntegrityError(msg)
        text = self._read(member, limit)
        try:
            return Manifest.decode(text)
        except IntegrityError as error:
            msg = f"{self.path} is damaged: {error}"
            raise IntegrityError(msg) from error

    def _batch(self, number: int) -> tuple[Change, ...]:
        with self._lock:
            if self._decoded[0] != number:
                self._decoded = number, self._decode(number)
            found = self._decoded[1]
        if isinstance(found, IntegrityError):
            raise found
        return found

    def _decode(self, number: int) -> tuple[Change, ...] | IntegrityError:
        """Return the changes of a batch, or why there are none: asking again costs nothing then."""
        member = self._batches[number]
        end = self._starts[number + 1] if number + 1 < len(self._starts) else self.manifest.changes
        try:
            data = self._read(member, MAX_BATCH_BYTES)
            count = measure(data)[0]
            if count == end - self._starts[number]:
                return decode_changes(data)
        except IntegrityError as error:
            return IntegrityError(f"{member.name} in {self.path}: {error}")
        return IntegrityError(f"{member.name} in {self.path} holds {count:,} changes, not as many as it says")

    def _read(self, member: Member, max_bytes: int) -> bytes:
        """Return the content of a member; one that is longer than it may be is not read: a file may have holes."""
        if member.size > max_bytes:
            msg = f"{member.name} of {self.path} has {member.size:,} bytes; at most {max_bytes:,} are read"
            raise IntegrityError(msg)
        parts, at = [], member.offset
        while at < member.offset + member.size:
            part = os.pread(self._descriptor, min(_CHUNK, member.offset + member.size - at), at)
            if not part:
                msg = f"{self.path} was cut off while it was read"
                raise IntegrityError(msg)
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def _find(self, digest: str) -> tuple[int, int]:
        try:
            wanted = bytes.fromhex(digest)
        except ValueError:
            wanted = b""
        if len(wanted) != 32 or digest != wanted.hex():
            msg = f"{digest[:80]!r} is not a digest; expected 64 hexadecimal digits in lower case"
            raise InvalidArgumentError(msg)
        at = int(self._index["digest"].searchsorted(wanted))
        if at >= len(self._index) or bytes(self._index["digest"][at]).ljust(32, b"\0") != wanted:
            msg = f"there is no blob {digest} in {self.url}"
            raise NotFoundError(msg)
        return int(self._index["offset"][at]), int(self._index["size"][at])


class _BlobReader(io.RawIOBase):
    """Reads a part of a file in order, and checks it against its digest before the last bytes come out."""

    def __init__(self, descriptor: int, offset: int, size: int, digest: str, url: str) -> None:
        self._descriptor, self._offset, self._size = descriptor, offset, size
        self._digest, self._url = digest, url
        self._sha = hashlib.sha256()
        self._at = 0
        self._is_verified = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        with memoryview(buffer).cast("B") as view:
            data = os.pread(self._descriptor, min(len(view), self._size - self._at), self._offset + self._at)
            view[: len(data)] = data
            self._sha.update(data)
            self._at += len(data)
            is_end = self._at == self._size or (not data and len(view) > 0)
            if is_end and not self._is_verified:
                if self._at != self._size or self._sha.hexdigest() != self._digest:
                    msg = f"blob {self._digest} in {self._url} is damaged: its content does not match its digest"
                    raise IntegrityError(msg)
                self._is_verified = True
            return len(data)
