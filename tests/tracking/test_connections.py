"""What a program holds that connects often: clients that are closed, and clients that nobody closes."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.runtime import workers
from tests.services.server import serving_folder
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this system does not list open files")
TIMES = 40


def open_files() -> Counter[str]:
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}").partition(":")[0]] += 1
        except OSError:  # the listing itself
            continue
    return found


@pytest.mark.parametrize("kind", ["SQLite", "folder", "PostgreSQL", "server"])
def test_a_program_that_connects_again_and_again_and_closes_nothing_keeps_one_client(
    environment: dict[str, str], kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    def look(url: str) -> None:
        for _ in range(TIMES):
            modeldb.connect(url)
            assert [run.name for run in modeldb.search_runs()] == ["there"]
        gc.collect()

    def count(url: str) -> None:
        with modeldb.connect(url) as client, client.start_run(name="there", capture=False):
            pass
        modeldb.connect(url).search_runs()
        gc.collect()
        before = open_files()
        look(url)
        more = open_files() - before
        # SQLite keeps some descriptors of closed connections for the next ones.
        assert sum(more.values()) <= TIMES // 2, more

    if kind == "server":
        with serving_folder(tmp_path / "store") as url:
            count(url)
            modeldb.tracking.connections.default_client().close()
    else:
        urls = {"SQLite": environment["MODELDB_URL"], "folder": f"file://{tmp_path}/bucket"}
        count(urls.get(kind) or request.getfixturevalue("postgres_url"))
        modeldb.tracking.connections.default_client().close()


def test_a_client_that_somebody_else_closes_leaves_the_one_before_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    modeldb.connect(user="ada", project="hers")
    for _ in range(3):
        with modeldb.connect(f"sqlite:///{tmp_path}/other.db") as other, other.start_run(capture=False):
            gc.collect()
    with modeldb.start_run(capture=False) as run:
        assert (run.client.actor, run.project) == ("ada", "hers")
    assert run.client is modeldb.tracking.connections.default_client()
    run.client.close()


def test_a_client_that_logs_is_kept_whoever_has_it(environment: dict[str, str], tmp_path: Path) -> None:
    run_id = modeldb.connect().start_run(name="open", capture=False, make_current=False).run_id
    for _ in range(2):
        with modeldb.connect(f"sqlite:///{tmp_path}/other.db"):
            gc.collect()
    client = modeldb.tracking.connections.default_client()
    assert client.writer.stream is not None
    client.close()
    with modeldb.connect() as reader:
        assert reader.get_run(run_id).entity.status == "finished"


def test_a_client_that_is_closed_leaves_no_thread(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "IDLE_S", 3600.0)
    with serving_folder(tmp_path / "store") as url:
        kept = []
        for number in range(5):
            with modeldb.connect(url, artifact_url=url) as client, client.start_run(capture=False) as run:
                run.log_artifact(b"%d" % number, "file.bin")
            kept.append(client)
        names = ("modeldb-names", "modeldb-upload", "modeldb-writer")
        wait_until(lambda: not [each for each in threading.enumerate() if each.name in names])
