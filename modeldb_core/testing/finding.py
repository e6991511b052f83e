"""How a store answers queries: every operator on every type, and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from modeldb_core.errors import QuerySyntaxError
from modeldb_core.model.entities import new_id
from modeldb_core.queries import Query
from modeldb_core.stores import KeyInfo, MetadataStore
from modeldb_core.testing.letters import LettersCase
from modeldb_core.testing.streams import StreamWriter

if TYPE_CHECKING:
    from modeldb_core.testing.scene import Scene


class FindTests(LettersCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.find` and ``find_keys`` promise: which entities match."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.find, MetadataStore.find_keys)

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
            'failure.type = "ValueError" and failure.message contains "such"': "b",
            "failure.type exists": "b",
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
            'started_at = "2027-01-14T08:00:00Z"': "b",  # shown to the second, stored to the microsecond
            'started_at = "2027-01-14 03:00 -05:00"': "b",
            'started_at = "2027-01-14T08:00:00.123Z"': "b",
            'started_at = "2027-01-14T08:00:00.000000Z"': "",
            'started_at = "2027-01-14"': "b",
            'started_at != "2027-01-14T08:00:00Z"': "a",
            'not started_at != "2027-01-14T08:00:00Z"': "bcdef",
            'started_at < "2027-01-14T08:00:00Z"': "",
            'started_at <= "2027-01-14T08:00:00Z"': "b",
            'started_at > "2027-01-14T08:00:00Z"': "a",
            'started_at >= "2027-01-14T08:00:00Z"': "ab",
            'started_at > "2027-01-14T08:00:00.000000Z"': "ab",
            'started_at > "2027-01-15"': "",
            'started_at <= "2027-01-15"': "ab",
            'started_at in ("2027-01-14T08:00", "2027-01-15T08:00:00.000000Z")': "ab",
            'started_at in ("2027-01-14T08:00:00.000000Z", "2027-01-15")': "a",
            'started_at not in ("2027-01-14T08:00:00Z", "2027-01-15T08:00:00.000001Z")': "a",
            'started_at not in ("2027-01-14", "2027-01-15T08:00:00.000000Z")': "",
            "created_at > now - 1h": "abcdef",
            "created_at > now - 1d + 23h": "abcdef",
            "created_at > now + 1w": "",
            "created_at <= now + 500ms": "abcdef",
            "not created_at <= now - 500d": "abcdef",
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
        adrift = scene.writer.create_run(name="adrift", project_id=scene.project_id, experiment_id=new_id()).entity_id
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
