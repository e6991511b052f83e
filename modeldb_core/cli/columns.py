"""The columns of a table of entities: named as in queries, read from entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.cli.tables import short_id
from modeldb_core.errors import NotFoundError
from modeldb_core.log.display import look_up
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import COLUMN, TAGS, Field, parse_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

_SUMMARY_FIELDS = {"min": "minimum", "max": "maximum"}


class EntityColumns:
    """Reads the cells of entities of a kind; looks up the names of what contains them once each.

    A column called like the kind itself (``run``) has the short form of the identifier; ``run_id`` is the whole one.
    """

    def __init__(self, store: MetadataStore, kind: str, names: Sequence[str]) -> None:
        """Parse the names; raises :class:`~modeldb_core.errors.QuerySyntaxError` for one that is not a field."""
        self.names = list(names)
        self._store, self._declaration = store, KINDS[kind]
        self._fields = [None if name == kind else parse_field(name, kind) for name in self.names]
        self._containers: dict[tuple[str, str], str] = {}

    def row(self, entity: Entity) -> list[Any]:
        """Return the values of one entity."""
        return [short_id(entity.entity_id) if field is None else self._value(entity, field) for field in self._fields]

    def query_fields(self) -> tuple[str, ...]:
        """Return what a query must ask for so that the cells can be read."""
        return tuple(name for name, field in zip(self.names, self._fields, strict=True) if field is not None)

    def numeric(self, rows: Iterable[Sequence[object]]) -> list[str]:
        """Return the columns that hold numbers only: they stand to the right."""
        listed = list(rows)
        return [
            name
            for index, name in enumerate(self.names)
            if all(isinstance(row[index], (int, float)) or row[index] is None for row in listed)
        ]

    def _value(self, entity: Any, field: Field) -> Any:  # noqa: ANN401 - of any kind, any value
        if field.section == COLUMN:
            return self._column(entity, field.key)
        if field.section == TAGS:
            return entity.tags
        if field.aggregate:
            summary = entity.series.get(field.key)
            return None if summary is None else getattr(summary, _SUMMARY_FIELDS.get(field.aggregate, field.aggregate))
        return look_up(getattr(entity, field.section), field.key)

    def _column(self, entity: Any, name: str) -> Any:  # noqa: ANN401 - of any kind, any value
        if name == "duration" and self._declaration.has_points:
            return entity.duration_s
        if name not in self._declaration.container_names:
            return getattr(entity, name)
        named = self._declaration.container_names[name]
        asked = (named.refers_to, getattr(entity, named.name))
        if asked not in self._containers:
            self._containers[asked] = container_name(self._store, *asked)
        return self._containers[asked]


def container_name(store: MetadataStore, kind: str, entity_id: str) -> str:
    """Return the name of a container, or its identifier where the store does not know it, or nobody its kind."""
    if kind not in KINDS:
        return entity_id
    try:
        found: Entity = store.get(kind, entity_id)
    except NotFoundError:
        return entity_id
    return found.name
