"""What the server says of itself: health, metrics, abilities, and the description of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

from modeldb_core.log.json_documents import kind_document
from modeldb_core.model.schema import shown_kinds
from modeldb_core.runtime import __version__
from modeldb_server.metrics import CONTENT_TYPE
from modeldb_server.readiness import is_ready
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext


def get_health(context: ServerContext) -> Response:
    """Say that the process answers: what it needs of others is a matter of its readiness."""
    del context
    return json_response({"status": "ok"})


def get_readiness(context: ServerContext) -> Response:
    """Say whether the server should be sent requests: it has a store that it may use, room on its disk, and does not stop."""
    found = context.readiness.look()
    if is_ready(found):
        return json_response({"status": "ready", "checks": dict(found)})
    response = json_response({"status": "unready", "checks": dict(found)}, 503)
    response.headers["Retry-After"] = "2"
    return response


def get_metrics(context: ServerContext) -> Response:
    """Return counts and durations for Prometheus."""
    context.metrics.ready.set(is_ready(context.readiness.look()))
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
            "cursor": context.store.end_of_log(),
        }
    )


def describe_kinds(context: ServerContext) -> Response:
    """Return the kinds of entities that are served, as the schema declares them."""
    del context
    return json_response({"kinds": list(map(kind_document, shown_kinds()))})
