"""Commits in Python: what one holds, and one that is being made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Self

from modeldb_core.commands import commits, merges
from modeldb_core.errors import BranchMovedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.values import is_digest
from modeldb_core.repositories.blobs import Blob, blob_of
from modeldb_core.repositories.checkout import checkout
from modeldb_core.repositories.names import check_location

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Commit
    from modeldb_core.repositories.differences import Difference
    from modeldb_core.repositories.merging import Resolution
    from modeldb_core.repositories.reading import Origin, RepositoryReader

_ATTEMPTS = 100
"""So often a commit is put on a new head: with each one somebody else made progress."""


class CommitHandle(Mapping[str, Blob]):
    """One commit: a map from the locations of its tree to what it holds there.

    ``commit["config"]`` reads one blob; the locations are read as they are iterated over.
    """

    def __init__(self, reader: RepositoryReader, entity: Commit) -> None:
        self.reader = reader
        self.entity = entity

    @property
    def commit_id(self) -> str:
        """Its identifier."""
        return self.entity.entity_id

    @property
    def digest(self) -> str:
        """SHA-256 of its content and of the digests of its parents: what names it everywhere."""
        return self.entity.digest

    @property
    def message(self) -> str:
        """What was changed, and why."""
        return self.entity.message

    @property
    def author(self) -> str:
        """Who wrote it."""
        return self.entity.author

    @property
    def authored_at(self) -> datetime | None:
        """When it was written, in UTC."""
        return self.entity.authored_at

    @property
    def parents(self) -> tuple[CommitHandle, ...]:
        """The commits before it; of a merge, ours first."""
        history = self.reader.history
        return tuple(CommitHandle(self.reader, history.commit(each)) for each in self.entity.parent_ids)

    def __getitem__(self, location: str) -> Blob:
        return self.reader.blob(self.entity, location)

    def __contains__(self, location: object) -> bool:
        return self.reader.tree(self.entity).get(check_location(location)) is not None

    def __iter__(self) -> Iterator[str]:
        return (location for location, _ in self.reader.tree(self.entity).tree.items())

    def __len__(self) -> int:
        return self.reader.tree(self.entity).tree.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CommitHandle) and self.commit_id == other.commit_id

    def __hash__(self) -> int:
        return hash(self.commit_id)

    def locations(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the locations below a folder."""
        return (location for location, _ in self.reader.tree(self.entity).tree.items(prefix))

    def diff(self, before: CommitHandle | str | None = None, prefix: str = "") -> list[Difference]:
        """Return what this commit changed, or what differs between another one and it.

        Args:
            before: the other one, or what names it; default: the first parent.
            prefix: only what lies below this folder, or at this location.
        """
        other = self._other(before)
        return list(self.reader.differences(other, self.entity, prefix))

    def _other(self, before: CommitHandle | str | None) -> Commit | None:
        if isinstance(before, CommitHandle):
            return before.entity
        if before is not None:
            return self.reader.commit(before)
        parents = self.entity.parent_ids
        return self.reader.history.commit(parents[0]) if parents else None

    def blame(self, location: str) -> list[Origin]:
        """Return for each part of a blob (a setting, a package) which commit gave it the value that it has."""
        return self.reader.blame(self.entity, location)

    def log(self, location: str = "") -> Iterator[CommitHandle]:
        """Iterate over this commit and those before it, the newest first; with a location, only those that changed it."""
        return (CommitHandle(self.reader, each) for each in self.reader.log(self.entity, location))

    def checkout(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write what the commit holds into a folder: each location as a file, and the files of data that was kept.

        A folder that was checked out before is brought to this commit at a cost in proportion to what differs.

        Args:
            path: the folder, which is made where it is not there.
            force: whether to overwrite files that are there and differ.

        Raises:
            AlreadyExistsError: a file is there, or was altered since it was checked out; nothing is written.
        """
        return checkout(self.reader, self.entity, path, force=force)[0]

    def __repr__(self) -> str:
        return f"<Commit {self.digest[:12]} {self.entity.name!r}>"


class CommitDraft(MutableMapping[str, Blob]):
    """A commit that is being made: a map that begins as the commit before it. Nothing is written until :meth:`save`.

    Used with ``with`` it is saved at the end of the block, unless that raises.
    """

    def __init__(
        self,
        reader: RepositoryReader,
        execute: Callable[[Operation], object],
        message: str,
        *,
        branch: str,
        base: Commit | None,
        is_new: bool,
        author: str,
        allow_empty: bool,
        rebases: bool,
        describe: Callable[[object, str], object] | None = None,
    ) -> None:
        self._describe = describe
        self.reader = reader
        self.branch = branch
        self.message = commits.check_message(message)
        self.commit: CommitHandle | None = None
        """What was made, after :meth:`save`."""
        self._execute = execute
        self._base = base
        self._is_new = is_new
        self._author = author
        self._allows_empty, self._rebases = allow_empty, rebases
        self._edits: dict[str, Blob | None] = {}
        self._tree = ""

    def __setitem__(self, location: str, value: object) -> None:
        """Put something at a location: a map of settings, or a description of data, code or an environment."""
        checked = check_location(location)
        described = value if self._describe is None else self._describe(value, self._tree_at(checked))
        self._edits[checked] = blob_of(described, f"what is put at {location!r:.200}")

    def _tree_at(self, location: str) -> str:
        """Return the root of the tree of data that is at a location, empty where there is none."""
        edit = self._edits.get(location)
        if edit is not None:
            return edit.tree
        found = self.reader.tree(self._base).get(location)
        root = None if found is None else found.get("tree")
        return root if isinstance(root, str) and is_digest(root) else ""

    def __delitem__(self, location: str) -> None:
        checked = check_location(location)
        if checked not in self:
            msg = f"there is nothing at {checked!r:.200} that could be removed"
            raise NotFoundError(msg)
        self._edits[checked] = None

    def __getitem__(self, location: str) -> Blob:
        checked = check_location(location)
        if checked not in self._edits and self._base is not None:
            return self.reader.blob(self._base, checked)
        found = self._edits.get(checked)
        if found is None:
            msg = f"there is nothing at {checked!r:.200}"
            raise NotFoundError(msg)
        return found

    def __contains__(self, location: object) -> bool:
        checked = check_location(location)
        if checked in self._edits:
            return self._edits[checked] is not None
        return self.reader.tree(self._base).get(checked) is not None

    def __iter__(self) -> Iterator[str]:
        kept = (each for each, _ in self.reader.tree(self._base).tree.items() if each not in self._edits)
        yield from kept
        yield from (location for location, value in self._edits.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def save(self) -> CommitHandle:
        """Make the commit and move the branch to it, both or neither.

        Raises:
            BranchMovedError: somebody else moved the branch meanwhile; :meth:`rebase` and save again.
            InvalidArgumentError: nothing was changed, or a location is to be a blob and a folder.
            ConditionsUnsupportedError: the store cannot decide who is first.
        """
        if self.commit is not None:
            msg = f"this commit was made already: {self.commit.digest[:12]}; begin another one"
            raise InvalidArgumentError(msg)
        for attempt in range(_ATTEMPTS if self._rebases else 1):
            try:
                return self._saved()
            except BranchMovedError:
                if not self._rebases or attempt + 1 == _ATTEMPTS:
                    raise
                self.rebase()
        raise AssertionError

    def _saved(self) -> CommitHandle:
        tree = self._tree or commits.edit_tree(self.reader, self._base, self._edits)
        before = self.reader.tree(self._base).tree.root
        if tree == before and not self._allows_empty:
            msg = f"the commit {self.message!r:.60} changes nothing; put something at a location, or allow an empty one"
            raise InvalidArgumentError(msg)
        operation = commits.commit(
            self.reader,
            tree,
            [] if self._base is None else [self._base],
            branch=self.branch,
            message=self.message,
            author=self._author,
            is_new=self._is_new,
        )
        commits.carry_out(self.reader, operation, self._execute)
        self.commit = CommitHandle(self.reader, self.reader.history.commit(operation.entity_id))
        return self.commit

    def rebase(self, resolution: Resolution | None = None) -> None:
        """Put the changes on the head that the branch has now.

        Raises:
            MergeConflictError: what was committed meanwhile changed the same; nothing is altered.
        """
        self.reader.refresh()
        head = self.reader.branches.get(self.branch)
        onto = None if head is None else self.reader.history.commit(head)
        tree = self._tree or commits.edit_tree(self.reader, self._base, self._edits)
        self._tree = merges.rebase(self.reader, tree, self._base, onto, resolution)
        self._base, self._is_new = onto, head is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and self.commit is None:
            self.save()

    def __repr__(self) -> str:
        return f"<CommitDraft {self.message!r:.60} on {self.branch!r}, {len(self._edits):,} changes>"
