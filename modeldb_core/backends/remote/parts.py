"""What is too long for one request is sent in parts, which lie in the artifact store until the whole is there."""

from __future__ import annotations

import hashlib
import io
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.backends.remote.answers import load_blob
from modeldb_core.errors import InvalidArgumentError, ModelDBError, NotFoundError
from modeldb_core.stores import BlobInfo, check_stored, protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.backends.remote.connection import Connection


@contextmanager
def stage(connection: Connection, data: bytes) -> Iterator[list[str]]:
    """Put ``data`` in parts, for a request that names them; they are removed in the end."""
    parts: list[str] = []
    try:
        for part in split(io.BytesIO(data), new_upload()):
            parts.append(put_part(connection, part))
        yield parts
    finally:
        remove_parts(connection, parts)


def new_upload() -> str:
    """Return a name for an upload that nobody can take up again."""
    return uuid.uuid4().hex * 2


def split(stream: BinaryIO, upload: str) -> Iterator[bytes]:
    """Cut what ``stream`` holds into parts.

    Args:
        upload: 64 characters that the heads of the parts carry: what is the same makes the same parts.

    Raises:
        InvalidArgumentError: there are more than a whole may have.
    """
    for _ in range(protocol.MAX_PARTS):
        piece = read_fully(stream, protocol.PART_BYTES)
        if not piece:
            return
        yield b"%s%s\n%s" % (protocol.PART_MAGIC, upload.encode(), piece)
    if stream.read(1):
        most = protocol.MAX_PARTS * protocol.PART_BYTES
        msg = f"a file of more than {most >> 30} GiB cannot go through a server; set artifact_url to a bucket"
        raise InvalidArgumentError(msg)


def read_fully(stream: BinaryIO, count: int) -> bytes:
    """Return the next ``count`` bytes, fewer only at the end: a socket may give less at a time."""
    piece = stream.read(count)
    if len(piece) == count or not piece:
        return piece
    pieces, length = [piece], len(piece)
    while length < count and (piece := stream.read(count - length)):
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces)


def put_blob(connection: Connection, info: BlobInfo, content: bytes) -> BlobInfo:
    """Put what fits into one request, and see that the server confirms it."""
    answer = connection.request("PUT", f"/blobs/{info.digest}", content, media_type=protocol.BYTES_TYPE)
    return check_stored(load_blob(answer.body, connection.address), info, connection.address.url)


def put_part(connection: Connection, part: bytes) -> str:
    """Put a part and return its digest."""
    return put_blob(connection, BlobInfo(hashlib.sha256(part).hexdigest(), len(part)), part).digest


def stat_blob(connection: Connection, digest: str) -> BlobInfo:
    """Return what the server says of a blob; raises NotFoundError, and for an answer about another blob as a put does."""
    found = load_blob(connection.request("GET", f"/blobs/{digest}/info").body, connection.address)
    return check_stored(found, BlobInfo(digest, found.size_bytes), connection.address.url)


def has_blob(connection: Connection, digest: str) -> bool:
    """Say whether a blob is there."""
    try:
        stat_blob(connection, digest)
    except NotFoundError:
        return False
    return True


def remove_parts(connection: Connection, parts: list[str]) -> None:
    """Remove parts; where that fails they stay, as blobs that nothing refers to, until garbage is collected."""
    with suppress(ModelDBError):
        for digest in parts:
            connection.delete(f"/blobs/{digest}")
