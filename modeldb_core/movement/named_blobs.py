"""What a copy takes along beside changes: the blobs that they name, and the content trees with all that is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.links import blobs_of, links_of, trees_of
from modeldb_core.model.schema import KINDS
from modeldb_core.movement.references import (
    likely_trees_in,
    looks_like_a_node,
    mentioned_by,
    needed_by,
    trees_needed_by,
)
from modeldb_core.movement.trees import TreeCopier
from modeldb_core.stores import MetadataStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.log.changes import Change
    from modeldb_core.movement.blobs import BlobCopier


class _Need(NamedTuple):
    """Who needs a blob.

    Attributes:
        kind, entity_id: of the entity.
        named: what its document names: the blob, or the root of the tree that needs it.
        where: the entity and the location in its tree, in words.
    """

    kind: str
    entity_id: str
    named: str
    where: str


class NamedBlobs:
    """Copies what changes name before they are applied.

    Args:
        source, target: of the changes.
        blobs: copies blobs.
        whole: look at every node of trees again, also where they must be whole.
        tell: is told how it goes on.
    """

    def __init__(
        self,
        source: object,
        target: object,
        blobs: BlobCopier,
        *,
        whole: bool,
        tell: Callable[[str, int, int | None], None],
    ) -> None:
        self._source, self._target, self._blobs, self._tell = source, target, blobs, tell
        self._trees = TreeCopier(blobs, whole=whole)
        self._needed: dict[str, _Need] = {}

    @property
    def absent(self) -> set[str]:
        """The digests of blobs that changes need and the source does not have."""
        return set(self._needed)

    def missing(self) -> dict[str, str]:
        """Return those of them that an entity still needs, by digest the entity, and where in a tree of it."""
        return {digest: need.where for digest, need in self._needed.items() if self._is_needed(need)}

    def copy(self, batch: Sequence[Change]) -> None:
        """Copy what a batch names; all of it that the source has is in the target when this returns."""
        blobs = self._blobs
        readable = [change for change in batch if _can_be_read(change)]
        for change in readable:
            self._copy_trees(change)
        blobs.copy(
            (digest for change in readable for digest in mentioned_by(change)),
            lambda *_: self._tell("blobs", blobs.copied, None),
        )
        if blobs.missing:
            for change in readable:
                for digest in needed_by(change):
                    if digest in blobs.missing:
                        need = _Need(change.kind, change.entity_id, digest, f"{change.kind} {change.entity_id}")
                        self._needed.setdefault(digest, need)

    def _copy_trees(self, change: Change) -> None:
        """Copy the trees that a change names, before the blobs: so a root is there when all else of it is."""
        blobs, trees = self._blobs, self._trees
        owner = f"{change.kind} {change.entity_id}"
        for name, root in trees_needed_by(change):
            trees.copy(root, f"{owner}, {name}", self._base(change, name))
            for digest, where in trees.lacking.items():
                self._needed.setdefault(digest, _Need(change.kind, change.entity_id, root, where))
            trees.lacking.clear()
        for digest in likely_trees_in(change):
            if looks_like_a_node(blobs.source, digest):
                trees.copy(digest, owner)

    def _base(self, change: Change, field: str) -> str:
        """Return the root of a tree that the target has: of an entity of the same kind that the change refers to."""
        if not isinstance(self._target, MetadataStore):
            return ""
        for link in links_of(change.kind, change.data()):
            if link.kind == change.kind:
                try:
                    other = self._target.get(link.kind, link.entity_id)
                except NotFoundError:
                    continue
                root = dict(trees_of(change.kind, other.document)).get(field)
                if root is not None and other.deleted_at is None:
                    return root
        return ""

    def _is_needed(self, need: _Need) -> bool:
        """Return whether an entity of the source needs a blob as it is now, and not only in the past."""
        if not isinstance(self._source, MetadataStore):
            return True
        if need.kind not in KINDS:
            return False
        try:
            document = self._source.get(need.kind, need.entity_id).document
        except NotFoundError:
            return False
        return need.named in {*blobs_of(need.kind, document), *(root for _, root in trees_of(need.kind, document))}


def _can_be_read(change: Change) -> bool:
    """Return whether a change says something; the target refuses it otherwise, and its stream alone."""
    try:
        change.data()
    except InvalidArgumentError:
        return False
    return True
