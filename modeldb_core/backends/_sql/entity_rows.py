"""What the tables hold of entities, written once for a batch: documents, and what is searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.counting import ITSELF, KeyCounts, Place, Shift, is_countable
from modeldb_core.backends._sql.documents import (
    FACT_COLUMNS,
    PLACE_COLUMNS,
    ROW_COLUMNS,
    Facts,
    FactValue,
    facts_between,
    facts_of,
    placing_fields,
    row_of,
    searched,
)
from modeldb_core.backends._sql.homes import Homes, columns_of
from modeldb_core.backends._sql.items import ItemRows
from modeldb_core.backends._sql.metrics import MetricRows
from modeldb_core.model.claims import claims_of
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.sql.dml import Delete, Insert, Update

    from modeldb_core.backends._sql.chain import Streams
    from modeldb_core.backends._sql.database import Database, Transaction
    from modeldb_core.backends._sql.numbers import Numbers
    from modeldb_core.model.claims import Claim
    from modeldb_core.model.entities import Document
    from modeldb_core.model.homes import Home
    from modeldb_core.model.links import Link


class EntityRows:
    """Gathers rows of entities, and writes them with one statement for each table.

    Attributes:
        metrics: the rows of ``metrics``, to which points may be added.
        homes: where entities lie, worked out once for all.
        items: the rows of ``items``; through it documents are read that are put.
    """

    def __init__(self, transaction: Transaction, numbers: Numbers, streams: Streams) -> None:
        self.metrics = MetricRows(transaction)
        self._transaction = transaction
        self._numbers = numbers
        self._streams = streams
        self._entities: list[dict[str, Any]] = []
        self._placed: list[dict[str, Any]] = []
        self._documents: list[dict[str, Any]] = []
        self._facts: list[dict[str, Any]] = []
        self._gone: list[dict[str, Any]] = []
        self._claims: list[dict[str, Any]] = []
        self._freed: list[dict[str, Any]] = []
        self._links: list[dict[str, Any]] = []
        self._unlinked: list[dict[str, Any]] = []
        self.items = ItemRows(transaction)
        self.counts = KeyCounts(transaction)
        self.homes = Homes(transaction, self.counts)
        self._shifts: dict[int, Shift] = {}
        self._counted: list[tuple[int, str, dict[str, Any], Place | None]] = []
        self._forms: list[tuple[int, dict[int, int], dict[int, int]]] = []

    def name(self, entity_pk: int, kind: str, entity_id: str) -> None:
        """Note an entity that a change names, but that has no document."""
        row: dict[str, Any] = dict.fromkeys(ROW_COLUMNS)
        self._entities.append({**row, "entity_pk": entity_pk, "kind": kind, "entity_id": entity_id, "present": 0})

    def put(
        self,
        entity_pk: int,
        kind: str,
        entity_id: str,
        before: Document | None,
        after: Document,
        home: Home,
        *,
        has_series: bool = True,
        claims: bool = True,
        is_counted: bool = False,
        is_plain: bool = False,
        is_new: bool = False,
    ) -> None:
        """Note the document of an entity.

        Args:
            before: the document that is stored, if any, and made its rows, as ``items.load`` completed it.
            home: where the entity lies, as it is stored.
            claims: whether it has its unique values.
            is_counted: whether it is, with ``before``, among those whose keys are counted.
            is_plain: whether ``before`` is its own JSON form.
            is_new: whether nothing at all is stored of it, so no points that came before it either.
        """
        row = row_of(kind, after, has_series=has_series)
        stream_id = after.get("stream_id")
        if isinstance(stream_id, str) and stream_id:
            self._streams.load([stream_id])
            row["stream_pk"] = self._streams.pk(stream_id)
        row.update(entity_pk=entity_pk, kind=kind, entity_id=entity_id, **columns_of(home))
        self._entities.append(row)
        if before is None or _has_moved(kind, before, after):
            self.homes.add(row, home, after, is_moved=before is not None)
            if not is_new:
                self._placed.append(row)
        stored = self.items.put(entity_pk, kind, before, after, before if is_plain else None)
        self._documents.append({"entity_pk": entity_pk, **stored})
        if claims:
            self._put_claims(entity_pk, claims_of(kind, before), claims_of(kind, after))
        self._counted.append((entity_pk, kind, row, Place.of(kind, home) if is_counted else None))
        if before is None or _differs_in_facts(kind, before, after):
            self._put_facts(entity_pk, *facts_between(kind, before or {}, after), is_new=is_new)
        if not is_new and (
            is_counted != is_countable(kind, row["present"], row["deleted_at"])
            or (before is not None and _has_moved(kind, before, after))
        ):
            self._count_whole(entity_pk, kind, before or {}, after)
        self._put_links(entity_pk, kind, before or {}, after)

    def _put_links(self, entity_pk: int, kind: str, before: Document, after: Document) -> None:
        declaration = KINDS.get(kind)
        if declaration is None or all(before.get(each.name) is after.get(each.name) for each in declaration.references):
            return
        one, other = dict.fromkeys(links_of(kind, before) if before else ()), dict.fromkeys(links_of(kind, after))
        self._links += [_link_row(entity_pk, link) for link in other if link not in one]
        self._unlinked += [
            {f"{name}_": value for name, value in _link_row(entity_pk, link).items()}
            for link in one
            if link not in other
        ]

    def _put_claims(self, entity_pk: int, before: set[Claim], after: set[Claim]) -> None:
        self._freed += [{"claim": claim.digest, "entity": entity_pk} for claim in before - after]
        self._claims += [{"digest": claim.digest, "entity_pk": entity_pk} for claim in after - before]

    def _put_facts(self, entity_pk: int, before: Facts, after: Facts, *, is_new: bool) -> None:
        gone = [pair for pair in before if pair not in after]
        altered = {pair: value for pair, value in after.items() if before.get(pair) != value} if before else after
        key_pks = self._numbers.of_keys([*altered, *gone])
        once: dict[int, FactValue | None] = {}
        one: dict[int, int] = {}
        other: dict[int, int] = {}
        for pair, value in altered.items():
            key_pk = key_pks[pair]
            if pair[0] == METRICS:
                once[key_pk] = value
                continue
            value_type, number, text = value
            self._facts.append(
                {
                    "entity_pk": entity_pk,
                    "key_pk": key_pk,
                    "value_type": value_type,
                    "number": number,
                    "text": text,
                }
            )
            other[key_pk] = value_type
            if pair in before:
                one[key_pk] = before[pair][0]
        for pair in gone:
            key_pk = key_pks[pair]
            if pair[0] == METRICS:
                once[key_pk] = None
            else:
                self._gone.append({"key": key_pk, "entity": entity_pk})
                one[key_pk] = before[pair][0]
        if not is_new:  # also where there was no document yet: points may have come before it
            self.metrics.load(entity_pk, once)
        self.metrics.set_once(entity_pk, once)
        self._forms.append((entity_pk, one, other))

    def _count_whole(self, entity_pk: int, kind: str, before: Document, after: Document) -> None:
        """Note all keys of an entity that begins or ceases to be counted, or is counted elsewhere."""
        one, other = facts_of(kind, before), facts_of(kind, after)
        key_pks = self._numbers.of_keys([*one, *other])
        self.metrics.load(entity_pk, (key_pks[pair] for pair in (*one, *other) if pair[0] == METRICS))
        self.metrics.load_series(entity_pk)
        # Instead of what has been noted of it: those are some of them.
        self._forms = [each for each in self._forms if each[0] != entity_pk]
        forms = [{key_pks[pair]: each[pair][0] for pair in each if pair[0] != METRICS} for each in (one, other)]
        self._forms.append((entity_pk, forms[0], forms[1]))

    def appended(self, entity_pk: int, kind: str, home: Home, *, is_counted: bool) -> None:
        """Note an entity to whose series points come, and whose document stays as it is."""
        place = Place.of(kind, home) if is_counted else None
        self._shifts[entity_pk] = Shift(place, place)

    def _count(self) -> None:
        for entity_pk, kind, row, before in self._counted:
            after = (
                Place(kind, row["project_id"] or "", row["workspace_id"] or "")
                if is_countable(kind, row["present"], row["deleted_at"])
                else None
            )
            self._shifts[entity_pk] = Shift(before, after)
            self.counts.add(self._shifts[entity_pk], ITSELF, 0, 0)
        for entity_pk, one, other in self._forms:
            self.counts.add_all(self._shifts[entity_pk], one, other)
        self.metrics.count(self.counts, self._shifts)

    def save(self) -> None:
        """Write what was gathered."""
        self.homes.place()
        self._count()
        self._transaction.write(_upsert_entity, self._entities)
        self._transaction.write(_place_entity, [_place_row(row) for row in self._placed])
        self._transaction.write(_upsert_document, self._documents)
        self.items.save()
        self._transaction.write(_delete_claim, self._freed, each_writes=None)
        self._transaction.write(_upsert_claim, self._claims)
        self._transaction.write(_delete_fact, self._gone)
        self._transaction.write(_upsert_fact, self._facts)
        self._transaction.write(_delete_link, self._unlinked, each_writes=None)
        self._transaction.write(_insert_link, self._links, each_writes=None)
        self.metrics.save()
        self.homes.spread()
        self.counts.save()


def _has_moved(kind: str, before: Document, after: Document) -> bool:
    """Return whether an entity is part of something else than before."""
    return any(before.get(name) != after.get(name) for name in placing_fields(kind))


def _differs_in_facts(kind: str, before: Document, after: Document) -> bool:
    """Return whether a field differs of which ``facts`` hold something."""
    # What a change leaves as it was is the same object.
    return any(before.get(name) is not after.get(name) for name in searched(kind))


def _upsert_entity(database: Database) -> Insert:
    return database.upsert(tables.entities, update=[name for name in ROW_COLUMNS if name not in PLACE_COLUMNS])


def _place_entity(_database: Database) -> Update:
    changed = sa.update(tables.entities).where(tables.entities.c.entity_pk == sa.bindparam("pk"))
    return changed.values({name: sa.bindparam(f"{name}_") for name in PLACE_COLUMNS})


def _place_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"pk": row["entity_pk"], **{f"{name}_": row[name] for name in PLACE_COLUMNS}}


def _upsert_document(database: Database) -> Insert:
    return database.upsert(tables.documents, update=("document", "apart"))


def _upsert_fact(database: Database) -> Insert:
    return database.upsert(tables.facts, update=FACT_COLUMNS)


def _upsert_claim(database: Database) -> Insert:
    return database.upsert(tables.unique_values, update=("entity_pk",))


def _delete_claim(_database: Database) -> Delete:
    table = tables.unique_values.c
    return sa.delete(tables.unique_values).where(
        table.digest == sa.bindparam("claim"), table.entity_pk == sa.bindparam("entity")
    )


def _link_row(entity_pk: int, link: Link) -> dict[str, Any]:
    return {"target_id": link.entity_id, "entity_pk": entity_pk, "field": link.field, "target_kind": link.kind}


def _insert_link(database: Database) -> Insert:
    return database.upsert(tables.links, update=())


def _delete_link(_database: Database) -> Delete:
    return sa.delete(tables.links).where(
        *(column == sa.bindparam(f"{column.name}_") for column in tables.links.primary_key.columns)
    )


def _delete_fact(_database: Database) -> Delete:
    table = tables.facts.c
    return sa.delete(tables.facts).where(table.key_pk == sa.bindparam("key"), table.entity_pk == sa.bindparam("entity"))
