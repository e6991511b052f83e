"""Recording what a run was trained or tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands.containers import declare
from modeldb_core.commands.edits import put_values
from modeldb_core.model.entities import derived_id, new_id
from modeldb_core.model.values import check_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.commands.operation import Operation

_SHOWN = ("digest", "kind", "shape", "size_bytes", "origin")
_TYPES = {"file": "path", "folder": "path", "url": "path"}


def log_dataset(
    run_id: str, role: str, name: str, info: Mapping[str, Any], *, workspace_id: str, dataset_id: str
) -> tuple[Operation, Operation, Operation]:
    """Record that a run used a version of a data set.

    Args:
        run_id: which run.
        role: what the run does with it; the key among its data sets.
        name: of the data set.
        info: what is known of the content: ``digest``, ``kind``, ``shape``, ``size_bytes``, ``origin`` and more.
        workspace_id: where the data set belongs.
        dataset_id: the data set of that name there.

    Returns:
        The operations that declare the data set and its version, and the one that makes the run refer to that. The
        identifier of a version is the same wherever the same content is logged under the name.
    """
    version_id = derived_id("dataset_version", dataset_id, str(info.get("digest") or new_id()))
    of_both = {"dataset_type": _TYPES.get(str(info.get("kind")), "raw")}
    content = {"dataset_id": dataset_id, "digest": info.get("digest", ""), "info": dict(info)}
    reference = {"name": name, "dataset_id": dataset_id, "dataset_version_id": version_id}
    shown = {key: info[key] for key in _SHOWN if key in info}
    return (
        declare("dataset", dataset_id, name, **of_both, workspace_id=workspace_id),
        declare("dataset_version", version_id, name, **of_both, **content),
        put_values("run", run_id, "datasets", {check_key(role, "role of a data set"): {**reference, **shown}}),
    )
