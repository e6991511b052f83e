"""What two stores have decided differently before they were merged; :mod:`modeldb_core.model.decisions` has the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores.contract import MetadataStore


def clashes(store: MetadataStore) -> Iterator[str]:
    """Iterate over sentences on what was decided differently and waits for somebody to decide again."""
    for kind, declaration in KINDS.items():
        if "clash_count" in declaration.fields:
            query = Query(kind, "clash_count > 0", "entity_id")
            while True:
                page = store.find(query)
                for entity in page.entities:
                    yield from clashes_in(entity)
                if page.cursor is None:
                    break
                query = replace(query, cursor=page.cursor)


def clashes_in(entity: Entity) -> Iterator[str]:
    """Iterate over sentences on what stores have decided differently about an entity."""
    shown = entity.document.get("clashes")
    for entry in shown.values() if isinstance(shown, dict) else ():
        field, key = entry.get("field"), entry.get("key")
        counts = entity.document.get(field)
        if key:
            counts = counts.get(key) if isinstance(counts, dict) else None
        about = f"{field} {key!r}" if key else field
        yield (
            f"{KINDS[entity.KIND].words} {entity.name!r} ({entity.entity_id}): {about} is {_said(counts)}, and another store "
            f"decided {_said(entry.get('value'))}; the later decision counts until somebody decides again"
        )


def _said(value: Any) -> str:  # noqa: ANN401 - of any type
    return "removed" if value is None else str(value) if isinstance(value, str) else repr(value)
