"""The result of a search for runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from modeldb_core.errors import ModelDBError
from modeldb_core.log import display
from modeldb_core.model.entities import Run
from modeldb_core.model.schema import KINDS
from modeldb_core.queries.query import MAX_LIMIT
from modeldb_core.tracking import deletion
from modeldb_core.tracking.editing import RunEditor

if TYPE_CHECKING:
    from modeldb_core.queries.query import Query
    from modeldb_core.tracking.session import Session

FIRST_PAGE = 100
_PAGE = 1_000  # of the rest: whole runs, of which a server does not send more at once either


R = TypeVar("R", bound=RunEditor)


class Runs(Sequence[R]):
    """The runs that a search found, in the order asked for: all of them, or the first ``limit``.

    The first page is read at once, the rest when it is needed: for iterating, ``len``, an index, a table.
    """

    def __init__(self, client: Session, query: Query, limit: int | None, handle: Callable[[Run], R]) -> None:
        self._handle = handle
        self._client = client
        self._query = query
        self._limit = limit
        self._found: list[Run] = []
        self._cursor: str | None = query.cursor
        self._is_complete = False
        self._total: int | None = None
        self._read(FIRST_PAGE if limit is None else limit)

    @property
    def entities(self) -> tuple[Run, ...]:
        """The runs as the store has them."""
        return tuple(self._all())

    @property
    def total(self) -> int:
        """How many runs match in all, whatever the limit."""
        if self._total is None:
            if self._is_complete and self._cursor is None and self._query.cursor is None:
                self._total = len(self._found)
            else:
                page = self._client.store.find(replace(self._query, limit=0, cursor=None, count=True))
                self._total = page.total or 0
        return self._total

    @property
    def cursor(self) -> str | None:
        """Where the runs after the limit begin; ``None`` where there are none."""
        self._all()
        return self._cursor

    def next_page(self) -> Runs[R] | None:
        """Return the runs after the first ``limit``, as many again; ``None`` where there are none."""
        if self.cursor is None:
            return None
        return Runs(self._client, replace(self._query, cursor=self.cursor, count=False), self._limit, self._handle)

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return bool(self._found)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Return one run, or a list of some."""
        if isinstance(index, slice):
            return [self._handle(entity) for entity in self._all()[index]]
        while 0 <= index >= len(self._found) and not self._is_complete:
            self._read(_PAGE)
        return self._handle((self._found if index >= 0 else self._all())[index])

    def __iter__(self) -> Iterator[R]:
        at = 0
        while at < len(self._found) or not self._is_complete:
            if at == len(self._found):
                self._read(_PAGE)
                continue
            yield self._handle(self._found[at])
            at += 1

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """Return a DataFrame with a row for each run.

        Columns, named as in queries: run_id, name, project and experiment (their names), then the others that runs have
        (``docs/queries.md``; times are UTC, duration is in seconds), owner and tags; then ``metrics.<key>``,
        ``hyperparameters.<key>`` and ``attributes.<key>``, for every key that any of the runs has, those that ModelDB
        measured itself (``modeldb/…``) last. Maps are spread over columns (``hyperparameters.optimizer.lr``); lists stay
        as they are.
        """
        from modeldb_core.log.frames import Table

        names = self._client.container_names(self._all())
        declared = KINDS[Run.KIND]
        own = [name for name in declared.shown if name in declared.stored and name not in declared.common]
        records = [_record(run, names, own) for run in self._all()]
        columns = dict.fromkeys(key for row in records for key in row)
        listed = sorted(
            columns, key=lambda column: display.is_own(column.partition(".")[2])
        )  # stable: as they come, ModelDB's own last
        return Table.from_records(records, columns=listed)

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
        return deletion.delete_runs(self._client, [run.entity_id for run in self._all()], recursive=recursive)

    def restore(self) -> int:
        """Bring the runs back after :meth:`delete`; return how many entities came.

        Raises: see :meth:`RunHandle.restore`.
        """
        return deletion.restore_runs(self._client, [run.entity_id for run in self._all()])

    def _each(self, change: Callable[[R], object]) -> int:
        runs = list(self)  # before any is changed: what is changed may match no longer
        for run in runs:
            change(run)
        return len(runs)

    def __repr__(self) -> str:
        read = len(self._found)
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

    def _all(self) -> list[Run]:
        while not self._is_complete:
            self._read(_PAGE)
        return self._found

    def _read(self, count: int) -> None:
        left = count if self._limit is None else min(count, self._limit - len(self._found))
        is_first = not self._found
        query = replace(self._query, cursor=self._cursor, limit=min(left, MAX_LIMIT))
        page = self._client.store.find(query if is_first else replace(query, count=False))
        self._found.extend(entity for entity in page.entities if isinstance(entity, Run))
        self._cursor = page.cursor
        if is_first and page.total is not None:
            self._total = page.total
        self._is_complete = page.cursor is None or (self._limit is not None and len(self._found) >= self._limit)


def _record(run: Run, names: Mapping[str, str], own: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "run_id": run.entity_id,
        "name": run.name,
        "project": names.get(run.project_id),
        "experiment": names.get(run.experiment_id),
    }
    record.update((name, getattr(run, name)) for name in own)
    record.update(duration=run.duration_s, owner=run.owner, tags=list(run.tags))
    for section in KINDS[run.KIND].listed:
        for key, value in display.flat(getattr(run, section)):
            record.setdefault(f"{section}.{key}", value)
    return record
