"""The reference store: everything in dictionaries, written to be read.

It does what the contract says in the plainest way, at the price of speed, and every other store is held against it. A
store keeps three things: the log of changes, the heads of the streams, and the entities that follow from the log
(``modeldb_core.log.replay`` says how).
"""

from __future__ import annotations

import functools
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ConflictError, NotFoundError, StreamGapError
from modeldb_core.log.changes import EMPTY_HEAD, ERASE, Change, Head, advance, alters_entity, verify_change
from modeldb_core.log.conditions import Condition, Instant, asked_for, check_conditions
from modeldb_core.log.erasures import Name, Place, check_targets, erased_in
from modeldb_core.log.points import Series, thin_out
from modeldb_core.log.replay import Record, erased_error
from modeldb_core.log.settling import settle
from modeldb_core.model.claims import Claim, claims_of
from modeldb_core.model.entities import Document, Entity, now_us
from modeldb_core.model.homes import Home, home_of
from modeldb_core.model.links import links_of
from modeldb_core.model.schema import HOME_FIELDS, KINDS, METRICS, check_kind
from modeldb_core.queries import (
    COLUMN,
    EMPTY_WHERE_UNSET,
    MISSING,
    TAGS,
    WITHIN_FIELDS,
    Field,
    Linked,
    OrderValue,
    Query,
    compare,
    decode_cursor,
    effective_order,
    encode_cursor,
    leaf_of,
    matches,
    order_value,
    parse_fields,
    parse_filter,
    reached,
    searchable,
)
from modeldb_core.stores import PARTS_ADDED_TO_QUERY, ChangePage, KeyInfo, MetadataStore, Page
from modeldb_core.stores.naming import identify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_AGGREGATES = {"min": "minimum", "max": "maximum"}  # other aggregates are called as in a summary


class MemoryStore(MetadataStore):
    """Keeps everything in this process, until it ends or the store is released."""

    is_local = True
    understands = PARTS_ADDED_TO_QUERY

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self._lock = threading.RLock()
        self._log: list[Change] = []  # in order of arrival; a change's position is its index + 1
        self._positions: dict[str, list[int]] = defaultdict(list)  # by stream; [seq - 1] is the index in the log
        self._heads: dict[str, Head] = {}
        self._records: dict[tuple[str, str], Record] = {}
        self._erasing: set[Name] = set()  # entities that somebody has erased something of, or tried to

    @property
    def decides(self) -> bool:
        return True

    def write_mark(self) -> object:
        return len(self._log)

    # Writing

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        names, claims = asked_for(expect)
        with self._lock:
            # Everything that can fail comes first and works on copies; taking the results over cannot fail.
            fresh, heads = self._check(changes)
            if not fresh:
                return
            documents = {name: self._records[name].document for name in names if name in self._records}
            check_conditions(expect, Instant(documents, self.holders(claims)))
            fresh = settle(fresh, self)
            for change in fresh:
                if change.seq > heads.get(change.stream_id, EMPTY_HEAD).seq:  # made by settling
                    heads[change.stream_id] = advance(heads.get(change.stream_id, EMPTY_HEAD), change)
            log = [*self._log, *fresh]
            erasing = self._erasing | {name_of(change) for change in fresh if change.action == ERASE}
            erased = self._find_erased(log, erasing & {name_of(change) for change in fresh})
            if not erased:
                records = self._replay(self._records, fresh)
            else:
                # What an erased change said must leave its entity too: work all of them out again, without it.
                log = [change.erased() if (change.stream_id, change.seq) in erased else change for change in log]
                records = self._replay({}, log)
            for index, change in enumerate(fresh, len(self._log)):
                self._positions[change.stream_id].append(index)
            self._log, self._heads, self._erasing, self._records = log, heads, erasing, records

    # What settling and conditions ask

    def document(self, kind: str, entity_id: str) -> Document | None:
        """Return the document of an entity."""
        record = self._records.get((kind, entity_id))
        return None if record is None else record.document

    def holders(self, claims: Iterable[Claim]) -> dict[Claim, str]:
        """Return the identifiers of the entities that have unique values."""
        wanted = set(claims)
        kinds = {claim.kind for claim in wanted}
        return {
            claim: record.entity_id
            for record in self._records.values()
            if record.kind in kinds
            for claim in claims_of(record.kind, record.document) & wanted
        }

    def history(self, kind: str, entity_id: str) -> list[Change]:
        """Return the changes of an entity, in the order of the log."""
        return [change for change in self._log if name_of(change) == (kind, entity_id)]

    def has_stream(self, stream_id: str) -> bool:
        """Return whether anything of a stream has arrived."""
        return stream_id in self._heads

    def _find_erased(self, log: Sequence[Change], names: set[Name]) -> set[Place]:
        """Return what is erased of some entities."""
        return erased_in(change for change in log if name_of(change) in names) if names else set()

    def _check(self, changes: Sequence[Change]) -> tuple[list[Change], dict[str, Head]]:
        """Return the changes that are new, verified, and the heads after them."""
        fresh: list[Change] = []
        heads = dict(self._heads)
        hashes: dict[tuple[str, int], bytes] = {}
        for change in changes:
            where = f"change {change.seq} of stream {change.stream_id}"
            head = heads.get(change.stream_id, EMPTY_HEAD)
            if change.seq <= head.seq:
                known = hashes.get((change.stream_id, change.seq)) or self._hash_at(change.stream_id, change.seq)
                if known != change.hash:
                    msg = f"{where} differs from the one stored under that number: two writers used one stream"
                    raise ConflictError(msg)
                continue
            if change.seq > head.seq + 1:
                msg = f"{where} arrived, but {head.seq + 1} is missing; send the stream from there"
                raise StreamGapError(msg, expected=head.seq + 1)
            verify_change(change, head.hash)
            heads[change.stream_id] = advance(head, change)
            hashes[change.stream_id, change.seq] = change.hash
            fresh.append(change)
        check_targets(fresh)
        return fresh, heads

    def _hash_at(self, stream_id: str, seq: int) -> bytes | None:
        positions = self._positions.get(stream_id, [])
        return self._log[positions[seq - 1]].hash if 1 <= seq <= len(positions) else None

    @staticmethod
    def _replay(records: Mapping[tuple[str, str], Record], changes: Iterable[Change]) -> dict[tuple[str, str], Record]:
        """Return ``records`` as they are after ``changes``."""
        after = dict(records)
        for change in changes:
            if alters_entity(change):
                name = name_of(change)
                after[name] = (after.get(name) or Record(*name)).after(change)
        return after

    # Reading

    def get(self, kind: str, entity_id: str) -> Entity:
        with self._lock:
            record = self._records.get((check_kind(kind), entity_id))
            if record is None:
                msg = f"there is no {kind} {entity_id!r} in {self.url}"
                raise NotFoundError(msg)
            if record.is_erased:
                raise erased_error(kind, entity_id, self.url)
            return record.entity(self._heads, now_us(), home=self._home(record))

    def find(self, query: Query) -> Page:
        with self._lock:
            order = effective_order(query)
            now = now_us()
            wanted = None if query.fields is None else parse_fields(query.fields, query.kind)
            after = decode_cursor(query)

            def place(record: Record) -> list[OrderValue]:
                return [order_value(self._look_up(record, criterion.field)) for criterion in order]

            def by_place(one: tuple[list[OrderValue], Record], other: tuple[list[OrderValue], Record]) -> int:
                return compare(one[0], other[0], order)

            found = sorted(
                ((place(record), record) for record in self._matching(query)), key=functools.cmp_to_key(by_place)
            )
            rest = [item for item in found if after is None or compare(item[0], after, order) > 0]
            rest = rest[query.offset :]
            page = rest[: query.limit]
            return Page(
                tuple(record.entity(self._heads, now, wanted, self._home(record)) for _, record in page),
                encode_cursor(query, page[-1][0]) if page and len(rest) > len(page) else None,
                len(found) if query.count else None,
            )

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        with self._lock:
            return identify(path, lambda claim: self.holders([claim]).get(claim), self.document)

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        with self._lock:
            counts: Counter[tuple[str, str]] = Counter()
            types: dict[tuple[str, str], set[str]] = defaultdict(set)
            for record in self._matching(query):
                values = searchable(record.kind, record.document)
                names = set(values) | {(METRICS, key) for key in record.series}
                counts.update(names)
                for section, key in values:
                    types[section, key].add(leaf_of(section, key, values[section, key]).value_type)
                for key in record.series:
                    types[METRICS, key].add("series")
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        taken: Counter[str] = Counter()
        infos = []
        for section, key in ordered:
            taken[section] += 1
            if section in KINDS[query.kind].offered and taken[section] <= query.limit:
                value_types = () if section == TAGS else tuple(sorted(types[section, key] - {"null"}))
                infos.append(KeyInfo(section, key, counts[section, key], value_types))
        return tuple(infos)

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        with self._lock:
            record = self._records.get(("run", run_id))
        if record is None or key not in record.series:
            msg = f"run {run_id!r} in {self.url} has no series {key!r}"
            raise NotFoundError(msg)
        points = record.points(key, steps)
        if max_points is None:
            return Series(run_id, key, points.steps.copy(), points.times.copy(), points.values[0].copy(), len(points))
        chosen = thin_out(points.steps, points.values[0], max_points)
        return Series(run_id, key, points.steps[chosen], points.times[chosen], points.values[0][chosen], len(points))

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        with self._lock:
            found: list[Change] = []
            position = max(after, 0)
            for change in self._log[position:]:
                if len(found) >= limit:
                    break
                position += 1
                if entity_id in (None, change.entity_id) and stream_id in (None, change.stream_id):
                    found.append(change)
            return ChangePage(tuple(found), position)

    def heads(self) -> Mapping[str, Head]:
        with self._lock:
            return dict(self._heads)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    # What an entity is

    def _matching(self, query: Query) -> list[Record]:
        expression = parse_filter(query.filter, query.kind)
        linked = self._linked(query.linked)
        within = query.containers
        return [
            record
            for name, record in self._records.items()
            if record.kind == query.kind
            and (linked is None or name in linked)
            and not record.is_erased
            and (query.include_deleted or record.document.get("deleted_at") is None)
            and (within is None or any(container in within for container in self._containers(record)))
            and matches(expression, functools.partial(self._look_up, record))
        ]

    def _linked(self, linked: Linked | None) -> set[Name] | None:
        """Return the names of what is linked as asked; ``None`` where nothing is asked."""
        if linked is None:
            return None
        named: dict[Name, set[Name]] = {}  # by an entity, what it refers to
        for name, record in self._records.items():
            for link in links_of(record.kind, record.document):
                if linked.field in ("", link.field):
                    kinds = (link.kind,) if link.kind else KINDS
                    named.setdefault(name, set()).update((kind, link.entity_id) for kind in kinds)

        def step(names: set[Name]) -> set[Name]:
            if linked.direction == "from":
                return {target for name in names for target in named.get(name, ())}
            return {name for name, targets in named.items() if targets & names}

        start = {(kind, entity_id) for kind in linked.kinds for entity_id in linked.entity_ids}
        return reached(start, step, linked.depth)

    def _home(self, record: Record) -> Home:
        return home_of(record.kind, record.entity_id, record.document, self.document)

    def _containers(self, record: Record) -> set[str]:
        """Return the identifiers of what an entity is part of, and of where it lies."""
        return {self._column(record, name) for name in WITHIN_FIELDS[record.kind]} - {None}

    def _look_up(self, record: Record, asked: Field) -> Any:  # noqa: ANN401 - of any type
        """Return the value of a field, ``MISSING`` where there is no such key."""
        if asked.section == COLUMN:
            return self._column(record, asked.key)
        values = searchable(record.kind, record.document)
        if asked.section == TAGS:
            return [tag for section, tag in values if section == TAGS]
        if not asked.aggregate and (asked.section, asked.key) in values:
            return values[asked.section, asked.key]
        if asked.section == METRICS and asked.key in record.series:
            name = asked.aggregate or "last"
            return getattr(record.summary(asked.key), _AGGREGATES.get(name, name))
        return MISSING

    def _column(self, record: Record, column: str) -> Any:  # noqa: ANN401 - of any type
        document, declaration = record.document, KINDS[record.kind]
        if column == "entity_id":
            return record.entity_id
        if column in HOME_FIELDS:
            return getattr(self._home(record), column) or None
        if column == "status" and declaration.has_points:
            return record.status(self._heads, now_us())
        for elapsed in declaration.elapsed:
            if elapsed.name == column:
                return elapsed.of(document)
        if column in declaration.container_names:
            named = declaration.container_names[column]
            container = self._records.get((named.refers_to, document.get(named.name, "")))
            return self._column(container, "name") if container and not container.is_erased else None
        value = document.get(column, "" if column in EMPTY_WHERE_UNSET else None)
        return value if declaration.fields[column].fits(value) else None


def name_of(change: Change) -> Name:
    """Return kind and identifier of the entity that a change is about."""
    return change.kind, change.entity_id
