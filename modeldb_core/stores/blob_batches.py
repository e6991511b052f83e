"""Several small blobs in one body, as they travel between a remote store and a server. ``docs/format.md`` gives the bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from modeldb_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"BLB1"
MAX_BLOBS = 128
"""In one body."""
MAX_BYTES = 6 << 20
"""Of a body with several blobs; a single one may be longer."""
_LENGTH = struct.Struct("<I")


def encode_blobs(contents: Sequence[bytes]) -> bytes:
    """Return blobs as one body."""
    parts = [MAGIC]
    for content in contents:
        parts += (_LENGTH.pack(len(content)), content)
    return b"".join(parts)


def decode_blobs(data: bytes | memoryview) -> list[bytes]:
    """Return the blobs of a body; of a view they are views.

    Raises:
        IntegrityError: it is none, is cut off, or holds more blobs than it may.
    """
    if data[: len(MAGIC)] != MAGIC:
        msg = f"this is not a body of blobs: it begins with {bytes(data[:8])!r}; expected {MAGIC!r}"
        raise IntegrityError(msg)
    found: list[bytes] = []
    at = len(MAGIC)
    while at < len(data):
        start = at + _LENGTH.size
        if len(found) == MAX_BLOBS or start > len(data):
            msg = f"a body of blobs is cut off, or holds more than {MAX_BLOBS:,}"
            raise IntegrityError(msg)
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            msg = f"a body of blobs is cut off: it has {len(data):,} bytes, and its last blob would end at {at:,}"
            raise IntegrityError(msg)
        found.append(cast("bytes", data[start:at]))
    return found


def together(contents: Sequence[bytes]) -> list[list[bytes]]:
    """Return blobs in groups that fit into one body each."""
    groups: list[list[bytes]] = []
    size = 0
    for content in contents:
        if not groups or len(groups[-1]) == MAX_BLOBS or size + len(content) > MAX_BYTES - 1024:
            groups.append([])
            size = 0
        groups[-1].append(content)
        size += len(content)
    return groups
