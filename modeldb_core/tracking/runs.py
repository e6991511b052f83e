"""The result of a search for runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from modeldb_core.errors import ModelDBError
from modeldb_core.log import display
from modeldb_core.model.entities import Run
from modeldb_core.queries.literals import condition, portions
from modeldb_core.tracking.editing import RunEditor
from modeldb_core.tracking.run_table import RunTable

if TYPE_CHECKING:
    from modeldb_core.queries.query import Query
    from modeldb_core.tracking.session import Session

FIRST_PAGE = 100
_PAGE = 1_000  # of the rest: whole runs, of which a server does not send more at once either
_KEPT = 5_000  # runs: some 20 MB where each has 35 values

R = TypeVar("R", bound=RunEditor)


class Runs(Sequence[R]):
    """The runs that a search found, in the order asked for: all of them, or the first ``limit``.

    The first page is read at once, the rest when it is needed: for iterating, ``len``, an index, a table. Of many runs the
    first 5,000 are kept as they were found. Of those after them only identifiers are kept, so that going through all runs
    of a store takes no more memory than going through some: looked at once more, they are the same runs as they are then.
    """

    def __init__(self, client: Session, query: Query, limit: int | None, handle: Callable[[Run], R]) -> None:
        self._handle = handle
        self._client = client
        self._query = query
        self._limit = limit
        self._found: list[Run] = []  # the first ones
        self._later_ids: list[str] = []  # of those after them
        self._page: tuple[int, list[Run]] = (0, [])  # some of those: the place of the first one among all, and them
        self._cursor: str | None = query.cursor
        self._is_complete = False
        self._total: int | None = None
        self._read(FIRST_PAGE if limit is None else min(limit, _PAGE))

    @property
    def entities(self) -> tuple[Run, ...]:
        """The runs as the store has them."""
        return tuple(run for page in self._pages() for run in page)

    @property
    def total(self) -> int:
        """How many runs match in all, whatever the limit."""
        if self._total is None:
            if self._is_complete and self._cursor is None and self._query.cursor is None:
                self._total = self._count
            else:
                page = self._client.store.find(replace(self._query, limit=0, cursor=None, count=True))
                self._total = page.total or 0
        return self._total

    @property
    def cursor(self) -> str | None:
        """Where the runs after the limit begin; ``None`` where there are none."""
        self._read_all()
        return self._cursor

    def next_page(self) -> Runs[R] | None:
        """Return the runs after the first ``limit``, as many again; ``None`` where there are none."""
        if self.cursor is None:
            return None
        return Runs(self._client, replace(self._query, cursor=self.cursor, count=False), self._limit, self._handle)

    def __len__(self) -> int:
        self._read_all()
        return self._count

    def __bool__(self) -> bool:
        return bool(self._found)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Return one run, or a list of some."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index if index >= 0 else len(self) + index
        found = self._from(at) if at >= 0 else []
        if not found:
            msg = f"there is no run {index}; there are {self._count:,}"
            raise IndexError(msg)
        return self._handle(found[0])

    def __iter__(self) -> Iterator[R]:
        for page in self._pages():
            yield from map(self._handle, page)

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """Return a DataFrame with a row for each run.

        Columns, named as in queries: run_id, name, project and experiment (their names), then the others that runs have
        (``docs/queries.md``; times are UTC, duration is in seconds), owner and tags; then ``metrics.<key>``,
        ``hyperparameters.<key>`` and ``attributes.<key>``, for every key that any of the runs has, those that ModelDB
        measured itself (``modeldb/…``) last. Maps are spread over columns (``hyperparameters.optimizer.lr``); lists stay
        as they are.
        """
        from modeldb_core.log.frames import Table

        table = RunTable()
        for page in self._pages():
            table.add(page)
        return Table(table.columns(self._client.container_names(table.container_ids)))

    # -- changing all of them ------------------------------------------------------------------------------------------

    def rename(self, name: str | Callable[[R], str]) -> int:
        """Rename the runs: all to ``name``, or each to what a function of its handle returns; return how many."""
        return self._each(lambda run: run.rename(name(run) if callable(name) else name))

    def describe(self, description: str) -> int:
        """Describe the runs in words; return how many."""
        return self._each(lambda run: run.set_description(description))

    def tag(self, *tags: str) -> int:
        """Add labels to the runs; return how many runs there are."""
        return self._each(lambda run: run.add_tags(*tags))

    def untag(self, *tags: str) -> int:
        """Take labels away from the runs; return how many runs there are."""
        return self._each(lambda run: run.remove_tags(*tags))

    add_tags, remove_tags, set_description = tag, untag, describe

    def set_attributes(self, attributes: object) -> int:
        """Record facts about the runs; return how many."""
        return self._each(lambda run: run.set_attributes(attributes))

    def delete(self, *, recursive: bool = False) -> int:
        """Put the runs out of sight, all or none; return how many entities went, comments included.

        Raises: see :meth:`RunHandle.delete`.
        """
        from modeldb_core.tracking import deletion

        return deletion.delete_runs(self._client, self._run_ids(), recursive=recursive)

    def restore(self) -> int:
        """Bring the runs back after :meth:`delete`; return how many entities came.

        Raises: see :meth:`RunHandle.restore`.
        """
        from modeldb_core.tracking import deletion

        return deletion.restore_runs(self._client, self._run_ids())

    def _each(self, change: Callable[[R], object]) -> int:
        self._read_all()  # before any is changed: what is changed may match no longer
        for run in self:
            change(run)
        return self._count

    def __repr__(self) -> str:
        read = self._count
        try:
            total = self.total
        except ModelDBError:  # the store is away: a debugger or a notebook shows what is here
            return f"<first {read:,} runs; the store does not say how many there are>"
        if read == total or self._query.cursor is not None:
            return f"<{read:,} run{'' if read == 1 else 's'}>"
        rest = "the others are read when they are needed" if self._limit is None else "as limit says"
        return f"<first {read:,} of {total:,} runs; {rest}>"

    def _repr_html_(self) -> str:
        return display.runs_html(self._found, self.total)

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _count(self) -> int:
        """How many were read."""
        return len(self._found) + len(self._later_ids)

    def _run_ids(self) -> list[str]:
        self._read_all()
        return [*(run.entity_id for run in self._found), *self._later_ids]

    def _pages(self) -> Iterator[list[Run]]:
        """Iterate over all runs, some at a time."""
        at = 0
        while page := self._from(at):
            yield page
            at += len(page)

    def _from(self, at: int) -> list[Run]:
        """Return some runs in order, from the one at place ``at`` on; none where none is left."""
        while at >= self._count and not self._is_complete:
            self._read(_PAGE)
        kept = len(self._found)
        if at < kept:
            return self._found[at : at + _PAGE]
        if at >= self._count:
            return []
        first, page = self._page
        if not first <= at < first + len(page):
            first = at - (at - kept) % _PAGE
            page = self._again(self._later_ids[first - kept : first - kept + _PAGE])
            self._page = (first, page)
        return page[at - first :]

    def _again(self, run_ids: Sequence[str]) -> list[Run]:
        """Read runs that were found, whether they match any longer or not."""
        found: dict[str, Run] = {}
        for some in portions(run_ids):
            these = replace(
                self._query,
                filter=condition("run_id in ?", some),
                order_by="",
                cursor=None,
                limit=len(some),
                count=False,
                within=None,
                include_deleted=True,
            )
            found.update(
                (run.entity_id, run) for run in self._client.store.find(these).entities if isinstance(run, Run)
            )
        # Of one that was erased nothing but the identifier is left.
        return [found.get(run_id) or Run(entity_id=run_id) for run_id in run_ids]

    def _read_all(self) -> None:
        while not self._is_complete:
            self._read(_PAGE)

    def _read(self, count: int) -> None:
        left = count if self._limit is None else min(count, self._limit - self._count)
        is_first = not self._count
        query = replace(self._query, cursor=self._cursor, limit=left)
        page = self._client.store.find(query if is_first else replace(query, count=False))
        runs = [entity for entity in page.entities if isinstance(entity, Run)]
        if self._count + len(runs) <= _KEPT:
            self._found += runs
        else:
            self._page = (self._count, runs)
            self._later_ids += (run.entity_id for run in runs)
        self._cursor = page.cursor
        if is_first and page.total is not None:
            self._total = page.total
        self._is_complete = page.cursor is None or (self._limit is not None and self._count >= self._limit)
