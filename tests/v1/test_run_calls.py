"""Every call of projects, experiments, runs and comments: what it answers, also to what cannot be; ``cases_runs.py`` goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from modeldb_v1.schema import CALLS

V1 = Any
NOWHERE = "00000000-0000-4000-8000-000000000000"
SERVICES = ("ProjectService", "ExperimentService", "ExperimentRunService", "CommentService")


def pair(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "value_type": 0}


def artifact(key: str, **more: Any) -> dict[str, Any]:
    described = {"key": key, "path": f"abc/{key}.bin", "path_only": False, "artifact_type": 1}
    return {**described, "linked_artifact_id": "", "filename_extension": "bin", **more}


GIT = {
    "git_snapshot": {"filepaths": ["a.py"], "repo": "git@x:y.git", "hash": "f" * 40, "is_dirty": 2},
    "date_logged": "5",
}
ARCHIVE = {"code_archive": artifact("", path="beef/code.zip", artifact_type=6), "date_logged": "6"}
EQUALS = {"key": "name", "value": "world", "value_type": 0, "operator": 0}
PAGE = {"page_number": 1, "page_limit": 2, "ascending": False, "sort_key": ""}

# What each call is sent, with the names of what is there in braces, and a field that its answer has. Of those that end with
# a star nothing is answered but that it was done.
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "ProjectService.createProject": ({"name": "{new}", "workspace_name": "", "date_created": "5"}, "project"),
    "ProjectService.getProjects": ({**PAGE, "workspace_name": ""}, "projects"),
    "ProjectService.getPublicProjects": ({"user_id": "", "workspace_name": ""}, "projects"),
    "ProjectService.getProjectById": ({"id": "{project}"}, "project"),
    "ProjectService.getProjectByName": ({"name": "{project_name}", "workspace_name": ""}, "project_by_user"),
    "ProjectService.deleteProject": ({"id": "{spare_project}"}, "status"),
    "ProjectService.deleteProjects": ({"ids": ["{spare_project}"]}, "status"),
    "ProjectService.updateProjectName": ({"id": "{spare_project}", "name": "{new}"}, "project"),
    "ProjectService.updateProjectDescription": ({"id": "{project}", "description": "d"}, "project"),
    "ProjectService.updateProjectAttributes": ({"id": "{project}", "attribute": pair("u", [1, None])}, "project"),
    "ProjectService.verifyConnection": ({}, "status"),
    "ProjectService.deepCopyProject": ({"id": "{project}"}, "project"),
    "ProjectService.getSummary": ({"entityId": "{project}"}, "total_experiment"),
    "ProjectService.setProjectReadme": ({"id": "{project}", "readme_text": "# r"}, "project"),
    "ProjectService.getProjectReadme": ({"id": "{project}"}, "readme_text"),
    "ProjectService.setProjectVisibility": ({"id": "{spare_project}", "project_visibility": 1}, "project"),
    "ProjectService.setProjectShortName": ({"id": "{project}", "short_name": "shorter"}, "project"),
    "ProjectService.getProjectShortName": ({"id": "{project}"}, "short_name"),
    "ProjectService.findProjects": ({"project_ids": [], "predicates": [EQUALS], "ids_only": False, **PAGE}, "projects"),
    "ProjectService.setProjectWorkspace": ({"id": "{spare_project}", "workspace_name": "elsewhere"}, "project"),
    "ExperimentService.createExperiment": ({"project_id": "{project}", "name": "{new}"}, "experiment"),
    "ExperimentService.getExperimentById": ({"id": "{experiment}"}, "experiment"),
    "ExperimentService.getExperimentByName": ({"name": "{experiment_name}", "project_id": "{project}"}, "experiment"),
    "ExperimentService.getExperimentsInProject": ({"project_id": "{project}", **PAGE}, "experiments"),
    "ExperimentService.findExperiments": ({"project_id": "{project}", "predicates": [], **PAGE}, "experiments"),
    "ExperimentService.updateExperimentNameOrDescription": ({"id": "{experiment}", "description": "e"}, "experiment"),
    "ExperimentService.updateExperimentName": ({"id": "{spare_experiment}", "name": "{new}"}, "experiment"),
    "ExperimentService.updateExperimentDescription": ({"id": "{experiment}", "description": "d"}, "experiment"),
    "ExperimentService.addAttribute": ({"id": "{experiment}", "attribute": pair("{new}", None)}, "*"),
    "ExperimentService.deleteExperiment": ({"id": "{spare_experiment}"}, "status"),
    "ExperimentService.deleteExperiments": ({"ids": ["{spare_experiment}"]}, "status"),
    "ExperimentRunService.createExperimentRun": (
        {"project_id": "{project}", "experiment_id": "{experiment}", "name": "{new}", "id": "", "date_created": "1"},
        "experiment_run",
    ),
    "ExperimentRunService.getExperimentRunById": ({"id": "{run}"}, "experiment_run"),
    "ExperimentRunService.getExperimentRunByName": (
        {"name": "{run_name}", "experiment_id": "{experiment}"},
        "experiment_run",
    ),
    "ExperimentRunService.getExperimentRunsInProject": ({"project_id": "{project}", **PAGE}, "experiment_runs"),
    "ExperimentRunService.getExperimentRunsInExperiment": ({"experiment_id": "{experiment}"}, "experiment_runs"),
    "ExperimentRunService.updateExperimentRunName": ({"id": "{spare_run}", "name": "{new}"}, "experiment_run"),
    "ExperimentRunService.updateExperimentRunDescription": ({"id": "{run}", "description": "d"}, "experiment_run"),
    "ExperimentRunService.logObservation": (
        {"id": "{run}", "observation": {"attribute": pair("loss", 0.5), "timestamp": "77"}},
        "*",
    ),
    "ExperimentRunService.logObservations": ({"id": "{run}", "observations": [{"attribute": pair("o", "x")}]}, "*"),
    "ExperimentRunService.getObservations": ({"id": "{run}", "observation_key": "loss"}, "observations"),
    "ExperimentRunService.logMetric": ({"id": "{run}", "metric": pair("{new}", None)}, "*"),
    "ExperimentRunService.logMetrics": ({"id": "{run}", "metrics": [pair("{new}", 0.25)]}, "*"),
    "ExperimentRunService.getMetrics": ({"id": "{run}"}, "metrics"),
    "ExperimentRunService.logHyperparameter": ({"id": "{run}", "hyperparameter": pair("{new}", True)}, "*"),
    "ExperimentRunService.logHyperparameters": ({"id": "{run}", "hyperparameters": [pair("{new}", "x")]}, "*"),
    "ExperimentRunService.getHyperparameters": ({"id": "{run}"}, "hyperparameters"),
    "ExperimentRunService.logAttribute": ({"id": "{run}", "attribute": pair("{new}", {"a": [1]})}, "*"),
    "ExperimentRunService.logAttributes": ({"id": "{run}", "attributes": [pair("{new}", [])]}, "*"),
    "ExperimentRunService.logDataset": ({"id": "{run}", "dataset": artifact("{new}", artifact_type=3)}, "*"),
    "ExperimentRunService.logDatasets": ({"id": "{run}", "datasets": [artifact("d")], "overwrite": True}, "*"),
    "ExperimentRunService.getDatasets": ({"id": "{run}"}, "datasets"),
    "ExperimentRunService.logArtifact": ({"id": "{run}", "artifact": artifact("{new}")}, "*"),
    "ExperimentRunService.findExperimentRuns": (
        {"experiment_id": "{experiment}", "ids_only": True, "experiment_run_ids": [], "predicates": [], **PAGE},
        "experiment_runs",
    ),
    "ExperimentRunService.sortExperimentRuns": (
        {"experiment_run_ids": ["{run}"], "sort_key": "metrics.m"},
        "experiment_runs",
    ),
    "ExperimentRunService.getTopExperimentRuns": (
        {"experiment_id": "{experiment}", "sort_key": "metrics.m", "top_k": 1},
        "experiment_runs",
    ),
    "ExperimentRunService.logJobId": ({"id": "{run}", "job_id": "job 7"}, "*"),
    "ExperimentRunService.getJobId": ({"id": "{run}"}, "job_id"),
    "ExperimentRunService.getChildrenExperimentRuns": ({"experiment_run_id": "{run}", **PAGE}, "experiment_runs"),
    "ExperimentRunService.setParentExperimentRunId": (
        {"experiment_run_id": "{child}", "parent_id": "{run}"},
        "experiment_run",
    ),
    "ExperimentRunService.getExperimentRunsByDatasetVersionId": (
        {"datset_version_id": "{version}", **PAGE},
        "experiment_runs",
    ),
    "ExperimentRunService.deleteExperimentRun": ({"id": "{spare_run}"}, "status"),
    "ExperimentRunService.deleteExperimentRuns": ({"ids": ["{spare_run}"]}, "status"),
    "ExperimentRunService.logVersionedInput": (
        {
            "id": "{run}",
            "versioned_inputs": {
                "repository_id": "{repository}",
                "commit": "{commit}",
                "key_location_map": {"k": {"location": ["b"]}},
            },
        },
        "*",
    ),
    "ExperimentRunService.getVersionedInputs": ({"id": "{run}"}, "versioned_inputs"),
    "CommentService.addExperimentRunComment": ({"entity_id": "{run}", "date_time": "5", "message": "well"}, "comment"),
    "CommentService.updateExperimentRunComment": (
        {"id": "{comment}", "entity_id": "{run}", "message": "better"},
        "comment",
    ),
    "CommentService.getExperimentRunComments": ({"entity_id": "{run}"}, "comments"),
    "CommentService.deleteExperimentRunComment": ({"id": "{comment}", "entity_id": "{run}"}, "status"),
}
for _kind, _of in (("Project", "project"), ("Experiment", "experiment"), ("ExperimentRun", "run")):
    _service, _id, _has = f"{_kind}Service", {"id": f"{{{_of}}}"}, "experiment_run" if _of == "run" else _of
    _fresh = {"id": f"{{spare_{_of}}}"}
    CASES |= {
        f"{_service}.add{_kind}Tags": ({**_id, "tags": ["x", "x", "y"]}, _has),
        f"{_service}.add{_kind}Tag": ({**_id, "tag": "z"}, _has),
        f"{_service}.get{_kind}Tags": (_id, "tags"),
        f"{_service}.delete{_kind}Tags": ({**_id, "tags": ["y"], "delete_all": False}, _has),
        f"{_service}.delete{_kind}Tag": ({**_id, "tag": "never"}, _has),
        f"{_service}.add{_kind}Attributes": (
            {**_fresh, "attributes": [pair("a", 1.5)]},
            _has,
        ),
        f"{_service}.get{_kind}Attributes": ({**_id, "attribute_keys": ["a"], "get_all": False}, "attributes"),
        f"{_service}.delete{_kind}Attributes": ({**_id, "attribute_keys": ["never"], "delete_all": False}, _has),
        f"{_service}.log{_kind}CodeVersion": ({**_fresh, "code_version": GIT}, _has),
        f"{_service}.get{_kind}CodeVersion": (_id, "code_version"),
        f"{_service}.getUrlForArtifact": ({**_id, "key": "art", "method": "PUT", "artifact_type": 0}, "url"),
        f"{_service}.logArtifacts": ({**_fresh, "artifacts": [artifact("new")]}, _has),
        f"{_service}.getArtifacts": ({**_id, "key": "art"}, "artifacts"),
        f"{_service}.deleteArtifact": ({**_id, "key": "never"}, _has),
    }
NEVER_MISSING = {"createProject", "getProjects", "getPublicProjects", "verifyConnection", "findProjects"}
"""Calls that name nothing which could be missing."""
NEVER_WRONG = {"verifyConnection", "getProjects", "getPublicProjects", "findProjects", "findExperiments"}
"""Calls of which nothing is required."""
REFUSED = {"findProjects", "sortExperimentRuns"}
"""Calls that refuse what is not there like what one may not see, as the original did."""


class World:
    """What is there, by name; what a call alters for good is made again for each."""

    def __init__(self, v1: V1) -> None:
        self.v1, self.count = v1, 0
        self.ids: dict[str, str] = {"project_name": "world", "experiment_name": "trials", "run_name": "first"}
        described: dict[str, Any] = {"attributes": [pair("a", 1)], "tags": ["t"], "project_visibility": 1}
        self.ids["project"] = v1.post("project/createProject", name="world", **described)["project"]["id"]
        v1.post("project/setProjectReadme", id=self["project"], readme_text="hello")
        of = {"project_id": self["project"]}
        made = v1.post("experiment/createExperiment", **of, name="trials", attributes=[pair("a", "b")], tags=["t"])
        self.ids["experiment"] = made["experiment"]["id"]
        of["experiment_id"] = self["experiment"]
        described = {
            "metrics": [pair("m", 1)],
            "hyperparameters": [pair("h", "x")],
            "attributes": [pair("a", None)],
            "datasets": [artifact("d", artifact_type=3)],
            "tags": ["t"],
        }
        for name, more in (("first", described), ("child", {})):
            run = v1.post("experiment-run/createExperimentRun", **of, name=name, **more)["experiment_run"]
            self.ids["run" if name == "first" else name] = run["id"]
        v1.post("experiment-run/setParentExperimentRunId", experiment_run_id=self["child"], parent_id=self["run"])
        v1.post(
            "experiment-run/logObservation",
            id=self["run"],
            observation={"attribute": pair("loss", 1), "timestamp": "5"},
        )
        v1.get("experiment-run/logJobId", id=self["run"], job_id="j")
        for kind, path in (("project", "project"), ("experiment", "experiment"), ("run", "experiment-run")):
            v1.post(f"{path}/logArtifacts", id=self[kind], artifacts=[artifact("art")])
            name = {"project": "Project", "experiment": "Experiment", "run": "ExperimentRun"}[kind]
            v1.post(f"{path}/log{name}CodeVersion", id=self[kind], code_version=ARCHIVE)
        self.ids["version"] = self._version()
        v1.post(
            "experiment-run/logDataset",
            id=self["run"],
            dataset=artifact("linked", artifact_type=3, linked_artifact_id=self["version"], path_only=True),
        )
        self._repository()
        self.fresh("comment")  # one stays, for those who ask which there are

    def _version(self) -> str:
        dataset = self.v1.post("dataset/createDataset", name="set", dataset_type=1)["dataset"]
        part = {"path": "p", "size": "3", "checksum": "c"}
        info = {"location_type": 1, "size": "3", "dataset_part_infos": [part], "base_path": "/b"}
        made = self.v1.post(
            "dataset-version/createDatasetVersion",
            dataset_id=dataset["id"],
            dataset_type=1,
            path_dataset_version_info=info,
        )
        return str(made["dataset_version"]["id"])

    def _repository(self) -> None:
        path = "versioning/workspaces/grace/repositories"
        self.ids["repository"] = number = self.v1.post(path, name="repo")["repository"]["id"]
        head = self.v1.get(f"versioning/repositories/{number}/branches/master")["commit"]["commit_sha"]
        blob = {"code": {"git": {"repo": "r", "hash": "h", "branch": "b"}}}
        commit = self.v1.post(
            f"versioning/repositories/{number}/commits",
            commit={"parent_shas": [head], "message": "m"},
            blobs=[{"location": ["b"], "blob": blob}],
        )
        self.ids["commit"] = commit["commit"]["commit_sha"]
        versioned = {"repository_id": number, "commit": self["commit"], "key_location_map": {"k": {"location": ["b"]}}}
        self.v1.post("experiment-run/logVersionedInput", id=self["run"], versioned_inputs=versioned)

    def __getitem__(self, name: str) -> str:
        return self.ids[name]

    def fresh(self, name: str) -> str:
        """Return the identifier of something that a test may alter or delete, or a name that nothing has."""
        self.count += 1
        new = f"new {self.count}"
        of = {"project_id": self["project"], "experiment_id": self["experiment"]}
        if name == "new":
            return new
        if name == "spare_project":
            return str(self.v1.post("project/createProject", name=new)["project"]["id"])
        if name == "spare_experiment":
            made = self.v1.post("experiment/createExperiment", project_id=self["project"], name=new)
            return str(made["experiment"]["id"])
        if name == "spare_run":
            return str(self.v1.post("experiment-run/createExperimentRun", **of, name=new)["experiment_run"]["id"])
        assert name == "comment"
        made = self.v1.post("comment/addExperimentRunComment", entity_id=self["run"], message="hm")
        return str(made["comment"]["id"])

    def filled(self, value: Any) -> Any:
        """Return a request with what is there in the place of its name in braces."""
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if isinstance(value, str) and value.startswith("{"):
            name = value.strip("{}")
            return self.ids.get(name) or self.fresh(name)
        return value

    def call(self, name: str, request: dict[str, Any], *, direct: bool = False) -> TestResponse:
        """Make a call as its binding says, and return the answer."""
        (binding, *_) = CALLS[name].bindings
        path = binding.paths[direct]
        if binding.body:
            return self.v1.send(binding.verb, path, request)
        return self.v1.send(binding.verb, path, **request)


@pytest.fixture(scope="module")
def world(v1: V1) -> Iterator[World]:
    return World(v1)


def test_there_is_a_case_for_every_call():
    assert set(CASES) == {name for name in CALLS if name.partition(".")[0] in SERVICES}
    assert len(CASES) == 34 + 25 + 48 + 4


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_answered(world: World, name: str):
    request, field = CASES[name]
    response = world.call(name, world.filled(request), direct=True)
    assert response.status_code == 200, response.get_data(as_text=True)
    assert field == "*" or response.json.get(field), response.json


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_is_refused(world: World, name: str):
    request = world.filled(CASES[name][0])
    method = name.partition(".")[2]
    wrong = [{**request, "no_such_field": "1"}]
    if method not in NEVER_WRONG:
        wrong.append({})
        first = next(iter(request))
        wrong.append({**request, first: "" if isinstance(request[first], str) else []})
    for each in wrong:
        response = world.call(name, each)
        assert (response.status_code, response.json["code"]) == (400, 3), (each, response.json)


@pytest.mark.parametrize("time", [-1, -(2**63), 253_402_300_800_000, 2**63 - 1])
def test_a_time_that_no_calendar_has_is_refused(v1: V1, time: int) -> None:
    project_id = v1.post("project/createProject", name=f"at {time}")["project"]["id"]
    home = {"project_id": project_id, "name": "n"}
    home["experiment_id"] = v1.post("experiment/createExperiment", **home)["experiment"]["id"]
    run_id = v1.post("experiment-run/createExperimentRun", **home)["experiment_run"]["id"]
    observation = {"attribute": pair("a", 1), "timestamp": str(time)}
    for path, body, field in (
        ("experiment-run/createExperimentRun", {**home, "name": "o", "start_time": str(time)}, "start_time"),
        ("experiment-run/createExperimentRun", {**home, "name": "o", "end_time": str(time)}, "end_time"),
        ("experiment-run/createExperimentRun", {**home, "name": "o", "observations": [observation]}, "timestamp"),
        ("experiment-run/logObservation", {"id": run_id, "observation": observation}, "timestamp"),
    ):
        answer = v1.send("POST", path, body)
        assert (answer.status_code, answer.json["code"]) == (400, 3), (path, answer.json)
        assert answer.json["message"].startswith(f"{field} is {time}; expected milliseconds"), path
