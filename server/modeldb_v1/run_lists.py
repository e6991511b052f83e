"""Lists of runs: of projects and experiments, by predicates, sorted, the best of them, the parts of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.queries import condition
from modeldb_v1.calls import read
from modeldb_v1.finding import brief, search, show_all
from modeldb_v1.kinds import RUN, found, required
from modeldb_v1.pages import MOST

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


@read("ExperimentRunService.getExperimentRunsInProject")
def get_runs_in_project(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs of a project."""
    project = found(context, "project", required(request, "project_id"))
    show_all(context, RUN, request, response, search(context, "run", request, within=project.entity_id), brief)


@read("ExperimentRunService.getExperimentRunsInExperiment")
def get_runs_in_experiment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs of an experiment."""
    experiment = found(context, "experiment", required(request, "experiment_id"))
    show_all(context, RUN, request, response, search(context, "run", request, within=experiment.entity_id), brief)


@read("ExperimentRunService.findExperimentRuns")
def find_runs(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs that predicates match: of a project, an experiment, or some that are named."""
    page = search(context, "run", request, within=_within(context, request), ids=request.experiment_run_ids)
    show_all(context, RUN, request, response, page, brief)


@read("ExperimentRunService.sortExperimentRuns")
def sort_runs(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return runs in an order."""
    required(request, "sort_key")
    ids = required(request, "experiment_run_ids")
    show_all(context, RUN, request, response, search(context, "run", request, ids=ids), brief)


@read("ExperimentRunService.getTopExperimentRuns")
def get_top_runs(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the first runs in an order, of a project, an experiment, or some that are named."""
    required(request, "sort_key")
    if not 0 < request.top_k <= MOST:
        msg = f"top_k is {request.top_k}; expected 1 to {MOST:,}"
        raise InvalidArgumentError(msg)
    within, ids = _within(context, request), request.experiment_run_ids
    page = search(context, "run", request, within=within, ids=ids, limit=request.top_k)
    show_all(context, RUN, request, response, page, brief)


@read("ExperimentRunService.getChildrenExperimentRuns")
def get_children(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs that are parts of another one."""
    run = found(context, "run", required(request, "experiment_run_id"))
    of_it = condition("parent_id = ?", run.entity_id)
    show_all(context, RUN, request, response, search(context, "run", request, filters=[of_it]), brief)


def _within(context: ServerContext, request: Fields) -> str | None:
    """Return the container that a request names; ``None`` where it names runs.

    Raises:
        InvalidArgumentError: it names neither; NotFoundError: there is no such container.
    """
    for kind in ("experiment", "project"):
        if entity_id := getattr(request, f"{kind}_id"):
            return found(context, kind, entity_id).entity_id
    if not request.experiment_run_ids:
        msg = (
            f"project_id, experiment_id and experiment_run_ids not found in {request.DESCRIPTOR.name} request; give one"
        )
        raise InvalidArgumentError(msg)
    return None
