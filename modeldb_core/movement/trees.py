"""Content trees on their way from one artifact store to another: what the target has of them is neither read nor sent.

A node is put after all that is below it. So what is there and was put lately is whole, and its nodes need not be looked at;
nor do those of a tree that an entity of the target names. What lies there for longer may be garbage that is about to be
collected: it is put again, and so are the nodes below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import IntegrityError, ModelDBError, NotFoundError
from modeldb_core.trees import blobs_in, trees_in
from modeldb_core.trees.cursor import places_below
from modeldb_core.trees.entries import entry_of
from modeldb_core.trees.locations import location_of
from modeldb_core.trees.nodes import make_node
from modeldb_core.trees.nodestore import NodeReader, Place
from modeldb_core.trees.walking import overlapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.movement.blobs import BlobCopier
    from modeldb_core.trees.entries import Record
    from modeldb_core.trees.nodes import Node

_TOGETHER = 64
Nested = tuple[str, str]
"""The root of a tree that an entry names, and words on where."""


class TreeCopier:
    """Copies trees with all that their entries name.

    Attributes:
        lacking: by digest, where a node or blob is needed that the source does not have.

    Args:
        blobs: copies the blobs that entries name, and knows both stores.
        whole: look at every node, also below those that must be whole.
    """

    def __init__(self, blobs: BlobCopier, *, whole: bool = False) -> None:
        self.lacking: dict[str, str] = {}
        self._blobs, self._whole = blobs, whole
        self._nodes = NodeReader(blobs.source)

    def copy(self, root: str, where: str, base: str = "") -> None:
        """Copy a tree; all of it that the source has is there when this returns.

        Args:
            root: of the tree.
            where: who names it, in words.
            base: the root of a tree that an entity of the target names: what both share is there.
        """
        waiting = [self._tree(root, where, self._base(base))]
        while waiting:  # a tree in a tree in a tree: no stack of calls is as deep as a stranger makes that
            try:
                nested, inside = next(waiting[-1])
            except StopIteration:
                waiting.pop()
            else:
                waiting.append(self._tree(nested, inside, None))

    def _base(self, root: str) -> Node | None:
        try:
            return self._nodes.root(root) if root and not self._whole else None
        except (NotFoundError, IntegrityError):
            return None

    def _tree(self, root: str, where: str, base: Node | None) -> Iterator[Nested]:
        if not self._is_wanted(root):
            return
        try:
            node = self._nodes.root(root)
        except (NotFoundError, IntegrityError) as error:
            self._note(root, where, error)
            return
        yield from self._copy(node, b"", where, base)

    def _is_wanted(self, digest: str) -> bool:
        if self._blobs.has_seen(digest):
            return False
        return self._whole or not self._blobs.is_safe(digest)

    def _copy(self, node: Node, after: bytes, where: str, base: Node | None) -> Iterator[Nested]:
        """Copy what is below a node, and then itself."""
        if node.level == 0:
            yield from self._copy_leaves([(node, after)], where, base)
            return
        known: set[bytes] = set()
        for other in self._beside(node, after, base):
            known.update(child.digest for child in other.children)
        places = [place for place in places_below(node, after) if place.child.digest not in known]
        wanted = self._blobs.map(self._is_wanted, [place.child.digest.hex() for place in places])
        lacking = [place for place, is_wanted in zip(places, wanted, strict=True) if is_wanted]
        for at in range(0, len(lacking), _TOGETHER if node.level == 1 else 1):
            some = self._read(lacking[at : at + (_TOGETHER if node.level == 1 else 1)], where)
            if node.level == 1:
                yield from self._copy_leaves(some, where, base)
            else:
                for below, before in some:
                    yield from self._copy(below, before, where, base)
        self._blobs.put_nodes([make_node(node.level, node.items)[1]])

    def _beside(self, node: Node, after: bytes, base: Node | None) -> Iterator[Node]:
        """Iterate over the nodes of the base in the same place."""
        if base is not None:
            yield from overlapping(self._nodes, base, node.level, after, node.summary.key)

    def _copy_leaves(self, leaves: list[tuple[Node, bytes]], where: str, base: Node | None) -> Iterator[Nested]:
        """Copy leaves together, after what their entries name."""
        needed: dict[str, str] = {}
        for leaf, after in leaves:
            known: set[Record] = set()
            for other in self._beside(leaf, after, base):
                known.update(other.records)
            for record in leaf.records:
                if record in known:
                    continue
                try:
                    entry = entry_of(record)
                except IntegrityError as error:
                    self._blobs.damaged[leaf.summary.digest.hex()] = str(error)
                    continue
                inside = f"{where}: {location_of(record.key)!r}"
                for tree in trees_in(entry):
                    yield tree, inside
                for digest in blobs_in(entry):
                    needed.setdefault(digest, inside)
        self._blobs.copy(needed)
        for digest in self._blobs.missing & needed.keys():
            self.lacking.setdefault(digest, needed[digest])
        self._blobs.put_nodes([make_node(0, leaf.items)[1] for leaf, _ in leaves])

    def _read(self, places: list[Place], where: str) -> list[tuple[Node, bytes]]:
        """Return those of some nodes that can be read, and note the others."""
        try:
            return [(node, place.after) for node, place in zip(self._nodes.nodes(places), places, strict=True)]
        except (NotFoundError, IntegrityError) as error:
            if len(places) > 1:
                return [found for place in places for found in self._read([place], where)]
            last = location_of(places[0].child.key)
            self._note(places[0].child.digest.hex(), f"{where}: what comes up to {last!r:.300}", error)
            return []

    def _note(self, digest: str, where: str, error: ModelDBError) -> None:
        if isinstance(error, NotFoundError):
            self._blobs.missing.add(digest)
            self.lacking.setdefault(digest, where)
        else:
            self._blobs.damaged[digest] = str(error)
