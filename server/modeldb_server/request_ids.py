"""Request ids: what ties an answer, the lines of the log about it, and what a proxy or a client says of it together.

An id is taken over from the header ``X-Request-ID`` of a request, where it is one, else it is made here. Every answer has
it, also that of a request which never came to the application. It is a name and no secret, and proves nothing.
"""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from flask import request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask, Response

HEADER = "X-Request-ID"
ENVIRON = "modeldb.request_id"
"""Where the WSGI environment has the id that was given to a request when it arrived."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,127}")
_current: ContextVar[str] = ContextVar("modeldb_request_id", default="")


def request_id_of(given: str | None) -> str:
    """Return the id that a request brought along, or a new one where it has none that can be one."""
    return given if given is not None and _NAME.fullmatch(given) else uuid.uuid4().hex


def current_request_id() -> str:
    """Return the id of the request that this thread answers; "" if it answers none."""
    return _current.get()


@contextmanager
def answering(request_id: str) -> Iterator[None]:
    """Let what is logged inside bear the id of a request."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def register_request_ids(app: Flask) -> None:
    """Give every request of ``app`` an id. Call it before other hooks are registered, so that what they log has it."""
    app.before_request(_begin)
    app.after_request(_mark)
    app.teardown_request(_end)


def _begin() -> None:
    _current.set(str(request.environ.get(ENVIRON) or request_id_of(request.headers.get(HEADER))))


def _mark(response: Response) -> Response:
    response.headers[HEADER] = _current.get()
    return response


def _end(error: BaseException | None) -> None:
    del error
    _current.set("")
