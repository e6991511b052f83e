"""Reading a blob from a server, checked on the way."""

from __future__ import annotations

import hashlib
import io
import tempfile
from typing import IO, TYPE_CHECKING, Any, Protocol

from urllib3 import exceptions

from modeldb_core.backends.remote.answers import BROKEN, error_of_failure
from modeldb_core.backends.remote.direct import open_direct
from modeldb_core.errors import IntegrityError, ModelDBError, StoreUnavailableError

if TYPE_CHECKING:
    from modeldb_core.backends.remote.connection import Connection
    from modeldb_core.stores import BlobInfo

_CHUNK = 1 << 20
_IN_MEMORY_BYTES = 16 << 20
_MAX_BREAKS = 5
"""So many times in a row a download may break off without a byte more before it is given up."""
_DIRECT_BYTES = 1 << 20
"""What is as long as this is fetched from where it lies, where the server says how."""


class Body(Protocol):
    """The body of an answer, still to be read."""

    def read1(self, count: int, /) -> bytes: ...
    def close(self) -> None: ...


class BlobReader(io.RawIOBase):
    """Reads a blob and checks it against its digest.

    Read from its beginning to its end, it comes as a stream and is hashed on the way; the last bytes only come out if all
    of it matches. Anyone who seeks elsewhere has the whole of it fetched and checked then and there, into a temporary file
    where it is long. A connection that breaks is taken up again where it broke.

    Args:
        connection: to the server.
        info: of the blob.
        response: the answer to a request for it, its body still to be read; without it the first read asks.
    """

    def __init__(self, connection: Connection, info: BlobInfo, response: Body | None = None) -> None:
        self._connection, self._info = connection, info
        self._sha = hashlib.sha256()
        self._at = 0
        self._response = response
        self._may_go_direct = info.size_bytes >= _DIRECT_BYTES
        self._copy: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        with memoryview(buffer).cast("B") as view:
            if self._copy is not None:
                piece = self._copy.read(len(view))
                self._at += len(piece)
            else:
                piece = self._next(len(view))
            view[: len(piece)] = piece
            return len(piece)

    def readall(self) -> bytes:
        pieces = []
        while piece := self.read(_CHUNK) if self._copy is not None else self._next(_CHUNK):
            pieces.append(piece)
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size_bytes}[whence]
        if target != self._at:
            self._at = self._copied().seek(target)
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._let_go()
            if self._copy is not None:
                self._copy.close()
        super().close()

    def _copied(self) -> IO[bytes]:
        """Fetch the whole blob from its beginning, so that any part of it can be read."""
        if self._copy is None:
            if self._at:
                self._let_go()
            self._at, self._sha = 0, hashlib.sha256()
            copy = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closed with the reader
            try:
                while piece := self._next(_CHUNK):
                    copy.write(piece)
            except BaseException:
                copy.close()
                raise
            self._copy = copy
        return self._copy

    def _next(self, count: int) -> bytes:
        """Return the next bytes of the stream, hashed; the last ones only where everything matches."""
        size = self._info.size_bytes
        if self._at >= size:
            if not size:
                self._compare()
            return b""
        piece = self._fetch(min(count, size - self._at)) if count else b""
        self._sha.update(piece)
        self._at += len(piece)
        if self._at == size:
            self._let_go()
            self._compare()
        return piece

    def _fetch(self, count: int) -> bytes:
        breaks = 0
        while True:
            try:
                if self._response is None:
                    self._response = self._opened()
                if piece := self._response.read1(count):
                    return piece
                failure: Exception = exceptions.ProtocolError("the answer ended too early")
            except ModelDBError:
                raise
            except BROKEN as error:
                failure = error
            self._let_go()
            if self._may_go_direct:
                self._may_go_direct = False  # the server itself is still there
                continue
            breaks += 1
            if breaks >= _MAX_BREAKS:
                raise error_of_failure(failure, self._connection.address) from failure

    def _opened(self) -> Body:
        if self._may_go_direct and (url := self._connection.blob_url(self._info.digest)) is not None:
            return open_direct(url, self._connection.address, self._at)
        self._may_go_direct = False
        try:
            response = self._connection.open(f"/blobs/{self._info.digest}", start=self._at)
        except IntegrityError:
            raise self._damaged() from None
        if self._at and response.status != 206:
            response.close()
            msg = f"{self._connection.address.url} does not give parts of blobs; something before it takes Range away"
            raise StoreUnavailableError(msg)
        return response

    def _compare(self) -> None:
        if self._sha.hexdigest() != self._info.digest:
            raise self._damaged()

    def _damaged(self) -> IntegrityError:
        return IntegrityError(
            f"blob {self._info.digest} in {self._connection.address.url} is damaged: its content no longer matches its"
            f" digest"
        )

    def _let_go(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()  # one that was read to its end has given its connection back already
