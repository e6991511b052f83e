"""What the server says of itself: health, metrics, abilities, and the description of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

from modeldb_core.errors import ModelDBError
from modeldb_core.log.json_documents import kind_document
from modeldb_core.model.schema import shown_kinds
from modeldb_core.queries import Query
from modeldb_core.runtime import __version__
from modeldb_server.errors import logger
from modeldb_server.events import latest_cursor
from modeldb_server.metrics import CONTENT_TYPE
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext


def get_health(context: ServerContext) -> Response:
    """Say whether the server can answer, which it cannot without its store."""
    try:
        context.whole_store.find(Query(kind="workspace", limit=1, fields=()))
    except ModelDBError as error:
        logger.warning("the store does not answer: %s", error)
        return json_response({"status": "unavailable"}, 503)
    return json_response({"status": "ok"})


def get_metrics(context: ServerContext) -> Response:
    """Return counts and durations for Prometheus."""
    return Response(context.metrics.exposition(), content_type=CONTENT_TYPE)


def describe_server(context: ServerContext, *, kinds: tuple[str, ...], limits: dict[str, int]) -> Response:
    """Return version, abilities and limits, and the cursor of the newest change, from which to follow the store."""
    return json_response(
        {
            "name": "ModelDB",
            "version": __version__,
            "api_versions": ["v2"],
            "read_only": context.settings.read_only,
            "kinds": list(kinds),
            "limits": limits,
            "store": context.store.url.partition(":")[0],
            "cursor": latest_cursor(context.store),
        }
    )


def describe_kinds(context: ServerContext) -> Response:
    """Return the kinds of entities that are served, as the schema declares them."""
    del context
    return json_response({"kinds": list(map(kind_document, shown_kinds()))})
