"""A plot from summaries of chunks shows what the points show: the same as the reference, which looks at all of them."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from itertools import product

import numpy as np
import pytest

from modeldb_core.backends._sql import outlines, parts, plots, series, spans
from modeldb_core.backends._sql import points as storage
from modeldb_core.backends._sql.database import Transaction
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.log.plots import MAX_X, MIN_X, Canvas
from modeldb_core.log.points import PointGroup
from modeldb_core.plugins import open_store
from modeldb_core.testing import StreamWriter

T0 = 1_700_000_000_000_000
COUNTS = ("total", "nan_count", "infinite_count", "nonpositive_count", "hidden_count")
EXACT = (
    "first_x",
    "last_x",
    "first_step",
    "last_step",
    "count",
    "nan_count",
    "infinite_count",
    "minimum",
    "maximum",
    "last",
)


@pytest.fixture
def small_chunks(monkeypatch):
    """Let a few hundred points lie in many chunks, as millions do."""
    for name, value in {"DIRECT_BYTES": 600, "MAX_PENDING_BYTES": 900, "FAN_IN": 4, "FULL_ROWS": 64}.items():
        monkeypatch.setattr(storage, name, value)
    monkeypatch.setattr(outlines, "MIN_ROWS", 8)
    monkeypatch.setattr(spans, "FAN_IN", 3)
    monkeypatch.setattr(plots, "_MOST_PIECES", 20)
    monkeypatch.setattr(parts, "AT_ONCE", 3)
    monkeypatch.setattr(plots, "_FEW", 0)
    monkeypatch.setattr(series, "_FEW", 0)


def assert_same_plot(found, expected):
    for name in COUNTS:
        assert getattr(found, name) == getattr(expected, name), name
    assert (found.points is None) == (expected.points is None)
    for part in ("points", "columns"):
        one, other = getattr(found, part), getattr(expected, part)
        for name in [field.name for field in fields(one)] if one is not None else []:
            a, b = getattr(one, name), getattr(other, name)
            assert a.dtype == b.dtype, name
            if name in EXACT or part == "points":
                assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
            elif name == "mean":  # it may be near 0 where the values are not: they decide how much is rounded
                largest = np.fmax(np.abs(other.minimum), np.abs(other.maximum))
                assert np.array_equal(np.isnan(a), np.isnan(b)), name
                assert not (np.abs(a - b) > 1e-12 * largest).any(), name
            else:
                assert np.allclose(a, b, rtol=1e-12, atol=1e-300, equal_nan=True), name


STEPS = {
    "rising": lambda rng, n: np.arange(n),
    "sparse": lambda rng, n: np.cumsum(rng.integers(1, 1000, n)),
    "epochs": lambda rng, n: np.arange(n) // 150,
    "stuck": lambda rng, n: np.zeros(n, np.int64),
    "falling": lambda rng, n: np.arange(n)[::-1],
    "any": lambda rng, n: rng.integers(-50, 1500, n),
    "restarted": lambda rng, n: np.concatenate([np.arange(n // 2), np.arange(n - n // 2) + n // 4]),
    "huge": lambda rng, n: rng.integers(-(2**62), 2**62, n),
}
TIMES = {
    "clock": lambda rng, n: T0 + np.cumsum(rng.integers(1, 2000, n)),
    "same": lambda rng, n: np.full(n, T0),
    "odd": lambda rng, n: T0 + rng.integers(0, 3000, n),
}
CANVASES = [
    Canvas(columns=7),
    Canvas(columns=40),
    Canvas(columns=5_000),
    Canvas(columns=9, is_log=True),
    Canvas(columns=9, first=100, last=900),
    Canvas(columns=9, first=-20, last=400, is_log=True),
    Canvas(columns=1, first=10),
    Canvas(columns=3, first=5_000_000, last=5_000_001),
    Canvas(columns=11, axis="time", origin=T0),
    Canvas(columns=11, axis="time", origin=T0 + 1000, is_log=True),
    Canvas(columns=6, axis="time", origin=T0, first=500, last=400_000),
    Canvas(columns=2, first=MIN_X, last=MAX_X),
]


def logged(rng, steps, times, streams):
    """Return writers that have logged a series in changes of all sizes, with others beside it, and the run."""
    writers = [StreamWriter() for _ in range(streams)]
    run_id = writers[0].create_run().entity_id
    values = rng.normal(size=(2, len(steps)))
    values[:, rng.random(len(steps)) < 0.02] = np.nan
    values[:, rng.random(len(steps)) < 0.01] = np.inf
    values[0, rng.random(len(steps)) < 0.1] = -0.0
    at = 0
    while at < len(steps):
        groups = []
        for _ in range(rng.integers(1, 4)):
            end = at + int(rng.choice([1, 3, 20, 150]))
            keys = ("loss", "acc")[: int(rng.integers(1, 3))]
            groups.append(PointGroup(keys, steps[at:end], times[at:end], values[: len(keys), at:end]))
            at = end
        writers[int(rng.integers(streams))].append_groups(run_id, *[group for group in groups if len(group)])
    return writers, run_id


@pytest.mark.parametrize(
    ("of_steps", "streams"),
    [
        # Of one stream, summaries are those of three that have no others beside them.
        pytest.param(name, count, marks=[] if count > 1 or name in ("rising", "any") else pytest.mark.thorough)
        for name in STEPS
        for count in (1, 3)
    ],
)
def test_a_plot_from_summaries_is_the_plot_of_all_points(tmp_path, small_chunks, of_steps, streams):
    for number, of_times in enumerate(TIMES):
        rng = np.random.default_rng([len(of_steps), streams, number])
        steps, times = STEPS[of_steps](rng, 1200).astype(np.int64), TIMES[of_times](rng, 1200)
        writers, run_id = logged(rng, steps, times, streams)
        reference = MemoryStore()
        with open_store(f"sqlite:///{tmp_path}/{of_times}.db") as store:
            for writer in writers:
                for some in range(0, len(writer.changes), 5):
                    store.apply(writer.changes[some : some + 5])
                    reference.apply(writer.changes[some : some + 5])
            for most, asked in product((1, 3, 9, 100, 1000), (None, (100, 900), (-20, 5))):
                found, expected = (
                    s.read_series(run_id, "loss", steps=asked, max_points=most) for s in (store, reference)
                )
                assert found.total == expected.total
                for name in ("steps", "times", "values"):
                    assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), (of_times, most, asked)
            for canvas in CANVASES:
                for key in ("loss", "acc"):
                    found = store.plot_series(run_id, key, canvas)
                    try:
                        assert_same_plot(found, reference.plot_series(run_id, key, canvas))
                    except AssertionError as error:
                        error.add_note(f"{of_times}: {key} on {canvas}")
                        raise


@pytest.mark.parametrize("axis", ["step", "time"])
def test_points_of_one_x_that_lie_in_many_chunks_are_looked_up_together(tmp_path, small_chunks, monkeypatch, axis):
    asked = []
    run_alone = Transaction.rows

    def rows(self, build, parameters=None):
        asked.append(build.__name__)
        return run_alone(self, build, parameters)

    def logged_to(store, of_chunks):
        writer = StreamWriter()
        run_id = writer.create_run().entity_id
        for chunk in range(of_chunks):  # each begins and ends at an x of others, with other points between
            x = np.array([10 * (chunk % 4), 1 + chunk % 7, 35, 10 * (chunk % 3)]).repeat(16)
            writer.append_groups(run_id, PointGroup(("loss",), x, T0 + x, np.arange(64.0)[None] + chunk))
        for change in writer.changes:
            store.apply([change])
        return run_id

    canvas = Canvas(columns=4, axis=axis, origin=T0)
    taken = []
    for of_chunks in (12, 48):
        with open_store(f"sqlite:///{tmp_path}/{of_chunks}.db") as store:
            run_id, reference = logged_to(store, of_chunks), MemoryStore()
            for page in [store.read_changes(after=0, limit=1000)]:
                reference.apply(page.changes)
            with monkeypatch.context() as patch:
                # Pieces are put together, and places looked up, whenever there are more than so many.
                patch.setattr(plots, "_MOST_PIECES", 1_000)
                patch.setattr(Transaction, "rows", rows)
                asked.clear()
                found = store.plot_series(run_id, "loss", canvas)
            assert_same_plot(found, reference.plot_series(run_id, "loss", canvas))
            assert asked.count("_segments") > 0
            taken.append(asked.count("_segments"))
    assert taken[0] == taken[1]


def test_thinning_out_a_series_in_any_order_takes_the_memory_of_some_of_it(tmp_path):
    peaks = []
    for count in (200_000, 1_000_000):
        steps = np.random.default_rng(count).permutation(count)
        writer = StreamWriter()
        run_id = writer.create_run().entity_id
        for some in np.split(steps, 8):
            writer.append_groups(run_id, PointGroup(("loss",), some, T0 + some, np.sin(some / 100.0)[None]))
        with open_store(f"sqlite:///{tmp_path}/{count}.db") as store:
            store.apply(writer.changes)
            tracemalloc.start()
            found = store.read_series(run_id, "loss", max_points=2000)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert found.total == count
        assert 1000 < len(found) <= 2000
    assert peaks[1] < 16 << 20, peaks
