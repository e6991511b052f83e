"""An artifact store of plain files: ``<folder>/blobs/ab/<digest>``."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.stores import ArtifactStore, BlobInfo
from modeldb_ledger.folders import Durability, check_durability, flush_folder, folder_of, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
_ABANDONED_S = 24 * 3600  # a file that is still incoming after that was left by a process that died


class LedgerArtifacts(ArtifactStore):
    """Keeps blobs as files.

    Args:
        url: ``ledger:///absolute/path`` of the folder; it is made when needed.
        durability: "fsync" waits for the disk before ``put`` returns.
    """

    is_local = True

    def __init__(self, url: str, *, durability: Durability = "normal") -> None:
        self.url = url
        self._folder = folder_of(url) / "blobs"
        self._incoming = self._folder / "incoming"
        self._waits_for_disk = check_durability(durability)
        with sentences(self._folder):
            self._incoming.mkdir(parents=True, exist_ok=True)
            for path in self._incoming.iterdir():
                if path.stat().st_mtime < time.time() - _ABANDONED_S:
                    path.unlink(missing_ok=True)

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        if digest is not None:
            _check(digest)
        with sentences(self._folder):
            path = self._incoming / uuid4().hex
            file = path.open("xb")
        try:
            with file:
                found, size = self._copy(stream, file)
            if digest not in (None, found):
                msg = f"the content hashes to {found}, and not to {digest} as was said; nothing was stored"
                raise IntegrityError(msg)
            with self._alone():
                self._move(path, self._place(found), size)
        finally:
            path.unlink(missing_ok=True)
        return BlobInfo(found, size)

    def _copy(self, stream: BinaryIO, file: BinaryIO) -> tuple[str, int]:
        checksum, size = hashlib.sha256(), 0
        while piece := stream.read(_PIECE):  # what this raises is the caller's, not ours
            checksum.update(piece)
            size += len(piece)
            with sentences(self._folder):
                file.write(piece)
        with sentences(self._folder):
            file.flush()
            if self._waits_for_disk:
                os.fsync(file.fileno())
        return checksum.hexdigest(), size

    def _move(self, path: Path, place: Path, size: int) -> None:
        """Let a blob appear under its name, whole; one that is there only becomes young again, unless it was cut."""
        try:
            if place.stat().st_size == size:
                os.utime(place)
                return
        except FileNotFoundError:
            place.parent.mkdir(exist_ok=True)
        os.replace(path, place)
        if self._waits_for_disk:
            flush_folder(place.parent)

    def open(self, digest: str) -> BinaryIO:
        place = self._place(digest)
        with sentences(self._folder):
            try:
                return io.BufferedReader(_Checked(digest, place.open("rb", buffering=0)), _PIECE)
            except FileNotFoundError as error:
                raise self._missing(digest) from error

    def stat(self, digest: str) -> BlobInfo:
        place = self._place(digest)
        with sentences(self._folder):
            try:
                return _info(digest, place.stat())
            except FileNotFoundError as error:
                raise self._missing(digest) from error

    def list(self) -> Iterator[BlobInfo]:
        with sentences(self._folder):
            for path in self._folder.glob("??/*"):
                try:
                    info = _info(path.name, path.stat())
                except FileNotFoundError:
                    continue  # deleted meanwhile
                yield info

    def delete(self, digest: str) -> None:
        place = self._place(digest)
        with sentences(self._folder):
            place.unlink(missing_ok=True)

    def delete_stale(self, digest: str, before: datetime) -> bool:
        with self._alone():  # no put may make the blob young between the look at it and its end
            return super().delete_stale(digest, before)

    def close(self) -> None:
        pass

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the folder, which processes share."""
        with sentences(self._folder):
            lock = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    def _place(self, digest: str) -> Path:
        _check(digest)  # before it becomes part of a path
        return self._folder / digest[:2] / digest

    def _missing(self, digest: str) -> NotFoundError:
        return NotFoundError(f"there is no blob {digest} in {self.url}")


class _Checked(io.RawIOBase):
    """The content of a blob, all of it verified before the first byte comes out: nobody gets a part of a bad one."""

    def __init__(self, digest: str, file: io.FileIO) -> None:
        self._digest, self._file = digest, file
        self._is_verified = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with sentences(self._digest):
            self._verify()
            return self._file.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with sentences(self._digest):
            if whence == io.SEEK_END:  # of a file that was cut, the end is in another place
                self._verify()
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()

    def _verify(self) -> None:
        if self._is_verified:
            return
        at = self._file.tell()
        self._file.seek(0)
        if hashlib.file_digest(self._file, "sha256").hexdigest() != self._digest:
            msg = f"blob {self._digest} is damaged: its content does not match its digest; put it again, or restore it"
            raise IntegrityError(msg)
        self._file.seek(at)
        self._is_verified = True


def _check(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        msg = f"{digest!r} is not the digest of a blob; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg)


def _info(digest: str, found: os.stat_result) -> BlobInfo:
    return BlobInfo(digest, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
