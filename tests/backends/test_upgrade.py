"""Upgrading a store by hand, to a version of the tables that is there for the tests alone; and what never upgrades one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import StoreReadOnlyError
from modeldb_core.journal.records import CHECK_BYTES, HEADER, RECORD, make_record
from modeldb_core.journal.recovery import recover
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from tests.backends.test_sqlite import as_nobody, public_folder  # noqa: F401 - a fixture
from tests.backends.versions import NEXT, NOW
from tests.movement.test_kills import places
from tests.services.faults import Faults
from tests.tracking.test_crash import mounted_tmpfs


@pytest.fixture
def folder(tmp_path):
    """A folder with a store in which there is something of everything, and nothing else."""
    folder = tmp_path / "store"
    folder.mkdir()
    fill(folder)
    return folder


@pytest.fixture
def newer(make_next_version):
    """The program that makes another process one of a newer ModelDB."""
    return make_next_version().program


def fill(folder):
    writer, other = StreamWriter(actor="größter"), StreamWriter(actor="other")
    ids = writer.create_containers("project", "e", "another workspace")
    runs = [
        writer.create_run(name=f"run {number}", **ids, metrics={"auc": number / 9}).entity_id for number in range(9)
    ]
    secret = writer.update("run", runs[0], put={"attributes": {"secret": "s3cr3t", "text": "日本 🚀", "big": 2**70}})
    for number in range(3):
        writer.append(runs[1], {"loss": [float(number)], "acc": [number / 2]}, steps=[number])
        other.append(runs[1], {"loss": [number + 0.5]}, steps=[number], times=[writer.at - 1])
    writer.append(runs[2], {"loss": np.random.default_rng(0).normal(size=50_000)})
    writer.delete("run", runs[3])
    other.erase(secret)
    with SQLiteStore(url_in(folder)) as store:
        store.apply(writer.changes)
        store.apply(other.changes)
        store._database.read(lambda read: read.connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all())


def answers(store):
    """Return what a store says of everything, and the state of its log."""
    page = store.find(Query(order_by="name", include_deleted=True, limit=100))
    series = {
        (run.name, key): store.read_series(run.entity_id, key).values.tobytes()
        for run in page.entities
        for key in run.series
    }
    changes = store.read_changes(limit=1000).changes
    return (
        [dict(run.document) for run in page.entities],
        series,
        store.find_keys(Query()),
        [each.hash for each in changes],
        store.heads(),
    )


def url_in(folder):
    return f"sqlite:///{folder}/modeldb.db"


def version_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM modeldb_version").fetchone()[0]


def content_of(folder):
    """Return the names and digests of the files, without those by which SQLite coordinates those who only read."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def upgrade(folder, *arguments, before):
    """Start ``modeldb db upgrade`` in a process of its own; ``before`` is run in it first."""
    return command(folder, "db", "upgrade", *arguments, before=before)


def command(folder, *arguments, before):
    command = [*arguments, "--url", url_in(folder)]
    program = f"import sys\n{before}\nfrom modeldb_core.cli.program import run\nsys.exit(run({command!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


# Upgrading by hand


def test_an_upgrade_keeps_a_backup_that_opens(folder, newer):
    code, out, err = finish(upgrade(folder, before=newer))
    assert (code, err) == (0, "")
    assert f"was upgraded from version {NOW} to {NEXT}" in out
    (backup,) = folder.glob("*.backup-*")
    assert f"Backup: {backup}" in out
    assert version_in(folder / "modeldb.db") == NEXT
    assert version_in(backup) == NOW
    with SQLiteStore(url_in(folder)) as store, SQLiteStore(f"sqlite:///{backup}") as other:
        assert answers(store) == answers(other)
    code, out, _ = finish(upgrade(folder, before=newer))
    assert (code, "nothing to do" in out) == (0, True)


def test_a_dry_run_says_what_would_be_done_and_alters_no_byte(folder, newer):
    before = content_of(folder)
    code, out, err = finish(upgrade(folder, "--dry-run", before=newer))
    assert (code, err) == (0, "")
    assert f"has version {NOW}; to be done: {NEXT}. Nothing was altered." in out
    assert content_of(folder) == before


def test_options_of_the_settings_reach_an_upgrade(folder, newer):
    (folder.parent / "modeldb.toml").write_text("[stores.sqlite]\nread_only = true\n")
    code, _, err = finish(upgrade(folder, before=newer))
    assert code == 3
    assert "may only be read" in err
    assert version_in(folder / "modeldb.db") == NOW


def test_processes_that_upgrade_at_once_do_it_once(folder, newer):
    done = [finish(process) for process in [upgrade(folder, before=newer) for _ in range(4)]]
    assert [(code, err) for code, _, err in done] == [(0, "")] * 4
    assert version_in(folder / "modeldb.db") == NEXT
    assert len(list(folder.glob("*.backup-*"))) == 1


# What goes wrong

HANG_IN_BACKUP = """
import sqlite3, time
from pathlib import Path
class Slow(sqlite3.Connection):
    def backup(self, target):
        def hang(*_):
            Path("half").touch()
            time.sleep(600)
        super().backup(target, pages=5, progress=hang)
connect = sqlite3.connect
sqlite3.connect = lambda *a, **k: connect(*a, factory=Slow, **k)
"""


def test_an_upgrade_that_is_killed_anywhere_leaves_the_old_store_or_the_new_one(folder, newer, tmp_path):
    (whole := tmp_path / "whole").mkdir()
    shutil.copytree(folder, whole, dirs_exist_ok=True)
    faults = Faults(newer)
    try:
        done = faults.run("db", "upgrade", "--url", url_in(whole), cwd=tmp_path)
        assert done.code == 0, done.output
        points = places(done.points, 6)
        for point in points:
            half = tmp_path / str(point)
            shutil.copytree(folder, half)
            ended = faults.run("db", "upgrade", "--url", url_in(half), cwd=tmp_path, kill_at=point)
            # Their number varies a little, so one may be done before the last point comes.
            assert ended.was_killed or (point == points[-1] and ended.code == 0)
            version = version_in(half / "modeldb.db")
            assert version in (NOW, NEXT)
            backups = [path for path in half.glob("*.backup-*") if not path.name.endswith((".part", ".part-journal"))]
            assert all(version_in(path) == NOW for path in backups)
            assert backups or version == NOW, "no new tables without a backup of the old ones"
            done = faults.run("db", "upgrade", "--url", url_in(half), cwd=tmp_path)
            assert done.code == 0, done.output
            assert version_in(half / "modeldb.db") == NEXT
            assert list(half.glob("*.part*")) == []
            with SQLiteStore(url_in(half)) as store, SQLiteStore(url_in(whole)) as other:
                assert answers(store) == answers(other)
    finally:
        faults.stop()


def test_an_upgrade_that_is_killed_within_its_backup_leaves_the_old_store(folder, newer):
    process = upgrade(folder, before=newer + HANG_IN_BACKUP)
    deadline = time.monotonic() + 240
    while not (folder.parent / "half").exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert version_in(folder / "modeldb.db") == NOW
    for backup in folder.glob("*.backup-*"):
        if ".part" not in backup.name:
            assert version_in(backup) == NOW
    code, _, err = finish(upgrade(folder, before=newer))
    assert (code, err) == (0, "")
    with SQLiteStore(url_in(folder)) as store:
        assert verify(store).findings == []
    assert list(folder.glob("*.part*")) == []


def test_a_disk_without_room_for_the_backup_leaves_the_old_store(tmp_path, newer):
    small = tmp_path / "small"
    if not mounted_tmpfs(small, "5m"):
        pytest.fail("mounting a tmpfs needs root: run this test as root, or in `unshare -rm`")
    try:
        fill(small)
        size = (small / "modeldb.db").stat().st_size
        (small / "ballast").write_bytes(bytes(5 * 2**20 - size * 3 // 2))
        code, _, err = finish(upgrade(small, before=newer))
        assert code == 3
        assert "is full" in err
        assert version_in(small / "modeldb.db") == NOW
        assert [path.name for path in small.iterdir() if "backup" in path.name] == []
        (small / "ballast").unlink()
        assert finish(upgrade(small, before=newer))[0] == 0
        assert version_in(small / "modeldb.db") == NEXT
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_store_that_may_only_be_read_is_not_upgraded(public_folder, next_version):  # noqa: F811
    fill(public_folder)
    (public_folder / "modeldb.db").chmod(0o444)
    before = content_of(public_folder)
    next_version()

    def work():
        with SQLiteStore(url_in(public_folder)) as store:
            assert store.read_only
            assert store.find(Query(count=True)).total == 8
        with pytest.raises(StoreReadOnlyError):
            SQLiteStore.upgrade_schema(url_in(public_folder))
        assert SQLiteStore.schema_state(url_in(public_folder)).version == NOW

    as_nobody(work)
    assert content_of(public_folder) == before


READING = (
    *("runs", "show RUN", "history RUN loss", "audit verify", "audit log", "doctor", "artifacts list RUN"),
    *("export ../bundle.tar", "copy URL sqlite:///../copy.db", "gc --dry-run", "db upgrade --dry-run"),
)


def test_commands_that_read_alter_no_byte_of_an_old_store(folder, newer):
    with SQLiteStore(url_in(folder)) as store:
        run_id = store.find(Query(filter="name = 'run 1'")).entities[0].entity_id
    before = content_of(folder)
    commands = [command.replace("RUN", run_id).replace("URL", url_in(folder)).split() for command in READING]
    program = f"""
import os, sys
{newer}
from modeldb_core.cli.program import run
os.environ["MODELDB_JOURNAL_DIR"] = "journals"
for command in {commands!r}:
    try:
        code = run(command)
    except SystemExit as ended:
        code = ended.code
    print("\\nended", code, *command, flush=True)
"""
    environment = {**os.environ, "MODELDB_URL": url_in(folder)}
    home = folder.parent / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
    )
    ended = [line.split() for line in done.stdout.splitlines() if line.startswith("ended")]
    assert [(" ".join(line[2:]), line[1]) for line in ended] == [(" ".join(each), "0") for each in commands], (
        done.stderr
    )
    assert content_of(folder) == before


@pytest.mark.parametrize("command", [["db", "upgrade"], ["db", "upgrade", "--dry-run"], ["runs"], ["audit", "verify"]])
def test_a_store_of_a_newer_version_is_refused_in_a_sentence(folder, command):
    with closing(sqlite3.connect(folder / "modeldb.db")) as connection:
        connection.execute("UPDATE modeldb_version SET version_num = '9999'")
        connection.commit()
    before = content_of(folder)
    done = subprocess.run(
        [sys.executable, "-m", "modeldb_core.cli", *command, "--url", url_in(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "MODELDB_JOURNAL_DIR": str(folder / "journals")},
    )
    assert done.returncode == 3
    assert "was written by a newer one; install that: pip install --upgrade modeldb-core" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert content_of(folder) == before


def test_a_journal_of_a_newer_version_is_left_alone(folder, tmp_path, caplog):
    journals = tmp_path / "journals"
    program = f"""
import os
import modeldb_core as modeldb
client = modeldb.connect({url_in(folder)!r}, journal_dir={str(journals)!r}, capture_enabled=False)
client.start_run(project="p", name="killed").log_metric("loss", 1.0, step=1)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=240)
    with SQLiteStore(url_in(folder)) as store:
        (path,) = journals.glob("*/*.journal")
        data = bytearray(path.read_bytes())
        size, _ = RECORD.unpack_from(data)
        room = size - RECORD.size - CHECK_BYTES
        header = json.loads(data[RECORD.size : size - CHECK_BYTES])
        short = {name: value for name, value in header.items() if name != "format"}
        body = json.dumps({**short, "format": 2}, separators=(",", ":")).encode().ljust(room)
        assert len(body) == room
        data[:size] = make_record(HEADER, body)
        path.write_bytes(data)
        heads = store.heads()
        for _ in range(2):
            done = recover(journals, store.url, store, pytest.fail)
            assert (done.newer, done.damaged, done.streams) == ([path.parent], [], [])
        assert store.heads() == heads
    assert path.read_bytes() == data
    (record,) = caplog.records
    assert "written by a newer one" in record.getMessage()
    done = subprocess.run(
        [sys.executable, "-m", "modeldb_core.cli", "sync", "--url", url_in(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "MODELDB_JOURNAL_DIR": str(journals)},
    )
    assert done.returncode == 3
    assert f"Left for the newer ModelDB that wrote it: {path.parent}" in done.stderr
