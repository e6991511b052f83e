"""Where entities lie, and what is found within containers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from modeldb_core.errors import InvalidArgumentError, QuerySyntaxError
from modeldb_core.model.entities import Entity, new_id
from modeldb_core.queries import MAX_CONTAINERS, Query, condition
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase


@dataclass(frozen=True)
class Place:
    """A workspace that nobody else uses, with a project, a run with a comment, and a data set with a version."""

    workspace: str
    project: str
    experiment: str
    run: str
    comment: str
    dataset: str
    version: str

    @classmethod
    def make(cls, scene: Scene, name: str, *, auc: float = 0.0) -> Place:
        """Write a place; nothing of it is applied before the scene ships."""
        unique = f"{name} {new_id()}"
        ids = scene.writer.create_containers(unique, "experiment", unique)
        workspace = str(scene.writer.changes[-3].entity_id)
        run = scene.writer.create_run(name=name, metrics={"auc": auc}, **ids).entity_id
        comment = scene.writer.create("comment", name=name, parent_id=run, message="said").entity_id
        dataset = scene.writer.create("dataset", name=name, workspace_id=workspace).entity_id
        version = scene.writer.create("dataset_version", name=name, dataset_id=dataset).entity_id
        return cls(workspace, ids["project_id"], ids["experiment_id"], run, comment, dataset, version)


def scope(entity: Entity) -> tuple[str, str]:
    """Return where an entity lies."""
    return entity.workspace_id, entity.project_id


class ScopeTests(StoreCase):
    """What the suite says of ``workspace_id`` and ``project_id``, and of ``Query.within``."""

    promises: ClassVar[tuple[object, ...]] = (Entity, Query, MetadataStore.find)

    def test_everything_lies_in_a_workspace_and_a_project(self, scene: Scene) -> None:
        place, create = Place.make(scene, "one"), scene.writer.create
        reply = create("comment", parent_id=place.comment).entity_id
        noted = create("comment", parent_id=place.workspace).entity_id
        child = scene.writer.create_run(parent_id=place.run).entity_id
        grouped = scene.writer.create_run(experiment_id=place.experiment).entity_id
        model = create("registered_model", name="model", workspace_id=place.workspace).entity_id
        promoted = create("model_version", registered_model_id=model, run_id=place.run).entity_id
        stray, user = scene.writer.create_run(name="stray").entity_id, create("user", name=new_id()).entity_id
        scene.ship()
        in_project, in_workspace = (place.workspace, place.project), (place.workspace, "")
        expected = {
            ("workspace", place.workspace): in_workspace,
            ("project", place.project): in_project,
            ("experiment", place.experiment): in_project,
            ("run", place.run): in_project,
            ("comment", place.comment): in_project,
            ("comment", reply): in_project,
            ("run", child): in_project,
            ("run", grouped): in_project,
            ("comment", noted): in_workspace,
            ("dataset", place.dataset): in_workspace,
            ("dataset_version", place.version): in_workspace,
            ("registered_model", model): in_workspace,
            ("model_version", promoted): in_workspace,
            ("run", stray): ("", ""),
            ("user", user): ("", ""),
        }
        assert {name: scope(scene.store.get(*name)) for name in expected} == expected
        (found,) = scene.store.find(Query("comment", within=place.run, fields=("message",))).entities
        assert scope(found) == in_project

    def test_a_container_that_arrives_late_says_where_its_parts_lie(self, scene: Scene) -> None:
        scene.ship()
        ids = {name: new_id() for name in ("workspace", "project", "run", "comment", "dataset", "version")}

        def lies(kind: str, name: str) -> tuple[str, str]:
            return scope(scene.store.get(kind, ids[name]))

        scene.writer.create("comment", ids["comment"], parent_id=ids["run"])
        scene.writer.create("dataset_version", ids["version"], dataset_id=ids["dataset"])
        scene.ship()
        assert lies("comment", "comment") == lies("dataset_version", "version") == ("", "")
        scene.writer.create_run(entity_id=ids["run"], project_id=ids["project"])
        scene.ship()
        assert lies("comment", "comment") == lies("run", "run") == ("", ids["project"])
        scene.writer.create("project", ids["project"], name=new_id(), workspace_id=ids["workspace"])
        scene.writer.create("dataset", ids["dataset"], name=new_id(), workspace_id=ids["workspace"])
        scene.ship()
        assert lies("comment", "comment") == lies("run", "run") == (ids["workspace"], ids["project"])
        assert lies("dataset_version", "version") == (ids["workspace"], "")
        for kind, name in (("comment", "comment"), ("run", "run"), ("dataset_version", "version")):
            (found,) = scene.store.find(Query(kind, within=ids["workspace"])).entities
            assert found.entity_id == ids[name]

    def test_what_moves_takes_its_parts_along(self, scene: Scene) -> None:
        one, other = Place.make(scene, "one"), Place.make(scene, "other")
        reply = scene.writer.create("comment", parent_id=one.comment).entity_id
        scene.ship()
        scene.writer.update("run", one.run, set={"project_id": other.project})
        scene.writer.update("dataset", one.dataset, set={"workspace_id": other.workspace})
        scene.ship()
        for entity_id in (one.comment, reply):
            assert scope(scene.store.get("comment", entity_id)) == (other.workspace, other.project)
        assert scope(scene.store.get("dataset_version", one.version)) == (other.workspace, "")
        scene.writer.update("project", other.project, set={"workspace_id": one.workspace})
        scene.ship()
        assert scope(scene.store.get("comment", reply)) == (one.workspace, other.project)
        assert scene.store.find(Query("comment", within=other.workspace)).entities == ()
        scene.writer.update("comment", one.comment, set={"parent_id": reply})  # in a circle
        scene.ship()
        assert {scope(scene.store.get("comment", entity_id)) for entity_id in (one.comment, reply)} == {("", "")}
        scene.writer.update("comment", one.comment, set={"parent_id": other.dataset})
        scene.ship()
        assert scope(scene.store.get("comment", reply)) == (other.workspace, "")

    def test_what_is_deleted_and_restored_lies_where_it_did(self, scene: Scene) -> None:
        place = Place.make(scene, "one")
        scene.ship()
        for write in (scene.writer.delete, scene.writer.restore):
            for kind, entity_id in (("comment", place.comment), ("run", place.run), ("project", place.project)):
                write(kind, entity_id)
            scene.ship()
            query = Query("comment", within=place.project, include_deleted=True)
            assert [scope(comment) for comment in scene.store.find(query).entities] == [
                (place.workspace, place.project)
            ]

    def test_what_a_document_says_of_where_it_lies_counts_for_nothing(self, scene: Scene) -> None:
        place, other = Place.make(scene, "one"), Place.make(scene, "other")
        said = {"workspace_id": other.workspace, "project_id": other.project}
        liar = scene.writer.create("comment", parent_id=place.run, **said).entity_id
        wrong = scene.writer.create("comment", parent_id=place.run, workspace_id=5, project_id=["x"]).entity_id
        scene.ship()
        for entity_id in (liar, wrong):
            assert scope(scene.store.get("comment", entity_id)) == (place.workspace, place.project)
        assert [found.entity_id for found in scene.store.find(Query("comment", within=other.workspace)).entities] == [
            other.comment
        ]

    def test_filters_and_orders_know_where_everything_lies(self, scene: Scene) -> None:
        one, other = Place.make(scene, "one"), Place.make(scene, "other")
        scene.ship()
        asked = {
            ("comment", condition("workspace_id = ?", one.workspace)): [one.comment],
            ("comment", condition("project_id = ?", other.project)): [other.comment],
            ("dataset_version", condition("workspace_id = ? and project_id is null", one.workspace)): [one.version],
            ("run", condition("workspace_id in ?", [one.workspace, other.workspace])): [one.run, other.run],
            ("project", condition("workspace_id = ?", one.workspace)): [one.project],
        }
        for (kind, text), expected in asked.items():
            found = scene.store.find(Query(kind, text, "project_id, name")).entities
            assert sorted(entity.entity_id for entity in found) == sorted(expected), text

    # Within several containers

    def test_one_of_several_containers_is_enough(self, scene: Scene) -> None:
        places = [Place.make(scene, name, auc=auc) for name, auc in (("a", 0.3), ("b", 0.1), ("c", 0.2))]
        one, other, third = places
        scene.ship()

        def names(*within: str, kind: str = "run", **options: object) -> str:
            query = Query(kind, within=within, count=True, **{"order_by": "name", **options})  # type: ignore[arg-type]
            page = scene.store.find(query)
            assert page.total == len(page.entities)
            return "".join(entity.name for entity in page.entities)

        assert names(one.project, third.project) == "ac"
        assert names(one.workspace, other.experiment, other.experiment, new_id()) == "ab"
        assert names(one.workspace, one.project, one.experiment) == "a"
        assert names(*(place.workspace for place in places), order_by="") == "cba"
        assert names(*(place.workspace for place in places), order_by="metrics.auc") == "bca"
        assert names(*(place.project for place in places), filter="metrics.auc < 0.25") == "bc"
        assert names(one.run, third.project, kind="comment") == "ac"
        assert names(one.dataset, third.workspace, kind="dataset_version") == "ac"
        found = scene.store.find(Query("project", within=(one.project, other.workspace))).entities
        assert {project.entity_id for project in found} == {one.project, other.project}
        found = scene.store.find(Query("workspace", within=(one.workspace, other.project))).entities
        assert [workspace.entity_id for workspace in found] == [one.workspace]
        keys = scene.store.find_keys(Query(within=(one.workspace, other.project)))
        assert {(info.key, info.count) for info in keys} == {("auc", 2)}

    def test_within_no_container_there_is_nothing(self, scene: Scene) -> None:
        scene.run("run", metrics={"auc": 1.0})
        scene.ship()
        assert scene.store.find(Query(within=(), count=True)).entities == ()
        assert scene.store.find(Query(within=(), count=True, limit=0)).total == 0
        assert scene.store.find_keys(Query(within=())) == ()
        assert scene.store.find(Query(within=(new_id(), new_id()))).entities == ()

    @pytest.mark.parametrize("order_by", ["", "metrics.auc desc"])
    def test_pages_within_several_containers_add_up(self, scene: Scene, order_by: str) -> None:
        places = [Place.make(scene, str(number), auc=number / 10) for number in range(5)]
        scene.ship()
        within = tuple(place.workspace for place in places[1:])
        query = Query(order_by=order_by, within=within, limit=3, count=True)
        first = scene.store.find(query)
        assert [run.name for run in first.entities] == ["4", "3", "2"]
        # The same containers, in whichever order and however often.
        rest = scene.store.find(replace(query, within=(*reversed(within), within[0]), cursor=first.cursor))
        assert ([run.name for run in rest.entities], rest.cursor, rest.total) == (["1"], None, 4)
        for others in (None, (), within[0], (*within, places[0].workspace)):
            with pytest.raises(QuerySyntaxError, match="another query"):
                scene.store.find(replace(query, within=others, cursor=first.cursor))

    @pytest.mark.parametrize("within", ["", ("a", ""), 5, {"a": "b"}, b"a", ("a", 5), ("a",) * (MAX_CONTAINERS + 1)])
    def test_containers_that_cannot_be_are_refused(self, within: object) -> None:
        with pytest.raises(InvalidArgumentError, match="within"):
            Query(within=within)  # type: ignore[arg-type]
