"""The commits that a run was given, as the v1 API names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.commits import commit_entry
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_v1.commits import commit_with, location_of
from modeldb_v1.numbers import number_of, repository_numbered

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
    message.repository_id = number_of(str(entry.get("repository_id") or ""))
    message.commit = str(entry.get("digest") or "")
    for key, location in dict(entry.get("locations") or {}).items():
        message.key_location_map[key].location.extend(str(location).split(SEPARATOR))


def versioned_inputs_entry(context: ServerContext, message: Fields) -> tuple[str, dict[str, Any]]:
    """Return what a run records of the commit that a message names, and the name of its repository.

    Raises:
        InvalidArgumentError: repository, commit or locations are missing, or the commit has nothing at one of these.
        NotFoundError: there is no such repository, or no such commit.
    """
    for name in ("repository_id", "commit", "key_location_map"):
        if not getattr(message, name):
            msg = f"{name} not found in LogVersionedInput request"
            raise InvalidArgumentError(msg)
    repository = repository_numbered(context.store, message.repository_id)
    reader = RepositoryReader(context.store, context.artifacts, repository)
    commit = commit_with(reader, message.commit, "commit")
    locations = {key: location_of(each.location) for key, each in sorted(message.key_location_map.items())}
    try:
        return repository.name, commit_entry(reader, commit, locations)
    except NotFoundError as error:
        raise InvalidArgumentError(str(error)) from error
