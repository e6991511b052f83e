"""Sending content to a server piece by piece: each byte goes over the network once, and is written once there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from modeldb_core.backends.remote.answers import load_blob, understood
from modeldb_core.backends.remote.parts import read_fully
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.stores import BlobInfo, check_stored, protocol

if TYPE_CHECKING:
    from modeldb_core.backends.remote.connection import Connection
    from modeldb_core.stores import Uploads

_BYTES_A_SECOND = 20_000_000
"""What a server reads again at least, where it did not see all pieces."""
_MAX_STALLS = 5
"""So many pieces in a row may add nothing before an upload is given up."""


class RemoteUploads:
    """Uploads to a server, which may have an artifact store that takes none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def received(self, upload: str) -> int:
        """Return how many bytes have arrived."""
        return self._connection.get_json(f"/uploads/{upload}", load=_load_received)

    def append(self, upload: str, offset: int, content: bytes | memoryview) -> int:
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


def send(uploads: Uploads, upload: str, stream: BinaryIO, start: int | None, received: int) -> int:
    """Send what ``stream`` holds, less what has arrived; return how many bytes have arrived in all.

    Args:
        start: where the content begins in the stream; ``None``: it cannot seek, and the upload is a new one.
        received: how many bytes have arrived.

    Raises:
        LostUploadError: what had arrived is gone.
        StoreUnavailableError: nothing more arrives.
    """
    at = most = received
    if start is not None:
        stream.seek(start + at)
    stalls, piece = 0, b""
    while piece := piece or read_fully(stream, protocol.PART_BYTES):
        received = uploads.append(upload, at, piece)
        stalls = 0 if received > most else stalls + 1
        most = max(most, received)
        if stalls > _MAX_STALLS or (start is None and received > at + len(piece)):
            msg = f"an upload does not go on: {received:,} bytes have arrived, and {at + len(piece):,} were sent; put it again"
            raise StoreUnavailableError(msg)
        if received < at:
            msg = f"of {at:,} bytes that had arrived {received:,} are left; put it again"
            raise LostUploadError(msg)
        if received > at + len(piece):  # somebody else sends the same content too
            stream.seek((start or 0) + received)
            piece = b""
        else:
            piece = piece[received - at :]  # some of it is left where a server was stopped while it wrote
        at = received
    return at


def _load_received(data: dict[str, Any]) -> int:
    received = data["received_bytes"]
    if type(received) is not int or received < 0:
        msg = "it does not say how many bytes have arrived"
        raise TypeError(msg)
    return received
