"""Two users whose workspaces differ: neither finds, by name, number, digest or identifier, what the other one has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import execute
from modeldb_core.model.entities import derived_id
from modeldb_core.stores.direct import DirectWriter
from modeldb_v1 import finding
from tests.v1.conftest import made_app
from tests.v1.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

ADA, BOB = "ada-ada-ada-ada-ada-1", "bob-bob-bob-bob-bob-1"
BLOB = {"config": {"hyperparameters": [{"name": "lr", "value": {"float_value": 0.5}}]}}


def test_what_lies_in_another_workspace_is_not_there(tmp_path: Path) -> None:
    tokens = (f"ada:{ADA}", f"bob:{BOB}")
    app, parts = made_app(tmp_path, tokens=tokens, scopes=("ada=hers", "bob=his"))
    store = parts[1]
    for name in ("hers", "his"):
        (workspace_id,) = store.identify(("workspace", name))
        execute(DirectWriter(store, "admin"), declare("workspace", workspace_id, name))
    ada, bob = (Wire(app.test_client(), {"Authorization": f"Bearer {token}"}) for token in (ADA, BOB))
    dataset = ada("DatasetService.createDataset", {"name": "train", "workspace_name": "hers"})["dataset"]["id"]
    version = ada("DatasetVersionService.createDatasetVersion", {"dataset_id": dataset})["dataset_version"]["id"]
    named = {"named_id": {"workspace_name": "hers", "name": "churn"}}
    made = ada("VersioningService.CreateRepository", {"id": named, "repository": {"name": "churn"}})["repository"]
    assert (made["workspace_type"], "workspace_id" in made) == ("ORGANIZATION", True)
    repo = {"repo_id": made["id"]}
    first = ada("VersioningService.GetBranch", {"repository_id": named, "branch": "master"})["commit"]["commit_sha"]
    commit = {"commit": {"message": "m", "parent_shas": [first]}, "blobs": [{"location": ["a"], "blob": BLOB}]}
    sha = ada("VersioningService.CreateCommit", {"repository_id": repo, **commit})["commit"]["commit_sha"]
    ada("VersioningService.SetBranch", {"repository_id": repo, "branch": "master", "commit_sha": sha})
    label = {"id_type": 2, "string_id": sha}
    hidden: list[tuple[str, dict[str, Any]]] = [
        ("DatasetService.getDatasetById", {"id": dataset}),
        ("DatasetService.getDatasetByName", {"name": "train", "workspace_name": "hers"}),
        ("DatasetService.deleteDataset", {"id": dataset}),
        ("DatasetVersionService.createDatasetVersion", {"dataset_id": dataset}),
        ("DatasetVersionService.getDatasetVersionById", {"id": version}),
        ("VersioningService.GetRepository", {"id": named}),
        ("VersioningService.GetRepository", {"id": repo}),
        ("VersioningService.GetCommit", {"repository_id": repo, "commit_sha": sha}),
        ("VersioningService.DeleteRepository", {"repository_id": repo}),
        ("VersioningService.CreateCommit", {"repository_id": repo, **commit}),
        ("MetadataService.GetLabels", {"id": label}),
        ("MetadataService.AddLabels", {"id": label, "labels": ["x"]}),
    ]
    for name, fields in hidden:
        assert bob.code(name, fields) == 5, name
    assert bob("VersioningService.ListRepositories") == {}
    items = [{"type": 2, "external_id": version}]
    assert bob("LineageService.findAllInputsOutputs", {"items": items}) == {"inputs": [{}], "outputs": [{}]}
    assert bob.code("LineageService.addLineage", {"input": items, "output": items}) == 3
    refused = {"id": {"named_id": {"workspace_name": "hers"}}, "repository": {"name": "mine"}}
    assert bob.code("VersioningService.CreateRepository", refused) in (5, 7)
    assert bob.code("DatasetService.createDataset", {"name": "mine", "workspace_name": "hers"}) in (5, 7)
    made = bob(
        "VersioningService.CreateRepository",
        {"id": {"named_id": {"workspace_name": "his"}}, "repository": {"name": "churn"}},
    )
    assert made["repository"]["id"] != repo["repo_id"]
    his = bob("DatasetService.createDataset", {"name": "his data", "workspace_name": "his"})["dataset"]["id"]
    assert bob.code("DatasetService.setDatasetWorkspace", {"id": his, "workspace_name": "hers"}) in (5, 7)
    assert ada.code("DatasetService.setDatasetWorkspace", {"id": his, "workspace_name": "hers"}) == 5
    assert "total_records" not in ada(
        "DatasetService.findDatasets", {"predicates": [{"key": "name", "value": "his data"}]}
    )
    nobody = Wire(app.test_client())
    assert nobody.send("VersioningService.GetRepository", {"id": repo})[0] == 401
    for part in parts:
        part.close()


def test_a_name_is_free_where_somebody_elsewhere_took_the_identifier_that_follows_from_it(tmp_path: Path) -> None:
    app, parts = made_app(tmp_path, tokens=(f"ada:{ADA}", f"bob:{BOB}"), scopes=("ada=hers", "bob=his"))
    store = parts[1]
    for name in ("hers", "his"):
        (workspace_id,) = store.identify(("workspace", name))
        execute(DirectWriter(store, "admin"), declare("workspace", workspace_id, name))
    homes = []
    for token, workspace in ((ADA, "hers"), (BOB, "his")):
        send = Wire(app.test_client(), {"Authorization": f"Bearer {token}"})
        made = {"name": "churn", "workspace_name": workspace}
        project = send("ProjectService.createProject", made)["project"]["id"]
        experiment = send("ExperimentService.createExperiment", {"name": "e", "project_id": project})["experiment"][
            "id"
        ]
        homes.append((send, {"project_id": project, "experiment_id": experiment}))
    (ada, hers), (bob, his) = homes
    taken = derived_id("v1-run", hers["experiment_id"], "best\0" + "0")
    bob("ExperimentRunService.createExperimentRun", {**his, "id": taken, "name": "mine"})
    run = ada("ExperimentRunService.createExperimentRun", {**hers, "name": "best"})["experiment_run"]
    assert (run["name"], run["id"] != taken) == ("best", True)
    for part in parts:
        part.close()


def test_a_name_is_looked_for_in_the_workspace_that_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST", 1)  # others have the name more often than one answer holds
    app, parts = made_app(tmp_path, tokens=(f"ada:{ADA}",))
    store = parts[1]
    ada = Wire(app.test_client(), {"Authorization": f"Bearer {ADA}"})
    made = {}
    for name in ("first", "second"):
        (workspace_id,) = store.identify(("workspace", name))
        execute(DirectWriter(store, "admin"), declare("workspace", workspace_id, name))
        made[name] = ada("ProjectService.createProject", {"name": "churn", "workspace_name": name})["project"]["id"]
    for name, project_id in made.items():
        found = ada("ProjectService.getProjectByName", {"name": "churn", "workspace_name": name})
        assert found["project_by_user"]["id"] == project_id
        assert "shared_projects" not in found
    for part in parts:
        part.close()
