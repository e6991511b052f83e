"""Walks lineage: breadth first, and one question for each kind on each level, however many entities are there.

What was made from what, the documents of entities say (:func:`~modeldb_core.model.links.flows_of`). Upstream the document
of an entity names the next ones; downstream the table of links does. Fields of the other direction are followed too.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.links import flows_of
from modeldb_core.model.schema import ANY, KINDS, lineage_kinds
from modeldb_core.provenance.graph import Direction, Edge, Name, Node, State
from modeldb_core.provenance.lineage import Lineage
from modeldb_core.queries import MAX_DEPTH, Linked, Query, condition, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

DEPTH = 10
LIMIT = 1000
MAX_LIMIT = 10_000
"""Entities of one graph."""
_PAGE = 1000
_LOOKED_AFTER = 50
"""So many entities that are not found are asked for one by one, whether they were erased."""
_FACTS = ("owner", "status", "digest", "stage", "created_at", "started_at", "finished_at")


def walk(
    store: MetadataStore,
    roots: Iterable[tuple[str, str]],
    direction: Direction = "both",
    *,
    depth: int = DEPTH,
    limit: int = LIMIT,
) -> Lineage:
    """Return what entities were made from, and what was made from them.

    A container that is itself no part of lineage, such as a project or a data set, stands for all that lies in it.

    Args:
        store: where it is looked up; of one that is narrowed, what is outside is shown as unknown.
        roots: kinds and identifiers.
        direction: ``upstream``: what they were made from; ``downstream``: what was made from them; or both.
        depth: through how many links at most, 1 to 100.
        limit: how many entities at most, 1 to 10,000; the nearest come first.

    Raises:
        InvalidArgumentError: direction, depth or limit is out of range, or a kind is unknown.
        NotFoundError: a root is not there; ErasedError: nothing of it is kept.
    """
    _check(direction, depth, limit)
    walker = Walker(store, limit)
    begun = walker.begin(roots)
    for upstream in (True, False):
        if direction in ("both", "upstream" if upstream else "downstream"):
            walker.follow(begun, depth, upstream=upstream)
    return walker.graph(begun, direction, depth)


def _check(direction: str, depth: object, limit: object) -> None:
    if direction not in ("upstream", "downstream", "both"):
        msg = f"direction {direction!r:.40} is unknown; expected upstream, downstream or both"
        raise InvalidArgumentError(msg)
    for name, value, most in (("depth", depth, MAX_DEPTH), ("limit", limit, MAX_LIMIT)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            msg = f"{name} {value!r:.40} is not a number from 1 to {most:,}"
            raise InvalidArgumentError(msg)


class Walker:
    """What one walk has found so far.

    Args:
        store: where entities are looked up.
        limit: how many are found at most.
    """

    def __init__(self, store: MetadataStore, limit: int) -> None:
        self._store, self._limit = store, limit
        self._kinds = lineage_kinds()
        named = {each.refers_to for kind in self._kinds for each in KINDS[kind].flows}
        named.update(other for kind in self._kinds for each in KINDS[kind].flows for other in each.entries.values())
        self._nameable = named | set(self._kinds)
        self.entities: dict[Name, Entity | None] = {}
        """What was reached, in that order; ``None`` for what is not found."""
        self._named: dict[str, Name] = {}
        self._notes: list[str] = []

    def begin(self, roots: Iterable[tuple[str, str]]) -> tuple[Name, ...]:
        """Take the entities that a walk begins at; a container brings what lies in it."""
        begun: dict[Name, None] = {}
        for kind, entity_id in roots:
            if kind not in KINDS or KINDS[kind].secret:
                msg = (
                    f"kind {kind!r:.80} is unknown; expected one of {', '.join(self._kinds)}, or of what contains them"
                )
                raise InvalidArgumentError(msg)
            name = Name(kind, entity_id)
            self._take(name, self._store.get(kind, entity_id))
            begun[name] = None
            if kind not in self._kinds:
                begun.update(dict.fromkeys(self._within(entity_id)))
        return tuple(begun)

    def follow(self, begun: Sequence[Name], depth: int, *, upstream: bool) -> None:
        """Walk from entities in one direction."""
        front, passed = list(begun), set(begun)
        for _ in range(depth):
            if not front:
                return
            reached = [name for name in self._next(front, upstream=upstream) if name not in passed]
            passed.update(reached)
            front = reached
        if front and self._leads_on(front, passed, upstream=upstream):
            where = "upstream" if upstream else "downstream"
            self._notes.append(
                f"there is more {where} than {depth} link{'s' * (depth != 1)} away; ask for a greater depth"
            )

    def graph(self, roots: tuple[Name, ...], direction: Direction, depth: int) -> Lineage:
        """Return what was found, with every edge between two entities of it."""
        containers = self._containers()
        nodes = {name: self._node(name, entity, containers) for name, entity in self.entities.items()}
        self._look_after(nodes)
        edges = dict.fromkeys(edge for name in self.entities for edge in self._edges(name))
        notes = tuple(dict.fromkeys(self._notes))
        return Lineage(roots, MappingProxyType(nodes), tuple(edges), direction, depth, self._limit, notes)

    # One level

    def _next(self, front: Sequence[Name], *, upstream: bool) -> list[Name]:
        """Return what lies one link from entities, found or not; what is new is taken."""
        targets = dict.fromkeys(target for name in front for target in self._said(name, upstream=upstream))
        self._fetch([name for name in targets if self._known(name) is None])
        reached = [known for name in targets if (known := self._known(name)) is not None]
        return [*reached, *self._naming(front, upstream=upstream)]

    def _said(self, name: Name, *, upstream: bool) -> Iterator[Name]:
        """Iterate over what an entity itself names in a direction."""
        entity = self.entities.get(name)
        for flow in flows_of(name.kind, entity.document) if entity is not None else ():
            if flow.is_input == upstream:
                yield Name(flow.kind, flow.entity_id)

    def _naming(self, front: Sequence[Name], *, upstream: bool) -> Iterator[Name]:
        """Iterate over the entities that name one of ``front``, as what they were made from or what was made of them."""
        wanted = set(front)
        field = "output" if upstream else "input"
        ids = dict.fromkeys(name.entity_id for name in front if name.kind in self._nameable)
        for kind in self._kinds:
            asks = any(each.lineage == field for each in KINDS[kind].flows)
            for some in portions(ids) if asks else ():
                for entity in self._find(kind, linked=Linked(ANY, tuple(some))):
                    name = Name(kind, entity.entity_id)
                    flows = (flow for flow in flows_of(kind, entity.document) if flow.is_input != upstream)
                    named = (self._known(Name(flow.kind, flow.entity_id)) for flow in flows)
                    if not wanted.isdisjoint(named) and self._take(name, entity):
                        yield name

    def _leads_on(self, front: Sequence[Name], passed: set[Name], *, upstream: bool) -> bool:
        """Return whether anything lies beyond entities."""
        said = (self._known(target) for name in front for target in self._said(name, upstream=upstream))
        if any(known not in passed for known in said):
            return True
        beyond = Walker(self._store, MAX_LIMIT)
        beyond.entities, beyond._named = dict(self.entities), dict(self._named)
        return any(name not in passed for name in beyond._naming(front, upstream=upstream))

    # Looking up

    def _query(self, kind: str, filter: str = "", **options: Any) -> Query:  # noqa: A002, ANN401 - as Query has them
        declaration = KINDS[kind]
        wanted = ["name", "version", *_FACTS, *(each.name for each in (*declaration.flows, *declaration.containers))]
        fields = tuple(dict.fromkeys(name for name in wanted if name in declaration.stored))
        return Query(kind, filter, fields=fields, include_deleted=True, **options)

    def _find(self, kind: str, filter: str = "", **options: Any) -> Iterator[Entity]:  # noqa: A002, ANN401
        cursor: str | None = None
        while True:
            page = self._store.find(self._query(kind, filter, limit=_PAGE, cursor=cursor, **options))
            yield from page.entities
            cursor = page.cursor
            if cursor is None:
                return
            if self._is_full:
                self._say_full()
                return

    def _within(self, container_id: str) -> Iterator[Name]:
        for kind in self._kinds:
            for entity in self._find(kind, within=container_id):
                if self._take(name := Name(kind, entity.entity_id), entity):
                    yield name

    def _fetch(self, names: Sequence[Name]) -> None:
        """Take entities that were named; what is not found is taken as unknown."""
        by_kind: dict[str, dict[str, None]] = {}
        for kind, entity_id in names:
            for each in (kind,) if kind else self._kinds:
                if each in KINDS and not KINDS[each].secret:
                    by_kind.setdefault(each, {})[entity_id] = None
        found: dict[Name, Entity] = {}
        for kind, ids in by_kind.items():
            for some in portions(ids):
                for entity in self._find(kind, condition("entity_id in ?", some)):
                    found[Name(kind, entity.entity_id)] = entity
        for name in names:
            kinds = (name.kind,) if name.kind else self._kinds
            there = next((one for kind in kinds if (one := Name(kind, name.entity_id)) in found), None)
            self._take(there or name, None if there is None else found[there])

    @property
    def _is_full(self) -> bool:
        return len(self.entities) >= self._limit

    def _say_full(self) -> None:
        self._notes.append(f"there are more than {self._limit:,} entities; ask for a greater limit or a smaller depth")

    def _known(self, name: Name) -> Name | None:
        """Return the name under which an entity was taken; ``None`` where it was not."""
        if name in self.entities:
            return name
        return None if name.kind else self._named.get(name.entity_id)

    def _take(self, name: Name, entity: Entity | None) -> bool:
        """Take an entity; return whether it is part of what was found, now or before."""
        if name not in self.entities:
            if self._is_full:
                self._say_full()
                return False
            self.entities[name] = entity
            self._named.setdefault(name.entity_id, name)
        return True

    # What comes out

    def _edges(self, name: Name) -> Iterator[Edge]:
        entity = self.entities[name]
        for flow in flows_of(name.kind, entity.document) if entity is not None else ():
            other = self._known(Name(flow.kind, flow.entity_id))
            if other is not None:
                source, target = (other, name) if flow.is_input else (name, other)
                yield Edge(source, target, flow.field, flow.key, name, MappingProxyType(dict(flow.entry)))

    def _node(self, name: Name, entity: Entity | None, containers: dict[Name, str]) -> Node:
        if entity is None:
            return Node(*name, "unknown")
        state: State = "present" if entity.deleted_at is None else "deleted"
        facts = {fact: value for fact in _FACTS if (value := getattr(entity, fact, None)) not in (None, "")}
        version = getattr(entity, "version", None)
        container = containers.get(_container_of(entity), "")
        if project := containers.get(_project_of(entity)):
            facts["project"] = project
        is_number = isinstance(version, int) and not isinstance(version, bool)
        return Node(*name, state, entity.name, container, version if is_number else None, MappingProxyType(facts))

    def _containers(self) -> dict[Name, str]:
        """Return the names of what entities are versions or parts of."""
        wanted: dict[str, dict[str, None]] = {}
        for entity in self.entities.values():
            for container in () if entity is None else (_container_of(entity), _project_of(entity)):
                if container.kind in KINDS:
                    wanted.setdefault(container.kind, {})[container.entity_id] = None
        found: dict[Name, str] = {}
        for kind, ids in wanted.items():
            for some in portions(ids):
                query = Query(
                    kind, condition("entity_id in ?", some), fields=("name",), limit=len(some), include_deleted=True
                )
                found.update((Name(kind, one.entity_id), one.name) for one in self._store.find(query).entities)
        return found

    def _look_after(self, nodes: dict[Name, Node]) -> None:
        """See which of the entities that were not found have been erased."""
        unknown = [name for name, node in nodes.items() if node.state == "unknown" and name.kind]
        for name in unknown[:_LOOKED_AFTER]:
            try:
                self._store.get(*name)
            except ErasedError:
                nodes[name] = Node(*name, "erased")
            except NotFoundError:
                continue


def _container_of(entity: Entity) -> Name:
    declaration = KINDS[entity.KIND]
    field = declaration.fields.get(declaration.home)
    value = entity.document.get(declaration.home)
    return Name(field.refers_to, value) if field is not None and isinstance(value, str) and value else Name("", "")


def _project_of(entity: Entity) -> Name:
    return Name("project", entity.project_id) if entity.project_id else Name("", "")
