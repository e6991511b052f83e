"""How versions of data sets get their numbers: by whoever decides, one after the other, none twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from modeldb_core.commands.datasets import About, Content, add_version, content_id, find_version
from modeldb_core.errors import ConditionsUnsupportedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import DatasetVersion, new_id
from modeldb_core.stores import MetadataStore, numbering
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene, StoreCase

_A, _B = (Content(digest=letter * 64, info={"features": [letter]}) for letter in "ab")


class DatasetTests(StoreCase):
    """What :mod:`modeldb_core.commands.datasets` promises of numbers and of versions that are the same, over a store."""

    promises: ClassVar[tuple[object, ...]] = (
        MetadataStore.apply,
        MetadataStore.find_few,
        add_version,
        numbering.number_within,
    )

    def test_content_that_the_latest_version_has_is_that_version(self, scene: Scene) -> None:
        data = _Dataset(scene)
        if not scene.store.decides:
            with pytest.raises(ConditionsUnsupportedError):
                data.add(_A)
            return
        first = data.add(_A, About(description="of May", tags=["raw"], attributes={"by": "hand"}))
        assert (first.version, first.parent_id, first.description, first.tags) == (1, None, "of May", ("raw",))
        assert first.entity_id == content_id(data.dataset_id, _A.digest)
        assert data.add(_A).entity_id == first.entity_id
        second, third = data.add(_B), data.add(_A)
        assert [second.version, third.version] == [2, 3]
        assert (second.parent_id, third.parent_id) == (first.entity_id, second.entity_id)
        assert third.entity_id not in (first.entity_id, second.entity_id)
        unknown = Content()
        assert [data.add(unknown).version, data.add(unknown).version] == [4, 5]
        with pytest.raises(InvalidArgumentError, match="of type raw"):
            data.add(Content(dataset_type="path", digest=_A.digest))
        with pytest.raises(NotFoundError):
            data.add(_B, About(parent_id=new_id()))
        assert [find_version(scene.store, data.dataset_id, name).version for name in ("v2", 5, "latest")] == [2, 5, 5]
        for missing, error in (("v6", NotFoundError), ("0", InvalidArgumentError), ("v-1", InvalidArgumentError)):
            with pytest.raises(error):
                find_version(scene.store, data.dataset_id, missing)

    def test_of_writers_at_once_each_gets_a_number_of_its_own(self, scene: Scene) -> None:
        if not scene.store.decides:
            return
        data = _Dataset(scene)
        contents = [Content(digest=letter * 64) for letter in "abcd"]

        def add(content: Content) -> DatasetVersion:
            return data.add(content)

        with ThreadPoolExecutor(3) as pool:
            added = list(pool.map(add, contents[:3]))
        assert {version.version for version in added} == {1, 2, 3}
        with ThreadPoolExecutor(2) as pool:
            same = list(pool.map(add, [contents[3]] * 2))
        assert same[0].entity_id == same[1].entity_id

    def test_a_few_versions_are_told_at_once_or_not_at_all(self, scene: Scene) -> None:
        data = _Dataset(scene)
        declared = {"dataset_id": data.dataset_id, "dataset_type": "raw"}
        made = [scene.writer.create("dataset_version", digest=one.digest, **declared).entity_id for one in (_A, _B)]
        scene.writer.delete("dataset_version", made[1])
        scene.writer.create("comment", text="names it, and is no version", parent_id=data.dataset_id)
        scene.ship()
        found = scene.store.find_few("dataset_version", "dataset_id", data.dataset_id, most=2)
        if found is not None:
            assert {each.entity_id: each for each in found} == {
                entity_id: scene.store.get("dataset_version", entity_id) for entity_id in made
            }
        assert scene.store.find_few("dataset_version", "dataset_id", data.dataset_id, most=1) is None

    def test_versions_without_a_number_get_the_next_ones(self, scene: Scene) -> None:
        scene.ship()
        data = _Dataset(scene)
        declared = {"dataset_id": data.dataset_id, "dataset_type": "raw"}
        first, second = (scene.writer.create("dataset_version", digest=one.digest, **declared) for one in (_A, _B))
        scene.ship()
        assert scene.store.get("dataset_version", first.entity_id).document.get("version", 0) == 0
        assert numbering.number_new(scene.store, [first, second], "someone") == 2
        assert numbering.number_new(scene.store, [first, second], "someone") == 0
        found = [find_version(scene.store, data.dataset_id, number) for number in (1, 2)]
        assert [version.entity_id for version in found] == [first.entity_id, second.entity_id]
        assert [version.parent_id for version in found] == [None, first.entity_id]
        scene.writer.delete("dataset_version", second.entity_id)
        third = scene.writer.create("dataset_version", digest="c" * 64, **declared)
        scene.ship()
        assert numbering.number_within(scene.store, "dataset_version", data.dataset_id, "someone") == 1
        assert find_version(scene.store, data.dataset_id, "v3").entity_id == third.entity_id, "2 is not given again"
        if scene.store.decides:
            scene.writer.create("dataset_version", digest="d" * 64, **declared)
            scene.ship()
            assert data.add(_A).version == 5, "what waits for a number comes first"


class _Dataset:
    """A data set that nobody else uses."""

    def __init__(self, scene: Scene) -> None:
        self.store = scene.store
        self.name = f"data {new_id()}"
        path = ("workspace", "default"), ("dataset", self.name)
        self.workspace_id, self.dataset_id = scene.store.identify(*path)

    def add(self, content: Content, about: About | None = None) -> DatasetVersion:
        with DirectWriter(self.store, "someone") as writer:
            ids = {"workspace_id": self.workspace_id, "dataset_id": self.dataset_id}
            return add_version(writer, self.name, content, about, **ids)
