"""Data sets: what only they have. What they share with projects and runs is in ``sections.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import containers
from modeldb_core.commands.operation import together
from modeldb_core.errors import NotFoundError
from modeldb_core.model.entities import Dataset, Run
from modeldb_core.model.schema import ANY
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import MAX_NAMED, Linked, Query
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.dataset_contents import TYPE_NUMBERS, type_of
from modeldb_v1.finding import brief, search, show_all, show_named
from modeldb_v1.kinds import DATASET, found, looked_up, milliseconds, name_of, required
from modeldb_v1.messages import VISIBILITIES, fill
from modeldb_v1.projects import move, setting_visibility, visibility_of
from modeldb_v1.sections import (
    declare_attributes,
    declare_entities,
    declare_tags,
    describe,
    described,
    editing,
    rename,
)
from modeldb_v1.values import fill_pairs
from modeldb_v1.workspaces import declare_workspace, fill_workspace, workspace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


def fill_dataset(context: ServerContext, message: Fields, entity: Entity) -> None:
    """Write a data set into its message."""
    document = entity.document
    message.id, message.name, message.description = entity.entity_id, entity.name, entity.description
    message.owner = entity.owner
    message.tags.extend(entity.tags)
    message.dataset_visibility = VISIBILITIES.get(document.get("visibility") or "", 0)
    message.dataset_type = TYPE_NUMBERS.get(document.get("dataset_type") or "", 0)
    message.time_created = milliseconds(document.get("created_at"))
    message.time_updated = milliseconds(document.get("updated_at"))
    fill_pairs(message.attributes, document.get("attributes", {}), context.artifacts)
    fill_workspace(context, message, entity.workspace_id)


declare_entities(DATASET, fill_dataset)
declare_tags(DATASET, fill_dataset)
declare_attributes(DATASET, fill_dataset)
for _method, _edit in (
    ("updateDatasetName", rename),
    ("updateDatasetDescription", describe),
    ("setDatasetVisibility", setting_visibility(DATASET)),
    ("setDatasetWorkspace", move),
):
    declare(f"DatasetService.{_method}", Policy.WRITE, editing(DATASET, _edit, fill_dataset))


@write("DatasetService.createDataset")
def create_dataset(context: ServerContext, request: Fields, response: Fields) -> None:
    """Create a data set; another one of the name in the workspace is a conflict."""
    workspace_id, declared = declare_workspace(context, request.workspace_name)
    fields = {
        **described(context, request),
        "name": name_of(request),
        "workspace_id": workspace_id,
        "dataset_type": type_of(request.dataset_type),
        "visibility": visibility_of(request.dataset_visibility),
    }
    dataset_id = context.new_id("dataset")
    created = containers.create(context.store, "dataset", fields, entity_id=dataset_id, declared_id=workspace_id)
    context.execute(together((declared, created)))
    fill_dataset(context, response.dataset, found(context, "dataset", dataset_id))


@read("DatasetService.getDatasetByName")
def get_dataset_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the data set of a name in a workspace, and those of the name in others that who asks may see."""
    show_named(context, DATASET, request, response, fill_dataset)


@read("DatasetService.getAllDatasets", "DatasetService.findDatasets")
def find_datasets(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return data sets, of one workspace where it is named: those that predicates match, or that are named."""
    within = workspace_id_of(context, request.workspace_name) if request.workspace_name else None
    ids = request.dataset_ids if "dataset_ids" in request.DESCRIPTOR.fields_by_name else ()
    page = search(context, "dataset", request, within=within, ids=ids)
    show_all(context, DATASET, request, response, page, fill_dataset)


# -- the runs that used one -------------------------------------------------------------------------------------------


def _runs_of(context: ServerContext, dataset: Dataset) -> list[Run]:
    """Return the runs that used a data set, or a version of it, those that were changed last first."""
    versions = pages(context.store, Query("dataset_version", within=dataset.entity_id, fields=("version",)))
    ids = [dataset.entity_id, *(each.entity_id for each in versions)]
    runs: dict[str, Run] = {}
    for start in range(0, len(ids), MAX_NAMED):
        linked = Linked(ANY, tuple(ids[start : start + MAX_NAMED]), field="datasets")
        for run in pages(context.store, Query("run", linked=linked)):
            assert isinstance(run, Run)
            runs[run.entity_id] = run
    return sorted(runs.values(), key=lambda run: run.document.get("updated_at", 0), reverse=True)


def _dataset(context: ServerContext, request: Fields) -> Dataset:
    entity = found(context, "dataset", required(request, "dataset_id"))
    assert isinstance(entity, Dataset)
    return entity


@read("DatasetService.getExperimentRunByDataset")
def get_runs_by_dataset(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs that used a data set."""
    for run in _runs_of(context, _dataset(context, request)):
        brief(context, response.experiment_runs.add(), run)


@read("DatasetService.getLastExperimentByDatasetId")
def get_last_experiment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the experiment whose run used a data set last."""
    dataset = _dataset(context, request)
    experiment = next(_experiments(context, _runs_of(context, dataset)), None)
    if experiment is None:
        msg = f"no experiment has used the dataset {dataset.name!r:.80}"
        raise NotFoundError(msg)
    fill(context, response.experiment, experiment)


def _experiments(context: ServerContext, runs: Iterable[Run]) -> Iterator[Entity]:
    for experiment_id in dict.fromkeys(run.experiment_id for run in runs if run.experiment_id):
        entity = looked_up(context, "experiment", experiment_id)
        if entity is not None:
            yield entity
