"""The rows of ``metrics``: of each key of an entity the value to search for, and the summary of its series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select

from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import VALUE_TYPES, FactValue
from modeldb_core.backends._sql.summaries import COLUMNS, Summary
from modeldb_core.backends._sql.tables import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.dml import Insert

_VALUES = ("value_type", "number", "text", "once")
_NO_SERIES: dict[str, Any] = dict.fromkeys(COLUMNS)


@dataclass(slots=True)
class Metric:
    """What is stored of one key of an entity: the value logged once, and the summary of the series; either or both."""

    once: FactValue | None = None
    summary: Summary | None = None

    def row(self, entity_pk: int, key_pk: int) -> dict[str, Any]:
        """Return the row."""
        row = {"key_pk": key_pk, "entity_pk": entity_pk, **(self.summary.row() if self.summary else _NO_SERIES)}
        value = self.once or (VALUE_TYPES["number"], row["last"], None)
        row.update(zip(_VALUES, (*value, int(self.once is not None)), strict=True))
        return row


class MetricRows:
    """The metrics of one entity, as one batch alters them."""

    def __init__(self, database: Database, connection: Connection, entity_pk: int) -> None:
        self._database = database
        self._connection = connection
        self._entity_pk = entity_pk
        self._metrics: dict[int, Metric] = {}

    def load(self, key_pks: Iterable[int]) -> None:
        """Look up what is stored of keys; to be called before they are altered, but for a new entity."""
        wanted = [key_pk for key_pk in key_pks if key_pk not in self._metrics]
        if not wanted:
            return
        parameters = {MANY: self._database.many(wanted), "entity_pk": self._entity_pk}
        for row in self._connection.execute(self._database.statement(_select), parameters):
            key_pk, value_type, number, text, once, *series = row
            self._metrics[key_pk] = Metric(
                (value_type, number, text) if once else None, Summary.from_row(series) if series[0] else None
            )

    def set_once(self, key_pk: int, value: FactValue | None) -> None:
        """Set the value logged once under a key; ``None`` takes it away."""
        self._metrics.setdefault(key_pk, Metric()).once = value

    def add(self, key_pk: int, summary: Summary) -> None:
        """Add points to the series of a key."""
        metric = self._metrics.setdefault(key_pk, Metric())
        if metric.summary is None:
            metric.summary = summary
        else:
            metric.summary.add(summary)

    def clear_series(self) -> None:
        """Forget the series of all keys that are loaded."""
        for metric in self._metrics.values():
            metric.summary = None

    def save(self) -> None:
        """Write every metric that was loaded or altered."""
        rows, gone = [], []
        for key_pk, metric in self._metrics.items():
            if metric.once is None and metric.summary is None:
                gone.append({"key": key_pk, "entity": self._entity_pk})
            else:
                rows.append(metric.row(self._entity_pk, key_pk))
        if rows:
            self._connection.execute(self._database.statement(_upsert), rows)
        if gone:
            table = metrics.c
            self._connection.execute(
                delete(metrics).where(table.key_pk == bindparam("key"), table.entity_pk == bindparam("entity")), gone
            )


def _select(database: Database) -> Select[Any]:
    wanted = [metrics.c[name] for name in ("key_pk", *_VALUES, *COLUMNS)]
    return select(*wanted).where(database.among(metrics.c.key_pk), metrics.c.entity_pk == bindparam("entity_pk"))


def _upsert(database: Database) -> Insert:
    return database.upsert(metrics, update=(*_VALUES, *COLUMNS))
