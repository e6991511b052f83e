"""A whole session as the original Python client has it: over a socket, in its wire shapes, reading answers as it reads them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from modeldb_server import Server
from tests.v1.conftest import READ_TOKEN, WRITE_TOKEN, made_app

ROOT = "/api/v1/modeldb"


class HTTPError(Exception):
    """What ``raise_for_http_error`` raises: it reads ``message`` and ``code`` of the answer."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        said = response.json()
        super().__init__(f"{response.status}: {said['message']}")
        self.status, self.code = response.status, said["code"]
        assert isinstance(self.code, int)


class Client:
    """The original client's connection: every field of a request is sent, integers of 64 bits as texts, enums as numbers."""

    def __init__(self, url: str, token: str) -> None:
        user, _, key = token.partition(":")
        self.url, self.http = url, urllib3.PoolManager(retries=False)
        self.headers = {
            "Grpc-Metadata-email": user,
            "Grpc-Metadata-developer_key": key,
            "Grpc-Metadata-source": "PythonClient",
            "Grpc-Metadata-scheme": "http",
        }

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Make a call and return its answer."""
        texts = {name: value if isinstance(value, list) else str(value) for name, value in query.items()}
        address = f"{self.url}{ROOT}/{path}" + (f"?{urlencode(texts, doseq=True)}" if texts else "")
        options: dict[str, Any] = {"headers": dict(self.headers)}
        if body is not None:
            options["body"] = json.dumps(body).encode()
            options["headers"]["Content-Type"] = "application/json"
        response = self.http.request(method, address, **options)
        if response.status != 200:
            raise HTTPError(response)
        return response.json()

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, **query)

    def post(self, path: str, **body: Any) -> Any:
        return self.request("POST", path, body)

    def delete(self, path: str, **body: Any) -> Any:
        return self.request("DELETE", path, body)

    def put_file(self, url: str, content: bytes) -> None:
        """Send bytes as they are: no media type."""
        response = self.http.request("PUT", url, body=content, headers=self.headers)
        assert response.status == 200, response.data

    def get_file(self, url: str) -> bytes:
        response = self.http.request("GET", url, headers=self.headers)
        assert response.status == 200, response.data
        return response.data


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tokens = {"tokens": (WRITE_TOKEN,), "read_tokens": (READ_TOKEN,)}
    app, parts = made_app(tmp_path_factory.mktemp("client"), **tokens, max_upload_bytes=3_000_000)
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    assert server.wait(30)
    thread.join(30)
    for part in parts:
        part.close()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.url, WRITE_TOKEN)


def value(key: str, it: Any) -> dict[str, Any]:
    return {"key": key, "value": it, "value_type": 0}


def values_of(answer: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in answer}  # without "value" this client has always failed


@pytest.fixture(scope="module")
def project_id(client: Client) -> str:
    body = {
        "name": "Proj 1",
        "description": "",
        "attributes": [],
        "tags": [],
        "readme_text": "",
        "project_visibility": 0,
    }
    made = client.post("project/createProject", **body, artifacts=[], workspace_name="", date_created="0")
    return str(made["project"]["id"])


@pytest.fixture(scope="module")
def experiment_id(client: Client, project_id: str) -> str:
    body = {"name": "Expt", "description": "", "date_created": "0", "date_updated": "0", "attributes": [], "tags": []}
    made = client.post("experiment/createExperiment", project_id=project_id, **body, artifacts=[])
    assert made["experiment"]["project_id"] == project_id
    return str(made["experiment"]["id"])


@pytest.fixture
def run_id(client: Client, project_id: str, experiment_id: str, request: pytest.FixtureRequest) -> str:
    return new_run(client, project_id, experiment_id, request.node.name)


def new_run(client: Client, project_id: str, experiment_id: str, name: str, **more: Any) -> str:
    fields = ("tags", "attributes", "hyperparameters", "artifacts", "datasets", "metrics", "observations", "features")
    times = dict.fromkeys(("date_created", "date_updated", "start_time", "end_time"), "0")
    body = {"id": "", "description": "", "code_version": "", "parent_id": "", **times, **{each: [] for each in fields}}
    made = client.post(
        "experiment-run/createExperimentRun",
        project_id=project_id,
        experiment_id=experiment_id,
        name=name,
        **{**body, **more},
    )
    return str(made["experiment_run"]["id"])


def test_containers_are_made_once_and_found_again_by_name(client: Client, project_id: str, experiment_id: str):
    assert client.get("project/verifyConnection") == {"status": True}
    with pytest.raises(HTTPError) as caught:
        client.post("project/createProject", name="Proj 1")
    assert (caught.value.status, caught.value.code) == (409, 6)
    found = client.get("project/getProjectByName", name="Proj 1", workspace_name="")
    assert found["project_by_user"]["id"] == project_id
    with pytest.raises(HTTPError) as caught:
        client.post("experiment/createExperiment", project_id=project_id, name="Expt")
    assert (caught.value.status, caught.value.code) == (409, 6)
    found = client.get("experiment/getExperimentByName", project_id=project_id, name="Expt")
    assert found["experiment"]["id"] == experiment_id
    run_id = new_run(client, project_id, experiment_id, "Run")
    with pytest.raises(HTTPError) as caught:
        new_run(client, project_id, experiment_id, "Run")
    assert (caught.value.status, caught.value.code) == (409, 6)
    found = client.get("experiment-run/getExperimentRunByName", experiment_id=experiment_id, name="Run")
    assert found["experiment_run"]["id"] == run_id
    client.delete("experiment-run/deleteExperimentRun", id=run_id)
    with pytest.raises(HTTPError) as caught:
        client.get("experiment-run/getExperimentRunById", id=run_id)
    assert (caught.value.status, caught.value.code) == (404, 5)
    assert new_run(client, project_id, experiment_id, "Run") != run_id


SECTIONS = (("metric", "logMetric", "getMetrics"), ("hyperparameter", "logHyperparameter", "getHyperparameters"))
LOGGED: dict[str, Any] = {
    "none": None,
    "yes": True,
    "whole": 7,
    "half": 0.5,
    "tiny": -1e-30,
    "text": "Grüße",
    "map": {"a": [1, None, "x"]},
}


@pytest.mark.parametrize(("field", "log", "get"), [*SECTIONS, ("attribute", "logAttribute", "getAttributes")])
def test_values_come_back_as_they_were_logged_and_are_logged_once(
    client: Client, run_id: str, field: str, log: str, get: str
):
    for key, it in LOGGED.items():
        assert client.post(f"experiment-run/{log}", id=run_id, **{field: value(key, it)}) == {}
    options = {"attribute_keys": [], "get_all": True} if field == "attribute" else {}
    assert values_of(client.get(f"experiment-run/{get}", id=run_id, **options)[f"{field}s"]) == LOGGED
    for key in LOGGED:
        with pytest.raises(HTTPError) as caught:
            client.post(f"experiment-run/{log}", id=run_id, **{field: value(key, "another")})
        assert (caught.value.status, caught.value.code) == (409, 6), key
    batch = [value("new", 1), value("half", 2)]
    with pytest.raises(HTTPError) as caught:
        client.post(f"experiment-run/{log}s", id=run_id, **{f"{field}s": batch})
    assert caught.value.status == 409
    client.post(f"experiment-run/{log}s", id=run_id, **{f"{field}s": batch[:1]})  # nothing of the batch was written
    shown = client.get("experiment-run/getExperimentRunById", id=run_id)["experiment_run"]
    assert list(values_of(shown[f"{field}s"])) == [*LOGGED, "new"]


def test_observations_are_series_whose_keys_repeat(client: Client, run_id: str):
    said = [
        ("loss", 1.0, "1000"),
        ("loss", 0.5, "2000"),
        ("loss", 0.5, "2000"),
        ("words", "up", "5"),
        ("loss", None, "1500"),
    ]
    for key, it, timestamp in said:
        client.post(
            "experiment-run/logObservation",
            id=run_id,
            observation={"attribute": value(key, it), "timestamp": timestamp},
        )
    many = [{"attribute": value("loss", step), "timestamp": str(3000 + step)} for step in range(3)]
    client.post("experiment-run/logObservations", id=run_id, observations=many)
    shown = client.get("experiment-run/getObservations", id=run_id, observation_key="loss")["observations"]
    assert [(each["attribute"]["value"], each["timestamp"]) for each in shown] == [
        *((1, "1000"), (None, "1500"), (0.5, "2000"), (0.5, "2000")),
        *((0, "3000"), (1, "3001"), (2, "3002")),
    ]
    shown = client.get("experiment-run/getObservations", id=run_id, observation_key="words")["observations"]
    assert [each["attribute"]["value"] for each in shown] == ["up"]
    assert client.get("experiment-run/getObservations", id=run_id, observation_key="never") == {}
    run = client.get("experiment-run/getExperimentRunById", id=run_id)["experiment_run"]
    assert len(run["observations"]) == 8
    assert "metrics" not in run


def test_a_long_text_that_was_observed_comes_back_whole(client: Client, run_id: str):
    text = "long " * 20_000
    observation = {"attribute": value("log", text), "timestamp": "5"}
    client.post("experiment-run/logObservation", id=run_id, observation=observation)
    (shown,) = client.get("experiment-run/getObservations", id=run_id, observation_key="log")["observations"]
    assert shown["attribute"]["value"] == text
    run = client.get("experiment-run/getExperimentRunById", id=run_id)["experiment_run"]
    assert run["observations"] == [shown]


def test_many_observations_come_in_one_request(client: Client, run_id: str):
    """The client's TensorBoard integration sends all there are, and does not look at the answer."""
    many = [
        {"timestamp": 1_600_000_000_000 + at, "attribute": {"key": "loss", "value": 1 / (at + 3)}}
        for at in range(14_000)
    ]
    assert client.post("experiment-run/logObservations", id=run_id, observations=many) == {}
    shown = client.get("experiment-run/getObservations", id=run_id, observation_key="loss")["observations"]
    assert [each["attribute"]["value"] for each in shown] == [each["attribute"]["value"] for each in many]


def test_tags_are_a_set_in_the_order_of_their_coming(client: Client, run_id: str):
    client.post("experiment-run/addExperimentRunTags", id=run_id, tags=["b", "a", "b"])
    answer = client.post("experiment-run/addExperimentRunTags", id=run_id, tags=["a", "c"])
    assert answer["experiment_run"]["tags"] == ["b", "a", "c"]
    client.delete("experiment-run/deleteExperimentRunTag", id=run_id, tag="a")
    assert client.get("experiment-run/getExperimentRunTags", id=run_id) == {"tags": ["b", "c"]}
    client.delete("experiment-run/deleteExperimentRunTags", id=run_id, tags=[], delete_all=True)
    assert client.get("experiment-run/getExperimentRunTags", id=run_id) == {}
    for wrong in ("", "x" * 41):
        with pytest.raises(HTTPError) as caught:
            client.post("experiment-run/addExperimentRunTags", id=run_id, tags=[wrong])
        assert (caught.value.status, caught.value.code) == (400, 3)


@pytest.mark.parametrize("size", [0, 4, 2_000_000])
def test_artifacts_are_put_and_got_where_the_server_says(client: Client, run_id: str, size: int):
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    digest = hashlib.sha256(content).hexdigest()
    described = {"key": "model", "path": f"{digest}/model.pkl", "path_only": False, "artifact_type": 1}
    described |= {"linked_artifact_id": "", "filename_extension": "pkl"}
    client.delete(
        "experiment-run/deleteArtifact", id=run_id, key="model"
    )  # as with overwrite=True, before there is any
    assert client.post("experiment-run/logArtifact", id=run_id, artifact=described) == {}
    asked = {"id": run_id, "key": "model", "artifact_type": 0}
    client.put_file(client.post("experiment-run/getUrlForArtifact", **asked, method="PUT")["url"], content)
    url = client.post("experiment-run/getUrlForArtifact", **asked, method="GET")["url"]
    assert digest not in url
    assert client.get_file(url) == content
    (shown,) = client.get("experiment-run/getArtifacts", id=run_id, key="model")["artifacts"]
    assert shown == {**{k: it for k, it in described.items() if it}, "artifact_type": "MODEL"}
    with pytest.raises(HTTPError) as caught:
        client.post("experiment-run/logArtifact", id=run_id, artifact=described)
    assert caught.value.status == 409
    client.delete("experiment-run/deleteArtifact", id=run_id, key="model")
    with pytest.raises(HTTPError) as caught:
        client.get("experiment-run/getArtifacts", id=run_id, key="model")
    assert (caught.value.status, caught.value.code) == (404, 5)
    assert client.http.request("GET", url, headers=client.headers).status == 404


def test_a_key_of_no_file_is_missing_in_the_answer_while_there_are_other_files(client: Client, run_id: str):
    client.post(
        "experiment-run/logArtifact", id=run_id, artifact={"key": "there", "path": "x/there", "path_only": True}
    )
    shown = client.get("experiment-run/getArtifacts", id=run_id, key="missing")
    assert shown == {}  # of which the client makes a KeyError


def test_files_are_limited_and_belong_to_those_who_may_see_the_run(server: Server, client: Client, run_id: str):
    client.post("experiment-run/logArtifact", id=run_id, artifact={"key": "big", "path": "x/big", "artifact_type": 4})
    url = client.post("experiment-run/getUrlForArtifact", id=run_id, key="big", method="PUT", artifact_type=0)["url"]
    refused = client.http.request("PUT", url, body=b"x" * 3_000_001, headers=client.headers)
    assert (refused.status, refused.json()["code"]) == (413, 3)
    assert client.http.request("PUT", url, body=b"x").status == 401
    reader = Client(server.url, READ_TOKEN)
    assert client.http.request("PUT", url, body=b"x", headers=reader.headers).status == 403
    for path in (
        "../../etc/passwd",
        "run/" + run_id,
        f"run/{run_id}/attributes/x",
        f"run/{run_id}/artifacts/none",
        "a/b/c/d",
    ):
        for method, action in (("GET", "getArtifact"), ("PUT", "storeArtifact")):
            address = f"{server.url}/api/v1/artifact/{action}?{urlencode({'artifact_path': path})}"
            answer = client.http.request(
                method, address, body=b"x" if method == "PUT" else None, headers=client.headers
            )
            assert answer.status in (400, 404), path
            assert answer.json()["code"] in (3, 5)


@pytest.mark.parametrize("kind", ["project", "experiment", "experiment-run"])
def test_code_versions_are_logged_once(client: Client, project_id: str, experiment_id: str, run_id: str, kind: str):
    name = {"project": "Project", "experiment": "Experiment", "experiment-run": "ExperimentRun"}[kind]
    owner = {"project": project_id, "experiment": experiment_id, "experiment-run": run_id}[kind]
    assert client.get(f"{kind}/get{name}CodeVersion", id=owner) == {}
    git = {"filepaths": ["a.py", "b.py"], "repo": "git@host:x.git", "hash": "a" * 40, "is_dirty": 1}
    more = {"overwrite": False} if kind == "experiment-run" else {}
    archive = {"path": "beef/code.zip", "artifact_type": 6, "filename_extension": "zip", "key": "", "path_only": False}
    archived = {"code_archive": {**archive, "linked_artifact_id": ""}, "date_logged": "1234"}
    client.post(f"{kind}/log{name}CodeVersion", id=owner, code_version=archived, **more)
    with pytest.raises(HTTPError) as caught:
        client.post(f"{kind}/log{name}CodeVersion", id=owner, code_version={"git_snapshot": git}, **more)
    assert (caught.value.status, caught.value.code) == (409, 6)
    shown = client.get(f"{kind}/get{name}CodeVersion", id=owner)["code_version"]
    assert (shown["code_archive"]["path"], shown["date_logged"]) == ("beef/code.zip", "1234")
    asked = {"id": owner, "key": "verta_code_archive", "artifact_type": 6}
    client.put_file(client.post(f"{kind}/getUrlForArtifact", **asked, method="PUT")["url"], b"PK zip")
    assert client.get_file(client.post(f"{kind}/getUrlForArtifact", **asked, method="GET")["url"]) == b"PK zip"
    if kind == "experiment-run":
        client.post(
            f"{kind}/log{name}CodeVersion",
            id=owner,
            code_version={"git_snapshot": git, "date_logged": "9"},
            overwrite=True,
        )
        shown = client.get(f"{kind}/get{name}CodeVersion", id=owner)["code_version"]
        assert shown == {"git_snapshot": {**git, "is_dirty": "TRUE"}, "date_logged": "9"}


def test_a_run_is_cloned_with_all_that_it_holds(client: Client, project_id: str, experiment_id: str):
    whole = {
        "description": "d",
        "tags": ["t"],
        "attributes": [value("a", None)],
        "hyperparameters": [value("h", [1, "x"])],
        "metrics": [value("m", 0.5)],
        "observations": [{"attribute": value("loss", 2), "timestamp": "7"}],
        "artifacts": [{"key": "k", "path": "p/k", "artifact_type": 0}],
        "datasets": [
            {
                "key": "train",
                "path": "See attached",
                "path_only": True,
                "artifact_type": 3,
                "linked_artifact_id": "none",
            }
        ],
        "features": [{"name": "age"}, {"name": "a b"}],
        "code_version": "v1.2",
        "code_version_snapshot": {"git_snapshot": {"hash": "c" * 40, "is_dirty": 2}, "date_logged": "3"},
        "start_time": "1500000000000",
        "end_time": "1500000001000",
    }
    run_id = new_run(client, project_id, experiment_id, "clone", **whole)
    shown = client.get("experiment-run/getExperimentRunById", id=run_id)["experiment_run"]
    assert (shown["project_id"], shown["experiment_id"], shown["name"]) == (project_id, experiment_id, "clone")
    assert (shown["start_time"], shown["end_time"]) == (whole["start_time"], whole["end_time"])
    assert [shown[name] for name in ("description", "tags", "features", "code_version")] == [
        "d",
        ["t"],
        [{"name": "age"}, {"name": "a b"}],
        "v1.2",
    ]
    assert values_of(shown["attributes"]) == {"a": None}
    assert values_of(shown["hyperparameters"]) == {"h": [1, "x"]}
    assert values_of(shown["metrics"]) == {"m": 0.5}
    assert shown["observations"] == [
        {"attribute": {"key": "loss", "value": 2, "value_type": "NUMBER"}, "timestamp": "7"}
    ]
    assert shown["artifacts"] == [{"key": "k", "path": "p/k"}]
    assert shown["datasets"][0]["linked_artifact_id"] == "none"
    assert shown["code_version_snapshot"]["git_snapshot"] == {"hash": "c" * 40, "is_dirty": "FALSE"}
    client.post("experiment-run/logMetric", id=run_id, metric=value("after", 1))  # this client ends no run


def test_a_run_with_an_observation_that_cannot_be_is_not_created(client: Client, project_id: str, experiment_id: str):
    good = {"attribute": value("loss", 2), "timestamp": "7"}
    for wrong in ({"artifact": {"key": "k", "path": "p/k"}}, {"attribute": value("", 1)}):
        with pytest.raises(HTTPError) as caught:
            new_run(client, project_id, experiment_id, "observed", observations=[good, wrong])
        assert (caught.value.status, caught.value.code) == (400, 3)
        with pytest.raises(HTTPError) as caught:
            client.get("experiment-run/getExperimentRunByName", experiment_id=experiment_id, name="observed")
        assert (caught.value.status, caught.value.code) == (404, 5)
    new_run(client, project_id, experiment_id, "observed", observations=[good])


def test_a_workspace_that_is_named_is_told_again(client: Client):
    made = client.post("project/createProject", name="elsewhere", workspace_name="research")["project"]
    assert made["workspace_type"] == "ORGANIZATION"
    found = client.get("project/getProjectByName", name="elsewhere", workspace_name="research")
    assert found["project_by_user"]["workspace_id"] == made["workspace_id"]
    shared = client.get("project/getProjectByName", name="elsewhere", workspace_name="")
    assert [each["id"] for each in shared["shared_projects"]] == [made["id"]]
    with pytest.raises(HTTPError) as caught:
        client.get("project/getProjectByName", name="elsewhere", workspace_name="another")
    assert (caught.value.status, caught.value.code) == (404, 5)
    again = client.post("project/createProject", name="elsewhere", workspace_name="")["project"]
    assert "workspace_id" not in again
    own = client.post("project/createProject", name="elsewhere 2", workspace_name="grace")["project"]
    assert "workspace_id" not in own  # a user's own name means where they are at home
    assert [each["name"] for each in client.get("project/getProjects", workspace_name="research")["projects"]] == [
        "elsewhere"
    ]
