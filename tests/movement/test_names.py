"""Containers that share a name: the later one is renamed by the store, and in every store alike."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli import program
from modeldb_core.movement.copying import copy
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


def heads(store: MetadataStore) -> dict[str, bytes]:
    return {stream_id: head.hash for stream_id, head in store.heads().items()}


def named(base: str, name: str) -> bool:
    return name.startswith(f"{base} (") and len(name) == len(base) + len(" (12345678)")


@pytest.mark.parametrize("batches", ["streams", "changes", "all"])
def test_every_store_comes_to_the_same_whatever_arrives_first(batches: str, tmp_path: Path) -> None:
    one, other, old, new = clashing()
    stores: list[MetadataStore] = [MemoryStore(), SQLiteStore(f"sqlite:///{tmp_path}/names.db")]
    orders = ([one, other], [other, one])
    for store, writers in zip(stores, orders, strict=True):
        if batches == "all":
            store.apply([change for writer in writers for change in writer.changes])
        for writer in writers:
            for change in writer.changes if batches == "changes" else ():
                store.apply([change])
            store.apply(writer.changes)
    for store in stores:
        found = names(store)
        assert found[old] == "churn"
        assert named("churn", found[new])
        last = store.read_changes(entity_id=new).changes[-1]
        assert (last.actor, last.action, last.data()["set"]) == ("modeldb", "update", {"name": found[new]})
        assert [run.name for run in store.find(Query(within=new)).entities] == ["in churn"]
        assert verify(store).ok
    assert heads(stores[0]) == heads(stores[1])
    for source in stores:  # what was settled there may come in one batch with what it settles
        target = MemoryStore()
        target.apply(source.read_changes(limit=100).changes)
        assert heads(target) == heads(source)
        assert len(target.read_changes().changes) == len(source.read_changes().changes)
        assert verify(target).ok
    stores[1].close()


def test_of_three_the_first_keeps_the_name_in_every_order() -> None:
    writers = [StreamWriter(at=1_750_000_000_000_000 + second) for second in range(3)]
    created = [writer.create("project", workspace_id="w", name="churn").entity_id for writer in writers]
    seen = []
    for order in permutations(range(3)):
        store = MemoryStore()
        for number in order:
            store.apply(writers[number].changes)
        found = names(store)
        assert [named("churn", found[entity_id]) for entity_id in created] == [False, True, True]
        assert len(set(found.values())) == 3
        seen.append(heads(store))
    assert all(each == seen[0] for each in seen)


def test_a_suffix_that_is_taken_is_not_taken_again() -> None:
    early, late = (StreamWriter(at=1_750_000_000_000_000 + second) for second in range(2))
    early.create("project", workspace_id="w", name="churn")
    loser = late.create("project", "the later one", workspace_id="w", name="churn").entity_id
    store = MemoryStore()
    store.apply([*early.changes, *late.changes])
    suffixed = names(store)[loser]
    third, fourth = StreamWriter(at=1_740_000_000_000_000), MemoryStore()
    third.create("project", workspace_id="w", name=suffixed)
    for writer in (third, early, late):
        fourth.apply(writer.changes)
    assert len(set(names(fourth).values())) == 3
    assert verify(fourth).ok


def test_names_that_change_places_do_not_clash() -> None:
    writer = StreamWriter()
    one, other = (writer.create("project", workspace_id="w", name=name).entity_id for name in ("one", "other"))
    for entity_id, name in ((one, "free"), (other, "one"), (one, "other")):
        writer.update("project", entity_id, set={"name": name})
    store = MemoryStore()
    store.apply(writer.changes)
    assert names(store) == {one: "other", other: "one"}
    assert set(store.heads()) == {writer.stream_id}


def test_equal_names_in_different_places_are_left_alone() -> None:
    writer = StreamWriter()
    writer.create_containers("churn", "same")
    writer.create_containers("prices", "same")
    writer.create_run(name="same")
    writer.create_run(name="same")
    store = MemoryStore()
    store.apply(writer.changes)
    assert len(store.heads()) == 1


def test_a_restored_project_whose_name_was_taken_meanwhile_gets_another() -> None:
    writer = StreamWriter()
    first = writer.create("project", workspace_id="w", name="churn").entity_id
    writer.delete("project", first)
    second = writer.create("project", workspace_id="w", name="churn").entity_id
    writer.write("restore", "project", first, {})
    store = MemoryStore()
    store.apply(writer.changes)
    assert names(store)[second] == "churn"
    assert named("churn", names(store)[first])


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
    assert f"project {new} has the name" in capsys.readouterr().err
    with SQLiteStore(urls[1]) as store, SQLiteStore(urls[0]) as first:
        assert names(store)[old] == "churn"
        assert named("churn", names(store)[new])
        assert verify(store).ok
        assert copy(store, first).ok
        assert names(first) == names(store)
        assert heads(first) == heads(store)
