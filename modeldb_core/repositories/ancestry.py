"""Walking from commits to those before them, and finding what two lines of work have in common."""

from __future__ import annotations

import hashlib
import heapq
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.errors import NotFoundError
from modeldb_core.model.entities import Commit
from modeldb_core.queries import Linked, Query
from modeldb_core.repositories.blobs import to_entry
from modeldb_core.repositories.merging import Merger
from modeldb_core.repositories.states import State, Tree, changes_between
from modeldb_core.stores import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modeldb_core.repositories.blobs import Blob, Entry
    from modeldb_core.stores import MetadataStore

MAX_CROSSINGS = 20
"""So often are common states that are several merged into one; further back, what they do not agree on is undecided."""
_MOST_AT_ONCE = 64
_PAGE = 1000
_OURS, _THEIRS, _STALE = 1, 2, 4


class History:
    """The commits of one repository; each is read once.

    Args:
        store: which holds them.
        repository_id: the repository. Commits of another one are not found.
    """

    def __init__(self, store: MetadataStore, repository_id: str) -> None:
        self._store = store
        self._repository_id = repository_id
        self._commits: dict[str, Commit] = {}
        self._at_once = 1

    def commit(self, commit_id: str) -> Commit:
        """Return a commit.

        Raises:
            NotFoundError: the repository has none of this identifier.
        """
        if commit_id not in self._commits:
            self._read(commit_id)
        return self._commits[commit_id]

    def _read(self, commit_id: str) -> None:
        try:
            found = self._store.get(Commit.KIND, commit_id)
        except NotFoundError:
            found = None
        if not isinstance(found, Commit) or found.repository_id != self._repository_id:
            msg = f"the repository has no commit {commit_id!r:.80}"
            raise NotFoundError(msg)
        self._commits[commit_id] = found
        # The more was needed before, the more is fetched ahead: a commit or two in a question, a long history in a few.
        if self._at_once > 1 and found.parent_ids and "linked" in self._store.understands:
            back = Linked(Commit.KIND, commit_id, "from", "parent_ids", self._at_once)
            query = Query(Commit.KIND, linked=back, limit=_PAGE, include_deleted=True)
            for each in self._store.find(query).entities:
                if isinstance(each, Commit) and each.repository_id == self._repository_id:
                    self._commits.setdefault(each.entity_id, each)
        self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)

    def walk(self, commit_ids: Iterable[str]) -> Iterator[Commit]:
        """Iterate over commits and all those before them, the newest first, and none before one that builds on it."""
        queue = Queue(self, commit_ids)
        while queue:
            yield queue.pass_on()

    def know(self, commit: Commit) -> Commit:
        """Take a commit of the repository that was read elsewhere, so that it is not read again."""
        return self._commits.setdefault(commit.entity_id, commit)

    def merge_bases(self, ours: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
        """Return the best common ancestors: common to both sides, and before no other such one; the newest first.

        Histories that crossed (each side merged the other) have several, unrelated ones none.
        """
        marks: dict[str, int] = {}
        queue = Queue(self)
        for commit_ids, mark in ((ours, _OURS), (theirs, _THEIRS)):
            for commit_id in commit_ids:
                marks[commit_id] = marks.get(commit_id, 0) | mark
                queue.add(commit_id)
        found: list[str] = []
        waiting = set(marks)  # in the queue, and not known to lie before a common ancestor
        while queue and waiting:
            commit = queue.take()
            waiting.discard(commit.entity_id)
            mark = marks[commit.entity_id]
            if mark & (_OURS | _THEIRS) == _OURS | _THEIRS and not mark & _STALE:
                found.append(commit.entity_id)
                mark |= _STALE
            for parent in commit.parent_ids:
                marks[parent] = marks.get(parent, 0) | mark
                if queue.add(parent) or parent in waiting:
                    (waiting.discard if marks[parent] & _STALE else waiting.add)(parent)
        return tuple(found)

    def is_before(self, commit_id: str, other_id: str) -> bool:
        """Return whether a commit is another one, or lies before it."""
        return self.is_before_any(commit_id, [other_id])

    def is_before_any(self, commit_id: str, other_ids: Iterable[str]) -> bool:
        """Return whether a commit is one of others, or lies before one: in one walk, however many others there are."""
        return self.merge_bases([commit_id], other_ids) == (commit_id,)


class Queue:
    """Commits that are still to be looked at, each once: the one with the longest way behind it first.

    Those that were taken all have at least as long a way behind them as those that wait, so none of them lies before one that
    waits: whoever stops can go on later from :meth:`waiting` alone.
    """

    def __init__(self, history: History, commit_ids: Iterable[str] = ()) -> None:
        self._history = history
        self._heap: list[tuple[int, float, str]] = []
        self._seen: set[str] = set()
        for commit_id in commit_ids:
            self.add(commit_id)

    def add(self, commit_id: str) -> bool:
        """Add a commit unless it was added before; return whether it was added."""
        if commit_id in self._seen:
            return False
        self._seen.add(commit_id)
        commit = self._history.commit(commit_id)
        at = 0.0 if commit.created_at is None else commit.created_at.timestamp()
        heapq.heappush(self._heap, (-commit.generation, -at, commit_id))
        return True

    def take(self) -> Commit:
        """Remove the first and return it."""
        return self._history.commit(heapq.heappop(self._heap)[2])

    def pass_on(self) -> Commit:
        """Remove the first, let those before it wait, and return it."""
        commit = self.take()
        for parent in commit.parent_ids:
            self.add(parent)
        return commit

    def waiting(self) -> list[str]:
        """Return the identifiers of those that wait, the first first."""
        return [commit_id for *_, commit_id in sorted(self._heap)]

    def __bool__(self) -> bool:
        return bool(self._heap)


@dataclass(frozen=True, slots=True)
class CommonState:
    """Finds the state from which two lines of work began.

    Where there are several best common ancestors, they are merged into one state first, from what they have in common in turn
    (docs/decisions/0137). What they do not agree on is undecided: there the sides agree, or are in conflict.

    Attributes:
        history: of the repository.
        tree_of: returns the tree of a commit.
        empty: the tree without locations, for histories that have nothing in common.
        open_blob: reads contents.
    """

    history: History
    tree_of: Callable[[str], Tree]
    empty: Tree
    open_blob: Callable[[str], BinaryIO]
    _scratch: dict[str, bytes] = field(default_factory=dict)

    def of(self, ours: Iterable[str], theirs: Iterable[str], *, crossings: int = 0) -> State:
        """Return the common state of two lines of work, each given by its last commits."""
        bases = self.history.merge_bases(ours, theirs)
        if not bases:
            return State(self.empty)
        state = State(self.tree_of(bases[0]))
        merger = Merger(self.open, self._write)
        for count, other_id in enumerate(bases[1:], start=1):
            other = State(self.tree_of(other_id))
            if crossings >= MAX_CROSSINGS:
                undecided = frozenset(changes_between(state, other))
            else:
                base = self.of(bases[:count], [other_id], crossings=crossings + 1)
                merged = merger.merge(changes_between(base, state), changes_between(base, other))
                state = State(state.tree, {**state.altered, **merged.edits}, state.undecided)
                undecided = frozenset(each.location for each in merged.conflicts)
            state = State(state.tree, state.altered, state.undecided | undecided)
        return state

    def open(self, digest: str) -> BinaryIO:
        """Return a content, also one that merging common ancestors made, which is stored nowhere."""
        return io.BytesIO(self._scratch[digest]) if digest in self._scratch else self.open_blob(digest)

    def _write(self, blob: Blob) -> Entry:
        return to_entry(blob, self._keep)

    def _keep(self, stream: BinaryIO) -> BlobInfo:
        data = stream.read()
        digest = hashlib.sha256(data).hexdigest()
        self._scratch[digest] = data
        return BlobInfo(digest, len(data))
