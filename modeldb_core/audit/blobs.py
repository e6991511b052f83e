"""Whether the blobs are there and whole that entities name, and the nodes of their content trees with all that is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.errors import IntegrityError, ModelDBError, NotFoundError
from modeldb_core.model.links import blobs_of, trees_of
from modeldb_core.trees import blobs_in, trees_in
from modeldb_core.trees.entries import DIGEST, SIZE, entry_of
from modeldb_core.trees.locations import location_of
from modeldb_core.trees.walking import Walk, cut_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from modeldb_core.audit.report import Progress, Report
    from modeldb_core.stores import ArtifactStore
    from modeldb_core.trees.walking import Visit

_CHUNK = 1 << 20


class Named:
    """What the entities of a store name: blobs and the roots of trees, each with one that does so.

    Attributes:
        blobs: by digest, the entity.
        trees: by root, the entity and the field.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, str] = {}
        self.trees: dict[str, str] = {}

    def add(self, kind: str, entity_id: str, document: Mapping[str, Any]) -> None:
        """Add what an entity names."""
        for digest in blobs_of(kind, document):
            self.blobs.setdefault(digest, f"{kind} {entity_id}")
        for field, root in trees_of(kind, document):
            self.trees.setdefault(root, f"{kind} {entity_id}, {field}")


def verify_blobs(artifacts: ArtifactStore, report: Report, named: Named, tell: Progress) -> None:
    """Read everything that is named; what is missing or damaged is a finding, with the entity and the place in its tree."""
    for number, (digest, owner) in enumerate(named.blobs.items(), 1):
        _verify_blob(artifacts, report, digest, owner)
        tell("blobs", number, len(named.blobs))
    seen = {bytes.fromhex(digest) for digest in named.blobs}
    walk = Walk(artifacts)
    for root, owner in named.trees.items():
        for node in walked(walk, root, owner):
            report.blobs += 1
            for problem in node.problems():
                report.add("artifact", node.subject, problem)
            for need in node.needs():
                if bytes.fromhex(need.digest) not in seen:
                    seen.add(bytes.fromhex(need.digest))
                    _verify_blob(artifacts, report, need.digest, need.where, need.size_bytes)
            tell("nodes and blobs", report.blobs, None)


def walked(walk: Walk, root: str, owner: str) -> Iterator[WalkedNode]:
    """Iterate over the nodes of a tree, and of those that its entries name, which were not seen before.

    Args:
        walk: knows what was.
        root: of the tree.
        owner: in words, the entity and the field that name it.
    """
    waiting = [(root, owner)]
    while waiting:
        root, owner = waiting.pop()
        for visit in walk.visit(root):
            node = WalkedNode(visit, owner)
            yield node
            waiting += node.trees()


class Need(NamedTuple):
    """A blob that an entry of a tree names.

    Attributes:
        digest: of the blob.
        where: the entity, and the location in its tree, in words.
        size_bytes: what the entry says of its size; ``None`` where it says nothing.
    """

    digest: str
    where: str
    size_bytes: int | None


class WalkedNode:
    """A node of a tree that an entity names, and what can be said of it."""

    def __init__(self, visit: Visit, owner: str) -> None:
        self.visit = visit
        self._owner = owner
        self._entries: list[tuple[str, dict[str, Any]]] = []
        self._errors: list[IntegrityError] = []
        for record in visit.node.records if visit.node is not None and not visit.node.level else ():
            try:
                self._entries.append((f"{owner}: {location_of(record.key)!r}", entry_of(record)))
            except IntegrityError as error:
                self._errors.append(error)

    @property
    def subject(self) -> str:
        """The node, the entity, and what lies below it, in words."""
        return f"node {self.visit.digest} (of {self._owner}: {self.visit.where})"

    def problems(self) -> list[ModelDBError | str]:
        """Return what is wrong with it."""
        if self.visit.node is None:
            assert self.visit.error is not None
            return ["it is missing" if isinstance(self.visit.error, NotFoundError) else self.visit.error]
        problem = cut_problem(self.visit)
        return [*([problem] if problem else []), *self._errors]

    def needs(self) -> Iterator[Need]:
        """Iterate over the blobs that its entries name."""
        for where, entry in self._entries:
            for digest in blobs_in(entry):
                yield Need(digest, where, entry.get(SIZE) if digest == entry.get(DIGEST) else None)

    def trees(self) -> list[tuple[str, str]]:
        """Return the roots of the trees that its entries name, each with words on where."""
        return [(tree, where) for where, entry in self._entries for tree in trees_in(entry)]


def _verify_blob(
    artifacts: ArtifactStore, report: Report, digest: str, owner: str, size_bytes: int | None = None
) -> None:
    where, found = f"blob {digest} (of {owner})", 0
    try:
        with artifacts.open(digest) as stream:
            while chunk := stream.read(_CHUNK):
                found += len(chunk)
    except NotFoundError:
        report.add("artifact", where, "it is missing")
    except ModelDBError as error:
        report.add("artifact", where, error)
    else:
        if size_bytes not in (None, found):
            report.add("artifact", where, f"it has {found:,} bytes; the entry says {size_bytes:,}")
    report.blobs += 1
