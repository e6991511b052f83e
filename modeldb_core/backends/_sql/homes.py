"""Where entities lie, in the table ``entities``: worked out when they are written, and for what lies in them.

Each entity takes what it does not say itself from one container (:mod:`modeldb_core.model.homes`), and that one's row has
it. So a new entity costs one question for its containers, and one whether anything waits for it: a container may arrive
after what it contains, or move. Then what it contains is gone through, level by level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.counting import Place, Shift, is_countable
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.model.homes import NOWHERE, Home, Named, Step, kinds_of, step_of
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Update

    from modeldb_core.backends._sql.counting import KeyCounts
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.log.erasures import Name

_SOME = 500
"""Entities that are gone through together."""


def home_in(row: Any) -> Home:  # noqa: ANN401 - a row of entities
    """Return where an entity lies by its row."""
    return _home(row.workspace_id, row.project_id)


def _home(workspace_id: str | None, project_id: str | None) -> Home:
    return Home(workspace_id or "", project_id or "")


def columns_of(home: Home) -> dict[str, str | None]:
    """Return what a row of ``entities`` holds of a home."""
    return {name: value or None for name, value in home._asdict().items()}


@dataclass(slots=True)
class _Entry:
    row: dict[str, Any]
    stored: Home
    step: Step
    is_moved: bool


class Homes:
    """Works out where the entities of a batch lie, and then what lies in them."""

    def __init__(self, transaction: Transaction, counts: KeyCounts) -> None:
        self._transaction = transaction
        self._counts = counts
        self._entries: dict[Name, _Entry] = {}
        self._altered: list[Name] = []
        self._unnamed: set[Name] = set()

    def nobody_names(self, names: Iterable[Name]) -> None:
        """Note entities that are new, and that no link in the store leads to: nothing waits for them."""
        self._unnamed.update(names)

    def add(self, row: dict[str, Any], stored: Home, named: Named, *, is_moved: bool) -> None:
        """Note the row of an entity whose place is to be worked out.

        Args:
            row: gets the columns.
            stored: where it lies as yet.
            named: its document.
            is_moved: it was there already, and its containers were others.
        """
        name = row["kind"], row["entity_id"]
        self._entries[name] = _Entry(row, stored, step_of(*name, named), is_moved)

    def place(self) -> None:
        """Set the columns of the rows that were noted; they are to be written before :meth:`spread`."""
        if not self._entries:
            return
        steps = {name: entry.step for name, entry in self._entries.items()}
        steps.update(self._steps_above(steps))
        outside = _stored(self._transaction, (step for step in steps.values() if step.above not in steps))
        altered = []
        for name, entry in self._entries.items():
            home = _follow(entry.step, steps, outside)
            entry.row.update(columns_of(home))
            if entry.is_moved or home != entry.stored:
                altered.append(name)
        many = {name[1] for name in altered if name not in self._unnamed}
        if many and self._transaction.rows(are_named, {MANY: self._transaction.database.many(many)}):
            self._altered = altered
        self._entries = {}
        self._unnamed = set()

    def _steps_above(self, steps: Mapping[Name, Step]) -> dict[Name, Step]:
        """Return the steps above what has moved, up to the top: it may have moved into what lies in it."""
        found: dict[Name, Step] = {}
        front = _containers(entry.step for entry in self._entries.values() if entry.is_moved)
        while front:
            new = {name: step for name, step in _steps(self._transaction, front).items() if name not in found}
            found.update(new)
            front = _containers(step for name, step in new.items() if name not in steps)
        return {name: step for name, step in found.items() if name not in steps}

    def spread(self) -> None:
        """Write where the entities lie that take it from those that were placed."""
        front, self._altered = self._altered, []
        while front:
            altered: list[Name] = []
            for some in _some(front):
                altered += self._spread_from({*some})
            front = altered

    def _spread_from(self, above: set[Name]) -> list[Name]:
        """Write where the entities lie that are part of others; return those of which that is another place now."""
        transaction = self._transaction
        many = transaction.database.many({entity_id for _, entity_id in above})
        found = {
            pk: ((kind, entity_id), _home(workspace_id, project_id), is_countable(kind, present, deleted_at))
            for pk, kind, entity_id, workspace_id, project_id, field, present, deleted_at in transaction.rows(
                _parts, {MANY: many}
            )
            if kind in KINDS and any(field == each.name for each in KINDS[kind].containers)
        }
        altered: list[Name] = []
        for pks in _some([*found]):
            named: dict[int, dict[str, str]] = {pk: {} for pk in pks}
            for pk, field, target_id in transaction.rows(_links_of, {MANY: transaction.database.many(pks)}):
                named[pk][field] = target_id
            steps = {pk: step_of(*found[pk][0], named[pk]) for pk in pks}
            outside = _stored(transaction, steps.values())
            rows, shifts = [], {}
            for pk, step in steps.items():
                home = _follow(step, {}, outside)
                name, stored, is_counted = found[pk]
                if home != stored:
                    rows.append({"pk": pk, "workspace": home.workspace_id or None, "project": home.project_id or None})
                    altered.append(name)
                    if is_counted:
                        shifts[pk] = Shift(Place.of(name[0], stored), Place.of(name[0], home))
            transaction.write(_update, rows)
            self._counts.move(shifts)
        return altered


def _follow(step: Step, steps: Mapping[Name, Step], outside: Mapping[Name, Home]) -> Home:
    """Return where a step leads: along other steps, and at the end to what is stored."""
    home, seen = NOWHERE, set[Step]()
    while step not in seen:
        seen.add(step)
        home = home.or_else(step.own)
        if all(home) or step.above is None:
            break
        kind, entity_id = step.above
        names = ((each, entity_id) for each in kinds_of(kind))
        name = next((name for name in names if name in steps or name in outside), None)
        if name is None:
            break
        if name not in steps:
            return home.or_else(outside[name])
        step = steps[name]
    return home


def _stored(transaction: Transaction, steps: Iterable[Step]) -> dict[Name, Home]:
    """Return where the containers lie that steps need; those that are not there are left out."""
    ids = _containers(steps)
    if not ids:
        return {}
    rows = transaction.rows(_homes, {MANY: transaction.database.many(ids)})
    return {(kind, entity_id): _home(*place) for kind, entity_id, *place in rows}


def _containers(steps: Iterable[Step]) -> set[str]:
    """Return the identifiers of the containers that steps need to know where they lead."""
    return {step.above[1] for step in steps if step.above is not None and not all(step.own)}


def _steps(transaction: Transaction, ids: Iterable[str]) -> dict[Name, Step]:
    """Return what entities that are stored say themselves, by what the table of links holds of them."""
    named: dict[Name, dict[str, str]] = {}
    for kind, entity_id, field, target_id in transaction.rows(_links_above, {MANY: transaction.database.many(ids)}):
        named.setdefault((kind, entity_id), {})[field] = target_id
    return {name: step_of(*name, fields) for name, fields in named.items()}


def _some(names: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(names), _SOME):
        yield names[at : at + _SOME]


def _homes(database: Database) -> Select[Any]:
    table = tables.entities.c
    wanted = sa.select(table.kind, table.entity_id, table.workspace_id, table.project_id)
    return wanted.where(database.among(table.entity_id), table.present != 0)


def _links_above(database: Database) -> Select[Any]:
    joined = tables.entities.outerjoin(tables.links, tables.links.c.entity_pk == tables.entities.c.entity_pk)
    wanted = sa.select(
        tables.entities.c.kind, tables.entities.c.entity_id, tables.links.c.field, tables.links.c.target_id
    ).select_from(joined)
    return wanted.where(database.among(tables.entities.c.entity_id), tables.entities.c.present != 0)


def are_named(database: Database) -> Select[Any]:
    """Build the question whether a link leads to one of some identifiers."""
    return sa.select(tables.links.c.entity_pk).where(database.among(tables.links.c.target_id)).limit(1)


def _parts(database: Database) -> Select[Any]:
    from modeldb_core.backends._sql.joins import FixedJoin

    table = tables.entities.c
    joined = FixedJoin(tables.links, tables.entities, table.entity_pk == tables.links.c.entity_pk)
    wanted = sa.select(
        table.entity_pk, table.kind, table.entity_id, table.workspace_id, table.project_id, tables.links.c.field
    )
    wanted = wanted.add_columns(table.present, table.deleted_at)
    return wanted.select_from(joined).where(database.among(tables.links.c.target_id))


def _links_of(database: Database) -> Select[Any]:
    return sa.select(tables.links.c.entity_pk, tables.links.c.field, tables.links.c.target_id).where(
        database.among(tables.links.c.entity_pk)
    )


def _update(_database: Database) -> Update:
    changed = sa.update(tables.entities).where(tables.entities.c.entity_pk == sa.bindparam("pk"))
    return changed.values(workspace_id=sa.bindparam("workspace"), project_id=sa.bindparam("project"))
