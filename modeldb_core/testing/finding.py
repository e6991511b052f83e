"""How a store answers queries: every operator on every type, orders, pages, projections, and keys."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest

from modeldb_core.entities import Run, new_id, now_us
from modeldb_core.errors import QuerySyntaxError
from modeldb_core.queries import Query
from modeldb_core.stores import KeyInfo, MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter

_DAY = 86_400_000_000
_AT = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z

LETTERS: dict[str, dict[str, Any]] = {
    "a": {
        "description": "Hello World",
        "status": "finished",
        "tags": ["best", "v1"],
        "started_at": _AT,
        "finished_at": _AT + 90_000_000,
        "metrics": {"auc": 0.9, "n": 1},
        "hyperparameters": {"lr": 0.01, "depth": 8, "flag": True, "empty": None, "opt": {"name": "adam", "b": [0.9]}},
        "attributes": {"seed": 2**53 + 1, "text": "abc"},
        "datasets": {"train": {"digest": "aa", "rows": 5}},
        "code": {"git": {"commit": "cafe", "dirty": False}},
    },
    "b": {
        "description": "hello",
        "status": "failed",
        "tags": ["v2"],
        "started_at": _AT - _DAY,
        "parent_id": "parent",
        "metrics": {"auc": 0.95, "n": 2},
        "hyperparameters": {"lr": 0.1, "depth": "8", "flag": False},
        "attributes": {"seed": 2**53, "text": "ABC"},
    },
    "c": {
        "status": "killed",
        "tags": ["Best"],
        "metrics": {"auc": math.nan, "n": 3},
        "hyperparameters": {"lr": 1, "flag": 1},
        "attributes": {"seed": 2**63 + 5, "text": "50%_off"},
    },
    "d": {
        "metrics": {"auc": -math.inf, "n": -0.0},
        "hyperparameters": {"lr": "0.01", "opt": "sgd"},
        "attributes": {"seed": 2**53 + 0.0, "text": ""},
        "artifacts": {"plots/roc.png": {"digest": "bb", "size_bytes": 5}},
    },
    "e": {
        "tags": ["naïve", "a tag with 'quotes'", "50%"],
        "metrics": {"auc": math.inf, "val loss": 0.5},
        "attributes": {"seed": 10**400, "text": "naïve 日本 🚀", "naïve": 1, "a.b": 1, "max": {"max": 3}},
    },
    "f": {"attributes": {"text": 'it\'s "so"', "big": "x" * 20_000, "list": [1, 2]}},
}


class FindTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.find` and ``find_keys`` promise."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.find, MetadataStore.find_keys)

    @pytest.fixture
    def letters(self, scene: Scene) -> Scene:
        """Return a project with the runs a to f, and g, which is deleted; and beside it a project of somebody else."""
        neighbour = Scene(scene.store)
        for name in "ab":
            neighbour.writer.append(neighbour.run(name, **LETTERS[name]), {"loss": [2.0]})
        neighbour.ship()
        for name, fields in LETTERS.items():
            if "started_at" not in fields:
                fields = {"started_at": None, **fields}
            scene.run(name, **fields)
        append = scene.writer.append
        append(scene.runs["a"], {"loss": [3.0, 1.0, 2.0]}, steps=[0, 10, 20])
        append(scene.runs["a"], {"auc": [0.1]})
        append(scene.runs["f"], {"loss": [math.nan, 5.0], "max": [0.0, 1.0]})
        append(scene.runs["e"], {"loss": [math.nan]})
        scene.writer.delete("run", scene.run("g", metrics={"auc": 0.9}))
        scene.ship()
        return scene

    def test_numbers_compare(self, letters: Scene) -> None:
        cases = {
            "metrics.auc > 0.9": "be",
            "metrics.auc >= 0.9": "abe",
            "metrics.auc < 0.95": "ad",
            "metrics.auc <= 0.95": "abd",
            "metrics.auc = 0.9": "a",
            "metrics.auc == 0.9": "a",
            "metrics.auc != 0.9": "bcde",
            "metrics.auc <> 0.9": "bcde",
            "metrics.auc = nan": "c",
            "metrics.auc != nan": "abde",
            "metrics.auc > nan": "",
            "metrics.auc <= nan": "",
            "metrics.auc = inf": "e",
            "metrics.auc = -inf": "d",
            "metrics.auc < inf": "abd",
            "metrics.auc > -INF": "abe",
            "metrics.auc >= -inf": "abde",
            "metrics.n = 0": "d",
            "metrics.n = -0.0": "d",
            "metrics.n < 0": "",
            "metrics.n = 1.0": "a",
            "metrics.n > 1e0": "bc",
            "metrics.n >= +2": "bc",
            "metrics.n > -.5": "abcd",
            "hyperparameters.lr = 1e-2": "a",
            "hyperparameters.lr = 1": "c",
        }
        assert letters.mismatches(cases) == {}

    def test_large_integers_compare_exactly(self, letters: Scene) -> None:
        cases = {
            f"attributes.seed = {2**53 + 1}": "a",
            f"attributes.seed = {2**53}": "bd",
            f"attributes.seed = {float(2**53)!r}": "bd",
            f"attributes.seed = {2**63 + 5}": "c",
            f"attributes.seed = {2**63 + 6}": "",
            f"attributes.seed = {float(2**63)!r}": "",
            f"attributes.seed = {10**400}": "e",
            f"attributes.seed = {10**400 + 1}": "",
            "attributes.seed = inf": "",
            f"attributes.seed != {2**63 + 5}": "abde",
            f"attributes.seed in ({2**63 + 5}, {2**53 + 1})": "ac",
            f"attributes.seed not in ({2**63 + 5}, {2**53 + 1})": "bde",
            f"attributes.seed > {2**62}": "ce",
            "attributes.seed > 1e300": "e",
            f"attributes.seed < {10**400}": "abcd",
        }
        assert letters.mismatches(cases) == {}

    def test_text_compares(self, letters: Scene) -> None:
        cases = {
            'attributes.text = "abc"': "a",
            "attributes.text = 'abc'": "a",
            'attributes.text != "abc"': "bcdef",
            'attributes.text = ""': "d",
            'attributes.text > "ABC"': "aef",
            'attributes.text >= "ABC"': "abef",
            'attributes.text < "ABC"': "cd",
            'attributes.text <= ""': "d",
            'attributes.text = "naïve 日本 🚀"': "e",
            'attributes.text = "it\'s ""so"""': "f",
            "attributes.text = 'it''s \"so\"'": "f",
            'hyperparameters.lr = "0.01"': "d",
            'hyperparameters.depth = "8"': "b",
        }
        assert letters.mismatches(cases) == {}

    def test_text_is_searched(self, letters: Scene) -> None:
        cases = {
            'attributes.text contains "b"': "ab",
            'attributes.text contains "BC"': "ab",
            'attributes.text contains ""': "abcdef",
            'attributes.text contains "日本"': "e",
            'attributes.text contains "%"': "c",
            'attributes.text contains "_"': "c",
            'attributes.text contains "\\"': "",
            'attributes.text startswith "a"': "a",
            'attributes.text startswith "A"': "b",
            'attributes.text startswith "50%"': "c",
            'attributes.text startswith ""': "abcdef",
            'attributes.text endswith "c"': "a",
            'attributes.text endswith "🚀"': "e",
            'attributes.text endswith "_off"': "c",
            'attributes.text like "ab%"': "ab",
            'attributes.text like "A_C"': "ab",
            'attributes.text like "abc"': "ab",
            'attributes.text like "%"': "abcdef",
            'attributes.text like "_"': "",
            'attributes.text like "%日本_🚀"': "e",
            'attributes.text like "naïve __ _"': "e",
            'attributes.text like "50%"': "c",
            'attributes.text like ""': "d",
            'attributes.text like "a[b]c"': "",
            'name like "_"': "abcdef",
            'description contains "WORLD"': "a",
            'description startswith "hello"': "b",
        }
        assert letters.mismatches(cases) == {}

    def test_truth_values_are_no_numbers(self, letters: Scene) -> None:
        cases = {
            "hyperparameters.flag = true": "a",
            "hyperparameters.flag = FALSE": "b",
            "hyperparameters.flag != true": "b",
            "hyperparameters.flag = 1": "c",
            "hyperparameters.flag >= 0": "c",
            "hyperparameters.flag in (true, false)": "ab",
            "hyperparameters.flag not in (true)": "b",
        }
        assert letters.mismatches(cases) == {}

    def test_what_is_missing_or_of_another_type_matches_nothing(self, letters: Scene) -> None:
        cases = {
            "metrics.nowhere > 0": "",
            "metrics.nowhere != 0": "",
            "metrics.nowhere not in (0)": "",
            "not metrics.nowhere > 0": "abcdef",
            "hyperparameters.lr != 0.01": "bc",
            'hyperparameters.lr != "0.01"': "",
            'hyperparameters.lr not in (5, "x")': "abcd",
            'hyperparameters.lr not in ("x")': "d",
            'hyperparameters.lr contains "0"': "d",
            "hyperparameters.depth >= 8": "a",
            'hyperparameters.opt = "sgd"': "d",
            'hyperparameters.opt != "sgd"': "",
            "attributes.list = 1": "",
            'attributes.big startswith "x"': "",
            'attributes.big != "x"': "",
        }
        assert letters.mismatches(cases) == {}

    def test_lists_of_values(self, letters: Scene) -> None:
        cases = {
            'name in ("a", "c", "nobody")': "ac",
            'name not in ("a", "c")': "bdef",
            "metrics.auc in (0.9, nan, -inf)": "acd",
            "metrics.auc not in (0.9, nan)": "bde",
            'hyperparameters.lr in (1, 0.01, "0.01")': "acd",
            'status in ("failed", "killed")': "bc",
            "name in (" + ", ".join(f'"{number}"' for number in range(999)) + ', "a")': "a",
        }
        assert letters.mismatches(cases) == {}

    def test_existence_and_null(self, letters: Scene) -> None:
        cases = {
            "metrics.auc exists": "abcde",
            "metrics.auc not exists": "f",
            "not metrics.auc exists": "f",
            "metrics.loss exists": "aef",
            "hyperparameters.empty exists": "a",
            "hyperparameters.empty is null": "a",
            "hyperparameters.empty = null": "a",
            "hyperparameters.empty is not null": "",
            "hyperparameters.lr is null": "",
            "hyperparameters.lr is not null": "abcd",
            "hyperparameters.lr != null": "abcd",
            "hyperparameters.opt exists": "ad",
            "attributes.list exists": "f",
            "attributes.big is not null": "f",
            "parent_id is null": "acdef",
            "parent_id is not null": "b",
            "parent_id exists": "b",
            "started_at is null": "cdef",
            "finished_at exists": "a",
            "tags exists": "abce",
            "tags not exists": "df",
        }
        assert letters.mismatches(cases) == {}

    def test_tags(self, letters: Scene) -> None:
        cases = {
            'tags contains "best"': "a",
            'tags contains "Best"': "c",
            'tags contains "bes"': "",
            'tags contains "naïve"': "e",
            'tags = "v1"': "a",
            'tags in ("v1", "v2")': "ab",
            'tags startswith "v"': "ab",
            'tags startswith "50%"': "e",
            'tags endswith "est"': "ac",
            'tags like "BEST"': "ac",
            'tags like "v_"': "ab",
            'not (tags contains "best")': "bcdef",
            "tags contains \"a tag with 'quotes'\"": "e",
        }
        assert letters.mismatches(cases) == {}

    def test_keys(self, letters: Scene) -> None:
        cases = {
            'hyperparameters.opt.name = "adam"': "a",
            'hyperparameters."opt.name" = "adam"': "a",
            "hyperparameters.opt.b exists": "a",
            'metrics."val loss" = 0.5': "e",
            "metrics.`val loss` = 0.5": "e",
            "metrics.'val loss' = 0.5": "e",
            "attributes.naïve = 1": "e",
            "attributes.a.b = 1": "e",
            "attributes.max.max = 3": "e",
            'datasets.train.digest = "aa"': "a",
            "datasets.train exists": "a",
            "datasets.train.rows > 4": "a",
            'code.git.commit startswith "caf"': "a",
            "code.git.dirty = false": "a",
            'artifacts."plots/roc.png" exists': "d",
            "artifacts.plots/roc.png.size_bytes = 5": "d",
        }
        assert letters.mismatches(cases) == {}

    def test_series_answer_by_their_last_value_and_aggregates(self, letters: Scene) -> None:
        cases = {
            "metrics.loss = 2": "a",
            "metrics.loss > 1": "af",
            "metrics.loss = nan": "e",
            "metrics.loss.last = 5": "f",
            "metrics.loss.min = 1": "a",
            "metrics.loss.max >= 3": "af",
            "metrics.loss.first = 3": "a",
            "metrics.loss.first = nan": "ef",
            "metrics.loss.mean = 2": "a",
            "metrics.loss.mean exists": "aef",
            "metrics.loss.min = nan": "e",
            "metrics.loss.count >= 2": "af",
            "metrics.loss.count in (1, 3)": "ae",
            'metrics."loss".max = 5': "f",
            "metrics.max = 1": "f",
            "metrics.max.max = 1": "f",
            'metrics."loss.max" = 5': "",
            "metrics.auc.max = 0.1": "a",
            "metrics.auc = 0.9": "a",
            "metrics.n.max exists": "",
        }
        assert letters.mismatches(cases) == {}

    def test_times(self, letters: Scene) -> None:
        cases = {
            'started_at = "2027-01-15T08:00:00Z"': "a",
            'started_at = "2027-01-15T09:00:00+01:00"': "a",
            'started_at >= "2027-01-15"': "a",
            'started_at < "2027-01-15"': "b",
            'started_at != "2027-01-15T08:00"': "b",
            'started_at > "2027-01-15T07:59:59.999999"': "a",
            "created_at > now - 1h": "abcdef",
            "created_at > now - 1d + 23h": "abcdef",
            "created_at > now + 1w": "",
            "not created_at <= now - 500ms": "abcdef",
            "duration = 90": "a",
            "duration > 89.5 and duration < 1e3": "a",
            "duration != 1.5": "a",
            "not duration != -0.5": "bcdef",
            "duration is null": "bcdef",
        }
        assert letters.mismatches(cases) == {}

    def test_columns(self, letters: Scene) -> None:
        cases = {
            f'run_id = "{letters.runs["c"]}"': "c",
            f'entity_id in ("{letters.runs["c"]}", "{letters.runs["d"]}")': "cd",
            'owner = "tester"': "abcdef",
            'owner != "tester"': "",
            f'project = "{letters.project}"': "abcdef",
            'project = "nobody"': "",
            'experiment = "experiment"': "abcdef",
            'experiment like "EXP%"': "abcdef",
            f'project_id = "{letters.project_id}"': "abcdef",
            f'experiment_id = "{letters.ids["experiment_id"]}"': "abcdef",
            'status = "finished"': "a",
            'status != "running"': "abc",
            'description = ""': "cdef",
        }
        assert letters.mismatches(cases) == {}

    def test_runs_outside_of_containers(self, scene: Scene) -> None:
        inside = scene.run("inside")
        outside = scene.writer.create_run(name="outside", project_id=scene.project_id).entity_id
        adrift = scene.writer.create_run(name="adrift", project_id=scene.project_id, experiment_id="nowhere").entity_id
        scene.ship()
        assert len({inside, outside, adrift}) == 3
        assert scene.names("experiment is null") == ["adrift", "outside"]
        assert scene.names("not experiment is null") == ["inside"]
        assert scene.names("experiment exists") == ["inside"]
        assert scene.names("experiment is not null") == ["inside"]
        assert scene.names('experiment != "nobody"') == ["inside"]
        assert scene.names('not experiment = "nobody"') == ["adrift", "inside", "outside"]
        assert scene.names(order_by="experiment, name desc") == ["inside", "outside", "adrift"]

    def test_logic(self, letters: Scene) -> None:
        cases = {
            "": "abcdef",
            "  ": "abcdef",
            'name = "a" or name = "b" and name = "c"': "a",
            '(name = "a" or name = "b") and name = "b"': "b",
            'not name = "a" and name < "c"': "b",
            'not (name = "a" or name = "b")': "cdef",
            'NOT NOT name = "a"': "a",
            '((((name = "a"))))': "a",
            'metrics.auc > 0 and tags exists and not hyperparameters.depth = "8"': "ae",
            " or ".join(f'name = "{number}"' for number in range(400)) + ' or name = "a"': "a",
            "(" * 99 + 'name = "a"' + ")" * 99: "a",
        }
        assert letters.mismatches(cases) == {}

    def test_orders_put_missing_values_last(self, letters: Scene) -> None:
        cases = {
            "name desc": "fedcba",
            "metrics.auc, name": "dabecf",
            "metrics.auc desc, name": "ebadcf",
            "metrics.loss, name": "afbcde",
            "metrics.loss.max desc, name": "fabcde",
            "hyperparameters.lr, name": "abcdef",
            "hyperparameters.lr desc, name": "cbadef",
            "hyperparameters.flag, name": "bacdef",
            "attributes.text, name": "dcbafe",
            "attributes.seed desc, name": "ecabdf",
            "started_at, name": "bacdef",
            "started_at desc, name desc": "abfedc",
            "duration, name": "abcdef",
            "status, name": "bacdef",
            "metrics.nowhere, name desc": "fedcba",
            "parent_id, project, experiment desc, name": "bacdef",
            "description desc, name": "bacdef",
            "description, name": "cdefab",
            "created_at": "abcdef",
            "": "fedcba",
        }
        found = {order: "".join(letters.names(order_by=order)) for order in cases}
        assert found == cases

    @pytest.mark.parametrize(
        "order_by",
        ["", "name", "metrics.auc desc", "metrics.loss", "hyperparameters.lr desc", "started_at", "status, name desc"],
    )
    @pytest.mark.parametrize("limit", [1, 2, 4])
    def test_pages_add_up_to_the_whole(self, letters: Scene, order_by: str, limit: int) -> None:
        whole = [run.entity_id for run in letters.find(order_by=order_by).entities]
        pages: list[str] = []
        cursor = None
        while True:
            page = letters.find(order_by=order_by, limit=limit, cursor=cursor, count=True)
            assert page.total == 6
            assert len(page.entities) <= limit
            pages += [run.entity_id for run in page.entities]
            cursor = page.cursor
            if cursor is None:
                break
        assert pages == whole
        assert len(set(pages)) == 6

    def test_ties_go_by_falling_identifier(self, scene: Scene) -> None:
        at = now_us()
        ids = []
        for _ in range(5):
            scene.writer.at = at
            ids.append(scene.run("same"))
        scene.ship()
        for order_by in ("", "name", "name desc", "metrics.nowhere"):
            assert [run.entity_id for run in scene.find(order_by=order_by).entities] == sorted(ids, reverse=True)

    def test_a_cursor_stays_where_it_was_while_runs_are_added(self, scene: Scene) -> None:
        for number in range(4):
            scene.run(f"run {number}")
        scene.ship()
        page = scene.find(limit=2)
        scene.run("newer")
        scene.ship()
        assert [run.name for run in scene.find(limit=5, cursor=page.cursor).entities] == ["run 1", "run 0"]

    def test_a_foreign_cursor_is_refused(self, letters: Scene) -> None:
        cursor = letters.find(order_by="name", limit=2).cursor
        for options in ({"order_by": "name desc"}, {"order_by": "name", "filter": "metrics.auc > 0"}, {}):
            with pytest.raises(QuerySyntaxError, match="cursor"):
                letters.find(cursor=cursor, **options)
        for forged in ("", "x", "AAAA", "é", cursor[:-3] if cursor else ""):
            with pytest.raises(QuerySyntaxError, match="cursor"):
                letters.find(order_by="name", cursor=forged)

    def test_a_count_costs_no_entities(self, letters: Scene) -> None:
        page = letters.find("metrics.auc exists", limit=0, count=True)
        assert (page.entities, page.total) == ((), 5)
        assert letters.find().total is None

    def test_deleted_runs_are_counted_where_they_are_asked_for(self, letters: Scene) -> None:
        asked: dict[str, Any] = {"limit": 0, "count": True, "include_deleted": True}
        assert letters.find("metrics.auc exists", **asked).total == 6
        assert letters.find(**asked).total == 7
        assert letters.find('name = "g"', **asked).total == 1
        assert letters.find('name = "g"', limit=0, count=True).total == 0
        keys = {include: self._count_of_auc(letters, include) for include in (False, True)}
        assert keys == {False: 5, True: 6}

    @staticmethod
    def _count_of_auc(letters: Scene, include_deleted: bool) -> int:
        infos = letters.store.find_keys(Query(within=letters.project_id, include_deleted=include_deleted))
        return next(info.count for info in infos if (info.section, info.key) == ("metrics", "auc"))

    def test_a_limit_is_kept(self, letters: Scene) -> None:
        assert len(letters.find(limit=3).entities) == 3
        assert letters.find(limit=6).cursor is None
        assert letters.find(limit=5).cursor is not None

    def test_fields_leave_the_rest_out(self, letters: Scene) -> None:
        fields = ("status", "metrics.auc", "hyperparameters.opt.name", "series.loss", "tags")
        (run,) = letters.find('name = "a"', fields=fields).entities
        assert isinstance(run, Run)
        assert (run.run_id, run.name, run.status, run.tags) == (letters.runs["a"], "a", "finished", ("best", "v1"))
        assert run.metrics == {"auc": 0.9}
        assert run.hyperparameters == {"opt": {"name": "adam"}}
        assert set(run.series) == {"loss"}
        assert run.created_at is not None
        assert (run.description, run.attributes, run.code, run.started_at) == ("", {}, {}, None)
        (run,) = letters.find('name = "a"', fields=("metrics", "duration")).entities
        assert isinstance(run, Run)
        assert run.metrics == {"auc": 0.9, "n": 1, "loss": 2.0}
        assert run.duration_s == 90
        assert (run.hyperparameters, run.series) == ({}, {})
        (run,) = letters.find('name = "f"', fields=("metrics.loss", "metrics.nowhere", "attributes.list")).entities
        assert isinstance(run, Run)
        assert (run.metrics, run.attributes) == ({"loss": 5.0}, {"list": [1, 2]})

    @pytest.mark.parametrize(
        ("filter", "order_by", "fields"),
        [
            ("metrics.auc >", "", None),
            ("nobody = 1", "", None),
            ("", "metrics.auc sideways", None),
            ("", "tags", None),
            ("", "", ("nobody",)),
            ("", "", ("metrics..x",)),
        ],
    )
    def test_what_does_not_parse_is_a_syntax_error(
        self,
        store: MetadataStore,
        filter: str,  # noqa: A002
        order_by: str,
        fields: tuple[str, ...] | None,
    ) -> None:
        with pytest.raises(QuerySyntaxError):
            store.find(Query(filter=filter, order_by=order_by, fields=fields))

    def test_other_kinds_have_their_own_columns(self, scene: Scene) -> None:
        dataset_id = new_id()
        for version in (1, 2, 10):
            scene.writer.create("dataset_version", dataset_id=dataset_id, version=version, digest=f"d{version}")
        scene.ship()

        def versions(filter: str, order_by: str = "version") -> list[int]:  # noqa: A002
            query = Query("dataset_version", filter, order_by, within=dataset_id)
            return [item.document["version"] for item in scene.store.find(query).entities]

        assert versions("version >= 2") == [2, 10]
        assert versions("", "version desc") == [10, 2, 1]
        assert versions('digest = "d2"') == [2]
        with pytest.raises(QuerySyntaxError, match="metrics"):
            versions("metrics.auc > 1")

    def test_answers_follow_changes(self, scene: Scene) -> None:
        run_id = scene.run(metrics={"auc": 0.5}, tags=["old"])
        scene.ship()
        assert scene.names("metrics.auc = 0.5") == ["run"]
        scene.writer.update("run", run_id, put={"metrics": {"auc": "text"}}, set={"tags": ["new"], "name": "renamed"})
        scene.ship()
        cases = {"metrics.auc = 0.5": [], 'metrics.auc = "text"': ["renamed"], 'tags contains "old"': []}
        assert {case: scene.names(case) for case in cases} == cases
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        scene.writer.append(run_id, {"loss": [2.0]})
        scene.ship()
        assert scene.names("metrics.loss = 1") == []
        assert scene.names("metrics.loss = 2 and metrics.loss.count = 2") == ["renamed"]
        scene.writer.update("project", scene.project_id, set={"name": "another name"})
        scene.ship()
        assert scene.names('project = "another name"') == ["renamed"]

    def test_keys_are_listed_by_frequency(self, letters: Scene) -> None:
        infos = letters.store.find_keys(Query(within=letters.project_id))
        by_name = {(info.section, info.key): info for info in infos}
        assert by_name["metrics", "auc"] == KeyInfo("metrics", "auc", 5, ("number", "series"))
        assert by_name["metrics", "loss"] == KeyInfo("metrics", "loss", 3, ("series",))
        assert by_name["hyperparameters", "lr"] == KeyInfo("hyperparameters", "lr", 4, ("number", "text"))
        assert by_name["hyperparameters", "flag"] == KeyInfo("hyperparameters", "flag", 3, ("bool", "number"))
        assert by_name["hyperparameters", "empty"] == KeyInfo("hyperparameters", "empty", 1, ())
        assert by_name["hyperparameters", "opt.name"] == KeyInfo("hyperparameters", "opt.name", 1, ("text",))
        assert by_name["attributes", "list"] == KeyInfo("attributes", "list", 1, ("json",))
        assert by_name["tags", "v1"] == KeyInfo("tags", "v1", 1, ())
        assert by_name["datasets", "train.digest"].count == 1
        assert by_name["code", "git.commit"].count == 1
        assert [info.count for info in infos] == sorted((info.count for info in infos), reverse=True)

    def test_keys_of_some_runs_only(self, letters: Scene) -> None:
        infos = letters.store.find_keys(Query(filter='name = "f"', within=letters.project_id))
        assert {(info.section, info.key) for info in infos} == {
            *(("attributes", key) for key in ("text", "big", "list")),
            *(("metrics", key) for key in ("loss", "max")),
        }
        infos = letters.store.find_keys(Query(within=letters.project_id, limit=1))
        sections = [info.section for info in infos]
        assert len(sections) == len(set(sections))
        assert next(info.key for info in infos if info.section == "metrics") == "auc"

    def test_a_late_run_of_another_stream_is_found(self, letters: Scene) -> None:
        other = StreamWriter()
        other.create_run(name="z", **letters.ids, metrics={"auc": 0.99})
        letters.store.apply(other.changes)
        assert letters.names("metrics.auc > 0.95") == ["e", "z"]
