"""Repositories, their branches and their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import edits, removal, repositories
from modeldb_core.commands.operation import together
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Repository
from modeldb_core.queries import Query, condition
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_v1.calls import read, write
from modeldb_v1.kinds import milliseconds
from modeldb_v1.numbers import number_of, repository_numbered
from modeldb_v1.pages import page_of
from modeldb_v1.workspaces import declare_workspace, fill_workspace, workspace_id_of

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

FIRST_BRANCH = "master"


def fill_repository(context: ServerContext, message: Fields, repository: Repository) -> None:
    """Write a repository into its message."""
    message.id, message.name = number_of(repository.entity_id), repository.name
    message.date_created = milliseconds(repository.document.get("created_at"))
    message.date_updated = milliseconds(repository.document.get("updated_at"))
    message.owner = repository.owner
    fill_workspace(context, message, repository.workspace_id)


def repository_of(context: ServerContext, identification: Fields) -> Repository:
    """Return the repository that a request means, by its number, or by its name in a workspace.

    Raises:
        InvalidArgumentError: it says neither; NotFoundError: there is none.
    """
    if identification.repo_id:
        return repository_numbered(context.store, identification.repo_id)
    name = identification.named_id.name
    if not name:
        msg = "the request names no repository: expected its id, or its name and its workspace"
        raise InvalidArgumentError(msg)
    workspace_id = workspace_id_of(context, identification.named_id.workspace_name)
    query = Query(Repository.KIND, condition("name = ?", name), within=workspace_id, limit=1)
    found = next(iter(context.store.find(query).entities), None)
    if not isinstance(found, Repository):
        msg = f"Repository not found: {name[:80]}"
        raise NotFoundError(msg)
    return found


def opened(context: ServerContext, identification: Fields) -> RepositoryReader:
    """Return what reads the repository that a request means."""
    return RepositoryReader(context.store, context.artifacts, repository_of(context, identification))


@read("VersioningService.ListRepositories")
def list_repositories(context: ServerContext, request: Fields, response: Fields) -> None:
    """List repositories, of one workspace where it is named, those that were changed last first."""
    within = workspace_id_of(context, request.workspace_name) if request.workspace_name else None
    query = Query(Repository.KIND, order_by="updated_at desc", within=within)
    found, response.total_records = page_of(context.store, query, request)
    for each in found:
        assert isinstance(each, Repository)
        fill_repository(context, response.repositories.add(), each)


@read("VersioningService.GetRepository")
def get_repository(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a repository."""
    fill_repository(context, response.repository, repository_of(context, request.id))


@write("VersioningService.CreateRepository")
def create_repository(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make a repository with its first commit and the branch ``master``."""
    if not request.repository.name:
        msg = "name not found in SetRepository request"
        raise InvalidArgumentError(msg)
    workspace_id, declared = declare_workspace(context, request.id.named_id.workspace_name)
    made = repositories.create_repository(
        context.store,
        context.artifacts,
        {"name": request.repository.name, "workspace_id": workspace_id},
        branch=FIRST_BRANCH,
        author=context.actor,
        repository_id=context.new_id(Repository.KIND),
        declared_id=workspace_id,
    )
    context.execute(together((declared, made)))
    fill_repository(context, response.repository, repository_numbered(context.store, number_of(made.entity_id)))


@write("VersioningService.UpdateRepository")
def update_repository(context: ServerContext, request: Fields, response: Fields) -> None:
    """Give a repository another name."""
    repository = repository_of(context, request.id)
    if not request.repository.name:
        msg = "name not found in SetRepository request"
        raise InvalidArgumentError(msg)
    context.execute(edits.rename(repository, request.repository.name))
    fill_repository(context, response.repository, repository_numbered(context.store, number_of(repository.entity_id)))


@write("VersioningService.DeleteRepository")
def delete_repository(context: ServerContext, request: Fields, response: Fields) -> None:
    """Delete a repository with its commits."""
    repository = repository_of(context, request.repository_id)
    name = (Repository.KIND, repository.entity_id)
    window_days = context.settings.restore_window_days
    context.execute(removal.delete(context.store, [name], recursive=True, window_days=window_days))
    response.status = True
