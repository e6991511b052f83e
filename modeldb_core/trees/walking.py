"""Going through all nodes of trees, each once: for what follows blobs, such as garbage collection, copies and audits."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.errors import IntegrityError, ModelDBError, NotFoundError
from modeldb_core.trees.cursor import places_below
from modeldb_core.trees.cutting import rank_of
from modeldb_core.trees.locations import location_of
from modeldb_core.trees.nodes import MAX_ITEM_BYTES, weight_of
from modeldb_core.trees.nodestore import NodeReader, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.stores.reading import ReadableBlobs
    from modeldb_core.trees.nodes import Node

_TOGETHER = 64
"""Leaves that are read together."""


class Visit(NamedTuple):
    """A node that a walk came to.

    Attributes:
        digest: of the node.
        node: ``None`` where it cannot be read.
        error: why.
        after: the key before its first one.
        last: its last key; empty of a root that cannot be read.
        is_root: whether it is one.
        is_last: whether no node of its level follows.
    """

    digest: str
    node: Node | None
    error: ModelDBError | None
    after: bytes
    last: bytes
    is_root: bool = False
    is_last: bool = True

    @property
    def where(self) -> str:
        """What lies below it, in words."""
        if self.is_root:
            return "all of it"
        first = f"after {location_of(self.after)!r:.300} " if self.after else ""
        return f"what comes {first}up to {location_of(self.last)!r:.300}"


class Walk:
    """Walks through trees, and passes over the nodes that it has read. Memory holds the digests of those.

    Args:
        blobs: where the nodes are; they are read anew.
    """

    def __init__(self, blobs: ReadableBlobs) -> None:
        self._nodes = NodeReader(blobs, cache_bytes=0)
        self._seen: set[bytes] = set()

    def visit(self, root: str) -> Iterator[Visit]:
        """Iterate over the nodes of a tree that were not seen before, each before those below it.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        if not self._is_new(bytes.fromhex(root)):
            return
        try:
            node = self._nodes.root(root)
        except (NotFoundError, IntegrityError) as error:
            self._seen.discard(bytes.fromhex(root))
            yield Visit(root, None, error, b"", b"", is_root=True)
            return
        yield Visit(root, node, None, b"", node.summary.key, is_root=True)
        yield from self._below(node, b"", is_last=True)

    def _below(self, node: Node, after: bytes, *, is_last: bool) -> Iterator[Visit]:
        if node.level == 0:
            return
        places = [place for place in places_below(node, after) if self._is_new(place.child.digest)]
        together = _TOGETHER if node.level == 1 else 1
        for at in range(0, len(places), together):
            some = places[at : at + together]
            for place, (below, error) in zip(some, self._read(some), strict=True):
                ends = is_last and place.child is node.items[-1]
                key = place.child.key
                yield Visit(place.child.digest.hex(), below, error, place.after, key, is_last=ends)
                if below is not None:
                    yield from self._below(below, place.after, is_last=ends)
                else:
                    self._seen.discard(place.child.digest)  # every tree that needs it is told

    def _is_new(self, digest: bytes) -> bool:
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def _read(self, places: list[Place]) -> list[tuple[Node | None, ModelDBError | None]]:
        try:
            return [(node, None) for node in self._nodes.nodes(places)]
        except (NotFoundError, IntegrityError) as error:
            if len(places) == 1:
                return [(None, error)]
            return [self._read([place])[0] for place in places]


def overlapping(nodes: NodeReader, root: Node, level: int, after: bytes, last: bytes) -> Iterator[Node]:
    """Iterate over the nodes of a level below which there may be keys greater than ``after`` and not than ``last``."""
    waiting = [(root, b"")]
    while waiting:
        node, before = waiting.pop()
        if node.level == level:
            yield node
        elif node.level > level:
            low, high = bisect_right(node.keys, after), bisect_left(node.keys, last)
            places = places_below(node, before)[low : high + 1]
            found = nodes.nodes(places)
            waiting += [(below, place.after) for place, below in zip(places, found, strict=True)]


def cut_problem(visit: Visit) -> str:
    """Return how a node contradicts the rule by which trees are cut; empty where it does not."""
    node = visit.node
    assert node is not None
    if visit.is_root and node.level and len(node.items) == 1:
        return "the root has a single node below it"
    weight = 0
    for at, item in enumerate(node.items):
        weight += weight_of(item)
        ends = weight >= MAX_ITEM_BYTES or rank_of(item.key) > node.level
        if ends and at < len(node.items) - 1:
            return f"it goes on after {location_of(item.key)!r:.200}, where it has to end"
        if not ends and at == len(node.items) - 1 and not visit.is_last:
            return f"it ends with {location_of(item.key)!r:.200}, where it has to go on"
    return ""
