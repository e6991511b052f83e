"""Each call of data sets, versions, repositories, lineage and labels: one that succeeds, what is not there, bad input."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest

from modeldb_v1.schema import CALLS
from tests.v1.wire import Wire

SERVICES = ("DatasetService", "DatasetVersionService", "VersioningService", "LineageService", "MetadataService")
NOWHERE = "00000000-0000-4000-8000-000000000000"
INVALID, NOT_FOUND, EXISTS = 3, 5, 6
GIT = {"code": {"git": {"repo": "git@host:x.git", "hash": "cafe"}}}
LR = {"config": {"hyperparameters": [{"name": "lr", "value": {"float_value": 0.1}}]}}
PART = {"path": "a.csv", "size": "5", "checksum": "abc", "last_modified_at_source": "7"}
PATH_INFO = {"location_type": 1, "size": "5", "base_path": "/data", "dataset_part_infos": [PART]}


class World(SimpleNamespace):
    """What there is: each test makes one of its own, by a number."""

    count = 0

    def __init__(self, wire: Wire) -> None:
        World.count += 1
        self.number = World.count
        self.wire = wire
        made = wire("DatasetService.createDataset", {"name": f"data {self.number}", "dataset_type": 1, "tags": ["old"]})
        self.dataset = made["dataset"]["id"]
        info = {"dataset_id": self.dataset, "dataset_type": 1, "path_dataset_version_info": PATH_INFO, "tags": ["old"]}
        attributes = [{"key": "known", "value": 1}]
        made = wire("DatasetVersionService.createDatasetVersion", {**info, "attributes": attributes})
        self.version = made["dataset_version"]["id"]
        wire("DatasetService.addDatasetAttributes", {"id": self.dataset, "attributes": attributes})
        named = {"workspace_name": "grace", "name": f"repo {self.number}"}
        self.named = {"named_id": named}
        made = wire("VersioningService.CreateRepository", {"id": self.named, "repository": {"name": named["name"]}})
        self.repo = {"repo_id": made["repository"]["id"]}
        at = {"repository_id": self.repo}
        self.first = wire("VersioningService.GetBranch", {**at, "branch": "master"})["commit"]["commit_sha"]
        commit = {"message": "second", "parent_shas": [self.first]}
        blobs = [{"location": ["code", "git"], "blob": GIT}, {"location": ["config"], "blob": LR}]
        made = wire("VersioningService.CreateCommit", {**at, "commit": commit, "blobs": blobs})
        self.second = made["commit"]["commit_sha"]
        for tag in ("v1",):
            wire("VersioningService.SetTag", {**at, "tag": tag, "commit_sha": self.second})
        self.label = {"id_type": 1, "int_id": self.repo["repo_id"]}
        wire("MetadataService.AddLabels", {"id": self.label, "labels": ["old"]})

    @cached_property
    def used(self) -> str:
        """A data set that a run has used."""
        name = {"name": f"use of {self.number}"}
        of = {"project_id": self.wire("ProjectService.createProject", name)["project"]["id"]}
        of["experiment_id"] = self.wire("ExperimentService.createExperiment", {**of, **name})["experiment"]["id"]
        used = {"key": "train", "path": "x", "artifact_type": 3, "linked_artifact_id": self.version}
        self.wire("ExperimentRunService.createExperimentRun", {**of, **name, "datasets": [used]})
        return str(self.dataset)

    @property
    def at(self) -> dict[str, Any]:
        return {"repository_id": self.repo}


NO_REPO = {"repo_id": "1"}


def by_id(field: str, **more: Any) -> tuple[Any, Any, Any]:
    """The three requests of a call that names what it is about by ``id``."""
    return (
        lambda world: {"id": getattr(world, field), **more},
        lambda _: {"id": NOWHERE, **more},
        lambda _: {**more},
    )


def of_repository(bad: dict[str, Any] | None = None, **more: Any) -> tuple[Any, Any, Any]:
    """The three requests of a call that names a repository, and more: texts name fields of the world."""

    def fields(world: World) -> dict[str, Any]:
        return {name: getattr(world, value, value) if isinstance(value, str) else value for name, value in more.items()}

    return (
        lambda world: {"repository_id": world.repo, **fields(world)},
        lambda world: {"repository_id": NO_REPO, **fields(world)},
        (lambda world: {"repository_id": world.repo, **fields(world), **bad}) if bad is not None else None,
    )


KEYS: dict[str, Any] = {"attributes": [{"key": "new", "value": None}]}
BAD_PAGE = {"pagination": {"page_number": 1, "page_limit": 101}}
CASES: dict[str, tuple[Any, Any, Any]] = {
    "DatasetService.createDataset": (
        lambda world: {"name": f"more {world.number}", "attributes": [{"key": "a", "value": [1]}], "dataset_type": 2},
        None,
        lambda _: {"name": ""},
    ),
    "DatasetService.getDatasetById": by_id("dataset"),
    "DatasetService.getDatasetByName": (
        lambda world: {"name": f"data {world.number}"},
        lambda _: {"name": "nothing"},
        lambda _: {},
    ),
    "DatasetService.deleteDataset": by_id("dataset"),
    "DatasetService.deleteDatasets": (
        lambda world: {"ids": [world.dataset]},
        lambda _: {"ids": [NOWHERE]},
        lambda _: {},
    ),
    "DatasetService.getAllDatasets": (lambda _: {"page_number": 1, "page_limit": 5}, None, None),
    "DatasetService.findDatasets": (
        lambda _: {"predicates": [{"key": "name", "value": "data", "operator": 6}]},
        None,
        lambda _: {"predicates": [{"key": "name", "value": ""}]},
    ),
    "DatasetVersionService.getAllDatasetVersionsByDatasetId": (
        lambda world: {"dataset_id": world.dataset},
        lambda _: {"dataset_id": NOWHERE},
        lambda _: {},
    ),
    "DatasetVersionService.getLatestDatasetVersionByDatasetId": (
        lambda world: {"dataset_id": world.dataset},
        lambda _: {"dataset_id": NOWHERE},
        lambda _: {},
    ),
    "DatasetVersionService.findDatasetVersions": (
        lambda world: {"dataset_id": world.dataset, "predicates": [{"key": "version", "value": 1}]},
        lambda _: {"dataset_id": NOWHERE},
        lambda world: {"dataset_id": world.dataset, "predicates": [{"key": "tags", "value": ""}]},
    ),
    "DatasetService.updateDatasetName": (
        lambda world: {"id": world.dataset, "name": f"renamed {world.number}"},
        lambda _: {"id": NOWHERE, "name": "x"},
        lambda world: {"id": world.dataset, "name": "x" * 257},
    ),
    "DatasetService.updateDatasetDescription": by_id("dataset", description="what it is"),
    "DatasetService.addDatasetTags": by_id("dataset", tags=["a", "b", "a"]),
    "DatasetService.getDatasetTags": by_id("dataset"),
    "DatasetService.deleteDatasetTags": by_id("dataset", tags=["old"]),
    "DatasetService.addDatasetAttributes": by_id("dataset", **KEYS),
    "DatasetService.updateDatasetAttributes": by_id("dataset", attribute={"key": "known", "value": 2}),
    "DatasetService.getDatasetAttributes": by_id("dataset", attribute_keys=["known"]),
    "DatasetService.deleteDatasetAttributes": by_id("dataset", attribute_keys=["known"]),
    "DatasetService.setDatasetVisibility": by_id("dataset", dataset_visibility=1),
    "DatasetService.getLastExperimentByDatasetId": (
        lambda world: {"dataset_id": world.used},
        lambda _: {"dataset_id": NOWHERE},
        lambda _: {},
    ),
    "DatasetService.getExperimentRunByDataset": (
        lambda world: {"dataset_id": world.used},
        lambda _: {"dataset_id": NOWHERE},
        lambda _: {},
    ),
    "DatasetService.setDatasetWorkspace": (
        lambda world: {"id": world.dataset, "workspace_name": "another"},
        lambda _: {"id": NOWHERE, "workspace_name": "another"},
        lambda world: {"id": world.dataset},
    ),
    "DatasetVersionService.createDatasetVersion": (
        lambda world: {"dataset_id": world.dataset, "dataset_type": 1},
        lambda _: {"dataset_id": NOWHERE},
        lambda world: {"dataset_id": world.dataset, "dataset_type": 2},
    ),
    "DatasetVersionService.deleteDatasetVersion": by_id("version"),
    "DatasetVersionService.deleteDatasetVersions": (
        lambda world: {"ids": [world.version]},
        lambda _: {"ids": [NOWHERE]},
        lambda _: {},
    ),
    "DatasetVersionService.getDatasetVersionById": by_id("version"),
    "DatasetVersionService.updateDatasetVersionDescription": by_id("version", description="x"),
    "DatasetVersionService.addDatasetVersionTags": by_id("version", tags=["x"]),
    "DatasetVersionService.getDatasetVersionTags": by_id("version"),
    "DatasetVersionService.deleteDatasetVersionTags": by_id("version", delete_all=True),
    "DatasetVersionService.addDatasetVersionAttributes": by_id("version", **KEYS),
    "DatasetVersionService.updateDatasetVersionAttributes": by_id("version", attribute={"key": "known", "value": 2}),
    "DatasetVersionService.getDatasetVersionAttributes": by_id("version", get_all=True),
    "DatasetVersionService.deleteDatasetVersionAttributes": by_id("version", delete_all=True),
    "DatasetVersionService.setDatasetVersionVisibility": by_id("version", dataset_version_visibility=2),
    "VersioningService.ListRepositories": (lambda _: {}, None, lambda _: {"workspace_name": "grace", **BAD_PAGE}),
    "VersioningService.GetRepository": (
        lambda world: {"id": world.named},
        lambda _: {"id": {"named_id": {"workspace_name": "grace", "name": "nothing"}}},
        None,
    ),
    "VersioningService.CreateRepository": (
        lambda world: {
            "id": {"named_id": {"workspace_name": "grace"}},
            "repository": {"name": f"other repo {world.number}"},
        },
        None,
        lambda _: {"id": {"named_id": {"workspace_name": "grace"}}, "repository": {"name": ""}},
    ),
    "VersioningService.UpdateRepository": (
        lambda world: {"id": world.repo, "repository": {"name": f"renamed repo {world.number}"}},
        lambda _: {"id": NO_REPO, "repository": {"name": "x"}},
        lambda world: {"id": world.repo, "repository": {"name": ""}},
    ),
    "VersioningService.DeleteRepository": of_repository(),
    "VersioningService.ListCommits": of_repository(BAD_PAGE),
    "VersioningService.GetCommit": of_repository(commit_sha="second"),
    "VersioningService.CreateCommit": (
        lambda world: {
            **world.at,
            "commit": {"message": "third", "parent_shas": [world.second]},
            "blobs": [{"location": ["a"], "blob": LR}],
        },
        lambda world: {
            "repository_id": NO_REPO,
            "commit": {"message": "third", "parent_shas": [world.second]},
            "blobs": [{"location": ["a"], "blob": LR}],
        },
        lambda world: {**world.at, "commit": {"message": "third", "parent_shas": ["f" * 64]}, "blobs": [{}]},
    ),
    "VersioningService.DeleteCommit": of_repository(commit_sha="second"),
    "VersioningService.ListCommitBlobs": of_repository({"location_prefix": ["a/b"]}, commit_sha="second"),
    "VersioningService.GetCommitComponent": of_repository({"location": ["a/b"]}, commit_sha="second"),
    "VersioningService.ComputeRepositoryDiff": of_repository({"commit_b": ""}, commit_a="first", commit_b="second"),
    "VersioningService.ListBranches": of_repository(),
    "VersioningService.GetBranch": of_repository(branch="master"),
    "VersioningService.SetBranch": of_repository({"branch": "a..b"}, branch="new", commit_sha="second"),
    "VersioningService.DeleteBranch": of_repository(branch="master"),
    "VersioningService.ListBranchCommits": of_repository(BAD_PAGE, branch="master"),
    "VersioningService.ListTags": of_repository(),
    "VersioningService.GetTag": of_repository(tag="v1"),
    "VersioningService.SetTag": of_repository({"tag": "a..b"}, tag="v2", commit_sha="second"),
    "VersioningService.DeleteTag": of_repository(tag="v1"),
    "LineageService.addLineage": (
        lambda world: {"input": _versions(world.version), "output": _versions(_other_version(world))},
        None,
        lambda world: {"input": _versions(world.version), "output": [{"type": 0, "external_id": world.version}]},
    ),
    "LineageService.deleteLineage": (
        lambda world: {"input": _versions(world.version), "output": _versions(NOWHERE)},
        None,
        lambda world: {"input": _versions(world.version)},
    ),
    **{
        f"LineageService.findAll{what}": (
            lambda world: {"items": _versions(world.version, NOWHERE)},
            None,
            lambda world: {"items": _versions(world.version, world.version)},
        )
        for what in ("Inputs", "Outputs", "InputsOutputs")
    },
    "MetadataService.GetLabels": (
        lambda world: {"id": world.label},
        lambda _: {"id": {"id_type": 2, "string_id": "f" * 64}},
        lambda _: {},
    ),
    "MetadataService.AddLabels": (
        lambda world: {"id": world.label, "labels": ["new"]},
        lambda _: {"id": {"id_type": 1, "int_id": "1"}, "labels": ["new"]},
        lambda world: {"id": world.label},
    ),
    "MetadataService.DeleteLabels": (
        lambda world: {"id": {"id_type": 2, "string_id": world.second}, "labels": ["old"]},
        lambda _: {"id": {"id_type": 1, "int_id": "1"}, "labels": ["old"]},
        lambda world: {"id": world.label},
    ),
}


def _versions(*ids: str) -> list[dict[str, Any]]:
    return [{"type": 2, "external_id": each} for each in ids]


def _other_version(world: World) -> str:
    info = {"dataset_id": world.dataset, "dataset_type": 1, "path_dataset_version_info": {"base_path": "/other"}}
    made: str = world.wire("DatasetVersionService.createDatasetVersion", info)["dataset_version"]["id"]
    return made


def test_every_call_on_data_is_tried() -> None:
    assert CASES.keys() == {name for name in CALLS if name.split(".")[0] in SERVICES}
    assert len(CASES) == 65


@pytest.fixture(scope="module")
def shared(wire: Wire) -> World:
    return World(wire)


@pytest.mark.parametrize("name", CASES)
def test_a_call_answers_refuses_and_says_what_is_missing(wire: Wire, shared: World, name: str) -> None:
    good, missing, bad = CASES[name]
    if missing:
        assert wire.code(name, missing(shared)) == NOT_FOUND
    if bad:
        assert wire.code(name, bad(shared)) == INVALID
    if good:
        is_destructive = name.split(".")[1].startswith(("delete", "Delete", "set", "update"))
        answer = wire(name, good(World(wire) if is_destructive else shared))
        assert not CALLS[name].response.DESCRIPTOR.fields or answer != {}, name
