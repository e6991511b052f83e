"""What an audit looks at beyond the answers of a store: the rows by which it searches, and rows that belong to nothing.

``modeldb_core.audit`` verifies the log and every answer. What no answer shows, and yet decides what is found, is here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import UniqueConstraint, and_, func, or_, select
from sqlalchemy.exc import DBAPIError

from modeldb_core.backends._sql import schema
from modeldb_core.backends._sql.audit_points import check_points
from modeldb_core.backends._sql.counting import are_counted, read_counts, stored_counts
from modeldb_core.backends._sql.declared import is_outdated, read_declared
from modeldb_core.backends._sql.documents import COLUMN_SECTION, Facts, facts_of, load_document, row_of
from modeldb_core.backends._sql.erasure import places_of
from modeldb_core.backends._sql.items import complete, is_written_as
from modeldb_core.backends._sql.layout import SUMMARY_COLUMNS
from modeldb_core.backends._sql.numbers import find_keys
from modeldb_core.backends._sql.tables import (
    changes,
    chunks,
    columns,
    documents,
    entities,
    erased,
    facts,
    items,
    key_lists,
    keys,
    links,
    metadata,
    metrics,
    outdated,
    outlines,
    pending,
    spans,
    streams,
    unique_values,
)
from modeldb_core.log.changes import ERASE, GENESIS, Head
from modeldb_core.model.claims import claims_of, may_claim
from modeldb_core.model.entities import from_datetime
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.model.values import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.model.entities import Document, SeriesSummary
    from modeldb_core.model.links import Link

_FLOATS = ("first", "last", "minimum", "maximum", "mean", "total")
_A_FEW = {"yield_per": 200}  # rows that are fetched at a time


def check_entity(
    transaction: Transaction, kind: str, entity_id: str, document: Document, series: Mapping[str, SeriesSummary]
) -> Iterator[str]:
    """Iterate over sentences on the rows of an entity that do not follow from its document and series."""
    connection = transaction.connection
    found = connection.execute(
        select(entities).where(entities.c.entity_id == entity_id, entities.c.kind == kind)
    ).one_or_none()
    if found is None:
        yield "its row in entities is missing"
        return
    if not is_written_as(transaction, found.entity_pk, document):
        yield "its document is not written as its changes make it"
    if not read_declared(transaction).is_current(kind) or is_outdated(transaction, found.entity_pk):
        return  # code that knows more, or less, has made its rows, or will
    yield from _check_row(connection, kind, found, document, has_series=bool(series))
    yield from _check_links(connection, found.entity_pk, links_of(kind, document))
    expected = facts_of(kind, document)
    once = {key: fact for (section, key), fact in expected.items() if section == METRICS}
    yield from _check_facts(connection, found.entity_pk, expected)
    yield from _check_metrics(transaction, found.entity_pk, once, series)


def check_tables(transaction: Transaction) -> Iterator[str]:
    """Iterate over sentences on rows that belong to nothing, or that contradict others."""
    connection = transaction.connection
    try:
        yield from schema.check(transaction)
        yield from transaction.database.check(connection)
        yield from _check_doubles(connection)
        yield from _check_streams(connection)
        yield from _check_positions(connection)
        yield from _check_erased(connection)
        yield from _check_orphans(connection)
        yield from _check_strays(transaction)
        yield from _check_claims(transaction)
        yield from _check_counts(transaction)
        yield from check_points(transaction)
    except DBAPIError as error:  # a table is missing, or not what it was; what was found before says so
        yield f"the rest cannot be checked: {error.orig}"


def _check_row(
    connection: Connection,
    kind: str,
    found: Any,  # noqa: ANN401 - a row
    document: Document,
    *,
    has_series: bool,
) -> Iterator[str]:
    expected = row_of(kind, document, has_series=has_series)
    stream_id = document.get("stream_id")
    if isinstance(stream_id, str) and stream_id:
        query = select(streams.c.stream_pk).where(streams.c.stream_id == stream_id)
        expected["stream_pk"] = connection.execute(query).scalar_one_or_none()
    for name, value in expected.items():
        if getattr(found, name) != value:
            yield f"{name} in entities is {getattr(found, name)!r}; its changes say {value!r}"


def _check_links(connection: Connection, entity_pk: int, expected: Sequence[Link]) -> Iterator[str]:
    query = select(links.c.field, links.c.target_kind, links.c.target_id).where(links.c.entity_pk == entity_pk)
    found = {tuple(row) for row in connection.execute(query)}
    for field, _, target_id in sorted({*expected} ^ found):
        yield f"links and its changes disagree on whether its {field} names {target_id}"


def _check_facts(connection: Connection, entity_pk: int, expected: Facts) -> Iterator[str]:
    query = select(keys.c.section, keys.c.key, facts.c.value_type, facts.c.number, facts.c.text)
    query = query.join(keys, keys.c.key_pk == facts.c.key_pk).where(facts.c.entity_pk == entity_pk)
    found: Facts = {(row.section, row.key): tuple(row)[2:] for row in connection.execute(query)}
    for pair, fact in expected.items():
        if pair[0] != METRICS and found.pop(pair, None) != fact:
            yield f"what facts hold of {_name(pair)} does not follow from its changes"
    for pair in found:
        yield f"facts hold {_name(pair)}, of which no change says anything"


def _check_metrics(
    transaction: Transaction, entity_pk: int, once: Mapping[str, Any], series: Mapping[str, SeriesSummary]
) -> Iterator[str]:
    wanted = select(metrics, keys.c.section, keys.c.key).join(keys, keys.c.key_pk == metrics.c.key_pk)
    wanted = wanted.where(metrics.c.entity_pk == entity_pk)
    # Looked up by the keys that there must be, and by the index of series: no other is fast. For the rest: strays.
    key_pks = list(find_keys(transaction, METRICS, sorted({**once, **series})).values())
    found = {}
    for condition in (metrics.c.key_pk.in_(key_pks), metrics.c.count.is_not(None)):
        found.update({row.key: row for row in transaction.connection.execute(wanted.where(condition))})
    for key in {**once, **series}:
        row = found.pop(key, None)
        if row is None or row.section != METRICS:
            yield f"the row of {key!r} in metrics is missing"
            continue
        summary = series.get(key)
        value = once.get(key) or (1, None if summary is None else _null(summary.last), None)
        if (row.value_type, row.number, row.text, row.once) != (*value, int(key in once)):
            yield f"what metrics hold of {key!r} does not follow from its changes"
        for name in _wrong_columns(row, summary):
            yield f"{name} of {key!r} in metrics is {getattr(row, name)!r}, which does not follow from its points"
    for key in found:
        yield f"metrics hold {key!r}, of which no change says anything"


def _wrong_columns(row: Any, summary: SeriesSummary | None) -> Iterator[str]:  # noqa: ANN401 - a row
    if summary is None:
        yield from (name for name in SUMMARY_COLUMNS if getattr(row, name) is not None)
        return
    floats = [getattr(row, name) for name in _FLOATS]
    if row.exact is not None:
        if len(row.exact) != 8 * len(_FLOATS):
            yield "exact"
            return
        exact = np.frombuffer(row.exact, "<f8").tolist()
        # The columns hold the same, but for the sign of zero.
        yield from (n for n, one, other in zip(_FLOATS, floats, exact, strict=True) if _null(other) != one)
        floats = exact
    numbers = summary.count - summary.nan_count
    expected = {name: getattr(summary, name) for name in _FLOATS[:-1]}
    expected["total"] = summary.mean * numbers if numbers else 0.0
    # Sums differ by rounding: it depends on how the points came in batches.
    slack = numbers * 2.0**-52 * max(abs(summary.minimum), abs(summary.maximum)) if numbers else 0.0
    for name, value in zip(_FLOATS, floats, strict=True):
        number = math.nan if value is None else value
        allowed = {"mean": slack, "total": slack * max(numbers, 1)}.get(name)
        if not (
            _same_bits(number, expected[name]) or (allowed is not None and _is_near(number, expected[name], allowed))
        ):
            yield name
    for name in ("count", "nan_count", "first_step", "last_step", "min_step", "max_step"):
        if getattr(row, name) != getattr(summary, name):
            yield name
    for name in ("first_at", "last_at"):
        time = getattr(summary, name)
        if time is not None and getattr(row, name) != from_datetime(time):
            yield name


def _check_doubles(connection: Connection) -> Iterator[str]:
    """Look for rows of which there may be one only: what kept a second one away may be gone."""
    for table in metadata.sorted_tables:
        unique = [tuple(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
        for found in {
            tuple(table.primary_key.columns),
            *unique,
            *([(keys.c.section, keys.c.key)] if table is keys else []),
        }:
            double = select(*found).group_by(*found).having(func.count() > 1)
            count = connection.execute(select(func.count()).select_from(double.subquery())).scalar_one()
            if count:
                names = ", ".join(column.name for column in found)
                yield f"{table.name} hold several rows for one {names}, {count:,} times"


def _check_streams(connection: Connection) -> Iterator[str]:
    for row in connection.execute(select(streams)):
        head = Head(row.seq, row.hash, row.recorded_at, row.lease_s, bool(row.closed))
        where = f"stream {row.stream_id}"
        if row.lease_until != min(head.lease_until, 2**63 - 1) or row.closed not in (0, 1):
            yield f"the lease of {where} does not follow from its changes"
        if row.seq == 0 and (row.hash != GENESIS or row.recorded_at or row.closed):
            yield f"{where} has a head, though nothing of it has arrived"
    used = or_(
        select(entities.c.entity_pk).where(entities.c.stream_pk == streams.c.stream_pk).exists(),
        select(erased.c.seq).where(erased.c.stream_pk == streams.c.stream_pk).exists(),
    )
    for (name,) in connection.execute(select(streams.c.stream_id).where(streams.c.seq == 0, ~used)):
        yield f"stream {name} is there, though nothing names it"


def _check_positions(connection: Connection) -> Iterator[str]:
    position = changes.c.position
    first, last, count = connection.execute(select(func.min(position), func.max(position), func.count())).one()
    if count and (first, last) != (1, count):
        yield f"the log has {count:,} changes at positions {first:,} to {last:,}: some were moved or are missing"
    for other, what in ((streams.c.stream_pk, "stream"), (entities.c.entity_pk, "entity")):
        named = changes.c[other.name]
        query = select(position).where(named.is_not(None), ~select(other).where(other == named).exists())
        for (at,) in connection.execute(query.limit(20)):
            yield f"the change at position {at} names a {what} that is not there"


def _check_erased(connection: Connection) -> Iterator[str]:
    named, expected = set(), set[tuple[str, int]]()
    for (payload,) in connection.execute(select(changes.c.payload).where(changes.c.action == ERASE)):
        data = decode(payload) if payload else None
        if isinstance(data, dict):
            named.add((data.get("stream_id"), data.get("seq")))
    pks = select(changes.c.entity_pk).where(changes.c.action == ERASE)
    query = select(entities.c.entity_pk, entities.c.kind, entities.c.entity_id).where(entities.c.entity_pk.in_(pks))
    for entity_pk, kind, entity_id in connection.execute(query).all():
        expected.update(places_of(connection, entity_pk, kind, entity_id))
    rows = select(streams.c.stream_id, erased.c.seq, erased.c.done)
    found = connection.execute(rows.join(streams, streams.c.stream_pk == erased.c.stream_pk)).all()
    if connection.execute(select(func.count()).select_from(erased)).scalar_one() != len(found):
        yield "erased names streams that are not there"
    for stream_id, seq in sorted(named ^ {(row.stream_id, row.seq) for row in found}, key=str):
        yield f"erased and the changes disagree on whether somebody erased change {seq} of stream {stream_id}"
    doubtful = {(row.stream_id, row.seq) for row in found if row.done != ((row.stream_id, row.seq) in expected)}
    for stream_id, seq in sorted(doubtful):
        yield f"erased and the changes disagree on whether change {seq} of stream {stream_id} was erased"
    both = and_(erased.c.stream_pk == changes.c.stream_pk, erased.c.seq == changes.c.seq, erased.c.done == 1)
    kept = select(changes.c.position).join(erased, both).where(changes.c.salt.is_not(None))
    for (at,) in connection.execute(kept):
        yield f"the change at position {at} was erased, but its payload is there"


def _check_orphans(connection: Connection) -> Iterator[str]:
    """Look for rows that name another one that is not there."""
    named = {
        "entity_pk": (
            entities.c.entity_pk,
            (
                documents,
                items,
                facts,
                links,
                outdated,
                metrics,
                pending,
                chunks,
                columns,
                outlines,
                spans,
                unique_values,
            ),
        ),
        "key_pk": (keys.c.key_pk, (facts, metrics, columns, outlines, spans)),
        "chunk_pk": (chunks.c.chunk_pk, (columns, outlines)),
        "list_pk": (key_lists.c.list_pk, (chunks,)),
        "stream_pk": (streams.c.stream_pk, (pending, chunks, outlines, spans)),
    }
    for name, (target, tables) in named.items():
        for table in tables:
            missing = ~select(target).where(target == table.c[name]).exists()
            count = connection.execute(select(func.count()).select_from(table).where(missing)).scalar_one()
            if count:
                yield f"{count:,} rows of {table.name} name a {name} that is not there"
    absent = select(entities.c.entity_id).where(entities.c.present == 0)
    named_by_change = select(changes.c.position).where(changes.c.entity_pk == entities.c.entity_pk).exists()
    for (entity_id,) in connection.execute(absent.where(~named_by_change).limit(20)):
        yield f"entities hold {entity_id!r}, of which no change says anything"


def _check_strays(transaction: Transaction) -> Iterator[str]:
    """Look for rows of metrics beyond those that documents and series account for; documents are verified already."""
    connection = transaction.connection
    empty = or_(metrics.c.once.not_in((0, 1)), and_(metrics.c.once == 0, metrics.c.count.is_(None)))
    count = connection.execute(select(func.count()).select_from(metrics).where(empty)).scalar_one()
    if count:
        yield f"{count:,} rows of metrics hold neither a value nor a series"
    query = select(metrics.c.entity_pk, func.count()).where(metrics.c.once == 1).group_by(metrics.c.entity_pk)
    stored: dict[int, int] = {row[0]: row[1] for row in connection.execute(query)}
    query = select(entities.c.entity_pk, entities.c.kind, entities.c.entity_id, documents.c.document, documents.c.apart)
    query = query.join(documents, documents.c.entity_pk == entities.c.entity_pk).where(
        entities.c.kind.in_([kind for kind in KINDS if KINDS[kind].has_points])
    )
    # One walk: pages of it would each look for their first entity among all of the kind.
    for entity_pk, kind, entity_id, text, apart in connection.execute(query, execution_options=_A_FEW):
        document = load_document(text)
        complete(transaction, [(entity_pk, document, apart)], [METRICS])
        number = sum(section == METRICS for section, _ in facts_of(kind, {METRICS: document.get(METRICS, {})}))
        if stored.pop(entity_pk, 0) != number:
            yield f"metrics hold another number of values of {kind} {entity_id} than its {number} metrics"
    if stored:
        yield f"metrics hold values of {len(stored):,} entities that have none"


def _check_claims(transaction: Transaction) -> Iterator[str]:
    """Compare who has which unique value with what the documents say; those are verified already."""
    connection, declared = transaction.connection, read_declared(transaction)
    kinds = [kind for kind in KINDS if may_claim(kind) and declared.is_current(kind)]
    # Of the others code that knows more, or less, has made the rows, or will.
    compared = and_(entities.c.kind.in_(kinds), entities.c.entity_pk.not_in(select(outdated.c.entity_pk)))
    query = select(unique_values.c.digest, unique_values.c.entity_pk)
    query = query.join(entities, entities.c.entity_pk == unique_values.c.entity_pk).where(compared)
    stored: dict[str, int] = {row.digest: row.entity_pk for row in connection.execute(query)}
    wanted = select(entities.c.entity_pk, entities.c.kind, entities.c.entity_id, documents.c.document)
    wanted = wanted.join(documents, documents.c.entity_pk == entities.c.entity_pk)
    for entity_pk, kind, entity_id, text in connection.execute(wanted.where(compared), execution_options=_A_FEW):
        for claim in claims_of(kind, load_document(text)):
            if stored.pop(claim.digest, None) != entity_pk:
                yield f"unique_values do not say that {kind} {entity_id} has the {claim.field} {claim.value}"
    if stored:
        yield f"unique_values hold {len(stored):,} values that nothing has"


def _check_counts(transaction: Transaction) -> Iterator[str]:
    """Compare how many entities carry each key with what their rows say; those are verified already."""
    kinds = [kind for kind in KINDS if are_counted(transaction, kind)]
    stored = read_counts(transaction, kinds)
    for count, number in stored_counts(transaction, kinds):
        found = stored.pop(count, 0)
        if found != number:
            yield f"key_counts say that {found:,} {count.place.kind} entities carry key {count.key_pk}; there are {number:,}"
    if stored:
        yield f"key_counts hold {len(stored):,} counts of what no entity carries"


def _name(pair: tuple[str, str]) -> str:
    section, key = pair
    return f"column {key}" if section == COLUMN_SECTION else f"{section}.{key}"


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _same_bits(one: float, other: float) -> bool:
    return one.hex() == other.hex() or (math.isnan(one) and math.isnan(other))


def _is_near(one: float, other: float, allowed: float) -> bool:
    return one == other or abs(one - other) <= allowed
