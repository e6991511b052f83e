"""Reading a blob such that damage shows."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.backends.blobs.content import CHUNK_BYTES
from modeldb_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_BUFFER = 1 << 16  # bytes, for readers of small pieces; larger reads pass it by


def verified(
    file: BinaryIO, digest: str, size: int, url: str, errors: Callable[[], AbstractContextManager[None]]
) -> BinaryIO:
    """Return a stream over ``file`` that checks what it gives.

    Args:
        file: a blob as it is stored.
        digest: what it must hash to.
        size: how long it is, as the store says.
        url: of the store, for messages.
        errors: turns what reading the file raises into errors of the contract.
    """
    return cast("BinaryIO", io.BufferedReader(_VerifiedReader(file, digest, size, url, errors), _BUFFER))


class _VerifiedReader(io.RawIOBase):
    """Reads a blob and checks it against its digest.

    Read from its beginning to its end, it is hashed on the way, and the last bytes only come out if all of it matches.
    Anyone who seeks elsewhere first has it read and checked as a whole, then and there: so no part ever comes out of a
    blob that is damaged, unless it was read in order before the damage could be known.
    """

    def __init__(
        self, file: BinaryIO, digest: str, size: int, url: str, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._file, self._digest, self._size, self._url, self._errors = file, digest, size, url, errors
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
            with self._errors():
                count = int(self._file.readinto(wanted)) if len(wanted) else 0  # type: ignore[attr-defined]
            self._at += count
            if not self._is_verified:
                self._sha.update(wanted[:count])
                if self._at == self._size or (not count and len(view)):
                    self._finish()
            return count

    def readall(self) -> bytes:
        parts = []
        while chunk := self.read(CHUNK_BYTES):
            parts.append(chunk)
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if target != self._at and not self._is_verified:
            while self.read(CHUNK_BYTES):
                pass
        with self._errors():
            self._at = self._file.seek(target)
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _finish(self) -> None:
        with self._errors():
            more = self._file.read(1)
        if more or self._sha.hexdigest() != self._digest:
            msg = f"blob {self._digest} in {self._url} is damaged: its content no longer matches its digest"
            raise IntegrityError(msg)
        with self._errors():
            self._file.seek(self._at)
        self._is_verified = True
