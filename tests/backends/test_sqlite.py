"""The SQLite store passes the suite, and keeps what it promises about files, processes and locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import ConfigurationError, IntegrityError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.queries import Query
from modeldb_core.testing import MetadataStoreTests
from tests.backends.writers import a_run, assert_all_there, in_children, write_runs

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class TestSQLiteStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db")

    @pytest.fixture
    def process_url(self, tmp_path):
        return f"sqlite:///{tmp_path}/modeldb.db"


# Paths


def test_nobody_else_may_read_a_new_database_or_its_backup(tmp_path, url):
    before = os.umask(0o022)
    try:
        with SQLiteStore(url) as store:
            write_runs(store, 1)
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
            (tmp_path / "modeldb.db").chmod(0o660)
        with SQLiteStore(url) as store:
            write_runs(store, 1)
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o660}
    finally:
        os.umask(before)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/modeldb.db"


def test_a_relative_path_is_taken_from_the_current_directory_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer, run_id = a_run()
    with SQLiteStore("sqlite:///folder/my%20runs.db") as store:
        assert store.url == f"sqlite:///{tmp_path}/folder/my%20runs.db"
        monkeypatch.chdir("/")
        store.apply(writer.changes)
    with SQLiteStore(store.url) as again:
        assert again.get("run", run_id).name == "run"
    assert (tmp_path / "folder" / "my runs.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "modeldb.db", "sqlite:///folder/"])
def test_a_url_that_names_no_file_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"sqlite:///relative/path\.db"):
        SQLiteStore(url)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="not a file"):
        SQLiteStore(f"sqlite:///{tmp_path}")


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="not a folder"):
        SQLiteStore(f"sqlite:///{tmp_path}/file/modeldb.db")


def test_an_unknown_durability_is_refused(url):
    with pytest.raises(ConfigurationError, match="'normal' or 'fsync'"):
        SQLiteStore(url, durability="sometimes")


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("fsync", 2)])
def test_durability_is_what_sqlite_is_told(url, durability, level):
    with SQLiteStore(url, durability=durability) as store:
        assert pragma(store, "synchronous") == level
        assert pragma(store, "journal_mode") == "wal"


def pragma(store, name):
    return store._database.read(lambda read: read.connection.exec_driver_sql(f"PRAGMA {name}").scalar())


def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(url, tmp_path):
    (tmp_path / "modeldb.db").write_bytes(b"precious" * 1000)
    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        SQLiteStore(url)
    assert (tmp_path / "modeldb.db").read_bytes() == b"precious" * 1000


def test_a_damaged_database_says_how_to_save_what_is_left(url, tmp_path):
    with SQLiteStore(url) as store:
        for _ in range(30):
            store.apply(a_run()[0].changes)
    path = tmp_path / "modeldb.db"
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(IntegrityError, match="recover"), SQLiteStore(url) as store:
        store.find(Query())


def test_a_closed_store_says_so(url):
    store = SQLiteStore(url)
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.heads()


# Full disks and locks


def test_a_full_disk_is_an_outage_that_passes(url):
    writer, run_id = a_run()
    with SQLiteStore(url) as store:
        store.apply(writer.changes)
        seen = len(writer.changes)
        limit_pages(store, 1)
        writer.update("run", run_id, put={"attributes": {"text": "x" * 100_000}})
        with pytest.raises(StoreUnavailableError, match="full"):
            store.apply(writer.changes[seen:])
        assert store.get("run", run_id).attributes == {}
        limit_pages(store, 2**30)
        store.apply(writer.changes[seen:])
        assert len(store.get("run", run_id).attributes["text"]) == 100_000


def limit_pages(store, count):
    """Let SQLite believe that the disk ends after some pages (at the earliest after those in use)."""
    connections = store._database._connections
    connections.release()

    def connect():
        connection = store._database._connect()
        connection.execute(f"PRAGMA max_page_count = {count}")
        return connection

    connections.connect = connect


def test_a_lock_that_is_held_too_long_is_an_outage(url):
    writer, run_id = a_run()
    with SQLiteStore(url, busy_timeout_s=0.1) as store, SQLiteStore(url) as other:
        store.apply(writer.changes)
        entered, leave = threading.Event(), threading.Event()

        def hold(_transaction):
            entered.set()
            leave.wait(240)

        thread = threading.Thread(target=other._database.write, args=(hold,))
        thread.start()
        entered.wait(240)
        try:
            with pytest.raises(StoreUnavailableError, match="locked"):
                store.apply(a_run()[0].changes)
            assert store.get("run", run_id).name == "run"  # readers do not wait
        finally:
            leave.set()
            thread.join(240)
        store.apply(a_run()[0].changes)


# Reading only


def test_a_store_opened_for_reading_refuses_to_write(url, tmp_path):
    writer, run_id = a_run()
    with pytest.raises(StoreReadOnlyError, match="does not exist"):
        SQLiteStore(url, read_only=True)
    assert list(tmp_path.iterdir()) == []
    with SQLiteStore(url) as store, SQLiteStore(url, read_only=True) as reader:
        store.apply(writer.changes)
        assert reader.get("run", run_id).name == "run"
        with pytest.raises(StoreReadOnlyError):
            reader.apply(a_run()[0].changes)


@pytest.fixture
def public_folder():
    folder = Path(tempfile.mkdtemp(prefix="modeldb-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work):
    """Call ``work`` in a process of a user without rights; root may write everywhere."""
    if not hasattr(os, "fork") or os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        work()

    in_children(1, become_nobody)


def assert_can_only_be_read(url, name):
    with SQLiteStore(url) as store:
        assert [run.name for run in store.find(Query()).entities] == [name]
        with pytest.raises(StoreReadOnlyError, match="may only be read"):
            store.apply(a_run()[0].changes)


def test_a_folder_that_may_not_be_written_is_named(public_folder):
    def work():
        with pytest.raises(StoreReadOnlyError, match=f"{public_folder} may not be written"):
            SQLiteStore(f"sqlite:///{public_folder}/modeldb.db")
        with pytest.raises(StoreReadOnlyError, match="cannot be opened"):
            SQLiteStore(f"sqlite:///{public_folder}/new/modeldb.db")

    as_nobody(work)
    assert list(public_folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o777], ids=oct)
def test_a_store_that_may_not_be_written_can_be_read(public_folder, mode):
    public_folder.chmod(mode)
    url = f"sqlite:///{public_folder}/modeldb.db"
    with SQLiteStore(url) as store:
        store.apply(a_run("kept")[0].changes)
        assert len(store.find(Query()).entities) == 1
    (public_folder / "modeldb.db").chmod(0o644)
    as_nobody(lambda: assert_can_only_be_read(url, "kept"))
    assert [path.name for path in public_folder.iterdir()] == [
        "modeldb.db"
    ]  # a log of the reader's locks out the owner


def test_a_store_that_others_write_can_be_read_without_the_right_to_write(public_folder):
    url = f"sqlite:///{public_folder}/modeldb.db"
    with SQLiteStore(url) as store:
        store.apply(a_run("in the log")[0].changes)
        assert len(store.find(Query()).entities) == 1
    (public_folder / "modeldb.db").chmod(0o644)
    # Another process holds it open: a fork of this one would close what is open here.
    code = f"""
import sys
from modeldb_core.backends.sqlite import SQLiteStore
store = SQLiteStore({url!r})
store.heads()
print("ready", flush=True)
sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        try:
            as_nobody(lambda: assert_can_only_be_read(url, "in the log"))
        finally:
            other.communicate("go on\n", timeout=240)


@pytest.mark.parametrize("mode", [0o755, 0o1777], ids=oct)
@pytest.mark.parametrize("shared", [True, False])
def test_what_a_killed_process_left_in_the_log_is_read_by_those_who_may_not_write(public_folder, shared, mode):
    public_folder.chmod(mode)
    url = f"sqlite:///{public_folder}/modeldb.db"
    program = f"""
import os
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.testing import StreamWriter
writer = StreamWriter()
writer.create_run(name="in the log")
SQLiteStore({url!r}).apply(writer.changes)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert (public_folder / "modeldb.db-wal").stat().st_size > 0
    if not shared:  # a copy, or a backup of the folder, need not have it
        (public_folder / "modeldb.db-shm").unlink()
    for path in public_folder.iterdir():
        path.chmod(0o444)
    before = {path.name: path.read_bytes() for path in public_folder.iterdir() if path.suffix != ".db-shm"}
    as_nobody(lambda: assert_can_only_be_read(url, "in the log"))
    assert {path.name: path.read_bytes() for path in public_folder.iterdir() if path.suffix != ".db-shm"} == before


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("colour=red", "'colour'.*is unknown; known: durability, busy_timeout_s, read_only"),
        ("read_onl=1", "did you mean 'read_only'"),
        ("read_only=perhaps", "expected true or false"),
        ("busy_timeout_s=soon", "expected a number"),
        ("durability=hope", "expected 'normal' or 'fsync'"),
        ("read_only=1&read_only=0", "stands twice"),
    ],
)
def test_what_is_wrong_with_an_option_in_the_url_is_said_and_makes_no_file(url, options, message, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=message):
        SQLiteStore(f"{url}?{options}")
    assert sorted(tmp_path.rglob("*")) == before


def test_options_in_the_url_win_over_those_that_are_given(url):
    with SQLiteStore(f"{url}?durability=fsync", durability="normal") as store:
        store.apply(a_run("with options")[0].changes)
        assert store._database._durability == "fsync"
        assert store.url == url
    with SQLiteStore(f"{url}?read_only=true", read_only=False) as store:
        assert store.read_only
        assert store.find(Query(count=True)).total == 1


def test_a_question_mark_in_a_path_is_escaped(tmp_path):
    with SQLiteStore(f"sqlite:///{tmp_path}/really%3F.db") as store:
        store.heads()
    assert (tmp_path / "really?.db").is_file()


# Processes


def assert_all_there_in(url, count):
    with SQLiteStore(url) as store:
        assert_all_there(store, count)


@forks
def test_32_processes_write_at_once_and_nothing_is_lost(url):
    def work():
        with SQLiteStore(url) as store:
            write_runs(store, 5)

    in_children(32, work)
    assert_all_there_in(url, 160)


@forks
def test_a_store_that_was_open_before_a_fork_works_on_both_sides(url):
    with SQLiteStore(url) as store:
        write_runs(store, 1)

        def work():
            write_runs(store, 3)
            assert store.find(Query(count=True)).total >= 4

        in_children(8, work)
        write_runs(store, 1)
    assert_all_there_in(url, 26)


@forks
def test_a_fork_waits_for_the_threads_that_write(url):
    with SQLiteStore(url) as store:
        stop, errors = threading.Event(), []

        def keep_writing():
            count = 0
            while not stop.is_set():
                try:
                    write_runs(store, 1)
                    count += 1
                except Exception as error:
                    errors.append(error)
                    raise
            written.append(count)

        written = []
        threads = [threading.Thread(target=keep_writing) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            in_children(2, lambda: write_runs(store, 1))
        stop.set()
        for thread in threads:
            thread.join(240)
        assert errors == []
    assert_all_there_in(url, sum(written) + 10)


KILLED = """
import sys
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.testing import StreamWriter
store = SQLiteStore(sys.argv[1])
writer = StreamWriter()
run_id = writer.create_run().entity_id
store.apply(writer.changes)
step = 0
while True:
    writer.append(run_id, {"loss": [float(step)]}, steps=[step])
    store.apply(writer.changes[-1:])
    step += 1
    print(run_id, step, flush=True)
"""


@pytest.mark.parametrize("after", [3, 40, 97])
def test_what_was_applied_survives_a_kill(url, after):
    with subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(after):
            line = process.stdout.readline()
        process.kill()
        lines = [line, *process.stdout.readlines()]
    run_id, said = next(line for line in reversed(lines) if line.endswith("\n")).split()  # the last may be half written
    with SQLiteStore(url) as store:
        values = store.read_series(run_id, "loss").values.tolist()
        assert values == [float(step) for step in range(len(values))]
        assert len(values) in (int(said), int(said) + 1)
        (head,) = store.heads().values()
        assert head.seq == len(values) + 1
        assert pragma(store, "integrity_check") == "ok"
