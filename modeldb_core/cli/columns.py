"""The columns of a table of runs: named as in queries, read from entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.cli.tables import short_id
from modeldb_core.errors import NotFoundError
from modeldb_core.log.display import look_up
from modeldb_core.model.entities import Entity, Run
from modeldb_core.queries import COLUMN, CONTAINER_NAMES, TAGS, Field, parse_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.stores import MetadataStore

SHORT_ID = "run"
"""The column with the short form of the identifier; ``run_id`` is the whole one."""
_SUMMARY_FIELDS = {"min": "minimum", "max": "maximum"}


class RunColumns:
    """Reads the cells of runs; looks up the names of projects and experiments once each."""

    def __init__(self, store: MetadataStore, names: Sequence[str]) -> None:
        """Parse the names; raises :class:`~modeldb_core.errors.QuerySyntaxError` for one that is no field."""
        self.names = list(names)
        self._store = store
        self._fields = [None if name == SHORT_ID else _field(name) for name in self.names]
        self._containers: dict[tuple[str, str], str] = {}

    def row(self, run: Run) -> list[Any]:
        """Return the values of one run."""
        return [short_id(run.entity_id) if field is None else self._value(run, field) for field in self._fields]

    def query_fields(self) -> tuple[str, ...]:
        """Return what a query must ask for so that the cells can be read."""
        wanted = []
        for name, field in zip(self.names, self._fields, strict=True):
            if field is None or field.key == "entity_id":
                continue
            if field.section == COLUMN and field.key in CONTAINER_NAMES:
                wanted.append(CONTAINER_NAMES[field.key])
            else:
                wanted.append(name)
        return tuple(dict.fromkeys(wanted))

    def numeric(self, rows: Iterable[Sequence[object]]) -> list[str]:
        """Return the columns that hold numbers only: they stand to the right."""
        listed = list(rows)
        return [
            name
            for index, name in enumerate(self.names)
            if all(isinstance(row[index], (int, float)) or row[index] is None for row in listed)
        ]

    def _value(self, run: Run, field: Field) -> Any:  # noqa: ANN401 - any value
        if field.section == COLUMN:
            if field.key == "duration":
                return run.duration_s
            if field.key in CONTAINER_NAMES:
                return self._container_name(field.key, getattr(run, CONTAINER_NAMES[field.key]))
            return getattr(run, field.key)
        if field.section == TAGS:
            return run.tags
        if field.aggregate:
            summary = run.series.get(field.key)
            return None if summary is None else getattr(summary, _SUMMARY_FIELDS.get(field.aggregate, field.aggregate))
        return look_up(getattr(run, field.section), field.key)

    def _container_name(self, kind: str, entity_id: str) -> str:
        if (kind, entity_id) not in self._containers:
            self._containers[kind, entity_id] = container_name(self._store, kind, entity_id)
        return self._containers[kind, entity_id]


def container_name(store: MetadataStore, kind: str, entity_id: str) -> str:
    """Return the name of a container, or its identifier where the store does not know it."""
    try:
        found: Entity = store.get(kind, entity_id)
    except NotFoundError:
        return entity_id
    return found.name


def _field(name: str) -> Field:
    return parse_field(name, "run")
