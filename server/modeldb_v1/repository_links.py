"""The commits that a run was given, as the v1 API names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


def fill_versioned_inputs(context: ServerContext, message: Fields, run: Entity) -> None:
    """Write the commit that a run was given into a message; of several the one that was logged last."""
    del context
    entries = [each for each in run.document.get("commits", {}).values() if isinstance(each, Mapping)]
    if not entries:
        return
    entry = entries[-1]
    message.repository_id = int(entry.get("v1_repository_id") or 0)
    message.commit = str(entry.get("digest") or entry.get("commit_id") or "")
    for key, location in dict(entry.get("locations") or {}).items():
        message.key_location_map[key].location.extend(str(part) for part in location)
