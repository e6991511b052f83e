"""Summaries of projects, and copies of them with all that they contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers
from modeldb_core.commands.operation import Operation, together
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import CREATE
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import Run, new_id
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.queries import Query, condition, quote
from modeldb_v1.calls import read, write
from modeldb_v1.kinds import found, milliseconds, required
from modeldb_v1.messages import fill
from modeldb_v1.point_copies import copy_points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

MOST_COPIED = 1000
"""Experiments and runs that a copy may have."""
MOST_METRICS = 50
"""Metrics in a summary: those that most runs have."""
_OF_CHANGES = ("created_at", "owner", "updated_at", "deleted_at", "revision")


@read("ProjectService.getSummary")
def get_summary(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return how much a project contains, what was changed last, and the range of its metrics."""
    project = found(context, "project", required(request, "entityId"))
    response.name = project.name
    response.last_updated_time = milliseconds(project.document.get("updated_at"))
    for kind, field in (("experiment", "total_experiment"), ("run", "total_experiment_runs")):
        counted = context.store.find(Query(kind, within=project.entity_id, fields=("name",), limit=0, count=True))
        setattr(response, field, counted.total or 0)
    for run in _first(context, project, order_by="updated_at desc", fields=("updated_at",)):
        last = response.last_modified_experimentRun_summary
        last.name, last.last_updated_time = run.name, milliseconds(run.document.get("updated_at"))
    keys = context.store.find_keys(Query("run", within=project.entity_id, limit=MOST_METRICS))
    for key in sorted(
        each.key for each in keys if each.section == METRICS and set(each.value_types) & {"number", "series"}
    ):
        field = f"{METRICS}.{quote(key)}"
        ends = [
            value
            for direction in ("asc", "desc")
            for run in _first(context, project, order_by=f"{field} {direction}", fields=(field,))
            if isinstance(value := getattr(run, METRICS).get(key), (int, float))
        ]
        if len(ends) == 2:
            response.metrics.add(key=key, min_value=ends[0], max_value=ends[1])


def _first(context: ServerContext, project: Entity, *, order_by: str, fields: tuple[str, ...]) -> tuple[Entity, ...]:
    return context.store.find(
        Query("run", order_by=order_by, fields=fields, within=project.entity_id, limit=1)
    ).entities


@write("ProjectService.deepCopyProject")
def copy_project(context: ServerContext, request: Fields, response: Fields) -> None:
    """Copy a project with its experiments, runs and their points, under a name of its own; all of it, or nothing."""
    project = found(context, "project", required(request, "id"))
    parts = [part for kind in ("experiment", "run") for part in _parts(context, project, kind)]
    if len(parts) > MOST_COPIED:
        msg = f"the project contains {len(parts):,} experiments and runs; a copy may have {MOST_COPIED:,}"
        raise InvalidArgumentError(msg)
    ids = {entity.entity_id: new_id() for entity in parts}
    ids[project.entity_id] = context.new_id("project")
    fields = {**_said(project, ids), "name": _free_name(context, project)}
    first = containers.create(context.store, "project", fields, entity_id=ids[project.entity_id])
    copies = [
        Operation((Entry(CREATE, each.KIND, ids[each.entity_id], _said(each, ids)),), entity_id=ids[each.entity_id])
        for each in parts
    ]
    points = [copy_points(context, each, ids[each.entity_id]) for each in parts if isinstance(each, Run)]
    context.execute(together((first, *copies, *points)))
    fill(context, response.project, found(context, "project", ids[project.entity_id]))


def _parts(context: ServerContext, project: Entity, kind: str) -> tuple[Entity, ...]:
    return context.store.find(
        Query(kind, order_by="created_at", within=project.entity_id, limit=MOST_COPIED + 1)
    ).entities


def _said(entity: Entity, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return what a copy says: all that the entity says, of what was copied the copy."""
    containing = {each.name for each in KINDS[entity.KIND].containers}
    kept = {name: value for name, value in entity.document.items() if name not in (*_OF_CHANGES, "stream_id")}
    return {name: ids.get(value, value) if name in containing else value for name, value in kept.items()}


def _free_name(context: ServerContext, project: Entity) -> str:
    base = f"{project.name[:200]} (copy)"
    for number in range(1, MOST_COPIED):
        name = base if number == 1 else f"{base[:-1]} {number})"
        query = Query("project", condition("name = ?", name), within=project.workspace_id, limit=0, count=True)
        if not context.store.find(query).total:
            return name
    msg = f"there are too many copies of {project.name[:80]!r}; rename some"
    raise InvalidArgumentError(msg)
