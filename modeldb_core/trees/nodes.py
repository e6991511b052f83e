"""Nodes: the blobs that a tree consists of. ``docs/format.md`` gives their bytes.

A leaf holds entries, every other node what is known of its children. Both are sorted by key, and a node has one written
form, so that what is equal has one digest.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from modeldb_core.errors import IntegrityError
from modeldb_core.trees.entries import MAX_ENTRY_BYTES, MAX_OBSERVED_BYTES, MAX_SIZE, Record
from modeldb_core.trees.locations import SEPARATOR, key_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"TRE1"
MAX_LEVEL = 24
"""A tree with more levels was not made by the rule for cutting, whatever it holds."""
MAX_NODE_BYTES = 5 << 20
"""Some 20 KiB are usual. A node of the shortest entries, each with as much observed as there may be, comes to 4.3 MiB."""
MAX_ITEM_BYTES = 128 << 10
"""A node ends with the item with which its items come to so many bytes, by :func:`weight_of`."""
_ITEM, _CHILD = 64, 80
_HEAD = struct.Struct("<4sBIQQ")  # magic, level, number of items, entries below, their size
_DIGEST_BYTES = 32
_SMALL = tuple(bytes([number]) for number in range(128))


class Child(NamedTuple):
    """What a node says of one below it.

    Attributes:
        key: the last one that is below it.
        digest: SHA-256 of the node's bytes.
        content: the digest that it would have if nothing had been observed: that of its content.
        entries: how many are below.
        size_bytes: theirs together.
    """

    key: bytes
    digest: bytes
    content: bytes
    entries: int
    size_bytes: int


Item: TypeAlias = Record | Child


@dataclass(frozen=True, slots=True)
class Node:
    """A node in memory.

    Attributes:
        level: 0 of a leaf; that of the children and 1 otherwise.
        items: entries of a leaf, children otherwise; sorted by key.
        keys: of the items.
        summary: what a node above says of it. Of an empty tree the key is empty.
    """

    level: int
    items: tuple[Item, ...]
    keys: tuple[bytes, ...]
    summary: Child

    @property
    def records(self) -> tuple[Record, ...]:
        """The entries of a leaf."""
        assert self.level == 0
        return self.items  # type: ignore[return-value]  # as the level says

    @property
    def children(self) -> tuple[Child, ...]:
        """What is below another node."""
        assert self.level > 0
        return self.items  # type: ignore[return-value]  # as the level says


def weight_of(item: Item) -> int:
    """Return what an item counts for the length of its node: nothing that was observed plays a part in it."""
    if isinstance(item, Record):
        return len(item.key) + len(item.identity) + _ITEM
    return len(item.key) + _CHILD


def is_node(data: bytes) -> bool:
    """Return whether bytes look like a node: they begin like one, and are not too long."""
    return data.startswith(MAGIC) and len(data) <= MAX_NODE_BYTES


def make_node(level: int, items: Sequence[Item]) -> tuple[Node, bytes]:
    """Return a node, and its bytes."""
    data = _encode(level, items)
    return _node(level, items, data), data


def _node(level: int, items: Sequence[Item], data: bytes) -> Node:
    digest = hashlib.sha256(data).digest()
    count = sum(_entries(item) for item in items)
    key = items[-1].key if items else b""
    summary = Child(key, digest, _content(level, items, digest), count, sum(item.size_bytes for item in items))
    return Node(level, tuple(items), tuple(item.key for item in items), summary)


def _content(level: int, items: Sequence[Item], digest: bytes) -> bytes:
    bare: list[Item] = [
        item._replace(observed=b"") if isinstance(item, Record) else item._replace(digest=item.content)
        for item in items
        if (item.observed if isinstance(item, Record) else item.digest != item.content)
    ]
    if not bare:
        return digest
    by_key = {item.key: item for item in bare}
    return hashlib.sha256(_encode(level, [by_key.get(item.key, item) for item in items])).digest()


def _entries(item: Item) -> int:
    return 1 if isinstance(item, Record) else item.entries


def _encode(level: int, items: Sequence[Item]) -> bytes:
    count = sum(_entries(item) for item in items)
    parts = [_HEAD.pack(MAGIC, level, len(items), count, sum(item.size_bytes for item in items))]
    before = b""
    for item in items:
        shared = shared_length(before, item.key)
        rest = item.key[shared:]
        parts += (_number(shared), _number(len(rest)), rest)
        if isinstance(item, Record):
            parts += (_number(item.size), _number(len(item.identity)), item.identity)
            parts += (_number(len(item.observed)), item.observed)
        else:
            parts += (item.digest, b"\0" if item.content == item.digest else b"\1" + item.content)
            parts += (_number(item.entries), _number(item.size_bytes))
        before = item.key
    return b"".join(parts)


def shared_length(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common from their beginning."""
    length = min(len(one), len(other))
    differs = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (differs.bit_length() + 7) // 8


def _number(value: int) -> bytes:
    if value < 128:
        return _SMALL[value]
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


# -- reading what somebody else may have made --------------------------------------------------------------------------


def decode_node(data: bytes, expected: Child | None = None, level: int | None = None, after: bytes = b"") -> Node:
    """Return the node that ``data`` holds.

    Args:
        data: what :func:`make_node` made, here or elsewhere.
        expected: what the node above says of it; ``None`` of a root.
        level: that it has by the node above.
        after: the key before its first one in the tree.

    Raises:
        IntegrityError: it is no node, is damaged, is not in the one form that such a node has, or is not the one that
            is expected.
    """
    if not is_node(data) or len(data) < _HEAD.size:
        msg = f"it is not a node of a tree: it begins with {data[:8]!r} and has {len(data):,} bytes"
        raise IntegrityError(msg)
    _, found_level, number, count, size_bytes = _HEAD.unpack_from(data)
    if found_level > MAX_LEVEL or level not in (None, found_level):
        wanted = f"at most {MAX_LEVEL}" if level is None else str(level)
        msg = f"a node of a tree has the level {found_level}; expected {wanted}"
        raise IntegrityError(msg)
    reader = _Reader(data, _HEAD.size)
    try:
        items = _read_items(reader, found_level, number)
    except IndexError:
        msg = f"a node of a tree is cut off: {len(data):,} bytes do not hold its {number:,} items"
        raise IntegrityError(msg) from None
    if reader.at != len(data) or _encode(found_level, items) != data or (found_level and not items):
        msg = "a node of a tree is not in the form that it has to have"
        raise IntegrityError(msg)
    node = _node(found_level, items, data)
    if (node.summary.entries, node.summary.size_bytes) != (count, size_bytes) or size_bytes > MAX_SIZE:
        msg = f"a node of a tree says that {count:,} entries of {size_bytes:,} bytes are below it; its items say otherwise"
        raise IntegrityError(msg)
    if items and items[0].key <= after:
        msg = f"a node of a tree begins with {items[0].key[:80]!r}, which does not come after {after[:80]!r}"
        raise IntegrityError(msg)
    if expected is not None and node.summary != expected:
        msg = f"the node {node.summary.digest.hex()} is not what the one above says: {_difference(node.summary, expected)}"
        raise IntegrityError(msg)
    return node


def _difference(found: Child, expected: Child) -> str:
    for name, one, other in zip(Child._fields, found, expected, strict=True):
        if one != other:
            return f"its {name} is {one!r:.120}, not {other!r:.120}"
    return ""


class _Reader:
    """Takes numbers and bytes from a node; an IndexError says that it has ended."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def number(self) -> int:
        value = self._data[self.at]
        self.at += 1
        if value < 128:
            return value
        value &= 127
        for shift in range(7, 64, 7):
            part = self._data[self.at]
            self.at += 1
            value |= (part & 127) << shift
            if part < 128:
                return value
        msg = "a node of a tree holds a number of more than 64 bits"
        raise IntegrityError(msg)

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise IndexError
        found = self._data[self.at : end]
        self.at = end
        return found


def _read_items(reader: _Reader, level: int, number: int) -> list[Item]:
    items: list[Item] = []
    before, weight = b"", 0
    for _ in range(number):
        if weight >= MAX_ITEM_BYTES:  # keys that share what they begin with take far more memory than bytes of a node
            msg = f"a node of a tree goes on after {before[:80]!r}, where it has to end by its length"
            raise IntegrityError(msg)
        shared = reader.number()
        key = before[:shared] + reader.take(reader.number())
        _check_key(key, before)
        items.append(_read_child(reader, key) if level else _read_record(reader, key))
        before, weight = key, weight + weight_of(items[-1])
    return items


def _check_key(key: bytes, before: bytes) -> None:
    if key <= before:
        msg = f"the keys of a node of a tree are not in order: {key[:80]!r} follows {before[:80]!r}"
        raise IntegrityError(msg)
    if problem := key_problem(key):
        msg = f"a node of a tree has the key {key[:80]!r}, which cannot be: {problem}"
        raise IntegrityError(msg)
    if before and key.startswith(before + SEPARATOR):
        msg = f"a node of a tree has {before[:80]!r} as an entry and as a folder"
        raise IntegrityError(msg)


def _read_record(reader: _Reader, key: bytes) -> Record:
    size = reader.number()
    identity = reader.take(reader.number())
    observed = reader.take(reader.number())
    if len(identity) > MAX_ENTRY_BYTES or len(observed) > MAX_OBSERVED_BYTES or size > MAX_SIZE + 1:
        msg = f"the entry of {key[:80]!r} in a node of a tree is larger than any may be"
        raise IntegrityError(msg)
    return Record(key, size, identity, observed)


def _read_child(reader: _Reader, key: bytes) -> Child:
    digest = reader.take(_DIGEST_BYTES)
    mark = reader.take(1)
    content = reader.take(_DIGEST_BYTES) if mark == b"\1" else digest
    return Child(key, digest, content, reader.number(), reader.number())
