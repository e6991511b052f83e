"""From the name of a repository to its handle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.commands import commits
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.edits import check_living
from modeldb_core.commands.names import check_name
from modeldb_core.commands.operation import execute, together
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Repository, new_id
from modeldb_core.model.values import check_text
from modeldb_core.runtime.notices import listing
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking.data.ingredients import describe_data
from modeldb_core.tracking.repositories.commits import CommitHandle
from modeldb_core.tracking.repositories.repository import RepositoryHandle

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.tracking.data.opening import DataClient

Locations: TypeAlias = "Mapping[str, str] | Iterable[str]"
"""Locations of a commit by what the run calls them, or alone."""


def open_repository(client: DataClient, name: str, *, create: bool = True) -> RepositoryHandle:
    """Return a repository of a client's workspace by its name.

    Args:
        client: whose store.
        name: of the repository.
        create: whether it is made where there is none.

    Raises:
        NotFoundError: there is none, and it is not to be made.
        ConflictError: it is deleted, and not to be made again.
    """
    checked, workspace, store = check_name(name, "repository"), client.settings.workspace, client.store
    workspace_id, repository_id = store.identify(("workspace", workspace), ("repository", checked))
    try:
        found = store.get(Repository.KIND, repository_id)
    except NotFoundError:
        found = None
    if create and (found is None or found.deleted_at is not None):
        made = together(
            (
                declare("workspace", workspace_id, workspace),
                declare(Repository.KIND, repository_id, checked, workspace_id=workspace_id),
            )
        )
        execute(DirectWriter(store, client.actor), made, stream_id=new_id())
        found = store.get(Repository.KIND, repository_id)
    if found is None:
        msg = f"there is no repository {checked!r}; {listing('list repositories', store.url)}"
        raise NotFoundError(msg)
    check_living(found)
    assert isinstance(found, Repository)
    return RepositoryHandle(store, client.artifacts, found, client.actor, partial(describe_data, client))


def commit_of(client: DataClient, given: CommitHandle | str) -> CommitHandle:
    """Return a commit, or the one that a text names: ``churn@main``, ``churn@v1.0`` or ``churn@3f9a1c2e``.

    Raises:
        InvalidTypeError: it is neither.
        InvalidArgumentError: the text has no repository or no revision.
        NotFoundError: there is no such commit.
    """
    if isinstance(given, CommitHandle):
        return given
    name, mark, revision = check_text(given, "commit").rpartition("@")
    if not mark or not name or not revision:
        msg = f"commit {given!r:.80} is not written as REPOSITORY@REVISION; write it like churn@main or churn@3f9a1c2e"
        raise InvalidArgumentError(msg)
    return open_repository(client, name, create=False).get(revision)


def log_commit(client: DataClient, run_id: str, commit: CommitHandle | str, locations: Locations | None) -> Operation:
    """Return what records with a run which commit it was given; see :meth:`~modeldb_core.tracking.RunHandle.log_commit`."""
    found = commit_of(client, commit)
    listed: Mapping[str, str] = {}
    if isinstance(locations, Mapping):
        listed = locations
    elif locations is not None:
        listed = {location: location for location in locations}
    return commits.log_commit(found.reader, run_id, found.entity, listed)
