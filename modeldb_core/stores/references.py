"""Finding what people name by a part of its identifier, as tables show it, or by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import is_id
from modeldb_core.model.schema import KINDS, shown_kinds
from modeldb_core.queries.literals import condition
from modeldb_core.queries.query import Query
from modeldb_core.runtime.notices import listing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from modeldb_core.model.entities import Entity, Run
    from modeldb_core.stores import MetadataStore

SHORTEST = 4
"""Characters of an identifier that are taken for a part of one."""
_SHOWN = 5
_PART = re.compile(rf"[0-9a-fA-F-]{{{SHORTEST},}}")


def find_run(store: MetadataStore, reference: str) -> Run:
    """Return the run with this identifier, with this beginning or end of one, or with this name.

    Raises:
        NotFoundError: there is none.
        InvalidArgumentError: several are meant; the message lists them.
        ErasedError: it was deleted, and nothing of it is kept.
    """
    try:
        return cast("Run", store.get("run", reference))
    except ErasedError:
        raise
    except NotFoundError:
        pass
    found = _matching(store, "run", reference)
    if not found:
        msg = f"there is no run {reference!r}; {listing('runs', store.url)}"
        raise NotFoundError(msg)
    return cast("Run", store.get("run", _only(found, reference, "runs").entity_id))


def find_entity_id(store: MetadataStore, reference: str) -> str:
    """Return the identifier of the entity of any kind that a part of it means; ``reference`` itself where none is known.

    Raises:
        InvalidArgumentError: several are meant; the message lists them.
    """
    if not _PART.fullmatch(reference):
        return reference
    found = [entity for kind in KINDS for entity in _matching(store, kind, reference, by_name=False)]
    return _only(found, reference, "entities").entity_id if found else reference


def find_entity(store: MetadataStore, reference: str) -> Entity:
    """Return the entity of any kind that people mean.

    That is one with this identifier, or this beginning or end of one, or with this name; ``NAME@v3`` is a version by its
    number, ``NAME@champion`` one by its alias. ``run:`` or the like before it says of which kind it is.

    Raises:
        NotFoundError: there is none.
        InvalidArgumentError: several are meant; the message lists them.
        ErasedError: it was deleted, and nothing of it is kept.
    """
    kinds = [each.kind for each in shown_kinds()]
    kind, colon, rest = reference.partition(":")
    if colon and kind in kinds:
        kinds, name = [kind], rest
        if (entity := _get(store, kind, rest)) is not None:
            return entity
    else:
        name = reference
    found = [entity for kind in kinds for entity in _matching(store, kind, name)]
    exact = [entity for entity in found if entity.entity_id == name]
    found = exact or found or list(_versions(store, name, kinds))
    if not found:
        for kind in kinds if is_id(name) else ():
            _get(store, kind, name)  # raises where it was erased
        msg = f"there is nothing called {reference!r:.200} in {store.url}, and nothing with such an identifier"
        raise NotFoundError(msg)
    chosen = _only(found, reference, "entities")
    return store.get(chosen.KIND, chosen.entity_id)


def _get(store: MetadataStore, kind: str, entity_id: str) -> Entity | None:
    try:
        return store.get(kind, entity_id)
    except ErasedError:
        raise
    except NotFoundError:
        return None


def _versions(store: MetadataStore, reference: str, kinds: Collection[str]) -> Iterator[Entity]:
    """Iterate over the versions that ``NAME@VERSION`` means, of whatever has versions of that name."""
    name, at, version = reference.rpartition("@")
    number = re.fullmatch(r"v?([1-9][0-9]{0,15})", version)
    for declaration in KINDS.values() if at and name else ():
        home = declaration.fields.get(declaration.home)
        if declaration.kind not in kinds or home is None or "version" not in declaration.columns:
            continue
        for container in store.find(Query(home.refers_to, condition("name = ?", name), limit=_SHOWN + 1)).entities:
            same = condition("version = ?", int(number[1])) if number else ""
            aliased = [
                value.get(version)
                for field in KINDS[home.refers_to].fields.values()
                if declaration.kind in field.entries.values()
                and isinstance(value := container.document.get(field.name), Mapping)
            ]
            wanted = [entity_id for entity_id in aliased if isinstance(entity_id, str)]
            if version == "latest":
                newest = Query(declaration.kind, order_by="version desc", limit=1, within=container.entity_id)
                yield from store.find(newest).entities
            elif same or wanted:
                query = Query(declaration.kind, same or condition("entity_id in ?", wanted), within=container.entity_id)
                yield from store.find(query).entities


def _matching(store: MetadataStore, kind: str, reference: str, *, by_name: bool = True) -> list[Entity]:
    conditions = [condition("name = ?", reference)] if by_name else []
    if _PART.fullmatch(reference):
        part = reference.lower()
        conditions.append(condition("entity_id startswith ? or entity_id endswith ?", part, part))
    query = Query(kind=kind, filter=" or ".join(conditions), limit=_SHOWN + 1, include_deleted=True)
    return list(store.find(query).entities)


def _only(found: list[Entity], reference: str, what: str) -> Entity:
    if len({entity.entity_id for entity in found}) == 1:
        return found[0]
    listed = ", ".join(
        f"{entity.KIND}:{entity.entity_id} ({entity.name}{', deleted' if entity.deleted_at else ''})"
        for entity in found[:_SHOWN]
    )
    more = ", …" if len(found) > _SHOWN else ""
    kinds = list(dict.fromkeys(entity.KIND for entity in found))
    of_a_kind = f"name one by its kind, such as {kinds[-1]}:{reference}, or " if len(kinds) > 1 else ""
    msg = f"{reference!r} fits several {what}: {listed}{more}; {of_a_kind}give more of the identifier"
    raise InvalidArgumentError(msg)
