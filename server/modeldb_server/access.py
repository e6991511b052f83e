"""What the access log is told of requests: who was refused, who read which file, who signed in.

A handler that hands out a file says so with :func:`note_read`; everything else is seen here, when the answer is there.
What is written never holds a path, a query or a header as it came: those may hold secrets. It holds the rule of the route,
and identifiers.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from http.client import responses
from typing import TYPE_CHECKING, Any

from flask import current_app, g, has_request_context, request

from modeldb_core.audit.access import Access
from modeldb_core.audit.access.entries import READ, REFUSE, SIGN_IN
from modeldb_core.model.entities import now_us
from modeldb_server.request_ids import current_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Flask, Response

    from modeldb_core.audit.access import AccessLog
    from modeldb_core.model.entities import Entity
    from modeldb_server.accounts.visitor import Visitor

REFUSALS = frozenset({401, 403, 429})
SIGN_IN_INTERVAL_S = 3600.0
"""Who shows a token with each request signs in with the first, and again after so long without one."""
_MAX_VISITORS = 10_000
_IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|\d{1,20}")
_UNKNOWN = "unknown"


class AccessNotes:
    """What one application tells its access log; without a log, nothing.

    Args:
        log: where it is written.
    """

    def __init__(self, log: AccessLog | None) -> None:
        self.log = log
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def register(self, app: Flask) -> None:
        """Look at every answer of ``app``. Call it before other hooks are registered, so that it sees the last status."""
        if self.log is not None:
            app.after_request(self._end)

    def refuse(self, status: int, actor: str, subject: str, *, kind: str = "route", **data: object) -> None:
        """Record that something was refused; ``data`` says more, such as ``address`` and ``reason``."""
        self._record(actor, REFUSE, kind, subject, {"status": status, **data})

    def sign_in(self, user: str, *, how: str, **data: object) -> None:
        """Record that somebody showed who they are."""
        self._record(user, SIGN_IN, "user", user, {"how": how, **data})

    def read(self, actor: str, reads: Iterable[dict[str, Any]], **data: object) -> None:
        """Record that files were read, each as :func:`note_read` says."""
        for each in reads:
            rest = {name: value for name, value in each.items() if name not in ("kind", "entity_id")}
            self._record(actor, READ, each["kind"], each["entity_id"], {**rest, **data})

    def seen(self, visitor: Visitor, address: str, how: str) -> None:
        """Take notice of who makes a request: the first one in a while is a sign-in."""
        if self.log is None:
            return
        key, now = (visitor.user, address), time.monotonic()
        with self._lock:
            before = self._seen.pop(key, None)
            self._seen[key] = now
            if len(self._seen) > _MAX_VISITORS:
                self._seen.popitem(last=False)
        if before is None or now - before > SIGN_IN_INTERVAL_S:
            self.sign_in(visitor.user, how=how, address=address)

    def close(self) -> None:
        """Write what waits, and seal the stream."""
        if self.log is not None:
            self.log.close()

    def _record(self, actor: str, action: str, kind: str, subject: str, data: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.record(Access(now_us(), actor[:1024], action, kind, subject[:1024] or _UNKNOWN, data))

    def _end(self, response: Response) -> Response:
        status = response.status_code
        visitor: Visitor | None = g.get("modeldb_visitor")
        actor = "" if visitor is None else visitor.user
        if visitor is not None:
            how = request.headers.get("Authorization", "").partition(" ")[0].lower()
            self.seen(
                visitor,
                request.remote_addr or "",
                how if how in ("bearer", "basic") else "cookie" if request.cookies else "header",
            )
        if status in REFUSALS or (status == 404 and g.get("modeldb_out_of_scope")):
            reason = (
                "out_of_scope"
                if status == 404
                else g.get("modeldb_error_code") or responses.get(status, "").lower().replace(" ", "_")
            )
            rule = request.url_rule.rule if request.url_rule is not None else _UNKNOWN
            self.refuse(status, actor, rule, reason=reason, **_about(), **_named())
        elif status < 400 and (reads := g.get("modeldb_reads")):
            if len(reads) == 1:
                reads[0].setdefault("bytes", 0 if request.method == "HEAD" else response.content_length or 0)
            self.read(actor, reads, status=status, **_about())
        return response


def note_read(digest: str, entity: Entity | None = None, *, path: str = "", size_bytes: int | None = None) -> None:
    """Take notice that the current request hands out a file, for the access log.

    Args:
        digest: of the file.
        entity: whose file it is, where that is known.
        path: where the entity has it.
        size_bytes: of what is handed out; by default the length of the answer.
    """
    if not has_request_context():
        return
    read: dict[str, Any] = {"kind": "blob", "entity_id": digest, "digest": digest}
    if entity is not None:
        read |= {"kind": entity.KIND, "entity_id": entity.entity_id}
        read |= {name: home for name in ("workspace_id", "project_id") if (home := getattr(entity, name, None))}
    if path:
        read["path"] = path[:1024]
    if size_bytes is not None:
        read["bytes"] = size_bytes
    if "modeldb_reads" not in g:
        g.modeldb_reads = []
    g.modeldb_reads.append(read)


def note_hidden(kind: str, entity_id: str) -> None:
    """Take notice that the current request asks for what is there and outside of its scope; it is answered with 404."""
    del kind, entity_id
    if has_request_context():
        g.modeldb_out_of_scope = True


def _about() -> dict[str, str]:
    """Return the circumstances of a request; ``call`` where a route leads to many, as its ``modeldb_call`` names them."""
    about = {"method": request.method, "address": request.remote_addr or ""}
    if number := current_request_id():
        about["request_id"] = number
    name_of = getattr(current_app.view_functions.get(request.endpoint or ""), "modeldb_call", None)
    if name_of is not None and (call := name_of(request)):
        about["call"] = call
    return about


def _named() -> dict[str, str]:
    """Return the identifiers that stand in the path; other parts of it are texts of the one who asks."""
    return {
        name: value
        for name, value in (request.view_args or {}).items()
        if _IDENTIFIER.fullmatch(str(value)) is not None
    }
