"""Repositories: their history, what commits hold, and what makes commits and moves branches."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import commits, merges
from modeldb_core.errors import BranchMovedError, InvalidArgumentError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import Repository
from modeldb_core.repositories.blobs import Blob, from_plain
from modeldb_core.repositories.documents import blob_document, difference_document, origin_document
from modeldb_core.repositories.merging import Resolution
from modeldb_core.repositories.names import check_reference
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.commands.operation import Operation
    from modeldb_server.context import ServerContext

MAX_LISTED = 1000


def _opened(context: ServerContext, entity_id: str) -> RepositoryReader:
    check_id(Repository.KIND, entity_id)
    found = context.store.get(Repository.KIND, entity_id)
    assert isinstance(found, Repository)
    return RepositoryReader(context.store, context.artifacts, found)


def list_commits(
    context: ServerContext, *, entity_id: str, revision: str, path: str, limit: int, cursor: str
) -> Response:
    """Return a commit and those before it, the newest first, a page of them."""
    repository = _opened(context, entity_id)
    page = repository.log_page(repository.commit(revision), path, cursor=cursor, limit=limit)
    items = [entity_document(each) for each in page.commits]
    return json_response({"items": items, "cursor": page.cursor, "total": None})


def list_blobs(
    context: ServerContext, *, entity_id: str, revision: str, prefix: str, after: str, limit: int
) -> Response:
    """Return the locations of a commit and the kinds of what they hold, a page of them."""
    repository = _opened(context, entity_id)
    tree = repository.tree(repository.commit(revision)).tree
    listed = [
        {"location": location, "kind": str(entry.get("kind", ""))}
        for location, entry in tree.items(prefix, after=after, limit=limit)
    ]
    last = listed[-1]["location"] if len(listed) == limit else None
    return json_response({"items": listed, "after": last, "count": tree.count})


def read_blob(context: ServerContext, *, entity_id: str, revision: str, path: str) -> Response:
    """Return what a commit holds at a location."""
    repository = _opened(context, entity_id)
    return json_response(blob_document(repository.blob(repository.commit(revision), path)))


def compare_commits(
    context: ServerContext, *, entity_id: str, before: str | None, after: str, path: str, limit: int
) -> Response:
    """Return what differs between two commits."""
    repository = _opened(context, entity_id)
    new = repository.commit(after)
    old = repository.commit(before) if before is not None else None
    if before is None and new.parent_ids:
        old = repository.history.commit(new.parent_ids[0])
    found = list(islice(repository.differences(old, new, path), limit + 1))
    items = [difference_document(each) for each in found[:limit]]
    return json_response({"items": items, "is_cut": len(found) > limit})


def blame_location(context: ServerContext, *, entity_id: str, revision: str, path: str) -> Response:
    """Return which commit gave each part of a location its value."""
    repository = _opened(context, entity_id)
    origins, older = repository.blame_page(repository.commit(revision), path)
    documents = ([origin_document(each) for each in some] for some in (origins, older))
    return json_response(dict(zip(("items", "older"), documents, strict=True)))


def create_commit(
    context: ServerContext,
    *,
    entity_id: str,
    branch: str,
    base: str | None,
    expected: str | None,
    message: str,
    author: str | None,
    blobs: dict[str, Any],
    remove: tuple[str, ...],
    allow_empty: bool,
) -> Response:
    """Make a commit on a branch and return it."""
    repository = _opened(context, entity_id)
    name = check_reference(branch)
    head, is_new = commits.beginning(repository, name, None if base is None else repository.commit(base))
    if expected is not None and (head is None or expected not in (head.digest, head.entity_id)):
        there = "has no commit" if head is None else f"is at {head.digest} ({head.name!r:.60})"
        msg = f"branch {name!r} was to be at {expected!r:.80}, and {there}; build on that and try again"
        raise BranchMovedError(msg, None, None if head is None else head.entity_id)
    edits: dict[str, Blob | None] = {location: _given(location, value) for location, value in blobs.items()}
    edits |= dict.fromkeys(remove)
    tree = commits.edit_tree(repository, head, edits)
    if tree == repository.tree(head).tree.root and not allow_empty:
        msg = "the commit changes nothing; put a blob at a location, or say allow_empty"
        raise InvalidArgumentError(msg)
    operation = commits.commit(
        repository,
        tree,
        [] if head is None else [head],
        branch=name,
        message=message,
        author=author or context.actor,
        is_new=is_new,
    )
    return _made(context, repository, operation)


def _given(location: str, value: object) -> Blob:
    """Return a blob that a request brings.

    Raises:
        InvalidArgumentError: it is none, or names a tree: that it might not see.
    """
    blob = from_plain(value, f"the blob at {location!r:.200}")
    if blob.tree:
        msg = f"the blob at {location!r:.200} names a tree; data with files of its own is committed by the library"
        raise InvalidArgumentError(msg)
    return blob


def merge_commit(
    context: ServerContext,
    *,
    entity_id: str,
    revision: str,
    into: str,
    message: str,
    favour: str | None,
    resolve: tuple[dict[str, Any], ...],
    fast_forward: bool,
) -> Response:
    """Merge a commit into a branch and return the head that this has then."""
    repository = _opened(context, entity_id)
    plan = merges.merge(
        repository,
        repository.commit(revision),
        into,
        author=context.actor,
        message=message,
        resolution=_resolution(resolve, favour),
        fast_forward=fast_forward,
    )
    if plan.operation is not None:
        commits.carry_out(repository, plan.operation, context.execute)
    return json_response(entity_document(repository.history.commit(plan.commit_id)))


def revert_commit(
    context: ServerContext,
    *,
    entity_id: str,
    commit: str,
    branch: str,
    message: str,
    mainline: int | None,
    favour: str | None,
    resolve: tuple[dict[str, Any], ...],
) -> Response:
    """Make a commit that takes back what another one changed, and return it."""
    repository = _opened(context, entity_id)
    operation = merges.revert(
        repository,
        repository.commit(commit),
        branch,
        author=context.actor,
        message=message,
        mainline=mainline,
        resolution=_resolution(resolve, favour),
    )
    return _made(context, repository, operation)


def cherry_pick_commit(
    context: ServerContext,
    *,
    entity_id: str,
    commit: str,
    branch: str,
    message: str,
    mainline: int | None,
    favour: str | None,
    resolve: tuple[dict[str, Any], ...],
) -> Response:
    """Make a commit on a branch that changes there what another one changed elsewhere, and return it."""
    repository = _opened(context, entity_id)
    operation = merges.cherry_pick(
        repository,
        repository.commit(commit),
        branch,
        message=message,
        mainline=mainline,
        resolution=_resolution(resolve, favour),
    )
    return _made(context, repository, operation)


def set_branch(context: ServerContext, *, entity_id: str, name: str, at: str, move: bool) -> Response:
    """Make a branch, or move one, and return the repository."""
    repository = _opened(context, entity_id)
    commit = repository.commit(at)
    act = commits.move_branch if move else commits.create_branch
    return _named(context, repository, act(repository, name, commit))


def delete_branch(context: ServerContext, *, entity_id: str, name: str, force: bool) -> Response:
    """Remove a branch and return the repository."""
    repository = _opened(context, entity_id)
    return _named(context, repository, commits.delete_branch(repository, name, force=force))


def create_tag(context: ServerContext, *, entity_id: str, name: str, at: str) -> Response:
    """Give a commit a tag and return the repository."""
    repository = _opened(context, entity_id)
    return _named(context, repository, commits.create_tag(repository, name, repository.commit(at)))


def delete_tag(context: ServerContext, *, entity_id: str, name: str) -> Response:
    """Remove a tag and return the repository."""
    repository = _opened(context, entity_id)
    return _named(context, repository, commits.delete_tag(repository, name))


def _resolution(resolve: tuple[dict[str, Any], ...], favour: str | None) -> Resolution:
    choices: dict[str | tuple[str, str], Any] = {}
    for each in resolve:
        key = each["path"] if each["part"] is None else (each["path"], each["part"])
        choices[key] = each["take"]
    return Resolution(choices, favour or "")


def _made(context: ServerContext, repository: RepositoryReader, operation: Operation) -> Response:
    commits.carry_out(repository, operation, context.execute)
    return json_response(entity_document(repository.history.commit(operation.entity_id)), 201)


def _named(context: ServerContext, repository: RepositoryReader, operation: Operation) -> Response:
    commits.carry_out(repository, operation, context.execute)
    return json_response(entity_document(repository.repository))
