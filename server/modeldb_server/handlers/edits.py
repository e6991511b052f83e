"""What people change through the API: comments, names, descriptions and tags; deleting and restoring, one or many."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ConflictError, InvalidArgumentError, NotFoundError
from modeldb_core.log.changes import CREATE, DELETE, RESTORE, UPDATE
from modeldb_core.log.erasures import promise
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import new_id
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import check_key
from modeldb_core.movement.deletion import to_delete, to_restore
from modeldb_core.queries import Query, condition
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from modeldb_server.context import ServerContext
    from modeldb_server.writer import Draft

ACTIONS = ("describe", "tag", "untag", "delete", "restore")
MAX_EDITED = 10_000
"""The most runs that one request changes."""
MAX_NAME = 256
_PAGE = 500


def create_comment(context: ServerContext, *, parent_kind: str, parent_id: str, message: str) -> Response:
    """Record a comment on an entity and return it."""
    if not message.strip():
        msg = "message is empty; say something"
        raise InvalidArgumentError(msg)
    _check_alive(context, parent_kind, parent_id)
    comment_id = new_id()
    payload = {"parent_id": parent_id, "message": message, "author": context.writer.actor}
    _write(context, [(CREATE, "comment", comment_id, payload)])
    return json_response(entity_document(context.store.get("comment", comment_id)), 201)


def change_tags(
    context: ServerContext, *, kind: str, entity_id: str, add: tuple[str, ...], remove: tuple[str, ...]
) -> Response:
    """Add and remove tags of an entity and return it."""
    added = _tags(add)
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
    return _update(context, kind, entity_id, payload)


def edit_entity(
    context: ServerContext, *, kind: str, entity_id: str, name: str | None, description: str | None
) -> Response:
    """Give an entity another name or description and return it."""
    given: dict[str, Any] = {}
    if name is not None:
        given["name"] = _name(context, kind, entity_id, name)
    if description is not None:
        given["description"] = description
    if not given:
        msg = "neither name nor description is given; give at least one"
        raise InvalidArgumentError(msg)
    return _update(context, kind, entity_id, {"set": given})


def delete_entity(context: ServerContext, *, kind: str, entity_id: str, recursive: bool) -> Response:
    """Delete an entity, so that it can be restored, and return what went."""
    check_id(kind, entity_id)
    return _gone_or_back(context, DELETE, _to_delete(context, kind, entity_id, recursive))


def restore_entity(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """Bring a deleted entity back, and return what came."""
    check_id(kind, entity_id)
    return _gone_or_back(context, RESTORE, to_restore(context.store, kind, entity_id))


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
    drafts: dict[tuple[str, str], Draft] = {}
    if action in ("delete", "restore"):
        for run_id in ids:
            store = context.store
            names = (
                _to_delete(context, "run", run_id, recursive, among=ids)
                if action == "delete"
                else to_restore(store, "run", run_id)
            )
            for name in names:
                drafts[name] = _draft(context, DELETE if action == "delete" else RESTORE, name)
    else:
        payload = _payload(action, description, tags)
        drafts = {("run", run_id): (UPDATE, "run", run_id, payload) for run_id in ids}
    _write(context, list(drafts.values()))
    return json_response({"run_ids": ids, "changed": len(drafts)})


def _payload(action: str, description: str | None, tags: tuple[str, ...]) -> dict[str, Any]:
    if action == "describe":
        if description is None:
            msg = "description is missing; give the new one, empty for none"
            raise InvalidArgumentError(msg)
        return {"set": {"description": description}}
    if not tags:
        msg = "tags is empty; name at least one tag"
        raise InvalidArgumentError(msg)
    return {"add": {"tags": _tags(tags)}} if action == "tag" else {"remove": {"tags": list(tags)}}


def _chosen(
    context: ServerContext, action: str, run_ids: tuple[str, ...] | None, expression: str | None, within: str | None
) -> list[str]:
    """Return the identifiers of the runs that are meant, each once."""
    if (run_ids is None) == (expression is None):
        msg = "give either run_ids or filter; an empty filter means all runs of within"
        raise InvalidArgumentError(msg)
    if run_ids is not None:
        ids = list(dict.fromkeys(run_ids))
        for run_id in ids:
            if action == "restore":
                check_id("run", run_id)
                context.store.get("run", run_id)
            else:
                _check_alive(context, "run", run_id)
        return ids
    if not within:
        msg = "within is missing: a filter changes the runs of one project or experiment"
        raise InvalidArgumentError(msg)
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = Query(filter=expression or "", within=within, fields=("name",), limit=_PAGE, cursor=cursor)
        page = context.store.find(query)
        found += [entity.entity_id for entity in page.entities]
        if len(found) > MAX_EDITED:
            msg = f"more than {MAX_EDITED:,} runs match, which is the most that one request changes; narrow the filter"
            raise InvalidArgumentError(msg)
        cursor = page.cursor
        if cursor is None:
            return found


def _to_delete(
    context: ServerContext, kind: str, entity_id: str, recursive: bool, among: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return what goes with an entity; what it contains goes along if that is asked for, or is among what is named."""
    names = to_delete(context.store, kind, entity_id, recursive=True)
    others = [name for name in names if not KINDS[name[0]].remark and name[1] not in (entity_id, *among)]
    if others and not recursive:
        kinds = sorted({KINDS[of].words + "s" for of, _ in others})
        msg = (
            f"the {kind} {entity_id} contains {len(others):,} {' and '.join(kinds)}; delete them with it by recursive,"
            " or delete them first"
        )
        raise InvalidArgumentError(msg)
    return names


def _gone_or_back(context: ServerContext, action: str, names: list[tuple[str, str]]) -> Response:
    _write(context, [_draft(context, action, name) for name in names])
    return json_response({"changed": len(names)})


def _draft(context: ServerContext, action: str, name: tuple[str, str]) -> Draft:
    """Return the change that deletes or restores an entity."""
    return (action, *name, promise(context.settings.restore_window_days) if action == DELETE else {})


def _name(context: ServerContext, kind: str, entity_id: str, name: str) -> str:
    """Return a name that an entity may have.

    Raises:
        ConflictError: another entity beside it has the name already.
    """
    name = unicodedata.normalize("NFC", check_key(name.strip(), "name"))
    if len(name) > MAX_NAME:
        msg = f"name has {len(name):,} characters; at most {MAX_NAME} are allowed"
        raise InvalidArgumentError(msg)
    scope = KINDS[kind].fields["name"].unique_within
    if scope is None:
        return name
    check_id(kind, entity_id)
    within = context.store.get(kind, entity_id).document.get(scope)
    same = Query(kind, condition("name = ?", name), within=within or None, limit=2)
    if any(other.entity_id != entity_id for other in context.store.find(same).entities):
        msg = f"there is another {kind} named {name!r}; choose another name"
        raise ConflictError(msg)
    return name


def _tags(tags: tuple[str, ...]) -> list[str]:
    return [unicodedata.normalize("NFC", check_key(tag, "tag")) for tag in tags]


def _update(context: ServerContext, kind: str, entity_id: str, payload: dict[str, Any]) -> Response:
    _check_alive(context, kind, entity_id)
    _write(context, [(UPDATE, kind, entity_id, payload)])
    return json_response(entity_document(context.store.get(kind, entity_id)))


def _check_alive(context: ServerContext, kind: str, entity_id: str) -> None:
    check_id(kind, entity_id)
    try:
        entity = context.store.get(kind, entity_id)
    except NotFoundError as error:
        msg = f"there is no {kind} {entity_id}"
        raise NotFoundError(msg) from error
    if entity.deleted_at is not None:
        msg = f"the {kind} {entity_id} is deleted; restore it first"
        raise ConflictError(msg)


def _write(context: ServerContext, drafts: list[Draft]) -> None:
    if drafts:
        context.writer.write_all(drafts)
        context.metrics.writes.inc(len(drafts))
