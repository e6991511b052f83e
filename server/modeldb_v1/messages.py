"""Entities as messages of the v1 API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_v1.artifact_files import ARCHIVE
from modeldb_v1.kinds import microseconds, milliseconds
from modeldb_v1.observations import fill_observations
from modeldb_v1.repository_links import fill_versioned_inputs
from modeldb_v1.schema import enum_values
from modeldb_v1.values import fill_pairs
from modeldb_v1.workspaces import fill_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

MOST_SHORT = 40
_UNSHORT = re.compile(r"[^a-zA-Z0-9_.-]+")
VISIBILITIES: Mapping[str, int] = MappingProxyType({"private": 0, "public": 1, "organization": 2})
"""``ProjectVisibility`` and ``DatasetVisibility`` by what an entity says of its ``visibility``."""
TERNARY: Mapping[Any, int] = MappingProxyType({None: 0, True: 1, False: 2})
"""``TernaryEnum.Ternary``."""
_TYPES = enum_values("ArtifactTypeEnum.ArtifactType")
_TYPE_NAMES = {number: name.lower() for name, number in _TYPES.items()}
_ARTIFACT_TEXTS = ("path", "linked_artifact_id", "filename_extension")


def fill(context: ServerContext, message: Fields, entity: Entity, *, whole: bool = True) -> None:
    """Write an entity into its message.

    Args:
        context: of the server.
        message: of the entity's kind.
        entity: with its document.
        whole: whether a run comes with its observations, which are not in its document.
    """
    document = entity.document
    message.id, message.name, message.description = entity.entity_id, entity.name, entity.description
    message.date_created = milliseconds(document.get("created_at"))
    message.date_updated = milliseconds(document.get("updated_at"))
    message.owner = entity.owner
    message.tags.extend(entity.tags)
    fill_pairs(message.attributes, document.get("attributes", {}), context.artifacts)
    fill_artifacts(message.artifacts, document.get("artifacts", {}))
    if document.get("code"):
        fill_code_version(message.code_version_snapshot, document["code"])
    _FILL[entity.KIND](context, message, document, entity)
    if whole and entity.KIND == "run":
        fill_observations(context, message.observations, entity)


def _fill_project(context: ServerContext, message: Fields, document: Mapping[str, Any], entity: Entity) -> None:
    fill_workspace(context, message, entity.workspace_id)
    message.short_name = document.get("short_name") or short_name(entity.name)
    message.readme_text = document.get("readme") or ""
    message.project_visibility = VISIBILITIES.get(document.get("visibility") or "", 0)


def _fill_experiment(context: ServerContext, message: Fields, document: Mapping[str, Any], entity: Entity) -> None:
    del context, entity
    message.project_id = document.get("project_id") or ""


def _fill_run(context: ServerContext, message: Fields, document: Mapping[str, Any], entity: Entity) -> None:
    for name in ("project_id", "experiment_id", "parent_id", "job_id"):
        setattr(message, name, document.get(name) or "")
    message.start_time = milliseconds(document.get("started_at"))
    message.end_time = milliseconds(document.get("finished_at"))
    message.code_version = str(document.get("code", {}).get("version") or "")
    for name in ("hyperparameters", "metrics"):
        fill_pairs(getattr(message, name), document.get(name, {}), context.artifacts)
    fill_datasets(message.datasets, document.get("datasets", {}))
    for name in document.get("features", {}):
        message.features.add(name=name)
    if document.get("commits"):
        fill_versioned_inputs(message.versioned_inputs, entity)


_FILL: Mapping[str, Callable[[ServerContext, Any, Mapping[str, Any], Entity], None]] = MappingProxyType(
    {"project": _fill_project, "experiment": _fill_experiment, "run": _fill_run}
)


def short_name(name: str) -> str:
    """Return the short name of a project that was given none: letters, digits, dots, dashes; at most 42 of them."""
    kept = _UNSHORT.sub("-", name)
    if len(kept) <= MOST_SHORT:
        return kept
    return kept[:10] + hashlib.md5(kept[11:].encode(), usedforsecurity=False).hexdigest()


# -- artifacts --------------------------------------------------------------------------------------------------------


def fill_artifacts(messages: Fields, artifacts: Mapping[str, Any]) -> None:
    """Add a message for each file that a document names."""
    for key, entry in artifacts.items():
        fill_artifact(messages.add(), key, entry)


def fill_artifact(message: Fields, key: str, entry: object) -> None:
    """Write what is recorded of a file into its message; of one that was not logged by the v1 API its own path is the key."""
    message.key = key
    said: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    for name in _ARTIFACT_TEXTS:
        setattr(message, name, str(said.get(name) or ""))
    message.path = message.path or key
    message.path_only = bool(said.get("path_only"))
    message.artifact_type = _TYPES.get(str(said.get("type", "blob")).upper(), _TYPES["BLOB"])


def artifact_entry(message: Fields) -> dict[str, Any]:
    """Return what a document records of a file that a message describes; its bytes may come later."""
    entry: dict[str, Any] = {"type": _TYPE_NAMES.get(message.artifact_type, "blob")}
    entry.update({name: getattr(message, name) for name in _ARTIFACT_TEXTS if getattr(message, name)})
    return {**entry, "path_only": True} if message.path_only else entry


def fill_datasets(messages: Fields, datasets: Mapping[str, Any]) -> None:
    """Add a message for each data set that a run used."""
    for key, entry in datasets.items():
        message = messages.add()
        said: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
        fill_artifact(message, key, {"type": "data", **said})
        message.path = str(said.get("path") or said.get("source") or said.get("name") or key)
        message.linked_artifact_id = str(said.get("dataset_version_id") or said.get("linked_artifact_id") or "")
        if "path" not in said:
            message.path_only = True


# -- code versions ----------------------------------------------------------------------------------------------------


def fill_code_version(message: Fields, code: Mapping[str, Any]) -> None:
    """Write what is recorded of the code into a message: an archive of it, or else the state of its repository."""
    if isinstance(code.get(ARCHIVE), Mapping):
        archive = code[ARCHIVE]
        fill_artifact(message.code_archive, str(archive.get("key") or ""), archive)
    elif isinstance(code.get("git"), Mapping):
        git = code["git"]
        message.git_snapshot.filepaths.extend(str(each) for each in git.get("filepaths", ()))
        message.git_snapshot.repo = str(git.get("remote") or git.get("repository") or "")
        message.git_snapshot.hash = str(git.get("commit") or "")
        dirty = git.get("dirty")
        message.git_snapshot.is_dirty = TERNARY[dirty if isinstance(dirty, bool) else None]
    message.date_logged = milliseconds(code.get("logged_at"))


def code_entry(message: Fields, now_us: int) -> dict[str, Any]:
    """Return what a document records of the code that a message describes."""
    logged_at = microseconds(message.date_logged, "date_logged") or now_us
    if message.WhichOneof("code") == "code_archive":
        key = {"key": message.code_archive.key} if message.code_archive.key else {}
        return {ARCHIVE: {**artifact_entry(message.code_archive), **key}, "logged_at": logged_at}
    snapshot = message.git_snapshot
    git: dict[str, Any] = {"filepaths": list(snapshot.filepaths)} if snapshot.filepaths else {}
    git |= {name: text for name, text in (("remote", snapshot.repo), ("commit", snapshot.hash)) if text}
    if snapshot.is_dirty:
        git["dirty"] = snapshot.is_dirty == TERNARY[True]
    return {"git": git, "logged_at": logged_at}
