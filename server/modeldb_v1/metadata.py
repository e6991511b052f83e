"""Labels of repositories and commits: their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import edits
from modeldb_core.commands.operation import together
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Commit
from modeldb_core.queries import Query, condition
from modeldb_v1.calls import read, write
from modeldb_v1.numbers import repository_numbered
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_TYPES = enum_values("metadata.IDTypeEnum.IDType")
MAX_COPIES = 1000


def _labelled(context: ServerContext, identification: Fields) -> list[Entity]:
    """Return what a request means: a repository, or the commits of a digest, which several repositories may have.

    Raises:
        InvalidArgumentError: it says neither; NotFoundError: there is none.
    """
    if identification.id_type == _TYPES["VERSIONING_REPOSITORY"] and identification.int_id:
        return [repository_numbered(context.store, identification.int_id)]
    if identification.id_type != _TYPES["VERSIONING_COMMIT"] or not identification.string_id:
        msg = "id not found in request; expected VERSIONING_REPOSITORY with an int_id, or VERSIONING_COMMIT with a string_id"
        raise InvalidArgumentError(msg)
    query = Query(Commit.KIND, condition("digest = ?", identification.string_id), "created_at", limit=MAX_COPIES)
    found = list(context.store.find(query).entities)
    if not found:
        msg = f"Commit not found: {identification.string_id[:80]}"
        raise NotFoundError(msg)
    return found


def _labels(request: Fields) -> list[str]:
    if not request.labels or not all(request.labels):
        msg = "labels not found in request; give at least one, and none that is empty"
        raise InvalidArgumentError(msg)
    return list(dict.fromkeys(request.labels))


@read("MetadataService.GetLabels")
def get_labels(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the labels of a repository or a commit."""
    found = _labelled(context, request.id)
    response.labels.extend(dict.fromkeys(tag for entity in found for tag in entity.tags))


@write("MetadataService.AddLabels")
def add_labels(context: ServerContext, request: Fields, response: Fields) -> None:
    """Add labels; one that is there already is a conflict, and none is added."""
    labels = _labels(request)
    found = _labelled(context, request.id)
    there = next((label for label in labels if any(label in entity.tags for entity in found)), None)
    if there is not None:
        msg = f"Label already exists: {there[:80]!r}"
        raise AlreadyExistsError(msg)
    context.execute(together(edits.change_tags(each.KIND, each.entity_id, add=labels) for each in found))
    response.status = True


@write("MetadataService.DeleteLabels")
def delete_labels(context: ServerContext, request: Fields, response: Fields) -> None:
    """Take labels away; of those that are not there, nothing."""
    labels = _labels(request)
    found = _labelled(context, request.id)
    context.execute(together(edits.change_tags(each.KIND, each.entity_id, remove=labels) for each in found))
    response.status = True
