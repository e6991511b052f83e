"""Writers that were offline for a while: all that they logged arrives, and nothing of it is merged by mistake."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli import program
from modeldb_core.movement.copying import copy
from modeldb_core.queries import Query

SCRIPT = """
    import os, signal, sys
    import modeldb_core as modeldb
    number = int(sys.argv[1])
    client = modeldb.connect(journal_dir=sys.argv[2], flush_interval_s=3600, capture_enabled=False, user=f"user {number}")
    for name in ("same", "same", f"own {number}"):
        run = client.start_run("churn", "forest", name, tags=[f"of {number}"])
        run.log_hyperparameters({"number": number})
        for step in range(100):
            run.log_metrics({"loss": number + step / 100}, step=step)
        run.log_artifact(f"from {number}".encode(), name="note.txt")
        run.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def offline(number: int, folder: Path) -> Path:
    """Log with a process that ships nothing, and dies; return the folder of its journal."""
    journals = folder / f"journals {number}"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(number), str(journals)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    return journals


@pytest.fixture
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [offline(number, tmp_path) for number in (1, 2)]


def check(store: Any, folder: Path) -> None:
    assert [project.name for project in store.find(Query("project")).entities] == ["churn"]
    assert [item.name for item in store.find(Query("experiment")).entities] == ["forest"]
    runs = store.find(Query(order_by="owner, name")).entities
    assert [(run.owner, run.name, run.tags) for run in runs] == [
        (f"user {number}", name, (f"of {number}",)) for number in (1, 2) for name in (f"own {number}", "same", "same")
    ]
    for run in runs:
        number = run.hyperparameters["number"]
        points = store.read_series(run.entity_id, "loss")
        assert points.values.tolist() == [number + step / 100 for step in range(100)]
    report = verify(store, FsspecArtifactStore(f"file://{folder}/modeldb-artifacts"))
    assert report.ok, report
    assert report.blobs == 2


def test_two_writers_with_the_same_names_both_ship(
    journals: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part for folder in journals for part in ("--journal-dir", str(folder))]
    before = sorted(path for folder in journals for path in folder.rglob("*"))
    assert program.run(["sync", "--dry-run", *arguments]) == 0
    assert "2 journals of processes that died" in capsys.readouterr().out
    assert sorted(path for folder in journals for path in folder.rglob("*")) == before
    assert program.run(["sync", *arguments]) == 0
    assert capsys.readouterr().out.startswith("2 journals shipped")
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        check(store, tmp_path)
    assert program.run(["sync", *arguments]) == 0
    assert capsys.readouterr().out.startswith("0 journals shipped")


def test_two_stores_with_the_same_names_come_together(journals: list[Path], tmp_path: Path) -> None:
    for number, folder in enumerate(journals):
        with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
            from modeldb_core.journal.recovery import recover

            artifacts = FsspecArtifactStore(f"file://{tmp_path}/modeldb-artifacts")
            recover(folder, store.url, store, lambda artifacts=artifacts: artifacts)
        for path in tmp_path.glob("modeldb.db*"):
            path.rename(path.with_name(path.name.replace("modeldb.db", f"{number}.db")))
    with SQLiteStore(f"sqlite:///{tmp_path}/both.db") as both:
        for number in (0, 1):
            with SQLiteStore(f"sqlite:///{tmp_path}/{number}.db") as one:
                assert copy(one, both).ok
        check(both, tmp_path)
