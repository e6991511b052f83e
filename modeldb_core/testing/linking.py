"""What refers to what: links follow from the fields that the schema calls references, in both directions and at any depth."""

from __future__ import annotations

from typing import ClassVar

import pytest

from modeldb_core.errors import InvalidArgumentError, QueryUnsupportedError
from modeldb_core.model.entities import new_id
from modeldb_core.model.schema import ANY
from modeldb_core.queries import MAX_DEPTH, MAX_NAMED, Linked, Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase


def linked(scene: Scene, kind: str, link: Linked, **options: object) -> list[str]:
    """Return the names of the entities of a kind that are linked so, in order."""
    query = Query(kind, order_by="name, entity_id", linked=link, **options)  # type: ignore[arg-type]
    if "linked" not in scene.store.understands:
        for ask in (scene.store.find, scene.store.find_keys):
            with pytest.raises(QueryUnsupportedError, match="'linked'"):
                ask(query)
        pytest.skip("this store does not understand linked, and says so")
    return [entity.name for entity in scene.store.find(query).entities]


class LinkTests(StoreCase):
    """The part of the suite about ``Query.linked``."""

    promises: ClassVar[tuple[object, ...]] = (Linked, MetadataStore.find)

    @pytest.fixture
    def lineage(self, scene: Scene) -> dict[str, str]:
        """A run with a child and a grandchild, two of which used a version of a data set; a comment on the child."""
        ids = {name: new_id() for name in ("data", "version", "comment", "model", "model version")}
        scene.writer.create("dataset", ids["data"], name="data")
        scene.writer.create("dataset_version", ids["version"], name="version", dataset_id=ids["data"])
        used = {"dataset_id": ids["data"], "dataset_version_id": ids["version"]}
        ids["parent"] = scene.run("parent", datasets={"train": used, "test": {"digest": "of something else"}})
        ids["child"] = scene.run("child", parent_id=ids["parent"], datasets={"valid": used})
        ids["grandchild"] = scene.run("grandchild", parent_id=ids["child"])
        scene.writer.create("comment", ids["comment"], name="comment", parent_id=ids["child"])
        scene.writer.create("registered_model", ids["model"], name="model")
        fields = {"registered_model_id": ids["model"], "run_id": ids["child"]}
        scene.writer.create("model_version", ids["model version"], name="model version", **fields)
        scene.ship()
        return ids

    def test_links_lead_to_what_refers_to_an_entity(self, scene: Scene, lineage: dict[str, str]) -> None:
        assert linked(scene, "run", Linked("run", lineage["parent"])) == ["child"]
        assert linked(scene, "run", Linked("dataset_version", lineage["version"])) == ["child", "parent"]
        assert linked(scene, "run", Linked("dataset", lineage["data"], field="datasets")) == ["child", "parent"]
        assert linked(scene, "comment", Linked("run", lineage["child"])) == ["comment"]
        assert linked(scene, "model_version", Linked("run", lineage["child"])) == ["model version"]
        assert linked(scene, "run", Linked("project", scene.project_id)) == ["child", "grandchild", "parent"]

    def test_links_lead_to_what_an_entity_refers_to(self, scene: Scene, lineage: dict[str, str]) -> None:
        assert linked(scene, "run", Linked("run", lineage["child"], "from")) == ["parent"]
        assert linked(scene, "dataset_version", Linked("run", lineage["child"], "from")) == ["version"]
        assert linked(scene, "project", Linked("run", lineage["child"], "from")) == [scene.project]
        assert linked(scene, "run", Linked("comment", lineage["comment"], "from")) == ["child"]
        assert linked(scene, "run", Linked("model_version", lineage["model version"], "from")) == ["child"]

    def test_links_can_be_asked_for_by_field(self, scene: Scene, lineage: dict[str, str]) -> None:
        to_child = Linked("run", lineage["child"], field="parent_id")
        assert linked(scene, "run", to_child) == ["grandchild"]
        assert linked(scene, "model_version", to_child) == []
        assert linked(scene, "dataset", Linked("run", lineage["child"], "from", "parent_id")) == []

    def test_links_are_followed_as_deep_as_asked_for(self, scene: Scene, lineage: dict[str, str]) -> None:
        parent, model = lineage["parent"], lineage["model version"]
        assert linked(scene, "run", Linked("run", parent, depth=2)) == ["child", "grandchild"]
        assert linked(scene, "comment", Linked("run", parent)) == []
        assert linked(scene, "comment", Linked("run", parent, depth=2)) == ["comment"]
        assert linked(scene, "dataset", Linked("model_version", model, "from")) == []
        assert linked(scene, "dataset", Linked("model_version", model, "from", depth=2)) == ["data"]
        assert linked(scene, "run", Linked("model_version", model, "from", depth=MAX_DEPTH)) == ["child", "parent"]

    def test_links_to_several_entities_are_asked_for_at_once(self, scene: Scene, lineage: dict[str, str]) -> None:
        several = (lineage["parent"], lineage["version"], new_id())
        if "linked_several" not in scene.store.understands:
            with pytest.raises(QueryUnsupportedError, match="'linked_several'"):
                scene.store.find(Query(linked=Linked("run", several)))
            pytest.skip("this store takes one entity for a link, and says so")
        assert linked(scene, "run", Linked("run", several)) == ["child"]
        assert linked(scene, "run", Linked(ANY, several)) == ["child"]  # what is named is not among the answers
        assert linked(scene, "run", Linked(ANY, several[1:])) == ["child", "parent"]
        assert linked(scene, "run", Linked(ANY, several[1:], field="parent_id")) == []
        assert linked(scene, "run", Linked(ANY, several, depth=2)) == ["child", "grandchild"]
        ends = (lineage["grandchild"], lineage["comment"])
        assert linked(scene, "run", Linked(ANY, ends, "from")) == ["child"]
        assert linked(scene, "run", Linked(ANY, ends, "from", depth=2)) == ["child", "parent"]
        assert linked(scene, "run", Linked("comment", ends, "from")) == ["child"]
        page = scene.store.find(Query(order_by="name", limit=1, count=True, linked=Linked(ANY, several[1:])))
        rest = scene.store.find(Query(order_by="name", linked=Linked(ANY, several[1:]), cursor=page.cursor))
        assert ([run.name for run in (*page.entities, *rest.entities)], page.total) == (["child", "parent"], 2)

    def test_links_in_a_circle_come_to_an_end(self, scene: Scene) -> None:
        one = scene.run("one")
        two = scene.run("two", parent_id=one)
        scene.writer.update("run", one, set={"parent_id": two})
        scene.ship()
        for direction in ("to", "from"):
            link = Linked("run", one, direction, "parent_id", MAX_DEPTH)
            assert linked(scene, "run", link) == ["two"]

    def test_links_follow_updates_and_deletions(self, scene: Scene, lineage: dict[str, str]) -> None:
        to_version = Linked("dataset_version", lineage["version"])
        scene.writer.update("run", lineage["child"], remove={"datasets": ["valid"]})
        scene.writer.update("run", lineage["grandchild"], set={"parent_id": lineage["parent"]})
        scene.ship()
        assert linked(scene, "run", to_version) == ["parent"]
        assert linked(scene, "run", Linked("run", lineage["parent"], field="parent_id")) == ["child", "grandchild"]
        scene.writer.delete("run", lineage["parent"])
        scene.ship()
        assert linked(scene, "run", to_version) == []
        assert linked(scene, "run", to_version, include_deleted=True) == ["parent"]
        assert linked(scene, "dataset_version", Linked("run", lineage["child"], "from", depth=2)) == ["version"]

    def test_an_entity_that_never_arrived_can_be_referred_to(self, scene: Scene) -> None:
        nowhere = new_id()
        scene.run("orphan", parent_id=nowhere)
        scene.ship()
        assert linked(scene, "run", Linked("run", nowhere)) == ["orphan"]
        assert linked(scene, "run", Linked("run", nowhere, depth=3)) == ["orphan"]
        assert linked(scene, "run", Linked("run", nowhere, "from", depth=3)) == []

    def test_links_filters_orders_and_pages_go_together(self, scene: Scene, lineage: dict[str, str]) -> None:
        to_project = Linked("project", scene.project_id)
        query = Query(order_by="name", limit=2, count=True, linked=to_project)
        page = scene.store.find(query)
        assert ([run.name for run in page.entities], page.total) == (["child", "grandchild"], 3)
        rest = scene.store.find(Query(order_by="name", limit=2, linked=to_project, cursor=page.cursor))
        assert [run.name for run in rest.entities] == ["parent"]
        assert linked(scene, "run", to_project, filter='name = "child"') == ["child"]
        assert linked(scene, "run", Linked("dataset", lineage["data"]), within=scene.project_id) == ["child", "parent"]
        keys = scene.store.find_keys(Query(linked=Linked("run", lineage["parent"])))
        assert {info.key for info in keys if info.section == "datasets"} >= {"valid"}
        assert "train" not in {info.key for info in keys}

    def test_a_link_that_cannot_be_is_refused(self) -> None:
        of_ids = ({"entity_id": ()}, {"entity_id": ("x",) * (MAX_NAMED + 1)}, {"entity_id": ("x", 1)})
        of_others = ({"kind": "gadget"}, {"direction": "sideways"}, {"field": "color"}, {"depth": 0}, {"depth": 101})
        for wrong in (*of_ids, *of_others):
            with pytest.raises(InvalidArgumentError):
                Linked(**{"kind": "run", "entity_id": "x", **wrong})  # type: ignore[arg-type]
