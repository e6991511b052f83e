"""What can be seen in a scope: which entities, and how a query is narrowed to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import ANY, KINDS
from modeldb_core.queries import Linked, Query, condition, parse_filter, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.log.erasures import Name
    from modeldb_core.model.entities import Entity
    from modeldb_core.stores.contract import MetadataStore
    from modeldb_core.stores.scoped.scope import Scope

MAX_PASSED = 1000
"""Entities that a narrowed search passes on the way from one to what is linked with it through others."""


class Sight:
    """Tells what of a store lies in a scope. What is erased lies nowhere any more.

    Args:
        store: the whole store.
        scope: what is seen of it.
    """

    def __init__(self, store: MetadataStore, scope: Scope) -> None:
        self._store = store
        self._scope = scope

    # Entities

    def holds(self, entity: Entity) -> bool:
        """Return whether an entity lies in the scope."""
        return entity.workspace_id in self._scope.workspaces or entity.project_id in self._scope.projects

    def shows(self, entity: Entity) -> bool:
        """Return whether an entity can be read: it lies in the scope, or is the workspace of one of its projects."""
        return self.holds(entity) or (entity.KIND == "workspace" and entity.entity_id in self.above())

    def above(self) -> frozenset[str]:
        """Return the workspaces that the projects of the scope lie in."""
        projects = (("project", project_id) for project_id in sorted(self._scope.projects))
        return frozenset(entity.workspace_id for _, entity in self._find(projects, None) if entity.workspace_id)

    def held_of(self, names: Iterable[Name]) -> set[Name]:
        """Return those entities that lie in the scope."""
        return {name for name, _ in self._find(names, self._scope.containers)}

    def held_and_strays_of(self, names: Iterable[Name]) -> tuple[set[Name], set[Name]]:
        """Return those entities that lie in the scope, and those that may come to: what they are part of has not arrived."""
        held, strays = set(), set()
        for name, entity in self._find(names, None):
            if self.holds(entity):
                held.add(name)
            elif KINDS[name[0]].containers and not entity.workspace_id:
                strays.add(name)
        return held, strays

    def _find(self, names: Iterable[Name], within: tuple[str, ...] | None) -> Iterator[tuple[Name, Entity]]:
        by_kind: dict[str, dict[str, None]] = {}
        for kind, entity_id in names:
            by_kind.setdefault(kind, {})[entity_id] = None
        for kind, ids in by_kind.items():
            for some in portions(ids) if kind in KINDS else ():
                same = condition("entity_id in ?", some)
                query = Query(kind, same, fields=(), limit=len(some), within=within, include_deleted=True)
                for entity in self._store.find(query).entities:
                    yield (kind, entity.entity_id), entity

    # Queries

    def narrowed(self, query: Query) -> Query:
        """Return a query for those entities of which another one asks that can be read.

        Raises:
            QuerySyntaxError: its filter does not parse.
        """
        parse_filter(query.filter, query.kind)  # by itself: what is put beside it below must not become a part of it
        above = self.above() if query.kind == "workspace" else frozenset[str]()
        containers = tuple(sorted({*self._scope.containers, *above}))
        linked = self._linked(query.kind, query.linked)
        if linked is None or not containers:
            return replace(query, within=())
        found = replace(query, linked=linked[0], filter=_both(query.filter, linked[1]))
        if query.within is None:
            return replace(found, within=containers)
        return replace(found, filter=_both(found.filter, self._lies_in(above)))

    def _lies_in(self, above: frozenset[str]) -> str:
        lists = {
            "workspace_id in ?": self._scope.workspaces,
            "project_id in ?": self._scope.projects,
            "entity_id in ?": above,
        }
        return " or ".join(condition(template, sorted(ids)) for template, ids in lists.items() if ids)

    def _linked(self, kind: str, linked: Linked | None) -> tuple[Linked | None, str] | None:
        """Return a link and a filter that say the same but pass no entity that is not seen; ``None`` for nothing."""
        if linked is None:
            return None, ""
        start = {(kind_of, entity_id) for kind_of in linked.kinds for entity_id in linked.entity_ids}
        if linked.direction == "from":
            start = self.held_of(start)
            if not start:
                return None
            linked = replace(linked, entity_id=tuple(sorted({entity_id for _, entity_id in start})))
        if linked.depth == 1:  # only what the entities that are found say themselves, or one that is seen
            return linked, ""
        ids = sorted(entity_id for of_kind, entity_id in self._reached(start, linked) if of_kind == kind)
        return (None, condition("entity_id in ?", ids)) if ids else None

    def _reached(self, start: set[Name], linked: Linked) -> set[Name]:
        seen, front = set(start), set(start)
        for _ in range(linked.depth):
            step = self._named_by if linked.direction == "from" else self._naming
            front = {name for each in front for name in step(each, linked.field)} - seen
            seen |= front
            if len(seen) > MAX_PASSED:
                msg = f"more than {MAX_PASSED:,} entities are linked so; ask for fewer links in a row, or by one field"
                raise InvalidArgumentError(msg)
        return seen - start

    def _named_by(self, name: Name, field: str) -> set[Name]:
        """Return what an entity that is seen refers to, of that what is seen."""
        try:
            document = self._store.get(*name).document
        except NotFoundError:
            return set()
        named = (link for link in links_of(name[0], document) if field in ("", link.field))
        return self.held_of((kind, link.entity_id) for link in named for kind in ([link.kind] if link.kind else KINDS))

    def _naming(self, name: Name, field: str) -> Iterator[Name]:
        """Iterate over what is seen and refers to an entity."""
        for declaration in KINDS.values():
            kinds = {kind for each in declaration.references for kind in (each.refers_to, *each.entries.values())}
            if not kinds & {name[0], ANY}:
                continue
            query = Query(
                declaration.kind,
                fields=(),
                limit=MAX_PASSED + 1,
                within=self._scope.containers,
                include_deleted=True,
                linked=Linked(*name, field=field),
            )
            for entity in self._store.find(query).entities:
                yield declaration.kind, entity.entity_id


def _both(one: str, other: str) -> str:
    """Return the filter that holds where two do."""
    parts = [part for part in (one, other) if part.strip()]
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)
