"""The few changes that the pages make: comments, tags, and the name and description of a run."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from modeldb_core.changes import CREATE, UPDATE
from modeldb_core.documents import entity_document
from modeldb_core.entities import new_id
from modeldb_core.errors import ConflictError, InvalidArgumentError
from modeldb_core.values import check_key
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_server.context import ServerContext


def create_comment(context: ServerContext, *, parent_kind: str, parent_id: str, message: str) -> Response:
    """Record a comment on an entity and return it."""
    if not message.strip():
        msg = "message is empty; say something"
        raise InvalidArgumentError(msg)
    _check_alive(context, parent_kind, parent_id)
    comment_id = new_id()
    payload = {"parent_id": parent_id, "message": message, "author": context.writer.actor}
    _write(context, CREATE, "comment", comment_id, payload)
    return json_response(entity_document(context.store.get("comment", comment_id)), 201)


def change_tags(context: ServerContext, *, run_id: str, add: tuple[str, ...], remove: tuple[str, ...]) -> Response:
    """Add and remove tags of a run and return it."""
    added = [unicodedata.normalize("NFC", check_key(tag, "tag")) for tag in add]
    if both := set(added) & set(remove):
        msg = f"the tag {sorted(both)[0]!r} is to be added and removed; choose one"
        raise InvalidArgumentError(msg)
    if not added and not remove:
        msg = "add and remove are both empty; name at least one tag"
        raise InvalidArgumentError(msg)
    payload: dict[str, Any] = {}
    if added:
        payload["add"] = {"tags": added}
    if remove:
        payload["remove"] = {"tags": list(remove)}
    return _update_run(context, run_id, payload)


def rename_run(context: ServerContext, *, run_id: str, name: str | None, description: str | None) -> Response:
    """Give a run another name or description and return it."""
    fields = {"name": name, "description": description}
    given = {field: text for field, text in fields.items() if text is not None}
    if not given:
        msg = "neither name nor description is given; give at least one"
        raise InvalidArgumentError(msg)
    return _update_run(context, run_id, {"set": given})


def _update_run(context: ServerContext, run_id: str, payload: dict[str, Any]) -> Response:
    _check_alive(context, "run", run_id)
    _write(context, UPDATE, "run", run_id, payload)
    return json_response(entity_document(context.store.get("run", run_id)))


def _check_alive(context: ServerContext, kind: str, entity_id: str) -> None:
    check_id(kind, entity_id)
    if context.store.get(kind, entity_id).deleted_at is not None:
        msg = f"the {kind} {entity_id} is deleted; restore it first"
        raise ConflictError(msg)


def _write(context: ServerContext, action: str, kind: str, entity_id: str, payload: dict[str, Any]) -> None:
    context.writer.write(action, kind, entity_id, payload)
    context.metrics.writes.inc()
