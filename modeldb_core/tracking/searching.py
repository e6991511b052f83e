"""The reading half of a client: finding runs, projects and experiments."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from modeldb_core.commands.names import check_name
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.entities import Experiment, Project, Run
from modeldb_core.model.values import check_key
from modeldb_core.movement.deletion import pages
from modeldb_core.queries.literals import condition
from modeldb_core.queries.query import MAX_LIMIT, Query
from modeldb_core.stores.references import find_run
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.config import Settings
    from modeldb_core.stores import MetadataStore
    from modeldb_core.tracking.client import Client

_NAMES_AT_ONCE = 500


class ClientReader:
    """What can be found in a store."""

    settings: Settings
    _names: dict[str, str]
    """Names of containers by identifier, as this program declared them."""

    @property
    @abstractmethod
    def store(self) -> MetadataStore:
        """The store."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until the store has what this process logged."""

    def get_run(self, run_id: str) -> RunHandle:
        """Return a run by its identifier, by a beginning or end of it, as tables show it, or by its name.

        Raises:
            NotFoundError: there is none.
            InvalidArgumentError: several runs are meant; the message lists them.
        """
        self.settle()
        entity = find_run(self.store, check_key(run_id, "run_id"))
        return RunHandle(cast("Client", self), entity.entity_id, entity=entity)

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
    ) -> Runs:
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
        return Runs(cast("Client", self), query, limit)

    def projects(self) -> tuple[Project, ...]:
        """Return the projects of the workspace by name, all of them."""
        self.settle()
        query = Query(kind="project", order_by="name", within=self._workspace_id())
        return tuple(found for found in pages(self.store, query) if isinstance(found, Project))

    def experiments(self, project: str | None = None) -> tuple[Experiment, ...]:
        """Return the experiments of a project by name, all of them; default: of the project that the settings name."""
        self.settle()
        query = Query(kind="experiment", order_by="name", within=self.container_id(project))
        return tuple(found for found in pages(self.store, query) if isinstance(found, Experiment))

    def container_names(self, runs: Iterable[Run]) -> dict[str, str]:
        """Return the names of the projects and experiments of runs, by identifier."""
        wanted: dict[str, set[str]] = {"project": set(), "experiment": set()}
        for run in runs:
            wanted["project"].add(run.project_id)
            wanted["experiment"].add(run.experiment_id)
        names: dict[str, str] = {}
        for kind, all_ids in wanted.items():
            ids = sorted(all_ids - {""})
            for at in range(0, len(ids), _NAMES_AT_ONCE):
                these = condition("entity_id in ?", ids[at : at + _NAMES_AT_ONCE])
                query = Query(kind=kind, filter=these, fields=("name",), include_deleted=True)
                names.update((found.entity_id, found.name) for found in pages(self.store, query))
        return names

    def container_name(self, kind: str, entity_id: str) -> str:
        """Return the name of a project or an experiment by its identifier."""
        if entity_id in self._names or not entity_id:
            return self._names.get(entity_id, "")
        self.settle()
        return self.store.get(kind, entity_id).name

    def _workspace_id(self) -> str:
        return self.store.identify(("workspace", self.settings.workspace))[-1]

    def container_id(self, project: str | None, experiment: str | None = None) -> str:
        """Return the identifier of a project or an experiment by its name, whether it exists or not."""
        project = check_name(self.settings.project if project is None else project, "project")
        path = [("workspace", self.settings.workspace), ("project", project)]
        if experiment is not None:
            path.append(("experiment", check_name(experiment, "experiment")))
        return self.store.identify(*path)[-1]
