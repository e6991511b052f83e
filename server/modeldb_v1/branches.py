"""Branches and tags of repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import commits, repositories
from modeldb_core.commands.operation import Operation, decide
from modeldb_core.errors import AlreadyExistsError, NotFoundError
from modeldb_v1.calls import read, write
from modeldb_v1.commits import commit_with, fill_commit
from modeldb_v1.kinds import required
from modeldb_v1.repositories import opened, repository_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.repositories.reading import RepositoryReader
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


def _change(context: ServerContext, reader: RepositoryReader, look: Callable[[], Operation]) -> None:
    """Change branches or tags by what they are now; where somebody else was faster, by what they are then."""

    def again() -> Operation:
        reader.refresh()
        return look()

    decide(lambda operation: context.execute(operation) if operation.entries else None, again)


@read("VersioningService.ListBranches")
def list_branches(context: ServerContext, request: Fields, response: Fields) -> None:
    """List the names of branches."""
    names = sorted(repository_of(context, request.repository_id).branches)
    response.branches.extend(names)
    response.total_records = len(names)


@read("VersioningService.GetBranch")
def get_branch(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the commit that a branch is at."""
    reader = opened(context, request.repository_id)
    fill_commit(reader, response.commit, commits.head_of(reader, required(request, "branch")))


@write("VersioningService.SetBranch")
def set_branch(context: ServerContext, request: Fields, response: Fields) -> None:
    """Let a branch be at a commit, wherever it was."""
    del response
    reader = opened(context, request.repository_id)
    name, commit = required(request, "branch"), commit_with(reader, request.commit_sha)
    _change(context, reader, lambda: repositories.set_branch(reader, name, commit))


@write("VersioningService.DeleteBranch")
def delete_branch(context: ServerContext, request: Fields, response: Fields) -> None:
    """Remove a branch; its commits stay."""
    del response
    reader = opened(context, request.repository_id)
    name = required(request, "branch")
    _change(context, reader, lambda: commits.delete_branch(reader, name, force=True))


@read("VersioningService.ListTags")
def list_tags(context: ServerContext, request: Fields, response: Fields) -> None:
    """List the names of tags."""
    names = sorted(repository_of(context, request.repository_id).commit_tags)
    response.tags.extend(names)
    response.total_records = len(names)


@read("VersioningService.GetTag")
def get_tag(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the commit that has a tag."""
    reader = opened(context, request.repository_id)
    tag = required(request, "tag")
    if tag not in reader.tags:
        msg = f"Tag not found: {tag[:80]}"
        raise NotFoundError(msg)
    fill_commit(reader, response.commit, reader.history.commit(reader.tags[tag]))


@write("VersioningService.SetTag")
def set_tag(context: ServerContext, request: Fields, response: Fields) -> None:
    """Give a commit a tag. One that is there already is an error that the original reports as "not found", and so do we."""
    del response
    reader = opened(context, request.repository_id)
    tag, commit = required(request, "tag"), commit_with(reader, request.commit_sha)
    try:
        commits.carry_out(reader, commits.create_tag(reader, tag, commit), context.execute)
    except AlreadyExistsError as error:
        msg = f"Tag {tag[:80]!r} already exists"
        raise NotFoundError(msg) from error


@write("VersioningService.DeleteTag")
def delete_tag(context: ServerContext, request: Fields, response: Fields) -> None:
    """Remove a tag."""
    del response
    reader = opened(context, request.repository_id)
    tag = required(request, "tag")
    _change(context, reader, lambda: commits.delete_tag(reader, tag))
