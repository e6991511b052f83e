"""Bundles: streams and blobs of a store in one file that can be verified by itself.

``docs/format.md`` gives the bytes. A :class:`Bundle` reads one, a :class:`BundleWriter` writes one; both speak as stores
do, so that an export is a copy into a file, and an import a copy from one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import threading
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from modeldb_core.batches import decode_changes, encode_changes
from modeldb_core.changes import EMPTY_HEAD, Change, Head, advance
from modeldb_core.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.movement.archive import BLOCK, Member, end_of_archive, header, padding, read_members
from modeldb_core.stores import BlobInfo, ChangePage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FORMAT = "modeldb-bundle-1"
MAX_MANIFEST_BYTES = 1 << 30
FORMAT_NAME, MANIFEST_NAME, BLOBS, CHANGES = "format", "manifest.json", "blobs/", "changes/"

_BLOB_NAME = re.compile(r"blobs/([0-9a-f]{64})")
_BATCH_NAME = re.compile(r"changes/([0-9]{12})\.chg")
_CHUNK = 1 << 20
_BLOB_RECORD = [("digest", "S32"), ("offset", "<u8"), ("size", "<u8")]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says that it holds.

    Attributes:
        heads: how far each stream goes.
        changes, changes_sha256: how many there are; SHA-256 of all batches, one after the other.
        blobs, blob_bytes, blobs_sha256: likewise; SHA-256 of their digests, one after the other, as 32 bytes each.
        has_artifacts: whether blobs were to be in it at all.
        absent_blobs: those that changes in it need and that are not in it.
        selection: the identifiers of the projects and runs whose streams it holds; empty for a whole store.
    """

    heads: Mapping[str, Head]
    changes: int
    changes_sha256: str
    blobs: int
    blob_bytes: int
    blobs_sha256: str
    has_artifacts: bool = True
    absent_blobs: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of what it says: it covers all of the bundle, and is short enough to be printed or signed."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def encode(self) -> bytes:
        """Return it as it stands in a bundle."""
        return (json.dumps({**self._content(), "digest": self.digest}, indent=1, sort_keys=True) + "\n").encode()

    def _content(self) -> dict[str, Any]:
        heads = {
            name: [head.seq, head.hash.hex(), head.recorded_at, head.lease_s, head.closed]
            for name, head in self.heads.items()
        }
        return {
            "format": FORMAT,
            "heads": heads,
            "changes": self.changes,
            "changes_sha256": self.changes_sha256,
            "blobs": self.blobs,
            "blob_bytes": self.blob_bytes,
            "blobs_sha256": self.blobs_sha256,
            "has_artifacts": self.has_artifacts,
            "absent_blobs": sorted(self.absent_blobs),
            "selection": sorted(self.selection),
        }

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """Return what stands in a bundle; raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        data: dict[str, Any] = json.loads(text)
        heads = {
            str(name): Head(_count(seq), bytes.fromhex(value), _count(recorded_at), float(lease_s), bool(closed))
            for name, (seq, value, recorded_at, lease_s, closed) in data["heads"].items()
        }
        found = cls(
            heads,
            _count(data["changes"]),
            str(data["changes_sha256"]),
            _count(data["blobs"]),
            _count(data["blob_bytes"]),
            str(data["blobs_sha256"]),
            bool(data["has_artifacts"]),
            tuple(map(str, data["absent_blobs"])),
            tuple(map(str, data["selection"])),
        )
        if found.encode() != text:
            msg = "it does not match its digest: it was altered"
            raise ValueError(msg)
        return found


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        msg = f"{value!r} is no number of anything"
        raise ValueError(msg)
    return value


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
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
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
        """Close the file. Calling it twice is no error."""
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

    def batches(self) -> Iterator[bytes]:
        """Iterate over the batches as they stand in the file."""
        for member in self._batches:
            yield self._read(member)

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
        for number, member in enumerate(read_members(self._descriptor, str(self.path))):
            blob, batch = _BLOB_NAME.fullmatch(member.name), _BATCH_NAME.fullmatch(member.name)
            if number == 0:
                self._check_format(member)
            elif manifest is not None or not (blob or batch or member.name == MANIFEST_NAME):
                msg = f"{self.path} holds {member.name!r}, which has no place there: it is no bundle of ModelDB"
                raise IntegrityError(msg)
            elif blob:
                digest = bytes.fromhex(blob[1])
                digests.update(digest)
                size += member.size
                blobs += digest + member.offset.to_bytes(8, "little") + member.size.to_bytes(8, "little")
            elif batch:
                self._starts.append(int(batch[1]))
                self._batches.append(member)
            else:
                manifest = self._read_manifest(member)
        if manifest is None:
            msg = f"{self.path} has no manifest: it is not complete, or no bundle of ModelDB"
            raise IntegrityError(msg)
        index = np.frombuffer(bytes(blobs), np.dtype(_BLOB_RECORD))
        self._index = np.sort(index, order="digest")
        if (len(index), size, digests.hexdigest()) != (manifest.blobs, manifest.blob_bytes, manifest.blobs_sha256):
            msg = f"{self.path} holds other blobs than its manifest says: it was altered"
            raise IntegrityError(msg)
        if self._starts != sorted(set(self._starts)) or (self._starts or [0])[0] != 0:
            msg = f"the changes in {self.path} are not in order: it was altered"
            raise IntegrityError(msg)
        if bool(self._starts) != bool(manifest.changes) or manifest.changes < (self._starts or [0])[-1]:
            msg = f"{self.path} holds another number of changes than its manifest says: it was altered"
            raise IntegrityError(msg)
        return manifest

    def _check_format(self, member: Member) -> None:
        text = self._read(member)[:100].decode("ascii", "replace").strip() if member.size < BLOCK else ""
        if member.name == FORMAT_NAME and text.startswith("modeldb-bundle-") and text != FORMAT:
            msg = (
                f"{self.path} has the format {text}; this version reads {FORMAT}: it was written by a newer one; install "
                f"that: pip install --upgrade modeldb-core"
            )
            raise StoreVersionError(msg)
        if member.name != FORMAT_NAME or text != FORMAT:
            msg = f"{self.path} is no bundle of ModelDB; make one with: modeldb export FILE"
            raise IntegrityError(msg)

    def _read_manifest(self, member: Member) -> Manifest:
        if member.size > MAX_MANIFEST_BYTES:
            msg = f"the manifest of {self.path} has {member.size:,} bytes; at most {MAX_MANIFEST_BYTES:,} are read"
            raise IntegrityError(msg)
        try:
            return Manifest.decode(self._read(member))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            msg = f"the manifest of {self.path} cannot be read: {error}"
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
        try:
            changes = decode_changes(self._read(member))
        except IntegrityError as error:
            return IntegrityError(f"{member.name} in {self.path}: {error}")
        end = self._starts[number + 1] if number + 1 < len(self._starts) else self.manifest.changes
        if len(changes) != end - self._starts[number]:
            return IntegrityError(
                f"{member.name} in {self.path} holds {len(changes):,} changes, not as many as it says"
            )
        return changes

    def _read(self, member: Member) -> bytes:
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


class BundleWriter:
    """Writes a bundle: a target for :func:`~modeldb_core.movement.copying.copy`.

    The file appears under its name when :meth:`finish` has written it to the disk; until then it is beside it, with
    ``.part`` at the end. Leaving the ``with`` block without it leaves nothing behind.

    Args:
        path: of the bundle.
        replace: whether a file that is there may be replaced.

    Raises:
        AlreadyExistsError: there is such a file, or another process is writing it.
        StoreReadOnlyError: the folder is not there, or may not be written.
    """

    def __init__(self, path: str | Path, *, replace: bool = False) -> None:
        self.path = Path(path).absolute()
        self.url = f"bundle://{self.path}"
        self._part = self.path.with_name(self.path.name + ".part")
        self._replace = replace
        self._refuse_existing()
        self._lock = threading.RLock()
        self._heads: dict[str, Head] = {}
        self._changes, self._changes_sha = 0, hashlib.sha256()
        self._blobs: set[bytes] = set()
        self._blob_bytes, self._blobs_sha = 0, hashlib.sha256()
        self._file = self._create()
        self._write(header(FORMAT_NAME, len(FORMAT) + 1) + f"{FORMAT}\n".encode() + padding(len(FORMAT) + 1))

    # As a target

    def heads(self) -> Mapping[str, Head]:
        """Return nothing: a bundle begins empty."""
        return {}

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return nothing, likewise."""
        del limit, entity_id, stream_id
        return ChangePage((), after)

    def apply(self, changes: Sequence[Change]) -> None:
        """Add a batch."""
        if not changes:
            return
        data = encode_changes(changes)
        with self._lock:
            name = f"{CHANGES}{self._changes:012d}.chg"
            self._write(header(name, len(data)) + data + padding(len(data)))
            self._changes_sha.update(data)
            self._changes += len(changes)
            for change in changes:
                self._heads[change.stream_id] = advance(self._heads.get(change.stream_id, EMPTY_HEAD), change)

    def stat(self, digest: str) -> BlobInfo:
        """Return that a blob is there, or raise NotFoundError."""
        if bytes.fromhex(digest) not in self._blobs:
            msg = f"there is no blob {digest} in {self.url}"
            raise NotFoundError(msg)
        return BlobInfo(digest, 0)

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        """Add a blob under its digest, which must be given; a damaged one leaves no trace."""
        assert digest is not None
        with self._lock:
            start, sha, size = self._file.tell(), hashlib.sha256(), 0
            try:
                self._write(bytes(BLOCK))  # how long it is, its end will tell
                while chunk := stream.read(_CHUNK):
                    sha.update(chunk)
                    size += len(chunk)
                    self._write(chunk)
                if sha.hexdigest() != digest:
                    msg = f"the content hashes to {sha.hexdigest()}, not to {digest} as was said; nothing is stored"
                    raise IntegrityError(msg)
            except ModelDBError:
                self._file.seek(start)
                self._file.truncate()
                raise
            self._write(padding(size))
            self._file.seek(start)
            self._write(header(BLOBS + digest, size))
            self._file.seek(0, os.SEEK_END)
            self._blobs.add(bytes.fromhex(digest))
            self._blobs_sha.update(bytes.fromhex(digest))
            self._blob_bytes += size
            return BlobInfo(digest, size)

    # The end

    def finish(
        self, *, has_artifacts: bool = True, absent_blobs: Sequence[str] = (), selection: Sequence[str] = ()
    ) -> Manifest:
        """Write the manifest, give the file its name, and return the manifest.

        Raises:
            AlreadyExistsError: meanwhile there is a file of the name.
        """
        manifest = Manifest(
            self._heads,
            self._changes,
            self._changes_sha.hexdigest(),
            len(self._blobs),
            self._blob_bytes,
            self._blobs_sha.hexdigest(),
            has_artifacts,
            tuple(absent_blobs),
            tuple(selection),
        )
        data = manifest.encode()
        self._write(header(MANIFEST_NAME, len(data)) + data + padding(len(data)) + end_of_archive())
        self._refuse_existing()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._part, self.path)
        except OSError as error:
            raise self._failure(error) from error
        self._file.close()
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._file.closed:
            with suppress(OSError):
                self._part.unlink()
            with suppress(OSError):
                self._file.close()

    # Inside

    def _refuse_existing(self) -> None:
        if not self._replace and self.path.exists():
            msg = f"{self.path} exists; choose another name, or --force to replace it"
            raise AlreadyExistsError(msg)

    def _create(self) -> BinaryIO:
        """Open the file beside the bundle; what a killed process left there is written over."""
        try:
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise self._failure(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two the file may have become somebody's finished bundle.
            if os.fstat(descriptor).st_ino != os.stat(self._part).st_ino:
                raise FileNotFoundError
            os.ftruncate(descriptor, 0)
        except OSError as error:
            os.close(descriptor)
            msg = f"another process is writing {self.path}; let it end, or choose another name"
            raise AlreadyExistsError(msg) from error
        return os.fdopen(descriptor, "r+b")

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> ModelDBError:
        if isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError)) or error.errno == errno.EROFS:
            return StoreReadOnlyError(f"{self.path} cannot be written: {error.strerror}; choose another folder")
        return StoreUnavailableError(f"{self.path} cannot be written now: {error.strerror or error}")
