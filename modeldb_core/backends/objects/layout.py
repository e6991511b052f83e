"""How a store lies in a bucket: the names of its objects, and what is in them.

``docs/stores/objects.md`` says it for people. Every object is written once, under a name that nobody else writes:

- ``streams/<stream>/<first>-<last>-<stamp>-<hash>.chg``: changes of one stream, as one batch was applied.
- ``packs/<time>.<unique>.<from>.<to>.pck``: changes of several streams, in parts: a batch that spans streams, or what
  compaction put together. ``from`` and ``to`` are the lowest and the highest stream in it.
- ``packs/-<number>.chg``: a part that was applied under conditions; ``deciding`` says how. (So that one listing shows
  these and the packs; "-" sorts before all of those.)
- ``packs/-names``: containers were renamed or created under other identifiers than those that follow from their names.
- ``packs/<zeros>.<unique>.store``: says that there is a store, and distinguishes it from one that had the same place before.
  A later format of all this will have ``.store-2`` there.

A *part* is what one ``apply`` wrote, and is taken whole or not at all. Its *stamp* orders it among all others: the
writer's clock in microseconds, or one more than the highest stamp that the writer had seen.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import IntegrityError
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import MAX_TIME_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modeldb_core.log.changes import Change

STREAMS, PACKS = "streams/", "packs/"
_MARKER = ".store"
_NEWER = re.compile(r"packs/[0-9a-f]{16}\.[0-9a-f]{32}\.store-([0-9]{1,9})")
_MAGIC = b"PCK1"
_LENGTH = struct.Struct("<I")
_MAX_BYTES = 1 << 31  # of changes in one object, unpacked
_MAX_CHANGES = 1 << 24
_MIN_HEAD_BYTES, _MAX_HEAD_TIMES = 1 << 12, 100  # a head unpacked; stamps of parts differ, so it packs less than that
MAX_STAMP = MAX_TIME_US
"""Of a part: anyone who writes after it takes no higher one, so that a stranger's stamp keeps nobody from writing."""
_PLAIN = re.compile(r"[0-9A-Za-z_-]{1,120}")
_STREAM_OBJECT = re.compile(r"streams/([^/]+)/([0-9]{1,19})-([0-9]{1,19})-([0-9a-f]{16})-([0-9a-f]{16})\.chg")
_DECISION = re.compile(r"packs/-([0-9]{12})\.chg")
NAMES = "packs/-names"
DECISIONS_LIKE = "packs/-%"
"""As SQL compares names: decisions, and no pack."""
_PACK = re.compile(r"packs/([0-9a-f]{16})\.([0-9a-f]{32})\.([^./]+)\.([^./]+)\.pck")


@dataclass(frozen=True, slots=True)
class Part:
    """What one ``apply`` wrote.

    Attributes:
        stamp: its place among all parts.
        changes: what it holds.
    """

    stamp: int
    changes: tuple[Change, ...]

    @property
    def tie(self) -> str:
        """Orders parts of equal stamp."""
        return self.changes[-1].hash.hex()[:16]

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return the first and the last number of each stream in it."""
        found: dict[str, tuple[int, int]] = {}
        for change in self.changes:
            first, last = found.get(change.stream_id, (change.seq, change.seq))
            found[change.stream_id] = min(first, change.seq), max(last, change.seq)
        return found


def folder_of(stream_id: str) -> str:
    """Return the name under which a stream lies; one that could not be part of a path goes by its digest."""
    return stream_id if _PLAIN.fullmatch(stream_id) else f"~{hashlib.sha256(stream_id.encode()).hexdigest()}"


def is_pack(name: str) -> bool:
    """Return whether an object holds parts of several streams."""
    return _PACK.fullmatch(name) is not None


def is_marker(name: str) -> bool:
    """Return whether an object only says that there is a store."""
    return name.startswith(PACKS) and name.endswith(_MARKER)


def newer_format(names: Iterable[str]) -> int | None:
    """Return the number of a format that this version does not know, where there is one."""
    matches = (_NEWER.fullmatch(name) for name in names)
    return max((int(match[1]) for match in matches if match), default=None)


def is_known(name: str) -> bool:
    """Return whether an object holds changes; others below the same prefix are not ours."""
    return is_pack(name) or _STREAM_OBJECT.fullmatch(name) is not None or number_of_decision(name) is not None


def decision_name(number: int) -> str:
    """Return the name of a decision, from 1."""
    return f"{PACKS}-{number:012d}.chg"


def number_of_decision(name: str) -> int | None:
    """Return the number of a decision, ``None`` for other objects."""
    match = _DECISION.fullmatch(name)
    return int(match[1]) if match else None


def pack_of_decision(part: Part | None) -> bytes:
    """Return the content of a decision; ``None``: a pack holds what it was, and the number stays taken."""
    return _pack([] if part is None else [part])


def may_hold(pack: str, folder: str) -> bool:
    """Return whether a pack can hold changes of a stream."""
    match = _PACK.fullmatch(pack)
    return match is not None and match[3] <= folder <= match[4]


def new_marker() -> str:
    """Return the name of a marker."""
    return f"{PACKS}{0:016x}.{uuid.uuid4().hex}{_MARKER}"


def object_of(part: Part) -> tuple[str, bytes]:
    """Return name and content of the object for what one ``apply`` writes."""
    ranges = part.ranges()
    if len(ranges) > 1:
        return pack_of([part], part.stamp)
    ((stream_id, (first, last)),) = ranges.items()
    content = _pack([part])
    name = f"{STREAMS}{folder_of(stream_id)}/{first:010d}-{last:010d}-{part.stamp:016x}-{_digest(content)}.chg"
    return name, content


def pack_of(parts: Sequence[Part], time: int) -> tuple[str, bytes]:
    """Return name and content of a pack; the name is new each time, so that nobody can have planned to delete it."""
    folders = sorted({folder_of(stream_id) for part in parts for stream_id in part.ranges()})
    content = _pack(parts)
    name = f"{PACKS}{time:016x}.{uuid.uuid4().hex[:16]}{_digest(content)}.{folders[0]}.{folders[-1]}.pck"
    return name, content


def _pack(parts: Sequence[Part]) -> bytes:
    head = zlib.compress(json.dumps([[part.stamp, len(part.changes)] for part in parts]).encode())
    content = encode_changes(change for part in parts for change in part.changes)
    return b"".join((_MAGIC, _LENGTH.pack(len(head)), head, content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def parts_of(name: str, content: bytes) -> list[Part]:
    """Return what an object holds. Whether the changes match their hashes is not looked at.

    Raises:
        IntegrityError: the content is damaged, or not what the name says.
    """
    parts = _unpack(content)
    _check_name(name, content, parts)
    return parts


def _check_name(name: str, content: bytes, parts: Sequence[Part]) -> None:
    """See that a name says what its object holds: renaming one would give it another place in the order of all.

    Raises:
        IntegrityError: it says something else.
    """
    ranges = [part.ranges() for part in parts]
    folders = sorted({folder_of(stream_id) for of_part in ranges for stream_id in of_part})
    if (match := _STREAM_OBJECT.fullmatch(name)) is not None:
        said: object = match[1], int(match[2]), int(match[3]), int(match[4], 16), match[5]
        ends = [end for of_part in ranges for end in of_part.values()]
        held: object = (folders[0], *ends[0], parts[0].stamp, _digest(content)) if len(ends) == 1 else None
    elif (match := _PACK.fullmatch(name)) is not None:
        said = match[2][16:], match[3], match[4]
        held = (_digest(content), folders[0], folders[-1]) if folders else None
    else:
        return
    if said != held:
        msg = f"its name says {said}, and it holds {held}: it was renamed or altered"
        raise IntegrityError(msg)


def _unpack(content: bytes) -> list[Part]:
    start = len(_MAGIC) + _LENGTH.size
    try:
        if content[: len(_MAGIC)] != _MAGIC:
            msg = f"it begins with {content[:4]!r}; expected {_MAGIC!r}"
            raise IntegrityError(msg)
        (size,) = _LENGTH.unpack(content[len(_MAGIC) : start])
        counted = _counted(content[start : start + size])
    except (struct.error, zlib.error, ValueError, TypeError, RecursionError) as error:
        msg = f"its head is damaged: {error}"
        raise IntegrityError(msg) from error
    changes = decode_changes(content[start + size :], max_bytes=_MAX_BYTES, max_changes=_MAX_CHANGES)
    if sum(count for _, count in counted) != len(changes) or any(count < 1 for _, count in counted):
        msg = f"it holds {len(changes)} changes, which are not as many as its head says"
        raise IntegrityError(msg)
    parts, at = [], 0
    for stamp, count in counted:
        parts.append(Part(stamp, changes[at : at + count]))
        at += count
    return parts


def _counted(data: bytes) -> list[tuple[int, int]]:
    """Return stamp and number of changes of every part, as the head of an object says them."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, _MAX_HEAD_TIMES * len(data) + _MIN_HEAD_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        msg = "it does not end where it should"
        raise ValueError(msg)
    counted = [(stamp, count) for stamp, count in json.loads(text)]
    for stamp, count in counted:
        if type(stamp) is not int or type(count) is not int or not (0 <= stamp <= MAX_STAMP and count > 0):
            msg = f"it names a part of {str(count)[:40]} changes with the stamp {str(stamp)[:40]}"
            raise ValueError(msg)
    return counted


def pack_time(name: str) -> int:
    """Return the time in the name of a pack."""
    match = _PACK.fullmatch(name)
    return int(match[1], 16) if match else 0


def range_of(name: str) -> tuple[int, int] | None:
    """Return the first and the last number that the name of a stream's object tells."""
    match = _STREAM_OBJECT.fullmatch(name)
    return (int(match[2]), int(match[3])) if match else None


def gaps(ranges: Iterable[tuple[int, int]], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Iterate over the numbers from ``first`` to ``last`` that are in none of the ranges, as ranges."""
    at = first
    for start, end in sorted(ranges):
        if start > min(at, last):
            yield at, min(start - 1, last)
        at = max(at, end + 1)
        if at > last:
            return
    if at <= last:
        yield at, last
