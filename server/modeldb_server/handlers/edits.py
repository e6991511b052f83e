"""What people change through the API: comments, names, descriptions and tags; deleting and restoring, one or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import edits, removal
from modeldb_core.commands.operation import together
from modeldb_core.errors import ConflictError, InvalidArgumentError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.queries import Query, condition, portions
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext

ACTIONS = ("describe", "tag", "untag", "delete", "restore")
MAX_EDITED = 10_000
"""The most runs that one request changes."""
_PAGE = 500


def create_comment(context: ServerContext, *, parent_kind: str, parent_id: str, message: str) -> Response:
    """Record a comment on an entity and return it."""
    _living(context, parent_kind, parent_id)
    operation = edits.comment(parent_id, message, comment_id=context.new_id("comment"))
    return edited(context, operation, 201)


def change_tags(
    context: ServerContext, *, kind: str, entity_id: str, add: tuple[str, ...], remove: tuple[str, ...]
) -> Response:
    """Add and remove tags of an entity and return it."""
    operation = edits.change_tags(kind, entity_id, add=add, remove=remove)
    _living(context, kind, entity_id)
    return edited(context, operation)


def edit_entity(
    context: ServerContext, *, kind: str, entity_id: str, name: str | None, description: str | None
) -> Response:
    """Give an entity another name or description and return it."""
    if name is None and description is None:
        msg = "neither name nor description is given; give at least one"
        raise InvalidArgumentError(msg)
    entity = _living(context, kind, entity_id)
    parts = [edits.rename(entity, name)] if name is not None else []
    if description is not None:
        parts.append(edits.describe(kind, entity_id, description))
    return edited(context, together(parts))


def delete_entity(context: ServerContext, *, kind: str, entity_id: str, recursive: bool) -> Response:
    """Delete an entity, so that it can be restored, and return what went."""
    check_id(kind, entity_id)
    return changed(context, _delete(context, [(kind, entity_id)], recursive=recursive))


def restore_entity(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """Bring a deleted entity back, and return what came."""
    check_id(kind, entity_id)
    return changed(context, removal.restore(context.store, [(kind, entity_id)]))


def edit_runs(
    context: ServerContext,
    *,
    action: str,
    run_ids: tuple[str, ...] | None,
    filter: str | None,  # noqa: A002 - its name in the API
    within: str | None,
    expect: int | None,
    description: str | None,
    tags: tuple[str, ...],
    recursive: bool,
) -> Response:
    """Change many runs: all together, or none."""
    ids = _chosen(context, action, run_ids, filter, within)
    if expect is not None and expect != len(ids):
        msg = f"{len(ids):,} runs match now, not {expect:,}; look at them and try again"
        raise ConflictError(msg)
    names = [("run", run_id) for run_id in ids]
    if action == "delete":
        operation = _delete(context, names, recursive=recursive)
    elif action == "restore":
        operation = removal.restore(context.store, names)
    else:
        edit = _edit(action, description, tags)
        operation = together(edit(run_id) for run_id in ids)
    context.execute(operation)
    return json_response({"run_ids": ids, "changed": len(operation.entries)})


def _delete(context: ServerContext, names: list[tuple[str, str]], *, recursive: bool) -> Operation:
    window_days = context.settings.restore_window_days
    return removal.delete(context.store, names, recursive=recursive, window_days=window_days)


def _edit(action: str, description: str | None, tags: tuple[str, ...]) -> Callable[[str], Operation]:
    """Return the function that edits a run of some identifier."""
    if action == "describe":
        if description is None:
            msg = "description is missing; give the new one, empty for none"
            raise InvalidArgumentError(msg)
        return lambda run_id: edits.describe("run", run_id, description)
    if not tags:
        msg = "tags is empty; name at least one tag"
        raise InvalidArgumentError(msg)
    add, remove = (tags, ()) if action == "tag" else ((), tags)
    return lambda run_id: edits.change_tags("run", run_id, add=add, remove=remove)


def _chosen(
    context: ServerContext, action: str, run_ids: tuple[str, ...] | None, expression: str | None, within: str | None
) -> list[str]:
    """Return the identifiers of the runs that are meant, each once."""
    if (run_ids is None) == (expression is None):
        msg = "give either run_ids or filter; an empty filter means all runs of within"
        raise InvalidArgumentError(msg)
    if run_ids is not None:
        ids = list(dict.fromkeys(run_ids))
        _check_all(context, ids, deleted_too=action == "restore")
        return ids
    if not within:
        msg = "within is missing: a filter changes the runs of one project or experiment"
        raise InvalidArgumentError(msg)
    wanted = expression or ""
    if action == "restore":
        wanted = f"deleted_at exists and ({wanted})" if wanted else "deleted_at exists"
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = Query(
            filter=wanted,
            within=within,
            fields=("name",),
            limit=_PAGE,
            cursor=cursor,
            include_deleted=action == "restore",
        )
        page = context.store.find(query)
        found += [entity.entity_id for entity in page.entities]
        if len(found) > MAX_EDITED:
            msg = f"more than {MAX_EDITED:,} runs match, which is the most that one request changes; narrow the filter"
            raise InvalidArgumentError(msg)
        cursor = page.cursor
        if cursor is None:
            return found


def _check_all(context: ServerContext, run_ids: list[str], *, deleted_too: bool) -> None:
    """See that runs can be changed: many are looked up at once, and those that are not found say why."""
    for run_id in run_ids:
        check_id("run", run_id)
    found: set[str] = set()
    for some in portions(run_ids):
        these = condition("entity_id in ?", some)
        query = Query(filter=these, fields=("name",), limit=len(some), include_deleted=deleted_too)
        found.update(entity.entity_id for entity in context.store.find(query).entities)
    for run_id in run_ids:
        if run_id not in found:
            if deleted_too:
                context.store.get("run", run_id)
            else:
                _living(context, "run", run_id)


def _living(context: ServerContext, kind: str, entity_id: str) -> Entity:
    check_id(kind, entity_id)
    return edits.living(context.store, kind, entity_id)


def edited(context: ServerContext, operation: Operation, status: int = 200) -> Response:
    """Carry an operation out and return the entity that it is about."""
    context.execute(operation)
    _, kind, entity_id, _ = operation.entries[-1]
    return json_response(entity_document(context.store.get(kind, entity_id)), status)


def changed(context: ServerContext, operation: Operation) -> Response:
    """Carry an operation out and return how many changes that took."""
    context.execute(operation)
    return json_response({"changed": len(operation.entries)})
