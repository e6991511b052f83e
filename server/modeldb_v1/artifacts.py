"""Artifacts and code versions of projects, experiments and runs: what is recorded of files, and the URLs for their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits
from modeldb_core.commands.operation import together
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from modeldb_core.log.conditions import Unset
from modeldb_core.model.entities import now_us
from modeldb_server.routes import Policy
from modeldb_v1.artifact_files import ARCHIVE, ARTIFACTS, CODE, url_of
from modeldb_v1.calls import declare
from modeldb_v1.kinds import found, required
from modeldb_v1.messages import artifact_entry, code_entry, fill_artifacts, fill_code_version
from modeldb_v1.schema import enum_values
from modeldb_v1.sections import editing, reading, removing
from modeldb_v1.writing import put_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.kinds import V1Kind
    from modeldb_v1.schema import Fields

_TYPES = enum_values("ArtifactTypeEnum.ArtifactType")
_METHODS = ("GET", "PUT")
OF_CODE = ("version",)
"""Keys of ``code`` that other calls record than those of code versions."""


def declare_artifacts(kind: V1Kind) -> None:
    """Declare the calls of artifacts and code versions that a kind has."""
    service = kind.service
    declare(f"{service}.logArtifacts", Policy.WRITE, editing(kind, log_artifacts))
    declare(f"{service}.getArtifacts", Policy.READ, reading(kind, show_artifacts))
    declare(f"{service}.deleteArtifact", Policy.WRITE, editing(kind, delete_artifact))
    declare(f"{service}.getUrlForArtifact", Policy.READ, reading(kind, show_url))
    declare(f"{service}.log{kind.message}CodeVersion", Policy.WRITE, editing(kind, log_code_version))
    declare(f"{service}.get{kind.message}CodeVersion", Policy.READ, reading(kind, show_code_version))


def log_artifacts(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Record what files there are; their bytes come later."""
    del context
    several = "artifacts" in request.DESCRIPTOR.fields_by_name
    messages = list(request.artifacts) if several else [request.artifact]
    pairs = [(each.key, artifact_entry(each)) for each in messages]
    return put_new(entity, ARTIFACTS, pairs, "Artifact")


def show_artifacts(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    """Return what is recorded of files: of all, or of the one of a key.

    A key that is not there among others is no error: the original client looks for it in the answer, and raises ``KeyError``.

    Raises:
        NotFoundError: there are no files at all.
    """
    del context
    artifacts = entity.document.get(ARTIFACTS, {})
    if not artifacts:
        msg = f"Artifacts not found in the {entity.KIND if entity.KIND != 'run' else 'ExperimentRun'}"
        raise NotFoundError(msg)
    if request.key:
        artifacts = {request.key: artifacts[request.key]} if request.key in artifacts else {}
    fill_artifacts(response.artifacts, artifacts)


def delete_artifact(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Take a file away; one that is not there is gone already."""
    del context
    return removing(entity, ARTIFACTS, [required(request, "key")])


# -- URLs -------------------------------------------------------------------------------------------------------------


def show_url(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    """Return the URL for the bytes of a file.

    Raises:
        InvalidArgumentError: the method is neither GET nor PUT; NotFoundError: nothing is recorded of the file.
    """
    method = required(request, "method").upper()
    if method not in _METHODS:
        msg = f"method is {request.method[:20]!r}; expected GET or PUT"
        raise InvalidArgumentError(msg)
    key = required(request, "key")
    if request.artifact_type == _TYPES["CODE"]:
        for each in _homes(context, entity):
            if isinstance(each.document.get(CODE, {}).get(ARCHIVE), Mapping):
                response.url = url_of(each.KIND, each.entity_id, CODE, ARCHIVE, method)
                return
    elif key in entity.document.get(ARTIFACTS, {}):
        response.url = url_of(entity.KIND, entity.entity_id, ARTIFACTS, key, method)
        return
    msg = f"Artifact not found: {key[:200]}; log it first"
    raise NotFoundError(msg)


def _homes(context: ServerContext, entity: Entity) -> Iterator[Entity]:
    """Iterate over an entity and what it is part of, whose code is its own where it has none."""
    yield entity
    for kind in ("experiment", "project"):
        if (above := entity.document.get(f"{kind}_id")) and kind != entity.KIND:
            yield found(context, kind, str(above))


# -- code versions ----------------------------------------------------------------------------------------------------


def log_code_version(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Record the code that belongs to an entity: once, unless the request says that it replaces what is there.

    Raises:
        AlreadyExistsError: it is there; InvalidArgumentError: the request holds none.
    """
    del context
    if request.code_version.WhichOneof("code") is None:
        msg = f"CodeVersion not found in {request.DESCRIPTOR.name} request; give git_snapshot or code_archive"
        raise InvalidArgumentError(msg)
    code: Mapping[str, Any] = entity.document.get(CODE, {})
    there = [key for key in code if key not in OF_CODE]
    overwrite = "overwrite" in request.DESCRIPTOR.fields_by_name and request.overwrite
    if there and not overwrite:
        msg = "Code version already exists; a code version is logged once"
        raise AlreadyExistsError(msg)
    values = code_entry(request.code_version, now_us())
    operation = edits.put_values(entity.KIND, entity.entity_id, CODE, values)
    if overwrite:
        return together((removing(entity, CODE, [key for key in there if key not in values]), operation))
    expect = tuple(Unset(entity.KIND, entity.entity_id, CODE, key) for key in ("git", ARCHIVE))
    return replace(operation, expect=expect)


def show_code_version(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    """Return the code that belongs to an entity; nothing where none was logged."""
    del context, request
    code = entity.document.get(CODE, {})
    if any(key not in OF_CODE for key in code):
        fill_code_version(response.code_version, code)
