"""The artifact store for other processes.

A request body is held in memory, so what is longer than a part comes in several requests. Each part is put as a blob of
its own, in the same artifact store, with a head that no other blob has; then the whole is made of them. So an upload
can be taken up again by any server on the same stores, and the parts that are left of one that was given up are blobs
that nothing refers to, which ``modeldb gc`` removes.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from contextlib import suppress
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from flask import Response, request

from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.stores import REFRESH_S, protocol, put_together
from modeldb_core.stores.blob_batches import MAX_BYTES, decode_blobs, encode_blobs
from modeldb_server.access import note_read
from modeldb_server.blobs import CHUNK_BYTES, SANDBOX_POLICY, BlobBody, check_digest, requested_range
from modeldb_server.bodies import whole
from modeldb_server.errors import refuse
from modeldb_server.responses import dump_json, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.stores import ArtifactStore, BlobInfo
    from modeldb_server.context import ServerContext

_LINES = 500
_AT_ONCE = 8  # that are read together: memory holds them, however large they turn out


class JoinedParts(io.RawIOBase):
    """Reads the content of parts one after the other, without their heads, as one file.

    How long it is, is asked of the store only when somebody wants to know its end, or jumps.
    """

    def __init__(self, artifacts: ArtifactStore, digests: tuple[str, ...]) -> None:
        self._artifacts = artifacts
        self._digests = [_checked(digest) for digest in digests]
        self._next = self._at = 0
        self._part: BinaryIO | None = None
        self._ends: list[int] | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        """Read some bytes into ``buffer``."""
        while self._part is not None or self._next < len(self._digests):
            if self._part is None:
                self._part = self._opened(self._digests[self._next])
                self._next += 1
            piece = self._part.read(len(buffer))
            if piece:
                buffer[: len(piece)] = piece
                self._at += len(piece)
                return len(piece)
            self._close_part()
        return 0

    def seekable(self) -> bool:
        """Say that it can go anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; one behind the end is the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        target = max(0, offset + (self._part_ends()[-1] if base is None else base))
        if target == self._at:
            return target
        self._close_part()
        self._next = self._at = 0
        if target:
            ends = self._part_ends()
            self._at = min(target, ends[-1])
            self._next = bisect_right(ends, self._at) - 1
            inside = self._at - ends[self._next]
            if inside:
                self._part = self._opened(self._digests[self._next])
                self._part.seek(protocol.PART_HEAD_BYTES + inside)
                self._next += 1
        return self._at

    def _part_ends(self) -> list[int]:
        """Return 0 and the positions at which the parts end."""
        if self._ends is None:
            sizes = (self._artifacts.stat(digest).size_bytes for digest in self._digests)
            self._ends = list(accumulate((max(size - protocol.PART_HEAD_BYTES, 0) for size in sizes), initial=0))
        return self._ends

    def _opened(self, digest: str) -> BinaryIO:
        part = self._artifacts.open(digest)
        if not part.read(protocol.PART_HEAD_BYTES).startswith(protocol.PART_MAGIC):
            part.close()
            msg = f"the blob {digest} is not part of another"
            raise InvalidArgumentError(msg)
        return part

    def close(self) -> None:
        """Close the part that is open."""
        self._close_part()
        super().close()

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None


def list_blobs(context: ServerContext) -> Response:
    """Return every blob on a line."""

    def lines() -> Iterator[bytes]:
        held: list[bytes] = []
        for info in context.artifacts.list():
            held.append(dump_json(protocol.dump_blob(info)))
            if len(held) == _LINES:
                yield b"\n".join(held) + b"\n"
                held.clear()
        yield b"".join(line + b"\n" for line in held) + b"\n"  # the empty line says that this is all

    return Response(lines(), content_type="application/x-ndjson")


def list_owners(context: ServerContext) -> Response:
    """Return the other stores of runs that keep files in the artifact store of this server."""
    return json_response({"owners": sorted(context.artifacts.owners() - {context.artifacts.owner})})


def add_owner(context: ServerContext, *, owner: str) -> Response:
    """Note that another store of runs keeps files here."""
    context.artifacts.add_owner(owner)
    return json_response({"done": True})


def read_blob(context: ServerContext, *, digest: str) -> Response:
    """Return the bytes of a blob."""
    size_bytes = context.artifacts.stat(_checked(digest)).size_bytes
    note_read(digest)
    start, stop = requested_range(digest, size_bytes)
    stream = context.artifacts.open(digest)
    try:
        body = BlobBody(stream, start, stop, size_bytes)
        response = Response(body if request.method == "HEAD" else body.prepare(), direct_passthrough=True)
    except BaseException:
        stream.close()
        raise
    response.content_length = stop - start
    response.content_type = protocol.BYTES_TYPE
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = "attachment"
    response.headers["Content-Security-Policy"] = SANDBOX_POLICY
    if (start, stop) != (0, size_bytes):
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
    return response


def describe_blob(context: ServerContext, *, digest: str) -> Response:
    """Return what is known of a blob."""
    return json_response(protocol.dump_blob(context.artifacts.stat(_checked(digest))))


def get_blob_url(context: ServerContext, *, digest: str, expires_s: int) -> Response:
    """Return where the blob can be fetched without this server; only what another machine can open."""
    context.artifacts.stat(_checked(digest))
    url = context.artifacts.url_for(digest, expires_s=expires_s)
    note_read(digest, size_bytes=0)  # who has the address may read it elsewhere, which nobody sees
    return json_response({"url": url if url is not None and url.startswith(("http://", "https://")) else None})


def put_blob(context: ServerContext, *, digest: str, content: BinaryIO) -> Response:
    """Put what the body holds."""
    try:
        # It is in memory already, and a store that finds the blob damaged has to read it twice.
        info = context.artifacts.put(io.BytesIO(content.read()), digest=_checked(digest))
    except IntegrityError as error:
        return refuse(error)
    return json_response(protocol.dump_blob(info))


def put_blobs(context: ServerContext, *, content: BinaryIO) -> Response:
    """Put each of the blobs in the body."""
    try:
        digests = put_together(context.artifacts, decode_blobs(whole(content)))
    except IntegrityError as error:
        return refuse(error)
    return json_response({"digests": digests})


def read_blobs(context: ServerContext, *, digests: tuple[str, ...], max_bytes: int) -> Response:
    """Return the bytes of blobs, of the first ones where they are many bytes."""
    found: list[bytes] = []
    size = 0
    for at in range(0, len(digests), _AT_ONCE):
        contents = context.artifacts.read_many([_checked(digest) for digest in digests[at : at + _AT_ONCE]], max_bytes)
        found += contents
        size += sum(map(len, contents))
        if size >= MAX_BYTES:
            break
    for digest, each in zip(digests, found, strict=False):
        note_read(digest, size_bytes=len(each))
    response = Response(encode_blobs(found), content_type=protocol.BYTES_TYPE)
    response.headers["Content-Disposition"] = "attachment"
    response.headers["Content-Security-Policy"] = SANDBOX_POLICY
    return response


def join_blob(context: ServerContext, *, digest: str, size_bytes: int, parts: tuple[str, ...]) -> Response:
    """Put what the parts hold; where the blob is there already, see that it counts as put now."""
    artifacts = context.artifacts
    with suppress(NotFoundError, IntegrityError):  # one that is damaged is replaced
        info = artifacts.stat(_checked(digest))
        if info.size_bytes == size_bytes:
            return json_response(protocol.dump_blob(_renewed(artifacts, info)))
    if not parts and size_bytes:
        msg = f"there is no blob {digest} of {size_bytes:,} bytes"
        raise NotFoundError(msg)
    try:
        with io.BufferedReader(JoinedParts(artifacts, parts), CHUNK_BYTES) as stream:
            info = artifacts.put(cast("BinaryIO", stream), digest=digest)
    except IntegrityError as error:
        return refuse(error)
    return json_response(protocol.dump_blob(info))


def _renewed(artifacts: ArtifactStore, info: BlobInfo) -> BlobInfo:
    """Put a blob again that is not young: the store keeps the contract only for what passes through ``put``."""
    if info.modified_at is None or (datetime.now(UTC) - info.modified_at).total_seconds() < REFRESH_S / 2:
        return info
    with artifacts.open(info.digest) as stream:
        return artifacts.put(stream, digest=info.digest)


def delete_blob(context: ServerContext, *, digest: str) -> Response:
    """Remove a blob."""
    context.artifacts.delete(_checked(digest))
    return json_response({"done": True})


def _checked(digest: str) -> str:
    try:
        return check_digest(digest)
    except NotFoundError:
        msg = f"{digest[:80]!r} is not a digest; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg) from None
