"""Sending content to a server piece by piece: each byte goes over the network once, and is written once there."""

from __future__ import annotations

import json
import threading
from collections import deque
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from modeldb_core.backends.remote.answers import load_blob, understood
from modeldb_core.backends.remote.parts import read_fully
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import BlobInfo, check_stored, protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from modeldb_core.backends.remote.connection import Connection

_BYTES_A_SECOND = 20_000_000
"""What a server reads again at least, where it did not see all pieces."""
_MAX_STALLS = 5
"""So many times in a row nothing may have been added before an upload is given up."""
_AHEAD = 2
"""So many pieces are on their way at once: one arrives while the server writes the one before."""
_MOST_PIECES = 16
"""So many are on their way at once of all uploads through one store: as many connections are kept."""


class RemoteUploads:
    """Uploads to a server, which may have an artifact store that takes none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.workers = Workers(_MOST_PIECES, "modeldb-piece")

    def received(self, upload: str) -> int:
        """Return how many bytes have arrived."""
        return self._connection.get_json(f"/uploads/{upload}", load=_load_received)

    def append(self, upload: str, offset: int, content: bytes | memoryview | Piece) -> int:
        """Add ``content`` where just ``offset`` bytes have arrived; return how many have arrived now."""
        answer = self._connection.request(
            "PUT", f"/uploads/{upload}", content, query={"offset": offset}, media_type=protocol.BYTES_TYPE
        )
        return understood(self._connection.address, lambda: _load_received(json.loads(answer.body)))

    def finish(self, upload: str, info: BlobInfo) -> BlobInfo:
        """Make the blob that ``info`` says of what has arrived."""
        data = protocol.dump_json({"digest": info.digest, "size_bytes": info.size_bytes})
        extra_s = info.size_bytes / _BYTES_A_SECOND
        answer = self._connection.request("POST", f"/uploads/{upload}", data, extra_s=extra_s)
        address = self._connection.address
        return check_stored(load_blob(answer.body, address), info, address.url)

    def discard(self, upload: str) -> None:
        """Remove what has arrived."""
        self._connection.delete(f"/uploads/{upload}")


class LostUploadError(StoreUnavailableError):
    """What had arrived is gone: somebody else has finished it, or given it up."""


class Piece:
    """A piece of an upload, as the body of a request: it tells when it has left this process.

    Args:
        offset: how many bytes come before it.
        content: what it holds.
    """

    answer: Future[int]

    def __init__(self, offset: int, content: bytes) -> None:
        self.content = content
        self.offset, self.end = offset, offset + len(content)
        self._has_left = threading.Event()

    def __len__(self) -> int:
        return len(self.content)

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        self._has_left.set()

    def put_on_way(self, uploads: RemoteUploads, upload: str) -> None:
        """Have it sent, and return when it has left; its ``answer`` is how many bytes have arrived then."""
        self.answer = uploads.workers.submit(partial(uploads.append, upload, self.offset, self))
        self.answer.add_done_callback(partial(_set, self._has_left))  # it may have failed
        self._has_left.wait()


def _set(event: threading.Event, _: object) -> None:
    event.set()


def send(uploads: RemoteUploads, upload: str, stream: BinaryIO, start: int | None, received: int) -> int:
    """Send what ``stream`` holds, less what has arrived; return how many bytes have arrived in all.

    Each piece leaves after the one before it, and does not wait for its answer. Should it come to the server first all the
    same, it is not added, and sent again.

    Args:
        start: where the content begins in the stream; ``None``: it cannot seek, and the upload is a new one.
        received: how many bytes have arrived.

    Raises:
        LostUploadError: what had arrived is gone.
        StoreUnavailableError: nothing more arrives.
    """
    on_way: deque[Piece] = deque()
    try:
        return _send(uploads, upload, stream, start, received, on_way)
    except Exception:
        wait([piece.answer for piece in on_way])  # else one could come after the upload was removed, and begin it again
        raise


def _send(
    uploads: RemoteUploads, upload: str, stream: BinaryIO, start: int | None, received: int, on_way: deque[Piece]
) -> int:
    if start is not None:
        stream.seek(start + received)
    at, stalls = received, 0
    again: list[bytes] = []
    while True:
        while (
            len(on_way) < _AHEAD
            and not (on_way and on_way[0].answer.done())  # where it failed, what follows it would be sent in vain
            and (content := again.pop(0) if again else read_fully(stream, protocol.PART_BYTES))
        ):
            piece = Piece(at, content)
            piece.put_on_way(uploads, upload)
            on_way.append(piece)
            at = piece.end
        if not on_way:
            return received
        before, received = received, on_way[0].answer.result()
        if received == on_way[0].end:
            on_way.popleft()
            stalls = 0
            continue
        wait([piece.answer for piece in on_way])
        received = uploads.received(upload)
        stalls = 0 if received > before else stalls + 1
        if received < before:
            msg = f"of {before:,} bytes that had arrived {received:,} are left; put it again"
            raise LostUploadError(msg)
        if stalls > _MAX_STALLS or (start is None and received > at):
            msg = f"an upload does not go on: {received:,} bytes have arrived, and {at:,} were sent; put it again"
            raise StoreUnavailableError(msg)
        again = [piece.content[max(received - piece.offset, 0) :] for piece in on_way if piece.end > received]
        on_way.clear()
        if received > at:  # somebody else sends the same content too
            stream.seek((start or 0) + received)
        at = received


def _load_received(data: dict[str, Any]) -> int:
    received = data["received_bytes"]
    if type(received) is not int or received < 0:
        msg = "it does not say how many bytes have arrived"
        raise TypeError(msg)
    return received
