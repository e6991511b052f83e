"""Runs: creating them, and what only they have. What they share with projects and experiments is in ``tables.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers, edits, runs
from modeldb_core.commands.operation import together
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import FINISHED, Run, derived_id, now_us
from modeldb_core.queries import Query, condition
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.dataset_links import dataset_entries
from modeldb_v1.kinds import RUN, found, name_of, required
from modeldb_v1.messages import code_entry, fill
from modeldb_v1.observations import fill_observations, log_observations
from modeldb_v1.repository_links import fill_versioned_inputs, versioned_inputs_entry
from modeldb_v1.sections import described, editing, reading, values_from

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_ATTEMPTS = 100
"""Names of deleted and renamed runs that are passed before one is refused."""


@write("ExperimentRunService.createExperimentRun")
def create_run(context: ServerContext, request: Fields, response: Fields) -> None:
    """Create a run with all that is known of it; another one of the name in the experiment is a conflict."""
    project_id, experiment_id = required(request, "project_id"), required(request, "experiment_id")
    experiment = found(context, "experiment", experiment_id)
    if experiment.document.get("project_id") != project_id:
        msg = f"Experiment not found: {experiment_id[:80]} is not in the project {project_id[:80]}"
        raise NotFoundError(msg)
    run_id = _new_id(context, request, experiment_id)
    home = {"project_id": project_id, "experiment_id": experiment_id}
    if request.parent_id:
        home["parent_id"] = found(context, "run", request.parent_id).entity_id
    started = runs.start(
        run_id,
        home,
        started_at=request.start_time * 1000 or None,
        name=name_of(request),
        sections=_sections(context, request),
    )
    if request.end_time:
        started = runs.ended(started, FINISHED, finished_at=request.end_time * 1000)
    (entry,) = started.entries
    entry.values.update({name: value for name, value in described(context, request).items() if value is not None})
    context.execute(together((started, log_observations(context, run_id, {}, request.observations))))
    fill(context, response.experiment_run, found(context, "run", run_id))


def _sections(context: ServerContext, request: Fields) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, words in (("metrics", "Metric"), ("hyperparameters", "Hyperparameter")):
        if messages := getattr(request, name):
            sections[name] = values_from(context, messages, name, words)
    if request.datasets:
        sections["datasets"] = dict(dataset_entries(context, request.datasets))
    if request.features:
        sections["features"] = {each.name: True for each in request.features if each.name}
    code = {"version": request.code_version} if request.code_version else {}
    if request.code_version_snapshot.WhichOneof("code"):
        code |= code_entry(request.code_version_snapshot, now_us())
    if request.HasField("versioned_inputs"):
        name, entry = versioned_inputs_entry(context, request.versioned_inputs)
        sections["commits"] = {name: entry}
    return {**sections, "code": code} if code else sections


def _new_id(context: ServerContext, request: Fields, experiment_id: str) -> str:
    """Return the identifier of a new run: it follows from the name, so that of two who take one name at once one is told.

    Raises:
        AlreadyExistsError: a run in the experiment has the name.
    """
    name = name_of(request)
    if _named(context, experiment_id, name) is not None:
        raise _taken(name)
    if request.id:
        return containers.check_new_id(request.id)
    for attempt in range(_ATTEMPTS):
        run_id = derived_id("v1-run", experiment_id, f"{name}\0{attempt}")
        try:
            run = context.store.get("run", run_id)
        except NotFoundError as error:
            if error.code == "erased":
                continue
            return run_id
        if run.deleted_at is None and run.name == name:
            raise _taken(name)
    return context.new_id("run")


def _taken(name: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"ExperimentRun already exists in database: {name[:80]}")


def _named(context: ServerContext, experiment_id: str, name: str) -> Entity | None:
    """Return the run of a name in an experiment."""
    query = Query("run", condition("name = ?", name), within=experiment_id, limit=1)
    return next(iter(context.store.find(query).entities), None)


@read("ExperimentRunService.getExperimentRunByName")
def get_run_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the run of a name in an experiment."""
    name = required(request, "name")
    run = _named(context, required(request, "experiment_id"), name)
    if run is None:
        msg = f"ExperimentRun not found: {name[:80]}"
        raise NotFoundError(msg)
    fill(context, response.experiment_run, run)


def _rename(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    name = name_of(request)
    other = _named(context, str(entity.document.get("experiment_id")), name)
    if other is not None and other.entity_id != entity.entity_id:
        raise _taken(name)
    return runs.rename(entity.entity_id, name)


# -- observations, data sets, commits ---------------------------------------------------------------------------------


def _log_observations(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    several = "observations" in request.DESCRIPTOR.fields_by_name
    messages = list(request.observations) if several else [request.observation]
    if not messages:
        msg = "Observations not found in LogObservations request"
        raise InvalidArgumentError(msg)
    assert isinstance(entity, Run)
    return log_observations(context, entity.entity_id, entity.series, messages)


def _show_observations(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    key = required(request, "observation_key")
    fill_observations(context, response.observations, entity, key, most=None)


def _log_versioned_inputs(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    name, entry = versioned_inputs_entry(context, request.versioned_inputs)
    return edits.put_values("run", entity.entity_id, "commits", {name: entry})


def _show_versioned_inputs(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    if entity.document.get("commits"):
        fill_versioned_inputs(response.versioned_inputs, entity)


# -- parents and jobs -------------------------------------------------------------------------------------------------


def _log_job(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    del context
    return edits.update("run", entity.entity_id, {"set": {"job_id": required(request, "job_id")}})


def _show_job(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    response.job_id = str(entity.document.get("job_id") or "")


@write("ExperimentRunService.setParentExperimentRunId")
def set_parent(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make a run a part of another one."""
    run = found(context, "run", required(request, "experiment_run_id"))
    parent = found(context, "run", required(request, "parent_id"))
    above: Entity | None = parent
    while above is not None:
        if above.entity_id == run.entity_id:
            msg = "parent_id names the run itself, or one that is a part of it"
            raise InvalidArgumentError(msg)
        above_id = above.document.get("parent_id")
        above = found(context, "run", str(above_id)) if above_id else None
    context.execute(edits.update("run", run.entity_id, {"set": {"parent_id": parent.entity_id}}))
    fill(context, response.experiment_run, found(context, "run", run.entity_id))


for _name in ("logObservation", "logObservations"):
    declare(f"{RUN.service}.{_name}", Policy.WRITE, editing(RUN, _log_observations, show=None))
declare(f"{RUN.service}.getObservations", Policy.READ, reading(RUN, _show_observations))
declare(f"{RUN.service}.updateExperimentRunName", Policy.WRITE, editing(RUN, _rename))
declare(f"{RUN.service}.logJobId", Policy.WRITE, editing(RUN, _log_job, show=None))
declare(f"{RUN.service}.getJobId", Policy.READ, reading(RUN, _show_job))
declare(f"{RUN.service}.logVersionedInput", Policy.WRITE, editing(RUN, _log_versioned_inputs, show=None))
declare(f"{RUN.service}.getVersionedInputs", Policy.READ, reading(RUN, _show_versioned_inputs))
