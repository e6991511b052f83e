"""The data sets that a run used, as the v1 API names them: by a key, with the version that is linked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits
from modeldb_core.errors import NotFoundError
from modeldb_core.queries import Linked
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read
from modeldb_v1.finding import brief, search, show_all
from modeldb_v1.kinds import RUN, required
from modeldb_v1.messages import artifact_entry, fill_datasets
from modeldb_v1.sections import editing, reading
from modeldb_v1.writing import check_keys, put_new

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

SECTION = "datasets"


def dataset_entries(context: ServerContext, messages: Iterable[Fields]) -> list[tuple[str, dict[str, Any]]]:
    """Return what a run records of data sets that messages describe; a version that is known is linked as such."""
    listed = list(messages)
    check_keys([each.key for each in listed], "Dataset")
    return [(each.key, _entry(context, each)) for each in listed]


def _entry(context: ServerContext, message: Fields) -> dict[str, Any]:
    entry = artifact_entry(message)
    linked_id = entry.pop("linked_artifact_id", "")
    if linked_id:
        entry["dataset_version_id"] = linked_id
        with suppress(NotFoundError):
            version = context.store.get("dataset_version", linked_id)
            entry["dataset_id"] = str(version.document.get("dataset_id") or "")
    return entry


def _log(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    several = "datasets" in request.DESCRIPTOR.fields_by_name
    pairs = dataset_entries(context, request.datasets if several else [request.dataset])
    if not request.overwrite:
        return put_new(entity, SECTION, pairs, "Dataset")
    return replace(edits.put_values("run", entity.entity_id, SECTION, dict(pairs)), expect=())


def _show(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    fill_datasets(response.datasets, entity.document.get(SECTION, {}))


@read("ExperimentRunService.getExperimentRunsByDatasetVersionId")
def get_runs_by_dataset_version(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the runs that used a version of a data set."""
    linked = Linked("dataset_version", required(request, "datset_version_id"), field=SECTION)
    show_all(context, RUN, request, response, search(context, "run", request, linked=linked), brief)


for _name in ("logDataset", "logDatasets"):
    declare(f"{RUN.service}.{_name}", Policy.WRITE, editing(RUN, _log, show=None))
declare(f"{RUN.service}.getDatasets", Policy.READ, reading(RUN, _show))
