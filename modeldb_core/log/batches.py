"""Batches: changes as bytes, as they travel over HTTP, lie in a bucket, and stand in a bundle.

``docs/format.md`` gives the bytes. A batch may hold changes of several streams; those of one stream come in order. What
the bytes before already say is left out: the digest of a payload that is there, and the hash of the change before where
that is the previous one of its stream in the batch.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.changes import GENESIS, SALT_BYTES, Change, payload_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC = b"CHG1"
MEDIA_TYPE = "application/vnd.modeldb.changes"
MAX_BATCH_BYTES = 256 << 20
"""How long a batch may be once unpacked: a few bytes of a stranger must not fill the memory."""
MAX_BATCH_CHANGES = 1 << 17
"""How many changes it may hold: a journal's segment has fewer, and each costs a store time, however short it is."""

_PLAIN, _DEFLATED = 0, 1
_HEAD = struct.Struct("<4sBIQ")  # magic, form, number of changes, length of the body
HEAD_BYTES = _HEAD.size
"""What :func:`measure` needs to see of a batch."""
_HAS_PAYLOAD, _FOLLOWS, _WITHHELD = 1, 2, 4
_FIXED = struct.Struct("<BQQ")
_LENGTH = struct.Struct("<I")
_HASH_BYTES = 32


def encode_changes(changes: Iterable[Change], *, compress: bool = True) -> bytes:
    """Return changes as a batch; with ``compress`` deflated, where that makes it shorter.

    Raises:
        InvalidArgumentError: a salt or hash has another length than those of the format.
    """
    parts: list[bytes] = []
    hashes: dict[str, bytes] = {}
    count = 0
    for change in changes:
        count += 1
        parts += _encode(change, hashes.get(change.stream_id, GENESIS))
        hashes[change.stream_id] = change.hash
    body = b"".join(parts)
    if compress and len(packed := zlib.compress(body, 1)) < len(body):
        return _HEAD.pack(MAGIC, _DEFLATED, count, len(body)) + packed
    return _HEAD.pack(MAGIC, _PLAIN, count, len(body)) + body


def measure(data: bytes) -> tuple[int, int]:
    """Return how many changes a batch says that it holds, and how long it says that they are, without unpacking it.

    Raises:
        IntegrityError: the bytes are not a batch.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD.size:
        msg = f"this is not a batch of changes: it begins with {data[:8]!r}; expected {MAGIC!r}"
        raise IntegrityError(msg)
    _, _, count, length = _HEAD.unpack_from(data)
    return count, length


def decode_changes(
    data: bytes, *, max_bytes: int = MAX_BATCH_BYTES, max_changes: int = MAX_BATCH_CHANGES
) -> tuple[Change, ...]:
    """Return the changes of a batch. Whether they match their hashes is not looked at: a store does that.

    Args:
        data: what :func:`encode_changes` returned.
        max_bytes: refuse a batch that is longer than this when unpacked.
        max_changes: refuse one that holds more changes.

    Raises:
        IntegrityError: the bytes are not a batch, are not what they say, or are more than they may be.
    """
    count, length = measure(data)
    if length > max_bytes:
        msg = f"a batch of changes is longer than {max_bytes:,} bytes; send it in parts"
        raise IntegrityError(msg)
    if count > max_changes:
        msg = f"a batch holds {count:,} changes; at most {max_changes:,} are read at once: send it in parts"
        raise IntegrityError(msg)
    if count * _HASH_BYTES > len(data) - HEAD_BYTES:  # each has a hash of its own, which no packing makes shorter
        msg = f"a batch of changes is damaged: {len(data):,} bytes cannot hold the {count:,} changes that it says"
        raise IntegrityError(msg)
    body = _unpacked(data[len(MAGIC)], memoryview(data)[_HEAD.size :], length)
    try:
        changes = tuple(_decode(body, count))
    except (struct.error, UnicodeDecodeError) as error:
        msg = f"a batch of changes is damaged: {error}"
        raise IntegrityError(msg) from error
    if len(changes) != count:
        msg = f"a batch of changes is damaged: it says that it holds {count:,} changes, and holds another number"
        raise IntegrityError(msg)
    return changes


def _encode(change: Change, before: bytes) -> list[bytes]:
    has_payload, follows = change.payload is not None, change.previous_hash == before
    if {len(change.hash), len(change.previous_hash), len(change.payload_digest)} != {_HASH_BYTES} or (
        has_payload and len(change.salt or b"") != SALT_BYTES
    ):
        msg = f"change {change.seq} of stream {change.stream_id} has a hash or a salt of an invalid length"
        raise InvalidArgumentError(msg)
    flags = (_HAS_PAYLOAD if has_payload else 0) | (_FOLLOWS if follows else 0) | (_WITHHELD if change.withheld else 0)
    parts = [_FIXED.pack(flags, change.seq, change.recorded_at)]
    for text in (change.stream_id, change.actor, change.action, change.kind, change.entity_id):
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    if change.payload is None:
        parts.append(change.payload_digest)
    else:
        parts += (change.salt or b"", _LENGTH.pack(len(change.payload)), change.payload)
    if not follows:
        parts.append(change.previous_hash)
    parts.append(change.hash)
    return parts


def _decode(body: bytes, count: int) -> Iterator[Change]:
    reader = _Reader(body)
    hashes: dict[str, bytes] = {}
    for _ in range(count):
        flags, seq, recorded_at = reader.unpack(_FIXED)
        stream_id, actor, action, kind, entity_id = (reader.counted().decode() for _ in range(5))
        payload = salt = None
        if flags & _HAS_PAYLOAD:
            salt, payload = reader.take(SALT_BYTES), reader.counted()
            digest = payload_digest(salt, payload)
        else:
            digest = reader.take(_HASH_BYTES)
        if payload is not None and flags & _WITHHELD:
            msg = "a change is marked as withheld, and its payload is there"
            raise struct.error(msg)
        previous = hashes.get(stream_id, GENESIS) if flags & _FOLLOWS else reader.take(_HASH_BYTES)
        hashes[stream_id] = value = reader.take(_HASH_BYTES)
        head = (stream_id, seq, recorded_at, actor, action, kind, entity_id)
        yield Change(*head, payload, salt, digest, previous, value, withheld=bool(flags & _WITHHELD))
    if reader.at != len(body):
        msg = f"there are {len(body) - reader.at:,} bytes after the last change"
        raise struct.error(msg)


def _unpacked(form: int, data: memoryview, length: int) -> bytes:
    if form == _PLAIN:
        body = bytes(data)
    elif form == _DEFLATED:
        unpacker = zlib.decompressobj()
        try:
            body = unpacker.decompress(data, length + 1)
        except zlib.error as error:
            msg = f"a batch of changes is damaged: {error}"
            raise IntegrityError(msg) from error
        if not unpacker.eof or unpacker.unused_data:
            body = b""  # it ends too early or too late
    else:
        msg = f"a batch of changes is packed in form {form}, which this version does not know; update ModelDB"
        raise IntegrityError(msg)
    if len(body) != length:
        msg = f"a batch of changes is damaged: its content is not the {length:,} bytes that it says"
        raise IntegrityError(msg)
    return body


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self.at : self.at + count]
        if len(part) < count:
            msg = f"it ends {count - len(part)} bytes too early"
            raise struct.error(msg)
        self.at += count
        return part

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        values = form.unpack_from(self._data, self.at)
        self.at += form.size
        return values

    def counted(self) -> bytes:
        (length,) = _LENGTH.unpack_from(self._data, self.at)
        self.at += _LENGTH.size
        return self.take(length)
