"""The blob store on a folder: of this machine, or of anything that fsspec reaches.

A blob lies at ``ab/<digest>`` below the root. It is written under a temporary name while it is hashed and moved into
place when it is whole. A bucket of S3 has a store of its own (``s3.py``), which sends each byte once.
"""

from __future__ import annotations

import hashlib
import io
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from modeldb_core.backends._fsspec import split_url
from modeldb_core.backends.blobs.content import (
    CHUNK_BYTES,
    OWNERS,
    blob_path,
    check_digest,
    hash_rest,
    is_digest,
    owner_path,
    read_fully,
    time_of,
)
from modeldb_core.backends.blobs.fsspec_files import FsspecFiles
from modeldb_core.backends.blobs.local_files import LocalFiles
from modeldb_core.backends.blobs.uploads import FolderUploads
from modeldb_core.backends.blobs.verified import verified
from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    StoreUnavailableError,
)
from modeldb_core.runtime import disk
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.stores import REFRESH_S, ArtifactStore, BlobInfo, can_seek

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from modeldb_core.backends._fsspec_errors import Doing

_LOCAL = ("file", "memory")


class _Files(Protocol):
    """What the store needs of a file system; paths are relative to the store's root."""

    failures: tuple[type[Exception], ...]

    def create(self) -> tuple[str, BinaryIO]: ...
    def publish(self, name: str, path: str) -> None: ...
    def discard(self, name: str) -> None: ...
    def stat(self, path: str) -> tuple[int, float | None]: ...
    def touch(self, path: str) -> bool: ...
    def open(self, path: str) -> BinaryIO: ...
    def names(self, folder: str) -> list[str]: ...
    def walk(self) -> Iterator[tuple[str, int, float | None]]: ...
    def remove(self, path: str) -> None: ...
    def url_for(self, path: str, expires_s: int) -> str | None: ...
    def translate(self, error: Exception, doing: Doing) -> ModelDBError: ...


class FsspecArtifactStore(ArtifactStore):
    """Blobs in a folder.

    Args:
        url: ``file:///folder``, or any URL that fsspec understands.
        options: those of ``docs/stores/artifacts.md`` for the scheme; none for ``file://``.

    Raises:
        InvalidArgumentError: the URL names no folder.
        ConfigurationError: an option is unknown or has an invalid value.
        MissingDependencyError: what the scheme needs is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - as fsspec has them
        scheme, mark, path = url.partition("://")
        if not mark or (scheme == "file" and not path):
            msg = f"{redact_url(url)!r} is not the URL of a folder; expected one such as 'file:///data/artifacts'"
            raise InvalidArgumentError(msg)
        self.url = redact_url(url)
        self.is_local = scheme in _LOCAL
        if scheme != "file":
            self._files: _Files = FsspecFiles(url, options)
            return
        bare, _, _ = split_url(url, options, {})
        self.url = redact_url(bare)
        self._files = files = LocalFiles(bare.removeprefix("file://"))
        if disk.fcntl is not None:
            self.uploads = FolderUploads(files, self._errors, self._is_kept, self._claim)

    def owners(self) -> frozenset[str]:
        with self._errors():
            texts = [self._read(f"{OWNERS}/{name}") for name in self._files.names(OWNERS)]
        return frozenset(texts)

    def _read(self, path: str) -> str:
        with self._files.open(path) as file:
            return file.read().decode("utf-8", "replace")

    def add_owner(self, owner: str) -> None:
        path = owner_path(owner)
        with self._errors("write"):
            try:
                self._files.stat(path)
            except FileNotFoundError:
                self._write_whole(owner.encode("utf-8", "surrogatepass"), path)

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        self._claim()
        if digest is not None and self._is_there(digest):
            return self._put_again(stream, digest)
        first = read_fully(stream, CHUNK_BYTES)
        if len(first) == CHUNK_BYTES:
            return self._write(first, stream, digest)
        hashed = BlobInfo(hashlib.sha256(first).hexdigest(), len(first))
        check_digest(hashed, digest)
        if not self._is_kept(hashed):
            self._write_whole(first, blob_path(hashed.digest))
        return hashed

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        return [self.put(io.BytesIO(content)).digest for content in contents]  # hashed once, by put

    def _put_again(self, stream: BinaryIO, digest: str) -> BlobInfo:
        """Check that ``stream`` holds what is there already; write it again only where that is damaged."""
        start = stream.tell() if can_seek(stream) else None
        hashed = hash_rest(stream)
        check_digest(hashed, digest)
        if self._is_kept(hashed):
            return hashed
        if start is None:
            msg = f"blob {digest} in {self.url} is damaged; delete it, or put it from a stream that can seek"
            raise IntegrityError(msg)
        stream.seek(start)
        return self._write(b"", stream, digest)

    def _write_whole(self, content: bytes, path: str) -> None:
        with self._errors("write"):
            name, file = self._files.create()
            try:
                _write_all(file, content)
                file.close()
                self._files.publish(name, path)
            except BaseException:
                with suppress(Exception):
                    file.close()
                self._files.discard(name)
                raise

    def _write(self, first: bytes, stream: BinaryIO, digest: str | None) -> BlobInfo:
        with self._errors("write"):
            name, file = self._files.create()

        def take(chunk: bytes) -> None:
            with self._errors("write"):  # what the source raises is not the store's fault
                _write_all(file, chunk)

        try:
            hashed = hash_rest(stream, take, first)
            check_digest(hashed, digest)
            with self._errors("write"):
                file.close()
                if not self._is_kept(hashed):
                    self._files.publish(name, blob_path(hashed.digest))
                    return hashed
            self._files.discard(name)
        except BaseException:
            with suppress(Exception):
                file.close()
            self._files.discard(name)
            raise
        return hashed

    def _is_there(self, digest: str) -> bool:
        path = blob_path(digest)
        with self._errors():
            try:
                self._files.stat(path)
            except FileNotFoundError:
                return False
            return True

    def _is_kept(self, info: BlobInfo) -> bool:
        """Whether the blob is there, whole and young: it is touched. One that cannot be is better written again."""
        path = blob_path(info.digest)
        with self._errors("write"):
            try:
                size, modified = self._files.stat(path)
                if size != info.size_bytes:
                    return False
                return self._files.touch(path) or modified is None or time.time() - modified < REFRESH_S
            except FileNotFoundError:
                return False

    def open(self, digest: str) -> BinaryIO:
        path = blob_path(digest)
        with self._errors(digest=digest):
            size, _ = self._files.stat(path)
            file = self._files.open(path)
        return verified(file, digest, size, self.url, partial(self._errors, digest=digest))

    def stat(self, digest: str) -> BlobInfo:
        path = blob_path(digest)
        with self._errors(digest=digest):
            size, modified = self._files.stat(path)
            return BlobInfo(digest, size, time_of(modified))

    def list(self) -> Iterator[BlobInfo]:
        with self._errors():
            for name, size, modified in self._files.walk():
                if is_digest(name):
                    yield BlobInfo(name, size, time_of(modified))

    def delete(self, digest: str) -> None:
        path = blob_path(digest)
        with self._errors("write"):
            self._files.remove(path)

    def delete_stale(self, digest: str, before: datetime) -> bool:
        if not isinstance(self._files, LocalFiles):
            return super().delete_stale(digest, before)
        path = blob_path(digest)
        with self._errors("write"):
            modified = self.stat(digest).modified_at if self._is_there(digest) else None
            if modified is None or modified >= before:
                return False
            return self._files.remove_stale(path, before.timestamp())

    def url_for(self, digest: str, *, expires_s: int = 3600) -> str | None:
        path = blob_path(digest)
        with self._errors():
            return self._files.url_for(path, expires_s)

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    @contextmanager
    def _errors(self, doing: Doing = "read", digest: str = "") -> Iterator[None]:
        """Turn what the file system raises into the errors of the contract."""
        try:
            yield
        except ModelDBError:
            raise
        except FileNotFoundError as error:
            msg = f"there is no blob {digest} in {self.url}" if digest else f"{self.url} went away: {error}"
            raise (NotFoundError(msg) if digest else StoreUnavailableError(msg)) from error
        except self._files.failures as error:
            raise self._files.translate(error, doing) from error


def _write_all(file: BinaryIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):  # an unbuffered file may take a part, on a disk almost full
        data = data[written:]
        written = file.write(data)
