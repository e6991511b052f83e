"""What the suites share: the fixtures to override, and a project of its own for every test.

Nothing here or in the suites needs an empty store, so that they can run against any that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import pytest

from modeldb_core.model.entities import Run, new_id
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore, Page
from modeldb_core.testing.streams import StreamWriter

MakeStore: TypeAlias = Callable[[], MetadataStore]


class Scene:
    """A store, one writer to it, and a project that nobody else uses.

    Attributes:
        store: the store.
        writer: a writer whose stream is open.
        ids: ``project_id`` and ``experiment_id``, for runs.
        project: the name of the project.
        runs: the identifiers of the runs that were made here, by name.
    """

    def __init__(self, store: MetadataStore, *, at: int | None = None) -> None:
        self.store = store
        self.writer = StreamWriter(at=at)
        self.writer.open()
        self.project = f"project {new_id()}"
        self.ids = self.writer.create_containers(self.project, "experiment")
        self.runs: dict[str, str] = {}
        self._sent = 0

    @property
    def project_id(self) -> str:
        """The identifier of the project."""
        return self.ids["project_id"]

    def run(self, name: str = "run", **fields: Any) -> str:  # noqa: ANN401 - values
        """Make a run in the project; returns its identifier."""
        self.runs[name] = self.writer.create_run(name=name, **self.ids, **fields).entity_id
        return self.runs[name]

    def ship(self) -> None:
        """Apply what the writer wrote since the last time."""
        self.store.apply(self.writer.take(self._sent))
        self._sent = len(self.writer.changes)

    def get(self, run_id: str) -> Run:
        """Return a run."""
        run = self.store.get("run", run_id)
        assert isinstance(run, Run)
        return run

    def find(self, filter: str = "", **options: Any) -> Page:  # noqa: A002, ANN401 - as Query has them
        """Find runs of the project."""
        return self.store.find(Query(filter=filter, within=self.project_id, **options))

    def names(self, filter: str = "", order_by: str = "name", **options: Any) -> list[str]:  # noqa: A002, ANN401
        """Return the names of the runs that a filter matches, in order."""
        return [run.name for run in self.find(filter, order_by=order_by, **options).entities]

    def mismatches(self, cases: dict[str, str]) -> dict[str, tuple[str, str]]:
        """Return the filters that match other runs than they should.

        Args:
            cases: from a filter to the names of the runs that it matches, of one letter each, one after the other.

        Returns:
            From a filter to the expected and the found names; empty if all is well.
        """
        found = {case: "".join(self.names(case)) for case in cases}
        return {case: (cases[case], found[case]) for case in cases if cases[case] != found[case]}


class StoreCase:
    """The fixtures of the suite for metadata stores; override ``make_store``, or ``store`` alone, and ``process_url``.

    Set ``is_shared`` to ``False`` for a store that cannot be opened twice: what needs a second handle is then skipped.
    """

    is_shared: ClassVar[bool] = True
    promises: ClassVar[tuple[object, ...]] = ()
    """The parts of the contract that the suite is about: they are shown beside a test that failed."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function that opens the store; called again, it opens the same one."""
        msg = f"{type(self).__name__} must override the fixture make_store, or store"
        raise NotImplementedError(msg)

    @pytest.fixture
    def process_url(self) -> str | None:
        """Return the URL by which another process opens the store of ``make_store``; ``None`` where there is none."""
        return None

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[MetadataStore]:
        """Return the open store."""
        store = make_store()
        yield store
        store.close()

    @pytest.fixture
    def scene(self, store: MetadataStore) -> Scene:
        """Return a project of its own in the store."""
        return Scene(store)

    @pytest.fixture
    def second_store(self, store: MetadataStore, make_store: MakeStore) -> Iterator[MetadataStore]:
        """Return another handle of the same store, as another process has it."""
        del store
        if not self.is_shared:
            pytest.skip("this store cannot be opened twice")
        second = make_store()
        yield second
        second.close()
