"""The reading half of a client: finding runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import check_key
from modeldb_core.queries.query import MAX_LIMIT, Query
from modeldb_core.stores.references import find_run
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.run_session import RunSession
from modeldb_core.tracking.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.model.entities import Run


class ClientReader(RunSession[RunHandle]):
    """What can be found in a store."""

    def get_run(self, run_id: str) -> RunHandle:
        """Return a run by its identifier, by a beginning or end of it, as tables show it, or by its name.

        Raises:
            NotFoundError: there is none.
            InvalidArgumentError: several runs are meant; the message lists them.
        """
        self.settle()
        entity = find_run(self.store, check_key(run_id, "run_id"))
        return self._handle(entity)

    def search_runs(
        self,
        filter: str = "",  # noqa: A002 - the word users know
        *,
        project: str | None = None,
        experiment: str | None = None,
        order_by: str = "",
        limit: int | None = None,
        fields: Iterable[str] | None = None,
        cursor: str | None = None,
        count: bool = False,
        include_deleted: bool = False,
    ) -> Runs[RunHandle]:
        """Return the runs that match ``filter`` (``docs/queries.md``), the newest first.

        The first hundred are read at once, the others when they are needed: iterating and tables come to the end.

        Args:
            filter: for example ``"metrics.auc > 0.9"``; all runs where it is empty.
            project: only runs of the project with this name.
            experiment: only runs of the experiment with this name, within ``project``.
            order_by: for example ``"metrics.auc desc, name"``.
            limit: only so many of them, the first ones; ``None``: all.
            fields: what is needed of the runs, for example ``["name", "metrics.auc"]``; default: everything.
            cursor: of a result before, to get what comes after it; :meth:`Runs.next_page` does it.
            count: whether to count all that match together with the first page: :attr:`Runs.total`.
            include_deleted: whether deleted runs are found too, for example to restore them.

        Raises:
            QuerySyntaxError: filter or order do not parse; the message points at the place.
            InvalidArgumentError: the limit is negative.
        """
        given: object = limit
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
            msg = f"limit {limit!r} is not a number of runs; pass 0 or more, or None for all"
            raise InvalidArgumentError(msg)
        query = Query(
            filter=filter,
            order_by=order_by,
            limit=0 if limit is None else min(limit, MAX_LIMIT),
            fields=fields if fields is None or isinstance(fields, str) else tuple(fields),  # type: ignore[arg-type]
            cursor=cursor,
            count=count,
            within=None if project is None and experiment is None else self.container_id(project, experiment),
            include_deleted=include_deleted,
        )
        self.settle()
        return Runs(self, query, limit, self._handle)

    def _handle(self, entity: Run) -> RunHandle:
        return RunHandle(self, entity.entity_id, entity=entity)
