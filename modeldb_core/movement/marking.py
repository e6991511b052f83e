"""Which blobs are to be kept: what entities mention, and what the content trees mention that they name."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.changes import is_understood
from modeldb_core.model.links import trees_of
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import decode, encode
from modeldb_core.movement.deletion import pages
from modeldb_core.movement.logs import changes_of
from modeldb_core.movement.references import likely_trees_of, looks_like_a_node, mentioned_in
from modeldb_core.queries import Query
from modeldb_core.trees import trees_in
from modeldb_core.trees.walking import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_core.trees.walking import Visit

DOCUMENTS = 100  # in a page: some are large
_KEPT = 1000


class Mentioned:
    """The digests that are mentioned, by their first 8 bytes: two that share them keep each other, which does no harm."""

    def __init__(self) -> None:
        self._fresh = array("Q")
        self._sorted: Any = None

    def add(self, digests: list[str]) -> None:
        """Add some."""
        self._fresh.extend(int(digest[:16], 16) for digest in digests)
        if len(self._fresh) >= 1_000_000:
            self._merge()

    def among(self, digests: list[str]) -> list[bool]:
        """Return of each digest whether it is mentioned."""
        self._merge()
        asked = np.array([int(digest[:16], 16) for digest in digests], np.uint64)
        if not len(self._sorted):
            return [False] * len(digests)
        places = np.searchsorted(self._sorted, asked).clip(max=len(self._sorted) - 1)
        found: list[bool] = (self._sorted[places] == asked).tolist()
        return found

    def _merge(self) -> None:
        fresh = np.frombuffer(self._fresh, np.uint64) if self._fresh else np.empty(0, np.uint64)
        if self._sorted is None or len(fresh):
            known = np.empty(0, np.uint64) if self._sorted is None else self._sorted
            self._sorted = np.unique(np.concatenate([known, fresh]))
        self._fresh = array("Q")


class Marking:
    """Finds out what a store mentions.

    Args:
        store: all of it.
        artifacts: where the nodes of trees are.
        young: what was made later is spared by its age. So a tree of an entity that was made later need not be there whole:
            it may still be on its way, and what has come of it is young.
        tell: is told how it goes on.

    Attributes:
        mentioned: the digests.
        unreadable: a sentence on each node of a tree that is missing or damaged, with the entity; at most 1,000.
    """

    def __init__(
        self,
        store: MetadataStore,
        artifacts: ArtifactStore,
        young: datetime,
        tell: Callable[[str, int, int | None], None],
    ) -> None:
        self.mentioned = Mentioned()
        self.unreadable: list[str] = []
        self._store, self._artifacts, self._tell = store, artifacts, tell
        self._young = young
        self._walk = Walk(artifacts)
        self._nodes = 0

    def run(self, doomed: datetime | None) -> None:
        """Mark what entities mention; those deleted before ``doomed`` do not count."""
        for number, entity in enumerate(_documents(self._store, doomed), 1):
            document = dict(entity.document)
            self.mentioned.add(mentioned_in(encode(document)))
            owner = f"{entity.KIND} {entity.entity_id}"
            is_young = entity.created_at is not None and entity.created_at >= self._young
            for field, root in trees_of(entity.KIND, document):
                self._follow(root, f"{field} of {owner}", may_lack=is_young)
            self._follow_likely(likely_trees_of(entity.KIND, document), owner)
            if number % DOCUMENTS == 0:
                self._tell("entities", number, None)
        if self._store.carries():  # of kinds and with actions that nobody here knows: what they mention is kept
            for change in changes_of(self._store):
                if change.payload is not None and not is_understood(change):
                    digests = mentioned_in(change.payload)
                    self.mentioned.add(digests)
                    self._follow_likely(digests, f"{change.kind} {change.entity_id}")

    def _follow_likely(self, digests: list[str], owner: str) -> None:
        for digest in digests:
            if looks_like_a_node(self._artifacts, digest):
                self._follow(digest, owner)

    def _follow(self, root: str, owner: str, *, may_lack: bool = False) -> None:
        """Mark what a tree needs, and the trees that its entries name."""
        waiting = [(root, owner)]
        while waiting:
            root, owner = waiting.pop()
            self.mentioned.add([root])
            for visit in self._walk.visit(root):
                if visit.node is None:
                    if not may_lack:
                        self._complain(visit, root, owner)
                elif visit.node.level:
                    self.mentioned.add([child.digest.hex() for child in visit.node.children])
                else:
                    waiting += [(tree, owner) for tree in self._mark_leaf(visit)]
                self._nodes += 1
                if self._nodes % DOCUMENTS == 0:
                    self._tell("nodes of trees", self._nodes, None)

    def _complain(self, visit: Visit, root: str, owner: str) -> None:
        if len(self.unreadable) < _KEPT:
            missing = "is missing" if isinstance(visit.error, NotFoundError) else f"cannot be read ({visit.error})"
            self.unreadable.append(f"a node of the tree {root} ({owner}) {missing}: {visit.where}")

    def _mark_leaf(self, visit: Visit) -> list[str]:
        assert visit.node is not None
        trees: list[str] = []
        for record in visit.node.records:
            for text in (record.identity, record.observed):
                self.mentioned.add(mentioned_in(text))
                if b"tree" in text or b"\\u" in text:
                    trees += _trees_named(text)
        return trees


def _trees_named(text: bytes) -> list[str]:
    """Return the trees that the JSON of an entry names, whatever else somebody made of it."""
    try:
        value = decode(text)
    except InvalidArgumentError:
        return []
    return list(trees_in(value)) if isinstance(value, dict) else []


def _documents(store: MetadataStore, doomed: datetime | None) -> Iterator[Entity]:
    for kind in KINDS:
        for entity in pages(store, Query(kind, "", "entity_id", include_deleted=True), DOCUMENTS):
            if doomed is None or not _is_over(entity, doomed):
                yield entity


def _is_over(entity: Entity, before: datetime) -> bool:
    """Return whether an entity was deleted before a time, and nothing was said of it since."""
    times = (entity.deleted_at, entity.updated_at)
    return all(time is not None and time < before for time in times)
