"""The contract of stores of runs.

``docs/backends.md`` walks through an implementation; ``modeldb_core.testing`` proves one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from typing import TYPE_CHECKING, Any, Self

from modeldb_core.errors import NotFoundError, QueryUnsupportedError
from modeldb_core.log.changes import EMPTY_HEAD, is_understood
from modeldb_core.model.values import decode
from modeldb_core.queries import Query, condition, find_groups
from modeldb_core.stores.naming import identify
from modeldb_core.stores.pages import ChangePage, TouchPage, touch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.plots import Canvas, Plot
    from modeldb_core.log.points import Series
    from modeldb_core.model.claims import Claim
    from modeldb_core.model.entities import Document, Entity
    from modeldb_core.queries import GroupPage
    from modeldb_core.stores.pages import KeyInfo, Page


PARTS_ADDED_TO_QUERY = frozenset({"linked", "linked_several", "offset", "within_several"})
"""The parts of a :class:`~modeldb_core.queries.Query` that stores of version 1 of the contract do not look at."""


class MetadataStore(ABC):
    """Applies changes and answers questions.

    All methods may be called from any thread at once, and any number of processes may have the same store open. What is
    returned is immutable. Times are microseconds since 1970-01-01 UTC unless they are datetimes. Every method raises
    :class:`~modeldb_core.errors.StoreUnavailableError` while the store cannot be reached, and no exception of a driver.
    """

    url: str
    """Where the store is, without secrets."""

    is_local: bool = False
    """Whether a question costs no trip over the network: callers then need not remember the answers."""

    is_partial: bool = False
    """Whether payloads are withheld from its log: it can be read and verified, and nothing copies it or cleans up by it."""

    user: str = ""
    """In whose name alone this store takes changes, where it knows who asks; empty: it believes the actor of a change."""

    understands: frozenset[str] = frozenset()
    """Which of :data:`PARTS_ADDED_TO_QUERY` this store heeds; a query with another one is refused before it is asked.

    One that looks within several containers also says of every entity in which workspace and project it lies: without
    that nobody can be shown a part of a store.
    """

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 - whatever a class takes
        # A store that does not know a part of the query would answer as if nobody had asked for it: with what the
        # caller meant to leave out. No matter who calls it, and how, the refusal has to come first.
        super().__init_subclass__(**options)
        for name in ("find", "find_keys") if cls.understands != PARTS_ADDED_TO_QUERY else ():
            method = getattr(cls, name)  # including one inherited from a class that is not a store
            if not getattr(method, "__isabstractmethod__", False) and not hasattr(method, _REFUSES):
                setattr(cls, name, _refusing(method))

    @abstractmethod
    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        """Record ``changes`` and let the answers show them: all or nothing, and durably before it returns.

        Changes may belong to several streams; those of one stream come in order. A change that the store has seen
        (same stream, same number, same hash) is skipped, so a batch may be sent again after any failure. Where two
        entities claim a value that must be unique, the changes that settle it are recorded with them
        (:mod:`modeldb_core.log.settling`).

        Args:
            changes: what happened.
            expect: what must hold at the instant of applying, of what is stored before. A batch that the store has
                seen, all of it, is acknowledged without looking at them. The numbers of a batch that was refused are
                free; after an unknown outcome (no answer came) the writer looks at :meth:`heads`, or begins a new
                stream.

        Raises:
            PreconditionError: one of the conditions does not hold; it says which one, and what was found. Nothing is
                applied.
            ConditionsUnsupportedError: there are conditions, and the store cannot decide (:attr:`decides`).
            ConflictError: another change is stored under the same stream and number. Nothing of the batch is applied.
            StreamGapError: a number is missing before one of the changes. Nothing of the batch is applied.
            IntegrityError: a change does not match its hash, or not the one before it. Nothing is applied.
            StoreReadOnlyError: this process may not write the store.
        """

    @property
    def decides(self) -> bool:
        """Whether :meth:`apply` takes conditions; finding out may ask the store."""
        return False

    def prepare_to_write(self) -> None:  # noqa: B027 - most stores have nothing to do
        """Import what :meth:`apply` needs; nobody is asked, and nothing waits.

        Called by the thread that logs first. A thread in the background would wait for its turn at each import, for as
        long as the program computes.
        """

    def check_usable(self, *, to_write: bool = False) -> None:
        """See that the store answers now, and that this version of ModelDB may use it as it is now.

        Args:
            to_write: whether changes are to be applied too.

        Raises:
            StoreUnavailableError: it does not answer.
            StoreVersionError: its tables are those of a version that this one cannot read, or not write.
        """
        del to_write
        self.find(Query(kind="workspace", limit=1, fields=()))

    def refresh_rows(self) -> int:
        """Make again what searches go by, where code that knew less has made it; return of how many entities.

        Nothing is to be done in a store that works its answers out of what it knows when it is asked. Stores that may be
        written do it by themselves with the first :meth:`apply`.
        """
        return 0

    @abstractmethod
    def get(self, kind: str, entity_id: str) -> Entity:
        """Return an entity, deleted ones too.

        Raises:
            NotFoundError: there is none of that kind with that identifier.
            ErasedError: (a NotFoundError) it was deleted, and all that was said of it was erased since: its document
                is bare (:func:`~modeldb_core.model.evolve.is_bare`), and it has no points.
        """

    @abstractmethod
    def find(self, query: Query) -> Page:
        """Return the entities that ``query`` matches, one page of them. Erased ones match nothing.

        Raises:
            QuerySyntaxError: the filter or the order does not parse, or the cursor is not one of this query's.
            QueryUnsupportedError: the store does not understand a part of the query (:attr:`understands`).
        """

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        """Return the identifiers under which containers are declared: those of the ones that have the names.

        Where nobody has a name, it is the identifier that follows from it, or where that one was renamed, the next that
        does (:mod:`modeldb_core.stores.naming`). A store may answer faster than by :meth:`find`.

        Args:
            path: kinds and names, each container within the one before: ``("workspace", "default"), ("project", "churn")``.
        """

        def holder(claim: Claim) -> str | None:
            query = Query(
                claim.kind, condition("name = ?", str(decode(claim.value))), within=claim.scope or None, limit=1
            )
            return next((entity.entity_id for entity in self.find(query).entities), None)

        def document(kind: str, entity_id: str) -> Document | None:
            try:
                return dict(self.get(kind, entity_id).document)
            except NotFoundError:
                return None

        return identify(path, holder, document)

    def find_few(self, kind: str, field: str, target_id: str, *, most: int) -> Sequence[Entity] | None:
        """Return the entities of a kind that name ``target_id`` in a reference, deleted ones too; ``None``: ask :meth:`find`."""
        del kind, field, target_id, most
        return None

    def write_mark(self) -> object:
        """Return what differs from an earlier mark of this store once anybody has written since.

        ``None``, as a rule: that cannot be told without asking. Where it can, callers remember answers for as long as
        the mark that they took before asking is the same.
        """
        return None

    @abstractmethod
    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        """Return the keys that the entities matched by ``query``'s filter carry, the most frequent first.

        Order, fields, cursor and offset of the query are not looked at; at most ``query.limit`` keys of each section come back.
        Of many entities that a filter matches, a store may look at the newest alone, and says so (:attr:`KeyInfo.sample`).
        """

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        """Return the groups that the entities matched by ``query`` make by the value of a field, the largest first.

        Args:
            query: for entities; its limit and offset are those of groups, its order, fields, cursor and count do not count.
            by: the field, such as ``hyperparameters.depth`` or ``status``; no tags, and no names of containers.
            measures: fields whose numbers are summed up in each group, at most ``MAX_MEASURES``.

        Raises:
            QuerySyntaxError: no groups can be made by a field, or it cannot be measured.
        """
        return find_groups(self, query, by, measures)

    @abstractmethod
    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        """Return the points that were logged under ``key``.

        Args:
            steps: only points with first <= step <= last.
            max_points: thin out to at most this many, ordered by step, keeping every extreme
                (:func:`~modeldb_core.log.points.thin_out`). Without it: all points in the order of logging; where several
                streams wrote, by time.

        Raises:
            NotFoundError: the run has no such series.
        """

    def plot_series(self, run_id: str, key: str, canvas: Canvas) -> Plot:
        """Return what there is to draw of the points that were logged under ``key``.

        It is :func:`modeldb_core.log.plots.draw` of the series. A store that keeps summaries of parts of a series may
        answer from those: what it returns differs in nothing but the rounding of means.

        Raises:
            NotFoundError: the run has no such series.
        """
        from modeldb_core.log.plots import draw

        return draw(self.read_series(run_id, key, steps=canvas.steps), canvas)

    @abstractmethod
    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        """Return changes in the order of their arrival: for audit, replication and live views.

        Args:
            after: a cursor; 0 for the beginning.
            limit: at most this many.
            entity_id: only changes of this entity.
            stream_id: only changes of this stream.
        """

    def read_touches(self, *, after: int = 0, limit: int = 1000) -> TouchPage:
        """Return what the changes are about that :meth:`read_changes` returns for the same arguments: for live views.

        A store may answer faster than by reading the changes: nobody looks at what they say, such as their points.
        """
        page = self.read_changes(after=after, limit=limit)
        return TouchPage(tuple(map(touch_of, page.changes)), page.cursor)

    def end_of_log(self) -> int:
        """Return the cursor after the last change: whatever is written from now on comes after it.

        A store may know it; here it is found in about 2 log2(n) reads of one change each.
        """
        step = 1
        while self.read_touches(after=step, limit=1).touches:
            step *= 2
        low, high = 0, step  # nothing lies after high
        while low < high:
            middle = (low + high) // 2
            if self.read_touches(after=middle, limit=1).touches:
                low = middle + 1
            else:
                high = middle
        return low

    def carries(self) -> bool:
        """Return whether there are changes of kinds, or with actions, that this code does not know.

        What they say nobody can tell, but the files that they mention are not garbage.
        """
        after = 0
        while (page := self.read_changes(after=after)).changes:
            if not all(map(is_understood, page.changes)):
                return True
            after = page.cursor
        return False

    @abstractmethod
    def heads(self) -> Mapping[str, Head]:
        """Return what has arrived of every stream."""

    def head(self, stream_id: str) -> Head:
        """Return what has arrived of one stream; the number of its last change is 0 where that is nothing.

        As a rule a store answers it without going through those of all streams.
        """
        return self.heads().get(stream_id, EMPTY_HEAD)

    def heads_after(self, stream_id: str, limit: int = 1000) -> Mapping[str, Head]:
        """Return what has arrived of the next streams, in the order of their identifiers (by code points).

        Who goes on after the last one of a page until one is empty has seen every stream of which something had arrived
        when that began. A store may answer without going through all of them.

        Args:
            stream_id: where the page begins: after this identifier; the empty text begins with the first.
            limit: at most so many.
        """
        behind = sorted((name, head) for name, head in self.heads().items() if name > stream_id)
        return dict(behind[: max(limit, 0)])

    @abstractmethod
    def close(self) -> None:
        """Release files and connections. Calling it twice is not an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_REFUSES = "_modeldb_refuses"
"""The attribute of the methods that :func:`_refusing` has made."""


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a store that refuses queries of which the store does not understand a part."""

    @wraps(method)
    def ask(store: MetadataStore, query: Query, *more: Any, **options: Any) -> Any:  # noqa: ANN401 - as the method has it
        for part in PARTS_ADDED_TO_QUERY - store.understands:
            if getattr(query, part):
                msg = (
                    f"{store.url} does not understand {part!r} of a query, and would answer as if it were not there; "
                    f"update the plugin that provides it, or copy it into another store (modeldb copy)"
                )
                raise QueryUnsupportedError(msg)
        return method(store, query, *more, **options)

    setattr(ask, _REFUSES, True)
    return ask
