"""The PostgreSQL store passes the suite, and keeps what it promises about servers, processes, locks and texts."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import threading
import time

import numpy as np
import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql import postgres as database_module
from modeldb_core.backends._sql import postgres_driver as driver
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.errors import InvalidArgumentError, NotFoundError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.queries import Query
from modeldb_core.testing import MetadataStoreTests, StreamWriter
from tests.backends.writers import a_run, assert_all_there, in_children, write_runs
from tests.services.postgres import Postgres

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class TestPostgresStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, postgres_url):
        return lambda: PostgresStore(postgres_url)

    @pytest.fixture
    def process_url(self, postgres_url):
        return postgres_url


@pytest.fixture
def store(postgres_url):
    with PostgresStore(postgres_url) as store:
        yield store


def sql(store, query, *parameters):
    return store._database.read(lambda read: read.connection.exec_driver_sql(query, parameters).fetchall())


def rewrite(store, query, *parameters):
    store._database.write(lambda write: write.connection.exec_driver_sql(query, parameters))


# What a store is asked and told


def test_a_batch_of_points_takes_two_trips_to_the_server(store, monkeypatch):
    writer, run_id = a_run()
    store.apply(writer.changes)
    for step in range(2):
        writer.append(run_id, {"loss": [0.5], "auc": [0.1]}, steps=[step])
    store.apply(writer.changes[-2:-1])
    trips = []
    wait = driver.DriverConnection.wait
    monkeypatch.setattr(driver.DriverConnection, "wait", lambda *arguments: (trips.append(1), wait(*arguments))[1])
    store.apply(writer.changes[-1:])
    assert len(trips) == 2


def test_large_batches_are_sent_in_parts(store):
    writer, run_id = a_run()
    values = np.random.default_rng(1).random(40_000).tolist()
    for index in range(8):
        writer.append(run_id, {f"loss{index}": values}, steps=range(40_000))
    store.apply(writer.changes)
    for index in range(8):
        assert store.read_series(run_id, f"loss{index}").values.tolist() == values
    assert list(store.read_changes().changes) == writer.changes


def test_the_longest_keys_are_kept_and_found(store):
    letters = random.Random(1)
    key = "".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(1024))
    writer = StreamWriter()
    run_id = writer.create_run(hyperparameters={key: 1}, tags=[key]).entity_id
    writer.append(run_id, {key: [1.0]}, steps=[0])
    store.apply(writer.changes)
    assert store.get("run", run_id).hyperparameters[key] == 1
    (run,) = store.find(Query(filter=f'hyperparameters."{key}" = 1 and metrics."{key}" = 1')).entities
    assert run.entity_id == run_id
    with PostgresStore(store_url(store)) as other:  # it has not seen the number of the key
        writer.append(run_id, {key: [2.0]}, steps=[1])
        other.apply(writer.changes[-1:])
        assert other.read_series(run_id, key).values.tolist() == [1.0, 2.0]


def store_url(store):
    """Return the URL with its password, which the store itself does not tell."""
    parameters = store._database._address.parameters
    return (
        f"postgresql://{parameters['user']}:{parameters['password'].replace(' ', '%20')}@{parameters['host']}:"
        f"{parameters['port']}/{parameters['dbname']}"
    )


@pytest.mark.parametrize("unfit", ["a\0b", "a\ud800b"])
def test_a_text_that_cannot_be_stored_equals_none_that_is(store, unfit):
    writer, run_id = a_run()
    writer.append(run_id, {"loss": [1.0]}, steps=[0])
    store.apply(writer.changes)
    for missing in (lambda: store.get("run", unfit), lambda: store.read_series(run_id, unfit)):
        with pytest.raises(NotFoundError):
            missing()
    assert store.read_changes(entity_id=unfit).changes == ()
    assert store.read_changes(stream_id=unfit).changes == ()
    assert store.find(Query(within=unfit)).entities == ()


def test_an_identifier_that_cannot_be_stored_is_refused_in_a_sentence(store):
    with pytest.raises(InvalidArgumentError, match="none that is NUL"):
        store.apply([change_of("a\0b")])
    letters = random.Random(1)
    with pytest.raises(InvalidArgumentError, match="2,000 characters; expected 1 to 1,024"):
        store.apply([change_of("".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(2000)))])
    write_runs(store, 1)


def change_of(entity_id):
    writer = StreamWriter()
    writer.create("run", entity_id, name="run")
    return writer.changes[0]


def test_times_far_apart_have_a_duration(store):
    writer = StreamWriter()
    writer.create_run(name="long", started_at=-(2**62) - 5, finished_at=2**62 + 5)
    store.apply(writer.changes)
    assert [run.name for run in store.find(Query(filter="duration > 1e12")).entities] == ["long"]


# Locks and threads


def test_a_lock_that_is_held_too_long_is_an_outage(store, postgres_url):
    write_runs(store, 1)
    entered, leave = threading.Event(), threading.Event()

    def hold(_transaction):
        entered.set()
        leave.wait(240)

    with PostgresStore(f"{postgres_url}?timeout_s=4") as impatient:
        thread = threading.Thread(target=store._database.write, args=(lambda t: (t.scalar(_one), hold(t)),))
        thread.start()
        entered.wait(240)
        try:
            with pytest.raises(StoreUnavailableError, match="locked by another writer"):
                write_runs(impatient, 1)
            assert impatient.find(Query(count=True)).total == 1  # readers do not wait
        finally:
            leave.set()
            thread.join(240)
        write_runs(impatient, 1)


def _one(_database):
    from sqlalchemy import text

    return text("SELECT 1")


def test_a_writer_that_hangs_loses_its_lock_and_begins_again(postgres_url, store):
    entered, leave, calls = threading.Event(), threading.Event(), []

    def hang(transaction):
        calls.append(transaction.scalar(_one))
        entered.set()
        leave.wait(240)
        transaction.scalar(_one)

    with PostgresStore(f"{postgres_url}?timeout_s=4") as hanging:
        thread = threading.Thread(target=hanging._database.write, args=(hang,))
        thread.start()
        entered.wait(240)
        write_runs(store, 1)  # it waits for the lock until the server takes it away
        assert len(calls) == 1
        leave.set()
        thread.join(240)
    assert len(calls) == 2


def test_threads_share_few_connections(postgres_url):
    with PostgresStore(f"{postgres_url}?pool_size=2") as store:
        threads = [threading.Thread(target=write_runs, args=(store, 5)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        ((count,),) = sql(store, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert count - len([1 for _ in sql(store, PARALLEL)]) <= 2
        assert_all_there(store, 60)


PARALLEL = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type <> 'client backend'"


def test_a_store_that_was_closed_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.heads()


# Processes


@forks
def test_8_processes_write_at_once_and_nothing_is_lost(postgres_url):
    def work():
        with PostgresStore(postgres_url) as store:
            write_runs(store, 10)

    in_children(8, work)
    with PostgresStore(postgres_url) as store:
        assert_all_there(store, 80)
        changes = store.read_changes(limit=10_000).changes
        assert len(changes) == 160
        assert verify(store).findings == []


@forks
def test_a_store_that_was_open_before_a_fork_works_on_both_sides(postgres_url):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)

        def work():
            write_runs(store, 3)
            assert store.find(Query(count=True)).total >= 4

        in_children(8, work)
        write_runs(store, 1)
        assert_all_there(store, 26)


@forks
def test_a_fork_waits_for_the_threads_that_write(postgres_url):
    with PostgresStore(postgres_url) as store:
        stop, written, errors = threading.Event(), [], []

        def keep_writing():
            try:
                while not stop.is_set():
                    write_runs(store, 1)
                    written.append(1)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=keep_writing) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            in_children(2, lambda: write_runs(store, 1))
        stop.set()
        for thread in threads:
            thread.join(240)
        assert errors == []
        assert_all_there(store, len(written) + 10)


def test_a_follower_misses_no_change_while_many_write(postgres_url):
    seen, stop = [], threading.Event()
    with PostgresStore(postgres_url) as follower:

        def follow():
            cursor = 0
            while True:
                is_last = stop.is_set()
                page = follower.read_changes(after=cursor, limit=7)
                seen.extend(page.changes)
                cursor = page.cursor
                if is_last and not page.changes:
                    return

        thread = threading.Thread(target=follow)
        thread.start()

        def work():
            with PostgresStore(postgres_url) as store:
                write_runs(store, 10)

        writers = [threading.Thread(target=work) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(240)
        stop.set()
        thread.join(240)
        assert len(seen) == 80
        assert seen == list(follower.read_changes(limit=1000).changes)


# Servers that stop


@pytest.fixture
def server():
    """A server of the test's own, which writes to its disk only when it must."""
    server = Postgres(settings={"wal_writer_delay": "10s", "checkpoint_timeout": "1h"})
    yield server
    server.stop()


def test_what_was_applied_outlives_the_server(server):
    url = server.new_database()
    with PostgresStore(url) as store:
        write_runs(store, 5)
        server.kill()
        server.start()
        write_runs(store, 1)  # with a new connection
        assert_all_there(store, 6)
        assert verify(store).findings == []


def test_what_others_may_rely_on_outlives_the_server(server, monkeypatch):
    """A writer frees the lock before its changes are on the disk: who reads heads or changes waits for that."""
    url = server.new_database()
    with PostgresStore(url) as store, PostgresStore(url) as other:
        write_runs(store, 1)
        monkeypatch.setattr(database_module, "_FLUSH", b"SELECT 1")
        write_runs(store, 1)
        monkeypatch.undo()
        heads = other.heads()
        server.kill()
        server.start()
        assert store.heads() == heads
        monkeypatch.setattr(database_module, "_FLUSH", b"SELECT 1")
        write_runs(store, 1)
        monkeypatch.undo()
        seen = other.read_changes().changes
        server.kill()
        server.start()
        assert store.read_changes().changes == seen
        assert len(seen) == 6


def test_numbers_that_a_server_has_forgotten_are_forgotten(server, monkeypatch):
    """A server that comes back may have lost what it had last, if it is a replica or a backup: keys too."""
    url = server.new_database()
    with PostgresStore(url) as store:
        write_runs(store, 1)
        ((newest,),) = sql(store, "SELECT max(key_pk) FROM keys")
        monkeypatch.setattr(database_module, "_FLUSH", b"SELECT 1")
        writer, run_id = a_run()
        writer.append(run_id, {"lost": [1.0]}, steps=[0])
        store.apply(writer.changes)
        assert sql(store, "SELECT max(key_pk) FROM keys") == [(newest + 1,)]
        server.kill()
        monkeypatch.undo()
        server.start()
        assert sql(store, "SELECT max(key_pk) FROM keys") == [(newest,)]
        store.apply(writer.changes)
        assert store.read_series(run_id, "lost").values.tolist() == [1.0]
        assert verify(store).findings == []


@forks
def test_8_processes_that_write_while_the_server_dies_lose_nothing(postgres):
    url = postgres.new_database()
    PostgresStore(url).close()
    said_read, said_write = os.pipe()

    def work():
        writer, run_id = a_run()
        with PostgresStore(url) as store:
            for step in range(60):
                writer.append(run_id, {"loss": [float(step)]}, steps=[step])
                while True:
                    try:
                        store.apply(writer.changes[-2:])
                        break
                    except StoreUnavailableError:
                        time.sleep(0.05)
                os.write(said_write, f"{run_id} {step}\n".encode())

    killer = threading.Thread(target=_kill_twice, args=(postgres, said_read))
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    killer.start()
    killer.join(240)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 8
    os.close(said_write)
    os.close(said_read)
    with PostgresStore(url) as store:
        runs = store.find(Query(limit=100)).entities
        assert len(runs) == 8
        for run in runs:
            assert store.read_series(run.entity_id, "loss").values.tolist() == [float(step) for step in range(60)]
        assert len(store.read_changes(limit=10_000).changes) == 8 * 61
        assert verify(store).findings == []
    postgres.give_back(url)


def _kill_twice(postgres, said):
    """Kill the server and start it again, twice, each time after some changes were confirmed."""
    for _ in range(2):
        confirmed = 0
        while confirmed < 80:
            confirmed += os.read(said, 1 << 16).count(b"\n")
        postgres.kill()
        postgres.start()


def test_a_server_that_hangs_is_an_outage_that_passes(postgres, postgres_url, monkeypatch):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        postgres.pause()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(driver, "GRACE_S", 0.3 - store._database._timeout_s)  # nobody wants to wait that long
                patch.setattr(
                    store._database,
                    "_connector",
                    dataclasses.replace(store._database._connector, connect_timeout_s=0.3),
                )
                with pytest.raises(StoreUnavailableError, match="did not answer within 60 s"):
                    store.heads()
                with pytest.raises(StoreUnavailableError, match="did not answer within 10 s"):
                    write_runs(store, 1)  # on a new connection
            with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 s"):
                PostgresStore(f"{postgres_url}?connect_timeout_s=0.3")
        finally:
            postgres.resume()
        write_runs(store, 1)
        assert_all_there(store, 2)


def test_an_interrupt_ends_the_waiting_and_the_store_goes_on(postgres, postgres_url):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        timer = threading.Timer(0.2, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start tests without one
        postgres.pause()
        try:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                store.heads()
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
            postgres.resume()
        assert_all_there(store, 1)


def test_connections_that_the_server_has_ended_are_replaced(postgres, postgres_url):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        for _ in range(3):
            name = postgres_url.rpartition("/")[2]
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            write_runs(store, 1)
        assert_all_there(store, 4)


# Full disks


def test_a_full_disk_is_an_outage_that_passes(postgres, small_disk):
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    name = "on_small_disk"
    postgres.execute(f"CREATE DATABASE {name} TABLESPACE small")
    try:
        with PostgresStore(postgres.url(name)) as store:
            write_runs(store, 1)
            postgres.execute(
                "CHECKPOINT"
            )  # or the copied catalogs are files with holes, for which there is no room later
            writer, run_id = a_run()
            noise = random.Random(2).randbytes(12 << 20).hex()
            writer.update("run", run_id, put={"attributes": {"text": noise}})
            with pytest.raises(StoreUnavailableError, match="the disk of the PostgreSQL server .* is full"):
                store.apply(writer.changes)
            assert_all_there(store, 1)
            write_runs(store, 1)
            assert_all_there(store, 2)
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
        postgres.execute("DROP TABLESPACE small")


@pytest.fixture
def small_disk(postgres):
    """A folder on a disk of 24 MB that the server may write."""
    import shutil
    import subprocess
    import tempfile
    from pathlib import Path

    if os.geteuid() != 0:
        pytest.skip("only root can make a disk of its own")
    folder = Path(tempfile.mkdtemp(prefix="modeldb-small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        shutil.rmtree(folder)
        pytest.skip("this system lets nobody mount a disk")
    try:
        inside = folder / "space"
        inside.mkdir()
        folder.chmod(0o755)
        if postgres.user is not None:
            shutil.chown(inside, postgres.user)
        yield inside
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


# Reading only


def test_a_store_opened_for_reading_refuses_to_write(postgres_url):
    with pytest.raises(StoreReadOnlyError, match="empty"):
        PostgresStore(f"{postgres_url}?read_only=true")
    with PostgresStore(postgres_url) as store, PostgresStore(postgres_url, read_only=True) as reader:
        write_runs(store, 1)
        assert_all_there(reader, 1)
        with pytest.raises(StoreReadOnlyError, match="may only be read"):
            write_runs(reader, 1)


def test_a_server_that_stops_taking_writes_says_so(postgres, postgres_url):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        name = postgres_url.rpartition("/")[2]
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            store._database._engine.dispose()
            assert_all_there(store, 1)
            with pytest.raises(StoreReadOnlyError):
                write_runs(store, 1)
        finally:
            postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
