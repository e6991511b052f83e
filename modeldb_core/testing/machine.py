"""A state machine that holds a store against the reference: random changes, random questions, equal answers.

It needs hypothesis. Subclass :class:`StoreMachine`, override ``make_store``, and run its ``TestCase``::

    class MyMachine(StoreMachine):
        def make_store(self):
            return MyStore(...)

    TestMyStore = MyMachine.TestCase
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.entities import Entity, SeriesSummary, now_us
from modeldb_core.errors import ModelDBError
from modeldb_core.queries import Query, quote
from modeldb_core.testing.streams import StreamWriter
from modeldb_core.values import to_json

if TYPE_CHECKING:
    from modeldb_core.changes import Change
    from modeldb_core.stores import MetadataStore

_NUMBERS = [0, 1, 0.5, -0.0, 2.25, -1.0, float("nan"), float("inf"), float("-inf"), 2**53, 2**53 + 1, -(2**64), 10**320]
_POINTS = [0.0, -0.0, 1.0, 0.5, -2.25, float("nan"), float("inf")]  # sums of these are exact in any order
_TEXTS = ["", "a", "A", "ab", "Ab%", "_", "é", "日本", "lost", "it's", '"', "-1", "1"]
_TAGS = ["a", "A", "ab", "é", "50%"]
_PLAIN = st.sampled_from([*_NUMBERS, *_TEXTS, True, False, None])
VALUES = st.one_of(
    _PLAIN,
    _PLAIN,
    st.lists(_PLAIN, max_size=2),
    st.dictionaries(st.sampled_from(["x", "y z", "x.y"]), _PLAIN, max_size=2),
)
KEYS = st.sampled_from(["lr", "opt", "opt.x", "val loss", "max"])
MAPS = st.dictionaries(KEYS, VALUES, max_size=3)
METRICS = st.sampled_from(["loss", "auc", "lr", "max"])

_AGGREGATED = [f"metrics.loss.{name}" for name in ("min", "max", "first", "last", "mean", "count")]
_KEYED = [
    *("metrics.loss", "metrics.auc", "metrics.lr", "metrics.max", "metrics.nowhere", *_AGGREGATED),
    *("hyperparameters.lr", "hyperparameters.opt", "hyperparameters.opt.x", 'hyperparameters."val loss"'),
    *("attributes.lr", "attributes.opt.x.y", 'attributes.opt."y z"', "attributes.max"),
]
_TEXT_COLUMNS = ["name", "description", "status", "owner", "parent_id", "project", "experiment", "project_id"]
_NUMBER_COLUMNS = ["duration"]
_TIME_COLUMNS = ["created_at", "updated_at", "started_at", "finished_at"]
_COMPARISONS = ["=", "!=", "<", "<=", ">", ">="]
_SEARCHES = ["contains", "startswith", "endswith", "like"]


def _literal(value: Any) -> str:  # noqa: ANN401 - a literal
    return (
        quote(value) if isinstance(value, str) else json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")
    )


_TEXT_LITERALS = st.sampled_from([*_TEXTS, "running", "finished", "p1"]).map(_literal)
_NUMBER_LITERALS = st.sampled_from(_NUMBERS).map(_literal)
_LITERALS = st.one_of(_TEXT_LITERALS, _NUMBER_LITERALS, st.sampled_from(["true", "false"]))
_LISTS = st.lists(_LITERALS, min_size=1, max_size=3).map(", ".join)
_TIMES = st.sampled_from(['"2027-01-15T08:00:00.000002Z"', '"2027-01-15"', "now", "now - 1h"])


@st.composite
def _predicates(draw: st.DrawFn) -> str:
    """Any condition of the language."""
    match draw(st.integers(0, 9)):
        case 0:
            field = draw(st.sampled_from([*_KEYED, *_TEXT_COLUMNS, *_TIME_COLUMNS, *_NUMBER_COLUMNS]))
            return f"{field} {draw(st.sampled_from(['exists', 'not exists', 'is null', 'is not null']))}"
        case 1:
            field = draw(st.sampled_from(_TIME_COLUMNS))
            return f"{field} {draw(st.sampled_from(_COMPARISONS))} {draw(_TIMES)}"
        case 2:
            return f"duration {draw(st.sampled_from(_COMPARISONS))} {draw(_NUMBER_LITERALS)}"
        case 3:
            operator = draw(st.sampled_from([*_SEARCHES, "="]))
            return f"tags {operator} {draw(st.sampled_from([*_TAGS, '%', '_']).map(_literal))}"
        case 4:
            return draw(st.sampled_from(["tags exists", "tags not exists", 'tags in ("a", "é")']))
        case 5:
            column = draw(st.sampled_from(_TEXT_COLUMNS))
            return f"{column} {draw(st.sampled_from([*_COMPARISONS, *_SEARCHES]))} {draw(_TEXT_LITERALS)}"
        case 6:
            field = draw(st.sampled_from(_KEYED))
            return f"{field} {draw(st.sampled_from(['in', 'not in']))} ({draw(_LISTS)})"
        case 7:
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(_SEARCHES))} {draw(_TEXT_LITERALS)}"
        case 8:
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(['=', '!=']))} {draw(_LITERALS)}"
        case _:
            literals = st.one_of(_TEXT_LITERALS, _NUMBER_LITERALS)
            return f"{draw(st.sampled_from(_KEYED))} {draw(st.sampled_from(_COMPARISONS))} {draw(literals)}"


FILTERS = st.one_of(
    st.just(""),
    st.recursive(
        _predicates(),
        lambda inner: st.one_of(
            st.builds("not ({})".format, inner),
            st.builds("({}) and ({})".format, inner, inner),
            st.builds("({}) or ({})".format, inner, inner),
        ),
        max_leaves=4,
    ),
)
_CRITERIA = st.builds(
    "{} {}".format,
    st.sampled_from([*_KEYED, *_TEXT_COLUMNS, *_TIME_COLUMNS, *_NUMBER_COLUMNS, "entity_id"]),
    st.sampled_from(["", "asc", "desc"]),
)
ORDERS = st.lists(_CRITERIA, max_size=3).map(", ".join)
PROJECTIONS = st.sampled_from(
    [None, (), ("metrics.loss", "hyperparameters.opt.x"), ("metrics", "tags"), ("series.loss", 'attributes."opt"')]
)


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

    def make_store(self) -> MetadataStore:
        """Return an empty store to test; override it."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        """Open both stores, and three writers: two that live and one that fell silent."""
        self.store = self.make_store()
        self.reference = MemoryStore()
        base = 1_800_000_000_000_000
        self.writers = [StreamWriter(at=now_us() + 3_600_000_000), StreamWriter(at=base), StreamWriter(at=base - 5)]
        self.sent = [0, 0, 0]
        self.writers[0].open(lease_s=86_400)
        self.writers[1].open(lease_s=3e9)
        self.writers[2].open(lease_s=1e-3)
        self.ids = [self.writers[0].create_containers(name, "e") for name in ("p1", "p2")]
        self.runs: list[str] = []
        self.ship([0, 1, 2])

    # Changes

    @rule(
        writer=st.integers(0, 2),
        project=st.integers(0, 1),
        name=st.sampled_from(_TEXTS),
        status=st.sampled_from(["running", "running", "finished", "failed"]),
        parameters=MAPS,
        metrics=st.dictionaries(METRICS, VALUES, max_size=2),
        tags=st.lists(st.sampled_from(_TAGS), max_size=3),
        times=st.sampled_from([(None, None), (1_800_000_000_000_000, None), (0, 1_000_000), (5, 2_250_005)]),
    )
    def create(self, writer: int, project: int, **drawn: Any) -> None:  # noqa: ANN401 - drawn values
        """Create a run."""
        fields: dict[str, Any] = {"name": drawn["name"], "status": drawn["status"], "tags": drawn["tags"]}
        fields.update(hyperparameters=drawn["parameters"], metrics=drawn["metrics"])
        fields.update({name: at for name, at in zip(("started_at", "finished_at"), drawn["times"], strict=True) if at})
        self.runs.append(self.writers[writer].create_run(**self.ids[project], **fields).entity_id)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), writer=st.integers(0, 2))
    def update(self, data: st.DataObject, writer: int) -> None:
        """Update a run in any way."""
        texts = st.dictionaries(
            st.sampled_from(["name", "description", "parent_id", "status"]), st.sampled_from(_TEXTS), max_size=2
        )
        parts: dict[str, Any] = {
            "set": data.draw(texts),
            "put": data.draw(st.fixed_dictionaries({}, optional={"attributes": MAPS, "hyperparameters": MAPS})),
            "add": {"tags": data.draw(st.lists(st.sampled_from(_TAGS), max_size=2))},
            "remove": {
                "attributes": data.draw(st.lists(KEYS, max_size=2)),
                "tags": data.draw(st.sampled_from([[], ["a"]])),
            },
        }
        if not data.draw(st.booleans()):
            del parts["remove"]
        self.writers[writer].update("run", data.draw(st.sampled_from(self.runs)), **parts)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), writer=st.integers(0, 2), restore=st.booleans())
    def delete(self, data: st.DataObject, writer: int, restore: bool) -> None:
        """Delete or restore a run."""
        run_id = data.draw(st.sampled_from(self.runs))
        (self.writers[writer].restore if restore else self.writers[writer].delete)("run", run_id)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), writer=st.integers(0, 2), keys=st.lists(METRICS, min_size=1, max_size=2, unique=True))
    def append(self, data: st.DataObject, writer: int, keys: list[str]) -> None:
        """Append points to a run."""
        count = data.draw(st.integers(0, 4))
        steps = data.draw(st.lists(st.integers(-2, 5), min_size=count, max_size=count))
        times = data.draw(st.none() | st.lists(st.integers(0, 5), min_size=count, max_size=count))
        columns = {key: data.draw(st.lists(st.sampled_from(_POINTS), min_size=count, max_size=count)) for key in keys}
        self.writers[writer].append(data.draw(st.sampled_from(self.runs)), columns, steps=steps, times=times)

    @rule(data=st.data(), writer=st.integers(0, 2), of=st.integers(0, 2))
    def erase(self, data: st.DataObject, writer: int, of: int) -> None:
        """Erase the payload of any change, sent or not."""
        self.writers[writer].erase(data.draw(st.sampled_from(self.writers[of].changes)))

    @rule(writer=st.integers(0, 2), close=st.booleans(), back=st.integers(0, 3))
    def beat(self, writer: int, close: bool, back: int) -> None:
        """Renew a lease, or end a stream, with a clock that may go back."""
        self.writers[writer].at -= back
        if close:
            self.writers[writer].close()
        else:
            self.writers[writer].beat()

    @rule(name=st.sampled_from(_TEXTS), project=st.integers(0, 1))
    def rename_project(self, name: str, project: int) -> None:
        """Rename a container."""
        self.writers[0].update("project", self.ids[project]["project_id"], set={"name": name})

    @rule(order=st.permutations([0, 1, 2]), count=st.integers(1, 3))
    def ship_some(self, order: list[int], count: int) -> None:
        """Send what some of the writers have not sent yet, as one batch."""
        self.ship(order[:count])

    @rule(data=st.data(), of=st.integers(0, 2))
    def send_again(self, data: st.DataObject, of: int) -> None:
        """Send changes that were sent, and what may follow; or leave some out, which both must refuse alike."""
        changes = self.writers[of].changes
        first = data.draw(st.integers(0, len(changes)))
        last = data.draw(st.integers(first, len(changes)))
        refused = self.both(lambda store: store.apply(changes[first:last]))
        if not isinstance(refused, type):
            self.sent[of] = max(self.sent[of], last)

    # Questions

    @rule(
        filter=FILTERS,
        order_by=ORDERS,
        limit=st.integers(0, 5),
        fields=PROJECTIONS,
        project=st.sampled_from([None, 0, 1]),
        deleted=st.booleans(),
    )
    def find(self, filter: str, order_by: str, limit: int, project: int | None, **options: Any) -> None:  # noqa: A002, ANN401
        """Go through all pages of a query."""
        within = None if project is None else self.ids[project]["project_id"]
        query = Query("run", filter, order_by, options["fields"], limit, None, True, within, options["deleted"])
        cursors: tuple[str | None, str | None] = (None, None)
        for _ in range(len(self.runs) + 1):
            page = self.reference.find(replace(query, cursor=cursors[0]))
            found = self.store.find(replace(query, cursor=cursors[1]))
            assert [item.entity_id for item in found.entities] == [item.entity_id for item in page.entities], query
            assert comparable(found.entities) == comparable(page.entities), query
            assert found.total == page.total, query
            assert (found.cursor is None) == (page.cursor is None), query
            cursors = page.cursor, found.cursor  # each its own: they are opaque
            if page.cursor is None:
                return

    @rule(filter=FILTERS, kind=st.sampled_from(["run", "run", "project"]))
    def find_keys(self, filter: str, kind: str) -> None:  # noqa: A002
        """List the keys of the runs that a filter matches."""
        query = Query(kind, filter if kind == "run" else "")
        assert self.store.find_keys(query) == self.reference.find_keys(query), query

    @rule(filter=st.sampled_from(["", 'name = "a"', "name < 'b'", "attributes.x exists"]))
    def find_projects(self, filter: str) -> None:  # noqa: A002
        """Find containers."""
        query = Query("project", filter, "name", count=True)
        found, expected = self.store.find(query), self.reference.find(query)
        assert comparable(found.entities) == comparable(expected.entities)
        assert found.total == expected.total

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        key=METRICS,
        steps=st.none() | st.tuples(st.integers(-2, 2), st.integers(1, 5)),
        max_points=st.none() | st.integers(4, 9),
    )
    def read_series(self, data: st.DataObject, key: str, steps: tuple[int, int] | None, max_points: int | None) -> None:
        """Read a series, whole, in part, or thinned out."""
        run_id = data.draw(st.sampled_from(self.runs))

        def read(store: MetadataStore) -> Any:  # noqa: ANN401 - compared only
            series = store.read_series(run_id, key, steps=steps, max_points=max_points)
            return [series.total, *(part.tobytes() for part in (series.steps, series.times, series.values))]

        self.both(read)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        """Get a run by its identifier."""
        run_id = data.draw(st.sampled_from(self.runs))
        self.both(lambda store: comparable(store.get("run", run_id)))

    @rule(after=st.integers(0, 40), limit=st.integers(1, 20))
    def read_changes(self, after: int, limit: int) -> None:
        """Read the log."""
        self.both(lambda store: store.read_changes(after=after, limit=limit).changes)

    @invariant()
    def heads_are_equal(self) -> None:
        """After every step, both have the same streams."""
        if hasattr(self, "store"):
            assert dict(self.store.heads()) == dict(self.reference.heads())

    def teardown(self) -> None:
        """Compare everything once more, and close."""
        if hasattr(self, "store"):
            self.ship([0, 1, 2])
            for run_id in self.runs:
                self.both(lambda store, run_id=run_id: comparable(store.get("run", run_id)))
            self.store.close()

    # Inside

    def ship(self, numbers: list[int]) -> None:
        """Send what writers have not sent yet."""
        batch: list[Change] = []
        for number in numbers:
            batch += self.writers[number].take(self.sent[number])
            self.sent[number] = len(self.writers[number].changes)
        self.both(lambda store: store.apply(batch))

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
