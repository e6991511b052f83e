"""How entities come back: values in every bit, updates, deletion, hierarchy, and runs that are lost."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Comment, Experiment, Project, derived_id, new_id, now_us
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import BlobReference, to_json
from modeldb_core.queries import Query, condition
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter

VALUES: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus zero": -0.0,
    "zero": 0.0,
    "one": 1.0,
    "integer one": 1,
    "smallest float": 5e-324,
    "largest float": 1.7976931348623157e308,
    "a tenth": 0.1,
    "integer beyond 2^53": 2**53 + 1,
    "integer beyond 2^63": 2**63 + 5,
    "integer below -2^63": -(2**63) - 5,
    "huge integer": 10**400,
    "true": True,
    "false": False,
    "null": None,
    "empty text": "",
    "spaces": "  \t\n ",
    "text with quotes": 'it\'s "quoted" \\ `back`',
    "number as text": "1.0",
    "unicode": "naïve 日本語 🚀 e\u0301 \u202e",
    "nul": "a\0b",
    "empty list": [],
    "empty map": {},
    "empty key": {"": 1},
    "nested": {"a": [1, [2.5, None, {"b": [math.nan, -0.0]}]], "c": {"d": {"e": "f"}}},
    "tagged keys": {"$float": "NaN", "$int": 5, "$blob": "x", "$$": 1, "a.b": {"c": 1}},
    "blob": BlobReference("ab" * 32, 12),
    "key.with.dots": 1,
    "schlüssel 🔑": 1,
    "sql'; drop table entities; --": "'; drop table entities; --",
}


def exactly(value: object) -> str:
    """Return a text that is equal for values that are equal in every bit."""
    return json.dumps(_tagged(value), ensure_ascii=False)


def _tagged(value: Any) -> Any:  # noqa: ANN401 - a value
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tagged(item) for item in value]
    return [type(value).__name__, value.hex() if isinstance(value, float) else to_json(value)]


class EntityTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.get` promises."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.get, MetadataStore.find)

    @pytest.mark.parametrize("section", ["hyperparameters", "attributes", "metrics"])
    def test_values_come_back_exactly(self, scene: Scene, section: str) -> None:
        run_id = scene.run("run", **{section: VALUES})
        updated = scene.run()
        scene.writer.update("run", updated, put={section: VALUES})
        scene.ship()
        for entity in (scene.get(run_id), scene.get(updated), *scene.find().entities):
            found = getattr(entity, section)
            assert {key: exactly(value) for key, value in found.items()} == {
                key: exactly(value) for key, value in VALUES.items()
            }

    def test_deep_nesting_comes_back(self, scene: Scene) -> None:
        value: Any = 1
        for _ in range(90):
            value = {"a": [value]} if isinstance(value, int) else {"a": value}
        run_id = scene.run(attributes={"deep": value})
        scene.ship()
        assert scene.get(run_id).attributes["deep"] == value

    def test_thousands_of_keys_come_back(self, scene: Scene) -> None:
        values = {f"key {number}": number for number in range(3000)}
        run_id = scene.run(hyperparameters=values, attributes={"map": values})
        scene.ship()
        assert scene.get(run_id).hyperparameters == values
        assert scene.get(run_id).attributes["map"] == values

    def test_fields_come_back(self, scene: Scene) -> None:
        at = 1_800_000_000_123_456
        run_id = scene.run(
            "the name",
            description="what",
            tags=["b", "a"],
            started_at=at,
            finished_at=at + 1_500_000,
            status="finished",
            parent_id="parent",
            artifacts={"model": {"digest": "ab" * 32, "size_bytes": 5}},
            datasets={"train": {"digest": "cd" * 32}},
            code={"git": {"commit": "abc"}},
            environment={"python": "3.11"},
            context={"host": "here"},
            notes=["something was left out"],
        )
        created = scene.writer.changes[-1].recorded_at
        scene.ship()
        run = scene.get(run_id)
        assert (run.run_id, run.name, run.description, run.status) == (run_id, "the name", "what", "finished")
        assert (run.tags, run.notes) == (("b", "a"), ("something was left out",))
        assert (run.project_id, run.experiment_id) == (scene.ids["project_id"], scene.ids["experiment_id"])
        assert (run.parent_id, run.owner, run.stream_id) == ("parent", "tester", scene.writer.stream_id)
        assert run.artifacts == {"model": {"digest": "ab" * 32, "size_bytes": 5}}
        assert run.datasets == {"train": {"digest": "cd" * 32}}
        assert run.code == {"git": {"commit": "abc"}}
        assert (run.environment, run.context) == ({"python": "3.11"}, {"host": "here"})
        assert run.started_at == datetime(2027, 1, 15, 8, 0, 0, 123456, UTC)
        assert run.duration_s == 1.5
        assert run.created_at == run.updated_at == datetime.fromtimestamp(created / 1e6, UTC)
        assert run.document["name"] == "the name"

    def test_fields_of_a_newer_version_are_kept(self, scene: Scene) -> None:
        run_id = scene.run(invented_later={"a": 1})
        scene.ship()
        assert scene.get(run_id).document["invented_later"] == {"a": 1}

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_is_kept(self, scene: Scene, kind: str) -> None:
        entity_id = new_id()
        scene.writer.create(kind, entity_id, name="name", tags=["tag"], attributes={"a": 1})
        scene.ship()
        entity = scene.store.get(kind, entity_id)
        assert type(entity) is KINDS[kind].entity
        assert (entity.entity_id, entity.name, entity.tags, entity.attributes) == (
            entity_id,
            "name",
            ("tag",),
            {"a": 1},
        )
        found = scene.store.find(Query(kind, filter=condition("entity_id = ?", entity_id))).entities
        assert found == (entity,)

    def test_kinds_do_not_share_identifiers(self, scene: Scene) -> None:
        shared = new_id()
        scene.writer.create("project", shared, name="project")
        scene.writer.create("comment", shared, message="comment")
        scene.ship()
        project, comment = scene.store.get("project", shared), scene.store.get("comment", shared)
        assert isinstance(project, Project)
        assert isinstance(comment, Comment)
        assert (project.name, comment.message, comment.name) == ("project", "comment", "")
        with pytest.raises(NotFoundError):
            scene.store.get("run", shared)

    def test_what_is_returned_is_no_door_into_the_store(self, scene: Scene) -> None:
        run_id = scene.run(attributes={"map": {"a": 1}})
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        run = scene.get(run_id)
        with pytest.raises(TypeError):
            run.attributes["new"] = 1  # type: ignore[index]
        with pytest.raises(TypeError):
            run.metrics["new"] = 1  # type: ignore[index]
        run.attributes["map"]["a"] = 2
        assert scene.get(run_id).attributes == {"map": {"a": 1}}

    def test_an_unknown_identifier_is_not_found(self, store: MetadataStore) -> None:
        with pytest.raises(NotFoundError, match="nowhere"):
            store.get("run", "nowhere")

    def test_an_unknown_kind_is_an_invalid_argument(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidArgumentError, match="gadget"):
            store.get("gadget", "nowhere")

    def test_updates_set_put_add_and_remove(self, scene: Scene) -> None:
        run_id = scene.run(tags=["a", "b"], attributes={"x": 1, "y": 2}, description="before")
        update = scene.writer.update
        update("run", run_id, set={"description": "after"}, put={"attributes": {"y": 3, "z": [4]}})
        update("run", run_id, add={"tags": ["b", "c"]}, remove={"attributes": ["x", "never"], "tags": ["a"]})
        scene.ship()
        run = scene.get(run_id)
        assert run.description == "after"
        assert run.attributes == {"y": 3, "z": [4]}
        assert run.tags == ("b", "c")
        assert run.updated_at == scene.writer.changes[-1].time
        assert scene.names('tags contains "a"') == []
        assert scene.names('tags contains "c"') == ["run"]
        assert scene.names("attributes.x exists") == []
        assert scene.names("attributes.y = 3") == ["run"]

    def test_updates_in_separate_batches_add_up(self, scene: Scene) -> None:
        run_id = scene.run()
        for number in range(5):
            scene.ship()
            scene.writer.update("run", run_id, put={"attributes": {f"k{number}": number}})
        scene.ship()
        assert scene.get(run_id).attributes == {f"k{number}": number for number in range(5)}

    def test_an_update_may_come_before_its_entity(self, scene: Scene) -> None:
        scene.ship()
        run_id = new_id()
        early = StreamWriter(actor="early")
        early.update("run", run_id, put={"attributes": {"a": 1}})
        early.append(run_id, {"loss": [1.0]})
        scene.store.apply(early.changes)
        assert scene.get(run_id).attributes == {"a": 1}
        scene.writer.create("run", run_id, name="late", attributes={"b": 2}, **scene.ids)
        scene.ship()
        run = scene.get(run_id)
        assert (run.name, run.attributes, run.owner) == ("late", {"a": 1}, "early")
        assert scene.names() == ["late"]

    def test_points_may_come_before_their_run(self, scene: Scene) -> None:
        scene.ship()
        early, run_id = StreamWriter(), new_id()
        early.append(run_id, {"loss": [1.0]})
        scene.store.apply(early.changes)
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0]
        scene.writer.create("run", run_id, name="late", **scene.ids)
        scene.ship()
        assert scene.get(run_id).name == "late"
        assert scene.names("metrics.loss = 1") == ["late"]

    def test_the_first_to_create_a_container_wins(self, scene: Scene) -> None:
        scene.ship()
        rival = StreamWriter(actor="rival")
        rival.create("project", scene.project_id, name="other", description="added", workspace_id="elsewhere")
        scene.store.apply(rival.changes)
        project = scene.store.get("project", scene.project_id)
        assert (project.name, project.owner, project.description) == (scene.project, "tester", "added")

    def test_deleted_entities_hide_and_come_back(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.ship()
        scene.writer.delete("run", run_id)
        scene.ship()
        assert scene.get(run_id).deleted_at == scene.writer.changes[-1].time
        assert scene.names() == []
        assert scene.names(include_deleted=True) == ["run"]
        scene.writer.restore("run", run_id)
        scene.ship()
        assert scene.get(run_id).deleted_at is None
        assert scene.names() == ["run"]

    def test_an_erased_entity_is_gone_from_every_answer(self, scene: Scene) -> None:
        run_id, other = scene.run("erased", tags=["secret"], metrics={"auc": 0.5}), scene.run("other")
        scene.writer.append(run_id, {"loss": [1.0, 2.0]})
        scene.writer.update("run", run_id, put={"attributes": {"who": "me"}})
        scene.writer.delete("run", run_id)
        scene.ship()
        said = [change for change in scene.writer.changes if change.entity_id == run_id and change.action != "delete"]
        for change in said:
            assert scene.get(run_id).deleted_at is not None
            scene.writer.erase(change)
            scene.ship()
        with pytest.raises(ErasedError, match=run_id):
            scene.get(run_id)
        with pytest.raises(NotFoundError):
            scene.store.read_series(run_id, "loss")
        page = scene.store.find(Query(filter=condition("entity_id = ?", run_id), include_deleted=True, count=True))
        assert (page.entities, page.total) == ((), 0)
        assert {info.key for info in scene.store.find_keys(Query(within=scene.project_id))} == set()
        assert scene.get(other).name == "other"
        kept = scene.store.read_changes(entity_id=run_id).changes
        assert [change.action for change in kept if change.payload is not None] == ["delete", *["erase"] * len(said)]

    def test_points_that_come_late_show_an_erased_run_among_the_deleted_ones(self, scene: Scene) -> None:
        run_id = scene.run("erased")
        scene.writer.erase(scene.writer.changes[-1])
        scene.writer.delete("run", run_id)
        scene.ship()
        with pytest.raises(ErasedError):
            scene.get(run_id)
        late = StreamWriter()
        late.append(run_id, {"loss": []})
        scene.store.apply(late.changes)
        with pytest.raises(ErasedError):
            scene.get(run_id)
        points = late.append(run_id, {"loss": [1.0]})
        scene.store.apply(late.changes)
        assert scene.get(run_id).deleted_at is not None
        assert scene.get(run_id).series["loss"].count == 1
        late.erase(points)
        scene.store.apply(late.changes)
        with pytest.raises(ErasedError):
            scene.get(run_id)

    def test_what_is_said_later_brings_an_erased_entity_back(self, scene: Scene) -> None:
        created = scene.writer.create("experiment", name="gone", project_id=scene.project_id)
        scene.writer.delete("experiment", created.entity_id)
        scene.writer.erase(created)
        scene.ship()
        query = Query("experiment", within=scene.project_id, order_by="name", include_deleted=True)
        assert [item.name for item in scene.store.find(query).entities] == ["experiment"]
        scene.writer.update("experiment", created.entity_id, set={"project_id": scene.project_id, "name": "back"})
        scene.ship()
        assert [item.name for item in scene.store.find(query).entities] == ["back", "experiment"]
        assert scene.store.get("experiment", created.entity_id).deleted_at is not None
        again = scene.writer.create("experiment", created.entity_id, name="other", description="new")
        scene.ship()
        found = scene.store.get("experiment", created.entity_id)
        assert (found.name, found.description, found.deleted_at) == ("back", "new", None)
        assert (found.owner, found.created_at) == ("tester", created.time)
        assert found.updated_at == again.time

    def test_creating_a_deleted_container_brings_it_back(self, scene: Scene) -> None:
        scene.writer.delete("project", scene.project_id)
        scene.ship()
        assert scene.store.get("project", scene.project_id).deleted_at is not None
        again = StreamWriter()
        again.create_containers(scene.project, "experiment")
        scene.store.apply(again.changes)
        assert scene.store.get("project", scene.project_id).deleted_at is None

    def test_containers_hold_what_is_within_them(self, scene: Scene) -> None:
        run_id = scene.run()
        second = derived_id("experiment", scene.project_id, "second")
        scene.writer.create("experiment", second, name="second", project_id=scene.project_id)
        scene.writer.create("comment", name="", parent_id=run_id, message="fine", author="me")
        other = scene.writer.create_run(name="other", project_id=scene.project_id, experiment_id=second).entity_id
        scene.ship()
        store = scene.store
        experiments = store.find(Query("experiment", within=scene.project_id, order_by="name")).entities
        assert [(item.name, type(item)) for item in experiments] == [("experiment", Experiment), ("second", Experiment)]
        assert {item.entity_id for item in store.find(Query(within=scene.project_id)).entities} == {run_id, other}
        assert [item.entity_id for item in store.find(Query(within=second)).entities] == [other]
        (comment,) = store.find(Query("comment", within=run_id)).entities
        assert isinstance(comment, Comment)
        assert (comment.message, comment.author) == ("fine", "me")
        assert store.find(Query(within=new_id())).entities == ()
        workspace_id = derived_id("workspace", "", "default")
        found = store.find(Query("project", filter=condition("name = ?", scene.project), within=workspace_id)).entities
        assert [item.entity_id for item in found] == [scene.project_id]

    def test_a_run_whose_writer_went_silent_is_lost(self, scene: Scene) -> None:
        silent = StreamWriter(at=now_us() - 60_000_000)
        silent.open(lease_s=30)
        run_id = silent.create_run(name="silent", **scene.ids).entity_id
        ended = silent.create_run(name="ended", status="finished", **scene.ids).entity_id
        scene.ship()
        scene.store.apply(silent.changes)
        assert scene.get(run_id).status == "lost"
        assert scene.get(run_id).document["status"] == "running"
        assert scene.get(ended).status == "finished"
        assert scene.names('status = "lost"') == ["silent"]
        assert scene.names('status = "running"') == []
        assert scene.names('status in ("lost", "failed")') == ["silent"]
        silent.at = now_us()
        silent.beat()
        scene.store.apply(silent.changes)
        assert scene.get(run_id).status == "running"
        assert scene.names('status = "running"') == ["silent"]

    def test_a_run_whose_writer_ended_without_it_is_lost(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.close()
        scene.ship()
        assert scene.get(run_id).status == "lost"

    def test_a_run_that_another_writer_took_over_is_running(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.close()
        scene.ship()
        heir = StreamWriter()
        heir.open()
        heir.update("run", run_id, set={"stream_id": heir.stream_id})
        scene.store.apply(heir.changes)
        assert scene.get(run_id).status == "running"

    def test_a_long_lease_outlasts_silence(self, scene: Scene) -> None:
        patient = StreamWriter(at=now_us() - 3600_000_000)
        patient.open(lease_s=86400)
        run_id = patient.create_run(name="patient", **scene.ids).entity_id
        scene.store.apply(patient.changes)
        assert scene.get(run_id).status == "running"
