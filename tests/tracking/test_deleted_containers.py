"""Whatever anybody deletes: a run that is started or continued is seen, with what it lies in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.remote.connection import Connection
from modeldb_core.commands.operation import Operation
from modeldb_core.journal.shipping import OpenStream
from modeldb_core.movement.collection import Collected, erase_deleted
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking import Client, deletion, session
from tests.services.s3 import SeaweedFS
from tests.services.server import serving_folder

STORES = ("SQLite", "PostgreSQL", "folder", "bucket", "server")


@pytest.fixture(params=STORES)
def client(
    environment: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Client]:
    """Return a client of each store; ``modeldb.connect()`` gives another one."""
    kind = request.param
    if kind == "server":
        with serving_folder(tmp_path / "store") as url:
            monkeypatch.setenv("MODELDB_URL", url)
            monkeypatch.setenv("MODELDB_ARTIFACT_URL", url)
            with modeldb.connect() as connected:
                yield connected
        return
    if kind == "PostgreSQL":
        monkeypatch.setenv("MODELDB_URL", request.getfixturevalue("postgres_url"))
    elif kind == "folder":
        monkeypatch.setenv("MODELDB_URL", f"file://{tmp_path}/bucket?max_staleness_s=0")
    elif kind == "bucket":
        s3: SeaweedFS = request.getfixturevalue("s3")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MODELDB_URL", f"s3://{s3.new_bucket()}/store?max_staleness_s=0")
    with modeldb.connect() as connected:
        yield connected


def test_runs_that_are_started_in_a_project_alter_nothing_that_somebody_edits(client: Client) -> None:
    with client.start_run("churn", "trees", capture=False):
        pass
    before = client.projects()[0], client.experiments("churn")[0]
    for _ in range(3):
        with client.start_run("churn", "trees", capture=False):
            pass
        client.flush()
    after = client.projects()[0], client.experiments("churn")[0]
    assert [each.revision for each in after] == [each.revision for each in before]  # which edits may insist on


@pytest.mark.parametrize("child", [False, True], ids=["run", "child run"])
def test_a_deleted_project_comes_back_with_a_run_that_is_started_in_it(client: Client, child: bool) -> None:
    with client.start_run("churn", "trees", capture=False) as old:
        pass
    client.trash.delete_project("churn", recursive=True)
    assert [project.name for project in client.projects()] == []
    with old.start_child() if child else client.start_run("churn", "trees", capture=False) as new:
        pass
    assert [project.name for project in client.projects()] == ["churn"]
    assert [experiment.name for experiment in client.experiments("churn")] == ["trees"]
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]


def test_a_project_that_somebody_else_deleted_comes_back_too(client: Client) -> None:
    with client.start_run("churn", capture=False):
        pass
    client.flush()
    with modeldb.connect() as other:
        other.trash.delete_project("churn", recursive=True)
    with client.start_run("churn", capture=False) as new:
        pass
    assert [project.name for project in client.projects()] == ["churn"]
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]


def test_a_project_comes_back_in_which_somebody_else_left_no_experiment_that_this_client_has_made(
    client: Client,
) -> None:
    with client.start_run("churn", "trees", capture=False):
        pass
    client.flush()
    with modeldb.connect() as other:
        other.trash.delete_project("churn", recursive=True)
    with client.start_run("churn", "another experiment", capture=False) as new:
        pass
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]


@pytest.mark.parametrize("who", ["this client", "somebody else"])
@pytest.mark.parametrize("what", ["project", "experiment", "run"])
@pytest.mark.parametrize("goes_on", ["child", "continued"])
def test_what_is_deleted_comes_back_with_a_child_or_a_run_that_is_continued(
    client: Client, who: str, what: str, goes_on: str
) -> None:
    with client.start_run("churn", "trees", capture=False) as old:
        pass
    client.flush()
    with nullcontext(client) if who == "this client" else modeldb.connect() as other:
        if what == "project":
            other.trash.delete_project("churn", recursive=True)
        elif what == "experiment":
            other.trash.delete_experiment("churn", "trees", recursive=True)
        else:
            other.get_run(old.run_id).delete()
    with old.start_child() if goes_on == "child" else client.start_run(run_id=old.run_id) as new:
        new.log_metric("loss", 1.0)
    assert [project.name for project in client.projects()] == ["churn"]
    assert [experiment.name for experiment in client.experiments("churn")] == ["trees"]
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]


@pytest.mark.parametrize("who", ["this client", "somebody else"])
def test_a_deleted_data_set_comes_back_with_a_run_that_uses_it(client: Client, who: str) -> None:
    with client.start_run(capture=False) as run:
        run.log_dataset([1, 2, 3], "train")
        client.flush()
        dataset_id = run.entity.datasets["train"]["dataset_id"]
        with nullcontext(client) if who == "this client" else modeldb.connect() as other:
            deletion.delete(other, "dataset", dataset_id, recursive=True)
            assert other.flush()
        run.log_dataset([1, 2, 3], "train")
    client.flush()
    assert client.store.get("dataset", dataset_id).deleted_at is None


def test_a_project_comes_back_that_is_deleted_before_the_start_of_a_run_is_shipped(client: Client) -> None:
    with client.start_run("churn", capture=False):
        pass
    client.close()
    with modeldb.connect(flush_interval_s=3600) as later:
        later.start_run("churn", capture=False)
        later.flush()
        new = later.start_run("churn", capture=False)  # in the journal alone
        with modeldb.connect() as other:
            other.trash.delete_project("churn", recursive=True)
        later.flush()
        assert [project.name for project in later.projects()] == ["churn"]
        assert [run.run_id for run in later.search_runs(project="churn")] == [new.run_id]


def test_a_project_comes_back_that_is_deleted_between_its_batch_and_that_of_the_run(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.start_run("churn", capture=False)
    client.flush()
    execute = client.execute

    def after_somebody_deletes(operation: Operation) -> OpenStream | None:
        if operation.entries[0].kind == "run":
            client.flush()
            with modeldb.connect() as other:
                other.trash.delete_project("churn", recursive=True)
        return execute(operation)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(client, "execute", after_somebody_deletes)
        new = client.start_run("churn", capture=False)
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]
    assert [project.name for project in client.projects()] == ["churn"]


@pytest.mark.parametrize("child", [False, True], ids=["run", "child run"])
def test_a_project_that_was_erased_comes_back_with_its_name(client: Client, child: bool) -> None:
    old = client.start_run("churn", "trees", capture=False)
    assert client.flush()
    with modeldb.connect() as other:
        other.trash.delete_project("churn", recursive=True)
        assert other.flush()
        erase_deleted(DirectWriter(other.store, "somebody"), timedelta(0), erased := Collected())
        assert erased.entities >= 3
    with old.start_child() if child else client.start_run("churn", "trees", capture=False) as new:
        new.log_metric("loss", 1.0)
    assert [project.name for project in client.projects()] == ["churn"]
    assert [experiment.name for experiment in client.experiments("churn")] == ["trees"]
    assert [run.run_id for run in client.search_runs(project="churn")] == [new.run_id]


@pytest.mark.parametrize("client", ["server"], indirect=True)
def test_starting_a_run_asks_a_server_nothing_that_starting_the_first_one_has_asked(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_IDENTIFIED_LIFE_S", 3600.0)
    client.start_run("churn", capture=False).finish()
    client.flush()
    asked: Counter[str] = Counter()
    request = Connection.request

    def counting(self: Connection, method: str, path: str, *args: Any, **options: Any) -> Any:
        asked[f"{method} {path}"] += 1
        return request(self, method, path, *args, **options)

    monkeypatch.setattr(Connection, "request", counting)
    for _ in range(20):
        client.start_run("churn", capture=False).finish()
    client.flush()
    assert asked.keys() == {"POST /changes"}


@pytest.mark.parametrize("client", ["SQLite"], indirect=True)
def test_containers_are_declared_once_for_each_batch_of_runs(client: Client) -> None:
    client.close()
    with modeldb.connect(flush_interval_s=3600) as patient:
        patient.start_run("churn", capture=False)
        patient.flush()
        for _ in range(50):
            patient.start_run("churn", capture=False)
        patient.flush()
        changes = patient.store.read_changes(stream_id=patient.writer.stream_id).changes
        declared = [(each.kind, each.data()) for each in changes if each.kind != "run" and each.action == "create"]
        assert [kind for kind, _ in declared] == ["workspace", "project", "experiment"] * 2
        assert [data for _, data in declared[3:]] == [data for _, data in declared[:3]]
