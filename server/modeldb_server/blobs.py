"""How a blob leaves the server: in pieces, checked, under a name and a type that cannot harm a browser.

A client names a run and the path under which an artifact was logged. That path is a key of the run's document, looked
up as it is; the document gives the digest, and the digest is the blob's name. No text from a client or from a document
is ever part of a path of the file system or of a bucket.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from flask import request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from modeldb_core.errors import NotFoundError
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity, ModelVersion, Run
    from modeldb_core.stores import ArtifactStore

CHUNK_BYTES = 256 * 1024
SANDBOX_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
BINARY = "application/octet-stream"

SAFE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "image/png": "image/png",
        "image/jpeg": "image/jpeg",
        "image/gif": "image/gif",
        "image/webp": "image/webp",
        "text/plain": "text/plain; charset=utf-8",
        "text/csv": "text/csv; charset=utf-8",
        "application/json": "application/json",
    }
)
"""Types that a browser shows without interpreting them. Everything else goes out as a sequence of bytes."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ASCII_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_MORE_TYPES = {".md": "text/plain", ".log": "text/plain", ".yaml": "text/plain", ".toml": "text/plain"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of an entity.

    Attributes:
        path: the key under which it was logged.
        digest: the name of the blob, 64 hexadecimal digits.
        media_type: one of :data:`SAFE_TYPES`, else :data:`BINARY`.
        size_bytes: as the blob store says, not as the document says.
        owner: whose file it is, for the access log.
    """

    path: str
    digest: str
    media_type: str
    size_bytes: int
    owner: Entity | None = None

    @property
    def is_image(self) -> bool:
        """Whether a browser can show it as a picture."""
        return self.media_type.startswith("image/")

    @property
    def file_name(self) -> str:
        """The last part of the path, without anything that a file system or a reader could take for more."""
        name = re.split(r"[/\\]", self.path)[-1]
        kept = "".join(char for char in name if unicodedata.category(char)[0] != "C" and char not in '<>:"|?*')
        return kept.strip(". ")[:200] or "artifact"


def check_digest(digest: object) -> str:
    """Return ``digest`` if it is the name of a blob; the author of the document that holds it may have written anything.

    Raises:
        NotFoundError: it is not 64 hexadecimal digits.
    """
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        return digest
    msg = "the record names no blob"
    raise NotFoundError(msg)


def find_artifact(entity: Run | ModelVersion, path: str, artifacts: ArtifactStore) -> Artifact:
    """Return the file that an entity has among its artifacts under ``path``.

    Raises:
        NotFoundError: there is none, or its blob is gone.
    """
    entry = entity.artifacts.get(path)
    if not isinstance(entry, Mapping) or "digest" not in entry:
        msg = f"the {KINDS[entity.KIND].words} has no file {path[:200]!r} among its artifacts"
        raise NotFoundError(msg)
    return find_file(path, entry, artifacts, entity)


def find_file(
    path: str, entry: Mapping[str, object], artifacts: ArtifactStore, owner: Entity | None = None
) -> Artifact:
    """Return the file that an entry of the document of an entity, or of its content tree, names.

    Raises:
        NotFoundError: it names none, or its blob is gone.
    """
    try:
        digest = check_digest(entry.get("digest"))
    except NotFoundError:
        msg = f"the record names no file at {path[:200]!r}"
        raise NotFoundError(msg) from None
    try:
        size_bytes = artifacts.stat(digest).size_bytes
    except NotFoundError:
        msg = f"the content of {path[:200]!r} is not in the artifact store: it was not uploaded yet, or was deleted"
        raise NotFoundError(msg) from None
    return Artifact(path, digest, _media_type(entry.get("media_type"), path), size_bytes, owner)


def _media_type(stated: object, path: str) -> str:
    """Return a safe type: what the document says is a claim of the one who wrote it."""
    suffix = "." + path.rpartition(".")[2].lower()
    guessed = _MORE_TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}", strict=True)[0]
    claim = stated.partition(";")[0].strip().lower() if isinstance(stated, str) and stated else guessed
    return claim if claim is not None and claim in SAFE_TYPES else BINARY


def disposition(artifact: Artifact, *, attachment: bool) -> str:
    """Return the Content-Disposition: RFC 6266, with the name in ASCII for old readers and in UTF-8 (RFC 8187)."""
    kind = "attachment" if attachment or not artifact.is_image else "inline"
    name = artifact.file_name
    ascii_name = _ASCII_NAME.sub("_", name).strip("_.") or "artifact"
    return f"{kind}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


def requested_range(digest: str, size_bytes: int) -> tuple[int, int]:
    """Return the part of a blob that is asked for, as start and stop; the whole where nothing usable is asked for.

    Several ranges in one request are answered with the whole, as RFC 9110 allows.
    """
    asked = request.range
    whole = 0, size_bytes
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return whole
    if_range = request.headers.get("If-Range")
    if if_range is not None and if_range != f'"{digest}"':
        return whole
    found = asked.range_for_length(size_bytes)
    if found is None:
        raise RequestedRangeNotSatisfiable(size_bytes)
    return found


class BlobBody(Iterator[bytes]):
    """The bytes ``start`` to ``stop`` of a blob, read in pieces from an open stream that checks what it reads.

    What lies before ``start`` is read and dropped, so that the digest can be checked wherever the range reaches the
    end, as it does for the whole blob and for a download that is taken up again. Where the content does not match,
    reading raises, and the connection ends before the announced length: a client cannot take it for complete.
    """

    def __init__(self, stream: BinaryIO, start: int, stop: int, size_bytes: int) -> None:
        self._stream = stream
        self._skip = start
        self._left = stop - start
        self._reads_end = stop == size_bytes
        self._held: bytes | None = None

    def prepare(self) -> BlobBody:
        """Read the first piece, so that a fault of it becomes an error answer and not a broken one."""
        while self._skip:
            piece = self._stream.read(min(CHUNK_BYTES, self._skip))
            self._skip = self._skip - len(piece) if piece else 0
        self._held = self._read()
        return self

    def __next__(self) -> bytes:
        """Return the next piece."""
        piece, self._held = (self._held, None) if self._held is not None else (self._read(), None)
        if not piece:
            raise StopIteration
        return piece

    def _read(self) -> bytes:
        if not self._left:
            return b""
        piece = self._stream.read(min(CHUNK_BYTES, self._left))
        self._left = self._left - len(piece) if piece else 0
        if not self._left and self._reads_end:
            self._stream.read(1)  # the end, where the stream compares digests: before the last piece goes out
        return piece

    def close(self) -> None:
        """Close the stream. Calling it twice is not an error."""
        self._stream.close()
