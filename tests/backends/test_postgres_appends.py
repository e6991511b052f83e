"""The short way of points into PostgreSQL: whatever others write meanwhile, nothing is lost, doubled or missed."""

from __future__ import annotations

import re
import threading

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql import postgres, postgres_appends
from modeldb_core.backends._sql.postgres_driver import driver_of
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.testing import StreamWriter
from tests.backends.writers import a_run
from tests.services.pgbouncer import PROGRAM, PgBouncer

KEYS = ("loss", "auc")


@pytest.fixture
def stores(postgres_url):
    with PostgresStore(postgres_url) as one, PostgresStore(postgres_url) as other:
        yield one, other


def started(store, run_id=""):
    """Return a writer of which the store knows all that the short way needs, and its run."""
    writer, run_id = (StreamWriter(), run_id) if run_id else a_run()
    store.apply(writer.changes)
    for _ in range(2):
        store.apply([appended(writer, run_id)])
    return writer, run_id


def forget(store, writer):
    """Let a store ask again what the last batch of a writer has left."""
    assert store._remembered.take({writer.stream_id}) is not None


def appended(writer, run_id, value=0.5):
    return writer.append(run_id, {key: [value, -0.0, 2.0] for key in KEYS})


@pytest.fixture
def counted(monkeypatch):
    """Count how batches went: True for each that took the short way, False for one that tried."""
    went = []
    tried = postgres_appends.append_shortly
    monkeypatch.setattr(
        "modeldb_core.backends._sql.postgres_appends.append_shortly",
        lambda *given: went.append(tried(*given)) or went[-1],
    )
    return went


def in_full(metrics):
    return {key: repr(value) for key, value in metrics.items()}  # NaN is not itself, and -0.0 is 0.0


def assert_sound(store, run_id):
    """See that a store is as the reference makes it of its log, and that its audit finds nothing."""
    changes = store.read_changes(limit=10_000).changes
    names = [(change.stream_id, change.seq) for change in changes]
    assert len(names) == len(set(names))
    reference = MemoryStore()
    reference.apply(changes)
    assert reference.heads() == store.heads()
    ours, expected = store.get("run", run_id), reference.get("run", run_id)
    assert in_full(ours.metrics) == in_full(expected.metrics)
    for key in KEYS:
        one, other = store.read_series(run_id, key), reference.read_series(run_id, key)
        assert one.values.tobytes() == other.values.tobytes()
        assert repr(ours.series[key]) == repr(expected.series[key])
    report = verify(store)
    assert report.ok, report


def test_small_appends_take_the_short_way(stores, counted):
    store, _ = stores
    writer, run_id = started(store)
    for _ in range(5):
        store.apply([appended(writer, run_id, 0.25)])
    store.apply([appended(writer, run_id), appended(writer, run_id, float("inf"))])
    assert counted[-6:] == [True] * 6
    assert_sound(store, run_id)


def test_they_do_in_a_schema_of_any_name(postgres_url, counted):
    with PostgresStore(postgres_url, schema='one "of" 100% ours') as store:
        writer, run_id = started(store)
        counted.clear()
        for _ in range(3):
            store.apply([appended(writer, run_id)])
        assert counted == [True] * 3
        assert_sound(store, run_id)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e-308, 0.1 + 0.2, -0.0])
def test_any_number_comes_back_as_it_was(stores, counted, value):
    store, _ = stores
    writer, run_id = started(store)
    once = writer.update("run", run_id, put={"metrics": {"loss": value}})
    store.apply([once, appended(writer, run_id)])
    counted.clear()
    for _ in range(2):
        store.apply([writer.append(run_id, {key: [value] for key in KEYS})])
    assert counted == [True] * 2
    assert_sound(store, run_id)


@pytest.mark.parametrize("between", ["the same", "another stream", "a value", "an erasure", "a name", "another run"])
def test_what_others_write_meanwhile_is_seen_under_the_lock(stores, counted, monkeypatch, between):
    store, other = stores
    writer, run_id = started(store)
    second, _ = started(other, run_id)
    third, third_run = started(other)
    change = appended(writer, run_id, 0.75)
    meanwhile = {
        "the same": lambda: [change],
        "another stream": lambda: [appended(second, run_id, 8.0)],
        "a value": lambda: [second.update("run", run_id, put={"metrics": {"loss": 7.0}})],
        "an erasure": lambda: [writer_erases(second, writer)],
        "a name": lambda: [second.update("run", run_id, set={"name": "renamed"})],
        "another run": lambda: [appended(third, third_run)],
    }[between]
    made = postgres_appends._statement
    waiting = [meanwhile]

    def statement(*given):
        found = made(*given)
        if waiting:
            assert found is not None
            other.apply(waiting.pop()())
        return found

    counted.clear()
    forget(store, writer)
    monkeypatch.setattr(postgres_appends, "_statement", statement)
    store.apply([change])
    assert not waiting
    assert counted[-1] is (between == "another run")
    assert_sound(store, run_id)
    assert store.heads()[writer.stream_id].seq == change.seq


def writer_erases(eraser, writer):
    return eraser.erase(writer.changes[1])


@pytest.mark.parametrize("between", ["another stream", "a value", "an erasure", "a name"])
def test_what_others_wrote_since_the_last_batch_is_asked_for_again(stores, counted, between):
    store, other = stores
    writer, run_id = started(store)
    second, _ = started(other, run_id)
    changes = {
        "another stream": lambda: [appended(second, run_id, 8.0)],
        "a value": lambda: [second.update("run", run_id, put={"metrics": {"loss": 7.0}})],
        "an erasure": lambda: [writer_erases(second, writer)],
        "a name": lambda: [second.update("run", run_id, set={"name": "renamed"})],
    }[between]()
    store.apply([appended(writer, run_id)])
    other.apply(changes)
    counted.clear()
    store.apply([appended(writer, run_id, 0.75)])
    assert counted == [between != "an erasure"]
    store.apply([appended(writer, run_id, 0.25)])
    assert_sound(store, run_id)


# What it costs


@pytest.fixture
def driver(stores):
    """The connection that the first of the stores uses."""
    with stores[0]._database._engine.connect() as connection:
        return driver_of(connection)


def test_a_batch_takes_one_trip_after_another_and_two_after_none(stores, driver):
    store, _ = stores
    writer, run_id = started(store)
    trips = []
    for forgets in (False, False, True, False):
        if forgets:
            forget(store, writer)
        before = driver.trips
        store.apply([appended(writer, run_id)])
        trips.append(driver.trips - before)
    assert trips == [1, 1, 2, 1]


def test_the_statement_of_a_batch_is_planned_once_in_a_session(stores, driver):
    store, _ = stores
    writer, run_id = started(store)
    for _ in range(10):
        store.apply([appended(writer, run_id)])
    with driver.cursor() as cursor:
        cursor.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements")
        assert cursor.fetchall() == [(11, 0)]


def test_its_plan_looks_up_rows_by_their_keys_even_if_made_while_tables_are_empty(stores, driver):
    with driver.cursor() as cursor:
        cursor.execute(b";".join([b"BEGIN", postgres_appends._PREPARE, postgres_appends._PLANNING]))
        given = ", ".join("NULL" for _ in postgres_appends._PARAMETERS)
        cursor.execute(f"EXPLAIN EXECUTE {postgres_appends._NAME} ({given})")
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute(f"ROLLBACK; DEALLOCATE {postgres_appends._NAME}")
    assert "Seq Scan" not in plan
    assert re.search(r"using metrics_pkey.*\n *Index Cond: \(\(key_pk = ANY \(.*\)\) AND \(entity_pk = ", plan)


def test_a_session_that_others_share_costs_one_batch_the_long_way(stores, counted, driver):
    store, _ = stores
    writer, run_id = started(store)
    counted.clear()
    with driver.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")  # as if another one answered
    for _ in range(3):
        store.apply([appended(writer, run_id)])
    assert counted == [False, True, True]
    assert_sound(store, run_id)


def test_two_stores_append_through_one_session_of_a_pooler(postgres, postgres_url, counted):
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed; on Debian: apt install pgbouncer")
    bouncer = PgBouncer(postgres, "transaction")
    try:
        url = bouncer.url(postgres_url)
        with PostgresStore(url) as one, PostgresStore(url) as other:
            writers = [(store, *started(store)) for store in (one, other)]
            counted.clear()
            for _ in range(4):
                for store, writer, run_id in writers:
                    store.apply([appended(writer, run_id)])
            assert counted.count(True) >= 6
            for store, _, run_id in writers:
                assert_sound(store, run_id)
    finally:
        bouncer.stop()


def test_the_lock_is_held_for_the_last_trip_alone(stores, monkeypatch):
    store, other = stores
    writer, run_id = started(store)
    second, second_run = started(other)
    made = postgres_appends._statement

    def statement(*given):
        found = made(*given)
        if given[0].database is store._database:  # while it has asked, another batch is written whole
            other.apply([appended(second, second_run)])
        return found

    monkeypatch.setattr(postgres_appends, "_statement", statement)
    forget(store, writer)
    store.apply([appended(writer, run_id)])
    assert [change.stream_id for change in store.read_changes(limit=100).changes[-2:]] == [
        second.stream_id,
        writer.stream_id,
    ]


def test_a_follower_misses_nothing_while_many_write(postgres_url, stores):
    """Positions become visible in their order, however writers overtake one another on their way to the lock."""
    store, _ = stores
    count, batches = 4, 25
    ready = threading.Barrier(count + 1)
    failures = []

    def write():
        with PostgresStore(postgres_url) as own:
            writer, run_id = started(own)
            ready.wait()
            try:
                for number in range(batches):
                    own.apply([appended(writer, run_id, float(number))])
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=write) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    seen, cursor = [], 0

    def follow():
        nonlocal cursor
        while (page := store.read_changes(after=cursor, limit=7)).changes:
            seen.extend((change.stream_id, change.seq) for change in page.changes)
            cursor = page.cursor

    while any(thread.is_alive() for thread in threads):
        follow()
    follow()
    assert not failures
    assert len(seen) == len(set(seen)) == count * (batches + 3)
    for stream_id in {stream_id for stream_id, _ in seen}:
        assert [seq for each, seq in seen if each == stream_id] == list(range(1, batches + 4))
    assert store.end_of_log() == len(seen) == cursor


def test_a_lost_statement_goes_the_long_way(stores, counted, monkeypatch):
    store, _ = stores
    writer, run_id = started(store)
    counted.clear()
    send = postgres.send

    def broken(connection, *statements):
        if postgres_appends._NAME.encode() in statements[0]:
            connection.connection.dbapi_connection.close()
        return send(connection, *statements)

    monkeypatch.setattr(postgres, "send", broken)
    store.apply([appended(writer, run_id)])
    assert counted == [False]
    assert_sound(store, run_id)
