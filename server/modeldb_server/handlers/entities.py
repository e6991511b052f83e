"""Finding and reading entities, and the keys that they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.schema import shown_kinds
from modeldb_core.queries import Linked, Query
from modeldb_core.stores.grouping import dump_groups
from modeldb_server.documents import key_document
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.queries.linked import Direction
    from modeldb_server.context import ServerContext

MAX_ID = 256


def find_entities(
    context: ServerContext,
    *,
    kind: str,
    filter: str,  # noqa: A002 - its name in the API
    order_by: str,
    fields: tuple[str, ...] | None,
    within: tuple[str, ...] | None,
    limit: int,
    cursor: str | None,
    offset: int,
    count: bool,
    include_deleted: bool,
    linked: str | None,
    direction: Direction,
    link_field: str,
    depth: int,
) -> Response:
    """Return a page of the entities of a kind."""
    query = Query(
        kind=kind,
        filter=filter,
        order_by=order_by,
        fields=fields,
        limit=limit,
        cursor=cursor,
        offset=offset,
        count=count,
        within=within,
        include_deleted=include_deleted,
        linked=_link(linked, direction, link_field, depth),
    )
    page = context.store.find(query)
    items = [entity_document(entity) for entity in page.entities]
    return json_response({"items": items, "cursor": page.cursor, "total": page.total})


def _link(linked: str | None, direction: Direction, field: str, depth: int) -> Linked | None:
    """Return the link that is asked for.

    Raises:
        InvalidArgumentError: ``linked`` is not written as KIND:IDENTIFIER, or the kind or field is unknown.
    """
    if linked is None:
        if (direction, field, depth) == ("to", "", 1):
            return None
        msg = "direction, link_field and depth say more of linked, which is missing"
        raise InvalidArgumentError(msg)
    kind, colon, entity_id = linked.partition(":")
    if not colon or not entity_id or kind not in {each.kind for each in shown_kinds()}:
        msg = f"linked is {linked[:60]!r}; expected a kind and an identifier, such as run:0197f3c2-0000-7000-8000-000000000001"
        raise InvalidArgumentError(msg)
    return Linked(kind, entity_id, direction, field, depth)


def get_entity(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """Return one entity, a deleted one too."""
    check_id(kind, entity_id)
    return json_response(entity_document(context.store.get(kind, entity_id)))


def find_keys(
    context: ServerContext,
    *,
    kind: str,
    filter: str,  # noqa: A002 - its name in the API
    within: tuple[str, ...] | None,
    limit: int,
) -> Response:
    """Return the keys that entities carry, to offer columns and to complete a filter."""
    keys = context.store.find_keys(Query(kind=kind, filter=filter, within=within, limit=limit))
    return json_response({"keys": [key_document(info) for info in keys]})


def find_groups(
    context: ServerContext,
    *,
    kind: str,
    by: str,
    measures: tuple[str, ...] | None,
    filter: str,  # noqa: A002 - its name in the API
    within: tuple[str, ...] | None,
    limit: int,
    offset: int,
    include_deleted: bool,
) -> Response:
    """Return the groups that entities make by the value of a field, the largest first."""
    query = Query(kind, filter, within=within, limit=limit, offset=offset, include_deleted=include_deleted)
    return json_response(dump_groups(context.store.find_groups(query, by, measures or ())))


def check_id(kind: str, entity_id: str) -> None:
    """Check the length of an identifier from a path.

    Raises:
        NotFoundError: it is longer than any identifier, or holds what none holds.
    """
    if len(entity_id) > MAX_ID or not entity_id.isprintable():
        msg = f"there is no {kind} with this identifier"
        raise NotFoundError(msg)
