"""server, ui, sync, audit, plugins, config, doctor, db: on real stores and journals."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import modeldb_core as modeldb
from modeldb_core.cli import program
from modeldb_core.runtime.notices import command_line
from tests.cli.conftest import Command, Scene


@pytest.fixture
def orphan(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose process was killed before it could ship everything; its identifier."""
    program_text = """
        import os, signal
        import modeldb_core as modeldb
        client = modeldb.connect(capture_enabled=False, flush_interval_s=3600)
        run = client.start_run("churn", "forest", "killed")
        for step in range(50):
            run.log_metrics({"loss": 1.0 / (step + 1)}, step=step)
        print(run.run_id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program_text)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=scene.folder,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


# -- sync -----------------------------------------------------------------------------------------------------------------


def test_sync_ships_what_a_dead_process_had_logged(command: Command, scene: Scene, orphan: str) -> None:
    result = command("sync")
    assert result.code == 0
    assert result.out.startswith("1 journal shipped")
    data = json.loads(command("history", orphan, "loss", "--json").out)
    assert data["steps"] == list(range(50))
    assert json.loads(command("show", orphan, "--json").out)["status"] in ("killed", "lost")
    assert command("sync").out.startswith("0 journals shipped")


def test_sync_names_journals_of_other_stores_and_leaves_them(command: Command, scene: Scene, orphan: str) -> None:
    result = command("sync", "--url", "sqlite:///other.db")
    assert result.out.startswith("0 journals shipped")
    assert (
        f"1 journal for another store: {command_line('sync', '--url', f'sqlite:///{scene.folder}/modeldb.db')}"
        in result.err
    )
    assert command("sync").out.startswith("1 journal shipped")


# -- audit ----------------------------------------------------------------------------------------------------------------


def test_audit_log_tells_who_changed_what(command: Command, scene: Scene) -> None:
    result = command("audit", "log", "first")
    assert "create" in result.out
    assert "200 points of loss, val loss" in result.out
    assert scene.second[-8:] not in result.out
    data = json.loads(command("audit", "log", "first", "--json").out)
    assert all(change["entity_id"] == scene.first for change in data["changes"])
    assert data["changes"][0]["action"] == "create"


def test_audit_log_goes_forward_page_by_page(command: Command, scene: Scene) -> None:
    everything = json.loads(command("audit", "log", "--json", "--limit", "1000").out)["changes"]
    seen, cursor = [], 0
    while True:
        page = json.loads(command("audit", "log", "--json", "--limit", "7", "--after", str(cursor)).out)
        if not page["changes"]:
            break
        seen += page["changes"]
        cursor = page["cursor"]
    assert [change["hash"] for change in seen] == [change["hash"] for change in everything]
    latest = json.loads(command("audit", "log", "--json", "--limit", "3").out)["changes"]
    assert latest == everything[-3:]
    assert json.loads(command("audit", "log", "--json").out)["changes"] == everything
    said = command("audit", "log", "--limit", "3").err
    assert said == f"These are the latest 3 of {len(everything)} changes; --limit 0 shows all.\n"


def test_audit_verify_passes_on_an_untouched_store(command: Command, scene: Scene) -> None:
    result = command("audit", "verify", "--artifacts")
    assert result.code == program.OK, result.out
    assert "everything verifies" in result.out
    assert json.loads(command("audit", "verify", "--json").out)["ok"] is True


def test_audit_verify_fails_once_something_was_altered(command: Command, scene: Scene) -> None:
    with closing(sqlite3.connect(scene.folder / "modeldb.db")) as connection, connection:
        changed = connection.execute("update actors set actor = 'somebody else'")
        assert changed.rowcount == 1
    connection.close()
    result = command("audit", "verify")
    assert result.code == program.FOUND
    assert "WRONG" in result.out


def test_a_checkpoint_shows_what_is_missing_later(command: Command, scene: Scene) -> None:
    assert command("audit", "checkpoint", "check.json").code == 0
    assert command("audit", "checkpoint", "check.json").code == program.USAGE  # never replaced
    assert command("audit", "checkpoint", "no/folder/check.json").code == program.USAGE
    assert command("audit", "verify", "--checkpoint", "check.json").code == 0
    Path("other.toml").write_text('url = "sqlite:///other.db"')
    import modeldb_core as modeldb

    with modeldb.connect("sqlite:///other.db", capture_enabled=False) as client, client.start_run(name="x"):
        pass
    result = command("audit", "verify", "--checkpoint", "check.json", "--url", "sqlite:///other.db")
    assert result.code == program.FOUND
    assert "they are gone" in result.out
    assert command("audit", "verify", "--checkpoint", "other.toml").code == program.USAGE


# -- doctor, plugins, config, db ------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_with_a_sound_installation(command: Command, scene: Scene) -> None:
    result = command("doctor")
    assert result.code == program.OK, result.out
    assert "WRONG" not in result.out
    assert "answers: 3 runs" in result.out


def test_doctor_creates_nothing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("doctor")
    assert result.code == program.OK, result.out
    assert "does not exist yet" in result.out
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_of_orphaned_and_damaged_journals(command: Command, scene: Scene, orphan: str) -> None:
    found = json.loads(command("doctor", "--json").out)
    (journal,) = (item for item in found if "dead processes" in item["text"])
    assert journal["state"] == "note"
    assert journal["advice"] == "modeldb sync"
    from modeldb_core.config import default_journal_dir

    (directory,) = (path for path in default_journal_dir().iterdir() if path.is_dir() and not path.name.startswith("."))
    directory.rename(directory.with_suffix(".damaged"))
    assert "is damaged" in command("doctor").out


def test_doctor_finds_a_store_from_the_future(command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    real = time.time()
    monkeypatch.setattr("modeldb_core.cli.doctor.time.time", lambda: real - 3600)
    result = command("doctor")
    assert result.code == program.FOUND
    assert re.search(r"WRONG {2}clock: the store holds changes from 3,[56]\d\d s in the future", result.out)


def test_doctor_says_what_is_wrong_with_a_broken_store(command: Command, scene: Scene) -> None:
    scene.folder.joinpath("broken.db").write_bytes(b"this is no database" * 100)
    result = command("doctor", "--url", "sqlite:///broken.db")
    assert result.code == program.FOUND
    assert re.search(r"WRONG {2}store: .*broken.db is not", result.out)


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self/status").exists(), reason="needs another user")
def test_doctor_finds_a_journal_folder_that_is_a_file(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELDB_JOURNAL_DIR", str(scene.folder / "file"))
    scene.folder.joinpath("file").write_text("x")
    result = command("doctor")
    assert result.code == program.FOUND
    assert "WRONG  journals:" in result.out


def test_doctor_warns_of_little_space(command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(scene.folder)
    for free, state in ((50 << 20, "wrong"), (500 << 20, "note")):
        monkeypatch.setattr(
            "modeldb_core.cli.doctor.shutil.disk_usage", lambda path, free=free: usage._replace(free=free)
        )
        found = json.loads(command("doctor", "--json").out)
        assert {item["state"] for item in found if item["subject"] == "disk space"} == {state}


def test_plugins_are_listed_with_what_they_provide(command: Command) -> None:
    out = command("plugins").out
    assert re.search(r"modeldb_core\.backends +modeldb-core \S+ +loaded +.*sqlite:// \(metadata\)", out)
    data = json.loads(command("plugins", "--json").out)
    assert {"modeldb_core.backends", "modeldb_core.context", "modeldb_webui"} <= {item["name"] for item in data}


def test_config_tells_values_and_origins_without_secrets(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.folder.joinpath("modeldb.toml").write_text('project = "of-file"\n[plugins.x]\ntoken = "hush"\n')
    monkeypatch.setenv("MODELDB_URL", "postgresql://me:hush@host/db")
    result = command("config")
    assert re.search(rf"project +of-file +{re.escape(str(scene.folder))}/modeldb.toml", result.out)
    assert re.search(r"url +postgresql://me:\*\*\*@host/db +MODELDB_URL", result.out)
    assert "hush" not in result.out + command("config", "--json").out


def test_config_says_what_a_file_of_the_project_may_not_decide(command: Command, scene: Scene) -> None:
    path = scene.folder / "modeldb.toml"
    path.write_text('user = "the-cfo"\n[server]\nhost = "0.0.0.0"\n[stores.https]\nverify = false\ntimeout_s = 9\n')
    data = json.loads(command("config", "--json").out)
    assert {(one["file"], one["key"]) for one in data["not_obeyed"]} == {
        (str(path), key) for key in ("user", "server.host", "stores.https.verify")
    }
    assert {one["key"]: one["value"] for one in data["settings"]}["stores"] == {"https": {"timeout_s": 9}}
    assert re.search(r"server.host +\S+modeldb.toml +a project's file does not decide", command("config").out)


def test_db_upgrade_has_nothing_to_do_on_a_current_store(command: Command, scene: Scene) -> None:
    for options in ([], ["--dry-run"]):
        result = command("db", "upgrade", *options)
        assert result.code == 0
        assert "nothing to do" in result.out


def test_db_upgrade_refuses_a_store_of_a_newer_version(command: Command, scene: Scene) -> None:
    with closing(sqlite3.connect(scene.folder / "modeldb.db")) as connection, connection:
        connection.execute("update modeldb_version set version_num = '9999'")
    connection.close()
    result = command("db", "upgrade")
    assert result.code == program.STORE
    assert "9999" in result.err
    assert command("runs").code == program.STORE


def test_db_upgrade_of_a_store_without_tables_says_so(command: Command, scene: Scene) -> None:
    assert command("db", "upgrade", "--url", "memory://").code == program.USAGE
    assert command("db", "upgrade", "--url", "sqlite:///gone.db").code == program.STORE
    assert not scene.folder.joinpath("gone.db").exists()


def test_db_compact_puts_the_objects_of_a_store_together(command: Command, scene: Scene) -> None:
    url = f"file://{scene.folder}/bucket"
    for name in ("one", "two"):
        with modeldb.connect(url, capture_enabled=False, journal_dir=scene.folder / "journals") as client:
            client.start_run("churn", name=name).finish()
    result = command("db", "compact", "--url", url)
    assert (result.code, result.err) == (0, "")
    assert "put together into 1" in result.out
    assert "nothing to do" in command("db", "compact", "--url", url).out
    assert "two" in command("runs", "--url", url, "--project", "churn").out
    result = command("db", "compact")
    assert result.code == program.USAGE
    assert "only stores in a bucket" in result.err


# -- server ---------------------------------------------------------------------------------------------------------------


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("arguments", [["server", "--port", "0"], ["ui", "--port", "0", "--no-browser"]])
def test_the_server_serves_the_store_and_ends_at_a_signal(scene: Scene, arguments: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modeldb_core.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=scene.folder,
    )
    try:
        line = _first_line(process)
        found = re.search(r"at (http://127\.0\.0\.1:\d+) ", line)
        assert found, line
        address = urlsplit(found[1])
        connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=30)
        connection.request("GET", "/api/v2/runs?count=1")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert answer["total"] == 3
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_port_in_use_is_an_error_for_the_server(command: Command, scene: Scene) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = command("server", "--port", str(taken.getsockname()[1]))
    assert result.code == program.CONFIGURATION
    assert "is in use" in result.err


def test_an_address_that_others_reach_is_refused(command: Command, scene: Scene) -> None:
    result = command("server", "--host", "0.0.0.0", "--port", "0")
    assert result.code == program.CONFIGURATION
    assert "no authentication" in result.err


def test_without_flask_the_server_says_what_to_install(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("modeldb_server", "flask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flask", None)
    result = command("server", "--port", "0")
    assert result.code == program.CONFIGURATION
    assert "pip install 'modeldb-core[server]'" in result.err
