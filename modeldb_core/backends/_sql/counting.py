"""How many entities carry each key, kept while they are written: so that nobody need count them when asked.

Counted is what a question without a filter finds: entities that are there and not deleted, by kind and where they lie. The
key 0 counts the entities themselves. A batch adds up what it alters and writes each count once, at its end.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.declared import has_outdated, read_declared
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.sql.dml import Delete, Insert

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.model.homes import Home

ITSELF = 0
"""The key under which entities themselves are counted."""
SERIES = 8
"""What is added to a form where a metric has a series; the rest is the type of the value logged once, 0 for none."""


class Place(NamedTuple):
    """Of which kind counted entities are, and where they lie; empty texts for nowhere."""

    kind: str
    project_id: str
    workspace_id: str

    @classmethod
    def of(cls, kind: str, home: Home) -> Place:
        """Return the place of entities that lie in a home."""
        return cls(kind, home.project_id, home.workspace_id)


class Shift(NamedTuple):
    """Where an entity was counted before a batch, and where it is after it; ``None`` for nowhere."""

    before: Place | None
    after: Place | None


class Count(NamedTuple):
    """What is counted: a key with a form of its values, in a place."""

    place: Place
    key_pk: int
    form: int


def is_countable(kind: str, present: int, deleted_at: object) -> bool:
    """Return whether an entity is counted, by what its row says; :func:`_are_counted` is the same in SQL."""
    return kind in KINDS and present == 1 and deleted_at is None


def _are_counted(kinds: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that entities are of some declared kinds, and counted."""
    return sa.and_(
        tables.entities.c.kind.in_(kinds), tables.entities.c.present == 1, tables.entities.c.deleted_at.is_(None)
    )


class KeyCounts:
    """Adds up what a batch alters in counts."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._added: defaultdict[Place, defaultdict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))

    def add(self, shift: Shift, key_pk: int, before: int | None, after: int | None) -> None:
        """Note that an entity carried a key in the form ``before`` and does in the form ``after``; ``None``: not at all."""
        if before == after and shift.before == shift.after:
            return
        if shift.before is not None and before is not None:
            self._added[shift.before][key_pk, before] -= 1
        if shift.after is not None and after is not None:
            self._added[shift.after][key_pk, after] += 1

    def add_all(self, shift: Shift, before: Mapping[int, int], after: Mapping[int, int]) -> None:
        """Note what :meth:`add` does of several keys; the forms by key."""
        for sign, place, forms in ((-1, shift.before, before), (1, shift.after, after)):
            if place is not None:
                added = self._added[place]
                for key_and_form in forms.items():
                    added[key_and_form] += sign

    def move(self, shifts: Mapping[int, Shift]) -> None:
        """Note that entities, whose rows stay as they are stored, are counted elsewhere."""
        if not shifts:
            return
        for shift in shifts.values():
            self.add(shift, ITSELF, 0, 0)
        parameters = {MANY: self._transaction.database.many(shifts)}
        for build in (forms_of_facts, forms_of_metrics):
            for entity_pk, key_pk, form in self._transaction.rows(build, parameters):
                self.add(shifts[entity_pk], key_pk, form, form)

    def save(self) -> None:
        """Write what was added up; in one order, so that nobody waits for one who waits for him."""
        rows, fewer = [], []
        for place, added in sorted(self._added.items()):
            kind, project_id, workspace_id = place
            for (key_pk, form), number in sorted(added.items()):
                if not number:
                    continue
                row = {
                    "kind": kind,
                    "project_id": project_id,
                    "workspace_id": workspace_id,
                    "key_pk": key_pk,
                    "form": form,
                }
                rows.append({**row, "count": number})
                if number < 0:
                    fewer.append({f"{name}_": value for name, value in row.items()})
        self._added.clear()
        self._transaction.write(_add, rows)
        self._transaction.write(_delete_if_none, fewer, each_writes=None)


def stored_counts(transaction: Transaction, kinds: Sequence[str]) -> Iterator[tuple[Count, int]]:
    """Iterate over what the rows of entities of some kinds say: what the counts must be."""
    from modeldb_core.backends._sql.joins import FixedJoin

    connection = transaction.connection
    counted = _are_counted(kinds)
    nowhere = sa.literal_column("''", sa.Text())  # a parameter would be another expression where it is grouped by
    place = [
        tables.entities.c.kind,
        *(sa.func.coalesce(tables.entities.c[name], nowhere) for name in Place._fields[1:]),
    ]
    for *where, count in connection.execute(sa.select(*place, sa.func.count()).where(counted).group_by(*place)):
        yield Count(Place(*where), ITSELF, 0), count
    for key_pk, section in connection.execute(sa.select(tables.keys.c.key_pk, tables.keys.c.section)).all():
        # One key at a time: the database gathers no more than one row an entity.
        table, form = (
            (tables.metrics, _metric_form()) if section == METRICS else (tables.facts, tables.facts.c.value_type)
        )
        joined = FixedJoin(table, tables.entities, tables.entities.c.entity_pk == table.c.entity_pk)
        query = sa.select(*place, form, sa.func.count()).select_from(joined).where(table.c.key_pk == key_pk, counted)
        for *where, value, count in connection.execute(query.group_by(*place, form)):
            yield Count(Place(*where), key_pk, value), count


def read_counts(transaction: Transaction, kinds: Iterable[str]) -> dict[Count, int]:
    """Return the counts of some kinds as they are stored."""
    query = sa.select(tables.key_counts).where(tables.key_counts.c.kind.in_(kinds))
    return {
        Count(Place(*place), key_pk, form): count
        for *place, key_pk, form, count in transaction.connection.execute(query)
    }


def are_counted(transaction: Transaction, kind: str) -> bool:
    """Return whether the counts of a kind hold: not while its rows are made again."""
    declared = read_declared(transaction)
    return declared.is_current(kind) and not has_outdated(transaction, [kind])


def recount(transaction: Transaction, kinds: Sequence[str]) -> None:
    """Make the counts of some kinds again from the rows of their entities."""
    rows = [
        {**count.place._asdict(), "key_pk": count.key_pk, "form": count.form, "count": number}
        for count, number in stored_counts(transaction, kinds)
    ]
    transaction.connection.execute(sa.delete(tables.key_counts).where(tables.key_counts.c.kind.in_(kinds)))
    if rows:
        transaction.connection.execute(sa.insert(tables.key_counts), rows)


def _metric_form() -> ColumnElement[int]:
    one, nothing, series = (sa.literal_column(str(number), sa.SmallInteger()) for number in (1, 0, SERIES))
    once = sa.case((tables.metrics.c.once == one, tables.metrics.c.value_type), else_=nothing)
    return once + sa.case((tables.metrics.c.count.is_not(None), series), else_=nothing)


def forms_of_facts(database: Database) -> Select[Any]:
    """Build the question for the keys of some entities, but for metrics: number, key and form."""
    return sa.select(tables.facts.c.entity_pk, tables.facts.c.key_pk, tables.facts.c.value_type).where(
        database.among(tables.facts.c.entity_pk)
    )


def forms_of_metrics(database: Database) -> Select[Any]:
    """Build the question for the metrics of some entities: number, key and form."""
    of_metrics = sa.select(tables.keys.c.key_pk).where(tables.keys.c.section == METRICS)
    wanted = sa.select(tables.metrics.c.entity_pk, tables.metrics.c.key_pk, _metric_form())
    return wanted.where(tables.metrics.c.key_pk.in_(of_metrics), database.among(tables.metrics.c.entity_pk))


def carried_metrics(_database: Database) -> Select[Any]:
    """Build the question how many metrics entities of a kind carry."""
    joined = tables.key_counts.join(tables.keys, tables.keys.c.key_pk == tables.key_counts.c.key_pk)
    wanted = sa.select(sa.func.count(tables.keys.c.key_pk.distinct())).select_from(joined)
    return wanted.where(tables.key_counts.c.kind == sa.bindparam("kind"), tables.keys.c.section == METRICS)


def _add(database: Database) -> Insert:
    statement = database.insert(tables.key_counts)
    added = tables.key_counts.c.count + statement.excluded.count
    made: Insert = statement.on_conflict_do_update(
        index_elements=list(tables.key_counts.primary_key.columns), set_={"count": added}
    )
    return made


def _delete_if_none(_database: Database) -> Delete:
    own = (column == sa.bindparam(f"{column.name}_") for column in tables.key_counts.primary_key.columns)
    return sa.delete(tables.key_counts).where(*own, tables.key_counts.c.count == 0)
