"""The blob store on a folder: of this machine, or of anything that fsspec reaches.

A blob lies at ``ab/cd/<digest>`` below the root, after the first digits of its digest, so that no folder grows too
large. It is written under a temporary name while it is hashed and moved into place when it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
import time
import uuid
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from modeldb_core.backends._local_files import LocalFiles
from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    MissingDependencyError,
    NotFoundError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.redaction import redact_url
from modeldb_core.stores import REFRESH_S, ArtifactStore, BlobInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHUNK = 1 << 20  # bytes; larger ones no longer fit the processor's cache beside each other
_BUFFER = 1 << 16  # bytes, for readers of small pieces; larger reads pass it by
_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Files(Protocol):
    """What the store needs of a file system; paths are relative to the store's root."""

    def create(self) -> tuple[str, BinaryIO]: ...
    def publish(self, name: str, path: str) -> None: ...
    def discard(self, name: str) -> None: ...
    def stat(self, path: str) -> tuple[int, float | None]: ...
    def touch(self, path: str) -> bool: ...
    def open(self, path: str) -> BinaryIO: ...
    def walk(self) -> Iterator[tuple[str, int, float | None]]: ...
    def remove(self, path: str) -> None: ...


class FsspecArtifactStore(ArtifactStore):
    """Blobs in a folder.

    Args:
        url: ``file:///folder``, or any URL that fsspec understands.
        options: what fsspec's file system takes; none for ``file://``.

    Raises:
        InvalidArgumentError: the URL is none, or an option is unknown.
        MissingDependencyError: fsspec, or what it needs for the scheme, is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - as fsspec has them
        scheme, mark, path = url.partition("://")
        if not mark or (scheme == "file" and not path):
            msg = f"{redact_url(url)!r} is not the URL of a folder; expected one such as 'file:///data/artifacts'"
            raise InvalidArgumentError(msg)
        self.url = redact_url(url)
        self.is_local = scheme in ("file", "memory")
        if scheme != "file":
            self._files: _Files = _FsspecFiles(url, options)
            return
        if options:
            msg = f"options {', '.join(map(repr, options))} are unknown for {self.url}; a folder takes none"
            raise InvalidArgumentError(msg)
        self._files = LocalFiles(path)

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        if digest is not None and self._is_there(digest):
            return self._put_again(stream, digest)
        first = stream.read(_CHUNK)
        if len(first) == _CHUNK:
            return self._write(first, stream, digest)
        first += stream.read()  # a short read need not be the last one
        hashed = BlobInfo(hashlib.sha256(first).hexdigest(), len(first))
        _check_digest(hashed, digest)
        if not self._is_kept(hashed):
            self._write_whole(first, hashed.digest)
        return hashed

    def _put_again(self, stream: BinaryIO, digest: str) -> BlobInfo:
        """Check that ``stream`` holds what is there already; write it again only where that is damaged."""
        start = stream.tell() if stream.seekable() else None
        sha, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
            size += len(chunk)
        hashed = BlobInfo(sha.hexdigest(), size)
        _check_digest(hashed, digest)
        if self._is_kept(hashed):
            return hashed
        if start is None:
            msg = f"blob {digest} in {self.url} is damaged; delete it, or put it from a stream that can seek"
            raise IntegrityError(msg)
        stream.seek(start)
        return self._write(b"", stream, digest)

    def _write_whole(self, content: bytes, digest: str) -> None:
        with self._errors():
            name, file = self._files.create()
            try:
                _write_all(file, content)
                file.close()
                self._files.publish(name, _path(digest))
            except BaseException:
                with suppress(Exception):
                    file.close()
                self._files.discard(name)
                raise

    def _write(self, first: bytes, stream: BinaryIO, digest: str | None) -> BlobInfo:
        with self._errors():
            name, file = self._files.create()
        try:
            sha, size, chunk = hashlib.sha256(), 0, first or stream.read(_CHUNK)
            while chunk:
                sha.update(chunk)
                size += len(chunk)
                with self._errors():
                    _write_all(file, chunk)
                chunk = stream.read(_CHUNK)
            hashed = BlobInfo(sha.hexdigest(), size)
            _check_digest(hashed, digest)
            with self._errors():
                file.close()
                if not self._is_kept(hashed):
                    self._files.publish(name, _path(hashed.digest))
                    return hashed
            self._files.discard(name)
        except BaseException:
            with suppress(Exception):
                file.close()
            self._files.discard(name)
            raise
        return hashed

    def _is_there(self, digest: str) -> bool:
        with self._errors():
            try:
                self._files.stat(_path(digest))
            except FileNotFoundError:
                return False
            return True

    def _is_kept(self, info: BlobInfo) -> bool:
        """Whether the blob is there, whole and young: it is touched. One that cannot be is better written again."""
        path = _path(info.digest)
        with self._errors():
            try:
                size, modified = self._files.stat(path)
                if size != info.size_bytes:
                    return False
                return self._files.touch(path) or modified is None or time.time() - modified < REFRESH_S
            except FileNotFoundError:
                return False

    def open(self, digest: str) -> BinaryIO:
        path = _path(digest)
        with self._errors(digest):
            size, _ = self._files.stat(path)
            file = self._files.open(path)
        return cast("BinaryIO", io.BufferedReader(_VerifiedReader(file, digest, size, self.url), _BUFFER))

    def stat(self, digest: str) -> BlobInfo:
        with self._errors(digest):
            size, modified = self._files.stat(_path(digest))
            return BlobInfo(digest, size, _time(modified))

    def list(self) -> Iterator[BlobInfo]:
        with self._errors():
            for name, size, modified in self._files.walk():
                if _DIGEST.fullmatch(name):
                    yield BlobInfo(name, size, _time(modified))

    def delete(self, digest: str) -> None:
        with self._errors():
            self._files.remove(_path(digest))

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    @contextmanager
    def _errors(self, digest: str = "") -> Iterator[None]:
        """Turn what the file system raises into the errors of the contract."""
        try:
            yield
        except FileNotFoundError as error:
            msg = f"there is no blob {digest} in {self.url}" if digest else f"{self.url} went away: {error}"
            raise (NotFoundError(msg) if digest else StoreUnavailableError(msg)) from error
        except OSError as error:
            if error.errno in _READ_ONLY or isinstance(error, PermissionError):
                msg = f"this process may not use {self.url} that way: {error}; check its permissions"
                raise StoreReadOnlyError(msg) from error
            cause = "it is full" if error.errno in _FULL else str(error)
            msg = f"{self.url} cannot be used now: {cause}; the same call may succeed later"
            raise StoreUnavailableError(msg) from error


class _VerifiedReader(io.RawIOBase):
    """Reads a blob and checks it against its digest.

    Read from its beginning to its end, it is hashed on the way, and the last bytes only come out if all of it matches.
    Whoever seeks elsewhere first has it read and checked as a whole, then and there: so no part ever comes out of a
    blob that is damaged, unless it was read in order before the damage could be known.
    """

    def __init__(self, file: BinaryIO, digest: str, size: int, url: str) -> None:
        self._file, self._digest, self._size, self._url = file, digest, size, url
        self._sha = hashlib.sha256()
        self._at = 0
        self._is_verified = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        with memoryview(buffer).cast("B") as view:
            # Past its size nothing is taken, so that the end is noticed with the last bytes and not after them.
            wanted = view[: min(len(view), max(self._size - self._at, 0))]
            count = int(self._file.readinto(wanted)) if len(wanted) else 0  # type: ignore[attr-defined]
            self._at += count
            if not self._is_verified:
                self._sha.update(wanted[:count])
                if self._at == self._size or (not count and len(view)):
                    self._finish()
            return count

    def readall(self) -> bytes:
        parts = []
        while chunk := self.read(_CHUNK):
            parts.append(chunk)
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if target != self._at and not self._is_verified:
            while self.read(_CHUNK):
                pass
        self._at = self._file.seek(target)
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _finish(self) -> None:
        if self._file.read(1) or self._sha.hexdigest() != self._digest:
            msg = f"blob {self._digest} in {self._url} is damaged: its content no longer matches its digest"
            raise IntegrityError(msg)
        self._file.seek(self._at)
        self._is_verified = True


class _FsspecFiles:
    """The files below a URL of fsspec."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        try:
            from fsspec.core import url_to_fs

            self._fs, root = url_to_fs(url, **options)
        except ImportError as error:
            msg = f"{redact_url(url)!r} needs a package that is not installed: {error}"
            raise MissingDependencyError(msg) from error
        except ValueError as error:
            msg = f"{redact_url(url)!r} is not a URL that fsspec understands: {error}"
            raise InvalidArgumentError(msg) from error
        self._root = root.rstrip("/")

    def create(self) -> tuple[str, BinaryIO]:
        name = f"{self._root}/.incoming/{uuid.uuid4().hex}"
        self._fs.makedirs(f"{self._root}/.incoming", exist_ok=True)
        return name, cast("BinaryIO", self._fs.open(name, "wb"))

    def publish(self, name: str, path: str) -> None:
        target = f"{self._root}/{path}"
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._fs.mv(name, target)

    def discard(self, name: str) -> None:
        with suppress(OSError):
            self._fs.rm_file(name)

    def stat(self, path: str) -> tuple[int, float | None]:
        return _stated(self._fs.info(f"{self._root}/{path}"))

    def touch(self, path: str) -> bool:
        """Copy a file onto itself where it is no longer young: that is all that object stores offer."""
        _, modified = self.stat(path)
        if modified is not None and time.time() - modified > REFRESH_S / 2:
            self._fs.cp_file(f"{self._root}/{path}", f"{self._root}/{path}")
        return True

    def open(self, path: str) -> BinaryIO:
        return cast("BinaryIO", self._fs.open(f"{self._root}/{path}", "rb"))

    def walk(self) -> Iterator[tuple[str, int, float | None]]:
        for path, info in self._fs.find(self._root, detail=True).items():
            if "/.incoming/" not in path:
                yield (path.rpartition("/")[2], *_stated(info))

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{path}")


_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def _stated(info: Mapping[str, Any]) -> tuple[int, float | None]:
    """Return the size of a file and the time of its last change, which each file system calls by a name of its own."""
    found = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, datetime):
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return int(info["size"]), None if found is None else float(found)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _path(digest: str) -> str:
    # What is no digest could be a path out of the store.
    if not _DIGEST.fullmatch(str(digest)):
        msg = f"{str(digest)[:80]!r} is not a digest; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg)
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def _check_digest(hashed: BlobInfo, digest: str | None) -> None:
    if digest is not None and hashed.digest != digest:
        msg = f"the content hashes to {hashed.digest}, not to {digest} as was said; nothing is stored"
        raise IntegrityError(msg)


def _write_all(file: BinaryIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):  # an unbuffered file may take a part, on a disk almost full
        data = data[written:]
        written = file.write(data)
