"""The changes of the store, as they arrived: the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_server.documents import change_document
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.stores import ChangePage
    from modeldb_server.context import ServerContext

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""A page ends before its payloads are longer than this, unless it is a single change."""


def read_changes(
    context: ServerContext, *, after: int, limit: int, entity_id: str | None, stream_id: str | None
) -> Response:
    """Return changes in the order of their arrival."""
    page = _bounded_page(context, after, limit, entity_id, stream_id)
    return json_response({"changes": list(map(change_document, page.changes)), "cursor": page.cursor})


def _bounded_page(
    context: ServerContext, after: int, limit: int, entity_id: str | None, stream_id: str | None
) -> ChangePage:
    page = context.store.read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)
    size = 0
    for index, change in enumerate(page.changes):
        size += len(change.payload or b"")
        if size > MAX_PAYLOAD_BYTES:
            fitting = max(1, index)
            return context.store.read_changes(after=after, limit=fitting, entity_id=entity_id, stream_id=stream_id)
    return page
