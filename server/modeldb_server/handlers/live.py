"""The event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from modeldb_core.errors import ModelDBError
from modeldb_server.security import shown_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_server.context import ServerContext


def follow_changes(context: ServerContext, *, after: int | None) -> Response:
    """Return a stream of server-sent events that follows the changes of the store.

    A browser that reconnects says in ``Last-Event-ID`` where it was; that wins over ``after``.
    """
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        after = int(last)
    hung_up = request.environ.get("waitress.client_disconnected", lambda: False)
    is_changed = _watch(context)
    is_gone = (lambda: hung_up() or is_changed()) if is_changed else hung_up
    stream = () if request.method == "HEAD" else context.events.open(after, is_gone, context.store)
    response = Response(stream, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


def _watch(context: ServerContext) -> Callable[[], bool] | None:
    """Return what says whether who follows may not do so any more, or may see something else; ``None`` where nobody can tell."""
    accounts, visitor, scope = context.accounts, context.visitor, context.scope
    shown = shown_by(request)
    if accounts is None or visitor is None or not visitor.user_id or shown is None:
        return None

    def is_changed() -> bool:
        try:
            now = accounts.visitor(shown)
            return now is None or accounts.scope_of(now) != scope
        except ModelDBError:  # they cannot be asked just now: the stream goes on, as the store does or does not
            return False

    return is_changed
