"""Commits of repositories: making and deleting them, what they hold, and what differs between two."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import commits, repositories
from modeldb_core.commands.operation import Operation, decide
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Commit
from modeldb_core.queries import Query, condition
from modeldb_v1.blobs import blob_from, carried
from modeldb_v1.calls import read, write
from modeldb_v1.diffs import apply, differences
from modeldb_v1.kinds import milliseconds
from modeldb_v1.pages import page_of, slice_of, span_of
from modeldb_v1.repositories import opened
from modeldb_v1.shown_blobs import message_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modeldb_core.repositories.blobs import Blob
    from modeldb_core.repositories.blobs import Entry as TreeEntry
    from modeldb_core.repositories.reading import CommitTree, RepositoryReader
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

MAX_DIFFERENCES = 10_000
"""Locations that one answer compares."""


def fill_commit(reader: RepositoryReader, message: Fields, commit: Commit) -> None:
    """Write a commit into its message."""
    for parent_id in commit.parent_ids:
        try:
            message.parent_shas.append(reader.history.commit(parent_id).digest)
        except NotFoundError:  # it has been erased, or was never here
            continue
    message.message = commit.message
    message.date_created = milliseconds(commit.document.get("created_at"))
    message.author = commit.author
    message.commit_sha = commit.digest


def commit_with(reader: RepositoryReader, sha: str, field: str = "commit_sha") -> Commit:
    """Return the commit of a digest, of those that are not deleted.

    Raises:
        InvalidArgumentError: no digest is given; NotFoundError: there is no such commit.
    """
    if not sha:
        msg = f"{field} not found in request; expected the 64 hexadecimal digits of a commit"
        raise InvalidArgumentError(msg)
    query = Query(Commit.KIND, condition("digest = ?", sha), within=reader.repository.entity_id, limit=1)
    found = reader.store.find(query).entities
    if not found or not isinstance(found[0], Commit):
        msg = f"Commit not found in the repository: {sha[:80]}"
        raise NotFoundError(msg)
    return found[0]


@read("VersioningService.ListCommits")
def list_commits(context: ServerContext, request: Fields, response: Fields) -> None:
    """List the commits of a repository, the newest first; from one on, or up to one, by when they were made."""
    reader = opened(context, request.repository_id)
    limits = []
    for field, operator in (("commit_base", ">="), ("commit_head", "<=")):
        sha = getattr(request, field)
        made_at = commit_with(reader, sha, field).created_at if sha else None
        if made_at is not None:
            limits.append(condition(f"created_at {operator} ?", made_at))
    _list(context, reader, " and ".join(limits), request, response)


def _list(context: ServerContext, reader: RepositoryReader, filter: str, request: Fields, response: Fields) -> None:  # noqa: A002 - as in Query
    """Write a page of those commits of a repository that a filter finds into a response."""
    query = Query(Commit.KIND, filter, "created_at desc", within=reader.repository.entity_id)
    found, response.total_records = page_of(context.store, query, request)
    listed = [reader.history.know(commit) for commit in found if isinstance(commit, Commit)]
    for commit in listed:  # all are known by now, so a parent among them is not read again
        fill_commit(reader, response.commits.add(), commit)


@read("VersioningService.ListBranchCommits")
def list_branch_commits(context: ServerContext, request: Fields, response: Fields) -> None:
    """List the last commit of a branch and all before it, the newest first."""
    reader = opened(context, request.repository_id)
    head = commits.head_of(reader, request.branch)
    if _leads_from_all(context, head):
        _list(context, reader, "", request, response)
        return
    found = [each for each in reader.log(head) if each.deleted_at is None]
    found.sort(key=lambda each: each.document.get("created_at", 0), reverse=True)
    for commit in slice_of(found, request):
        fill_commit(reader, response.commits.add(), commit)
    response.total_records = len(found)


def _leads_from_all(context: ServerContext, head: Commit) -> bool:
    """Return whether all commits of a repository lie on the one way to ``head``: then nobody needs to walk along it."""
    query = Query(Commit.KIND, within=head.repository_id, fields=(), limit=1, count=True, include_deleted=True)
    return context.store.find(query).total == head.generation


@read("VersioningService.GetCommit")
def get_commit(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a commit by its digest."""
    reader = opened(context, request.repository_id)
    fill_commit(reader, response.commit, commit_with(reader, request.commit_sha))


@write("VersioningService.DeleteCommit")
def delete_commit(context: ServerContext, request: Fields, response: Fields) -> None:
    """Delete a commit, and the branches and tags that are at it."""
    del response
    reader = opened(context, request.repository_id)
    window_days = context.settings.restore_window_days

    def look() -> Operation:
        reader.refresh()
        return repositories.delete_commit(reader, commit_with(reader, request.commit_sha), window_days=window_days)

    decide(context.execute, look)


# -- what commits hold ------------------------------------------------------------------------------------------------


@read("VersioningService.ListCommitBlobs")
def list_commit_blobs(context: ServerContext, request: Fields, response: Fields) -> None:
    """List what a commit holds, or below a location, by location."""
    reader = opened(context, request.repository_id)
    tree = reader.tree(commit_with(reader, request.commit_sha))
    found, response.total_records = _below(
        tree, location_of(request.location_prefix) if request.location_prefix else ""
    )
    start, count = span_of(request) or (0, None)
    for location, entry in islice(found, start, None if count is None else start + count):
        shown = response.blobs.add(location=location.split("/"))
        shown.blob.CopyFrom(_shown(reader, entry))


def _below(tree: CommitTree, prefix: str) -> tuple[Iterable[tuple[str, TreeEntry]], int]:
    """Return what lies at a location, or below it, and how much that is; it is read as it is asked for."""
    entry = tree.get(prefix) if prefix else None
    if entry is not None:
        return [(prefix, entry)], 1
    folder = f"{prefix}/" if prefix else ""
    return tree.tree.items(folder), tree.tree.measure(folder)[0]


def _shown(reader: RepositoryReader, entry: TreeEntry) -> Fields:
    return message_of(reader.read(entry), reader.trees.open)


@read("VersioningService.GetCommitComponent")
def get_commit_component(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return what a commit holds at a location: a blob, or the names of what lies in a folder."""
    reader = opened(context, request.repository_id)
    commit = commit_with(reader, request.commit_sha)
    tree = reader.tree(commit)
    location = location_of(request.location) if request.location else ""
    entry = tree.get(location) if location else None
    if entry is not None:
        response.blob.CopyFrom(_shown(reader, entry))
        return
    found = list(tree.tree.children(location))
    if location and not found:
        msg = f"commit {commit.digest[:12]} has nothing at {location!r:.200}"
        raise NotFoundError(msg)
    for item in found:
        listed = response.folder.sub_folders if item.entry is None else response.folder.blobs
        listed.add(element_name=item.name)


@read("VersioningService.ComputeRepositoryDiff")
def compute_repository_diff(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return what differs from a commit to another one, or below a location."""
    reader = opened(context, request.repository_id)
    before, after = (commit_with(reader, getattr(request, name), name) for name in ("commit_a", "commit_b"))
    prefix = location_of(request.location_prefix) if request.location_prefix else ""
    changed: list[tuple[list[str], Any, Any]] = []
    for location, old, new in reader.tree(before).differences(reader.tree(after)):
        if prefix and location != prefix and not location.startswith(f"{prefix}/"):
            continue
        if len(changed) == MAX_DIFFERENCES:
            msg = f"more than {MAX_DIFFERENCES:,} locations differ; name a location_prefix"
            raise InvalidArgumentError(msg)
        was, now = (None if each is None else _shown(reader, each) for each in (old, new))
        changed.append((location.split("/"), was, now))
    response.diffs.extend(differences(changed))


# -- making commits ---------------------------------------------------------------------------------------------------


@write("VersioningService.CreateCommit")
def create_commit(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make a commit of the blobs that it is to hold, or of what differs from another one; no branch is moved."""
    _check(request)
    reader = opened(context, request.repository_id)
    parents = _parents(reader, dict.fromkeys(request.commit.parent_shas))
    if request.blobs:
        tree = commits.edit_tree(reader, None, _given(reader, request.blobs, parents))
    else:
        base = commit_with(reader, request.commit_base, "commit_base")
        tree = commits.edit_tree(reader, base, _edited(reader, base, request.diffs), is_checked=False)
    operation = commits.commit(reader, tree, parents, branch=None, message=request.commit.message, author=context.actor)
    context.execute(operation)
    fill_commit(reader, response.commit, reader.history.commit(operation.entity_id))


def _check(request: Fields) -> None:
    """See that a request says what a commit is to hold.

    Raises:
        InvalidArgumentError: it says that not at all, or twice.
    """
    problem = ""
    if not request.commit.message.strip():
        problem = "the message of the commit is missing"
    elif request.blobs and (request.diffs or request.commit_base):
        problem = "the request has blobs, and diffs or a commit_base; expected either"
    elif not request.blobs and not (request.diffs and request.commit_base):
        problem = "the request has neither blobs, nor diffs with a commit_base"
    elif request.blobs and not request.commit.parent_shas:
        problem = "parent_shas of the commit are missing; a repository has a first commit already"
    if problem:
        raise InvalidArgumentError(problem)


def _parents(reader: RepositoryReader, shas: Iterable[str]) -> list[Commit]:
    found = []
    for sha in shas:
        try:
            found.append(commit_with(reader, sha, "parent_shas"))
        except NotFoundError as error:
            msg = f"Cannot find commits: the repository has no commit {sha[:80]!r} that could be a parent"
            raise InvalidArgumentError(msg) from error
    return found


def _given(
    reader: RepositoryReader, blobs: Sequence[Fields], parents: Iterable[Commit]
) -> Mapping[str, Blob | TreeEntry | None]:
    """Return what a tree is to hold. A blob that a client read from a parent and sends back is the one that is there."""
    locations = [location_of(each.location) for each in blobs]
    location, count = Counter(locations).most_common(1)[0]
    if count > 1:
        msg = f"there are {count} blobs at {location!r:.200}; expected one for each location"
        raise InvalidArgumentError(msg)
    trees = [reader.tree(parent) for parent in parents]
    found: dict[str, Blob | TreeEntry | None] = {}
    for place, each in zip(locations, blobs, strict=True):
        blob = blob_from(each.blob, f"the blob at {place!r:.200}")
        there = [entry for tree in trees if (entry := tree.get(place)) is not None]
        found[place] = next(_sent_back(reader, there, each.blob, blob), blob)
    return found


def _sent_back(
    reader: RepositoryReader, entries: Iterable[TreeEntry], message: Fields, blob: Blob
) -> Iterator[Blob | TreeEntry]:
    """Iterate over what is kept of blobs of which a client sent back what it was shown, changed or not."""
    for entry in entries:
        there = reader.read(entry)
        if there.kind == blob.kind and there.content.get("type") == blob.content.get("type"):
            shown = message_of(there, reader.trees.open)
            yield entry if shown == message else carried(there, shown, blob)


def _edited(reader: RepositoryReader, base: Commit, diffs: Iterable[Fields]) -> Mapping[str, Blob | TreeEntry | None]:
    tree = reader.tree(base)
    edits: dict[str, Blob | None] = {}
    for diff in diffs:
        location = location_of(diff.location)
        what = f"{location!r:.200}"
        entry = None if location in edits else tree.get(location)
        there = edits.get(location) if entry is None else reader.read(entry)
        shown = None if there is None else message_of(there, reader.trees.open)
        after: Any = apply(diff, shown, what)
        if after is None:
            edits[location] = None
            continue
        blob = blob_from(after, f"the blob at {what}")
        edits[location] = blob if there is None or shown is None else carried(there, shown, blob)
    return edits


def location_of(parts: Sequence[str]) -> str:
    """Return the location of its parts.

    Raises:
        InvalidArgumentError: there are none, or a part has a slash.
    """
    if not parts:
        msg = 'location not found in request; expected the parts of one, such as ["data", "train"]'
        raise InvalidArgumentError(msg)
    if slashed := next((part for part in parts if "/" in part), None):
        msg = f"a part of the location is {slashed!r:.80}; expected parts without slashes: {slashed.split('/')!r:.160}"
        raise InvalidArgumentError(msg)
    return "/".join(parts)
