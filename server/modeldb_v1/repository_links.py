"""The commits that a run was given, as the v1 API names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_v1.errors import UnimplementedError

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

SEPARATOR = "/"


def fill_versioned_inputs(message: Fields, run: Entity) -> None:
    """Write the commit that a run was given into a message; of several the one that was logged last."""
    entries = [each for each in run.document.get("commits", {}).values() if isinstance(each, Mapping)]
    if not entries:
        return
    entry = entries[-1]
    message.commit = str(entry.get("digest") or entry.get("commit_id") or "")
    for key, location in dict(entry.get("locations") or {}).items():
        message.key_location_map[key].location.extend(str(location).split(SEPARATOR))


def versioned_inputs_entry(context: ServerContext, message: Fields) -> tuple[str, dict[str, Any]]:
    """Return what a run records of the commit that a message names, and the name of its repository.

    Raises:
        InvalidArgumentError: repository, commit or locations are missing.
    """
    del context
    for name in ("repository_id", "commit", "key_location_map"):
        if not getattr(message, name):
            msg = f"{name} not found in LogVersionedInput request"
            raise InvalidArgumentError(msg)
    msg = "versioned inputs are not recorded yet"
    raise UnimplementedError(msg)
