"""Versions of data sets: what only they have. What they share with projects and runs is in ``sections.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands.datasets import PATH, About, Content, next_version
from modeldb_core.commands.operation import Operation, decide
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Dataset, DatasetVersion
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.dataset_contents import TYPE_NUMBERS, content_from, fill_content, location_type_of, type_of
from modeldb_v1.finding import search, show_all
from modeldb_v1.kinds import DATASET_VERSION, found, milliseconds, required
from modeldb_v1.messages import VISIBILITIES
from modeldb_v1.projects import setting_visibility, visibility_of
from modeldb_v1.sections import (
    declare_attributes,
    declare_entities,
    declare_tags,
    describe,
    described,
    editing,
)
from modeldb_v1.values import fill_pairs

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


def fill_version(context: ServerContext, message: Fields, entity: Entity) -> None:
    """Write a version of a data set into its message."""
    assert isinstance(entity, DatasetVersion)
    document = entity.document
    message.id, message.dataset_id, message.parent_id = entity.entity_id, entity.dataset_id, entity.parent_id or ""
    message.description, message.owner, message.version = entity.description, entity.owner, entity.version
    message.tags.extend(entity.tags)
    message.dataset_version_visibility = VISIBILITIES.get(entity.visibility, 0)
    message.dataset_type = TYPE_NUMBERS.get(entity.dataset_type, 0)
    message.time_logged = milliseconds(document.get("created_at"))
    message.time_updated = milliseconds(document.get("updated_at"))
    fill_pairs(message.attributes, document.get("attributes", {}), context.artifacts)
    fill_content(context, message, entity)


declare_entities(DATASET_VERSION, fill_version)
declare_tags(DATASET_VERSION, fill_version)
declare_attributes(DATASET_VERSION, fill_version)
for _method, _edit in (
    ("updateDatasetVersionDescription", describe),
    ("setDatasetVersionVisibility", setting_visibility(DATASET_VERSION)),
):
    declare(f"DatasetVersionService.{_method}", Policy.WRITE, editing(DATASET_VERSION, _edit, fill_version))


@write("DatasetVersionService.createDatasetVersion")
def create_version(context: ServerContext, request: Fields, response: Fields) -> None:
    """Add a version to a data set. Content that its parent has is that version, and nothing is added."""
    dataset = found(context, "dataset", required(request, "dataset_id"))
    assert isinstance(dataset, Dataset)
    wanted = type_of(request.dataset_type)
    if dataset.dataset_type and dataset.dataset_type != wanted:
        msg = f"dataset_type is {wanted}, and the dataset {dataset.name!r:.80} is of type {dataset.dataset_type}"
        raise InvalidArgumentError(msg)
    content = content_from(context, request)
    parent = _parent(context, dataset, request.parent_id)
    if parent is not None and parent.digest == content.digest:
        version_id = parent.entity_id
    else:
        version_id = _add(context, request, dataset, content)
    version = found(context, "dataset_version", version_id)
    _check_location(context, request, version)
    fill_version(context, response.dataset_version, version)


def _add(context: ServerContext, request: Fields, dataset: Dataset, content: Content) -> str:
    said = described(context, request)
    about = About(
        description=said.get("description") or "",
        tags=said.get("tags", ()),
        attributes=said.get("attributes", {}),
        visibility=visibility_of(request.dataset_version_visibility) or "",
        parent_id=request.parent_id,
    )
    new_id = context.new_id("dataset_version")

    def look() -> Operation:
        return next_version(
            context.store,
            dataset.name,
            content,
            about,
            workspace_id=dataset.workspace_id,
            dataset_id=dataset.entity_id,
            actor=context.actor,
            version_id=new_id,
        )

    return decide(context.execute, look).entity_id


def _parent(context: ServerContext, dataset: Dataset, parent_id: str) -> DatasetVersion | None:
    """Return the version that a request names as the one before; ``None``: it names none.

    Raises:
        NotFoundError: the data set has no such version.
    """
    if not parent_id:
        return None
    parent = found(context, "dataset_version", parent_id)
    if not isinstance(parent, DatasetVersion) or parent.dataset_id != dataset.entity_id:
        msg = f"the version {parent_id[:80]} is no version of the dataset {dataset.name!r:.80}"
        raise NotFoundError(msg)
    return parent


def _check_location(context: ServerContext, request: Fields, version: Entity) -> None:
    """See that files which are those of a version lie where that says.

    Raises:
        InvalidArgumentError: they are said to lie elsewhere.
    """
    assert isinstance(version, DatasetVersion)
    given = request.path_dataset_version_info.location_type
    if version.dataset_type == PATH and location_type_of(context, version) != given:
        msg = f"location_type is {given}, and the version {version.entity_id} with the same files has another one"
        raise InvalidArgumentError(msg)


@read("DatasetVersionService.getAllDatasetVersionsByDatasetId", "DatasetVersionService.findDatasetVersions")
def find_versions(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return versions, of one data set where it is named: those that predicates match, or that are named."""
    fields = request.DESCRIPTOR.fields_by_name
    ids = request.dataset_version_ids if "dataset_version_ids" in fields else ()
    within = found(context, "dataset", request.dataset_id).entity_id if request.dataset_id or not ids else None
    page = search(context, "dataset_version", request, within=within, ids=ids)
    show_all(context, DATASET_VERSION, request, response, page, fill_version)


@read("DatasetVersionService.getLatestDatasetVersionByDatasetId")
def get_latest(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the version of a data set that is the first in an order: without a ``sort_key`` the one that was made last."""
    dataset = found(context, "dataset", required(request, "dataset_id"))
    page = search(context, "dataset_version", request, within=dataset.entity_id, default_order="created_at", limit=1)
    if not page.entities:
        msg = f"the dataset {dataset.name!r:.80} has no version"
        raise NotFoundError(msg)
    fill_version(context, response.dataset_version, page.entities[0])
