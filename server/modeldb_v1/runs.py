"""Runs: creating them, and what only they have. What they share with projects and experiments is in ``tables.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers, edits, runs
from modeldb_core.commands.operation import Operation, decide, together
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.log.conditions import Absent, ValueIs
from modeldb_core.model.entities import FINISHED, Run, derived_id, now_us
from modeldb_core.queries import Query, condition
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.dataset_links import dataset_entries
from modeldb_v1.kinds import RUN, found, microseconds, name_of, required
from modeldb_v1.messages import code_entry, fill
from modeldb_v1.observations import fill_observations, log_observations
from modeldb_v1.repository_links import fill_versioned_inputs, versioned_inputs_entry
from modeldb_v1.sections import described, editing, reading, values_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_NAMES_GIVEN = "names_given"
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
    home = {"project_id": project_id, "experiment_id": experiment_id}
    if request.parent_id:
        home["parent_id"] = found(context, "run", request.parent_id).entity_id
    sections = _sections(context, request)
    made = decide(context.execute, lambda: _creation(context, request, home, sections))
    fill(context, response.experiment_run, found(context, "run", made.entity_id))


def _creation(
    context: ServerContext, request: Fields, home: Mapping[str, str], sections: dict[str, dict[str, Any]]
) -> Operation:
    """Return the operation that creates a run, by the names that there are now."""
    experiment_id = home["experiment_id"]
    given, free_id = _given_names(context, experiment_id), _free_id(context, experiment_id, name_of(request))
    # Looked for last: what comes later, conditions tell.
    if _named(context, experiment_id, name_of(request)) is not None:
        raise _taken(name_of(request))
    run_id = _new_id(context, request) or free_id or context.new_id("run")
    started = runs.start(
        run_id,
        home,
        started_at=microseconds(request.start_time, "start_time") or None,
        name=name_of(request),
        sections=sections,
    )
    if request.end_time:
        started = runs.ended(started, FINISHED, finished_at=microseconds(request.end_time, "end_time"))
    (entry,) = started.entries
    entry.values.update({name: value for name, value in described(context, request).items() if value is not None})
    if run_id != free_id:
        given = _giving(given, free_id)
    observed = log_observations(context, run_id, {}, request.observations)
    return replace(together((started, observed, given)), entity_id=run_id)


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


def _new_id(context: ServerContext, request: Fields) -> str:
    """Return the identifier that a request asks for; empty: it asks for none.

    Raises:
        InvalidArgumentError: it cannot be one; AlreadyExistsError: a run has it, which may be a hidden or deleted one.
    """
    if not request.id:
        return ""
    run_id = containers.check_new_id(request.id)
    if _is_free(context, run_id):
        return run_id
    msg = f"ExperimentRun already exists in database: {run_id}"
    raise AlreadyExistsError(msg)


def _free_id(context: ServerContext, experiment_id: str, name: str) -> str:
    """Return the first identifier that follows from a name and is nobody's; empty: there are too many of them."""
    for attempt in range(_ATTEMPTS):
        run_id = derived_id("v1-run", experiment_id, f"{name}\0{attempt}")
        if _is_free(context, run_id):
            return run_id
    return ""


def _is_free(context: ServerContext, run_id: str) -> bool:
    """Return whether no run has an identifier, nor has had it, also among those that who asks may not see."""
    try:
        context.whole_store.get("run", run_id)
    except NotFoundError as error:
        return error.code != "erased"
    return False


def _given_names(context: ServerContext, experiment_id: str) -> Operation:
    """Return the operation that changes nothing, if meanwhile no name was given by which identifiers do not go.

    Two who take one name for new runs take one identifier, and one of them is told. A name that is given to a run with another
    identifier is counted in the experiment, so whoever took it for free meanwhile looks again.
    """
    experiment = found(context, "experiment", experiment_id)
    expect = (ValueIs("experiment", experiment_id, _NAMES_GIVEN, experiment.document.get(_NAMES_GIVEN)),)
    return Operation((), expect if context.store.decides else ())


def _giving(given: Operation, free_id: str) -> Operation:
    """Return the operation that counts one more such name, if meanwhile none was given, and no run was made of it."""
    nobody = (Absent("run", free_id),) if free_id else ()
    for each in given.expect:
        assert isinstance(each, ValueIs)
        counted = edits.update("experiment", each.entity_id, {"set": {_NAMES_GIVEN: (each.value or 0) + 1}})
        return replace(counted, expect=(*given.expect, *nobody))
    return Operation((), nobody)


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


@write("ExperimentRunService.updateExperimentRunName")
def rename_run(context: ServerContext, request: Fields, response: Fields) -> None:
    """Give a run another name; another one of the name in the experiment is a conflict."""
    run = found(context, "run", required(request, "id"))
    decide(context.execute, lambda: _renaming(context, run, name_of(request)))
    fill(context, response.experiment_run, found(context, "run", run.entity_id))


def _renaming(context: ServerContext, run: Entity, name: str) -> Operation:
    """Return the operation that gives a run a name, by the names that there are now."""
    experiment_id = str(run.document.get("experiment_id") or "")
    renamed = runs.rename(run.entity_id, name)
    if not experiment_id:  # a run of our library may have none, and then shares its name with nobody
        return renamed
    given, free_id = _given_names(context, experiment_id), _free_id(context, experiment_id, name)
    other = _named(context, experiment_id, name)
    if other is not None:
        if other.entity_id != run.entity_id:
            raise _taken(name)
        return renamed
    return together((renamed, _giving(given, free_id)))


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
declare(f"{RUN.service}.logJobId", Policy.WRITE, editing(RUN, _log_job, show=None))
declare(f"{RUN.service}.getJobId", Policy.READ, reading(RUN, _show_job))
declare(f"{RUN.service}.logVersionedInput", Policy.WRITE, editing(RUN, _log_versioned_inputs, show=None))
declare(f"{RUN.service}.getVersionedInputs", Policy.READ, reading(RUN, _show_versioned_inputs))
