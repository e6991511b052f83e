"""The metadata store for other processes: what arrives is passed on to the store, and its answers back, exactly."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

from flask import Response, abort, request

from modeldb_core.audit import digest_of_order
from modeldb_core.errors import IntegrityError, ModelDBError, PermissionDeniedError
from modeldb_core.log.batches import (
    HEAD_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_CHANGES,
    MEDIA_TYPE,
    decode_changes,
    encode_changes,
    measure,
)
from modeldb_core.log.changes import ERASE
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query
from modeldb_core.runtime import __version__
from modeldb_core.stores import protocol
from modeldb_core.stores.grouping import dump_groups
from modeldb_server.documents import is_secret
from modeldb_server.errors import refuse
from modeldb_server.handlers.store_blobs import JoinedParts
from modeldb_server.responses import json_response
from modeldb_server.routes import Policy
from modeldb_server.tokens import check_granted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.log.changes import Change
    from modeldb_server.accounts.visitor import Visitor
    from modeldb_server.context import ServerContext

MAX_ANSWER_BYTES = 8 << 20
"""A page of changes ends once its payloads are longer than this."""
FAILURE = "modeldb.failure"
"""Where the WSGI environment has why the batch of a request could not be recorded, where that was tried before."""
FIRST_CHANGES, MOST_CHANGES = 16, 64
"""So many changes are read at a time, at first and later: whatever comes next may be long."""


def describe_store(context: ServerContext) -> Response:
    """Say what a store that asks this server must know before it does."""
    return json_response(
        {
            "name": "ModelDB",
            "version": __version__,
            "protocols": [protocol.VERSION],
            "read_only": context.settings.read_only,
            "user": _bound_user(context.visitor) or "",
            "decides": not context.settings.read_only and _decides(context),
        }
    )


def _decides(context: ServerContext) -> bool:
    try:
        return context.store.decides
    except ModelDBError:  # it is away: whether it does, those will find out who ask it to
        return False


def tell_carried(context: ServerContext) -> Response:
    """Say whether the store keeps changes that nobody here can interpret."""
    return json_response({"carries": context.store.carries()})


def _bound_user(visitor: Visitor | None) -> str | None:
    """Return in whose name alone changes are taken; ``None``: those of any actor, as from those who may erase."""
    return None if visitor is None or visitor.granted is Policy.ERASE else visitor.user


def apply_changes(context: ServerContext, *, content: BinaryIO) -> Response:
    """Record a batch of changes."""
    return _apply(context, io.BytesIO(content.read()))


def apply_staged_changes(context: ServerContext, *, parts: tuple[str, ...]) -> Response:
    """Record a batch of changes that lies in parts in the artifact store."""
    with io.BufferedReader(JoinedParts(context.artifacts, parts)) as stream:
        return _apply(context, stream)


def _apply(context: ServerContext, stream: BinaryIO | io.BufferedReader) -> Response:
    try:
        if (failure := request.environ.pop(FAILURE, None)) is not None:
            raise failure
        changes = record_batch(context, context.visitor, stream)
    except IntegrityError as error:
        return refuse(error)
    return json_response(protocol.acknowledgement(changes))


def record_batch(
    context: ServerContext, visitor: Visitor | None, stream: BinaryIO | io.BufferedReader
) -> Sequence[Change]:
    """Read, unpack and record a batch. Only its head is read before there is room for all that it says that it holds.

    Args:
        context: the parts of the application.
        visitor: who sends it, of whom it is known that they may write everything.
        stream: the batch.
    """
    expect, head = protocol.load_expect(stream)
    head += stream.read(HEAD_BYTES - len(head))
    count, size_bytes = measure(head)
    if count > MAX_BATCH_CHANGES or size_bytes > MAX_BATCH_BYTES:
        abort(413, f"a batch holds at most {MAX_BATCH_CHANGES:,} changes and {MAX_BATCH_BYTES >> 20} MiB")
    with context.writes.room.taken(count, size_bytes):
        changes = decode_changes(head + stream.read(size_bytes + 1))  # what is packed is no longer than unpacked
        if visitor is not None:
            _check_said(visitor, changes)
            if (user := _bound_user(visitor)) is not None:
                context.bound.check(changes, user)
        context.writes.apply(changes, expect=expect)
    context.metrics.writes.inc(len(changes))
    return changes


def _check_said(visitor: Visitor, changes: Sequence[Change]) -> None:
    """See that only who may erase does so, and that nobody says who may do what but who administers the server.

    The latter may also be brought in by anyone who may bring in what others recorded.
    """
    if any(change.action == ERASE for change in changes):
        check_granted(visitor, Policy.ERASE)
    if visitor.is_admin or visitor.granted is Policy.ERASE:
        return
    said = next((change.kind for change in changes if is_secret(change.kind) and change.kind in KINDS), None)
    if said is not None:
        msg = (
            f"a change says something of a {said}; only who administers the server may, by `modeldb admin` or its pages"
        )
        raise PermissionDeniedError(msg)


def read_stored_changes(
    context: ServerContext, *, after: int, limit: int, entity_id: str | None, stream_id: str | None
) -> Response:
    """Return changes with their payloads.

    How long they are is not known beforehand, so the store is asked for few at first, and for more as long as those were
    short: a page of long changes is never in memory as a whole.
    """
    changes: list[Change] = []
    size, cursor, wanted, has_more = 0, after, min(FIRST_CHANGES, limit), limit > 0
    while has_more and len(changes) < limit and size < MAX_ANSWER_BYTES:
        page = context.store.read_changes(after=cursor, limit=wanted, entity_id=entity_id, stream_id=stream_id)
        changes += page.changes
        size += sum(len(change.payload or b"") for change in page.changes)
        cursor, has_more = page.cursor, len(page.changes) == wanted
        fitting = (MAX_ANSWER_BYTES - size) * len(changes) // max(size, 1)
        wanted = max(1, min(2 * wanted, MOST_CHANGES, fitting, limit - len(changes)))
    response = Response(encode_changes(changes), content_type=MEDIA_TYPE)
    response.headers[protocol.CURSOR_HEADER] = str(cursor)
    response.headers[protocol.MORE_HEADER] = "1" if has_more and len(changes) < limit else "0"
    return response


def read_heads(context: ServerContext, *, stream_id: str | None, after: str, limit: int) -> Response:
    """Return a page of the heads of streams, or the one of a stream."""
    if stream_id is None:
        return json_response(protocol.dump_heads(context.store.heads_after(after, limit)))
    head = context.store.head(stream_id)
    return json_response(protocol.dump_heads({stream_id: head} if head.seq else {}))


def digest_order(context: ServerContext, *, streams: list[dict[str, Any]]) -> Response:
    """Return the digest of the order in which changes count."""
    upto = {item["stream_id"]: item["seq"] for item in streams}
    return json_response(protocol.dump_order(digest_of_order(context.store, upto)))


def get_stored_entity(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """Return one entity."""
    return json_response(protocol.dump_entity(context.store.get(kind, entity_id)))


def find_stored_entities(
    context: ServerContext,
    *,
    kind: str,
    filter: str,  # noqa: A002 - its name in the API
    order_by: str,
    fields: tuple[str, ...] | None,
    limit: int,
    cursor: str | None,
    offset: int,
    count: bool,
    within: tuple[str, ...] | None,
    include_deleted: bool,
    linked: list[dict[str, Any]] | None,
) -> Response:
    """Return a page of entities."""
    link = protocol.load_linked(linked)
    query = Query(kind, filter, order_by, fields, limit, cursor, count, within, include_deleted, link, offset)
    return json_response(protocol.dump_page(context.store.find(query)))


def find_stored_keys(
    context: ServerContext,
    *,
    kind: str,
    filter: str,  # noqa: A002 - its name in the API
    limit: int,
    within: tuple[str, ...] | None,
    include_deleted: bool,
    linked: list[dict[str, Any]] | None,
) -> Response:
    """Return the keys that entities carry."""
    query = Query(
        kind, filter, limit=limit, within=within, include_deleted=include_deleted, linked=protocol.load_linked(linked)
    )
    return json_response({"keys": protocol.dump_keys(context.store.find_keys(query))})


def find_stored_groups(
    context: ServerContext,
    *,
    kind: str,
    by: str,
    measures: tuple[str, ...],
    filter: str,  # noqa: A002 - its name in the API
    limit: int,
    offset: int,
    within: tuple[str, ...] | None,
    include_deleted: bool,
    linked: list[dict[str, Any]] | None,
) -> Response:
    """Return the groups that entities make by a field."""
    query = Query(
        kind,
        filter,
        limit=limit,
        offset=offset,
        within=within,
        include_deleted=include_deleted,
        linked=protocol.load_linked(linked),
    )
    return json_response(dump_groups(context.store.find_groups(query, by, measures)))


def read_stored_series(
    context: ServerContext,
    *,
    run_id: str,
    key: str,
    first_step: int | None,
    last_step: int | None,
    max_points: int | None,
) -> Response:
    """Return the points of a series."""
    steps = None if first_step is None or last_step is None else (first_step, last_step)
    series = context.store.read_series(run_id, key, steps=steps, max_points=max_points)
    return Response(protocol.dump_series(series), content_type=protocol.SERIES_TYPE)
