"""Bringing lines of work together: merging a branch, reverting a commit, picking one, and putting one on a new head."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

from modeldb_core.commands import commits
from modeldb_core.errors import InvalidArgumentError, MergeConflictError
from modeldb_core.repositories.blobs import to_entry
from modeldb_core.repositories.merging import Merger, Resolution
from modeldb_core.repositories.states import State, changes_between

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Commit
    from modeldb_core.repositories.reading import RepositoryReader

Opener: TypeAlias = Callable[[str], BinaryIO]
_SHOWN = 20


class MergePlan(NamedTuple):
    """What a merge comes to.

    Attributes:
        operation: what is to be carried out; ``None``: the branch has all commits of the other side.
        commit_id: the head of the branch afterwards.
        is_fast_forward: the branch is moved, and no commit made: it has nothing that the other side lacks.
    """

    operation: Operation | None
    commit_id: str
    is_fast_forward: bool = False


def merge(
    repository: RepositoryReader,
    source: Commit,
    into: str,
    *,
    author: str,
    message: str = "",
    resolution: Resolution | None = None,
    fast_forward: bool = True,
) -> MergePlan:
    """Merge a commit and all before it into a branch.

    Args:
        repository: in which.
        source: what is merged: theirs.
        into: the branch, whose head is ours.
        author: who merges.
        message: of the merge commit; default: what is merged into what.
        resolution: of conflicts.
        fast_forward: whether the branch is only moved where it has nothing that ``source`` lacks.

    Raises:
        NotFoundError: there is no such branch.
        MergeConflictError: both changed something, and nobody decided; nothing is written but contents that nothing names.
        InvalidArgumentError: a resolution is about what is not in conflict.
    """
    head = commits.head_of(repository, into)
    history = repository.history
    if history.is_before(source.entity_id, head.entity_id):
        return MergePlan(None, head.entity_id)
    if fast_forward and history.is_before(head.entity_id, source.entity_id):
        return MergePlan(commits.move_branch(repository, into, source), source.entity_id, is_fast_forward=True)
    common = repository.common_state()
    base = common.of([head.entity_id], [source.entity_id])
    tree = _three_way(repository, base, head, source, resolution, common.open)
    text = message or f"Merge {_name_of(repository, source)} into {into}"
    operation = commits.commit(repository, tree, [head, source], branch=into, message=text, author=author)
    return MergePlan(operation, operation.entity_id)


def _name_of(repository: RepositoryReader, commit: Commit) -> str:
    named = sorted(name for name, head in repository.branches.items() if head == commit.entity_id)
    return f"branch {named[0]!r}" if named else f"commit {commit.digest[:12]}"


def revert(
    repository: RepositoryReader,
    commit: Commit,
    branch: str,
    *,
    author: str,
    message: str = "",
    mainline: int | None = None,
    resolution: Resolution | None = None,
) -> Operation:
    """Make a commit that takes back what another one changed.

    Args:
        repository: in which.
        commit: what it changed is taken back.
        branch: on which.
        author: who does it.
        message: default: that of the commit, with "Revert" before it.
        mainline: of a merge, the number of the parent against which it is taken, from 1.
        resolution: of conflicts with what came after it.

    Raises:
        MergeConflictError: what it changed was changed again since.
        InvalidArgumentError: nothing would change, or ``mainline`` does not fit the commit.
    """
    head = commits.head_of(repository, branch)
    parent = _parent(repository, commit, mainline)
    base = State(repository.tree(commit))
    text = message or f"Revert {commit.name!r}\n\nThis takes back {commit.digest}."
    tree = _three_way(repository, base, head, parent, resolution)
    _check_changes(tree, head, commit)
    return commits.commit(repository, tree, [head], branch=branch, message=text, author=author)


def cherry_pick(
    repository: RepositoryReader,
    commit: Commit,
    branch: str,
    *,
    message: str = "",
    mainline: int | None = None,
    resolution: Resolution | None = None,
) -> Operation:
    """Make a commit that changes on a branch what another one changed elsewhere; who wrote it, and when, stays.

    Args and errors are those of :func:`revert`.
    """
    head = commits.head_of(repository, branch)
    base = State(repository.tree(_parent(repository, commit, mainline)))
    tree = _three_way(repository, base, head, commit, resolution)
    _check_changes(tree, head, commit)
    text = message or f"{commit.message}\n\nPicked from {commit.digest}."
    return commits.commit(
        repository,
        tree,
        [head],
        branch=branch,
        message=text,
        author=commit.author,
        authored_at=commits.authored(commit),
    )


def rebase(
    repository: RepositoryReader,
    tree: str,
    base: Commit | None,
    head: Commit | None,
    resolution: Resolution | None = None,
) -> str:
    """Put what a tree changed since ``base`` on another commit; return the root of the result.

    Raises:
        MergeConflictError: both changed something.
    """
    ours, began = State(repository.tree(head)), State(repository.tree(base))
    return _merged(repository, began, ours, State(repository.tree_at(tree)), head, resolution)


def _parent(repository: RepositoryReader, commit: Commit, mainline: int | None) -> Commit | None:
    """Return the parent against which a commit is compared; none of the first one.

    Raises:
        InvalidArgumentError: it is a merge, and ``mainline`` does not say which.
    """
    count = len(commit.parent_ids)
    if mainline is None and count > 1:
        msg = f"commit {commit.digest[:12]} is a merge; say with mainline against which of its {count} parents (1 is ours)"
        raise InvalidArgumentError(msg)
    if mainline is not None and not (count > 1 and 1 <= mainline <= count):
        msg = f"mainline is {mainline}, and commit {commit.digest[:12]} has {count} parents; leave it out, or choose one of a merge"
        raise InvalidArgumentError(msg)
    return repository.history.commit(commit.parent_ids[(mainline or 1) - 1]) if count else None


def _check_changes(tree: str, head: Commit, commit: Commit) -> None:
    if tree == head.tree:
        msg = f"commit {commit.digest[:12]} ({commit.name!r:.60}) changes nothing here; there is nothing to commit"
        raise InvalidArgumentError(msg)


def _three_way(
    repository: RepositoryReader,
    base: State,
    ours: Commit,
    theirs: Commit | None,
    resolution: Resolution | None,
    open_blob: Opener | None = None,
) -> str:
    mine, yours = State(repository.tree(ours)), State(repository.tree(theirs))
    return _merged(repository, base, mine, yours, ours, resolution, open_blob)


def _merged(
    repository: RepositoryReader,
    base: State,
    ours: State,
    theirs: State,
    head: Commit | None,
    resolution: Resolution | None = None,
    open_blob: Opener | None = None,
) -> str:
    """Return the root of the tree that has what both sides changed.

    Raises:
        MergeConflictError: there are conflicts.
        InvalidArgumentError: a resolution is about a location that their side did not change.
    """
    resolution = resolution or Resolution()
    artifacts = repository.artifacts
    merger = Merger(open_blob or artifacts.open, lambda blob: to_entry(blob, artifacts.put), resolution)
    mine, yours = changes_between(base, ours), changes_between(base, theirs)
    for key in resolution.choices:
        location = key if isinstance(key, str) else key[0]
        if location not in yours:
            msg = f"the resolution of {location!r:.200} is about what the other side did not change; leave it out"
            raise InvalidArgumentError(msg)
    found = merger.merge(mine, yours)
    if found.conflicts:
        listed = "; ".join(map(str, found.conflicts[:_SHOWN]))
        more = f"; and {len(found.conflicts) - _SHOWN:,} more" if len(found.conflicts) > _SHOWN else ""
        msg = f"{len(found.conflicts):,} locations are in conflict: {listed}{more}. Nothing was committed; decide on each of them"
        raise MergeConflictError(msg, found.conflicts)
    return commits.edit_tree(repository, head, found.edits, is_checked=False)
