"""Points are merged into larger chunks, and every change is rebuilt from them bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.backends._sql import points as storage
from modeldb_core.backends._sql.summaries import Summary, summarize
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import IntegrityError
from modeldb_core.log.changes import GENESIS, verify_change
from modeldb_core.log.points import PointGroup
from modeldb_core.testing import StreamWriter

T0 = 1_700_000_000_000_000
KEYS = ("loss", "auc", "lr", "grad", "time")


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield store


def group(keys, start, rows, seed=0):
    rng = np.random.default_rng([seed, start])
    times = T0 + start * 1_000_000 + np.cumsum(rng.integers(900_000, 1_100_000, rows))
    return PointGroup(tuple(keys), np.arange(start, start + rows), times, rng.random((len(keys), rows)))


def ship(store, writer, size):
    for at in range(0, len(writer.changes), size):
        store.apply(writer.changes[at : at + size])


def sql(store, query, *parameters):
    return store._database.read(lambda read: read.connection.exec_driver_sql(query, parameters).fetchall())


def rewrite(store, query, *parameters):
    store._database.write(lambda write: write.connection.exec_driver_sql(query, parameters))


def assert_log_is(store, writer):
    page = store.read_changes(stream_id=writer.stream_id, limit=10**6)
    assert list(page.changes) == writer.changes
    previous = GENESIS
    for change in page.changes:
        verify_change(change, previous)
        previous = change.hash


def assert_series_is(store, run_id, key, groups):
    series = store.read_series(run_id, key)
    expected = [(g.steps, g.times, g.values[g.keys.index(key)]) for g in groups if key in g.keys]
    for found, parts in zip((series.steps, series.times, series.values), zip(*expected, strict=True), strict=True):
        assert np.array_equal(found, np.concatenate(parts))


def test_a_point_at_a_time_ends_in_few_chunks(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    groups = [group(KEYS, step, 1) for step in range(3000)]
    for part in groups:
        writer.append_groups(run_id, part)
    ship(store, writer, 7)
    ((chunks,),) = sql(store, "SELECT count(*) FROM chunks")
    ((waiting,),) = sql(store, "SELECT count(*) FROM pending")
    assert chunks <= 3 * storage.FAN_IN
    assert waiting < storage.MAX_PENDING + 7
    for key in KEYS:
        assert_series_is(store, run_id, key, groups)
    assert_log_is(store, writer)


def test_chunks_grow_through_all_size_classes(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    sizes = [1, 5, 40, 700, 3, 3000, 20_000, 9, 100_000, 2, 66_000, 1, 1] + [900] * 40 + [5000] * 30
    groups, start = [], 0
    for size in sizes:
        groups.append(group(KEYS[:2], start, size))
        writer.append_groups(run_id, groups[-1])
        start += size
    ship(store, writer, 3)
    rows = [count for (count,) in sql(store, "SELECT rows FROM chunks ORDER BY first_position, chunk_pk")]
    assert sum(rows) <= start
    assert max(rows) < 2 * storage.FULL_ROWS
    assert len(rows) < start / storage.FULL_ROWS + 3 * storage.FAN_IN
    assert_series_is(store, run_id, "auc", groups)
    assert_log_is(store, writer)


@pytest.mark.parametrize(("batch", "most"), [(1, 60), (5, 6)])
def test_small_and_large_payloads_in_turn_keep_their_order(store, monkeypatch, batch, most):
    small = {"DIRECT_BYTES": 600, "MAX_PENDING": most, "MAX_PENDING_BYTES": 900, "FAN_IN": 4, "FULL_ROWS": 64}
    for name, value in small.items():
        monkeypatch.setattr(storage, name, value)
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    rng = np.random.default_rng(batch)
    groups, waiting = [], []
    for change in range(120):
        keys = KEYS[:1] if rng.random() < 0.7 else KEYS[:2]
        parts = [group(keys, 100 * change + 30 * index, rng.integers(14)) for index in range(rng.integers(1, 4))]
        writer.append_groups(run_id, *parts)
        groups += parts
    for at in range(0, len(writer.changes), batch):
        store.apply(writer.changes[at : at + batch])
        waiting += sql(store, "SELECT coalesce(sum(size), 0) FROM pending")[0]
    assert 0 < max(waiting) < small["MAX_PENDING_BYTES"]
    assert_series_is(store, run_id, KEYS[0], groups)
    assert_log_is(store, writer)


VALUES = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1.0, 2.0])
POINTS = st.lists(st.tuples(VALUES, st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=6)


@given(st.lists(st.lists(POINTS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_summary_that_grew_is_that_of_all_points(batches):
    grown = Summary()
    for batch in batches:
        columns = [[np.array(column) for column in zip(*points, strict=True)] for points in batch]
        parts = [PointGroup(("v",), steps, times, values[None]) for values, times, steps in columns]
        grown.add(summarize(parts)["v"])
    # In the order of arrival, which decides between equals: the first of the earliest, the last of the latest.
    points = [point for batch in batches for part in batch for point in part]
    first = min(points, key=lambda point: point[1])
    last = max(reversed(points), key=lambda point: point[1])
    numbers = [point for point in points if not math.isnan(point[0])]
    nothing = (math.nan, 0, 0)
    lowest = min(numbers, key=lambda point: point[0], default=nothing)
    highest = max(numbers, key=lambda point: point[0], default=nothing)
    expected = Summary(
        len(points),
        len(points) - len(numbers),
        first[0],
        last[0],
        lowest[0],
        highest[0],
        sum((value for value, _, _ in numbers), 0.0),
        first[2],
        last[2],
        lowest[2],
        highest[2],
        first[1],
        last[1],
    )
    assert repr(grown) == repr(expected)


def test_dense_points_take_less_than_eight_bytes(store, tmp_path):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    store.apply(writer.changes)
    before = sql(store, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")[0][0]
    for start in range(0, 100_000, 1000):
        writer.append_groups(run_id, group(KEYS, start, 1000))
    ship(store, writer, 1)
    sizes = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
    after = sql(store, sizes + "pragma_page_size")[0][0]
    assert (after - before) / (100_000 * len(KEYS)) < 8


def test_keys_that_come_and_go_stay_in_their_order(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    rng = np.random.default_rng(1)
    groups = []
    for step in range(400):
        parts = [
            group(rng.permutation(KEYS)[: rng.integers(1, 4)].tolist(), 10 * step + index, int(rng.integers(1, 4)))
            for index in range(rng.integers(1, 4))
        ]
        writer.append_groups(run_id, *parts)
        groups += parts
    ship(store, writer, 11)
    for key in KEYS:
        assert_series_is(store, run_id, key, groups)
    assert_log_is(store, writer)


def test_payloads_of_odd_shapes_are_rebuilt(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    none = np.empty(0, np.int64)
    for index in range(50):
        writer.append_groups(run_id)
        writer.append_groups(run_id, PointGroup((), none, none, np.empty((0, 0))))
        writer.append_groups(run_id, PointGroup((), np.arange(3), np.arange(3), np.empty((0, 3))))
        writer.append_groups(run_id, PointGroup(("a", "b"), none, none, np.empty((2, 0))))
        writer.append_groups(run_id, group(("a",), index, 2), group(("a",), index, 0), group(("a",), index, 1))
        writer.append_groups(run_id, PointGroup(("x", "y"), np.arange(2), np.arange(2), np.arange(4.0).reshape(2, 2)))
    ship(store, writer, 13)
    assert_log_is(store, writer)
    assert len(store.read_series(run_id, "a")) == 150
    assert store.read_series(run_id, "x").values.tolist() == [0.0, 1.0] * 50


def test_values_keep_their_bits_in_chunks_and_summaries(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    bits = np.array([0x7FF8000000000001, 0xFFF8000000000002, 1 << 63, 0x7FF0000000000000, 1, 0], np.uint64)
    values = np.tile(bits, 100).view(np.float64)
    for start in range(0, len(values), 10):
        steps = np.arange(start, start + 10)
        writer.append_groups(run_id, PointGroup(("v",), steps, T0 + steps, values[None, start : start + 10]))
    ship(store, writer, 1)
    found = store.read_series(run_id, "v").values
    assert np.array_equal(found.view(np.uint64), values.view(np.uint64))
    negative_zero = StreamWriter()
    negative_zero.append(run_id, {"z": [-0.0]}, steps=[0])
    store.apply(negative_zero.changes)
    run = store.get("run", run_id)
    assert str(run.metrics["z"]) == "-0.0"
    assert str(run.series["z"].minimum) == "-0.0"


def test_erased_points_leave_chunks(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    groups = [group(("a", "b"), step, 1) for step in range(200)]
    appends = [writer.append_groups(run_id, part) for part in groups]
    ship(store, writer, 10)
    gone = [3, 50, 51, 199]
    for index in gone:
        writer.erase(appends[index])
    store.apply(writer.changes)
    left = [part for index, part in enumerate(groups) if index not in gone]
    assert_series_is(store, run_id, "a", left)
    assert store.get("run", run_id).series["a"].count == 196
    page = store.read_changes(stream_id=writer.stream_id, limit=1000)
    assert [c.payload is None for c in page.changes[1:201]] == [index in gone for index in range(200)]
    previous = GENESIS
    for change in page.changes:
        verify_change(change, previous)
        previous = change.hash


def test_a_run_that_ends_leaves_no_large_rest(store):
    writer = StreamWriter()
    run_id = writer.create_run(status="running").entity_id
    for step in range(20):
        writer.append_groups(run_id, group(KEYS, 30 * step, 30))
    ship(store, writer, 1)
    assert sql(store, "SELECT count(*) FROM pending")[0][0] > 0
    writer.update("run", run_id, set={"status": "finished"})
    store.apply(writer.changes)
    assert sql(store, "SELECT count(*) FROM pending")[0][0] == 0
    assert_log_is(store, writer)


@pytest.mark.parametrize(
    "damage",
    [
        'UPDATE columns SET "values" = substr("values", 1, 20)',
        "UPDATE chunks SET steps = x'0011'",
        "UPDATE chunks SET segments = x''",
        "DELETE FROM columns WHERE column_pk = (SELECT min(column_pk) FROM columns)",
        "DELETE FROM chunks",
        "DELETE FROM key_lists",
    ],
)
def test_damaged_chunks_are_noticed(store, damage):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    writer.append_groups(run_id, group(KEYS, 0, 1000))
    store.apply(writer.changes)
    rewrite(store, damage)
    with pytest.raises(IntegrityError):
        read_all(store, run_id, writer.changes[-1])


def read_all(store, run_id, change):
    for key in KEYS:
        store.read_series(run_id, key)
    assert_change_verifies(store, change)


def assert_change_verifies(store, sent):
    (change,) = store.read_changes(after=sent.seq - 1, limit=1).changes
    verify_change(change, sent.previous_hash)


def test_an_altered_value_shows_in_the_hash_of_its_change(store):
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    values = np.random.default_rng(0).random((1, 4))
    writer.append_groups(run_id, PointGroup(("v",), np.arange(4), T0 + np.arange(4), values))
    store.apply(writer.changes)
    ((payload,),) = sql(store, "SELECT payload FROM pending")
    rewrite(store, "UPDATE pending SET payload = ?", payload[:-1] + bytes([payload[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        assert_change_verifies(store, writer.changes[-1])
