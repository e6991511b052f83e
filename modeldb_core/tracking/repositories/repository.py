"""Repositories in Python: branches, tags, commits and merges, in git's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.commands import commits, merges
from modeldb_core.commands.operation import Operation, execute
from modeldb_core.model.entities import Repository, new_id
from modeldb_core.repositories.blobs import blob_of
from modeldb_core.repositories.merging import SIDES, Resolution
from modeldb_core.repositories.names import DEFAULT_BRANCH, check_reference
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking.repositories.commits import CommitDraft, CommitHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modeldb_core.stores import ArtifactStore, MetadataStore


class RepositoryHandle:
    """A repository: what it holds, and how that is changed.

    What is read is as it was when the handle was made or changed something last; :meth:`refresh` reads branches and tags
    again. What changes a branch is done at once, or not at all: it needs the store, and does not wait in the journal.

    Args:
        store, artifacts: where the repository is.
        repository: the repository.
        actor: in whose name it is changed.
        describe: returns the blob for data that is to be read, such as a path, and anything else as it is; it is told the root
            of the tree of data that was there before.
    """

    def __init__(
        self,
        store: MetadataStore,
        artifacts: ArtifactStore,
        repository: Repository,
        actor: str,
        describe: Callable[[object, str], object] | None = None,
    ) -> None:
        self._describe = describe
        self.reader = RepositoryReader(store, artifacts, repository)
        self.actor = actor

    @property
    def repository_id(self) -> str:
        """Its identifier."""
        return self.reader.repository.entity_id

    @property
    def name(self) -> str:
        """Its name."""
        return self.reader.repository.name

    def refresh(self) -> None:
        """Read branches and tags again."""
        self.reader.refresh()

    @property
    def branches(self) -> dict[str, BranchHandle]:
        """The branches by name."""
        return {name: BranchHandle(self, name) for name in sorted(self.reader.branches)}

    @property
    def tags(self) -> dict[str, CommitHandle]:
        """The commits that have tags, by tag."""
        history = self.reader.history
        return {
            name: CommitHandle(self.reader, history.commit(each)) for name, each in sorted(self.reader.tags.items())
        }

    def branch(self, name: str) -> BranchHandle:
        """Return a branch by its name, whether it is there yet or not."""
        return BranchHandle(self, check_reference(name))

    def get(self, revision: str = DEFAULT_BRANCH) -> CommitHandle:
        """Return the commit that is meant by a branch, a tag, a digest or its beginning; ``main~2`` and ``v1^2`` go back.

        Raises:
            NotFoundError: there is none.
        """
        return CommitHandle(self.reader, self.reader.commit(revision))

    __getitem__ = get

    def log(self, revision: str = DEFAULT_BRANCH, location: str = "") -> Iterator[CommitHandle]:
        """Iterate over a commit and those before it, the newest first; with a location, only those that changed it."""
        return self.get(revision).log(location)

    def commit(
        self,
        message: str,
        *,
        branch: str = DEFAULT_BRANCH,
        base: CommitHandle | str | None = None,
        author: str = "",
        allow_empty: bool = False,
        rebase: bool = False,
    ) -> CommitDraft:
        """Begin a commit; what was put into it is committed at the end of the ``with`` block, or by ``save()``.

        Args:
            message: what is changed, and why.
            branch: on which branch.
            base: where a new branch begins; the first commit of a repository needs none.
            author: who wrote it; default: the user.
            allow_empty: whether it may change nothing.
            rebase: whether to put it on the new head and try again where somebody else moves the branch meanwhile; what both
                changed is a :class:`~modeldb_core.errors.MergeConflictError` all the same.

        Raises:
            NotFoundError: there is no such branch, and no ``base``, although there are commits.
            InvalidArgumentError: the message is empty, no branch can be called so, or there is such a branch and a ``base``.
        """
        self.refresh()
        name = check_reference(branch)
        begun, is_new = commits.beginning(self.reader, name, None if base is None else self._commit(base))
        return CommitDraft(
            self.reader,
            self._execute,
            message,
            branch=name,
            base=begun,
            is_new=is_new,
            author=author or self.actor,
            allow_empty=allow_empty,
            rebases=rebase,
            describe=self._describe,
        )

    def create_branch(self, name: str, at: CommitHandle | str = DEFAULT_BRANCH) -> BranchHandle:
        """Make a branch.

        Raises:
            AlreadyExistsError: there is one of that name; NotFoundError: there is no such commit.
        """
        self._carry_out(commits.create_branch(self.reader, name, self._commit(at)))
        return self.branch(name)

    def tag(self, name: str, at: CommitHandle | str = DEFAULT_BRANCH) -> CommitHandle:
        """Give a commit a tag, which is not moved afterwards.

        Raises:
            AlreadyExistsError: another commit has it; NotFoundError: there is no such commit.
        """
        commit = self._commit(at)
        self._carry_out(commits.create_tag(self.reader, name, commit))
        return CommitHandle(self.reader, commit)

    def delete_tag(self, name: str) -> None:
        """Remove a tag; the commit stays."""
        self._carry_out(commits.delete_tag(self.reader, name))

    def merge(
        self,
        source: CommitHandle | BranchHandle | str,
        into: str = DEFAULT_BRANCH,
        *,
        message: str = "",
        author: str = "",
        resolve: Mapping[str | tuple[str, str], Any] | None = None,
        favour: str = "",
        fast_forward: bool = True,
    ) -> CommitHandle:
        """Merge a branch or commit into a branch and return the head that this has then.

        Args:
            source: what is merged: a branch, a commit, or what names one.
            into: the branch that is moved.
            message: of the merge commit; default: what is merged into what.
            author: who merges; default: the user.
            resolve: what is to stand where both changed something: by location, or by location and part, such as
                ``("config", "optimizer.lr")``: ``"ours"`` (of ``into``), ``"theirs"``, a blob (for a part a value), or ``None`` for nothing.
            favour: the side that is taken of every other conflict.
            fast_forward: whether the branch is only moved where it has nothing that ``source`` lacks.

        Raises:
            MergeConflictError: both changed something and it is not resolved; ``conflicts`` lists it, and nothing was done.
            BranchMovedError: somebody else moved the branch meanwhile; call it again.
        """
        self.refresh()
        theirs = source.head if isinstance(source, BranchHandle) else source
        plan = merges.merge(
            self.reader,
            self._commit(theirs),
            into,
            author=author or self.actor,
            message=message,
            resolution=resolution_of(resolve, favour),
            fast_forward=fast_forward,
        )
        if plan.operation is not None:
            self._carry_out(plan.operation)
        return self.get(plan.commit_id)

    def revert(
        self,
        commit: CommitHandle | str,
        branch: str = DEFAULT_BRANCH,
        *,
        message: str = "",
        mainline: int | None = None,
        resolve: Mapping[str | tuple[str, str], Any] | None = None,
        favour: str = "",
    ) -> CommitHandle:
        """Make a commit on a branch that takes back what another commit changed.

        Args:
            commit: whose changes.
            branch: where.
            message: default: that of the commit with "Revert" before it.
            mainline: of a merge, the number of the parent against which it is taken, from 1.
            resolve, favour: as of :meth:`merge`; ours is the branch.

        Raises:
            MergeConflictError: it was changed again since; BranchMovedError: somebody else moved the branch meanwhile.
        """
        self.refresh()
        operation = merges.revert(
            self.reader,
            self._commit(commit),
            branch,
            author=self.actor,
            message=message,
            mainline=mainline,
            resolution=resolution_of(resolve, favour),
        )
        self._carry_out(operation)
        return self.get(operation.entity_id)

    def cherry_pick(
        self,
        commit: CommitHandle | str,
        branch: str = DEFAULT_BRANCH,
        *,
        message: str = "",
        mainline: int | None = None,
        resolve: Mapping[str | tuple[str, str], Any] | None = None,
        favour: str = "",
    ) -> CommitHandle:
        """Make a commit on a branch that changes there what another commit changed elsewhere; its author stays.

        Arguments and errors are those of :meth:`revert`.
        """
        self.refresh()
        operation = merges.cherry_pick(
            self.reader,
            self._commit(commit),
            branch,
            message=message,
            mainline=mainline,
            resolution=resolution_of(resolve, favour),
        )
        self._carry_out(operation)
        return self.get(operation.entity_id)

    def merge_bases(self, one: CommitHandle | str, other: CommitHandle | str) -> list[CommitHandle]:
        """Return the best common ancestors of two commits; where histories crossed there are several."""
        found = self.reader.history.merge_bases([self._commit(one).entity_id], [self._commit(other).entity_id])
        return [CommitHandle(self.reader, self.reader.history.commit(each)) for each in found]

    def _commit(self, given: CommitHandle | str) -> Any:  # noqa: ANN401 - a commit
        return given.entity if isinstance(given, CommitHandle) else self.reader.commit(given)

    def _carry_out(self, operation: Operation) -> None:
        commits.carry_out(self.reader, operation, self._execute)

    def _execute(self, operation: Operation) -> None:
        # A stream of its own: it is sealed, and done in one request.
        execute(DirectWriter(self.reader.store, self.actor), operation, stream_id=new_id())

    def __repr__(self) -> str:
        return f"<Repository {self.name!r} {self.repository_id}>"


class BranchHandle:
    """A branch of a repository."""

    def __init__(self, repository: RepositoryHandle, name: str) -> None:
        self.repository = repository
        self.name = name

    @property
    def head(self) -> CommitHandle:
        """Its last commit, as the repository was read last.

        Raises:
            NotFoundError: there is no such branch.
        """
        reader = self.repository.reader
        return CommitHandle(reader, commits.head_of(reader, self.name))

    def commit(
        self,
        message: str,
        *,
        base: CommitHandle | str | None = None,
        author: str = "",
        allow_empty: bool = False,
        rebase: bool = False,
    ) -> CommitDraft:
        """Begin a commit on the branch; arguments and errors are those of :meth:`RepositoryHandle.commit`."""
        return self.repository.commit(
            message, branch=self.name, base=base, author=author, allow_empty=allow_empty, rebase=rebase
        )

    def merge_into(
        self,
        branch: str | BranchHandle,
        *,
        message: str = "",
        author: str = "",
        resolve: Mapping[str | tuple[str, str], Any] | None = None,
        favour: str = "",
        fast_forward: bool = True,
    ) -> CommitHandle:
        """Merge this branch into another one; arguments and errors are those of :meth:`RepositoryHandle.merge`."""
        return self.repository.merge(
            self,
            branch.name if isinstance(branch, BranchHandle) else branch,
            message=message,
            author=author,
            resolve=resolve,
            favour=favour,
            fast_forward=fast_forward,
        )

    def log(self, location: str = "") -> Iterator[CommitHandle]:
        """Iterate over its commits, the newest first; with a location, only those that changed it."""
        return self.head.log(location)

    def move(self, to: CommitHandle | str) -> CommitHandle:
        """Move the branch to another commit, wherever that lies; what it leaves is still there by its digest.

        Raises:
            BranchMovedError: somebody else moved it since the repository was read last.
        """
        reader = self.repository.reader
        commit = to.entity if isinstance(to, CommitHandle) else reader.commit(to)
        commits.carry_out(reader, commits.move_branch(reader, self.name, commit), self.repository._execute)
        return self.head

    def delete(self, *, force: bool = False) -> None:
        """Remove the branch; its commits stay.

        Raises:
            InvalidArgumentError: no other branch and no tag has its commits, and ``force`` is not set.
        """
        reader = self.repository.reader
        commits.carry_out(reader, commits.delete_branch(reader, self.name, force=force), self.repository._execute)

    def __repr__(self) -> str:
        return f"<Branch {self.name!r} of {self.repository.name!r}>"


def resolution_of(resolve: Mapping[str | tuple[str, str], Any] | None, favour: str) -> Resolution:
    """Return what was decided about conflicts; what is to stand at a location may be a map of settings."""
    choices = {
        key: blob_of(value, f"what is to stand at {key!r:.200}")
        if isinstance(key, str) and value is not None and value not in SIDES
        else value
        for key, value in (resolve or {}).items()
    }
    return Resolution(choices, favour)
