"""What is deleted goes with what it contains, comes back with it, and the trash says until when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError
from modeldb_core.log.erasures import Target, window_of
from modeldb_core.log.stream import Entry
from modeldb_core.movement.deletion import deleted, parts
from modeldb_core.queries import Query
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene
from modeldb_core.tracking import Client
from modeldb_server import create_app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with modeldb.connect(
        f"sqlite:///{tmp_path}/modeldb.db",
        journal_dir=tmp_path / "journals",
        capture_enabled=False,
        flush_interval_s=0.05,
        user="ann",
    ) as client:
        yield client


def names(client: Client) -> list[str]:
    return sorted(run.name for run in client.search_runs())


def test_a_deleted_run_is_out_of_sight_and_comes_back(client: Client) -> None:
    with client.start_run("churn", "e", "one") as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.comment("fine")
    client.start_run("churn", "e", "other").finish()
    run.delete()
    assert names(client) == ["other"]
    assert run.entity.deleted_at is not None
    assert client.store.find(Query("comment")).entities == ()
    assert [(item.KIND, item.name) for item in client.trash.entities()] == [("run", "one")]
    run.delete()  # again changes nothing
    run.restore()
    assert names(client) == ["one", "other"]
    assert run.entity.deleted_at is None
    assert run.history("loss").values.tolist() == [1.0]
    assert len(client.store.find(Query("comment")).entities) == 1
    assert client.trash.entities() == ()
    assert verify(client.store).ok


def test_a_run_goes_with_its_children_only_if_that_is_said(client: Client) -> None:
    with client.start_run("churn", "e", "parent") as parent, parent.start_child("child") as child:
        child.start_child("grandchild").finish()
    client.start_run("churn", "e", "other").finish()
    with pytest.raises(InvalidArgumentError, match="2 runs"):
        parent.delete()
    assert len(names(client)) == 4
    parent.delete(recursive=True)
    assert names(client) == ["other"]
    assert [item.name for item in client.trash.entities()] == ["parent"]
    parent.restore()
    assert names(client) == ["child", "grandchild", "other", "parent"]


def test_a_project_goes_with_all_that_it_contains_or_not_at_all(client: Client) -> None:
    for experiment in ("a", "b"):
        for name in ("one", "two"):
            client.start_run("churn", experiment, f"{experiment} {name}").finish()
    client.start_run("prices", "a", "priced").finish()
    with pytest.raises(InvalidArgumentError, match="2 experiments, 4 runs"):
        client.trash.delete_project("churn")
    assert client.trash.delete_project("churn", recursive=True) == 7
    assert names(client) == ["priced"]
    assert [project.name for project in client.projects()] == ["prices"]
    assert [item.name for item in client.trash.entities()] == ["churn"]
    assert client.trash.restore_project("churn") == 7
    assert len(names(client)) == 5
    assert client.trash.restore_project("churn") == 0


def test_what_had_been_deleted_before_stays_deleted_when_its_container_comes_back(client: Client) -> None:
    first = client.start_run("churn", "e", "first")
    first.finish()
    client.start_run("churn", "e", "second").finish()
    first.delete()
    client.trash.delete_experiment("churn", "e", recursive=True)
    assert {item.name for item in client.trash.entities()} == {"e", "first"}
    client.trash.restore_experiment("churn", "e")
    assert names(client) == ["second"]
    first.restore()
    assert names(client) == ["first", "second"]


def test_a_run_brings_its_containers_back(client: Client) -> None:
    run = client.start_run("churn", "e", "one")
    run.finish()
    client.start_run("churn", "e", "two").finish()
    client.trash.delete_project("churn", recursive=True)
    run.restore()
    assert names(client) == ["one"]
    assert [project.name for project in client.projects()] == ["churn"]
    assert [item.name for item in client.experiments("churn")] == ["e"]


def test_logging_into_a_deleted_project_brings_it_back(client: Client, tmp_path: Path) -> None:
    client.start_run("churn", "e", "one").finish()
    client.trash.delete_project("churn", recursive=True)
    client.flush()
    with modeldb.connect(client.settings.url, journal_dir=tmp_path / "other", capture_enabled=False) as other:
        other.start_run("churn", "e", "late").finish()
    assert [project.name for project in client.projects()] == ["churn"]
    assert names(client) == ["late"]


def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.trash.delete_project("nothing")
    with pytest.raises(NotFoundError):
        client.trash.restore_experiment("churn", "nothing")


def test_restoring_what_was_erased_says_that_it_is_too_late(client: Client) -> None:
    run = client.start_run("churn", "e", "one")
    run.finish()
    run.delete()
    client.flush()
    with DirectWriter(client.store, "bob") as writer:
        said = client.store.read_changes(entity_id=run.run_id).changes
        entries = [
            Entry("erase", "run", run.run_id, Target.of(change).payload())
            for change in said
            if change.action != "delete"
        ]
        writer.apply([Entry("delete", "run", run.run_id, {"window_s": 0}), *entries])
    with pytest.raises(ErasedError, match="nothing of it is kept"):
        run.restore()
    assert list(deleted(client.store)) == []
    assert verify(client.store).ok


def test_a_data_set_goes_with_its_versions(client: Client) -> None:
    from modeldb_core.tracking import deletion

    with client.start_run("churn", "e", "one") as run:
        run.log_dataset([[1.0, 2.0]], "train")
        run.log_dataset([[1.0, 3.0]], "train")
    client.flush()
    (dataset,) = client.store.find(Query("dataset")).entities
    with pytest.raises(InvalidArgumentError, match="2 dataset versions"):
        deletion.delete(client, "dataset", dataset.entity_id)
    assert deletion.delete(client, "dataset", dataset.entity_id, recursive=True) == 3


# -- the command line -------------------------------------------------------------------------------------------------


def test_a_deletion_promises_the_time_of_the_settings_by_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from modeldb_core.cli import program

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELDB_RESTORE_WINDOW_DAYS", "90")
    with modeldb.connect(f"sqlite:///{tmp_path}/modeldb.db", journal_dir=tmp_path / "journals") as client:
        runs = [client.start_run("churn", "e", name, capture=False) for name in ("method", "many", "command", "api")]
        for run in runs:
            run.finish()
        runs[0].delete()
        client.search_runs("name = 'many'").delete()
        client.flush()
        assert program.run(["delete", runs[2].run_id]) == 0
        app = create_app(client.store, client.artifacts, client.settings)
        headers = {"X-ModelDB": "1", "Content-Type": "application/json"}
        answer = app.test_client().delete(f"/api/v2/runs/{runs[3].run_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        app.extensions["modeldb_server"].close()
        changes = client.store.read_changes(limit=1000).changes
    promised = {change.entity_id: window_of(change) for change in changes if change.action == "delete"}
    assert promised == dict.fromkeys((run.run_id for run in runs), 90 * 86_400)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from modeldb_core.cli import program

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = program.run(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_the_commands_delete_list_and_restore(client: Client, command: Any) -> None:
    with client.start_run("churn", "e", "one") as run:
        run.start_child("child").finish()
    client.start_run("churn", "e", "two").finish()
    client.flush()
    code, text = command("delete", "one")
    assert code == 2
    assert "--recursive" in text
    code, text = command("delete", "one", "--recursive", "--dry-run")
    assert "2 runs would be deleted. Nothing was altered." in text
    assert len(names(client)) == 3
    assert command("delete", "one", "--recursive") == (0, "2 runs deleted.\n")
    assert names(client) == ["two"]
    code, text = command("trash")
    assert "one" in text
    assert "child" not in text
    assert command("restore", run.run_id) == (0, "2 runs restored.\n")
    assert command("restore", run.run_id) == (0, "Nothing restored.\n")
    assert command("delete", "--project", "churn", "-r") == (0, "3 runs, 1 experiment, 1 project deleted.\n")
    code, text = command("trash", "--json")
    assert '"safe_until"' in text
    assert command("restore", "--project", "churn", "--experiment", "e")[0] == 0
    assert len(names(client)) == 3
    assert command("delete")[0] == 2
    assert command("delete", "one", "--project", "churn")[0] == 2
    assert command("delete", "nothing")[0] == 4
    assert verify(client.store).ok


def test_what_lies_deeper_is_read_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        with client.start_run("churn", f"e{number}", "run") as run:
            run.comment("fine")
            run.start_child("child").finish()
    assert client.flush()
    project = client.projects()[0].entity_id
    read: list[str] = []
    find = type(client.store).find

    def counted(store: Any, query: Query) -> Any:
        page = find(store, query)
        read.extend(entity.entity_id for entity in page.entities)
        return page

    monkeypatch.setattr(type(client.store), "find", counted)
    found = [part.entity_id for part in parts(client.store, "project", project)]
    assert len(found) == 12, "three experiments, six runs, three comments"
    assert len(read) < 2 * len(found)


def test_a_project_is_taken_apart_by_a_few_questions_and_each_run_read_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(client.store)
    for number in range(40):
        parent_id = scene.run(f"run {number}")
        scene.run(f"child {number}", parent_id=parent_id)
        scene.writer.create("comment", parent_id=parent_id, message="about it", author="me")
    scene.ship()
    find, read = client.store.find, []

    def counted(query: Query) -> Any:
        page = find(query)
        read.append([entity.entity_id for entity in page.entities])
        return page

    monkeypatch.setattr(client.store, "find", counted)
    found = [part.entity_id for part in parts(client.store, "project", scene.project_id)]
    assert len(found) == len(set(found)) == 40 + 40 + 40 + 1
    assert sum(map(len, read)) == len(found), "each entity is read once"
    assert len(read) < 20, "not a question for each run"
    of_run = [part.entity_id for part in parts(client.store, "run", scene.runs["run 3"])]
    assert len(of_run) == 2
