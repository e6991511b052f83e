"""The result of a search for runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from modeldb_core import display
from modeldb_core.entities import Run
from modeldb_core.tracking.run import RunHandle

if TYPE_CHECKING:
    from modeldb_core.queries.query import Query
    from modeldb_core.stores import Page
    from modeldb_core.tracking.client import Client


class Runs(Sequence[RunHandle]):
    """Some of the runs that a search found, in the order asked for.

    Attributes:
        total: how many match in all, where the search asked for ``count``.
        cursor: where the next page begins; ``None`` where this is the last.
    """

    def __init__(self, client: Client, query: Query, page: Page) -> None:
        self._client = client
        self._query = query
        self.entities = tuple(entity for entity in page.entities if isinstance(entity, Run))
        self.total = page.total
        self.cursor = page.cursor

    def __len__(self) -> int:
        return len(self.entities)

    @overload
    def __getitem__(self, index: int) -> RunHandle: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunHandle]: ...
    def __getitem__(self, index: int | slice) -> RunHandle | list[RunHandle]:
        """Return one run, or a list of some."""
        if isinstance(index, slice):
            return [self._handle(entity) for entity in self.entities[index]]
        return self._handle(self.entities[index])

    def __iter__(self) -> Iterator[RunHandle]:
        return (self._handle(entity) for entity in self.entities)

    def next_page(self) -> Runs | None:
        """Return the runs that come after these; ``None`` where there are none."""
        if self.cursor is None:
            return None
        query = replace(self._query, cursor=self.cursor, count=False)
        return Runs(self._client, query, self._client.store.find(query))

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """Return a DataFrame with a row for each run.

        Columns: run_id, name, status, project_id, experiment_id, parent_id, started_at, finished_at, duration_s, owner,
        tags, then ``hyperparameters.<key>``, ``metrics.<key>`` and ``attributes.<key>``, for every key that any of the
        runs has. Maps and lists stay as they are.
        """
        import pandas as pd

        records = [_record(run) for run in self.entities]
        return pd.DataFrame.from_records(records, columns=list(dict.fromkeys(key for row in records for key in row)))

    def __repr__(self) -> str:
        of_all = "" if self.total is None else f" of {self.total:,}"
        return f"<{len(self):,} runs{of_all}>"

    def _repr_html_(self) -> str:
        return display.runs_html(self.entities, self.total)

    def _handle(self, entity: Run) -> RunHandle:
        return RunHandle(self._client, entity.entity_id, entity=entity)


_COLUMNS = ("name", "status", "project_id", "experiment_id", "parent_id", "started_at", "finished_at", "duration_s")


def _record(run: Run) -> dict[str, Any]:
    record: dict[str, Any] = {"run_id": run.entity_id}
    for name in _COLUMNS:
        record[name] = getattr(run, name)
    record["owner"], record["tags"] = run.owner, list(run.tags)
    for section in ("hyperparameters", "metrics", "attributes"):
        prefix = f"{section}."
        for key, value in getattr(run, section).items():
            record[prefix + key] = value
    return record
