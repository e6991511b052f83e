"""Content that comes piece by piece into a folder: each byte is written once, where it stays, and hashed once.

What has arrived is a file among the temporary ones, under the name of its upload, so any process on the same folder can go
on with it, and its length says how much has arrived. When it is whole it is moved to its place. The hash is carried along by the
process that takes the pieces, beside the writing; a process that did not see all of them reads the file once in the end.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.backends.blobs.content import blob_path, check_digest, hash_rest, is_digest
from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.runtime import disk
from modeldb_core.runtime.hashing import hashing
from modeldb_core.stores import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from modeldb_core.backends.blobs.local_files import LocalFiles

_MAX_HASHES = 64
"""So many uploads at once keep their hash; those of the others are read once more in the end."""

_PATIENCE_S = 2.0
"""So long a piece waits for the one before it, which comes over another connection, or to another server."""
_PAUSE_S = 0.002


class _State(NamedTuple):
    """By which a file shows that nobody else has written to it or replaced it since this process did."""

    process: int
    device: int
    inode: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class _Hash:
    """The hash of the beginning of a file.

    Attributes:
        state: of the file when ``sha`` was given the last piece: with another one there is content that it does not know.
    """

    sha: hashlib._Hash
    state: _State


class FolderUploads:
    """Uploads into a folder of this machine.

    Args:
        files: of the store.
        errors: turns what the file system raises into the errors of the contract.
        is_kept: whether the store has a blob, whole; it is young then.
        claim: has the owner of the store noted, before anything is there.
    """

    def __init__(
        self,
        files: LocalFiles,
        errors: Callable[..., AbstractContextManager[None]],
        is_kept: Callable[[BlobInfo], bool],
        claim: Callable[[], None],
    ) -> None:
        self._files, self._errors, self._is_kept, self._claim = files, errors, is_kept, claim
        self._hashes: dict[str, _Hash] = {}

    def received(self, upload: str) -> int:
        """Return how many bytes have arrived."""
        with self._errors():
            try:
                return os.lstat(self._files.temporary(_checked(upload))).st_size
            except FileNotFoundError:
                return 0

    def append(self, upload: str, offset: int, content: bytes | memoryview) -> int:
        """Add ``content`` where just ``offset`` bytes have arrived; return how many have arrived now."""
        patient_until = time.monotonic() + _PATIENCE_S
        while (arrived := self._append(upload, offset, content)) < offset and time.monotonic() < patient_until:
            time.sleep(_PAUSE_S)
        return arrived

    def _append(self, upload: str, offset: int, content: bytes | memoryview) -> int:
        with self._errors("write"), self._opened(_checked(upload), may_create=offset == 0) as descriptor:
            if descriptor is None:
                return 0
            before = _state(descriptor)
            if before.size != offset or not content:
                return before.size
            known = self._hashes.pop(upload, None)
            sha = hashlib.sha256() if offset == 0 else known.sha if known and known.state == before else None
            with hashing(sha, content) if sha is not None else nullcontext():
                _write_at(descriptor, content, offset)
            if sha is not None:
                self._keep(upload, _Hash(sha, _state(descriptor)))
            return offset + len(content)

    def finish(self, upload: str, info: BlobInfo) -> BlobInfo:
        """Make the blob that ``info`` says of what has arrived."""
        path = blob_path(info.digest)
        self._claim()
        with self._errors("write"), self._opened(_checked(upload), may_create=False) as descriptor:
            if descriptor is None:
                if self._is_kept(info):  # as it was asked for before, and nobody heard the answer
                    return info
                msg = f"there is no upload {upload}, and no blob {info.digest}; begin it again"
                raise NotFoundError(msg)
            name = self._files.temporary(upload)
            hashed = self._hashed(upload, descriptor)
            try:
                check_digest(hashed, info.digest)
            except IntegrityError:
                self._files.discard(name)
                raise
            if self._is_kept(hashed):
                self._files.discard(name)
            else:
                os.utime(descriptor)  # young from now on, however long it took to arrive
                self._files.publish(name, path)
            return hashed

    def discard(self, upload: str) -> None:
        """Remove what has arrived."""
        self._hashes.pop(_checked(upload), None)
        self._files.discard(self._files.temporary(upload))

    @contextmanager
    def _opened(self, upload: str, *, may_create: bool) -> Iterator[int | None]:
        """Hold the file of an upload open, for this request alone; ``None``: there is none."""
        name = self._files.temporary(upload)
        while True:
            try:
                descriptor = self._files.open_temporary(name, may_create=may_create)
            except FileNotFoundError:
                yield None
                return
            try:
                disk.lock(descriptor)
                if _is_at(descriptor, name):  # not finished or given up while this request waited for the lock
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _keep(self, upload: str, known: _Hash) -> None:
        for oldest in list(self._hashes)[: 1 - _MAX_HASHES]:  # a copy: other threads take pieces of other uploads
            self._hashes.pop(oldest, None)
        self._hashes[upload] = known

    def _hashed(self, upload: str, descriptor: int) -> BlobInfo:
        known, state = self._hashes.pop(upload, None), _state(descriptor)
        if known is not None and known.state == state:
            return BlobInfo(known.sha.hexdigest(), state.size)
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return hash_rest(file)


def _write_at(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def _is_at(descriptor: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except FileNotFoundError:
        return False


def _state(descriptor: int) -> _State:
    found = os.fstat(descriptor)
    return _State(os.getpid(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _checked(upload: str) -> str:
    if not is_digest(upload):
        msg = f"{upload[:80]!r} is not the name of an upload; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg)
    return upload
