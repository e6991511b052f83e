"""How a batch of changes enters the tables, inside one transaction.

The changes are grouped by entity, so that many changes of one cost a single look at its document and a single write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.chain import Streams
from modeldb_core.backends._sql.counting import is_countable
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import is_plain, load_document
from modeldb_core.backends._sql.entity_rows import EntityRows
from modeldb_core.backends._sql.homes import are_named
from modeldb_core.backends._sql.layout import ERASED
from modeldb_core.backends._sql.numbers import Numbers, Remembered
from modeldb_core.log.changes import (
    ACTIONS,
    APPEND,
    DELETE,
    ERASE,
    STREAM,
    Change,
    alters_entity,
    document_after,
)
from modeldb_core.log.settling import settle
from modeldb_core.model.claims import may_claim
from modeldb_core.model.entities import RUNNING, Document
from modeldb_core.model.evolve import is_bare, unborn
from modeldb_core.model.homes import NOWHERE, Home
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.declared import Declared
    from modeldb_core.backends._sql.erasure import Erasures
    from modeldb_core.backends._sql.items import ItemRows
    from modeldb_core.backends._sql.points import Append
    from modeldb_core.errors import ModelDBError
    from modeldb_core.log.conditions import Condition


@dataclass(slots=True)
class Record:
    """An entity on its way through a batch.

    Attributes:
        before: the document that is stored; ``None`` where there is none.
        after: the document as it will be.
        stored: whether the row in ``entities`` exists.
        present: whether there is a document.
        erased: whether that says nothing, and no answer shows it.
        is_counted: whether its keys are counted as they are stored.
        is_plain: whether ``before`` is its own JSON form.
        home: where it lies, as it is stored.
        own: the maps of ``after`` that are no part of ``before``: later changes of the batch write into them.
    """

    kind: str
    entity_id: str
    entity_pk: int
    before: Document | None = None
    after: Document | None = None
    stored: bool = True
    present: bool = False
    erased: bool = False
    is_counted: bool = False
    is_plain: bool = False
    home: Home = NOWHERE
    appends: list[Append] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    def load(self, text: str, apart: str | None, items: ItemRows, changes: Iterable[Change]) -> None:
        """Take the document that is stored; of what lies apart of it what these changes may alter."""
        self.before = self.after = load_document(text)
        self.is_plain = is_plain(text)
        if apart:
            own = [each for each in changes if (each.kind, each.entity_id) == (self.kind, self.entity_id)]
            altering = [each for each in own if each.action not in (APPEND, ERASE)]
            items.load(self.entity_pk, self.kind, self.before, apart, None if self.erased else altering)


class Batch:
    """Applies changes within one write transaction; :meth:`learn` is called once that has ended well."""

    def __init__(self, transaction: Transaction, remembered: Remembered, declared: Declared | None = None) -> None:
        self.transaction = transaction
        self._declared = declared
        self.numbers = Numbers(transaction, remembered)
        self.streams = Streams(transaction, self.numbers)
        self.rows = EntityRows(transaction, self.numbers, self.streams)

    def learn(self) -> None:
        """Let the store remember numbers that this batch made."""
        self.numbers.learn()

    def apply(
        self, changes: Sequence[Change], wrong: dict[int, ModelDBError], expect: Sequence[Condition] = ()
    ) -> None:
        """Apply those of ``changes`` that are new; ``wrong`` says by place which do not match their hash.

        Raises:
            PreconditionError: something is new, and a condition of ``expect`` does not hold.
        """
        new = self.streams.admit(changes, wrong)
        if not new:
            return
        if expect:
            from modeldb_core.backends._sql.deciding import check

            check(self.transaction, expect)
        erasures = self._erasures(new)
        records = self._load(new)
        new = self._settle(new, records)
        first = self.streams.next_position()
        kept = [_evolve(records, change, position, self.streams) for position, change in enumerate(new, first)]
        self._write_log(new, records, first, kept)
        for record in records.values():
            self._save(record)
        self.rows.save()
        self.streams.save()
        self._note_outdated(new, records)
        if erasures is not None:
            erasures.carry_out(self)
            self.streams.save()

    def _settle(self, new: list[Change], records: dict[tuple[str, str], Record]) -> list[Change]:
        """Return new changes with those that settle who keeps a unique value; ``records`` gets their entities."""
        if not any(map(may_claim, {change.kind for change in new})):
            return new
        from modeldb_core.backends._sql.deciding import StoredClaims

        documents = {name: record.after for name, record in records.items()}
        settled = settle(new, StoredClaims(self.transaction, documents))
        if len(settled) > len(new):
            known = {id(change) for change in new}
            made = [change for change in settled if id(change) not in known]
            self.streams.admit(made, {})
            records.update(self._load([change for change in made if (change.kind, change.entity_id) not in records]))
        return settled

    def _note_outdated(self, new: Sequence[Change], records: dict[tuple[str, str], Record]) -> None:
        """Note the entities whose rows this code does not make as they should be, and those whose changes it cannot read."""
        behind = {kind for kind, _ in records if self._is_behind(kind)}
        rows = [
            (record.entity_pk, "")
            for record in records.values()
            if record.kind in behind and record.after is not record.before
        ]
        rows += [
            (records[change.kind, change.entity_id].entity_pk, change.action)
            for change in new
            if change.action not in ACTIONS and change.kind != STREAM
        ]
        if rows:
            from modeldb_core.backends._sql.declared import note_outdated

            note_outdated(self.transaction, rows)

    def _is_behind(self, kind: str) -> bool:
        return not self._declared.is_current(kind) if self._declared is not None else kind not in KINDS

    def _erasures(self, new: Sequence[Change]) -> Erasures | None:
        """Return what the new changes have to do with erasing; ``None``, as a rule, for nothing."""
        affected = self.streams.erased_pks({change.stream_id for change in new})
        if not affected and all(change.action not in (ERASE, DELETE) for change in new):
            return None
        from modeldb_core.backends._sql.erasure import Erasures

        return Erasures.of(self.transaction, new, affected)

    def _load(self, new: Sequence[Change]) -> dict[tuple[str, str], Record]:
        """Return the records that changes are about, with the documents of those that they alter."""
        altered: dict[tuple[str, str], bool] = {}
        for change in new:
            if _has_record(change):
                name = change.kind, change.entity_id
                altered[name] = altered.get(name, False) or change.action not in (APPEND, ERASE)
        if not altered:
            return {}
        records: dict[tuple[str, str], Record] = {}
        many = self.transaction.database.many
        parameters = {MANY: many({entity_id for _, entity_id in altered})}
        for pk, entity_id, kind, present, deleted_at, *place in self.transaction.rows(_entities, parameters):
            if (kind, entity_id) in altered:
                record = Record(kind, entity_id, pk, present=bool(present), erased=present == ERASED)
                record.home = Home(*(each or "" for each in place))
                record.is_counted = is_countable(kind, present, deleted_at)
                records[kind, entity_id] = record
        wanted = {
            record.entity_pk: record
            for name, record in records.items()
            if record.erased or (record.present and altered[name])
        }
        if wanted:
            for pk, text, apart in self.transaction.rows(_documents, {MANY: many(wanted)}):
                wanted[pk].load(text, apart, self.rows.items, new)
        missing = [name for name in altered if name not in records]
        if missing:
            parameters = {MANY: many({entity_id for _, entity_id in missing})}
            ((last, is_named),) = self.transaction.rows(_last_entity, parameters)
            if is_named is None:
                self.rows.homes.nobody_names(missing)
            for pk, name in enumerate(missing, (last or 0) + 1):
                records[name] = Record(*name, pk, stored=False)
        return records

    def _write_log(
        self,
        new: Sequence[Change],
        records: dict[tuple[str, str], Record],
        first: int,
        kept: Sequence[bytes | None],
    ) -> None:
        actors = self.numbers.of_actors(change.actor for change in new)
        rows = []
        for position, change in enumerate(new, first):
            record = records.get((change.kind, change.entity_id)) if _has_record(change) else None
            rows.append(
                {
                    "position": position,
                    "stream_pk": self.streams.pk(change.stream_id),
                    "seq": change.seq,
                    "recorded_at": change.recorded_at,
                    "actor_pk": actors[change.actor],
                    "entity_pk": None if record is None else record.entity_pk,
                    "action": change.action,
                    "salt": change.salt,
                    "payload_digest": change.payload_digest,
                    "hash": change.hash,
                    "payload": kept[position - first],
                }
            )
        self.transaction.write(_insert_change, rows)

    def _save(self, record: Record) -> None:
        if record.after is not None and (record.after is not record.before or (record.erased and record.appends)):
            has_series = not is_bare(record.after) or self._has_series(record)
            place = (record.entity_pk, record.kind, record.entity_id, record.before, record.after, record.home)
            self.rows.put(
                *place,
                has_series=has_series,
                is_counted=record.is_counted,
                is_plain=record.is_plain,
                is_new=not record.stored,
            )
        else:
            self.rows.appended(record.entity_pk, record.kind, record.home, is_counted=record.is_counted)
            if not record.stored:
                self.rows.name(record.entity_pk, record.kind, record.entity_id)
        has_ended = record.after is not record.before and _is_running(record.before) and not _is_running(record.after)
        if record.appends or (has_ended and record.stored):
            self._save_points(record, has_ended=has_ended)

    def _has_series(self, record: Record) -> bool:
        if any(len(group) and group.keys for item in record.appends for group in item.groups):
            return True
        return record.stored and bool(self.transaction.rows(_series, {"entity": record.entity_pk}))

    def _save_points(self, record: Record, *, has_ended: bool) -> None:
        from modeldb_core.backends._sql.points import PointsWriter
        from modeldb_core.backends._sql.summaries import summarize

        summaries = summarize(group for item in record.appends for group in item.groups)
        key_pks = self.numbers.of_keys((METRICS, key) for key in summaries)
        if record.stored:
            self.rows.metrics.load(record.entity_pk, key_pks.values())
        for key, summary in summaries.items():
            self.rows.metrics.add(record.entity_pk, key_pks[METRICS, key], summary)
        writer = PointsWriter(self.transaction, self.numbers, record.entity_pk)
        writer.append(record.appends, is_new=not record.stored)
        if has_ended:
            writer.settle()


def _is_running(document: Document | None) -> bool:
    return document is None or document.get("status", RUNNING) == RUNNING


def _has_record(change: Change) -> bool:
    """Return whether the log names the entity of a change by a row of ``entities``."""
    return change.kind != STREAM or change.entity_id != change.stream_id


def _evolve(records: dict[tuple[str, str], Record], change: Change, position: int, streams: Streams) -> bytes | None:
    """Let a change alter its record; return the payload that the log must keep."""
    if not alters_entity(change):
        return change.payload
    record = records[change.kind, change.entity_id]
    if change.action != APPEND:
        record.after = document_after(record.after, change, record.own if _is_undecided(change.kind) else None)
        return change.payload
    if record.after is None and not record.present:  # a stream may arrive before the one that creates its run
        record.after = unborn(actor=change.actor, recorded_at=change.recorded_at)
    return _append(record, change, position, streams)


def _is_undecided(kind: str) -> bool:
    """Return whether a change of a kind decides nothing, and so compares nothing with the document before it."""
    return kind in KINDS and not KINDS[kind].decided


def _append(record: Record, change: Change, position: int, streams: Streams) -> bytes | None:
    from modeldb_core.backends._sql.points import Append
    from modeldb_core.log.replay import groups_of

    groups = tuple(groups_of(change))
    if change.payload is None:
        return None
    item = Append(position, streams.pk(change.stream_id), change.payload, groups)
    record.appends.append(item)
    return None if item.is_regular else change.payload


def _entities(database: Database) -> Select[Any]:
    table = tables.entities.c
    state = (table.present, table.deleted_at, table.workspace_id, table.project_id)
    return sa.select(table.entity_pk, table.entity_id, table.kind, *state).where(database.among(table.entity_id))


def _series(_database: Database) -> Select[Any]:
    table = tables.metrics.c
    found = sa.select(table.key_pk).where(table.entity_pk == sa.bindparam("entity"), table.count.is_not(None))
    return found.limit(1)


def _documents(database: Database) -> Select[Any]:
    table = tables.documents.c
    return sa.select(table.entity_pk, table.document, table.apart).where(database.among(table.entity_pk))


def _insert_change(_database: Database) -> Insert:
    return sa.insert(tables.changes)


def _last_entity(database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.entities.c.entity_pk), are_named(database).scalar_subquery())
