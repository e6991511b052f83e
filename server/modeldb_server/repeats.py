"""Requests that a client sends again, because no answer came: what they ask for is done once.

A client puts a key of its own into the header ``Idempotency-Key``. What such a request changes is a stream by itself, whose
identifier follows from the key and the user: so the store, which takes each change of a stream once, is what keeps
the promise, whichever server the repetition reaches. The stream notes which request it came from.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from flask import g, request

from modeldb_core.errors import ConflictError, InvalidArgumentError
from modeldb_core.log.changes import STREAM
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import derived_id
from modeldb_server.responses import JSON, json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.log.changes import Change
    from modeldb_core.stores import MetadataStore
    from modeldb_server.routes import Route

HEADER = "Idempotency-Key"
MAX_KEY = 256
_MOST_CHANGES = 100_000


def note_key(route: Route, actor: str) -> None:
    """Note the key of the current request, if it has one.

    Raises:
        InvalidArgumentError: the route takes none, or it is empty, too long or not plain text.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return
    if not route.once:
        msg = f"{route.method} {request.path} takes no {HEADER}; leave it out"
        raise InvalidArgumentError(msg)
    if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        msg = f"the {HEADER} has {len(key):,} characters; expected 1 to {MAX_KEY} of visible ASCII, such as a UUID"
        raise InvalidArgumentError(msg)
    g.modeldb_stream = derived_id("request", actor, key)
    digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode())
    if request.mimetype == JSON:
        digest.update(request.get_data())
    g.modeldb_request = digest.hexdigest()


def stream_of_request() -> tuple[str, str]:
    """Return the stream of the current request and what it notes of it; empty where it has no key."""
    return g.get("modeldb_stream", ""), g.get("modeldb_request", "")


def earlier_answer(store: MetadataStore, route: Route) -> Response | None:
    """Return the answer to a request that was carried out before; ``None`` where it was not, or has no key.

    Raises:
        ConflictError: the key was used for another request.
    """
    stream_id, digest = stream_of_request()
    if not stream_id:
        return None
    changes = store.read_changes(stream_id=stream_id, limit=_MOST_CHANGES).changes
    if not changes:
        return None
    if changes[0].data().get("request") != digest:
        msg = f"this {HEADER} was used for another request; take a new one"
        raise ConflictError(msg)
    return _answer(store, route, [change for change in changes if change.kind != STREAM])


def _answer(store: MetadataStore, route: Route, made: list[Change]) -> Response:
    if route.answer == "Changed":
        return json_response({"changed": len(made)})
    if route.answer == "EditedRuns":
        ids = list(dict.fromkeys(change.entity_id for change in made if change.kind == "run"))
        return json_response({"run_ids": ids, "changed": len(made)})
    return json_response(entity_document(store.get(made[-1].kind, made[-1].entity_id)), route.status)
