"""Data sets of runs: which version of which data set a run was given, and in which role."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modeldb_core import plugins
from modeldb_core.commands import datasets
from modeldb_core.commands.names import check_name, fitting_name
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.model.values import check_key
from modeldb_core.tracking.data.opening import as_data, reader_of
from modeldb_core.tracking.data.sources import PathData, QueryData
from modeldb_core.tracking.description.datasets import Described, Labelled, describe
from modeldb_core.tracking.description.origins import caller, place_of, variable_name

if TYPE_CHECKING:
    from modeldb_core.tracking.editing import RunEditor

_OWN_CLASSES = ("dataset", "object")
"""Kinds of data whose class says what it is, such as a framework's data set of digits."""


def log(run: RunEditor, data: object, role: str, name: str | None) -> str:
    """Record a data set with a run; see :meth:`RunHandle.log_dataset`."""
    client = run.client
    check_key(role, "role of a data set")
    content, note = _content(run, data, role)
    if note:
        run.note(f"Data set {role!r}: {note}")
    name = _default_name(run, data, dict(content.info), role) if name is None else check_name(name, "data set")
    info = client.blobs.checked_map({**content.info, "name": name}, "dataset")
    workspace_id, dataset_id = client.identify(("workspace", client.settings.workspace), ("dataset", name))
    content = content.with_info(info)
    operations = datasets.log_dataset(run.run_id, role, name, content, workspace_id=workspace_id, dataset_id=dataset_id)
    run._record(operations[2], within=operations[:2])
    return operations[1].entity_id


def _content(run: RunEditor, data: object, role: str) -> tuple[datasets.Content, str]:
    """Return the content of data, and a note on what could not be read: what is logged stops no training."""
    manager = plugins.plugin_manager(run.client.settings)
    if _is_read(data):
        reader = reader_of(run.client, is_lenient=True)
        try:
            read = reader.read(as_data(data), role)
        finally:
            reader.cache.close()
        return read.content, read.note
    described = describe(data, role, describe_object=lambda obj: manager.call("modeldb_describe_object", obj=obj))
    return datasets.content_of(described), str(described.get("note") or "")


def _is_read(data: object) -> bool:
    """Return whether data are files that exist, or a path or a query that was named as such: an address alone is not read."""
    if isinstance(data, (str, os.PathLike)):
        text = os.fsdecode(data)
        return "\0" not in text and (not isinstance(data, str) or "://" not in text) and os.path.exists(text)
    return isinstance(data, (PathData, QueryData))


def _default_name(run: RunEditor, data: object, described: dict[str, Any], role: str) -> str:
    """Return the name of a data set that nobody named: other projects' data of the same origin has another one."""
    project = None
    with suppress(StoreUnavailableError):
        run.learn_containers()
        project = run.client.container_name_soon("project", run.container_ids[0])
    project = project or run.client.settings.project  # a run of another process, while the store is away
    return fitting_name(
        f"{project}/{place_of(described.get('origin', {})) or _name_in_program(data, described) or role}"
    )


def _name_in_program(data: object, described: dict[str, Any]) -> str:
    if isinstance(data, Described):
        return data.name
    if isinstance(data, Labelled):
        data = data.target if data.features is None else data.features
    if name := variable_name(data, caller()):
        return name
    return str(described.get("type", "")).rpartition(".")[2] if described.get("kind") in _OWN_CLASSES else ""
