"""Containers that share a name: the later one is renamed, the same one wherever that is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli import program
from modeldb_core.movement.copying import copy
from modeldb_core.movement.names import separate_names
from modeldb_core.movement.recorder import Recorder
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter


def clashing() -> tuple[StreamWriter, StreamWriter, str, str]:
    """Return two streams: one has renamed "old" to "churn", the other has created a "churn" later."""
    one, other = StreamWriter(at=1_750_000_000_000_000), StreamWriter(at=1_750_000_001_000_000)
    old = one.create_containers("old", "experiment")["project_id"]
    one.update("project", old, set={"name": "churn"})
    one.create_run(name="in old", project_id=old)
    new = other.create_containers("churn", "experiment")["project_id"]
    other.create_run(name="in churn", project_id=new)
    return one, other, old, new


def names(store: MetadataStore) -> dict[str, str]:
    return {project.entity_id: project.name for project in store.find(Query("project")).entities}


@pytest.mark.parametrize("first", [0, 1])
def test_the_later_one_is_renamed_whichever_arrives_first(first: int) -> None:
    one, other, old, new = clashing()
    store = MemoryStore()
    for writer in (one, other) if first == 0 else (other, one):
        store.apply(writer.changes)
    with Recorder(store, "mover") as recorder:
        renamed = separate_names(recorder)
        assert [(entity.entity_id, name) for entity, name in renamed] == [(new, "churn (2)")]
        assert separate_names(recorder) == []
    assert names(store) == {old: "churn", new: "churn (2)"}
    last = store.read_changes(entity_id=new).changes[-1]
    assert (last.actor, last.action, last.data()) == ("mover", "update", {"set": {"name": "churn (2)"}})
    assert [run.name for run in store.find(Query(within=new)).entities] == ["in churn"]
    assert verify(store).ok


def test_a_name_that_is_taken_is_not_taken_again() -> None:
    one, other, _, new = clashing()
    third = StreamWriter()
    third.create_containers("churn (2)", "experiment")
    store = MemoryStore()
    for writer in (one, other, third):
        store.apply(writer.changes)
    with Recorder(store, "mover") as recorder:
        separate_names(recorder)
    assert names(store)[new] == "churn (3)"


def test_equal_names_in_different_places_are_left_alone() -> None:
    writer = StreamWriter()
    writer.create_containers("churn", "same")
    writer.create_containers("prices", "same")
    writer.create_run(name="same")
    writer.create_run(name="same")
    store = MemoryStore()
    store.apply(writer.changes)
    with Recorder(store, "mover") as recorder:
        assert separate_names(recorder) == []
    assert len(store.heads()) == 1


def test_a_copy_renames_what_clashes_only_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, old, new = clashing()
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other")]
    for url, writer in zip(urls, (one, other), strict=True):
        with SQLiteStore(url) as store:
            store.apply(writer.changes)
    assert program.run(["copy", *urls, "--dry-run"]) == 0
    with SQLiteStore(urls[1]) as store:
        assert names(store) == {new: "churn"}
    capsys.readouterr()
    assert program.run(["copy", *urls]) == 0
    assert "project churn" in capsys.readouterr().err
    with SQLiteStore(urls[1]) as store:
        assert names(store) == {old: "churn", new: "churn (2)"}
        assert verify(store).ok
        with SQLiteStore(urls[0]) as first:
            assert copy(store, first).ok
            assert names(first) == {old: "churn", new: "churn (2)"}
