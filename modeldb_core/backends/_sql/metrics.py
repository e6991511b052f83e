"""The rows of ``metrics``: of each key of an entity the value to search for, and the summary of its series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.counting import SERIES
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import VALUE_TYPES, FactValue
from modeldb_core.backends._sql.layout import SUMMARY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.counting import KeyCounts, Shift
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.summaries import Summary

_VALUES = ("value_type", "number", "text", "once")
_NO_SERIES: dict[str, Any] = dict.fromkeys(SUMMARY_COLUMNS)


@dataclass(slots=True)
class Metric:
    """What is stored of one key of an entity: the value logged once, and the summary of the series; either or both."""

    once: FactValue | None = None
    summary: Summary | None = None

    @property
    def form(self) -> int:
        """The form in which it is counted."""
        return (self.once[0] if self.once else 0) + (SERIES if self.summary is not None else 0)

    def row(self, entity_pk: int, key_pk: int) -> dict[str, Any]:
        """Return the row."""
        row = {"key_pk": key_pk, "entity_pk": entity_pk, **(self.summary.row() if self.summary else _NO_SERIES)}
        value = self.once or (VALUE_TYPES["number"], row["last"], None)
        row["value_type"], row["number"], row["text"] = value
        row["once"] = int(self.once is not None)
        return row


class MetricRows:
    """The metrics of entities, as one batch alters them."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._metrics: dict[tuple[int, int], Metric] = {}
        self._altered: dict[tuple[int, int], None] = {}
        self._stored: dict[tuple[int, int], int] = {}  # the forms (counting.py) of those that were loaded

    def load(self, entity_pk: int, key_pks: Iterable[int]) -> None:
        """Look up what is stored of keys; to be called before they are altered, but for a new entity."""
        wanted = [key_pk for key_pk in key_pks if (entity_pk, key_pk) not in self._metrics]
        if not wanted:
            return
        parameters = {MANY: self._transaction.database.many(wanted), "entity_pk": entity_pk}
        for row in self._transaction.rows(_select, parameters):
            from modeldb_core.backends._sql.summaries import Summary

            key_pk, value_type, number, text, once, *series = row
            summary = None if series[0] is None else Summary.from_row(series)
            metric = Metric((value_type, number, text) if once else None, summary)
            self._metrics[entity_pk, key_pk], self._stored[entity_pk, key_pk] = metric, metric.form

    def load_series(self, entity_pk: int) -> None:
        """Look up what is stored of all keys that have a series."""
        self.load(entity_pk, [key_pk for (key_pk,) in self._transaction.rows(_series_of, {"entity_pk": entity_pk})])

    def set_once(self, entity_pk: int, values: Mapping[int, FactValue | None]) -> None:
        """Set the values logged once under keys; ``None`` takes one away."""
        for key_pk, value in values.items():
            place = entity_pk, key_pk
            self._altered[place] = None
            if place in self._metrics:
                self._metrics[place].once = value
            else:
                self._metrics[place] = Metric(value)

    def add(self, entity_pk: int, key_pk: int, summary: Summary) -> None:
        """Add points to the series of a key."""
        self._altered[entity_pk, key_pk] = None
        metric = self._metrics.setdefault((entity_pk, key_pk), Metric())
        if metric.summary is None:
            metric.summary = summary
        else:
            metric.summary.add(summary)

    def clear_series(self, entity_pk: int, key_pks: Iterable[int]) -> None:
        """Forget the series of keys that are loaded."""
        for key_pk in key_pks:
            self._altered[entity_pk, key_pk] = None
            self._metrics[entity_pk, key_pk].summary = None

    def has_series(self, entity_pk: int) -> bool:
        """Return whether an entity has a series among the metrics that are loaded."""
        return any(metric.summary is not None for (pk, _), metric in self._metrics.items() if pk == entity_pk)

    def count(self, counts: KeyCounts, shifts: Mapping[int, Shift]) -> None:
        """Note what is altered in the counts of keys; ``shifts`` says of each entity where it is counted."""
        forms: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        for place, metric in self._metrics.items():
            entity_pk, key_pk = place
            if entity_pk not in forms:
                forms[entity_pk] = {}, {}
            before, after = forms[entity_pk]
            if place in self._stored:
                before[key_pk] = self._stored[place]
            if metric.once is not None or metric.summary is not None:
                after[key_pk] = metric.form
        for entity_pk, (before, after) in forms.items():
            shift = shifts[entity_pk]
            if before != after or shift.before != shift.after:
                counts.add_all(shift, before, after)

    def save(self) -> None:
        """Write every metric that was altered."""
        rows, gone = [], []
        for entity_pk, key_pk in self._altered:
            metric = self._metrics[entity_pk, key_pk]
            if metric.once is None and metric.summary is None:
                gone.append({"key": key_pk, "entity": entity_pk})
            else:
                rows.append(metric.row(entity_pk, key_pk))
        self._transaction.write(_upsert, rows)
        self._transaction.write(_delete, gone, each_writes=None)


def _select(database: Database) -> Select[Any]:
    wanted = [tables.metrics.c[name] for name in ("key_pk", *_VALUES, *SUMMARY_COLUMNS)]
    return sa.select(*wanted).where(
        database.among(tables.metrics.c.key_pk), tables.metrics.c.entity_pk == sa.bindparam("entity_pk")
    )


def _series_of(_database: Database) -> Select[Any]:
    return sa.select(tables.metrics.c.key_pk).where(
        tables.metrics.c.entity_pk == sa.bindparam("entity_pk"), tables.metrics.c.count.is_not(None)
    )


def _upsert(database: Database) -> Insert:
    return database.upsert(tables.metrics, update=(*_VALUES, *SUMMARY_COLUMNS))


def _delete(_database: Database) -> Delete:
    table = tables.metrics.c
    return sa.delete(tables.metrics).where(
        table.key_pk == sa.bindparam("key"), table.entity_pk == sa.bindparam("entity")
    )
