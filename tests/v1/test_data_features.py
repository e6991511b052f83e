"""Data sets and repositories as the original client uses them, beside programs of ours on the same store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import modeldb_core as modeldb
import modeldb_v1
from modeldb_core.model.entities import Commit
from modeldb_core.plugins import PluginManager
from modeldb_server import ServerSettings, create_app
from modeldb_v1.numbers import number_of
from tests.v1.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

    from modeldb_core import Client

NOT_FOUND, INVALID, EXISTS = 5, 3, 6
SHA = "ab" * 32


def value(number: float) -> dict[str, Any]:
    return {"float_value": number}


def config(**settings: float) -> dict[str, Any]:
    listed = [{"name": name, "value": value(number)} for name, number in settings.items()]
    return {"config": {"hyperparameters": listed}}


def python(*libraries: str) -> dict[str, Any]:
    listed = [{"library": each, "constraint": "==", "version": {"major": 1}} for each in libraries]
    return {"environment": {"python": {"version": {"major": 3, "minor": 7}, "requirements": listed}}}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Client]:
    """A program of ours on the store that the server has."""
    settings = {"journal_dir": tmp_path / "journal", "cache_dir": tmp_path / "cache"}
    url, files = f"sqlite:///{tmp_path}/store.db", f"file://{tmp_path}/files"
    with modeldb.connect(url, artifact_url=files, **settings) as found:
        yield found


@pytest.fixture
def app(program: Client) -> Iterator[Flask]:
    plugins = PluginManager()
    plugins.add(modeldb_v1, "modeldb_v1")
    made = create_app(program.store, program.artifacts, ServerSettings(port=0, actor="grace"), plugins=plugins)
    yield made
    made.extensions["modeldb_server"].close()


@pytest.fixture
def wire(app: Flask) -> Wire:
    return Wire(app.test_client())


@pytest.fixture
def asked(program: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that were called to read from the store, in order."""
    noted: list[str] = []

    def note(method: str) -> None:
        whole = getattr(type(program.store), method)

        def noting(*given: Any, **more: Any) -> Any:
            noted.append(method)
            return whole(*given, **more)

        monkeypatch.setattr(type(program.store), method, noting)

    for each in ("get", "find", "identify", "read_series"):
        note(each)
    return noted


# -- data sets --------------------------------------------------------------------------------------------------------


def make_dataset(wire: Wire, dataset_type: int, name: str = "train") -> str:
    made: str = wire("DatasetService.createDataset", {"name": name, "dataset_type": dataset_type})["dataset"]["id"]
    return made


def add(wire: Wire, dataset_id: str, dataset_type: int, info: dict[str, Any], **more: Any) -> dict[str, Any]:
    field = f"{('raw', 'path', 'query')[dataset_type]}_dataset_version_info"
    request = {"dataset_id": dataset_id, "dataset_type": dataset_type, field: info, **more}
    made: dict[str, Any] = wire("DatasetVersionService.createDatasetVersion", request)["dataset_version"]
    assert made == wire("DatasetVersionService.getDatasetVersionById", {"id": made["id"]})["dataset_version"]
    return made


PATH = {
    "location_type": "NETWORK_FILE_SYSTEM",
    "size": "7",
    "base_path": "/mnt/train",
    "dataset_part_infos": [
        {"path": "/mnt/train/z.csv", "size": "5", "checksum": "d41d8cd9", "last_modified_at_source": "1500000000000"},
        {"path": "/mnt/train/a.csv", "size": "2", "checksum": "aa"},
    ],
}
QUERY = {
    "query": "select * from t where x = 1",
    "query_template": "select * from t where x = ?",
    "query_parameters": [
        {"parameter_name": "x", "parameter_type": "NUMBER", "value": 1.0},
        {"parameter_name": "a", "value": "text"},
    ],
    "data_source_uri": "localhost:8080",
    "execution_timestamp": "1500000000123",
    "num_records": "10",
}
RAW = {"size": "9", "features": ["b", "a"], "num_records": "3", "object_path": "where/it/is", "checksum": "cc"}


@pytest.mark.parametrize(("dataset_type", "info"), [(0, RAW), (1, PATH), (2, QUERY)], ids=["raw", "path", "query"])
def test_content_comes_back_as_it_was_and_the_same_again_is_the_same_version(
    wire: Wire, dataset_type: int, info: dict[str, Any]
) -> None:
    dataset_id = make_dataset(wire, dataset_type)
    described = {"description": "what it is", "tags": ["b", "a"], "attributes": [{"key": "k", "value": {"x": [1.0]}}]}
    first = add(wire, dataset_id, dataset_type, info, **described)
    kind = ("RAW", "PATH", "QUERY")[dataset_type]
    field = f"{kind.lower()}_dataset_version_info"
    assert first[field] == info
    assert (first["version"], first["tags"], first["dataset_id"]) == ("1", ["b", "a"], dataset_id)
    assert first.get("dataset_type", "RAW") == kind
    assert first["attributes"] == [{"key": "k", "value": {"x": [1.0]}}]
    again = add(wire, dataset_id, dataset_type, info, description="said again")
    assert again == first
    changed = {**info, "num_records": "11"} if dataset_type != 1 else {**info, "base_path": "/mnt/other"}
    second = add(wire, dataset_id, dataset_type, changed)
    assert (second["version"], second["parent_id"]) == ("2", first["id"])
    assert add(wire, dataset_id, dataset_type, info, parent_id=first["id"])["id"] == first["id"]
    third = add(wire, dataset_id, dataset_type, info)
    assert (third["version"], third["parent_id"], third[field]) == ("3", second["id"], info)
    elsewhere = make_dataset(wire, dataset_type, "other")
    refused = {"dataset_id": elsewhere, "dataset_type": dataset_type, field: info, "parent_id": first["id"]}
    assert wire.code("DatasetVersionService.createDatasetVersion", refused) == NOT_FOUND
    wrong = {"dataset_id": dataset_id, "dataset_type": (dataset_type + 1) % 3}
    assert wire.code("DatasetVersionService.createDatasetVersion", wrong) == INVALID
    mixed = {
        "dataset_id": dataset_id,
        "dataset_type": dataset_type,
        f"{'raw' if dataset_type else 'path'}_dataset_version_info": {},
    }
    assert wire.code("DatasetVersionService.createDatasetVersion", mixed) == INVALID


def test_the_same_files_elsewhere_are_refused_and_parameters_may_have_one_name(wire: Wire) -> None:
    dataset_id = make_dataset(wire, 1)
    add(wire, dataset_id, 1, PATH)
    elsewhere = {**PATH, "location_type": "S3_FILE_SYSTEM"}
    request = {"dataset_id": dataset_id, "dataset_type": 1, "path_dataset_version_info": elsewhere}
    assert wire.code("DatasetVersionService.createDatasetVersion", request) == INVALID
    twice = {**QUERY, "query_parameters": [QUERY["query_parameters"][0]] * 2}  # type: ignore[index]
    made = add(wire, make_dataset(wire, 2, "q"), 2, twice)
    assert made["query_dataset_version_info"] == twice


def test_a_data_set_is_found_by_its_name_and_its_versions_go_with_it(wire: Wire) -> None:
    dataset_id = make_dataset(wire, 1)
    status, answer = wire.send("DatasetService.createDataset", {"name": "train", "dataset_type": 1})
    assert (status, answer["code"]) == (409, EXISTS)
    make_dataset(wire, 0, "Trained")
    for operator, word, count in ((6, "TRAIN", 2), (0, "train", 1), (1, "train", 1), (7, "ed", 1)):
        predicate = {"key": "name", "value": word, "operator": operator}
        found = wire("DatasetService.findDatasets", {"predicates": [predicate], "page_number": 1, "page_limit": 1})
        assert (found["total_records"], len(found["datasets"])) == (str(count), 1), (operator, word)
    found = wire("DatasetService.getDatasetByName", {"name": "train"})["dataset_by_user"]
    assert (found["id"], found["dataset_type"]) == (dataset_id, "PATH")
    version = add(wire, dataset_id, 1, PATH)
    wire("DatasetService.deleteDatasets", {"ids": [dataset_id]})
    assert wire.code("DatasetVersionService.getDatasetVersionById", {"id": version["id"]}) == NOT_FOUND
    assert wire.code("DatasetService.getDatasetByName", {"name": "train"}) == NOT_FOUND
    new_id = make_dataset(wire, 1)
    assert new_id != dataset_id
    assert add(wire, new_id, 1, PATH)["version"] == "1"


def test_versions_of_programs_of_ours_are_shown_and_theirs_are_read_by_ours(
    wire: Wire, program: Client, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2\n")
    ours = modeldb.log_dataset_version("ours", modeldb.path(tmp_path / "data"), client=program)
    shown = wire("DatasetVersionService.getDatasetVersionById", {"id": ours.version_id})["dataset_version"]
    info = shown["path_dataset_version_info"]
    assert (shown["version"], info["base_path"], info["size"]) == ("1", str(tmp_path / "data"), "4")
    assert [(each["path"], each["size"], len(each["checksum"])) for each in info["dataset_part_infos"]] == [
        ("a.csv", "4", 64)
    ]
    asked = modeldb.log_dataset_version(
        "asked", modeldb.query("select 1", source="db", parameters={"x": 1}), client=program
    )
    shown = wire("DatasetVersionService.getDatasetVersionById", {"id": asked.version_id})["dataset_version"]
    assert shown["query_dataset_version_info"]["query"] == "select 1"
    assert shown["query_dataset_version_info"]["query_parameters"] == [{"parameter_name": "x", "value": 1.0}]
    dataset_id = make_dataset(wire, 1, "theirs")
    parts = [{"path": "sub/b.csv", "size": "5", "checksum": SHA}, {"path": "a.csv", "size": "1", "checksum": SHA}]
    sent = {"base_path": "/x", "dataset_part_infos": parts}
    theirs = add(wire, dataset_id, 1, sent)
    assert theirs["path_dataset_version_info"] == sent
    read = modeldb.dataset("theirs", client=program).version("latest")
    assert (read.version, [location for location, _ in read.parts()]) == (1, ["a.csv", "sub/b.csv"])
    old = add(wire, make_dataset(wire, 1, "old"), 1, PATH)
    assert old["path_dataset_version_info"] == PATH
    fewer = {**PATH, "dataset_part_infos": PATH["dataset_part_infos"][:1]}  # type: ignore[index]
    add(wire, old["dataset_id"], 1, fewer)
    assert dict(modeldb.dataset("old", client=program).diff("v1", "v2").removed) == {"a.csv": 2}


def test_the_runs_that_used_a_data_set_are_asked_for_together(wire: Wire, asked: list[str]) -> None:
    dataset_id = make_dataset(wire, 0)
    versions = [add(wire, dataset_id, 0, {**RAW, "num_records": str(count)})["id"] for count in range(1, 13)]
    project = wire("ProjectService.createProject", {"name": "churn"})["project"]["id"]
    of: list[dict[str, str]] = []
    for name in ("old", "new"):
        made = wire("ExperimentService.createExperiment", {"project_id": project, "name": name})["experiment"]
        of.append({"project_id": project, "experiment_id": made["id"]})

    def run(number: int, used_id: str, experiment: dict[str, str]) -> str:
        used = {"key": "d", "linked_artifact_id": used_id, "path_only": True}
        loss = [{"attribute": {"key": "loss", "value": 1}, "timestamp": "5"}]
        request = {**experiment, "name": f"run {number}", "datasets": [used], "observations": loss}
        made = wire("ExperimentRunService.createExperimentRun", request)["experiment_run"]
        assert len(made["observations"]) == 1
        return str(made["id"])

    assert wire.code("DatasetService.getLastExperimentByDatasetId", {"dataset_id": dataset_id}) == NOT_FOUND
    used = [run(0, versions[0], of[1]), run(1, versions[11], of[1]), run(2, versions[5], of[0])]
    run(3, add(wire, make_dataset(wire, 0, "other"), 0, RAW)["id"], of[1])
    asked.clear()
    found = wire("DatasetService.getExperimentRunByDataset", {"dataset_id": dataset_id})["experiment_runs"]
    assert [each["id"] for each in found] == used[::-1]
    assert not any("observations" in each for each in found)
    assert asked == ["get", "find", "find"]
    last = wire("DatasetService.getLastExperimentByDatasetId", {"dataset_id": dataset_id})["experiment"]
    assert last["name"] == "old"
    wire("ExperimentService.deleteExperiment", {"id": of[0]["experiment_id"]})
    last = wire("DatasetService.getLastExperimentByDatasetId", {"dataset_id": dataset_id})["experiment"]
    assert last["name"] == "new"


# -- repositories -----------------------------------------------------------------------------------------------------


class Repo:
    """A repository as the original client has it."""

    def __init__(self, wire: Wire, repo_id: str) -> None:
        self.wire, self.at = wire, {"repository_id": {"repo_id": repo_id}}
        self.id = repo_id

    def __call__(self, method: str, **fields: Any) -> Any:
        return self.wire(f"VersioningService.{method}", {**self.at, **fields})

    def code(self, method: str, **fields: Any) -> int:
        return self.wire.code(f"VersioningService.{method}", {**self.at, **fields})

    def head(self, branch: str = "master") -> str:
        sha: str = self("GetBranch", branch=branch)["commit"]["commit_sha"]
        return sha

    def blobs(self, sha: str) -> dict[str, Any]:
        return {
            "/".join(each["location"]): each["blob"]
            for each in self("ListCommitBlobs", commit_sha=sha).get("blobs", ())
        }

    def save(self, blobs: dict[str, Any], *parents: str, branch: str = "", message: str = "a commit") -> str:
        listed = [{"location": location.split("/"), "blob": blob} for location, blob in blobs.items()]
        made = self("CreateCommit", commit={"message": message, "parent_shas": list(parents)}, blobs=listed)
        return self._moved(made["commit"]["commit_sha"], branch)

    def apply(self, base: str, diffs: list[Any], *others: str, branch: str = "") -> str:
        commit = {"message": "apply", "parent_shas": [base, *others]}
        return self._moved(
            self("CreateCommit", commit=commit, commit_base=base, diffs=diffs)["commit"]["commit_sha"], branch
        )

    def _moved(self, sha: str, branch: str) -> str:
        if branch:
            self("SetBranch", branch=branch, commit_sha=sha)
        return sha

    def diff(self, before: str, after: str, *prefix: str) -> list[Any]:
        found = self("ComputeRepositoryDiff", commit_a=before, commit_b=after, location_prefix=list(prefix))
        listed: list[Any] = found.get("diffs", [])
        return listed


@pytest.fixture
def repo(wire: Wire) -> Repo:
    named = {"named_id": {"workspace_name": "grace"}}
    made = wire("VersioningService.CreateRepository", {"id": named, "repository": {"name": "churn"}})
    return Repo(wire, made["repository"]["id"])


def test_a_client_commits_branches_tags_and_walks(wire: Wire, repo: Repo) -> None:
    named = {"named_id": {"workspace_name": "grace", "name": "churn"}}
    assert wire("VersioningService.GetRepository", {"id": named})["repository"]["id"] == repo.id
    assert wire.code("VersioningService.CreateRepository", {"id": named, "repository": {"name": "churn"}}) == EXISTS
    root = repo.head()
    first = repo("GetCommit", commit_sha=root)["commit"]
    assert (first["message"], len(root), "parent_shas" in first) == ("Initial commit", 64, False)
    assert repo.blobs(root) == {}
    assert repo("GetCommitComponent", commit_sha=root) == {}
    blobs = {"file-1": python("b", "a"), "a/file-2": config(lr=0.1), "a/b/file-4": {"code": {"git": {"repo": "r"}}}}
    sha = repo.save(blobs, root, branch="master")
    assert repo.head() == sha
    assert repo.blobs(sha) == blobs
    assert repo("GetCommit", commit_sha=sha)["commit"]["parent_shas"] == [root]
    assert repo("GetCommitComponent", commit_sha=sha)["folder"] == {
        "blobs": [{"element_name": "file-1"}],
        "sub_folders": [{"element_name": "a"}],
    }
    assert repo("GetCommitComponent", commit_sha=sha, location=["a", "file-2"])["blob"] == config(lr=0.1)
    assert repo.code("GetCommitComponent", commit_sha=sha, location=["b"]) == NOT_FOUND
    below = repo("ListCommitBlobs", commit_sha=sha, location_prefix=["a"])
    assert [each["location"] for each in below["blobs"]] == [["a", "b", "file-4"], ["a", "file-2"]]
    repo("SetTag", tag="v1", commit_sha=sha)
    status, answer = wire.send("VersioningService.SetTag", {**repo.at, "tag": "v1", "commit_sha": root})
    assert (status, answer["code"], "already exists" in answer["message"]) == (404, NOT_FOUND, True)
    assert repo("GetTag", tag="v1")["commit"]["commit_sha"] == sha
    repo("SetBranch", branch="back", commit_sha=root)
    repo("SetBranch", branch="master", commit_sha=root)
    assert (repo.head(), repo("ListBranches")["branches"]) == (root, ["back", "master"])
    assert repo.code("SetBranch", branch="master", commit_sha="0" * 64) == NOT_FOUND


def test_a_client_merges_and_reverts_by_sending_what_differs(repo: Repo) -> None:
    base = repo.save({"env": python("a", "b"), "config": config(lr=0.1, batch=8)}, repo.head(), branch="master")
    ours = repo.save({"env": python("a", "b", "c"), "config": config(lr=0.2, batch=8)}, base)
    theirs = repo.save({"env": python("b"), "config": config(lr=0.1, batch=16), "new": config(x=1)}, base, branch="try")
    diff = repo.diff(base, theirs)
    assert [(each["location"], each["status"]) for each in diff] == [
        (["new"], "ADDED"),
        (["config"], "MODIFIED"),
        (["env"], "MODIFIED"),
    ]
    assert diff[1]["config"] == {
        "hyperparameters": {
            "A": [{"name": "batch", "value": value(8.0)}],
            "B": [{"name": "batch", "value": value(16.0)}],
        }
    }
    merged = repo.apply(ours, diff, theirs, branch="master")
    assert repo.blobs(merged) == {"env": python("b", "c"), "config": config(lr=0.2, batch=16), "new": config(x=1)}
    assert repo("GetCommit", commit_sha=merged)["commit"]["parent_shas"] == [ours, theirs]
    listed = repo("ListBranchCommits", branch="master")
    assert (listed["total_records"], listed["commits"][0]["commit_sha"]) == ("5", merged)
    page = repo("ListBranchCommits", branch="master", pagination={"page_number": 2, "page_limit": 2})
    assert page["commits"] == listed["commits"][2:4]
    reverted = repo.apply(merged, repo.diff(merged, ours), branch="master")
    assert repo.diff(reverted, ours) == []
    assert repo.diff(merged, ours, "new")[0]["status"] == "DELETED"
    of_another_kind = repo.save({"config": python("a")}, base)
    assert [each["status"] for each in repo.diff(base, of_another_kind)] == ["DELETED", "DELETED", "ADDED"]
    assert repo.blobs(repo.apply(base, repo.diff(base, of_another_kind))) == {"config": python("a")}
    everything = repo("ListCommits")
    assert int(everything["total_records"]) == len(everything["commits"]) == 8
    from_ours = repo("ListCommits", commit_base=ours, commit_head=merged)["commits"]
    assert [each["commit_sha"] for each in from_ours] == [merged, theirs, ours]
    modified = [each for each in diff if each["location"] == ["env"]]
    first = repo("ListBranchCommits", branch="master")["commits"][-1]["commit_sha"]
    refused = {"commit": {"message": "m"}, "commit_base": first, "diffs": modified}
    assert repo.code("CreateCommit", **refused) == NOT_FOUND


WRONG: list[dict[str, Any]] = [
    {"commit": {"message": "", "parent_shas": ["first"]}},
    {"commit": {"message": "m"}},
    {"commit": {"message": "m", "parent_shas": ["first"]}, "blobs": []},
    {"commit_base": "first"},
    {"blobs": [{"location": [], "blob": config(a=1)}]},
    {"blobs": [{"location": ["a/b"], "blob": config(a=1)}]},
    {"blobs": [{"location": ["a"], "blob": {}}]},
    {"blobs": [{"location": ["a"], "blob": config(a=1)}, {"location": ["a"], "blob": config(a=2)}]},
    {"blobs": [{"location": ["a"], "blob": config(a=1)}, {"location": ["a", "b"], "blob": config(a=2)}]},
    {"blobs": [{"location": ["a"], "blob": {"dataset": {"path": {"components": [{"path": ""}]}}}}]},
    {"blobs": [], "commit_base": "first", "diffs": [{"location": ["a"]}]},
]


def test_a_commit_that_says_nothing_or_too_much_is_refused(repo: Repo) -> None:
    first = repo.head()
    good = {
        "commit": {"message": "m", "parent_shas": [first]},
        "blobs": [{"location": ["a"], "blob": config(a=1)}],
    }
    for wrong in WRONG:
        said = {name: _with(first, given) for name, given in {**good, **wrong}.items()}
        assert repo.code("CreateCommit", **said) == INVALID, wrong
    assert repo("ListCommits")["total_records"] == "1"


def _with(first: str, given: Any) -> Any:
    if isinstance(given, dict):
        return {name: _with(first, each) for name, each in given.items()}
    return [_with(first, each) for each in given] if isinstance(given, list) else first if given == "first" else given


def test_a_deleted_commit_takes_branches_along_and_may_have_children(repo: Repo) -> None:
    first = repo.head()
    parent = repo.save({"a": config(x=1)}, first, branch="master")
    repo("SetTag", tag="v1", commit_sha=parent)
    child = repo.save({"a": config(x=2)}, parent, branch="later")
    repo("DeleteCommit", commit_sha=parent)
    assert repo.code("GetBranch", branch="master") == NOT_FOUND
    assert repo.code("GetTag", tag="v1") == NOT_FOUND
    assert repo.code("GetCommit", commit_sha=parent) == NOT_FOUND
    assert repo("GetCommit", commit_sha=child)["commit"]["parent_shas"] == [parent]
    listed = repo("ListBranchCommits", branch="later")["commits"]
    assert [each["commit_sha"] for each in listed] == [child, first]
    assert repo.code("CreateCommit", commit={"message": "m", "parent_shas": [parent]}, blobs=[]) == INVALID
    repo("DeleteCommit", commit_sha=child)
    repo("DeleteRepository")
    assert repo.code("ListCommits") == NOT_FOUND


def test_what_programs_of_ours_commit_is_shown_and_stays_when_it_is_sent_back(
    wire: Wire, program: Client, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1,2\n")
    native = program.repository("native")
    with native.commit("first", branch="main") as commit:
        commit["config"] = {"lr": 0.1, "optimizer": {"name": "adam", "on": True}}
        commit["data"] = modeldb.path(tmp_path / "data", keep=True)
        commit["env"] = modeldb.python_environment(variables={"MODE": "fast"})
        commit["search"] = modeldb.configuration(ranges={"lr": (0.001, 0.1)})
    repo = Repo(wire, str(number_of(native.repository_id)))
    head = repo.head("main")
    shown = repo.blobs(head)
    assert shown["config"]["config"]["hyperparameters"][1] == {
        "name": "optimizer",
        "value": {"string_value": '{"name":"adam","on":true}'},
    }
    (component,) = shown["data"]["dataset"]["path"]["components"]
    assert (component["path"], component["size"]) == (f"{tmp_path}/data/a.csv", "4")
    assert repo.diff(head, repo.save(shown, head)) == []
    shown["config"]["config"]["hyperparameters"][0]["value"] = value(0.5)
    shown["env"]["environment"]["environment_variables"] = [{"name": "MODE", "value": "slow"}]
    changed = repo.save(shown, head, branch="main")
    native = program.repository("native")
    before, after = native["main~"], native["main"]
    assert after["config"].content == {"hyperparameters": {"lr": 0.5, "optimizer": {"name": "adam", "on": True}}}
    assert after["env"].content == {**before["env"].content, "variables": {"MODE": "slow"}}
    assert (after["data"], after["search"]) == (before["data"], before["search"])
    assert (after.checkout(tmp_path / "out") / "data" / "a.csv").read_text() == "1,2\n"
    moved = repo.apply(head, repo.diff(head, changed))
    assert repo.diff(changed, moved) == []
    assert native[moved]["config"] == after["config"]


def test_labels_are_tags_of_repositories_and_commits(wire: Wire, repo: Repo) -> None:
    commit = {"id_type": "VERSIONING_COMMIT", "string_id": repo.head()}
    for of in (commit, {"id_type": "VERSIONING_REPOSITORY", "int_id": repo.id}):
        wire("MetadataService.AddLabels", {"id": of, "labels": ["b", "a"]})
        assert wire.code("MetadataService.AddLabels", {"id": of, "labels": ["c", "a"]}) == EXISTS
        wire("MetadataService.DeleteLabels", {"id": of, "labels": ["b", "x"]})
        assert wire("MetadataService.GetLabels", {"id": of}) == {"labels": ["a"]}


def test_lineage_is_said_asked_and_taken_back(wire: Wire) -> None:
    one, other, third = (add(wire, make_dataset(wire, 0, name), 0, RAW)["id"] for name in ("one", "other", "third"))
    entry = {each: {"type": "DATASET_VERSION", "external_id": each} for each in (one, other, third)}
    wire("LineageService.addLineage", {"input": [entry[one]], "output": [entry[other], entry[third]]})
    found = wire("LineageService.findAllInputsOutputs", {"items": [entry[one], entry[other]]})
    assert found["inputs"] == [{}, {"items": [entry[one]]}]
    assert sorted(each["external_id"] for each in found["outputs"][0]["items"]) == sorted([other, third])
    assert wire("LineageService.findAllInputs", {"items": [entry[third]]})["inputs"] == [{"items": [entry[one]]}]
    assert wire.code("LineageService.addLineage", {"input": [entry[other]], "output": [entry[one]]}) == 9
    nowhere = {"type": "EXPERIMENT_RUN", "external_id": one}
    assert wire.code("LineageService.addLineage", {"input": [nowhere], "output": [entry[one]]}) == INVALID
    wire("LineageService.deleteLineage", {"input": [entry[one]], "output": [entry[other]]})
    wire("LineageService.deleteLineage", {"input": [entry[one]], "output": [entry[other]]})
    found = wire("LineageService.findAllOutputs", {"items": [entry[one]]})
    assert found["outputs"] == [{"items": [entry[third]]}]


def test_a_run_records_the_commit_that_it_was_given(wire: Wire, program: Client, repo: Repo) -> None:
    sha = repo.save({"data/1": config(x=1), "env": python("a")}, repo.head())
    project = wire("ProjectService.createProject", {"name": "churn"})["project"]["id"]
    experiment = wire("ExperimentService.createExperiment", {"project_id": project, "name": "e"})["experiment"]["id"]
    made = wire(
        "ExperimentRunService.createExperimentRun", {"project_id": project, "experiment_id": experiment, "name": "r"}
    )
    used = {"repository_id": repo.id, "commit": sha, "key_location_map": {"my machine": {"location": ["data", "1"]}}}
    of = {"id": made["experiment_run"]["id"]}
    assert wire("ExperimentRunService.getVersionedInputs", of) == {}
    wire("ExperimentRunService.logVersionedInput", {**of, "versioned_inputs": used})
    assert wire("ExperimentRunService.getVersionedInputs", of) == {"versioned_inputs": used}
    native = program.store.get("run", of["id"])
    assert native.document["commits"]["churn"]["locations"] == {"my machine": "data/1"}
    for wrong, code in (
        ({"repository_id": "1"}, NOT_FOUND),
        ({"commit": "f" * 64}, NOT_FOUND),
        ({"key_location_map": {}}, INVALID),
        ({"key_location_map": {"a": {"location": ["nothing"]}}}, INVALID),
    ):
        refused = {**of, "versioned_inputs": {**used, **wrong}}
        assert wire.code("ExperimentRunService.logVersionedInput", refused) == code


def test_a_list_asks_the_store_as_often_however_long_it_is(wire: Wire, repo: Repo, asked: list[str]) -> None:
    project = wire("ProjectService.createProject", {"name": "of runs"})["project"]["id"]
    experiment = wire("ExperimentService.createExperiment", {"project_id": project, "name": "e"})["experiment"]["id"]
    dataset_id = make_dataset(wire, 0)
    head = repo.head()
    lists: list[tuple[str, dict[str, Any]]] = [
        ("ProjectService.getProjects", {}),
        ("ExperimentService.getExperimentsInProject", {"project_id": project}),
        ("ExperimentRunService.getExperimentRunsInProject", {"project_id": project}),
        ("DatasetService.getAllDatasets", {}),
        ("DatasetVersionService.getAllDatasetVersionsByDatasetId", {"dataset_id": dataset_id}),
        ("VersioningService.ListRepositories", {}),
        ("VersioningService.ListCommits", repo.at),
        ("VersioningService.ListBranchCommits", {**repo.at, "branch": "master"}),
    ]
    questions: list[list[list[str]]] = []
    for number in range(6):
        elsewhere = {"workspace_name": "elsewhere"}
        wire("ProjectService.createProject", {"name": f"p {number}", **elsewhere})
        wire("DatasetService.createDataset", {"name": f"d {number}", **elsewhere})
        wire("ExperimentService.createExperiment", {"project_id": project, "name": f"e {number}"})
        loss = [{"attribute": {"key": "loss", "value": 1}, "timestamp": "5"}]
        run = {"project_id": project, "experiment_id": experiment, "name": f"r {number}", "observations": loss}
        wire("ExperimentRunService.createExperimentRun", run)
        add(wire, dataset_id, 0, {**RAW, "num_records": str(number + 1)})
        named = {"id": {"named_id": elsewhere}, "repository": {"name": f"repo {number}"}}
        wire("VersioningService.CreateRepository", named)
        head = repo.save({"a": config(x=number)}, head, branch="master")
        questions.append([])
        for name, request in lists:
            asked.clear()
            wire(name, request)
            questions[-1].append(list(asked))
    assert questions[-1] == questions[0]


def test_a_page_of_commits_or_blobs_reads_what_it_shows(
    app: Flask, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = full = repo.save({f"d/{number:03}": config(x=number) for number in range(60)}, repo.head(), branch="master")
    for number in range(20):
        head = repo.save({f"e/{number}": config(x=number)}, head, branch="master")
    whole = repo("ListBranchCommits", branch="master")
    blobs = repo("ListCommitBlobs", commit_sha=full)
    context = app.extensions["modeldb_server"]
    read, opened = [], []
    for name in ("find", "get"):
        method = getattr(context.whole_store, name)

        def counting(*given: Any, _method: Any = method, **more: Any) -> Any:
            found = _method(*given, **more)
            read.extend(getattr(found, "entities", [found]))
            return found

        monkeypatch.setattr(context.whole_store, name, counting)
    open_blob = context.artifacts.open
    monkeypatch.setattr(context.artifacts, "open", lambda digest: opened.append(digest) or open_blob(digest))
    for page in (1, 3, 11):
        read.clear()
        paged = repo("ListBranchCommits", branch="master", pagination={"page_number": page, "page_limit": 2})
        assert (paged["total_records"], paged["commits"]) == ("22", whole["commits"][2 * page - 2 : 2 * page])
        assert (
            len([each for each in read if isinstance(each, Commit)]) <= 2 + 6
        )  # and the head, one with the count, parents
        opened.clear()
        listed = repo("ListCommitBlobs", commit_sha=full, pagination={"page_number": page, "page_limit": 2})
        assert (listed["total_records"], listed["blobs"]) == ("60", blobs["blobs"][2 * page - 2 : 2 * page])
        assert len(opened) < 10
    below = {"location_prefix": ["d"], "pagination": {"page_number": 2, "page_limit": 3}}
    listed = repo("ListCommitBlobs", commit_sha=full, **below)
    assert (listed["total_records"], listed["blobs"]) == ("60", blobs["blobs"][3:6])


# -- several at once --------------------------------------------------------------------------------------------------


def test_eight_at_once_make_versions_and_commits_and_nothing_is_lost(app: Flask, wire: Wire, repo: Repo) -> None:
    dataset_id, root = make_dataset(wire, 0), repo.head()
    statuses: list[int] = []
    named = {"named_id": {"workspace_name": "grace"}}

    def make(number: int) -> tuple[dict[str, Any], dict[str, Any], str]:
        own = Wire(app.test_client())
        statuses.append(own.send("VersioningService.CreateRepository", {"id": named, "repository": {"name": "one"}})[0])
        alone = add(own, dataset_id, 0, {**RAW, "num_records": str(number + 1)})
        alike = add(own, dataset_id, 0, {**RAW, "num_records": "100"}) if number < 2 else alone
        sha = Repo(own, repo.id).save({"a": config(x=number)}, root, branch="master", message=f"commit {number}")
        return alone, alike, sha

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert sorted(statuses) == [200, *[409] * 7]
    numbers = sorted(int(each["version"]) for pair in made for each in pair[:2])
    assert sorted({int(each["version"]) for pair in made for each in pair[:2]}) == list(range(1, max(numbers) + 1))
    assert len({pair[0]["id"] for pair in made}) == 8
    commits = repo("ListCommits")["commits"]
    assert {each["commit_sha"] for each in commits} == {root, *(sha for *_, sha in made)}
    assert repo.head() in {sha for *_, sha in made}
