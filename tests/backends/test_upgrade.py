"""Stores of earlier releases: they open, answer as they did, go on, and an upgrade that fails leaves what there was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.backends._sql import schema
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError, StoreVersionError
from modeldb_core.plugins import open_artifacts
from modeldb_core.records import CHECK_BYTES, HEADER, RECORD, make_record
from modeldb_core.recovery import recover
from tests.assets.answers import answers
from tests.assets.make_store import SPILLED
from tests.backends.test_sqlite import as_nobody, public_folder  # noqa: F401 - a fixture
from tests.tracking.test_crash import mounted_tmpfs

ASSETS = Path(__file__).parents[1] / "assets"
ARCHIVES = sorted(ASSETS.glob("sqlite-*.tar.gz"))
VERSIONS = [path.name.removeprefix("sqlite-").removesuffix(".tar.gz") for path in ARCHIVES]
OLDEST = VERSIONS[0]


def unpack(version, folder, *, database_only=False):
    """Unpack the store of a release; returns its answers from then."""
    with tarfile.open(ASSETS / f"sqlite-{version}.tar.gz") as archive:
        members = [member for member in archive if not database_only or member.name == "modeldb.db"]
        archive.extractall(folder, members, filter="data")
        return json.load(archive.extractfile("answers.json"))


@pytest.fixture
def folder(tmp_path):
    """A folder with the oldest store there is, and nothing else."""
    unpack(OLDEST, tmp_path, database_only=True)
    return tmp_path


def url_in(folder):
    return f"sqlite:///{folder}/modeldb.db"


def version_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM modeldb_version").fetchone()[0]


def content_of(folder):
    """Return the names and digests of the files, without those by which SQLite coordinates those who only read."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def upgrade(folder, *arguments, before=""):
    """Start ``modeldb db upgrade`` in a process of its own; ``before`` is run in it first."""
    command = ["db", "upgrade", "--url", url_in(folder), *arguments]
    program = f"import sys\n{before}\nfrom modeldb_core.cli.program import run\nsys.exit(run({command!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# What is old


def test_every_version_of_the_tables_has_a_committed_store():
    assert tuple(VERSIONS) == schema.REVISIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_a_release_answers_as_it_did_and_goes_on(version, tmp_path):
    expected = unpack(version, tmp_path)
    assert version_in(tmp_path / "modeldb.db") == version
    artifacts = open_artifacts(f"file://{tmp_path}/modeldb-artifacts")
    with SQLiteStore(url_in(tmp_path)) as store:
        found = answers(store)
        for part, answer in expected.items():
            assert found[part] == answer, part
        assert verify(store, artifacts).findings == []
        put_journals_right(tmp_path / "journals", store.url)
        done = recover(tmp_path / "journals", store.url, store, lambda: artifacts)
        assert (len(done.streams), len(done.runs), done.damaged) == (1, 1, [])
        (killed,) = (run for run in found["entities"]["run"] if found["entities"]["run"][run]["name"] == "killed")
        assert store.read_series(killed, "loss").values.tolist() == [9.0 + step for step in range(10)]
        assert store.get("run", killed).status == "killed"

    settings = {"journal_dir": str(tmp_path / "journals"), "capture_enabled": False}
    settings["artifact_url"] = f"file://{tmp_path}/modeldb-artifacts"
    with modeldb.connect(url_in(tmp_path), **settings) as client:
        (first,) = client.search_runs('name = "first"')
        assert client.resolve(first.entity.attributes["spilled"]) == SPILLED
        with client.start_run(run_id=first.run_id) as run:
            run.log_metric("loss", -1.0, step=1)
        with client.start_run(project="Überprüfung 日本", name="of today") as run:
            run.log_metrics({"loss": 0.5, "auc": 0.95}, step=0)
            run.log_metric("auc", 0.96)
        assert [run.name for run in client.search_runs("metrics.auc > 0.95", project="Überprüfung 日本")] == [
            "of today"
        ]
        count = found["series"][first.run_id]["loss"][0]
        assert len(client.get_run(first.run_id).history("loss")) == count + 1
        assert verify(client.store, client.artifacts).findings == []


def put_journals_right(folder, store_url):
    """Write where the store is now into the journals: of the same length, since positions follow."""
    for path in folder.glob("*/*.journal"):
        data = bytearray(path.read_bytes())
        size, _ = RECORD.unpack_from(data)
        header = json.loads(data[RECORD.size : size - CHECK_BYTES])
        room = size - RECORD.size - CHECK_BYTES
        data[:size] = make_record(HEADER, json.dumps({**header, "store_url": store_url}).encode().ljust(room))
        path.write_bytes(data)


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_an_upgrade_makes_the_tables_of_a_new_store(version, tmp_path):
    unpack(version, tmp_path, database_only=True)
    SQLiteStore(url_in(tmp_path)).close()
    SQLiteStore(f"sqlite:///{tmp_path}/new.db").close()
    made = []
    for name in ("modeldb.db", "new.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            made.append({name: " ".join(sql.split()) for name, sql in rows})
    assert made[0] == made[1]


# Upgrading by hand


def test_an_upgrade_keeps_a_backup_that_opens(folder):
    code, out, err = finish(upgrade(folder))
    assert (code, err) == (0, "")
    assert f"was upgraded from version {OLDEST} to {schema.LATEST}" in out
    (backup,) = folder.glob("*.backup-*")
    assert f"Backup: {backup}" in out
    assert version_in(folder / "modeldb.db") == schema.LATEST
    assert version_in(backup) == OLDEST
    with SQLiteStore(url_in(folder)) as store, SQLiteStore(f"sqlite:///{backup}") as other:
        assert answers(store) == answers(other)
    code, out, _ = finish(upgrade(folder))
    assert (code, "nothing to do" in out) == (0, True)


def test_a_dry_run_says_what_would_be_done_and_alters_no_byte(folder):
    before = content_of(folder)
    code, out, err = finish(upgrade(folder, "--dry-run"))
    assert (code, err) == (0, "")
    assert f"has version {OLDEST}; to be done: {', '.join(schema.REVISIONS[1:])}. Nothing was altered." in out
    assert content_of(folder) == before


def test_options_of_the_settings_reach_an_upgrade(folder):
    (folder / "modeldb.toml").write_text("[stores.sqlite]\nread_only = true\n")
    code, _, err = finish(upgrade(folder))
    assert code == 3
    assert "may only be read" in err
    assert version_in(folder / "modeldb.db") == OLDEST


def test_processes_that_upgrade_at_once_do_it_once(folder):
    done = [finish(process) for process in [upgrade(folder) for _ in range(4)]]
    assert [(code, err) for code, _, err in done] == [(0, "")] * 4
    assert version_in(folder / "modeldb.db") == schema.LATEST
    assert len(list(folder.glob("*.backup-*"))) == 1


# What goes wrong

HANG_IN_MIGRATION = """
import time
from pathlib import Path
from modeldb_core.backends._sql import schema
migrate = schema._migrate
def hang(transaction):
    migrate(transaction)
    Path("half").touch()
    time.sleep(600)
schema._migrate = hang
"""
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


@pytest.mark.parametrize("hang", [HANG_IN_MIGRATION, HANG_IN_BACKUP], ids=["migrating", "backing-up"])
def test_an_upgrade_that_is_killed_leaves_the_old_store(folder, hang):
    process = upgrade(folder, before=hang)
    deadline = time.monotonic() + 60
    while not (folder / "half").exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert version_in(folder / "modeldb.db") == OLDEST
    for backup in folder.glob("*.backup-*"):
        if ".part" not in backup.name:
            assert version_in(backup) == OLDEST
    code, _, err = finish(upgrade(folder))
    assert (code, err) == (0, "")
    with SQLiteStore(url_in(folder)) as store:
        assert verify(store).findings == []
    assert list(folder.glob("*.part*")) == []


def test_a_disk_without_room_for_the_backup_leaves_the_old_store(tmp_path):
    small = tmp_path / "small"
    if not mounted_tmpfs(small, "300k"):
        pytest.fail("mounting a tmpfs needs root: run this test as root, or in `unshare -rm`")
    try:
        unpack(OLDEST, small, database_only=True)
        with pytest.raises(StoreUnavailableError, match=r"disk that holds .* is full"):
            SQLiteStore(url_in(small))
        code, _, err = finish(upgrade(small))
        assert code == 3
        assert "is full" in err
        assert version_in(small / "modeldb.db") == OLDEST
        assert [path.name for path in small.iterdir() if "backup" in path.name] == []
        subprocess.run(["mount", "-o", "remount,size=5m", small], check=True)
        SQLiteStore(url_in(small)).close()
        assert version_in(small / "modeldb.db") == schema.LATEST
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_store_that_may_only_be_read_is_not_upgraded(public_folder):  # noqa: F811
    unpack(OLDEST, public_folder, database_only=True)
    (public_folder / "modeldb.db").chmod(0o444)
    before = content_of(public_folder)

    def work():
        with pytest.raises(StoreVersionError, match="may only be read; run: modeldb db upgrade"):
            SQLiteStore(url_in(public_folder))
        with pytest.raises(StoreReadOnlyError):
            SQLiteStore.upgrade_schema(url_in(public_folder))
        assert SQLiteStore.schema_state(url_in(public_folder)).version == OLDEST

    as_nobody(work)
    assert content_of(public_folder) == before


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
        timeout=60,
        env={**os.environ, "MODELDB_JOURNAL_DIR": str(folder / "journals")},
    )
    assert done.returncode == 3
    assert "was written by a newer one; install that: pip install --upgrade modeldb-core" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert content_of(folder) == before


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path, caplog):
    unpack(VERSIONS[-1], tmp_path)
    with SQLiteStore(url_in(tmp_path)) as store:
        put_journals_right(tmp_path / "journals", store.url)
        (path,) = (tmp_path / "journals").glob("*/*.journal")
        data = bytearray(path.read_bytes())
        size, _ = RECORD.unpack_from(data)
        header = json.loads(data[RECORD.size : size - CHECK_BYTES])
        body = json.dumps({**header, "format": 2}).encode().ljust(size - RECORD.size - CHECK_BYTES)
        data[:size] = make_record(HEADER, body)
        path.write_bytes(data)
        heads = store.heads()
        for _ in range(2):
            done = recover(tmp_path / "journals", store.url, store, pytest.fail)
            assert (done.newer, done.damaged, done.streams) == ([path.parent], [], [])
        assert store.heads() == heads
    assert path.read_bytes() == data
    (record,) = caplog.records
    assert "written by a newer one" in record.getMessage()
    done = subprocess.run(
        [sys.executable, "-m", "modeldb_core.cli", "sync", "--url", url_in(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")},
    )
    assert done.returncode == 3
    assert f"Left for the newer ModelDB that wrote it: {path.parent}" in done.stderr
