"""Finding through the v1 API: every operator on every kind of key, orders by size, and pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

V1 = Any
EQ, NE, GT, GTE, LT, LTE, CONTAIN, NOT_CONTAIN, IN = range(9)
NUMBERS = [9, 10, 100, -5, 0.5]
WORDS = ["apple", "Banana", "cherry", "banana split", "x"]


def pair(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "value_type": 0}


class Runs:
    """Five runs, and one that carries nothing; found by their place in that order."""

    def __init__(self, v1: V1) -> None:
        self.v1 = v1
        self.project = v1.post("project/createProject", name="found")["project"]["id"]
        self.experiment = v1.post("experiment/createExperiment", project_id=self.project, name="e")["experiment"]["id"]
        self.ids: list[str] = []
        self.times: list[int] = []
        for index, (number, word) in enumerate(zip(NUMBERS, WORDS, strict=True)):
            self._add(
                name=f"run {word}",
                description=word,
                metrics=[pair("m", number)],
                hyperparameters=[pair("h", number), pair("flag", index % 2 == 0), pair("w", word)],
                attributes=[pair("a", word), pair("n", number)],
                tags=[word],
                observations=[{"attribute": pair("o", number + step), "timestamp": str(step + 2)} for step in (-1, 0)],
                artifacts=[{"key": "f", "path": f"dir/{word}"}],
                datasets=[{"key": "d", "path": f"set/{word}", "linked_artifact_id": f"version {index}"}],
                features=[{"name": word}],
                code_version=word,
            )
        self._add(name="bare")

    def _add(self, **fields: Any) -> None:
        time.sleep(0.002)  # the times that they are found by are those of milliseconds
        of = {"project_id": self.project, "experiment_id": self.experiment}
        run = self.v1.post("experiment-run/createExperimentRun", **of, **fields)["experiment_run"]
        self.ids.append(run["id"])
        self.times.append(int(run["date_created"]))

    def find(self, *predicates: tuple[str, Any, int], **more: Any) -> list[int]:
        asked = [{"key": key, "value": it, "value_type": 0, "operator": operator} for key, it, operator in predicates]
        body = {
            "experiment_id": self.experiment,
            "ids_only": True,
            "ascending": True,
            "sort_key": "date_created",
            "predicates": asked,
        }
        answer = self.v1.post("experiment-run/findExperimentRuns", **{**body, **more})
        found = [self.ids.index(run["id"]) for run in answer.get("experiment_runs", [])]
        assert int(answer.get("total_records", 0)) >= len(found)
        return found


@pytest.fixture(scope="module")
def runs(v1: V1) -> Iterator[Runs]:
    return Runs(v1)


ON_NUMBERS: list[tuple[int, Callable[[float, float], bool]]] = [
    (EQ, lambda one, other: one == other),
    (GT, lambda one, other: one > other),
    (GTE, lambda one, other: one >= other),
    (LT, lambda one, other: one < other),
    (LTE, lambda one, other: one <= other),
]


@pytest.mark.parametrize("key", ["metrics.m", "hyperparameters.h", "attributes.n", "observations.o"])
@pytest.mark.parametrize(("operator", "holds"), ON_NUMBERS)
def test_numbers_compare_by_size(runs: Runs, key: str, operator: int, holds: Any):
    for number in (10, 0.5, 1000):
        expected = [index for index, each in enumerate(NUMBERS) if holds(each, number)]
        if key == "observations.o" and operator in (LT, LTE):  # one of its points does
            expected = [index for index, each in enumerate(NUMBERS) if holds(each - 1, number)]
        assert runs.find((key, number, operator)) == expected
    assert runs.find((key, 10, NE)) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("key", "form"),
    [
        *(
            ("hyperparameters.w", "{}"),
            ("attributes.a", "{}"),
            ("name", "run {}"),
            ("description", "{}"),
            ("code_version", "{}"),
        ),
        *(
            ("artifacts.f", "dir/{}"),
            ("datasets.d", "set/{}"),
            ("tags", "{}"),
            ("features", "{}"),
            ("features.any", "{}"),
        ),
    ],
)
def test_texts_compare_by_their_letters(runs: Runs, key: str, form: str):
    for index, word in list(enumerate(WORDS))[:2]:
        assert runs.find((key, form.format(word), EQ)) == [index]
        assert runs.find((key, form.format(word), NE)) == [each for each in range(6) if each != index]
    if key.startswith("features"):
        return
    assert runs.find((key, "BANANA", CONTAIN)) == [1, 3]
    assert runs.find((key, "BANANA", NOT_CONTAIN)) == [0, 2, 4, 5]
    if key != "tags":
        first = form.format("apple")
        assert runs.find((key, first, GT), ("id", runs.ids[2], EQ)) == [2]
        assert runs.find((key, first, LTE), ("id", runs.ids[0], EQ)) == [0]


def test_truth_identifiers_and_times(runs: Runs):
    assert runs.find(("hyperparameters.flag", True, EQ)) == [0, 2, 4]
    assert runs.find(("hyperparameters.flag", True, NE)) == [1, 3, 5]
    for index, run_id in list(enumerate(runs.ids))[::4]:
        assert runs.find(("id", run_id, EQ)) == [index]
        assert runs.find(("date_created", runs.times[index], EQ)) == [index]
        assert runs.find(("date_created", str(runs.times[index]), GT)) == list(range(index + 1, 6))
        assert runs.find(("date_created", runs.times[index], GTE)) == list(range(index, 6))
        assert runs.find(("date_created", runs.times[index], LT)) == list(range(index))
        assert runs.find(("date_created", runs.times[index], LTE)) == list(range(index + 1))
    assert runs.find(("experiment_id", runs.experiment, EQ)) == list(range(6))
    assert runs.find(("project_id", runs.project, NE)) == []
    assert runs.find(("metrics.m", 9, GTE), ("attributes.a", "an", CONTAIN)) == [1]
    assert runs.find(("metrics.never", 1, EQ)) == []
    assert runs.find(("datasets.linked_artifact_id", "version 3", EQ)) == [3]
    assert runs.find(("datasets.linked_artifact_id", ["version 3", "version 1", "none"], IN)) == [1, 3]
    assert runs.find(('attributes.it"s "quoted"', "x", EQ)) == []


@pytest.mark.parametrize(
    ("predicate", "status"),
    [
        *((("", 1, EQ), 400), (("metrics", 1, EQ), 400), (("nothing.x", 1, EQ), 400), (("nothing", 1, EQ), 400)),
        *(
            (("metrics.m", "", EQ), 400),
            (("metrics.m", None, EQ), 501),
            (("metrics.m", [1], EQ), 501),
            (("metrics.m", {}, EQ), 501),
        ),
        *((("metrics.m", 1, IN), 400), (("metrics.m", 1, 99), 400), (("id", "x", NE), 400), (("tags", "x", GT), 400)),
        *((("date_created", "soon", EQ), 400), (("date_created", -1, EQ), 400), (("date_created", 1e300, EQ), 400)),
        *((("date_created", 5, CONTAIN), 400), (("datasets.linked_artifact_id", 5, EQ), 400)),
    ],
)
def test_what_cannot_be_asked_is_refused(v1: V1, runs: Runs, predicate: tuple[str, Any, int], status: int):
    key, value, operator = predicate
    body = {"experiment_id": runs.experiment, "predicates": [{"key": key, "value": value, "operator": operator}]}
    response = v1.send("POST", "experiment-run/findExperimentRuns", body)
    assert response.status_code == status, response.json


def test_orders_are_by_size_and_what_lacks_the_key_comes_last(runs: Runs):
    for key in ("metrics.m", "hyperparameters.h", "attributes.n", "observations.o"):
        assert runs.find(sort_key=key) == [3, 4, 0, 1, 2, 5]
        assert runs.find(sort_key=key, ascending=False) == [2, 1, 0, 4, 3, 5]
    assert runs.find(sort_key="name")[0] == 5
    assert runs.find(sort_key="artifacts.f") == [1, 0, 3, 2, 4, 5]
    assert runs.find(sort_key="", ascending=False) == [5, 4, 3, 2, 1, 0]  # the newest first
    response = runs.v1.send(
        "POST", "experiment-run/findExperimentRuns", {"project_id": runs.project, "sort_key": "no.key"}
    )
    assert response.status_code == 400


def test_pages_count_what_matches(v1: V1, runs: Runs):
    body = {
        "project_id": runs.project,
        "ids_only": True,
        "ascending": True,
        "sort_key": "date_created",
        "page_limit": 4,
    }
    pages = [v1.post("experiment-run/findExperimentRuns", **body, page_number=number) for number in (1, 2, 3)]
    assert [[runs.ids.index(run["id"]) for run in page.get("experiment_runs", [])] for page in pages] == [
        [0, 1, 2, 3],
        [4, 5],
        [],
    ]
    assert [page["total_records"] for page in pages] == ["6", "6", "6"]
    assert set(pages[0]["experiment_runs"][0]) == {"id"}
    for wrong in (
        {"page_number": -1},
        {"page_limit": 10_001, "page_number": 1},
        {"page_number": 2**31 - 1, "page_limit": 10_000},
    ):
        assert v1.send("POST", "experiment-run/findExperimentRuns", {**body, **wrong}).status_code == 400


def test_runs_that_are_named(v1: V1, runs: Runs):
    body = {"ids_only": True, "experiment_run_ids": runs.ids[1:3], "sort_key": "metrics.m"}
    assert [run["id"] for run in v1.post("experiment-run/findExperimentRuns", **body)["experiment_runs"]] == [
        runs.ids[2],
        runs.ids[1],
    ]
    unknown = v1.send("POST", "experiment-run/findExperimentRuns", {"experiment_run_ids": [runs.ids[0], "unknown"]})
    assert (unknown.status_code, unknown.json["code"]) == (403, 7)
    assert v1.send("POST", "experiment-run/findExperimentRuns", {}).status_code == 400
    best = v1.get(
        "experiment-run/getTopExperimentRuns", project_id=runs.project, sort_key="metrics.m", top_k=2, ids_only=True
    )
    assert [run["id"] for run in best["experiment_runs"]] == [runs.ids[2], runs.ids[1]]
    ordered = v1.get(
        "experiment-run/sortExperimentRuns", experiment_run_ids=runs.ids[:3], sort_key="metrics.m", ascending=True
    )
    assert [run["id"] for run in ordered["experiment_runs"]] == runs.ids[:3]


def test_ones_own_is_found_by_name_beside_any_number_of_others(v1: V1):
    for number in range(100):
        v1.post("project/createProject", name="everywhere", workspace_name=f"workspace {number}")
    own = v1.post("project/createProject", name="everywhere")["project"]["id"]
    found = v1.get("project/getProjectByName", name="everywhere")
    assert (found["project_by_user"]["id"], len(found["shared_projects"])) == (own, 100)
