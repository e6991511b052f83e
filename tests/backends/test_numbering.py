"""Numbers of versions, given by what a store tells at once of a few of them, and by questions where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.backends._sql.sqlite import SQLiteDatabase
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.model.entities import new_id
from modeldb_core.stores import numbering
from modeldb_core.testing.scene import Scene

KIND, FIELD = "dataset_version", "dataset_id"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield Scene(store)


@pytest.mark.parametrize("few", [0, 2, 100])
def test_versions_get_the_same_numbers_whether_there_are_few_or_many(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(numbering, "_FEW", few)
    store, data = scene.store, new_id()

    def add(digest: str) -> str:
        made = scene.writer.create(KIND, digest=digest * 64, dataset_id=data, dataset_type="raw")
        return str(made.entity_id)

    def number_of(version: str) -> tuple[object, object]:
        document = store.get(KIND, version).document
        return document.get("version"), document.get("parent_id")

    assert numbering.next_number(store, KIND, data) == 1
    assert numbering.latest(store, KIND, data) is None
    other = scene.writer.create(KIND, digest="0" * 64, dataset_id=new_id(), dataset_type="raw").entity_id
    first, second = add("a"), add("b")
    gone = add("c")
    scene.writer.delete(KIND, gone)
    scene.writer.create("comment", text="of the data set", parent_id=data)  # names it, and is no version
    scene.ship()
    assert numbering.number_within(store, KIND, data, "someone") == 2
    assert (number_of(first), number_of(second)) == ((1, None), (2, first))
    assert number_of(gone)[0] is None, "what is deleted needs no number"
    assert number_of(other)[0] is None, "it is in another data set"
    scene.writer.delete(KIND, second)
    third = add("d")
    scene.ship()
    assert numbering.next_number(store, KIND, data) == 3, "a number of what was deleted is not given again"
    latest = numbering.latest(store, KIND, data)
    assert latest is not None
    assert latest.entity_id == first
    assert numbering.number_within(store, KIND, data, "someone") == 1
    assert number_of(third) == (3, first)
    assert numbering.number_within(store, KIND, data, "someone") == 0


def test_a_store_that_is_asked_for_a_few_tells_all_or_nothing(scene: Scene) -> None:
    data = new_id()
    made = {scene.writer.create(KIND, digest=c * 64, dataset_id=data, dataset_type="raw").entity_id for c in "abc"}
    scene.ship()
    found = scene.store.find_few(KIND, FIELD, data, most=3)
    assert found is not None
    assert {version.entity_id for version in found} == made
    assert scene.store.find_few(KIND, FIELD, data, most=2) is None
    for version in found:
        assert version == scene.store.get(KIND, version.entity_id)


def test_what_uses_a_data_set_costs_its_versions_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that SQLite takes to find the versions of a data set are the same, however many runs name it."""
    run, steps = SQLiteDatabase.run, [0]

    def count() -> None:
        steps[-1] += 1

    def counting(self: SQLiteDatabase, connection: Any, build: Any, parameters: Any) -> Any:
        connection.set_progress_handler(count, 1)
        try:
            return run(self, connection, build, parameters)
        finally:
            connection.set_progress_handler(None, 1)

    data = new_id()
    made = {scene.writer.create(KIND, digest=c * 64, dataset_id=data, dataset_type="raw").entity_id for c in "abc"}
    for number in (0, 20, 500):
        for _ in range(number):
            scene.writer.create("run", datasets={"training": {"dataset_id": data}})
        scene.ship()
        with monkeypatch.context() as context:
            context.setattr(SQLiteDatabase, "run", counting)
            found = scene.store.find_few(KIND, FIELD, data, most=9)
        assert {version.entity_id for version in found or ()} == made
        steps.append(0)
    assert steps[0] == steps[1] == steps[2] > 0
