"""What a remote store and a server say to each other: the contract of stores, as JSON and bytes.

Both sides use these functions, so that neither can understand the other wrongly; ``docs/api.md`` lists the routes.
Changes travel as batches (:mod:`modeldb_core.log.batches`), points as packed columns (:mod:`modeldb_core.log.packing`), and
everything else as JSON in which :mod:`modeldb_core.model.values` tags what JSON cannot say, so that values come back exactly.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modeldb_core.errors import (
    IntegrityError,
    InvalidArgumentError,
    MergeConflictError,
    ModelDBError,
    PreconditionError,
    QuerySyntaxError,
    StreamGapError,
    error_from_code,
)
from modeldb_core.log.changes import Head
from modeldb_core.log.conditions import Condition, check_form, dump_condition, load_condition
from modeldb_core.log.packing import MAX_NUMBERS, pack, unpack_floats, unpack_ints
from modeldb_core.log.points import Series
from modeldb_core.model.entities import Entity, SeriesSummary, entity_from_document, from_datetime, to_datetime
from modeldb_core.model.schema import HOME_FIELDS, KINDS
from modeldb_core.model.values import from_json, normalize, to_json
from modeldb_core.queries import Linked, Query
from modeldb_core.stores import BlobInfo, KeyInfo, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from modeldb_core.log.changes import Change

T = TypeVar("T")


class Readable(Protocol):
    """Something to read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer than ``size`` only at the end."""


VERSION = 1
"""Of what is said. It rises when an older side would misunderstand; each says which ones it speaks."""

PREFIX = "/api/v2/store"
SERIES_TYPE = "application/vnd.modeldb.series"
BYTES_TYPE = "application/octet-stream"
CURSOR_HEADER = "ModelDB-Cursor"
MORE_HEADER = "ModelDB-More"
WRITE_HEADER = "X-ModelDB"

MAX_PAGE = 1000
"""How many entities, and how many changes, come in one answer; a store asks again for more."""
MAX_HEADS = 10_000
"""How many heads come in one answer."""
PART_BYTES = 6 << 20
"""How long the parts are in which what is longer is sent."""
MAX_PARTS = 10_000
PART_MAGIC = b"modeldb part "
PART_HEAD_BYTES = len(PART_MAGIC) + 64 + 1
"""A part lies in the artifact store until the whole is there. Its head makes it a blob that nothing else is."""

_SUMMARY_FIELDS = tuple(field.name for field in fields(SeriesSummary))
_SUMMARY_TIMES = frozenset({"first_at", "last_at"})
_SERIES = struct.Struct("<QIII")
EXPECT_MAGIC = b"EXP1"
_EXPECT = struct.Struct("<4sI")  # magic, length of the JSON that follows
MAX_EXPECT_BYTES = 16 << 20


# -- entities ---------------------------------------------------------------------------------------------------------


def dump_entity(entity: Entity) -> dict[str, Any]:
    """Return an entity as JSON data: its document, and what a store works out beside it."""
    data = {"entity_id": entity.entity_id, "document": to_json(dict(entity.document))}
    data.update({name: getattr(entity, name) for name in HOME_FIELDS})
    if KINDS[entity.KIND].has_points:
        series: Mapping[str, SeriesSummary] = entity.series  # type: ignore[attr-defined]
        data["status"] = entity.status  # type: ignore[attr-defined]
        data["metrics"] = to_json(dict(entity.metrics))  # type: ignore[attr-defined]
        data["series"] = {key: _dump_summary(summary) for key, summary in series.items()}
    return data


def load_entity(kind: str, data: Mapping[str, Any]) -> Entity:
    """Return the entity that :func:`dump_entity` wrote."""
    computed: dict[str, Any] = {name: _typed(data[name], str, name) for name in HOME_FIELDS}
    if KINDS[kind].has_points:
        summaries = {key: _load_summary(item) for key, item in data["series"].items()}
        computed |= {
            "status": _typed(data["status"], str, "status"),
            "metrics": MappingProxyType(from_json(data["metrics"])),  # type: ignore[arg-type]
            "series": MappingProxyType(summaries),
        }
    document = from_json(_typed(data["document"], dict, "document"))
    return entity_from_document(kind, _typed(data["entity_id"], str, "entity_id"), document, **computed)  # type: ignore[arg-type]


def dump_page(page: Page) -> dict[str, Any]:
    """Return a page as JSON data."""
    return {"entities": [dump_entity(entity) for entity in page.entities], "cursor": page.cursor, "total": page.total}


def load_page(kind: str, data: Mapping[str, Any]) -> Page:
    """Return the page that :func:`dump_page` wrote."""
    entities = tuple(load_entity(kind, item) for item in _typed(data["entities"], list, "entities"))
    cursor, total = data["cursor"], data["total"]
    return Page(
        entities,
        None if cursor is None else _typed(cursor, str, "cursor"),
        None if total is None else _typed(total, int, "total"),
    )


def _dump_summary(summary: SeriesSummary) -> list[Any]:
    return [
        time_us(getattr(summary, name)) if name in _SUMMARY_TIMES else to_json(getattr(summary, name))
        for name in _SUMMARY_FIELDS
    ]


def _load_summary(items: list[Any]) -> SeriesSummary:
    values = {
        name: to_datetime(item) if name in _SUMMARY_TIMES else from_json(item)
        for name, item in zip(_SUMMARY_FIELDS, items, strict=True)
    }
    return SeriesSummary(**values)  # type: ignore[arg-type]


def time_us(time: datetime | None) -> int | None:
    """Return a time as stored: microseconds since 1970-01-01 UTC."""
    return None if time is None else from_datetime(time)


# -- questions and their answers --------------------------------------------------------------------------------------


def dump_query(query: Query) -> dict[str, Any]:
    """Return a query as JSON data."""
    data = {field.name: getattr(query, field.name) for field in fields(Query)}
    if query.fields is not None:
        data["fields"] = list(query.fields)
    if query.containers is not None:
        data["within"] = list(query.containers)
    if query.linked is not None:
        data["linked"] = [{**asdict(query.linked), "entity_id": list(query.linked.entity_ids)}]
    return data


def load_query(data: Mapping[str, Any]) -> Query:
    """Return the query that :func:`dump_query` wrote; raises what :class:`Query` raises."""
    return Query(**{**data, "linked": load_linked(data.get("linked"))})


def load_linked(data: list[dict[str, Any]] | None) -> Linked | None:
    """Return the link in what :func:`dump_query` wrote; raises what :class:`Linked` raises."""
    if not data:
        return None
    named = data[0]["entity_id"]
    ids = tuple(named) if isinstance(named, (list, tuple)) else named
    return Linked(**{**data[0], "entity_id": ids[0] if isinstance(ids, tuple) and len(ids) == 1 else ids})


def dump_keys(keys: tuple[KeyInfo, ...]) -> list[Any]:
    """Return keys as JSON data."""
    return [[info.section, info.key, info.count, list(info.value_types), info.sample] for info in keys]


def load_keys(data: Mapping[str, Any]) -> tuple[KeyInfo, ...]:
    """Return the keys that :func:`dump_keys` wrote, under ``keys``."""
    return tuple(
        KeyInfo(
            _typed(section, str, "section"),
            _typed(key, str, "key"),
            _typed(count, int, "count"),
            tuple(_typed(item, str, "type") for item in _typed(types, list, "types")),
            _typed(sample, int, "sample"),
        )
        for section, key, count, types, sample in _typed(data["keys"], list, "keys")
    )


def dump_heads(heads: Mapping[str, Head]) -> dict[str, Any]:
    """Return heads as JSON data."""
    return {
        stream_id: [head.seq, head.hash.hex(), head.recorded_at, to_json(head.lease_s), head.closed]
        for stream_id, head in heads.items()
    }


def load_heads(data: Mapping[str, Any]) -> dict[str, Head]:
    """Return the heads that :func:`dump_heads` wrote."""
    return {
        stream_id: Head(
            _typed(seq, int, "seq"),
            bytes.fromhex(digest),
            _typed(recorded_at, int, "recorded_at"),
            float(from_json(lease_s)),  # type: ignore[arg-type]
            _typed(closed, bool, "closed"),
        )
        for stream_id, (seq, digest, recorded_at, lease_s, closed) in data.items()
    }


def dump_order(digest: bytes) -> dict[str, str]:
    """Return the digest of an order as JSON data."""
    return {"sha256": digest.hex()}


def load_order(data: Mapping[str, Any]) -> bytes:
    """Return the digest that :func:`dump_order` wrote."""
    return bytes.fromhex(_typed(data["sha256"], str, "sha256"))


def acknowledgement(changes: Iterable[Change]) -> dict[str, Any]:
    """Return what a server says when it has recorded changes: number and hash of the last one of each stream.

    A sign-in page, or whatever else answers in place of a server, cannot know them.
    """
    return {"streams": {change.stream_id: [change.seq, change.hash.hex()] for change in changes}}


def load_acknowledgement(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`acknowledgement` returned on the other side."""
    return {"streams": _typed(data["streams"], dict, "streams")}


def load_done(data: Mapping[str, Any]) -> None:
    """See that an answer says that something was done."""
    if data["done"] is not True:
        msg = "it does not say that it was done"
        raise ValueError(msg)


def load_owners(data: Mapping[str, Any]) -> frozenset[str]:
    """Return to whom the files of an artifact store belong."""
    return frozenset(_typed(name, str, "owner") for name in _typed(data["owners"], list, "owners"))


def dump_blob(info: BlobInfo) -> dict[str, Any]:
    """Return what is known of a blob as JSON data."""
    return {"digest": info.digest, "size_bytes": info.size_bytes, "modified_at": time_us(info.modified_at)}


def load_blob(data: Mapping[str, Any]) -> BlobInfo:
    """Return the description that :func:`dump_blob` wrote."""
    return BlobInfo(
        _typed(data["digest"], str, "digest"),
        _typed(data["size_bytes"], int, "size_bytes"),
        to_datetime(data["modified_at"]),
    )


# -- points -----------------------------------------------------------------------------------------------------------


def dump_series(series: Series) -> bytes:
    """Return the points of a series as bytes: how many there are in all, and the packed columns."""
    columns = [pack(series.steps), pack(series.times), pack(series.values)]
    return _SERIES.pack(series.total, *map(len, columns)) + b"".join(columns)


def load_series(run_id: str, key: str, data: bytes, max_points: int | None = None) -> Series:
    """Return the series that :func:`dump_series` wrote, of at most this many points.

    Raises:
        IntegrityError: the bytes are not what it writes.
    """
    most = MAX_NUMBERS if max_points is None else max_points
    try:
        total, *lengths = _SERIES.unpack_from(data)
        columns, at = [], _SERIES.size
        for length in lengths:
            columns.append(data[at : at + length])
            at += length
        steps, times, values = (
            unpack_ints(columns[0], most),
            unpack_ints(columns[1], most),
            unpack_floats(columns[2], most),
        )
    except (struct.error, IntegrityError) as error:
        msg = f"the points of {key!r} arrived damaged: {error}"
        raise IntegrityError(msg) from error
    if at != len(data) or not len(steps) == len(times) == len(values):
        msg = f"the points of {key!r} arrived damaged: their columns do not fit one another"
        raise IntegrityError(msg)
    return Series(run_id, key, steps, times, values, total)


# -- conditions -------------------------------------------------------------------------------------------------------


def dump_expect(expect: Sequence[Condition]) -> bytes:
    """Return the conditions of a batch as bytes that stand before it; none are none."""
    if not expect:
        return b""
    data = dump_json([dump_condition(condition) for condition in expect])
    return _EXPECT.pack(EXPECT_MAGIC, len(data)) + data


def load_expect(stream: Readable) -> tuple[tuple[Condition, ...], bytes]:
    """Return the conditions that stand before a batch, and those bytes of the batch that were read to find out.

    Raises:
        InvalidArgumentError: there are conditions, and they are not what :func:`dump_expect` writes.
    """
    head = stream.read(_EXPECT.size)
    if head[: len(EXPECT_MAGIC)] != EXPECT_MAGIC or len(head) < _EXPECT.size:
        return (), head
    _, length = _EXPECT.unpack(head)
    if length > MAX_EXPECT_BYTES:
        msg = f"the conditions of a batch have {length:,} bytes; expected at most {MAX_EXPECT_BYTES:,}"
        raise InvalidArgumentError(msg)
    try:
        items = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        msg = f"the conditions of a batch are not JSON: {error}"
        raise InvalidArgumentError(msg) from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        msg = "the conditions of a batch are not a list of objects"
        raise InvalidArgumentError(msg)
    expect = tuple(load_condition(item) for item in items)
    check_form(expect)
    return expect, b""


# -- errors -----------------------------------------------------------------------------------------------------------


def error_fields(error: ModelDBError) -> dict[str, Any]:
    """Return what an error carries beside its code and message, as JSON data."""
    if isinstance(error, QuerySyntaxError) and error.column:
        return {"column": error.column, "text": error.text}
    if isinstance(error, PreconditionError):
        condition = error.condition
        data = dump_condition(condition) if isinstance(condition, Condition) else None
        return {"condition": data, "found": to_json(normalize(error.found, "found"))}
    if isinstance(error, MergeConflictError):
        return {"conflicts": [getattr(each, "document", each) for each in error.conflicts]}
    return {"expected": error.expected} if isinstance(error, StreamGapError) else {}


def load_error(data: Mapping[str, Any]) -> ModelDBError:
    """Return the error that ``{"code", "message"}`` and what :func:`error_fields` returned describe."""
    error = error_from_code(str(data.get("code", "")), str(data.get("message", "")))
    if isinstance(error, QuerySyntaxError):
        error.column, error.text = int(data.get("column", 0)), str(data.get("text", ""))
    elif isinstance(error, MergeConflictError):
        error.conflicts = tuple(_typed(data.get("conflicts", []), list, "conflicts"))
    elif isinstance(error, StreamGapError):
        error.expected = int(data.get("expected", 0))
    elif isinstance(error, PreconditionError):
        condition = data.get("condition")
        error.condition = None if condition is None else load_condition(_typed(condition, dict, "condition"))
        error.found = from_json(data.get("found"))
    return error


def _typed(value: Any, kind: type[T], what: str) -> T:  # noqa: ANN401 - JSON data
    """Return ``value``, which an answer holds under ``what``.

    Raises:
        TypeError: it is of another type.
    """
    if type(value) is not kind:
        msg = f"{what} is of type {type(value).__name__}; expected {kind.__name__}"
        raise TypeError(msg)
    return value


def dump_json(data: object) -> bytes:
    """Return ``data`` as the body of a request."""
    return json.dumps(data, separators=(",", ":")).encode()
