"""A look at a part of a long series reads that part: counted in chunks and rows, for every store that keeps chunks."""

from __future__ import annotations

import itertools
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql import outlines, spans
from modeldb_core.backends._sql import points as storage
from modeldb_core.backends._sql.database import Transaction
from modeldb_core.backends._sql.parts import StoredSeries
from modeldb_core.log.plots import MAX_X, Canvas
from modeldb_core.log.points import PointGroup
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.testing import StreamWriter
from tests.services.server import serving

T0 = 1_700_000_000_000_000
SHORT, LONG = 40_000, 240_000


@dataclass
class Counts:
    """What a question took."""

    chunks: int = 0
    statements: list[str] = field(default_factory=list)
    rows: int = 0
    most_rows: int = 0


@pytest.fixture
def count(monkeypatch):
    """Return a function that counts what reading from chunks takes while it asks a question."""
    counts = Counts()
    decode, ask = StoredSeries._batch, Transaction.rows

    def _batch(self, rows):
        counts.chunks += len(rows)
        return decode(self, rows)

    def rows(self, build, parameters=None):
        found = ask(self, build, parameters)
        if build.__module__.rpartition(".")[2] in {"parts", "outlines", "series", "plots"}:
            counts.statements.append(build.__name__)
            counts.rows += len(found)
            counts.most_rows = max(counts.most_rows, len(found))
        return found

    monkeypatch.setattr(StoredSeries, "_batch", _batch)
    monkeypatch.setattr(Transaction, "rows", rows)

    def counted(question):
        counts.__init__()
        return question(), Counts(counts.chunks, list(counts.statements), counts.rows, counts.most_rows)

    return counted


@pytest.fixture(params=["sqlite", "postgres", "bucket", "server"])
def store(request, tmp_path):
    with ExitStack() as stack:
        sort = request.param
        url = f"sqlite:///{tmp_path}/modeldb.db"
        if sort == "postgres":
            url = request.getfixturevalue("postgres_url")
        elif sort == "bucket":
            url = f"file://{tmp_path}/bucket"
        store = stack.enter_context(open_store(url))
        if sort == "server":
            artifacts = open_artifacts(f"file://{tmp_path}/blobs")
            store = stack.enter_context(open_store(stack.enter_context(serving(store, artifacts))))
        yield store


def logged(store, count, keys=("loss", "acc")):
    """Return a run with a series of ``count`` points, some of which wait to become a chunk."""
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    values = np.random.default_rng(1).normal(size=(len(keys), count))
    steps = np.arange(count)
    ends = [*range(0, count - 100, 50_000), count - 100, count - 50, count]
    for start, end in itertools.pairwise(ends):
        part = slice(start, end)
        writer.append_groups(run_id, PointGroup(keys, steps[part], T0 + 1000 * steps[part], values[:, part]))
    store.apply(writer.changes)
    return run_id, values


@pytest.mark.parametrize("asked", [(30_000, 30_099), ("end", MAX_X), (0, 9)])
def test_a_zoom_into_a_long_series_reads_its_part_only(store, count, asked):
    taken = []
    for length in (SHORT, LONG):
        run_id, values = logged(store, length)
        first, last = (length - 60 if asked[0] == "end" else asked[0]), asked[1]
        store.read_series(run_id, "loss", steps=(first, last))  # a replica takes in what is new
        series, counts = count(partial(store.read_series, run_id, "loss", steps=(first, last)))
        expected = np.arange(first, min(last, length - 1) + 1)
        assert series.steps.tolist() == expected.tolist()
        assert np.array_equal(series.values, values[0][expected])
        assert np.array_equal(series.times, T0 + 1000 * expected)
        assert counts.chunks <= 2
        taken.append((counts.rows, len(counts.statements)))
    assert taken[0] == taken[1]
    assert taken[0][0] < 12


def test_a_zoom_sees_late_and_repeated_steps_wherever_they_lie(store, count):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    steps = np.arange(100_000)
    steps[70_000:70_010] = 5_000  # late
    steps[90_000:] = 89_999  # stuck
    values = np.arange(100_000.0)
    writer.append_groups(run_id, PointGroup(("loss",), steps, T0 + steps[::-1], values[None]))
    other = StreamWriter()
    other.append(run_id, {"loss": [-1.0]}, steps=[5_000], times=[T0])
    store.apply(writer.changes)
    store.apply(other.changes)
    whole = store.read_series(run_id, "loss")
    for asked in ((5_000, 5_000), (4_990, 5_010), (89_990, 90_000), (95_000, 96_000), (60_000, 80_000)):
        inside = np.flatnonzero((whole.steps >= asked[0]) & (whole.steps <= asked[1]))
        series, counts = count(partial(store.read_series, run_id, "loss", steps=asked))
        for name in ("steps", "times", "values"):
            assert np.array_equal(getattr(series, name), getattr(whole, name)[inside])
        assert counts.chunks <= len(inside) / storage.FULL_ROWS + 4


@pytest.mark.parametrize("store", ["sqlite", "postgres", "bucket"], indirect=True)
@pytest.mark.parametrize("axis", ["step", "time"])
def test_a_plot_reads_as_many_chunks_as_it_has_columns_and_few_at_once(store, count, axis):
    run_id, values = logged(store, LONG)
    canvas = Canvas(columns=12, axis=axis, origin=T0)
    store.plot_series(run_id, "loss", canvas)
    plot, counts = count(partial(store.plot_series, run_id, "loss", canvas))
    assert plot.total == LONG
    assert plot.columns.count.tolist() == [LONG // 12] * 12
    assert np.array_equal(plot.columns.maximum, values[0].reshape(12, -1).max(axis=1))
    assert counts.chunks <= 2 * 12, f"of {LONG // storage.FULL_ROWS} chunks"
    assert counts.most_rows <= LONG // storage.FULL_ROWS + 5, "summaries"
    zoomed = Canvas(columns=12, axis=axis, origin=T0, first=1000, last=2000)
    plot, counts = count(partial(store.plot_series, run_id, "loss", zoomed))
    assert counts.chunks <= 2 if axis == "step" else counts.chunks <= 24


def test_the_chunks_of_a_zoom_are_found_in_an_index_alone(tmp_path):
    def plan(read, build):
        statement = str(read.database.statement(build).compile(read.connection))
        parameters = (1,) * statement.count("?")
        return [row[-1] for row in read.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]

    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        logged(store, SHORT)
        for build, of_spans in ((outlines._totals, True), (outlines._touched, False), (outlines._spans, True)):
            found = [line for line in store._database.read(partial(plan, build=build)) if " USING " in line]
            names = ["outlines"] * (build is not outlines._spans) + ["spans"] * of_spans
            index = "INDEX" if build is outlines._spans else "COVERING INDEX"
            assert len(found) == len(names), found
            assert all(f"{index} {name}_by_step" in line for line, name in zip(found, names, strict=True)), found


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
def test_a_longer_series_has_few_more_rows_to_look_at(store, count, monkeypatch):
    monkeypatch.setattr(spans, "FAN_IN", 8)
    taken = []
    for length in (SHORT, LONG):
        run_id, values = logged(store, length)
        series, zoom = count(partial(store.read_series, run_id, "loss", steps=(30_000, 30_099)))
        assert np.array_equal(series.values, values[0][30_000:30_100])
        plot, drawn = count(partial(store.plot_series, run_id, "loss", Canvas(columns=4)))
        assert np.array_equal(plot.columns.maximum, values[0].reshape(4, -1).max(axis=1))
        taken.append((zoom, drawn))
    chunks = (LONG - SHORT) / storage.FULL_ROWS
    (short_zoom, short_plot), (long_zoom, long_plot) = taken
    assert long_zoom.chunks <= 2
    assert long_zoom.rows <= short_zoom.rows + 8
    assert long_plot.rows <= short_plot.rows + 3 * 8 + chunks / 8


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
def test_erasing_points_of_a_long_series_leaves_the_others_to_be_read_and_verified(store, monkeypatch):
    monkeypatch.setattr(spans, "FAN_IN", 4)
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    steps, values = np.arange(60_000), np.random.default_rng(2).normal(size=(2, 60_000))
    changes = []
    for start in range(0, len(steps), 5_000):
        part = slice(start, start + 5_000)
        changes.append(
            writer.append_groups(run_id, PointGroup(("loss", "acc"), steps[part], T0 + steps[part], values[:, part]))
        )
    store.apply(writer.changes)
    sent = len(writer.changes)
    writer.erase(changes[3])
    store.apply(writer.take(sent))
    left = np.concatenate([steps[:15_000], steps[20_000:]])
    for row, key in enumerate(("loss", "acc")):
        series = store.read_series(run_id, key)
        assert np.array_equal(series.steps, left)
        assert np.array_equal(series.values, values[row][left])
        plot = store.plot_series(run_id, key, Canvas(columns=6))
        assert plot.total == len(left)
        assert plot.columns.maximum.max() == values[row][left].max()
    assert verify(store).findings == []
    sent = len(writer.changes)
    more = np.arange(60_000, 120_000)
    writer.append_groups(run_id, PointGroup(("loss",), more, T0 + more, values[:1]))
    store.apply(writer.take(sent))
    assert store.read_series(run_id, "loss", steps=(14_990, 20_009)).steps.tolist() == [
        *range(14_990, 15_000),
        *range(20_000, 20_010),
    ]
    assert verify(store).findings == []


@pytest.mark.parametrize(
    ("ask", "most"),
    [
        (lambda store, run_id: store.plot_series(run_id, "loss", Canvas(columns=500)), 30),
        (lambda store, run_id: store.read_series(run_id, "loss", max_points=2_000), 120),
    ],
    ids=["plot", "thinned out"],
)
def test_a_look_at_all_of_a_series_costs_a_chunk_few_calls(tmp_path, ask, most):
    def calls(work):
        count = 0

        def profile(frame, event, argument):
            nonlocal count
            count += event in {"call", "c_call"}

        sys.setprofile(profile)
        try:
            work()
        finally:
            sys.setprofile(None)
        return count

    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        taken = []
        for length in (70_000, LONG):
            run_id, _ = logged(store, length)
            ask(store, run_id)
            taken.append(calls(partial(ask, store, run_id)))
    assert (taken[1] - taken[0]) / ((LONG - 70_000) / storage.FULL_ROWS) < most
