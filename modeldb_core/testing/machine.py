"""A state machine that holds a store against the reference: random changes, random questions, equal answers.

It needs hypothesis. Subclass :class:`StoreMachine`, override ``make_store``, and run its ``TestCase``::

    class MyMachine(StoreMachine):
        def make_store(self):
            return MyStore(...)

    TestMyStore = MyMachine.TestCase
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import ModelDBError
from modeldb_core.log.changes import MAX_LEASE_S
from modeldb_core.model.entities import DEFAULT_WORKSPACE, Entity, SeriesSummary, derived_id, new_id, now_us
from modeldb_core.model.values import to_json
from modeldb_core.queries import Query, quote
from modeldb_core.testing.strategies import (
    ACTIONS,
    BASE_US,
    FILTERS,
    METRICS,
    ORDERS,
    POINTS,
    PROJECTIONS,
    QUESTIONS,
    RUN_FIELDS,
    RUN_TIMES,
    SOME_WRITERS,
    TEXTS,
    UPDATES,
)
from modeldb_core.testing.streams import StreamWriter, end_of

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change
    from modeldb_core.stores import MetadataStore


def comparable(value: Any) -> Any:  # noqa: ANN401 - anything a store returns
    """Return plain data that is equal for answers that are equal in every bit, NaN included."""
    if isinstance(value, (Entity, SeriesSummary)):
        return {field.name: comparable(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "items"):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return [type(value).__name__, to_json(value)]


class StoreMachine(RuleBasedStateMachine):
    """Sends the same random changes to a store and to the reference, and asks both the same random questions."""

    is_empty: ClassVar[bool] = True
    """Whether ``make_store`` returns a store with nothing in it. In another one, the machine keeps to a workspace of its
    own; nobody else may write meanwhile."""

    start: ClassVar[int] = 0
    """The cursor behind what is in the store already."""

    def make_store(self) -> MetadataStore:
        """Return the store to test; override it."""
        raise NotImplementedError

    @initialize(data=st.data(), count=st.integers(3, 8))
    def begin(self, data: st.DataObject, count: int) -> None:
        """Open both stores, and three writers, of which one fell silent; make some runs to begin with."""
        self.store = self.make_store()
        self.reference = MemoryStore()
        times = (now_us() + 3_600_000_000, BASE_US, BASE_US - 5)
        self.writers = [StreamWriter(at=at, actor=actor) for at, actor in zip(times, ("a", "b", "a"), strict=True)]
        self.sent = [0, 0, 0]
        for writer, lease_s in zip(self.writers, (86_400, MAX_LEASE_S, 1e-3), strict=True):
            writer.open(lease_s=lease_s)
        if not self.is_empty:
            type(self).start = end_of(self.store, self.start)  # the next history begins where this one did
        workspace = DEFAULT_WORKSPACE if self.is_empty else new_id()
        self.workspace_id = derived_id("workspace", "", workspace)
        self.elsewhere = new_id()
        self.ids = [self.writers[0].create_containers(name, "e", workspace) for name in ("p1", "p2")]
        self.runs: list[str] = []
        self.comments: list[str] = []
        project, experiment = self.ids[0]["project_id"], self.ids[1]["experiment_id"]
        several = [(project, experiment), (self.workspace_id, project), (), (new_id(),)]
        self.containers: list[str | tuple[str, ...] | None] = [None, project, experiment, *several]
        for number in range(count):
            self.create(data, number % 3)
            self.append(data, number % 3)
        self.ship([0, 1, 2])

    @rule(data=st.data(), actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=5), order=SOME_WRITERS)
    def write(self, data: st.DataObject, actions: list[str], order: list[int]) -> None:
        """Write some changes, and send what some of the writers have not sent yet, as one batch."""
        for action in actions:
            getattr(self, action)(data, data.draw(st.integers(0, 2)))
        self.ship(order)

    @rule(data=st.data(), questions=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=6))
    def ask(self, data: st.DataObject, questions: list[str]) -> None:
        """Ask both some questions."""
        for question in questions:
            getattr(self, question)(data)

    @rule(data=st.data(), of=st.integers(0, 2))
    def send_again(self, data: st.DataObject, of: int) -> None:
        """Send changes that were sent, and what may follow; or leave some out, which both must refuse alike."""
        changes = self.writers[of].changes
        first = data.draw(st.integers(0, len(changes)))
        last = data.draw(st.integers(first, len(changes)))
        refused = self.both(lambda store: store.apply(changes[first:last]))
        if first < last and not isinstance(refused, type):
            self.sent[of] = max(self.sent[of], last)

    # Changes

    def create(self, data: st.DataObject, writer: int) -> None:
        """Create a run."""
        started_at, finished_at = data.draw(RUN_TIMES)
        ids = data.draw(st.sampled_from(self.ids))
        change = self.writers[writer].create_run(
            **ids, **data.draw(RUN_FIELDS), started_at=started_at, finished_at=finished_at
        )
        self.runs.append(change.entity_id)

    def update(self, data: st.DataObject, writer: int) -> None:
        """Update a run in any way."""
        parts: dict[str, Any] = data.draw(UPDATES)
        self.writers[writer].update("run", data.draw(st.sampled_from(self.runs)), **parts)

    def delete(self, data: st.DataObject, writer: int) -> None:
        """Delete a run."""
        window_s = data.draw(st.sampled_from([0, 1e-6, None]))
        self.writers[writer].delete("run", data.draw(st.sampled_from(self.runs)), window_s=window_s)

    def restore(self, data: st.DataObject, writer: int) -> None:
        """Restore a run, deleted or not."""
        self.writers[writer].restore("run", data.draw(st.sampled_from(self.runs)))

    def append(self, data: st.DataObject, writer: int) -> None:
        """Append points to a run."""
        count = data.draw(st.integers(0, 4))
        keys = data.draw(st.lists(METRICS, min_size=1, max_size=2, unique=True))
        steps = data.draw(st.lists(st.integers(-2, 5), min_size=count, max_size=count))
        times = data.draw(st.none() | st.lists(st.integers(0, 5), min_size=count, max_size=count))
        columns = {key: data.draw(st.lists(st.sampled_from(POINTS), min_size=count, max_size=count)) for key in keys}
        self.writers[writer].append(data.draw(st.sampled_from(self.runs)), columns, steps=steps, times=times)

    def erase(self, data: st.DataObject, writer: int) -> None:
        """Erase the payload of any change, sent or not."""
        of = data.draw(st.sampled_from(self.writers))
        self.writers[writer].erase(data.draw(st.sampled_from(of.changes)))

    def forget(self, data: st.DataObject, writer: int) -> None:
        """Delete a run and erase some of what was said about it, in any order; now and then change one's mind."""
        run_id = data.draw(st.sampled_from(self.runs))
        said = [change for of in self.writers for change in of.changes if change.entity_id == run_id]
        writing = self.writers[writer]
        for step in data.draw(st.permutations(["delete", "erase", "erase"]).map(lambda steps: steps[:2])):
            if step == "delete":
                writing.delete("run", run_id, window_s=data.draw(st.sampled_from([0, 1e-6, None])))
            else:
                writing.erase(data.draw(st.sampled_from(said)))
        if data.draw(st.integers(0, 3)) == 0:
            writing.restore("run", run_id)

    def beat(self, data: st.DataObject, writer: int) -> None:
        """Renew a lease with a clock that may go back."""
        self.writers[writer].at -= data.draw(st.integers(0, 3))
        self.writers[writer].beat()

    def close(self, data: st.DataObject, writer: int) -> None:
        """End a stream."""
        del data
        self.writers[writer].close()

    def rename_project(self, data: st.DataObject, writer: int) -> None:
        """Rename a container."""
        project_id = data.draw(st.sampled_from(self.ids))["project_id"]
        self.writers[writer].update("project", project_id, set={"name": data.draw(st.sampled_from(TEXTS))})

    def comment(self, data: st.DataObject, writer: int) -> None:
        """Comment on a run, or on a comment."""
        about = data.draw(st.sampled_from([*self.runs, *self.comments]))
        self.comments.append(self.writers[writer].create("comment", parent_id=about, message="said").entity_id)

    def move(self, data: st.DataObject, writer: int) -> None:
        """Move a run, a comment or a project, into itself too."""
        kind = data.draw(st.sampled_from(["run", "comment", "project"] if self.comments else ["run", "project"]))
        if kind == "project":
            name, fields = (
                self.ids[1]["project_id"],
                {"workspace_id": st.sampled_from([self.workspace_id, self.elsewhere])},
            )
        elif kind == "comment":
            name = data.draw(st.sampled_from(self.comments))
            fields = {"parent_id": st.sampled_from([*self.runs, *self.comments])}
        else:
            name = data.draw(st.sampled_from(self.runs))
            projects = [None, *(ids["project_id"] for ids in self.ids)]
            fields = {"project_id": st.sampled_from(projects), "parent_id": st.sampled_from([None, *self.runs])}
        field = data.draw(st.sampled_from(sorted(fields)))
        self.writers[writer].update(kind, name, set={field: data.draw(fields[field])})

    # Questions

    def find_comments(self, data: st.DataObject) -> None:
        """Find comments by where they lie."""
        query = Query("comment", within=data.draw(st.sampled_from([*self.containers[1:], self.elsewhere])), count=True)
        found, expected = self.store.find(query), self.reference.find(query)
        assert comparable(found.entities) == comparable(expected.entities)
        assert found.total == expected.total

    def find(self, data: st.DataObject) -> None:
        """Go through all pages of a query."""
        query = Query(
            "run",
            self.own(data.draw(FILTERS)),
            data.draw(ORDERS),
            data.draw(PROJECTIONS),
            data.draw(st.integers(0, 5)),
            count=True,
            within=data.draw(st.sampled_from(self.containers)),
            include_deleted=data.draw(st.booleans()),
            offset=data.draw(st.sampled_from([0, 0, 1, 3])),
        )
        self.compare_pages(query)

    def compare_pages(self, query: Query) -> None:
        """Compare all pages of a query."""
        cursors: tuple[str | None, str | None] = (None, None)
        for _ in range(len(self.runs) + 1):
            offset = query.offset if cursors[0] is None else 0
            page = self.reference.find(replace(query, cursor=cursors[0], offset=offset))
            found = self.store.find(replace(query, cursor=cursors[1], offset=offset))
            assert [item.entity_id for item in found.entities] == [item.entity_id for item in page.entities], query
            assert comparable(found.entities) == comparable(page.entities), query
            assert found.total == page.total, query
            assert (found.cursor is None) == (page.cursor is None), query
            cursors = page.cursor, found.cursor  # each its own: they are opaque
            if page.cursor is None:
                return

    def find_keys(self, data: st.DataObject) -> None:
        """List the keys of the runs that a filter matches."""
        query = Query("run", self.own(data.draw(FILTERS)), limit=data.draw(st.sampled_from([2, 100])))
        assert self.store.find_keys(query) == self.reference.find_keys(query), query

    def find_groups(self, data: st.DataObject) -> None:
        """Group the runs that a filter matches."""
        by = data.draw(
            st.sampled_from(["hyperparameters.x", "metrics.loss", "metrics.loss.max", "status", "experiment_id"])
        )
        query = Query("run", self.own(data.draw(FILTERS)), limit=data.draw(st.sampled_from([2, 100])))
        found, expected = (store.find_groups(query, by) for store in (self.store, self.reference))
        assert repr(found) == repr(expected), (query, by)  # NaN included

    def find_projects(self, data: st.DataObject) -> None:
        """Find containers."""
        filters = st.sampled_from(["", 'name = "a"', "name < 'b'", "attributes.x exists"])
        query = Query("project", data.draw(filters), "name", count=True, within=self.workspace_id)
        found, expected = self.store.find(query), self.reference.find(query)
        assert comparable(found.entities) == comparable(expected.entities)
        assert found.total == expected.total

    def read_series(self, data: st.DataObject) -> None:
        """Read a series, whole, in part, or thinned out."""
        run_id, key = data.draw(st.sampled_from(self.runs)), data.draw(METRICS)
        steps = data.draw(st.none() | st.tuples(st.integers(-2, 2), st.integers(1, 5)))
        max_points = data.draw(st.none() | st.integers(1, 9))

        def read(store: MetadataStore) -> Any:  # noqa: ANN401 - compared only
            series = store.read_series(run_id, key, steps=steps, max_points=max_points)
            return [series.total, *(part.tobytes() for part in (series.steps, series.times, series.values))]

        self.both(read)

    def get(self, data: st.DataObject) -> None:
        """Get a run by its identifier."""
        run_id = data.draw(st.sampled_from(self.runs))
        self.both(lambda store: comparable(store.get("run", run_id)))

    def read_changes(self, data: st.DataObject) -> None:
        """Read some pages of the log, each from where the one before ended."""
        pages, limit = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 20))
        stream_id = data.draw(st.none() | st.sampled_from([writer.stream_id for writer in self.writers]))
        entity_id = data.draw(st.none() | st.sampled_from(self.runs))

        def read(store: MetadataStore) -> list[tuple[Change, ...]]:
            cursor, found = self.start if store is self.store else 0, []
            for _ in range(pages):
                page = store.read_changes(after=cursor, limit=limit, stream_id=stream_id, entity_id=entity_id)
                cursor = page.cursor  # each its own: positions are the store's
                found.append(page.changes)
            return found

        self.both(read)

    @invariant()
    def heads_are_equal(self) -> None:
        """After every step, both have the same streams."""
        if hasattr(self, "store"):
            streams = {writer.stream_id for writer in self.writers}
            found = {name: head for name, head in self.store.heads().items() if self.is_empty or name in streams}
            assert found == dict(self.reference.heads())

    def teardown(self) -> None:
        """Compare everything once more, and close."""
        if hasattr(self, "store"):
            self.ship([0, 1, 2])
            for include_deleted in (False, True):
                self.compare_pages(Query("run", self.own(""), limit=5, count=True, include_deleted=include_deleted))
            for run_id in self.runs:
                self.both(lambda store, run_id=run_id: comparable(store.get("run", run_id)))
            self.store.close()

    # Inside

    def own(self, condition: str) -> str:
        """Return a filter such that, in a store that is in use, it finds runs of this machine only."""
        if self.is_empty:
            return condition
        names = ", ".join(quote(ids["project_id"]) for ids in self.ids)
        return f"project_id in ({names})" + (f" and ({condition})" if condition else "")

    def ship(self, numbers: list[int]) -> None:
        """Send what writers have not sent yet."""
        batch: list[Change] = []
        for number in numbers:
            batch += self.writers[number].take(self.sent[number])
            self.sent[number] = len(self.writers[number].changes)
        refused = self.both(lambda store: store.apply(batch))
        assert refused is None, f"{refused.__name__}: all that follows would be refused as well, and nothing be tested"

    def both(self, ask: Any) -> Any:  # noqa: ANN401 - a function of a store
        """Ask both; the answers, or the classes of the errors, must be equal."""
        answers = []
        for store in (self.reference, self.store):
            try:
                answers.append(ask(store))
            except ModelDBError as error:
                answers.append(type(error))
        assert answers[1] == answers[0]
        return answers[0]
