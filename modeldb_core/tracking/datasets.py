"""Data sets of runs: which version of which data set a run was given, and in which role."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from modeldb_core import plugins
from modeldb_core.commands import datasets
from modeldb_core.commands.names import check_name, fitting_name
from modeldb_core.model.values import check_key
from modeldb_core.tracking.description.datasets import Described, Labelled, describe
from modeldb_core.tracking.description.origins import caller, place_of, variable_name

if TYPE_CHECKING:
    from modeldb_core.tracking.editing import RunEditor

logger = logging.getLogger("modeldb")

_OWN_CLASSES = ("dataset", "object")
"""Kinds of data whose class says what it is, such as a framework's data set of digits."""


def log(run: RunEditor, data: object, role: str, name: str | None) -> str:
    """Record a data set with a run; see :meth:`RunHandle.log_dataset`."""
    client = run.client
    check_key(role, "role of a data set")
    manager = plugins.plugin_manager(client.settings)
    described = describe(data, role, describe_object=lambda obj: manager.call("modeldb_describe_object", obj=obj))
    if note := described.get("note"):
        run.note(f"Data set {role!r}: {note}")
    name = _default_name(run, data, described, role) if name is None else check_name(name, "data set")
    info = client.blobs.checked_map({**described, "name": name}, "dataset")
    workspace_id, dataset_id = client.identify(("workspace", client.settings.workspace), ("dataset", name))
    operations = datasets.log_dataset(run.run_id, role, name, info, workspace_id=workspace_id, dataset_id=dataset_id)
    for operation in operations[:2]:
        client.declare(operation)
    run._record(operations[2])
    return operations[1].entity_id


def _default_name(run: RunEditor, data: object, described: dict[str, Any], role: str) -> str:
    """Return the name of a data set that nobody named: other projects' data of the same origin has another one."""
    try:
        project = run.project
    except Exception as error:  # of a run that another process started; a store that fails keeps nobody from logging
        logger.debug("the store was not asked for the name of a project: %r", error)
        project = run.client.settings.project
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
