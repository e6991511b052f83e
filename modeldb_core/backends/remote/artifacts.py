"""The artifact store on a server."""

from __future__ import annotations

import hashlib
import io
import json
import re
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, cast

from modeldb_core.backends.remote.answers import foreign_answer, load_blob, load_digests, understood
from modeldb_core.backends.remote.download import BlobReader
from modeldb_core.backends.remote.on_server import OnServer
from modeldb_core.backends.remote.parts import (
    has_blob,
    new_upload,
    put_blob,
    put_part,
    read_fully,
    remove_parts,
    split,
    stat_blob,
)
from modeldb_core.backends.remote.uploads import LostUploadError, RemoteUploads, send
from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    StoreUnavailableError,
)
from modeldb_core.stores import ArtifactStore, BlobInfo, can_seek, check_stored, protocol
from modeldb_core.stores.blob_batches import MAX_BLOBS, decode_blobs, encode_blobs, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DIGEST = re.compile(r"[0-9a-f]{64}")
_BUFFER = 1 << 16
_CHUNK = 1 << 20
_ASK_FIRST_BYTES = 1 << 16
"""What is longer is only sent where the server says that it lacks it."""
_BYTES_A_SECOND = 20_000_000
"""What a server puts together at least."""
_TURNS = 3


class RemoteArtifactStore(OnServer, ArtifactStore):
    """Blobs on a server of ModelDB, which keeps them in the artifact store that it was started with.

    Long ones go piece by piece, each of which is tried again by itself. An upload of a file that broke off goes on where it
    was, also in another process. Where the artifact store of the server takes no uploads, the pieces are blobs of their own,
    which the server joins.

    Arguments and errors are those of :class:`OnServer`.
    """

    @cached_property
    def uploads(self) -> RemoteUploads:  # type: ignore[override]
        """How content is sent piece by piece."""
        return RemoteUploads(self._connection)

    def owners(self) -> frozenset[str]:
        return self._connection.get_json("/blob-owners", load=protocol.load_owners)

    def add_owner(self, owner: str) -> None:
        self._connection.post_json("/blob-owners", {"owner": owner}, load=protocol.load_done)

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        self._claim()
        if digest is not None:
            _checked(digest)
        if can_seek(stream):
            return self._put_seekable(stream, digest)
        first = read_fully(stream, protocol.PART_BYTES)
        if len(first) < protocol.PART_BYTES:
            return self._put_seekable(io.BytesIO(first), digest)
        return self._put_stream(first, stream, digest)

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        """Return the digests of what has arrived, as the server has hashed it: those who know the contents compare them."""
        self._claim()
        digests: list[str] = []
        for group in together(contents):
            if len(group) == 1:
                digests.append(self.put(io.BytesIO(group[0])).digest)
                continue
            answer = self._connection.request("POST", "/blobs", encode_blobs(group), media_type=protocol.BYTES_TYPE)
            told = understood(self._connection.address, lambda: load_digests(json.loads(answer.body)))  # noqa: B023
            if len(told) != len(group):
                raise foreign_answer(self._connection.address)
            digests += told
        return digests

    def read_many(self, digests: Sequence[str], max_bytes: int) -> Sequence[bytes]:
        found: list[bytes] = []
        while len(found) < len(digests):
            wanted = [_checked(digest) for digest in digests[len(found) : len(found) + MAX_BLOBS]]
            data = protocol.dump_json({"digests": wanted, "max_bytes": max_bytes})
            answer = self._connection.request("POST", "/blob-contents", data)
            contents = understood(self._connection.address, lambda: decode_blobs(answer.body))  # noqa: B023
            if not 0 < len(contents) <= len(wanted):
                raise foreign_answer(self._connection.address)
            for digest, content in zip(wanted, contents, strict=False):
                if hashlib.sha256(content).hexdigest() != digest:
                    msg = f"blob {digest} of {self.url} is damaged: its content does not match its digest"
                    raise IntegrityError(msg)
            found += contents
        return found

    def _put_seekable(self, stream: BinaryIO, digest: str | None) -> BlobInfo:
        start = stream.tell()
        size = None if digest is None else _size_of_rest(stream)
        hashed = None
        if digest is None or size is None or size <= protocol.PART_BYTES:  # else the server hashes what it is sent
            hashed = _hash(stream, digest)
        info = hashed or BlobInfo(cast("str", digest), cast("int", size))
        for _ in range(_TURNS):
            if (
                info.size_bytes > _ASK_FIRST_BYTES
                and (found := self._join(info.digest, info.size_bytes, [])) is not None
            ):
                if hashed is None:
                    stream.seek(start)
                    _hash(stream, digest)
                return found
            stream.seek(start)
            if info.size_bytes <= protocol.PART_BYTES:
                return self._put_whole(info.digest, read_fully(stream, info.size_bytes))
            if (found := self._put_long(stream, start, info)) is not None:
                return found
        msg = f"blob {info.digest} could not be put into {self.url}: what was sent went away; the same call may succeed later"
        raise StoreUnavailableError(msg)

    def _put_whole(self, digest: str, content: bytes) -> BlobInfo:
        return put_blob(self._connection, BlobInfo(digest, len(content)), content)

    def _put_long(self, stream: BinaryIO, start: int, info: BlobInfo) -> BlobInfo | None:
        """Send content piece by piece, from where an earlier attempt broke off; ``None``: somebody took it away, or finished it.

        An upload has the name of its digest, so that any process finds it. Where somebody has put something else under that
        name, another one is begun.
        """
        try:
            received = self.uploads.received(info.digest)
        except NotFoundError:
            return self._put_parts(stream, info)
        try:
            return self._put_upload(info.digest, stream, start, received, info)
        except IntegrityError:
            stream.seek(start)
            _hash(stream, info.digest)
        return self._put_upload(new_upload(), stream, start, 0, info)

    def _put_upload(self, upload: str, stream: BinaryIO, start: int, received: int, info: BlobInfo) -> BlobInfo | None:
        try:
            size = send(self.uploads, upload, stream, start, received)
            return self.uploads.finish(upload, BlobInfo(info.digest, size))
        except (LostUploadError, NotFoundError):
            return None

    def _put_parts(self, stream: BinaryIO, info: BlobInfo) -> BlobInfo | None:
        """Send the parts that the server lacks, and have them joined; ``None`` where another upload took them away."""
        parts: list[str] = []
        is_resumed = True
        for part in split(stream, info.digest):
            name = hashlib.sha256(part).hexdigest()
            is_resumed = is_resumed and has_blob(self._connection, name)
            if not is_resumed:
                put_part(self._connection, part)
            parts.append(name)
        found = self._join(info.digest, info.size_bytes, parts)
        if found is not None:
            remove_parts(self._connection, parts)
        return found

    def _put_stream(self, first: bytes, stream: BinaryIO, digest: str | None) -> BlobInfo:
        """Send what cannot be read twice: the digest is known in the end only, so an upload cannot be taken up again."""
        reading, upload = _Hashing(first, stream), new_upload()
        try:
            try:
                received = self.uploads.received(upload)
            except NotFoundError:
                return self._put_stream_in_parts(reading, digest, upload)
            size = send(self.uploads, upload, cast("BinaryIO", reading), None, received)
            return self.uploads.finish(upload, reading.check(size, digest))
        except BaseException:
            with suppress(ModelDBError):
                self.uploads.discard(upload)
            raise

    def _put_stream_in_parts(self, reading: _Hashing, digest: str | None, upload: str) -> BlobInfo:
        size = 0
        parts: list[str] = []
        try:
            for part in split(cast("BinaryIO", reading), upload):
                size += len(part) - protocol.PART_HEAD_BYTES
                parts.append(put_part(self._connection, part))
            info = reading.check(size, digest)
            found = self._join(info.digest, size, parts)
        finally:
            remove_parts(self._connection, parts)
        if found is None:
            msg = f"blob {info.digest} could not be put into {self.url}: its parts went away; put it again"
            raise StoreUnavailableError(msg)
        return found

    def _join(self, digest: str, size: int, parts: list[str]) -> BlobInfo | None:
        """Have a blob made of parts, or put again where it is there; ``None`` where it is not, and parts are missing."""
        data = protocol.dump_json({"size_bytes": size, "parts": parts})
        try:
            answer = self._connection.request("POST", f"/blobs/{digest}", data, extra_s=size / _BYTES_A_SECOND)
        except NotFoundError:
            return None
        address = self._connection.address
        return check_stored(load_blob(answer.body, address), BlobInfo(digest, size), address.url)

    def open(self, digest: str) -> BinaryIO:
        reader = self._begun(digest) or BlobReader(self._connection, self.stat(digest))
        return cast("BinaryIO", io.BufferedReader(reader, _BUFFER))

    def _begun(self, digest: str) -> BlobReader | None:
        """Ask for the content at once where the server has it and tells how long it is; ``None``: ask what is known of it."""
        try:
            if self._connection.gives_urls(_checked(digest)):
                return None
            response = self._connection.open(f"/blobs/{digest}")
        except (NotFoundError, IntegrityError):
            return None
        size = response.headers.get("Content-Length", "")
        if response.headers.get("Content-Encoding") is None and size.isascii() and size.isdigit() and len(size) < 19:
            return BlobReader(self._connection, BlobInfo(digest, int(size)), response)
        response.close()
        return None

    def stat(self, digest: str) -> BlobInfo:
        try:
            found = stat_blob(self._connection, _checked(digest))
        except NotFoundError:
            msg = f"there is no blob {digest} in {self.url}"
            raise NotFoundError(msg) from None
        return found

    def list(self) -> Iterator[BlobInfo]:
        lines = self._connection.request("GET", "/blobs").body.split(b"\n")
        if lines[-2:] != [b"", b""]:
            msg = f"the list of blobs of {self.url} came without its end; the same call may succeed later"
            raise StoreUnavailableError(msg)
        for line in lines[:-2]:
            yield load_blob(line, self._connection.address)

    def delete(self, digest: str) -> None:
        self._connection.delete(f"/blobs/{_checked(digest)}")

    def url_for(self, digest: str, *, expires_s: int = 3600) -> str | None:
        return self._connection.blob_url(_checked(digest), expires_s)


class _Hashing(io.RawIOBase):
    """What was read of a stream already, and then the rest of it; hashed on the way."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first, self._stream = first, stream
        self._sha = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        if self._first:
            piece, self._first = self._first[:count], self._first[count:]
        else:
            piece = self._stream.read(count)
        self._sha.update(piece)
        return piece

    def check(self, size: int, digest: str | None) -> BlobInfo:
        """Return what was read, of so many bytes; raises IntegrityError where it is not ``digest``."""
        info = BlobInfo(self._sha.hexdigest(), size)
        _compare(info.digest, digest)
        return info


def _hash(stream: BinaryIO, digest: str | None) -> BlobInfo:
    """Hash the rest of a stream; raises IntegrityError where it is not ``digest``."""
    sha, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        sha.update(chunk)
        size += len(chunk)
    _compare(sha.hexdigest(), digest)
    return BlobInfo(sha.hexdigest(), size)


def _size_of_rest(stream: BinaryIO) -> int | None:
    """Return how much of a stream is left, and leave it where it is; ``None``: its end cannot be reached without reading."""
    start = stream.tell()
    try:
        return max(stream.seek(0, io.SEEK_END) - start, 0)
    except (OSError, ValueError):
        return None
    finally:
        stream.seek(start)


def _checked(digest: str) -> str:
    # What is not a digest could be another path of the server.
    if not _DIGEST.fullmatch(digest):
        msg = f"{digest[:80]!r} is not a digest; expected 64 hexadecimal digits in lower case"
        raise InvalidArgumentError(msg)
    return digest


def _compare(found: str, digest: str | None) -> None:
    if digest is not None and found != digest:
        msg = f"the content hashes to {found}, not to {digest} as was given; nothing is stored"
        raise IntegrityError(msg)
