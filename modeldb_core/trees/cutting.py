"""Where a tree is cut into nodes, and the builder that does it while entries come.

A node ends after a key by that key's hash: so a tree depends on its entries alone and not on how it came to be, and an
entry more or less moves no other cut. One key in 128 ends a leaf, one in 128 of those ends the node above it too, and so on
(Merkle search trees, Auvolat and Taïani 2019, count digits of hashes in the same way). Where no key does for long, and
anyone can choose such keys, a node ends by its length.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.trees.entries import MAX_SIZE, Record
from modeldb_core.trees.locations import SEPARATOR, location_of
from modeldb_core.trees.nodes import MAX_ITEM_BYTES, Child, Item, Node, make_node, weight_of

if TYPE_CHECKING:
    from collections.abc import Callable

BITS = 7
"""Of the hash, for each level: 128 items in a node on average."""
MAX_RANK = 8
"""Levels above are cut by length alone: whoever grinds hashes does not make a tree deep."""


def rank_of(key: bytes) -> int:
    """Return up to which level a key ends nodes: with rank 0 it ends none, with 1 leaves, with 2 those above them too."""
    digest = hashlib.sha256(key).digest()
    if digest[0] >> (8 - BITS):  # as of nearly all
        return 0
    return min(MAX_RANK, (256 - int.from_bytes(digest, "big").bit_length()) // BITS)


@dataclass(slots=True)
class _Level:
    items: list[Item] = field(default_factory=list)
    weight: int = 0
    made: int = 0  # nodes of it
    held: Child | None = None  # the first of them: while it is the only one, nothing is above it


class Builder:
    """Makes the nodes of a tree of entries that come in order. Memory holds one node of each level.

    Args:
        put: takes each node and its bytes, children before those above them.
    """

    def __init__(self, put: Callable[[Node, bytes], object]) -> None:
        self._put = put
        self._levels: list[_Level] = [_Level()]
        self.last = b""
        """The key of the entry that came last."""

    def add(self, record: Record) -> None:
        """Add an entry.

        Raises:
            InvalidArgumentError: it does not come after the one before, or the one before is what it lies in.
        """
        key = record.key
        if key <= self.last:
            problem = "is there twice" if key == self.last else f"comes after {location_of(self.last)!r:.200}"
            msg = f"location {location_of(key)!r:.200} {problem}; give each once, sorted with key=modeldb_core.trees.order_of"
            raise InvalidArgumentError(msg)
        self.check_follower(key)
        self.last = key
        self._add(0, record)

    def check_follower(self, key: bytes) -> None:
        """Raise an InvalidArgumentError where the entry that came last would be the folder of what follows."""
        if self.last and key.startswith(self.last + SEPARATOR):
            msg = (
                f"{location_of(self.last)!r:.200} is both an entry and the folder of {location_of(key)!r:.200}; "
                "rename or remove one of them"
            )
            raise InvalidArgumentError(msg)

    def takes(self, level: int) -> bool:
        """Return whether a node of ``level`` of another tree, which follows now, is one of this tree as it is."""
        for below in range(level):  # more follows a node that was the only one so far
            if self._at(below).held is not None:
                self._release(below)
        return not any(each.items for each in self._levels[: level + 1])

    def add_node(self, level: int, child: Child) -> None:
        """Add all that is below a node of another tree; :meth:`takes` must have said yes."""
        self.last = child.key
        self._emit(level, child)

    def finish(self) -> Child:
        """Return the root of the tree; it has several children or is a leaf, where no node was added as it was."""
        level = 0
        while True:
            each = self._at(level)
            is_above = any(above.items or above.made for above in self._levels[level + 1 :])
            if each.items or (level == 0 and not each.made and not is_above):
                self._cut(level)
                is_above = any(above.items or above.made for above in self._levels[level + 1 :])
            if each.held is not None and not is_above:
                return each.held
            if each.held is not None:
                self._release(level)
            level += 1

    def _at(self, level: int) -> _Level:
        while len(self._levels) <= level:
            self._levels.append(_Level())
        return self._levels[level]

    def _add(self, level: int, item: Item) -> None:
        each = self._at(level)
        each.items.append(item)
        each.weight += weight_of(item)
        if each.weight >= MAX_ITEM_BYTES or rank_of(item.key) > level:
            self._cut(level)

    def _cut(self, level: int) -> None:
        each = self._at(level)
        node, data = make_node(level, each.items)
        if node.summary.size_bytes > MAX_SIZE:
            msg = (
                f"the entries of a tree come to {node.summary.size_bytes:,} bytes; at most {MAX_SIZE:,} can be counted"
            )
            raise InvalidArgumentError(msg)
        each.items, each.weight = [], 0
        self._put(node, data)
        self._emit(level, node.summary)

    def _emit(self, level: int, child: Child) -> None:
        each = self._at(level)
        each.made += 1
        if each.made == 1:
            each.held = child
            return
        if each.held is not None:
            self._release(level)
        self._add(level + 1, child)

    def _release(self, level: int) -> None:
        each = self._levels[level]
        held, each.held = each.held, None
        assert held is not None
        self._add(level + 1, held)
