"""Lineage over a store: the same graph from every one, by as many questions; and edges by hand, which make no cycle."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest

from modeldb_core.commands.lineage import add_lineage, delete_lineage
from modeldb_core.commands.operation import execute
from modeldb_core.errors import ConditionsUnsupportedError, CycleError, NotFoundError, PreconditionError
from modeldb_core.model.entities import new_id
from modeldb_core.provenance.walk import walk
from modeldb_core.queries import Linked, Query
from modeldb_core.stores import MetadataStore, Page
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene, StoreCase

if TYPE_CHECKING:
    from modeldb_core.provenance.graph import Direction
    from modeldb_core.provenance.lineage import Lineage

WIDTH = 20
"""Runs that read the same version of a data set."""


class LineageTests(StoreCase):
    """What was made from what, walked over a store."""

    promises: ClassVar[tuple[object, ...]] = (Linked, MetadataStore.find)

    @pytest.fixture
    def made(self, scene: Scene) -> dict[str, str]:
        """Two versions of a data set; runs that read the second; a version of a model that one of them made."""
        if "linked_several" not in scene.store.understands:
            pytest.skip("this store takes one entity for a link, and says so")
        writer = scene.writer
        ids = {name: new_id() for name in ("data", "first", "second", "models", "model", "gone", "erased")}
        writer.create("dataset", ids["data"], name="data")
        writer.create("dataset_version", ids["first"], name="first", dataset_id=ids["data"])
        writer.create(
            "dataset_version", ids["second"], name="second", dataset_id=ids["data"], parent_id=ids["first"], version=2
        )
        used = {"train": {"dataset_id": ids["data"], "dataset_version_id": ids["second"]}}
        for number in range(WIDTH):
            ids[f"run {number}"] = scene.run(f"run {number}", datasets=used)
        old = writer.create("dataset_version", ids["erased"], name="erased", dataset_id=ids["data"])
        writer.delete("dataset_version", ids["erased"])
        writer.erase(old)
        lost = {role: {"dataset_version_id": ids[role]} for role in ("gone", "erased")}
        ids["child"] = scene.run("child", parent_id=ids["run 0"], datasets=lost)
        writer.create("registered_model", ids["models"], name="models")
        writer.create("model_version", ids["model"], registered_model_id=ids["models"], run_id=ids["child"], version=3)
        file = {"kind": "run", "entity_id": ids["child"], "path": "model.skops", "digest": "0" * 64}
        ids["user"] = scene.run("user", inputs={"file": file})
        writer.delete("run", ids["child"])
        scene.ship()
        return ids

    def test_lineage_is_walked_both_ways(self, scene: Scene, made: dict[str, str]) -> None:
        names = {entity_id: name for name, entity_id in made.items()}

        def found(kind: str, name: str, direction: Direction, depth: int = 10) -> list[set[str]]:
            """Return the names of what is reached, by how far away it is."""
            graph = walk(scene.store, [(kind, made[name])], direction, depth=depth)
            return _by_distance(graph, names)

        assert found("model_version", "model", "upstream") == [
            {"model"},
            {"child"},
            {"run 0", "gone", "erased"},
            {"second"},
            {"first"},
        ]
        runs = {f"run {number}" for number in range(WIDTH)}
        down = [{"first"}, {"second"}, runs, {"child"}, {"model", "user"}]
        assert found("dataset_version", "first", "downstream") == down
        assert found("dataset_version", "first", "downstream", 2) == down[:3]
        assert found("run", "user", "both", 1) == [{"user"}, {"child"}]
        graph = walk(scene.store, [("run", made["user"])], depth=2)
        assert {names[key.entity_id]: node.state for key, node in graph.nodes.items()} == {
            "user": "present",
            "child": "deleted",
            "run 0": "present",
            "gone": "unknown",
            "erased": "erased",
        }
        assert [(edge.label, edge.entry.get("digest")) for edge in graph.inputs_of(graph.roots[0])] == [
            ("model.skops", "0" * 64)
        ]
        of_model = walk(scene.store, [("registered_model", made["models"])], "upstream", depth=1)
        assert [node.title for node in of_model.nodes.values()] == ["models", "models@v3", "child"]
        assert not walk(scene.store, [("dataset_version", made["first"])], "downstream", depth=2).is_complete
        small = walk(scene.store, [("dataset_version", made["first"])], "downstream", limit=3)
        assert (len(small.nodes), small.is_complete) == (3, False)

    def test_a_walk_asks_one_question_of_a_kind_on_a_level(
        self, scene: Scene, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: Counter[str] = Counter()
        find = scene.store.find

        def counted(query: Query) -> Page:
            asked[query.kind] += 1
            return find(query)

        monkeypatch.setattr(scene.store, "find", counted)
        graph = walk(scene.store, [("dataset_version", made["first"])], "downstream", depth=3)
        assert len(graph.nodes) == WIDTH + 3
        assert asked["run"] == 3 + 1  # a question a level, and whether there is more
        assert asked["dataset"] == asked["project"] == 1

    def test_edges_by_hand_make_no_cycle(self, scene: Scene, made: dict[str, str]) -> None:
        store, writer = scene.store, DirectWriter(scene.store, "somebody")
        model, first, extra = (
            ("model_version", made["model"]),
            ("dataset_version", made["first"]),
            ("run", made["run 5"]),
        )
        with pytest.raises(CycleError, match="data"):
            add_lineage(store, [model], [extra, first])
        with pytest.raises(CycleError):
            add_lineage(store, [extra], [extra])
        with pytest.raises(NotFoundError):
            add_lineage(store, [extra], [("run", new_id())])
        edge = add_lineage(store, [extra], [model], note="fine-tuned")
        if not store.decides:
            with pytest.raises(ConditionsUnsupportedError):
                execute(writer, edge)
            return
        other_way = add_lineage(store, [model], [extra])  # decided on the same record, at the same time
        execute(writer, edge)
        with pytest.raises(PreconditionError):
            execute(writer, other_way)
        with pytest.raises(CycleError):
            add_lineage(store, [model], [extra])
        graph = walk(store, [model], "upstream", depth=1)
        assert sorted(edge.label for edge in graph.edges) == ["fine-tuned", "run"]
        execute(writer, delete_lineage(store, [extra], [model]))
        assert [edge.label for edge in walk(store, [model], "upstream", depth=1).edges] == ["run"]
        with pytest.raises(NotFoundError, match="by hand"):
            delete_lineage(store, [("dataset_version", made["second"])], [extra])


def _by_distance(graph: Lineage, names: dict[str, str]) -> list[set[str]]:
    levels, seen = [set(graph.roots)], set(graph.roots)
    while True:
        near = {edge.source for edge in graph.edges if edge.target in levels[-1]}
        near |= {edge.target for edge in graph.edges if edge.source in levels[-1]}
        if not near - seen:
            return [{names[each.entity_id] for each in level} for level in levels]
        levels.append(near - seen)
        seen |= near
