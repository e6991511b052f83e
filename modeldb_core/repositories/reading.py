"""Reading a repository: which commit is meant, what it holds, what differs, and who changed what."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import string
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Commit, Repository, is_id
from modeldb_core.queries import Query, condition
from modeldb_core.repositories.ancestry import CommonState, History, Queue
from modeldb_core.repositories.blobs import Blob, from_entry
from modeldb_core.repositories.differences import Difference, difference
from modeldb_core.repositories.names import check_location, split_revision
from modeldb_core.repositories.parts import Part, Path, parts_of, text_of
from modeldb_core.repositories.states import same
from modeldb_core.stores import BlobInfo
from modeldb_core.trees import TreeStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.repositories.blobs import Entry
    from modeldb_core.repositories.states import Tree as ComparedTree
    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_core.trees import Tree

MIN_DIGITS = 4
"""Of the digest of a commit, to name it."""
MAX_LOOKED = 1000
"""So many commits are looked at for one page."""
MAX_CURSOR_BYTES = 1 << 20


class _InMemory:
    """Keeps the nodes of the tree without locations."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, stream: BinaryIO, /) -> BlobInfo:
        content = stream.read()
        digest = hashlib.sha256(content).hexdigest()
        self._contents[digest] = content
        return BlobInfo(digest, len(content))

    def open(self, digest: str, /) -> BinaryIO:
        return io.BytesIO(self._contents[digest])


class CommitTree:
    """The tree of a commit, as merging compares it."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def get(self, location: str) -> Entry | None:
        """Return the entry of a location, ``None`` where there is none."""
        return self.tree.get(location) if location in self.tree else None  # a node that is lost is no "there is none"

    def differences(self, other: ComparedTree, prefix: str = "") -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """Iterate over the locations that differ and begin so, with the entries here and there."""
        assert isinstance(other, CommitTree)
        for each in self.tree.diff(other.tree, prefix=prefix):
            if not same(each.before, each.after):
                yield each.location, each.before, each.after


@dataclass(frozen=True, slots=True)
class Origin:
    """Which commit gave a part of a blob the value that it has.

    Attributes:
        path: of the part.
        value: that it has.
        commit: the first one, of those that lead here, in which it has that value.
    """

    path: Path
    value: Any
    commit: Commit

    @property
    def name(self) -> str:
        """Where the part is, as people read it."""
        return text_of(self.path)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of a log; ``cursor`` gives the next one, ``None``: that was all."""

    commits: tuple[Commit, ...]
    cursor: str | None


class RepositoryReader:
    """A repository at the moment at which it was read; :meth:`refresh` reads its branches and tags again.

    Args:
        store: which holds its commits.
        artifacts: which holds their trees and contents.
        repository: the repository.
    """

    def __init__(self, store: MetadataStore, artifacts: ArtifactStore, repository: Repository) -> None:
        self.store, self.artifacts, self.repository = store, artifacts, repository
        self.history = History(store, repository.entity_id)
        self.trees = TreeStore(artifacts)
        self._empty: CommitTree | None = None

    def refresh(self) -> None:
        """Read branches and tags again."""
        found = self.store.get(Repository.KIND, self.repository.entity_id)
        assert isinstance(found, Repository)
        self.repository = found

    @property
    def branches(self) -> Mapping[str, str]:
        """The identifiers of the last commits of branches, by name."""
        return _texts(self.repository.branches)

    @property
    def tags(self) -> Mapping[str, str]:
        """The identifiers of commits by tag."""
        return _texts(self.repository.commit_tags)

    def commit(self, revision: str) -> Commit:
        """Return the commit that is meant by a branch, a tag, a digest or its beginning, or an identifier; ``~`` and ``^`` go back.

        Raises:
            NotFoundError: there is none.
            InvalidArgumentError: it names no commit, or several begin so.
        """
        base, steps = split_revision(revision)
        commit = self._named(base)
        for step in steps:
            if not 0 < step <= len(commit.parent_ids):
                before = {0: "is a first commit", 1: "has one commit before it"}.get(len(commit.parent_ids))
                has = before or f"has {len(commit.parent_ids)} commits before it"
                msg = f"{revision!r:.80} goes back too far: {commit.digest[:12]} {has}"
                raise NotFoundError(msg)
            commit = self.history.commit(commit.parent_ids[step - 1])
        return commit

    def _named(self, name: str) -> Commit:
        for named in (self.branches, self.tags):
            if name in named:
                return self.history.commit(named[name])
        if is_id(name):
            return self.history.commit(name)
        digits = name.lower()
        if MIN_DIGITS <= len(digits) <= 64 and set(digits) <= set(string.hexdigits):
            begun = condition("digest startswith ?", digits)
            query = Query(Commit.KIND, begun, within=self.repository.entity_id, limit=2, include_deleted=True)
            found = self.store.find(query).entities
            if len(found) > 1:
                msg = f"several commits begin with {digits!r}; give more digits"
                raise InvalidArgumentError(msg)
            if found:
                return self.history.know(cast("Commit", found[0]))
        known = sorted(self.branches) + sorted(self.tags)
        more = f"; there are {', '.join(known[:8])}{' …' if len(known) > 8 else ''}" if known else ", which is empty"
        msg = f"there is no branch, tag or commit {name!r:.80} in repository {self.repository.name!r:.80}{more}"
        raise NotFoundError(msg)

    # -- what commits hold ------------------------------------------------------------------------------------------------

    def tree(self, commit: Commit | None) -> CommitTree:
        """Return the tree of a commit; of none that without locations."""
        if commit is not None and commit.tree:
            return self.tree_at(commit.tree)
        if self._empty is None:
            self._empty = CommitTree(TreeStore(_InMemory()).build({}))  # reading writes nothing into the artifact store
        return self._empty

    def tree_at(self, root: str) -> CommitTree:
        """Return the tree of this root."""
        return CommitTree(self.trees.open(root))

    def blob(self, commit: Commit, location: str) -> Blob:
        """Return what a commit holds at a location.

        Raises:
            NotFoundError: it has none.
        """
        entry = self.tree(commit).get(checked := check_location(location))
        if entry is None:
            msg = f"commit {commit.digest[:12]} has nothing at {checked!r:.200}; `modeldb repo show` lists what it has"
            raise NotFoundError(msg)
        return self.read(entry)

    def read(self, entry: Entry) -> Blob:
        """Return the blob of an entry."""
        return from_entry(entry, self.artifacts.open)

    def differences(self, before: Commit | None, after: Commit | None, prefix: str = "") -> Iterator[Difference]:
        """Iterate over the locations that differ between two commits, below a folder or at a location where one is given."""
        for location, old, new in self.tree(before).differences(self.tree(after), prefix.rstrip("/")):
            if not prefix or location == prefix or location.startswith(f"{prefix.rstrip('/')}/"):
                yield difference(location, old, new, self.artifacts.open)

    def common_state(self) -> CommonState:
        """Return what finds the state from which two lines of work began."""
        return CommonState(
            self.history, lambda each: self.tree(self.history.commit(each)), self.tree(None), self.artifacts.open
        )

    # -- history -----------------------------------------------------------------------------------------------------------

    def log(self, commit: Commit, location: str = "") -> Iterator[Commit]:
        """Iterate over a commit and those before it, the newest first.

        Args:
            commit: where to begin.
            location: only commits that changed it: in which it is not what it is in any parent.
        """
        checked = check_location(location) if location else ""
        for each in self.history.walk([commit.entity_id]):
            if not checked or self._changes(each, checked):
                yield each

    def _changes(self, commit: Commit, location: str) -> bool:
        here = self.tree(commit).get(location)
        parents = [self.history.commit(each) for each in commit.parent_ids]
        if not parents:
            return here is not None
        return not any(same(here, self.tree(parent).get(location)) for parent in parents)

    def log_page(
        self, commit: Commit, location: str = "", *, cursor: str = "", limit: int = 100, look_at: int = MAX_LOOKED
    ) -> LogPage:
        """Return a page of :meth:`log`.

        Args:
            commit: where to begin.
            location: only commits that changed it.
            cursor: of the page before.
            limit: how many commits at most.
            look_at: how many commits are looked at for that: a page may hold few, or none, and go on all the same.

        Raises:
            InvalidArgumentError: that is not a cursor. NotFoundError: the repository lacks a commit that it names.
        """
        checked = check_location(location) if location else ""
        queue = Queue(self.history, load_cursor(cursor) if cursor else [commit.entity_id])
        found: list[Commit] = []
        while queue and len(found) < limit and look_at > 0:
            look_at -= 1
            each = queue.pass_on()
            if not checked or self._changes(each, checked):
                found.append(each)
        return LogPage(tuple(found), dump_cursor(queue.waiting()) if queue else None)

    def blame(self, commit: Commit, location: str) -> list[Origin]:
        """Return for each part of a blob which commit gave it the value that it has.

        Raises:
            NotFoundError: the commit has nothing there.
        """
        return self.blame_page(commit, location, look_at=sys.maxsize)[0]

    def blame_page(
        self, commit: Commit, location: str, *, look_at: int = MAX_LOOKED
    ) -> tuple[list[Origin], list[Origin]]:
        """Return :meth:`blame` as far as ``look_at`` commits say, and the parts that are older than that.

        The commits of the latter have the parts as they are now, and did not make them so, as far as anybody has looked: ask on
        from there.
        """
        blob = self.blob(commit, location)
        location = check_location(location)
        wanted = parts_of(blob)
        asked: dict[str, set[Path]] = {commit.entity_id: set(wanted)}
        found: dict[Path, Commit] = {}
        entries: dict[str, Entry | None] = {}
        parts: dict[str, Mapping[Path, Part]] = {}
        for each in islice(self.history.walk([commit.entity_id]), look_at):
            paths = asked.pop(each.entity_id, set())
            for parent_id in each.parent_ids if paths else ():
                handed = self._kept(each.entity_id, parent_id, location, paths, entries, parts)
                if handed:
                    asked.setdefault(parent_id, set()).update(handed)
                    paths -= handed
            found.update(dict.fromkeys(paths, each))
            if len(found) == len(wanted):
                break
        older = {path: self.history.commit(commit_id) for commit_id, paths in asked.items() for path in paths}
        return _origins(wanted, found), _origins(wanted, older)

    def _kept(
        self,
        commit_id: str,
        parent_id: str,
        location: str,
        paths: set[Path],
        entries: dict[str, Entry | None],
        parts: dict[str, Mapping[Path, Part]],
    ) -> set[Path]:
        """Return which parts of a blob are in a parent what they are in a commit."""
        for each in (commit_id, parent_id):
            if each not in entries:
                entries[each] = self.tree(self.history.commit(each)).get(location)
        if same(entries[commit_id], entries[parent_id]):
            return set(paths)
        for each in (commit_id, parent_id):
            if each not in parts:
                entry = entries[each]
                parts[each] = parts_of(None if entry is None else self.read(entry))
        here, there = parts[commit_id], parts[parent_id]
        return {path for path in paths if path in there and there[path].written == here[path].written}


def _origins(parts: Mapping[Path, Part], commits: Mapping[Path, Commit]) -> list[Origin]:
    return [Origin(path, parts[path].value, commits[path]) for path in sorted(commits)]


def dump_cursor(commit_ids: Sequence[str]) -> str:
    """Return the commits from which a log goes on as a text for addresses."""
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(list(commit_ids)).encode(), 9)).decode()


def load_cursor(text: str) -> list[str]:
    """Return the commits that a cursor of a log names.

    Raises:
        InvalidArgumentError: it is not one.
    """
    with suppress(ValueError, zlib.error, RecursionError):
        packed = zlib.decompressobj()
        found = json.loads(packed.decompress(base64.urlsafe_b64decode(text), MAX_CURSOR_BYTES))
        if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
            return found
    msg = f"cursor {text!r:.80} is not one that a page of this log gave; begin without one"
    raise InvalidArgumentError(msg)


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the entries that are texts: what somebody else recorded may be anything."""
    return {name: value for name, value in found.items() if isinstance(value, str)}
