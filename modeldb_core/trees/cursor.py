"""Going through a tree in order, from any place in it to any other."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from modeldb_core.trees.nodestore import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.trees.entries import Record
    from modeldb_core.trees.nodes import Node
    from modeldb_core.trees.nodestore import NodeReader

_MOST_AHEAD = 64
"""Leaves that are read together when many follow one another."""


class Span:
    """The entries of a tree whose keys are at least ``start`` and less than ``stop``; an empty ``stop`` is the end."""

    def __init__(self, store: NodeReader, root: Node, start: bytes = b"", stop: bytes = b"") -> None:
        self._store, self._root = store, root
        self._start, self._stop = start, stop
        self._ahead = 1

    def __iter__(self) -> Iterator[Record]:
        """Iterate over them. Leaves are read one at a time at first, then more together: who asks for a few reads a few."""
        for leaf in self._leaves(self._root, b""):
            low, high = self._limits(leaf)
            yield from leaf.records[low:high]

    def measure(self) -> tuple[int, int]:
        """Return how many there are, and their size together; of what lies wholly within, only the node above is read."""
        return self._measure(self._root, b"")

    def _limits(self, node: Node) -> tuple[int, int]:
        """Return the places of the items that are not before the start, and before the stop."""
        high = bisect_left(node.keys, self._stop) if self._stop else len(node.keys)
        return bisect_left(node.keys, self._start), high

    def _leaves(self, node: Node, after: bytes) -> Iterator[Node]:
        if node.level == 0:
            yield node
            return
        at, high = self._limits(node)
        end = min(high + 1, len(node.items))  # the last one that begins before the stop
        while at < end:
            together = self._ahead if node.level == 1 else 1
            places = places_below(node, after)[at : min(at + together, end)]
            for place, below in zip(places, self._store.nodes(places), strict=True):
                yield from self._leaves(below, place.after)
            if node.level == 1:
                self._ahead = min(_MOST_AHEAD, 2 * self._ahead)
            at += len(places)

    def _measure(self, node: Node, after: bytes) -> tuple[int, int]:
        low, high = self._limits(node)
        if node.level == 0:
            return max(0, high - low), sum(record.size_bytes for record in node.records[low:high])
        count = size_bytes = 0
        for at in range(low, min(high + 1, len(node.items))):
            child, before = node.children[at], node.keys[at - 1] if at else after
            if before >= self._start and at < high:
                found = child.entries, child.size_bytes
            else:
                found = self._measure(self._store.node(child, node.level - 1, before), before)
            count, size_bytes = count + found[0], size_bytes + found[1]
        return count, size_bytes


def places_below(node: Node, after: bytes) -> list[Place]:
    """Return the places of the nodes below one, which itself comes after the key ``after``."""
    befores = (after, *node.keys)
    return [Place(child, node.level - 1, before) for child, before in zip(node.children, befores, strict=False)]


def first_key(store: NodeReader, node: Node, after: bytes) -> bytes:
    """Return the first key below a node, which comes after the key ``after``."""
    while node.level:
        node = store.node(node.children[0], node.level - 1, after)
    return node.keys[0]
