"""Content trees on their way from one artifact store to another: what the target has of them is not sent.

What is below a node is there if it was copied before in the same call, or if a tree that an entity of the target names has
the node too: that is not read either. That a node lies in the target says nothing of what is below it: it may have come
alone, because something mentioned it, or something below it was missing then.
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
_REMEMBERED = 200_000  # nodes that need not be looked at again, some 100 bytes each
Nested = tuple[str, str]
"""The root of a tree that an entry names, and words on where."""


class TreeCopier:
    """Copies trees with all that their entries name.

    Attributes:
        lacking: by digest, where a node or blob is needed that the source does not have.

    Args:
        blobs: copies the blobs that entries name, and knows both stores.
        whole: look at every node, also where a tree of the target has it.
    """

    def __init__(self, blobs: BlobCopier, *, whole: bool = False) -> None:
        self.lacking: dict[str, str] = {}
        self._blobs, self._whole = blobs, whole
        self._nodes = NodeReader(blobs.source)
        self._copied: dict[str, bool] = {}  # nodes that were dealt with, and whether all that is below them is there
        self._troubles = 0

    def copy(self, root: str, where: str, base: str = "") -> None:
        """Copy a tree; all of it that the source has is there when this returns.

        Args:
            root: of the tree.
            where: who names it, in words.
            base: the root of a tree that an entity of the target names: what both share is there.
        """
        if len(self._copied) > _REMEMBERED:
            self._copied.clear()
        self._copied = {digest: is_whole for digest, is_whole in self._copied.items() if is_whole}
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
        is_whole = self._copied.get(digest)
        if is_whole is False:
            self._troubles += 1
        return is_whole is None

    def _copy(self, node: Node, after: bytes, where: str, base: Node | None) -> Iterator[Nested]:
        """Copy what is below a node, and then itself."""
        if node.level == 0:
            yield from self._copy_leaves([(node, after)], where, base)
            return
        troubles = self._troubles
        known: set[bytes] = set()
        for other in self._beside(node, after, base):
            known.update(child.digest for child in other.children)
        places = [place for place in places_below(node, after) if place.child.digest not in known]
        lacking = [place for place in places if self._is_wanted(place.child.digest.hex())]
        for at in range(0, len(lacking), _TOGETHER if node.level == 1 else 1):
            some = self._read(lacking[at : at + (_TOGETHER if node.level == 1 else 1)], where)
            if node.level == 1:
                yield from self._copy_leaves(some, where, base)
            else:
                for below, before in some:
                    yield from self._copy(below, before, where, base)
        self._put([node], troubles)

    def _beside(self, node: Node, after: bytes, base: Node | None) -> Iterator[Node]:
        """Iterate over the nodes of the base in the same place."""
        if base is not None:
            yield from overlapping(self._nodes, base, node.level, after, node.summary.key)

    def _copy_leaves(self, leaves: list[tuple[Node, bytes]], where: str, base: Node | None) -> Iterator[Nested]:
        """Copy leaves together, after what their entries name."""
        troubles = self._troubles
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
                    self._troubles += 1
                    continue
                inside = f"{where}: {location_of(record.key)!r}"
                for tree in trees_in(entry):
                    yield tree, inside
                for digest in blobs_in(entry):
                    needed.setdefault(digest, inside)
        self._blobs.copy(needed)
        for digest in self._blobs.missing & needed.keys():
            self.lacking.setdefault(digest, needed[digest])
        self._troubles += sum(digest in self._blobs.missing or digest in self._blobs.damaged for digest in needed)
        self._put([leaf for leaf, _ in leaves], troubles)

    def _put(self, nodes: list[Node], troubles: int) -> None:
        """Put nodes of which all that the source has below them is there; ``troubles`` were met before that began."""
        self._blobs.put_nodes([make_node(node.level, node.items)[1] for node in nodes])
        self._copied.update((node.summary.digest.hex(), self._troubles == troubles) for node in nodes)

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
        self._troubles += 1
        if isinstance(error, NotFoundError):
            self._blobs.missing.add(digest)
            self.lacking.setdefault(digest, where)
        else:
            self._blobs.damaged[digest] = str(error)
