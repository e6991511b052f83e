"""Making a tree from another one with a few changes: what has none is taken over node by node, unread."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from modeldb_core.errors import NotFoundError
from modeldb_core.trees.cursor import first_key
from modeldb_core.trees.locations import location_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.trees.cutting import Builder
    from modeldb_core.trees.entries import Record
    from modeldb_core.trees.nodes import Child, Node
    from modeldb_core.trees.nodestore import NodeReader

Edit = tuple[bytes, "Record | None"]
"""A key, and what is to be there; ``None`` for nothing."""


class Editor:
    """Merges a tree and changes of it into a builder.

    Args:
        store: where the nodes of the tree are.
        builder: makes the new tree.
        edits: sorted by key, each key once.
    """

    def __init__(self, store: NodeReader, builder: Builder, edits: Sequence[Edit]) -> None:
        self._store, self._builder = store, builder
        self._edits = edits
        self._keys = [key for key, _ in edits]

    def run(self, root: Node) -> Child:
        """Return the root of the new tree.

        Raises:
            NotFoundError: what is to be removed is not there.
            InvalidArgumentError: a location would be an entry and a folder.
        """
        self._merge(root, b"", 0, len(self._edits))
        return self._builder.finish()

    def _merge(self, node: Node, after: bytes, low: int, high: int) -> None:
        """Add what is below a node, with the edits from ``low`` to ``high``, all that are in its place."""
        if node.level == 0:
            self._merge_leaf(node, low, high)
            return
        for at, child in enumerate(node.children):
            is_last = at == len(node.children) - 1
            end = high if is_last else bisect_right(self._keys, child.key, low, high)
            if low == end and self._builder.takes(node.level - 1):
                self._take(child, node.level - 1, after)
            else:
                self._merge(self._store.node(child, node.level - 1, after), after, low, end)
            low, after = end, child.key

    def _take(self, child: Child, level: int, after: bytes) -> None:
        last = self._builder.last
        place = bisect_left(self._keys, last)
        if place < len(self._keys) and self._keys[place] == last:  # just put: is it the folder of what follows?
            self._builder.check_follower(first_key(self._store, self._store.node(child, level, after), after))
        self._builder.add_node(level, child)

    def _merge_leaf(self, node: Node, low: int, high: int) -> None:
        for record in node.records:
            while low < high and self._keys[low] < record.key:
                self._put(low)
                low += 1
            if low < high and self._keys[low] == record.key:
                if (wanted := self._edits[low][1]) is not None:
                    self._builder.add(wanted)
                low += 1
            else:
                self._builder.add(record)
        for at in range(low, high):
            self._put(at)

    def _put(self, at: int) -> None:
        """Add an entry that was not there before."""
        key, wanted = self._edits[at]
        if wanted is None:
            msg = f"there is no {location_of(key)!r:.200} in the tree, and so nothing to remove"
            raise NotFoundError(msg)
        self._builder.add(wanted)


def lowest(store: NodeReader, root: Child) -> Child:
    """Return the lowest node that has all entries below it: one that was taken over may be more than is needed."""
    node = store.root(root.digest.hex())
    while node.level and len(node.items) == 1:
        node = store.node(node.children[0], node.level - 1, b"")
    return node.summary
