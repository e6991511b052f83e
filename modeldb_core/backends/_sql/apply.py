"""How a batch of changes enters the tables, inside one transaction.

The changes are grouped by entity, so that many changes of one cost a single look at its document and a single write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from modeldb_core.backends._sql.chain import Streams, misfit
from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.documents import Facts, dump_document, facts_of, load_document, row_of
from modeldb_core.backends._sql.metrics import MetricRows
from modeldb_core.backends._sql.numbers import Numbers, Remembered
from modeldb_core.backends._sql.tables import changes as changes_table
from modeldb_core.backends._sql.tables import documents, entities, facts
from modeldb_core.changes import APPEND, ERASE, STREAM, UPDATE, Change
from modeldb_core.entities import RUNNING, Document, check_kind, entity_from_document, evolve
from modeldb_core.errors import ModelDBError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.points import Append
    from modeldb_core.errors import IntegrityError

_FACT_COLUMNS = ("value_type", "number", "text")


@dataclass(slots=True)
class Record:
    """An entity on its way through a batch.

    Attributes:
        before: the document that is stored; ``None`` where there is none.
        after: the document as it will be.
        stored: whether the row in ``entities`` exists.
    """

    kind: str
    entity_id: str
    entity_pk: int
    before: Document | None = None
    after: Document | None = None
    stored: bool = True
    present: bool = False
    appends: list[Append] = field(default_factory=list)


class Batch:
    """Applies changes within one write transaction; :meth:`learn` is called once that has ended well."""

    def __init__(self, database: Database, connection: Connection, remembered: Remembered) -> None:
        self.database = database
        self.connection = connection
        self.numbers = Numbers(database, connection, remembered)
        self.streams = Streams(database, connection, self.numbers)

    def learn(self) -> None:
        """Let the store remember numbers that this batch made."""
        self.numbers.learn()

    def apply(self, changes: Sequence[Change], wrong: dict[int, IntegrityError]) -> None:
        """Apply those of ``changes`` that are new; ``wrong`` says by place which do not match their hash."""
        new = self.streams.admit(changes, wrong)
        if not new:
            return
        erasures = self._erasures(new)
        new = erasures.without_payloads(new) if erasures else new
        records = self._load(new)
        first = self.numbers.next(changes_table.c.position)
        kept = [_evolve(records, change, position, self.streams) for position, change in enumerate(new, first)]
        self._write_log(new, records, first, kept)
        for record in records.values():
            self._save(record)
        if erasures:
            erasures.carry_out(self)
        self.streams.save()

    def _erasures(self, new: Sequence[Change]) -> Any:  # noqa: ANN401 - imported only where it is needed
        from modeldb_core.backends._sql.erasure import Erasures

        return Erasures.of(self, new)

    def _load(self, new: Iterable[Change]) -> dict[tuple[str, str], Record]:
        """Return the records that changes are about, with the documents of those that they alter."""
        altered = {(change.kind, change.entity_id): False for change in new if _has_record(change)}
        for change in new:
            if _has_record(change) and change.action not in (APPEND, ERASE):
                altered[change.kind, change.entity_id] = True
        if not altered:
            return {}
        records: dict[tuple[str, str], Record] = {}
        parameters = {MANY: self.database.many({entity_id for _, entity_id in altered})}
        for pk, entity_id, kind, present in self.connection.execute(self.database.statement(_entities), parameters):
            if (kind, entity_id) in altered:
                records[kind, entity_id] = Record(kind, entity_id, pk, present=bool(present))
        wanted = {r.entity_pk: r for name, r in records.items() if r.present and altered[name]}
        if wanted:
            parameters = {MANY: self.database.many(wanted)}
            for pk, text in self.connection.execute(self.database.statement(_documents), parameters):
                wanted[pk].before = wanted[pk].after = load_document(text)
        missing = [name for name in altered if name not in records]
        if missing:
            first_pk = self.numbers.next(entities.c.entity_pk)
            for pk, name in enumerate(missing, first_pk):
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
            record = records.get((change.kind, change.entity_id))
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
        self.connection.execute(self.database.statement(_insert_changes), rows)

    def _save(self, record: Record) -> None:
        metrics = MetricRows(self.database, self.connection, record.entity_pk)
        if record.after is not record.before:
            self._save_document(record, metrics)
        elif not record.stored:
            row = {"entity_pk": record.entity_pk, "entity_id": record.entity_id, "kind": record.kind, "present": 0}
            self.connection.execute(insert(entities), row)
        if record.appends:
            self._save_points(record, metrics)
        metrics.save()

    def _save_document(self, record: Record, metrics: MetricRows) -> None:
        assert record.after is not None
        row = row_of(record.kind, record.after)
        row.update(entity_pk=record.entity_pk, entity_id=record.entity_id, kind=record.kind)
        stream_id = record.after.get("stream_id")
        if isinstance(stream_id, str) and stream_id:
            self.streams.load([stream_id])
            row["stream_pk"] = self.streams.pk(stream_id)
        else:
            row["stream_pk"] = None
        self.connection.execute(self.database.statement(_upsert_entity), row)
        row = {"entity_pk": record.entity_pk, "document": dump_document(record.after)}
        self.connection.execute(self.database.statement(_upsert_document), row)
        before = {} if record.before is None else facts_of(record.kind, record.before)
        self.save_facts(record.entity_pk, before, facts_of(record.kind, record.after), metrics)

    def save_facts(self, entity_pk: int, before: Facts, after: Facts, metrics: MetricRows) -> None:
        """Write the difference between the searchable values of an entity before and after."""
        altered = [pair for pair, value in after.items() if before.get(pair) != value]
        gone = [pair for pair in before if pair not in after]
        if not altered and not gone:
            return
        key_pks = self.numbers.of_keys([*altered, *gone])
        once = [pair for pair in (*altered, *gone) if pair[0] == "metrics"]
        if once:
            metrics.load(key_pks[pair] for pair in once)
        for pair in once:
            metrics.set_once(key_pks[pair], after.get(pair))
        rows = [
            dict(zip(_FACT_COLUMNS, after[pair], strict=True), key_pk=key_pks[pair], entity_pk=entity_pk)
            for pair in altered
            if pair[0] != "metrics"
        ]
        if rows:
            self.connection.execute(self.database.statement(_upsert_fact), rows)
        rows = [{"key": key_pks[pair], "entity": entity_pk} for pair in gone if pair[0] != "metrics"]
        if rows:
            table = facts.c
            self.connection.execute(
                delete(facts).where(table.key_pk == bindparam("key"), table.entity_pk == bindparam("entity")), rows
            )

    def _save_points(self, record: Record, metrics: MetricRows) -> None:
        from modeldb_core.backends._sql.points import PointsWriter
        from modeldb_core.backends._sql.summaries import summarize

        summaries = summarize(group for item in record.appends for group in item.groups)
        key_pks = self.numbers.of_keys(("metrics", key) for key in summaries)
        metrics.load(key_pks.values())
        for key, summary in summaries.items():
            metrics.add(key_pks["metrics", key], summary)
        writer = PointsWriter(self.database, self.connection, self.numbers, record.entity_pk)
        writer.append(record.appends, is_new=not record.stored)
        if record.after is not None and record.after.get("status", RUNNING) != RUNNING:
            writer.settle()


def _has_record(change: Change) -> bool:
    """Return whether the log names the entity of a change by a row of ``entities``."""
    return change.kind != STREAM or change.entity_id != change.stream_id


def _evolve(records: dict[tuple[str, str], Record], change: Change, position: int, streams: Streams) -> bytes | None:
    """Let a change alter its record; return the payload that the log must keep."""
    if change.kind == STREAM or change.action == ERASE:
        return change.payload
    check_kind(change.kind)
    record = records[change.kind, change.entity_id]
    try:
        if change.action != APPEND:
            record.after = evolve(
                record.after, change.action, change.data(), actor=change.actor, recorded_at=change.recorded_at
            )
            entity_from_document(record.kind, record.entity_id, record.after)  # raises where it is no entity's document
            return change.payload
        if record.after is None and not record.present:  # a stream may arrive before the one that creates its run
            record.after = evolve(None, UPDATE, {}, actor=change.actor, recorded_at=change.recorded_at)
        return _append(record, change, position, streams)
    except ModelDBError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise misfit(change, error) from error


def _append(record: Record, change: Change, position: int, streams: Streams) -> bytes | None:
    from modeldb_core.backends._sql.points import Append
    from modeldb_core.points import decode_points

    if change.payload is None:
        return None
    groups = tuple(decode_points(change.payload))
    item = Append(position, streams.pk(change.stream_id), change.payload, groups)
    record.appends.append(item)
    return None if item.is_regular else change.payload


def _entities(database: Database) -> Select[Any]:
    table = entities.c
    return select(table.entity_pk, table.entity_id, table.kind, table.present).where(database.among(table.entity_id))


def _documents(database: Database) -> Select[Any]:
    return select(documents.c.entity_pk, documents.c.document).where(database.among(documents.c.entity_pk))


def _insert_changes(_database: Database) -> Insert:
    return insert(changes_table)


def _upsert_entity(database: Database) -> Insert:
    names = [column.name for column in entities.c if column.name not in ("entity_pk", "entity_id", "kind")]
    return database.upsert(entities, update=names)


def _upsert_document(database: Database) -> Insert:
    return database.upsert(documents, update=("document",))


def _upsert_fact(database: Database) -> Insert:
    return database.upsert(facts, update=_FACT_COLUMNS)
