"""What programs and people create through the API: projects, experiments, runs, and entities of every other kind."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers, edits, runs
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.names import check_name
from modeldb_core.commands.operation import Operation, together
from modeldb_core.commands.values import recorded
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import DEFAULT_WORKSPACE
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query, condition
from modeldb_core.stores.scoped import ScopedStore
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext

RETURN, REFUSE = "return", "refuse"


def create_entity(
    context: ServerContext,
    /,
    *,
    kind: str,
    entity_id: str | None,
    existing: str,
    **fields: Any,  # noqa: ANN401 - as the kind declares them
) -> Response:
    """Create an entity and return it; one of that name is returned in its place if that is asked for."""
    declaration = KINDS[kind]
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items() if value != ()}
    first = Operation(())
    if "workspace_id" in declaration.stored and not fields.get("workspace_id"):
        fields["workspace_id"], first = _default_workspace(context)
    if declaration.is_own and declaration.home and not fields.get(declaration.home):
        msg = f"{declaration.home} is missing: what the {declaration.words} is to be a part of"
        raise InvalidArgumentError(msg)
    for name in declaration.maps:
        if fields.get(name):
            fields[name] = recorded(fields[name], name, context.artifacts.put)
    given_id = entity_id or context.new_id(kind)
    operation = containers.create(context.store, kind, fields, entity_id=given_id, declared_id=first.entity_id)
    try:
        context.execute(together((first, operation)))
    except AlreadyExistsError:
        found = _of_that_name(context, kind, fields) if existing == RETURN else None
        if found is None:
            raise
        return json_response(entity_document(found))
    return json_response(entity_document(context.store.get(kind, operation.entity_id)), 201)


def create_run(
    context: ServerContext,
    *,
    run_id: str | None,
    project: str | None,
    experiment: str | None,
    experiment_id: str | None,
    parent_id: str | None,
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    started_at: int | None,
    **given: dict[str, Any] | None,
) -> Response:
    """Start a run and return it; ``given`` are the maps that people log."""
    checked_id = containers.check_new_id(run_id) if run_id else context.new_id("run")
    home, first = _home_of_run(context, project, experiment, experiment_id, parent_id)
    operation = runs.start(
        checked_id,
        home,
        started_at=started_at,
        name=name or "",
        tags=tags,
        description=description or "",
        sections={key: recorded(values, key, context.artifacts.put) for key, values in given.items() if values},
    )
    context.execute(together((*first, operation)))
    return json_response(entity_document(context.store.get("run", checked_id)), 201)


def _home_of_run(
    context: ServerContext,
    project: str | None,
    experiment: str | None,
    experiment_id: str | None,
    parent_id: str | None,
) -> tuple[dict[str, str], tuple[Operation, ...]]:
    """Return the containers of a new run, and what declares them."""
    if (project is not None) + (experiment_id is not None) > 1 or (experiment is not None and project is None):
        msg = "give either project, with or without experiment, or experiment_id"
        raise InvalidArgumentError(msg)
    parent = {} if parent_id is None else {"parent_id": parent_id}
    if parent_id is not None:
        above = edits.living(context.store, "run", parent_id)
        if project is None and experiment_id is None:
            return {**_ids(above), **parent}, ()
    if experiment_id is not None:
        within = edits.living(context.store, "experiment", experiment_id)
        project_id = str(within.document.get("project_id", ""))
        return {"project_id": project_id, "experiment_id": experiment_id, **parent}, ()
    if project is None:
        msg = "project is missing: the name of the project that the run belongs to; or give experiment_id, or parent_id"
        raise InvalidArgumentError(msg)
    path = ("workspace", home_of(context)[1]), ("project", project), ("experiment", experiment or "default")
    names = tuple((kind, check_name(name, kind)) for kind, name in path)
    workspace_id, project_id, found_id = context.store.identify(*names)
    declared = (
        declare("workspace", workspace_id, names[0][1]),
        declare("project", project_id, names[1][1], workspace_id=workspace_id),
        declare("experiment", found_id, names[2][1], project_id=project_id),
    )
    return {"project_id": project_id, "experiment_id": found_id, **parent}, declared


def _ids(run: Entity) -> dict[str, str]:
    return {name: str(run.document.get(name, "")) for name in ("project_id", "experiment_id")}


def _default_workspace(context: ServerContext) -> tuple[str, Operation]:
    workspace_id, name = home_of(context)
    return workspace_id, declare("workspace", workspace_id, name)


def home_of(context: ServerContext) -> tuple[str, str]:
    """Return identifier and name of the workspace that is meant where none is named.

    It is the one of their own, if who asks may write there; else the only one in which they may, or the only one that they see.
    What others share with them (a role elsewhere, a public project) makes no difference to where they are at home.
    """
    store = context.store
    if isinstance(store, ScopedStore):
        scope = store.scope
        written = scope.workspaces if scope.written is None else scope.workspaces & scope.written
        for ids in (written & set(store.identify(("workspace", context.actor))), written, store.workspaces):
            if len(ids) == 1:
                (workspace_id,) = ids
                with suppress(NotFoundError):
                    return workspace_id, store.get("workspace", workspace_id).name
    (workspace_id,) = store.identify(("workspace", DEFAULT_WORKSPACE))
    return workspace_id, DEFAULT_WORKSPACE


def _of_that_name(context: ServerContext, kind: str, fields: dict[str, Any]) -> Entity | None:
    """Return the entity that has the name which a new one was to have."""
    scope = KINDS[kind].fields["name"].unique_within
    if scope is None or not fields.get("name"):
        return None
    same = condition("name = ?", check_name(fields["name"], kind))
    query = Query(kind, same, within=(fields.get(scope) if scope else None) or None, limit=1)
    return next(iter(context.store.find(query).entities), None)
