"""Single values, also those that were too large for the record and lie in the artifact store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Response

from modeldb_core.errors import NotFoundError
from modeldb_core.log.json_documents import json_value
from modeldb_core.model.values import BlobReference
from modeldb_server.access import note_read
from modeldb_server.blobs import SANDBOX_POLICY, BlobBody, check_digest
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import JSON, json_response

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext


def read_value(context: ServerContext, *, kind: str, entity_id: str, section: str, key: str) -> Response:
    """Return one value of a map as JSON; a large one is streamed from the artifact store as it was written."""
    check_id(kind, entity_id)
    entity = context.store.get(kind, entity_id)
    values = getattr(entity, section)
    if not isinstance(values, Mapping) or key not in values:
        msg = f"the {kind} has no {key[:200]!r} among its {section}"
        raise NotFoundError(msg)
    value = values[key]
    if not isinstance(value, BlobReference):
        return json_response(json_value(value))
    note_read(check_digest(value.digest), entity, path=key)
    return _stream(context, value)


def _stream(context: ServerContext, reference: BlobReference) -> Response:
    digest = check_digest(reference.digest)
    size_bytes = context.artifacts.stat(digest).size_bytes
    stream = context.artifacts.open(digest)
    try:
        body = BlobBody(stream, 0, size_bytes, size_bytes).prepare()
    except BaseException:
        stream.close()
        raise
    response = Response(body, content_type=JSON, direct_passthrough=True)
    response.content_length = size_bytes
    response.headers["Content-Security-Policy"] = SANDBOX_POLICY
    response.headers["Cache-Control"] = "no-store"
    return response
