"""Experiments: what only they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import containers, edits
from modeldb_core.commands.operation import together
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.queries import Query, condition
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.finding import brief, search, show_all
from modeldb_v1.kinds import EXPERIMENT, found, name_of, required
from modeldb_v1.messages import fill
from modeldb_v1.sections import described, editing, rename

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


@write("ExperimentService.createExperiment")
def create_experiment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Create an experiment; another one of the name in the project is a conflict."""
    project = found(context, "project", required(request, "project_id"))
    fields = {**described(context, request), "name": name_of(request), "project_id": project.entity_id}
    experiment_id = context.new_id("experiment")
    context.execute(containers.create(context.store, "experiment", fields, entity_id=experiment_id))
    fill(context, response.experiment, found(context, "experiment", experiment_id))


@read("ExperimentService.getExperimentByName")
def get_experiment_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the experiment of a name in a project."""
    name, project_id = required(request, "name"), required(request, "project_id")
    page = context.store.find(Query("experiment", condition("name = ?", name), within=project_id, limit=1))
    if not page.entities:
        msg = f"Experiment not found: {name[:80]}"
        raise NotFoundError(msg)
    fill(context, response.experiment, page.entities[0])


@read("ExperimentService.getExperimentsInProject")
def get_experiments_in_project(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the experiments of a project."""
    project = found(context, "project", required(request, "project_id"))
    page = search(context, "experiment", request, within=project.entity_id)
    show_all(context, EXPERIMENT, request, response, page, brief)


@read("ExperimentService.findExperiments")
def find_experiments(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the experiments that predicates match: of a project, of some that are named, or of all."""
    within = found(context, "project", request.project_id).entity_id if request.project_id else None
    page = search(context, "experiment", request, within=within, ids=request.experiment_ids)
    show_all(context, EXPERIMENT, request, response, page, brief)


def _rename_or_describe(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    parts = [rename(context, request, entity)] if request.name else []
    if request.description:
        parts.append(edits.describe(entity.KIND, entity.entity_id, request.description))
    if not parts:
        msg = "name and description not found in request; give at least one"
        raise InvalidArgumentError(msg)
    return together(parts)


declare("ExperimentService.updateExperimentNameOrDescription", Policy.WRITE, editing(EXPERIMENT, _rename_or_describe))
