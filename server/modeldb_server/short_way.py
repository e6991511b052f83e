"""The short way of a batch of changes: what training programs send by far the most often is answered before Flask.

So is whether its body is read at all, which the loop asks that reads requests.

It takes the same steps as the long way, with the same functions, and only ever answers that a batch was recorded. Whatever
is out of the ordinary (a header that it does not know, a refusal, an error) goes on to the application, together with what
was found out already, so that nothing is counted or done twice. A test compares the answers of both ways.
"""

from __future__ import annotations

import io
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modeldb_core.log.batches import MEDIA_TYPE
from modeldb_core.stores import protocol
from modeldb_server.accounts.credentials import Means, shown_in
from modeldb_server.handlers.store import FAILURE, record_batch
from modeldb_server.limits import BusyError
from modeldb_server.request_ids import ENVIRON, HEADER, answering, request_id_of
from modeldb_server.responses import JSON, dump_json
from modeldb_server.routes import Policy
from modeldb_server.security import DATA_POLICY, HEADERS, VISITOR, check_rate, hosts_of, is_known_host, longest_body
from modeldb_server.store_routes import PART_BODY_BYTES
from modeldb_server.tasks import IS_ADMITTED, REFUSAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask

    from modeldb_server.accounts.visitor import Visitor
    from modeldb_server.context import ServerContext

SHORT_WAY = "modeldb_short_way"
"""Where the extensions of an application have its short way."""
_PATH = f"{protocol.PREFIX}/changes"
_ROUTE = "api.apply_changes"
_KNOWN = frozenset(
    {
        "HTTP_ACCEPT",
        "HTTP_ACCEPT_ENCODING",
        "HTTP_AUTHORIZATION",
        "HTTP_CONNECTION",
        "HTTP_HOST",
        "HTTP_USER_AGENT",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_MODELDB",
        "HTTP_X_REQUEST_ID",
    }
)
"""What a request may have for headers: with any other one it is not a training program's, or means something else."""
_ANSWERED = (
    ("Content-Type", JSON),
    ("Cache-Control", "no-store"),
    ("Vary", "Accept-Encoding"),
    *HEADERS.items(),
    ("Content-Security-Policy", DATA_POLICY),
)


class ShortWay:
    """A WSGI application that records regular batches itself, and leaves all other requests to Flask.

    Args:
        app: the application, with all hooks that this server has; one that is added later is never passed by.
        context: its parts.
    """

    def __init__(self, app: Flask, context: ServerContext) -> None:
        self._app, self._context = app, context
        self._long_way = app.wsgi_app
        self._hooks = _count_hooks(app)
        self._is_known_host = lru_cache(maxsize=64)(self._look_at_host)
        metrics = context.metrics
        self._answered = metrics.requests.labels("POST", _ROUTE, "200")
        self._durations = metrics.durations.labels(_ROUTE)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if not self._is_regular(environ) or _count_hooks(self._app) != self._hooks:
            return self._long_way(environ, start_response)
        request_id = environ[ENVIRON] = environ.get(ENVIRON) or request_id_of(environ.get("HTTP_X_REQUEST_ID"))
        with answering(request_id):
            started = time.perf_counter()
            with self._context.metrics.in_progress.track_inprogress():
                body = self._record(environ)
            if body is not None:
                self._note(environ, time.perf_counter() - started)
        if body is None:
            return self._long_way(environ, start_response)
        start_response("200 OK", [*_ANSWERED, ("Content-Length", str(len(body))), (HEADER, request_id)])
        return (body,)

    def longest_body(self, environ: dict[str, Any]) -> int | None:
        """Return how long the body of a request may be, as :func:`~modeldb_server.security.longest_body` does."""
        if not self._is_regular(environ):
            return longest_body(self._app, environ)
        context, address = self._context, environ.get("REMOTE_ADDR", "")
        try:
            visitor = self._let_in(environ, address, is_trial=True)
            if not _shows_a_token(visitor) or context.scope_of_visitor(visitor) is not None:
                return longest_body(self._app, environ)
            check_rate(context, environ, visitor, address, is_trial=True)
        except Exception as error:
            environ[REFUSAL] = error
            return None
        return max(PART_BODY_BYTES, context.settings.max_body_bytes)

    def _is_regular(self, environ: dict[str, Any]) -> bool:
        """Return whether a request brings a batch, and only who sends it and what is in its body has to be looked at."""
        settings, length = self._context.settings, environ.get("CONTENT_LENGTH", "")
        return (
            environ["PATH_INFO"] == _PATH
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == MEDIA_TYPE
            and environ.get("HTTP_X_MODELDB") == "1"
            and environ.get("HTTP_AUTHORIZATION", "bearer ").partition(" ")[0].lower() == "bearer"
            and not environ.get("QUERY_STRING")
            and length.isascii()
            and length.isdigit()
            and len(length) < 10
            and int(length) <= PART_BODY_BYTES
            and not (settings.read_only or settings.allowed_origins or settings.proxy_user_header)
            and environ.get(REFUSAL) is None
            and {name for name in environ if name.startswith("HTTP_")} <= _KNOWN
            and self._is_known_host(environ.get("HTTP_HOST", ""))
        )

    def _look_at_host(self, host: str) -> bool:
        hosts, any_address = hosts_of(self._context)
        return is_known_host([host], hosts, any_address=any_address)

    def _record(self, environ: dict[str, Any]) -> bytes | None:
        """Record the batch of a request and return the answer; ``None``: the long way answers, knowing what was found."""
        address = environ.get("REMOTE_ADDR", "")
        context = self._context
        try:
            visitor = environ[VISITOR] = self._let_in(environ, address, is_trial=False)
        except Exception as error:
            environ[VISITOR] = error
            return None
        if not _shows_a_token(visitor):
            return None
        try:
            check_rate(context, environ, visitor, address)
        except BusyError as error:
            environ[REFUSAL] = error
            return None
        environ[IS_ADMITTED] = True  # it is counted
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            if context.scope_of_visitor(visitor) is not None:
                return None
            changes = record_batch(context, visitor, io.BytesIO(body))
        except Exception as error:
            environ[FAILURE] = error
            return None
        return dump_json(protocol.acknowledgement(changes))

    def _let_in(self, environ: dict[str, Any], address: str, *, is_trial: bool) -> Visitor | None:
        given = environ.get("HTTP_AUTHORIZATION")
        shown = None if given is None else shown_in((("authorization", given),))
        return self._context.gatekeeper.check(shown, Policy.WRITE, address, is_trial=is_trial)

    def _note(self, environ: dict[str, Any], seconds: float) -> None:
        visitor, address = environ[VISITOR], environ.get("REMOTE_ADDR", "")
        if visitor is not None:
            self._context.access.seen(visitor, address, "bearer")
        self._answered.inc()
        self._durations.observe(seconds)
        self._context.metrics.log("POST", _PATH, _ROUTE, 200, seconds, visitor, address)


def _shows_a_token(visitor: Visitor | None) -> bool:
    """Return whether a token says who somebody is, or nobody has to say."""
    return visitor is None or visitor.means is Means.TOKEN


def _count_hooks(app: Flask) -> tuple[int, ...]:
    """Return how many functions look at every request: those of others must see these too."""
    hooks = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
    return tuple(len(some) for each in hooks for some in each.values())
