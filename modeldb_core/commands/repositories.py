"""Repositories as other programs keep them: begun with a first commit, with branches that are set and commits that are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands import commits
from modeldb_core.commands.containers import create
from modeldb_core.commands.edits import check_living
from modeldb_core.commands.operation import Operation, together
from modeldb_core.log.changes import DELETE, UPDATE
from modeldb_core.log.conditions import RevisionIs, Unset
from modeldb_core.log.erasures import promise
from modeldb_core.log.stream import Entry
from modeldb_core.model.decisions import clash_at, saw
from modeldb_core.model.entities import Commit, Repository
from modeldb_core.repositories.names import check_reference
from modeldb_core.repositories.reading import RepositoryReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.stores import ArtifactStore, MetadataStore

FIRST_MESSAGE = "Initial commit"


def create_repository(
    store: MetadataStore,
    artifacts: ArtifactStore,
    fields: Mapping[str, Any],
    *,
    branch: str,
    author: str,
    repository_id: str = "",
    declared_id: str = "",
) -> Operation:
    """Make a repository that begins with an empty commit on a branch: all of it, or nothing.

    Args:
        store: where its workspace is looked up.
        artifacts: where the tree of the commit is written.
        fields: of the repository.
        branch: the name of the branch.
        author: of the commit.
        repository_id: where the caller needs it beforehand.
        declared_id: of a workspace that is declared together with it.

    Raises:
        InvalidArgumentError: a name cannot be that; NotFoundError: there is no such workspace.
    """
    made = create(store, Repository.KIND, fields, entity_id=repository_id, declared_id=declared_id)
    reader = RepositoryReader(store, artifacts, Repository(entity_id=made.entity_id, name=str(fields.get("name", ""))))
    tree = commits.edit_tree(reader, None, {})
    first = commits.commit(reader, tree, (), branch=branch, message=FIRST_MESSAGE, author=author)
    both = together((made, first))
    return Operation(both.entries, both.expect, made.entity_id)


def set_branch(repository: RepositoryReader, name: str, to: Commit) -> Operation:
    """Let a branch be at a commit, whether it is there or not, and wherever it was; nothing is done where it is there already.

    Raises:
        InvalidArgumentError: no branch can be called so; ConflictError: the repository or the commit is deleted.
    """
    name = check_reference(name)
    if name not in repository.branches:
        return commits.create_branch(repository, name, to)
    clash = clash_at(repository.repository.document, commits.BRANCHES, name)
    if repository.branches[name] == to.entity_id and not clash:
        check_living(to)
        return Operation((), entity_id=repository.repository.entity_id)
    return commits.move_branch(repository, name, to)


def delete_commit(repository: RepositoryReader, commit: Commit, *, window_days: float) -> Operation:
    """Delete a commit, and the branches and tags that are at it.

    Commits that were built on it stay, and go on to name it as what was before them; as long as one of them is there, it is
    never erased.

    Args:
        repository: in which.
        commit: which.
        window_days: for how long it is safe from being erased.

    Raises:
        ConflictError: the repository is deleted.
    """
    check_living(repository.repository)
    repository_id, commit_id = repository.repository.entity_id, commit.entity_id
    named = {
        field: sorted(name for name, at in names.items() if at == commit_id)
        for field, names in ((commits.BRANCHES, repository.branches), (commits.TAGS, repository.tags))
    }
    removed = {field: names for field, names in named.items() if names}
    data = saw(Repository.KIND, repository.repository.document, {"remove": removed})
    entries = [Entry(UPDATE, Repository.KIND, repository_id, data)] if removed else []
    entries.append(Entry(DELETE, Commit.KIND, commit_id, promise(window_days)))
    expect = RevisionIs(Repository.KIND, repository_id, repository.repository.revision)  # nobody lets a branch be at it
    return Operation(tuple(entries), (expect, Unset(Commit.KIND, commit_id, "deleted_at")), commit_id)
