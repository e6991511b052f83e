"""How a store groups what it finds by the value of a field, and what it knows of other values in each group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, QuerySyntaxError
from modeldb_core.queries import MAX_LIST, MAX_MEASURES, Group, GroupPage, Query, Spread, find_groups
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.letters import LettersCase

if TYPE_CHECKING:
    from modeldb_core.testing.scene import Scene


def _shown(page: GroupPage) -> list[tuple[Any, str, int]]:
    """Return groups so that they can be compared: NaN equals NaN, and 1 does not equal True."""
    return [(repr(group.value), group.value_type, group.count) for group in page.groups]


class GroupTests(LettersCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.find_groups` promises."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.find_groups, Group, Spread)

    def test_values_of_any_type_make_groups_and_so_do_entities_without_one(self, letters: Scene) -> None:
        query = Query(within=letters.project_id)
        cases: dict[str, list[tuple[Any, str, int]]] = {
            "hyperparameters.lr": [
                (None, "", 2), (0.01, "number", 1), (0.1, "number", 1), (1, "number", 1), ("0.01", "text", 1),
            ],
            "hyperparameters.depth": [(None, "", 4), (8, "number", 1), ("8", "text", 1)],
            "hyperparameters.flag": [(None, "", 3), (1, "number", 1), (False, "bool", 1), (True, "bool", 1)],
            "hyperparameters.empty": [(None, "", 5), (None, "null", 1)],
            "hyperparameters.opt": [(None, "", 4), ("sgd", "text", 1), (None, "json", 1)],
            "hyperparameters.opt.name": [(None, "", 5), ("adam", "text", 1)],
            "hyperparameters.opt.b": [(None, "", 5), ([0.9], "json", 1)],
            "hyperparameters.nowhere": [(None, "", 6)],
            "attributes.list": [(None, "", 5), ([1, 2], "json", 1)],
            "attributes.big": [(None, "", 5), (None, "json", 1)],
            "metrics.auc": [
                (-math.inf, "number", 1), (0.9, "number", 1), (0.95, "number", 1), (math.inf, "number", 1),
                (math.nan, "number", 1), (None, "", 1),
            ],
            "metrics.n": [(None, "", 2), (0, "number", 1), (1, "number", 1), (2, "number", 1), (3, "number", 1)],
            "metrics.loss": [(None, "", 3), (2, "number", 1), (5, "number", 1), (math.nan, "number", 1)],
            "metrics.loss.count": [(None, "", 3), (1, "number", 1), (2, "number", 1), (3, "number", 1)],
            "status": [("running", "text", 3), ("failed", "text", 1), ("finished", "text", 1), ("killed", "text", 1)],
            "description": [("", "text", 4), ("Hello World", "text", 1), ("hello", "text", 1)],
            "parent_id": [(None, "", 5), ("parent", "text", 1)],
            "duration": [(None, "", 5), (90, "number", 1)],
            "project_id": [(letters.project_id, "text", 6)],
            "experiment_id": [(letters.ids["experiment_id"], "text", 6)],
        }  # fmt: skip
        for by, expected in cases.items():
            found = letters.store.find_groups(query, by)
            assert _shown(found) == [(repr(value), of, count) for value, of, count in expected], by
            assert found.total == len(expected), by

    def test_integers_beyond_floats_are_told_apart(self, letters: Scene) -> None:
        found = letters.store.find_groups(Query(within=letters.project_id), "attributes.seed")
        values = [2**53, 2**53 + 1, float(2**53), 2**63 + 5, 10**400, None]
        assert [group.value for group in found.groups if group.value_type] == values[:-1]
        assert [type(group.value) for group in found.groups] == [type(value) for value in values]

    def test_lists_are_values_as_long_as_they_are_short(self, scene: Scene) -> None:
        layers: list[Any] = [[64, 64], [64, 64], [64.0, 64], ["a", None, {"b": 2**60}], [1] * MAX_LIST, [2] * MAX_LIST]
        for value in layers:
            scene.run("r", hyperparameters={"layers": value})
        scene.ship()
        found = scene.store.find_groups(Query(within=scene.project_id), "hyperparameters.layers")
        assert sorted((repr(group.value), group.count) for group in found.groups) == [
            ("None", 2),
            ("['a', None, {'b': 1152921504606846976}]", 1),
            ("[64, 64]", 2),
            ("[64.0, 64]", 1),
        ]
        assert {group.value_type for group in found.groups} == {"json"}

    def test_numbers_of_each_group_are_summed_up(self, scene: Scene) -> None:
        rows: list[tuple[Any, Any]] = [("a", 1.0), ("a", 2), ("a", 4.5), ("a", math.nan), ("a", math.inf), ("a", 1e200)]
        rows += [("a", "text"), ("a", True), ("b", 7.0), ("c", None)]
        rows += [("d", 1e9 + 0.001), ("d", 1e9 + 0.002), ("d", 1e9 + 0.003)]  # a sum of squares would lose it
        for by, value in rows:
            scene.run("r", hyperparameters={"by": by, "x": value})
        scene.ship()
        measures = ("hyperparameters.x", "metrics.nowhere", "duration")
        page = scene.store.find_groups(Query(within=scene.project_id), "hyperparameters.by", measures)
        found = {group.value: group.spreads for group in page.groups}
        assert [spreads[1] for spreads in found.values()] == [None] * 4
        a, b, c, d = (found[name][0] for name in "abcd")
        assert a is not None
        assert (a.count, a.minimum, a.maximum) == (3, 1.0, 4.5)
        assert a.mean == pytest.approx(2.5)
        assert a.deviation == pytest.approx(math.sqrt(3.25))
        assert b == Spread(1, 7.0, 0.0, 7.0, 7.0)
        assert c is None
        assert d is not None
        assert d.deviation == pytest.approx(0.001, rel=1e-3)

    def test_series_are_measured_by_any_of_their_numbers(self, letters: Scene) -> None:
        measures = ("metrics.loss", "metrics.loss.min", "metrics.auc", "hyperparameters.lr")
        found = letters.store.find_groups(Query(within=letters.project_id), "hyperparameters.depth", measures)
        spreads = {group.value: group.spreads for group in found.groups}
        one = Spread(1, 2.0, 0.0, 2.0, 2.0)
        assert spreads[8][0] == one
        assert spreads[8][1] == Spread(1, 1.0, 0.0, 1.0, 1.0)
        assert spreads[8][2] == Spread(1, 0.9, 0.0, 0.9, 0.9)
        assert spreads[None][0] == Spread(1, 5.0, 0.0, 5.0, 5.0)  # NaN is left out
        assert spreads[None][2] is None
        assert spreads["8"] == (None, None, Spread(1, 0.95, 0.0, 0.95, 0.95), Spread(1, 0.1, 0.0, 0.1, 0.1))

    @pytest.mark.parametrize(
        "filter",
        [
            "metrics.auc > 0.5",
            "hyperparameters.lr exists",
            "not tags contains 'best'",
            "status = 'running' and name < 'f'",
        ],
    )
    @pytest.mark.parametrize("by", ["hyperparameters.lr", "metrics.auc", "metrics.loss.max", "status", "name"])
    def test_only_what_matches_is_grouped(self, letters: Scene, filter: str, by: str) -> None:  # noqa: A002 - as in the language
        query = Query(filter=filter, within=letters.project_id)
        found = letters.store.find_groups(query, by, ("metrics.auc",))
        assert _shown(found) == _shown(find_groups(letters.store, query, by, ("metrics.auc",)))
        assert sum(group.count for group in found.groups) == len(letters.names(filter)) > 0

    def test_deleted_entities_make_groups_only_where_they_are_asked_for(self, letters: Scene) -> None:
        by = "metrics.auc"
        sizes = {
            include_deleted: {
                group.value: group.count
                for group in letters.store.find_groups(
                    Query(within=letters.project_id, include_deleted=include_deleted), by
                ).groups
            }
            for include_deleted in (False, True)
        }
        assert (sizes[False][0.9], sizes[True][0.9]) == (1, 2)

    def test_what_lies_elsewhere_makes_no_groups(self, letters: Scene) -> None:
        workspace_id = letters.store.get("project", letters.project_id).workspace_id
        everything = letters.store.find_groups(Query(within=(letters.project_id, workspace_id)), "status")
        assert sum(group.count for group in everything.groups) >= 6 + 2
        assert letters.store.find_groups(Query(within=()), "status") == GroupPage((), 0)
        assert letters.store.find_groups(Query(within=letters.ids["experiment_id"]), "name").total == 6
        projects = letters.store.find_groups(Query("project", within=letters.project_id), "workspace_id")
        assert _shown(projects) == [(repr(workspace_id), "text", 1)]

    def test_groups_come_in_pages_the_largest_first(self, scene: Scene) -> None:
        for size, value in enumerate(("x", 3, 2, True), 1):
            for _ in range(min(size, 3)):
                scene.run("r", hyperparameters={"v": value})
        scene.ship()
        whole = scene.store.find_groups(Query(within=scene.project_id), "hyperparameters.v")
        assert _shown(whole) == [("2", "number", 3), ("True", "bool", 3), ("3", "number", 2), ("'x'", "text", 1)]
        for limit in (0, 1, 3, 4, 9):
            for offset in (0, 1, 3, 4, 9):
                query = Query(within=scene.project_id, limit=limit, offset=offset)
                page = scene.store.find_groups(query, "hyperparameters.v")
                assert _shown(page) == _shown(whole)[offset : offset + limit], (limit, offset)
                assert page.total == 4

    def test_a_run_whose_writer_is_gone_is_in_the_group_of_the_lost(self, scene: Scene) -> None:
        scene.run("one")
        scene.run("two", status="finished")
        scene.writer.close()
        scene.ship()
        found = scene.store.find_groups(Query(within=scene.project_id), "status")
        assert _shown(found) == [("'finished'", "text", 1), ("'lost'", "text", 1)]

    def test_an_empty_status_is_one_as_in_filters(self, scene: Scene) -> None:
        scene.run("one", status="")
        scene.run("two")
        scene.ship()
        found = scene.store.find_groups(Query(within=scene.project_id), "status")
        assert _shown(found) == [("''", "text", 1), ("'running'", "text", 1)]

    def test_what_cannot_be_grouped_is_refused(self, letters: Scene) -> None:
        ask = letters.store.find_groups
        for by, hint in {
            "tags": "tags make no groups",
            "project": "group by project_id",
            "nowhere": "not a field",
            "metrics": "needs a key",
            "": "not the name of a field",
        }.items():
            with pytest.raises(QuerySyntaxError, match=hint):
                ask(Query(), by)
        for measure in ("status", "tags", "created_at", "name"):
            with pytest.raises(QuerySyntaxError, match="cannot be measured"):
                ask(Query(), "status", (measure,))
        with pytest.raises(InvalidArgumentError, match="at most 20"):
            ask(Query(), "status", ("metrics.x",) * (MAX_MEASURES + 1))
        with pytest.raises(InvalidTypeError, match="expected a list"):
            ask(Query(), "status", "metrics.x")
        with pytest.raises(QuerySyntaxError):
            ask(Query(filter="metrics.auc >"), "status")
