"""Writes bundles. The writer speaks as stores do, so that an export is a copy into a file."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from modeldb_core.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.log.batches import encode_changes
from modeldb_core.log.changes import EMPTY_HEAD, Change, Head, advance
from modeldb_core.movement.archive import BLOCK, end_of_archive, header, padding
from modeldb_core.movement.manifest import (
    BLOBS,
    CHANGES,
    CRATE_NAME,
    FORMAT,
    FORMAT_NAME,
    MANIFEST_NAME,
    Manifest,
    manifest_limit,
)
from modeldb_core.runtime import disk, owned
from modeldb_core.stores import BlobInfo, ChangePage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CHUNK = 1 << 20


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

    is_partial = False

    def __init__(self, path: str | Path, *, replace: bool = False) -> None:
        self.path = Path(path).absolute()
        self.url = f"bundle://{self.path}"
        self._part = self.path.with_name(self.path.name + ".part")
        self._replace = replace
        self._refuse_existing()
        self._lock = threading.RLock()
        self._heads: dict[str, Head] = {}
        self._changes, self._batch_bytes, self._changes_sha = 0, 0, hashlib.sha256()
        self._withheld = 0
        self._crate_sha256 = ""
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
            self._batch_bytes += len(data)
            self._changes += len(changes)
            self._withheld += sum(change.withheld for change in changes)
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
                    msg = f"the content hashes to {sha.hexdigest()}, not to {digest} as was given; nothing is stored"
                    raise IntegrityError(msg)
            except ModelDBError:
                with self._failing():
                    self._file.seek(start)
                    self._file.truncate()
                raise
            self._write(padding(size))
            self._seek(start)
            self._write(header(BLOBS + digest, size))
            self._seek(0, os.SEEK_END)
            self._blobs.add(bytes.fromhex(digest))
            self._blobs_sha.update(bytes.fromhex(digest))
            self._blob_bytes += size
            return BlobInfo(digest, size)

    def has(self, digest: str) -> bool:
        """Return whether a blob is in it so far."""
        return bytes.fromhex(digest) in self._blobs

    # The end

    def add_crate(self, data: bytes) -> None:
        """Add the metadata of an RO-Crate, after everything that it describes and once at most."""
        assert not self._crate_sha256
        self._write(header(CRATE_NAME, len(data)) + data + padding(len(data)))
        self._crate_sha256 = hashlib.sha256(data).hexdigest()

    def finish(
        self,
        *,
        has_artifacts: bool = True,
        absent_blobs: Sequence[str] = (),
        selection: Sequence[str] = (),
    ) -> Manifest:
        """Write the manifest, give the file its name, and return the manifest.

        Raises:
            AlreadyExistsError: meanwhile there is a file of the name.
            InvalidArgumentError: the manifest is longer than any that is read.
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
            self._withheld,
            self._crate_sha256,
        )
        data = manifest.encode()
        if len(data) > (limit := manifest_limit(self._batch_bytes)):
            msg = (
                f"the manifest of {self.path} would have {len(data):,} bytes, and no reader takes more than {limit:,}; export "
                f"less at once, by project"
            )
            raise InvalidArgumentError(msg)
        self._write(header(MANIFEST_NAME, len(data)) + data + padding(len(data)) + end_of_archive())
        self._refuse_existing()
        with self._failing():
            self._file.flush()
            disk.reach_disk(self._file.fileno())
            os.replace(self._part, self.path)
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
            # Others may write the folder: a link there would lead to something else to write over.
            owned.check_file(self._part)
            no_link = getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | no_link | disk.PRIVATE, 0o666)
        except owned.NotOursError as error:
            msg = f"{self.path} cannot be written: {error}; choose another folder, or remove that"
            raise StoreReadOnlyError(msg) from error
        except OSError as error:
            raise self._failure(error) from error
        try:
            is_ours = self._claim(descriptor)
            if is_ours:
                os.ftruncate(descriptor, 0)
        except OSError as error:
            os.close(descriptor)
            raise self._failure(error) from error
        if not is_ours:
            os.close(descriptor)
            msg = f"another process is writing {self.path}; let it end, or choose another name"
            raise AlreadyExistsError(msg)
        return os.fdopen(descriptor, "r+b")

    def _claim(self, descriptor: int) -> bool:
        """Lock the file beside the bundle; False where it is somebody else's, or has become somebody's finished bundle."""
        try:
            return disk.try_lock(descriptor) and os.fstat(descriptor).st_ino == os.stat(self._part).st_ino
        except FileNotFoundError:
            return False

    def _write(self, data: bytes) -> None:
        with self._failing():
            self._file.write(data)

    def _seek(self, place: int, whence: int = os.SEEK_SET) -> None:
        with self._failing():  # it writes what is in the buffer
            self._file.seek(place, whence)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> ModelDBError:
        if isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError)) or error.errno == errno.EROFS:
            return StoreReadOnlyError(f"{self.path} cannot be written: {error.strerror}; choose another folder")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreUnavailableError(f"{self.path} cannot be written: the disk is full; free space, and try again")
        return StoreUnavailableError(f"{self.path} cannot be written now: {error.strerror or error}")
