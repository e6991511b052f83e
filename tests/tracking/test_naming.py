"""A name leads to the project that has it now, also after somebody has renamed it or created one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from modeldb_core import connect
from modeldb_core.backends._sql.store import SQLMetadataStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import for_creating
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import DEFAULT_WORKSPACE, Project, derived_id, new_id
from modeldb_core.plugins import open_store
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.stores.naming import derive
from modeldb_core.testing import StreamWriter
from modeldb_core.tracking.client import Client


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with connect(f"sqlite:///{tmp_path}/names.db") as client:
        yield client


def a_run(client: Client, project: str) -> tuple[str, str]:
    """Return the project of a run that was logged into one by name, and the run."""
    with client.start_run(project=project, capture=False) as run:
        pass
    assert client.flush()
    return run.container_ids[0], run.run_id


def test_after_a_renaming_the_old_name_makes_a_new_project(client: Client) -> None:
    first, run_id = a_run(client, "old")
    with DirectWriter(client.store, "me") as writer:
        writer.apply([Entry(UPDATE, "project", first, {"set": {"name": "new"}})])
    second, other_id = a_run(client, "old")
    assert second != first
    assert a_run(client, "new")[0] == first
    assert a_run(client, "old")[0] == second
    assert {project.name: project.entity_id for project in client.projects()} == {"new": first, "old": second}
    assert run_id in {run.run_id for run in client.search_runs(project="new")}
    assert {run.run_id for run in client.search_runs(project="old")} >= {other_id}
    assert client.container_id("old") == second


def test_a_store_is_asked_for_names_again_once_anybody_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(f"sqlite:///{tmp_path}/names.db", flush_interval_s=600) as client:
        first = a_run(client, "old")[0]
        asked: list[object] = []
        identify = SQLMetadataStore.identify

        def counted(store: SQLMetadataStore, *path: tuple[str, str]) -> tuple[str, ...]:
            asked.append(path)
            return identify(store, *path)

        monkeypatch.setattr(SQLMetadataStore, "identify", counted)
        for _ in range(3):
            client.start_run(project="old", capture=False).finish()
        assert len(asked) == 1, "nobody has written since"
        with open_store(client.writer.store_url) as other, DirectWriter(other, "somebody") as writer:
            writer.apply([Entry(UPDATE, "project", first, {"set": {"name": "new"}})])
        with client.start_run(project="old", capture=False) as run:
            assert run.container_ids[0] != first
        with client.start_run(project="new", capture=False) as run:
            assert run.container_ids[0] == first


def test_a_run_goes_into_the_project_that_somebody_created(client: Client) -> None:
    workspace_id, project_id = derived_id("workspace", "", DEFAULT_WORKSPACE), new_id()
    fields = {"name": "made by hand", "workspace_id": workspace_id}
    writer = StreamWriter()
    writer.write(CREATE, "project", project_id, fields)
    client.store.apply(writer.changes, expect=for_creating("project", project_id, fields))
    assert a_run(client, "made by hand")[0] == project_id
    assert [type(project) for project in client.projects()] == [Project]


def test_data_sets_are_found_by_their_names_too(client: Client) -> None:
    with client.start_run(project="p", capture=False) as run:
        run.log_dataset({"a": [1, 2]}, name="train")
    assert client.flush()
    first = next(iter(client.store.get("run", run.run_id).document["datasets"].values()))["dataset_id"]
    with DirectWriter(client.store, "me") as writer:
        writer.apply([Entry(UPDATE, "dataset", first, {"set": {"name": "elder"}})])
    with client.start_run(project="p", capture=False) as run:
        run.log_dataset({"a": [1, 2]}, "train", name="train")
        run.log_dataset({"a": [1, 2]}, "elder", name="elder")
    assert client.flush()
    found = {
        name: entry["dataset_id"] for name, entry in client.store.get("run", run.run_id).document["datasets"].items()
    }
    assert found["elder"] == first
    assert found["train"] != first


class Silent(MemoryStore):
    """A store that does not say who has a name."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        self.may_answer.wait()
        return super().identify(*path)


def test_a_run_begins_where_the_store_does_not_answer(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldb_core.tracking.session._PATIENCE_S", 0.05)
    silent = Silent()
    client.store.close()
    client._store = silent
    try:
        run = client.start_run(project="offline", capture=False)
        run.finish()
    finally:
        silent.may_answer.set()
    expected = derive((("workspace", DEFAULT_WORKSPACE), ("project", "offline"), ("experiment", "default")))
    assert run.container_ids == expected[1:]


class Nameless(MemoryStore):
    """A store elsewhere that does not say in whose name it takes changes, until it may."""

    is_local = False

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.asked = 0

    @property
    def user(self) -> str:
        self.asked += 1
        self.may_answer.wait()
        return "grace"


def test_a_store_that_does_not_say_who_acts_is_asked_more_and_more_rarely(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldb_core.tracking.session._PATIENCE_S", 0.05)
    now = [1000.0]
    monkeypatch.setattr("modeldb_core.tracking.session.time.monotonic", lambda: now[0])
    silent = Nameless()
    client.store.close()
    client._store, client._target.is_actor_known = silent, False
    try:
        pauses = [now[0]]
        for _ in range(200):
            before = client._ask_again_at
            client.actor  # noqa: B018 - asks
            if client._ask_again_at != before:
                pauses.append(client._ask_again_at - now[0])
            now[0] += 1.0
        assert 4 <= len(pauses) < 12, "it was waited for a few times, not 200"
        assert sorted(pauses[1:]) == pauses[1:]
    finally:
        silent.may_answer.set()
    now[0] += 100.0
    assert client.actor == "grace"
