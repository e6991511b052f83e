"""Pages of other origins that may ask the server: those that are configured, the JSON API alone, without cookies (CORS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, current_app, request

from modeldb_core.stores.protocol import WRITE_HEADER
from modeldb_server.context import server_context
from modeldb_server.repeats import HEADER

if TYPE_CHECKING:
    from modeldb_server.routes import Route

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS = f"Authorization, Content-Type, {WRITE_HEADER}, {HEADER}, Range, If-None-Match, Last-Event-ID"
_EXPOSED = "Content-Range, ETag, Retry-After"
_REMEMBERED_S = 600
TABLE = "modeldb_routes"
"""Under which the application keeps the table of its API's routes, by endpoint."""


def is_allowed_origin() -> bool:
    """Say whether the current request comes from a page of an allowed origin, and asks the JSON API."""
    origin = request.headers.get("Origin")
    if origin is None or origin not in server_context().settings.allowed_origins:
        return False
    route: Route | None = current_app.extensions[TABLE].get(request.endpoint)
    return route is not None and route.tag != "store"


def preflight() -> Response | None:
    """Answer the question of a browser whether a page of an allowed origin may send what it wants to; it has no token."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers or not is_allowed_origin():
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = _METHODS
    response.headers["Access-Control-Allow-Headers"] = _HEADERS
    response.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)
    return response


def mark(response: Response) -> None:
    """Let a page of an allowed origin read the answer."""
    if not server_context().settings.allowed_origins:
        return
    response.vary.add("Origin")
    if is_allowed_origin():
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
