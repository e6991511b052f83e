"""Deleting entities and bringing them back: which entities that concerns.

A deletion is a change of each entity that goes: of the one that was named, and of all that it contains. They carry one
time, by which those that went together are known when they are to come back together.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.schema import KINDS, parts_of
from modeldb_core.queries import Linked, Query, condition, portions

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from datetime import datetime

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

_PAGE = 1000
Name = tuple[str, str]
"""Kind and identifier of an entity."""


def to_delete(
    store: MetadataStore, kind: str, entity_id: str, *, recursive: bool = False, among: Container[Name] = ()
) -> list[Name]:
    """Return what is to be deleted with an entity, innermost first; nothing where it is deleted already.

    Remarks such as comments go with what they are about. Everything else that an entity contains goes only if that is asked for:
    experiments and runs of a project, child runs of a run, versions of a data set. That is asked for by ``recursive``, or
    by naming it as well: what is ``among`` those.

    Raises:
        NotFoundError: there is no such entity.
        InvalidArgumentError: it contains something, and ``recursive`` is not set; or something that stays cannot do without it.
    """
    entity = store.get(kind, entity_id)
    if entity.deleted_at is not None:
        return []
    found = dict.fromkeys((part.KIND, part.entity_id) for part in parts(store, kind, entity_id))
    contained = [name for name in found if not KINDS[name[0]].remark and name not in among]
    if contained and not recursive:
        counts = {of: sum(one == of for one, _ in contained) for of in dict.fromkeys(one for one, _ in contained)}
        listed = ", ".join(f"{count:,} {KINDS[of].words}{'s' if count > 1 else ''}" for of, count in counts.items())
        msg = f"{kind} {entity.name!r} contains {listed}; delete them with it (recursive, or --recursive), or delete them first"
        raise InvalidArgumentError(msg)
    for holder, field in _holders(store, entity):
        if (name := (holder.KIND, holder.entity_id)) not in found and name not in among:
            msg = f"{kind} {entity.name!r} ({entity_id}) cannot be deleted: the {KINDS[name[0]].words} {holder.name!r} names it in {field}"
            raise InvalidArgumentError(msg)
    return [*reversed(found), (kind, entity_id)]


def _holders(store: MetadataStore, entity: Entity) -> Iterator[tuple[Entity, str]]:
    """Iterate over what cannot do without an entity, with the fields that name it."""
    for kind, field in held_by(entity.KIND):
        link = Linked(entity.KIND, entity.entity_id, field=field)
        yield from ((holder, field) for holder in pages(store, Query(kind, fields=(), linked=link)))


def held_by(kind: str) -> Iterator[tuple[str, str]]:
    """Iterate over the kinds that cannot do without entities of a kind that they name, and the fields in which they name them."""
    for of in KINDS.values():
        for field in of.references:
            if field.holds and kind in (field.refers_to, *field.entries.values()):
                yield of.kind, field.name


def to_restore(store: MetadataStore, kind: str, entity_id: str) -> list[Name]:
    """Return what is to be restored with an entity: its containers that are deleted, and what was deleted with it.

    Nothing where it is not deleted.

    Raises:
        NotFoundError: there is no such entity.
        ErasedError: it is too late, nothing of it is kept.
    """
    entity = store.get(kind, entity_id)
    if entity.deleted_at is None:
        return []
    names = [(kind, entity_id)]
    container = entity
    while (above := _container(store, container)) is not None:
        container = above
        if container.deleted_at is not None:
            names.insert(0, (container.KIND, container.entity_id))
    for part in parts(store, kind, entity_id, deleted_at=entity.deleted_at):
        names.append((part.KIND, part.entity_id))
    return list(dict.fromkeys(names))


def deleted(store: MetadataStore) -> Iterator[Entity]:
    """Iterate over the entities that are deleted and can be restored, but for comments and what went with its container."""
    for kind in KINDS:
        if KINDS[kind].remark:
            continue
        for entity in pages(store, Query(kind, "deleted_at >= '1970-01-01'", "entity_id", include_deleted=True)):
            container = _container(store, entity)
            if container is None or container.deleted_at != entity.deleted_at:
                yield entity


def pages(store: MetadataStore, query: Query, limit: int = _PAGE) -> Iterator[Entity]:
    """Iterate over all entities that a query matches, page by page."""
    query = replace(query, limit=limit)
    while True:
        page = store.find(query)
        yield from page.entities
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


def parts(
    store: MetadataStore, kind: str, entity_id: str, *, deleted_at: datetime | None = None, all_of_them: bool = False
) -> Iterator[Entity]:
    """Iterate over what an entity contains, at any depth, what contains before what is contained.

    Args:
        store: where.
        kind: of the entity.
        entity_id: its identifier.
        deleted_at: what was deleted at this time, instead of what is not deleted.
        all_of_them: deleted or not.
    """
    include = all_of_them or deleted_at is not None
    waiting, seen = [(kind, entity_id)], {(kind, entity_id)}
    while waiting:
        above = waiting[0][0]
        together = takewhile(lambda name: name[0] == above, waiting)  # noqa: B023 - used up at once
        containers = next(portions(container_id for _, container_id in together))
        del waiting[: len(containers)]
        among = frozenset(containers)
        for of, field in parts_of(above):
            # What is part of the whole directly has come by, wherever else in it it lies.
            come = next((each for whole, each in parts_of(kind) if whole == of), None) if above != kind else None
            query = _parts_query(of, field, containers, deleted_at, (come, entity_id) if come else None)
            for part in pages(store, replace(query, include_deleted=include)):
                name = (of, part.entity_id)
                if part.document.get(field) in among and name not in seen:
                    seen.add(name)
                    waiting += [] if KINDS[of].remark else [name]
                    yield part


def _parts_query(
    of: str, field: str, containers: list[str], deleted_at: datetime | None, come: tuple[str, str] | None
) -> Query:
    """Return the question for the entities of a kind that some containers contain directly, without those that have come."""
    conditions = [condition("deleted_at = ?", deleted_at)] if deleted_at else []
    columns = KINDS[of].columns
    within: tuple[str, ...] | None = tuple(containers)
    if field in columns:  # within a project is what lies deeper as well: that comes by in its turn
        conditions.append(condition(f"{field} in ?", containers))
        within = None
    if come is not None and come[0] in columns and come[0] != field:
        conditions.append(condition(f"({come[0]} is null or {come[0]} != ?)", come[1]))
    return Query(of, " and ".join(conditions), "entity_id", (field,), within=within)


def _container(store: MetadataStore, entity: Entity) -> Entity | None:
    """Return the nearest thing that contains an entity: for a child run the parent, for other runs the experiment."""
    for field in reversed(KINDS[entity.KIND].containers):
        entity_id = entity.document.get(field.name)
        if not isinstance(entity_id, str) or not entity_id or field.refers_to not in KINDS:
            continue
        try:
            return store.get(field.refers_to, entity_id)
        except NotFoundError:
            return None
    return None
