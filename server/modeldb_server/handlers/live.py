"""The event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext


def follow_changes(context: ServerContext, *, after: int | None) -> Response:
    """Return a stream of server-sent events that follows the changes of the store.

    A browser that reconnects says in ``Last-Event-ID`` where it was; that wins over ``after``.
    """
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        after = int(last)
    is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    stream = () if request.method == "HEAD" else context.events.open(after, is_gone, context.store)
    response = Response(stream, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response
