"""Names that are unique within something, taken by eight at the same moment: one gets it, the others are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modeldb_core.model.entities import new_id
from tests.v1.conftest import V1

AT_ONCE = 8


def together(calls: list[Callable[[V1], Any]], v1: V1) -> list[tuple[int, int]]:
    """Make calls at the same moment, each as a client of its own; return statuses and codes of gRPC."""
    barrier = threading.Barrier(len(calls))

    def make(call: Callable[[V1], Any]) -> tuple[int, int]:
        own = V1(v1.client.application.test_client(), v1.headers)
        barrier.wait(60)
        answer = call(own)
        return answer.status_code, answer.json.get("code", 0)

    with ThreadPoolExecutor(len(calls)) as pool:
        return sorted(pool.map(make, calls))


def project(v1: V1, name: str) -> str:
    return str(v1.post("project/createProject", name=name)["project"]["id"])


def experiment(v1: V1, name: str, project_id: str) -> dict[str, str]:
    made = v1.post("experiment/createExperiment", name=name, project_id=project_id)["experiment"]
    return {"project_id": project_id, "experiment_id": made["id"]}


def renamings(v1: V1, kind: str, name: str) -> list[Callable[[V1], Any]]:
    numbers = range(AT_ONCE)
    if kind == "repository":
        ids = [{"named_id": {"name": f"{name} {n}"}} for n in numbers]
        for each in ids:
            v1.post("versioning/workspaces/personal/repositories", name=each["named_id"]["name"])
        return [
            lambda own, of=f"{name} {n}": own.send(
                "PUT", f"versioning/workspaces/personal/repositories/{of}", {"name": name}
            )
            for n in numbers
        ]
    if kind == "dataset":
        made = [v1.post("dataset/createDataset", name=f"{name} {n}", dataset_type=1)["dataset"]["id"] for n in numbers]
        path = "dataset/updateDatasetName"
    elif kind == "project":
        made, path = [project(v1, f"{name} {n}") for n in numbers], "project/updateProjectName"
    else:
        home = project(v1, f"of {name}")
        made = [experiment(v1, f"{name} {n}", home)["experiment_id"] for n in numbers]
        path = "experiment/updateExperimentNameOrDescription"
    return [lambda own, of=of: own.send("POST", path, {"id": of, "name": name}) for of in made]


@pytest.mark.parametrize("kind", ["project", "experiment", "dataset", "repository"])
def test_of_eight_renamed_to_one_name_at_once_one_has_it(v1: V1, kind: str) -> None:
    answers = together(renamings(v1, kind, f"the {kind}"), v1)
    assert answers == [(200, 0), *[(409, 6)] * (AT_ONCE - 1)]


def test_of_eight_runs_that_take_one_name_at_once_in_any_way_one_has_it(v1: V1) -> None:
    home = experiment(v1, "experiment", project(v1, "of runs"))
    create = "experiment-run/createExperimentRun"
    for turn in range(3):
        name = f"name {turn}"
        runs = [v1.post(create, **home, name=f"{name}.{n}")["experiment_run"]["id"] for n in range(4)]

        def rename(own: V1, run_id: str = "", name: str = name) -> Any:
            return own.send("POST", "experiment-run/updateExperimentRunName", {"id": run_id, "name": name})

        def add(own: V1, name: str = name, **more: str) -> Any:
            return own.send("POST", create, {**home, "name": name, **more})

        calls: list[Callable[[V1], Any]] = [lambda own, of=of, rename=rename: rename(own, of) for of in runs]
        calls += [add, add, *(lambda own, of=of, add=add: add(own, id=of) for of in (new_id(), new_id()))]
        assert together(calls, v1) == [(200, 0), *[(409, 6)] * (AT_ONCE - 1)]
        shown = v1.get("experiment-run/getExperimentRunsInExperiment", experiment_id=home["experiment_id"])
        assert [each["name"] for each in shown["experiment_runs"]].count(name) == 1


def test_a_run_that_asks_for_the_identifier_of_a_deleted_one_is_told_at_once(v1: V1) -> None:
    home, run_id = experiment(v1, "e", project(v1, "of deleted")), new_id()
    v1.post("experiment-run/createExperimentRun", **home, name="a", id=run_id)
    v1.delete("experiment-run/deleteExperimentRun", id=run_id)
    answer = v1.send("POST", "experiment-run/createExperimentRun", {**home, "name": "b", "id": run_id})
    assert (answer.status_code, answer.json["code"]) == (409, 6)
    v1.post("experiment-run/createExperimentRun", **home, name="a")  # the name of a deleted one is free
