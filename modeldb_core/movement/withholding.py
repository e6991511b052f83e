"""What a bundle has to say beside the entities that were asked for, so that those can be understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import NotFoundError
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.log.erasures import Name
    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore


def needed_with(store: MetadataStore, wanted: Iterable[Name]) -> set[Name]:
    """Return what is to be kept so that some entities can be understood: they, and what they name."""
    kept, waiting = set(wanted), list(wanted)
    while waiting:
        kind, entity_id = waiting.pop()
        if kind not in KINDS:
            continue
        try:
            entity = store.get(kind, entity_id)
        except NotFoundError:
            continue
        for name in _needed_by(entity):
            if name not in kept:
                kept.add(name)
                waiting.append(name)
    return kept


def _needed_by(entity: Entity) -> Iterable[Name]:
    """Iterate over what an entity names; not over others of its kind, which can be understood by themselves."""
    for link in links_of(entity.KIND, entity.document):
        if link.kind not in ("", entity.KIND):
            yield link.kind, link.entity_id
