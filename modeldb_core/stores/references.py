"""Finding what people name by a part of its identifier, as tables show it, or by its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.schema import KINDS
from modeldb_core.queries.literals import condition
from modeldb_core.queries.query import Query

if TYPE_CHECKING:
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
        msg = f"there is no run {reference!r} in {store.url}; `modeldb runs` lists what there is"
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
        f"{entity.entity_id} ({entity.name}{', deleted' if entity.deleted_at else ''})" for entity in found[:_SHOWN]
    )
    more = ", …" if len(found) > _SHOWN else ""
    msg = f"{reference!r} fits several {what}: {listed}{more}; give more of the identifier"
    raise InvalidArgumentError(msg)
