"""How a store decides: conditions of batches, and values that only one entity may have."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from modeldb_core.errors import ConditionsUnsupportedError, InvalidArgumentError, NotFoundError, PreconditionError
from modeldb_core.log.conditions import Absent, Condition, RevisionIs, Unique, Unset, ValueIs
from modeldb_core.model.entities import DEFAULT_WORKSPACE, Entity, new_id
from modeldb_core.queries import Query, condition
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter, end_of

if TYPE_CHECKING:
    from modeldb_core.log.changes import Change


class DecisionTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.apply` promises of conditions and of unique values."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.apply, MetadataStore.identify, MetadataStore.write_mark)

    def test_a_store_that_does_not_decide_says_so(self, scene: Scene) -> None:
        if scene.store.decides:
            return
        with pytest.raises(ConditionsUnsupportedError):
            scene.store.apply(scene.writer.changes, expect=[Absent("run", new_id())])
        assert scene.writer.stream_id not in scene.store.heads()

    def test_a_batch_whose_conditions_hold_is_applied(self, scene: Scene) -> None:
        project = _decided_project(scene)
        stranger, free = new_id(), f"free {new_id()}"
        change = scene.writer.update("project", project.entity_id, put={"attributes": {"moved": 1}})
        scene.store.apply(
            [change],
            expect=[
                Absent("project", stranger),
                RevisionIs("project", project.entity_id, project.revision),
                ValueIs("project", project.entity_id, "name", scene.project),
                ValueIs("project", project.entity_id, "attributes", [1, float("nan"), "x"], "list"),
                Unset("project", project.entity_id, "readme"),
                Unset("project", project.entity_id, "attributes", "moved"),
                Unset("project", stranger, "name"),
                Unique("project", _workspace_id(project), "name", free),
                Unique("project", _workspace_id(project), "name", scene.project, project.entity_id),
            ],
        )
        again = scene.store.get("project", project.entity_id)
        assert (again.attributes["moved"], again.revision) == (1, project.revision + 1)

    def test_a_condition_that_does_not_hold_refuses_the_batch(self, scene: Scene) -> None:
        project = _decided_project(scene)
        project_id, workspace_id = project.entity_id, _workspace_id(project)
        refused: dict[Condition, Any] = {
            Absent("project", project_id): project.revision,
            RevisionIs("project", project_id, project.revision - 1): project.revision,
            ValueIs("project", project_id, "name", "other"): scene.project,
            ValueIs("project", project_id, "attributes", 1.0, "one"): 1,
            Unset("project", project_id, "name"): scene.project,
            Unset("project", project_id, "attributes", "one"): 1,
            Unique("project", workspace_id, "name", scene.project): project_id,
        }
        end = end_of(scene.store)
        for failing, found in refused.items():
            rival, run_id = _writing_a_run(scene)
            with pytest.raises(PreconditionError) as caught:
                scene.store.apply(rival.changes, expect=[Absent("run", run_id), failing])
            assert (caught.value.condition, caught.value.found) == (failing, found)
            # Nothing of it is there, and its numbers are free.
            assert rival.stream_id not in scene.store.heads()
            with pytest.raises(NotFoundError):
                scene.store.get("run", run_id)
        assert not scene.store.read_changes(after=end, stream_id=rival.stream_id).changes
        other = StreamWriter(rival.stream_id)
        other.create_run(name="other", **scene.ids)
        scene.store.apply(other.changes)
        assert scene.store.heads()[rival.stream_id].hash == other.changes[-1].hash

    def test_conditions_are_about_what_was_there_before_the_batch(self, scene: Scene) -> None:
        _decided_project(scene)
        writer, run_id = _writing_a_run(scene)
        writer.update("run", run_id, put={"attributes": {"a": 1}})
        scene.store.apply(writer.changes, expect=[Absent("run", run_id), Unset("run", run_id, "attributes", "a")])
        assert scene.get(run_id).revision == 2

    def test_a_batch_that_was_applied_is_acknowledged_again(self, scene: Scene) -> None:
        _decided_project(scene)
        writer, run_id = _writing_a_run(scene)
        for _ in range(2):
            scene.store.apply(writer.changes, expect=[Absent("run", run_id)])
        assert scene.get(run_id).revision == 1

    def test_a_deleted_entity_is_not_absent(self, scene: Scene) -> None:
        project = _decided_project(scene)
        scene.writer.delete("project", project.entity_id)
        scene.ship()
        rival, _ = _writing_a_run(scene)
        with pytest.raises(PreconditionError):
            scene.store.apply(rival.changes, expect=[Absent("project", project.entity_id)])

    def test_a_condition_that_cannot_be_is_an_error(self, scene: Scene) -> None:
        _decided_project(scene)
        rival, _ = _writing_a_run(scene)
        for senseless in (
            Absent("teapot", "x"),
            Absent("run", "a\0b"),
            RevisionIs("run", "x", 1.5),  # type: ignore[arg-type]
            Unique("project", "w", "description", "x"),
            Unique("project", "w", "name", ""),
        ):
            with pytest.raises(InvalidArgumentError):
                scene.store.apply(rival.changes, expect=[senseless])
        assert rival.stream_id not in scene.store.heads()

    def test_of_writers_at_once_one_wins_and_the_others_are_told(self, scene: Scene) -> None:
        project = _decided_project(scene)
        writers, rounds = 3, 4
        together = threading.Barrier(writers, timeout=300)

        def move(_: int) -> list[bool]:
            try:
                return decide()
            except BaseException:
                together.abort()  # nobody waits for this one
                raise

        def decide() -> list[bool]:
            won = []
            writer = StreamWriter()
            for turn in range(rounds):
                seen = scene.store.get("project", project.entity_id)
                number = len(writer.changes)
                writer.update("project", seen.entity_id, put={"attributes": {"count": turn + 1}})
                together.wait()  # all have seen the same, and decide at once
                try:
                    scene.store.apply(
                        writer.changes[number:], expect=[RevisionIs("project", seen.entity_id, seen.revision)]
                    )
                    won.append(True)
                except PreconditionError:
                    del writer.changes[number:]
                    won.append(False)
                together.wait()  # nobody looks before all were told
            return won

        with ThreadPoolExecutor(writers) as pool:
            results = list(pool.map(move, range(writers)))
        assert [sum(turn) for turn in zip(*results, strict=True)] == [1] * rounds, (
            "one wins each time, and the others are told"
        )
        after = scene.store.get("project", project.entity_id)
        assert after.attributes["count"] == rounds
        assert after.revision == project.revision + rounds
        assert _history_of(scene.store, project.entity_id, "count") == list(range(1, rounds + 1))

    # Unique values

    def test_a_name_is_free_once_its_entity_is_renamed_or_deleted(self, scene: Scene) -> None:
        project = _decided_project(scene)
        workspace_id = _workspace_id(project)
        scene.writer.update("project", project.entity_id, set={"name": f"renamed {new_id()}"})
        scene.ship()
        second = _create(scene, scene.project, workspace_id)
        with pytest.raises(PreconditionError):
            _create(scene, scene.project, workspace_id)
        scene.writer.delete("project", second)
        scene.ship()
        third = _create(scene, scene.project, workspace_id)
        assert _named(scene.store, scene.project, workspace_id) == [third]

    def test_a_name_leads_to_the_entity_that_has_it(self, scene: Scene) -> None:
        scene.ship()
        store, project_id = scene.store, scene.project_id
        path = (("workspace", DEFAULT_WORKSPACE), ("project", scene.project), ("experiment", "experiment"))
        workspace_id = _workspace_id(store.get("project", project_id))
        assert store.identify(*path) == (workspace_id, project_id, scene.ids["experiment_id"])
        name = f"renamed {new_id()}"
        scene.writer.update("project", project_id, set={"name": name})
        scene.ship()
        _, free, below = store.identify(*path)
        assert free not in (project_id, workspace_id)
        assert below != scene.ids["experiment_id"]
        assert store.identify(path[0], ("project", name), path[2])[1:] == (project_id, scene.ids["experiment_id"])
        scene.writer.create("project", free, name=scene.project, workspace_id=workspace_id)
        scene.ship()
        assert store.identify(*path)[1] == free
        scene.writer.delete("project", free)
        scene.ship()
        assert store.identify(*path)[1] == free, "a deleted project comes back under its name"
        other = scene.writer.create("project", name=scene.project, workspace_id=workspace_id).entity_id
        scene.ship()
        assert store.identify(*path)[1] == other

    def test_a_mark_is_another_one_once_something_was_written(self, scene: Scene) -> None:
        scene.ship()
        before = scene.store.write_mark()
        scene.writer.update("project", scene.project_id, set={"name": f"renamed {new_id()}"})
        scene.ship()
        assert before is None or scene.store.write_mark() != before

    def test_names_are_equal_after_normalization(self, scene: Scene) -> None:
        project = _decided_project(scene)
        _create(scene, f"{scene.project} \u00e9", _workspace_id(project))
        with pytest.raises(PreconditionError):
            _create(scene, f"{scene.project} e\u0301", _workspace_id(project))

    @pytest.mark.parametrize("first", [0, 1])
    def test_of_two_that_claim_a_name_the_later_one_is_renamed(self, scene: Scene, first: int) -> None:
        scene.ship()
        workspace_id, name = _workspace_id(scene.store.get("project", scene.project_id)), f"churn {new_id()}"
        early, late = (StreamWriter(at=1_750_000_000_000_000 + second) for second in range(2))
        keeper = early.create("project", name=name, workspace_id=workspace_id).entity_id
        loser = late.create("project", name=name, workspace_id=workspace_id).entity_id
        late.create_run(project_id=loser, name="stays")
        late.update("project", loser, set={"description": "of the later one"})
        for writer in (early, late) if first == 0 else (late, early):
            scene.store.apply(writer.changes)
        assert scene.store.get("project", keeper).name == name
        renamed = scene.store.get("project", loser)
        assert renamed.name.startswith(f"{name} (")
        assert renamed.description == "of the later one"
        (settled,) = (
            change
            for change in scene.store.read_changes(entity_id=loser).changes
            if change.stream_id not in (early.stream_id, late.stream_id)
        )
        assert settled.data()["set"] == {"name": renamed.name}
        assert scene.store.heads()[settled.stream_id].closed
        # What another store has settled is known here.
        scene.store.apply(scene.store.read_changes(stream_id=settled.stream_id).changes)
        assert _named(scene.store, name, workspace_id) == [keeper]
        assert _named(scene.store, renamed.name, workspace_id) == [loser]

    def test_versions_that_claim_one_number_get_the_next_ones_by_their_times(self, scene: Scene) -> None:
        scene.ship()
        wished = (3, 3, 4, 3, 7)
        for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 3, 4, 1)):
            model_id = new_id()
            writers = [StreamWriter(at=1_750_000_000_000_000 + second) for second in range(len(wished))]
            versions = [
                writer.create("model_version", registered_model_id=model_id, version=number)
                for writer, number in zip(writers, wished, strict=True)
            ]
            for place in order:
                scene.store.apply(writers[place].changes)
            numbers = [scene.store.get("model_version", change.entity_id).document["version"] for change in versions]
            assert numbers == [3, 4, 5, 6, 7], f"arrived in the order {order}"


def _decided_project(scene: Scene) -> Entity:
    """Return a project of the scene with attributes; skips where the store does not decide."""
    if not scene.store.decides:
        pytest.skip("this store does not take conditions: decides is False")
    put = {"attributes": {"one": 1, "list": [1, float("nan"), "x"]}}
    scene.writer.update("project", scene.project_id, put=put)
    scene.ship()
    return scene.store.get("project", scene.project_id)


def _workspace_id(project: Entity) -> str:
    return str(project.document["workspace_id"])


def _writing_a_run(scene: Scene) -> tuple[StreamWriter, str]:
    writer = StreamWriter()
    return writer, writer.create_run(name="decided", **scene.ids).entity_id


def _create(scene: Scene, name: str, workspace_id: str) -> str:
    """Create a project under the condition that its name is free; returns its identifier."""
    writer = StreamWriter()
    created: Change = writer.create("project", name=name, workspace_id=workspace_id)
    scene.store.apply(
        writer.changes, expect=[Absent("project", created.entity_id), Unique("project", workspace_id, "name", name)]
    )
    return created.entity_id


def _named(store: MetadataStore, name: str, workspace_id: str) -> list[str]:
    found = store.find(Query("project", condition("name = ?", name), within=workspace_id))
    return [entity.entity_id for entity in found.entities]


def _history_of(store: MetadataStore, entity_id: str, key: str) -> list[Any]:
    """Return the values that changes gave an attribute, in the order of the log."""
    values, after = [], 0
    while True:
        page = store.read_changes(after=after, entity_id=entity_id)
        puts = (change.data().get("put", {}).get("attributes", {}) for change in page.changes)
        values += [put[key] for put in puts if key in put]
        if not page.changes or page.cursor == after:
            return values
        after = page.cursor
