"""What programs in any language write through the API: a whole training, each request once, or a clear refusal."""

from __future__ import annotations

import hashlib
import http.client
import json
import math
import threading
from typing import Any

import pytest

from modeldb_core.audit import verify
from modeldb_core.model.entities import new_id

API = "/api/v2"


def keyed(client: Any, method: str, path: str, body: Any, key: str) -> Any:
    headers = {"X-ModelDB": "1", "Idempotency-Key": key}
    response = client.request(method, path, json=body, headers=headers)
    return response.status_code, response.json


def start(client: Any, **given: Any) -> Any:
    return client.send("POST", f"{API}/runs", {"project": "rest", **given}, 201)


def test_a_whole_training_is_tracked_by_requests(client: Any, filled: Any) -> None:
    project = client.send("POST", f"{API}/projects", {"name": "rest", "description": "by hand"}, 201)
    within = {"project_id": project["entity_id"], "name": "first try", "tags": ["é"]}
    experiment = client.send("POST", f"{API}/experiments", within, 201)
    run = client.send(
        "POST",
        f"{API}/runs",
        {
            "experiment_id": experiment["entity_id"],
            "name": "forest",
            "hyperparameters": {"lr": 0.1, "layers": [64, 64], "limit": {"$float": "Infinity"}},
            "started_at": "2026-01-31T12:00:00+01:00",
        },
        201,
    )
    path = f"{API}/runs/{run['entity_id']}"
    assert (run["status"], run["project_id"], run["owner"]) == ("running", project["entity_id"], "grace")
    assert (run["started_at"], run["reported_times"]) == ("2026-01-31T11:00:00.000000Z", ["started_at"])
    client.send("POST", f"{path}/metrics", {"metrics": {"loss": 1.0, "acc": 0.5}, "step": 0})
    points = [{"step": step, "metrics": {"loss": 1 / step}} for step in range(1, 50)]
    client.send("POST", f"{path}/metrics", {"points": points})
    client.send("POST", f"{path}/metrics", {"metrics": {"auc": 0.93}})
    values = [0.5, {"$float": "NaN"}, 0.25]
    client.send("POST", f"{path}/series", {"series": [{"key": "lr", "values": values, "steps": [5, 6, 7]}]})
    client.send("POST", f"{path}/hyperparameters", {"values": {"seed": {"$int": str(2**60)}}})
    client.send("POST", f"{path}/attributes", {"values": {"team": "growth"}})
    client.send("POST", f"{path}/tags", {"add": ["best"]})
    client.send("POST", f"{path}/datasets", {"name": "churn/2026", "digest": "ab" * 32, "info": {"rows": 100}})
    client.send("POST", f"{API}/comments", {"parent_id": run["entity_id"], "message": "looks good"}, 201)
    content = b"weights" * 1000
    headers = {"X-ModelDB": "1", "Content-Type": "application/octet-stream"}
    response = client.request(
        "PUT", f"{path}/artifacts?path=model/weights.bin&type=model", data=content, headers=headers
    )
    assert response.json["digest"] == hashlib.sha256(content).hexdigest()
    ended = client.send("POST", f"{path}/finish", {"status": "failed", "failure": {"type": "OSError"}})
    assert (ended["status"], ended["failure"]["type"], ended["metrics"]["loss"]) == ("failed", "OSError", 1 / 49)
    assert ended["hyperparameters"]["seed"] == {"$int": str(2**60)}
    assert ended["series"]["lr"]["nan_count"] == 1
    assert ended["datasets"]["train"]["name"] == "churn/2026"
    read = client.request("GET", f"{path}/artifacts?path=model/weights.bin")
    assert read.data == content
    stored = filled.store.read_series(run["entity_id"], "loss")
    assert stored.values.tolist() == [1.0, *(1 / step for step in range(1, 50))]
    assert math.isnan(filled.store.read_series(run["entity_id"], "lr").values[1])
    assert verify(filled.store).ok


def test_names_are_unique_and_an_existing_entity_comes_back_if_asked_for(client: Any) -> None:
    first = client.send("POST", f"{API}/projects", {"name": "rest"}, 201)
    error = client.send("POST", f"{API}/projects", {"name": " rest "}, 409)["error"]
    assert error["code"] == "already_exists"
    again = client.send("POST", f"{API}/projects", {"name": "rest", "existing": "return"}, 200)
    assert again["entity_id"] == first["entity_id"]
    assert start(client)["project_id"] == first["entity_id"]
    other = client.send("POST", f"{API}/projects", {"name": "other"}, 201)
    for project in (first, other):
        client.send("POST", f"{API}/experiments", {"name": "e", "project_id": project["entity_id"]}, 201)
    chosen = new_id()
    assert client.send("POST", f"{API}/datasets", {"name": "d", "entity_id": chosen}, 201)["entity_id"] == chosen
    client.send("POST", f"{API}/datasets", {"name": "e", "entity_id": chosen}, 409)


def test_two_who_take_one_name_at_once_make_one_project(client: Any, filled: Any) -> None:
    answers: list[int] = []

    def create() -> None:
        headers = {"X-ModelDB": "1"}
        answers.append(client.request("POST", f"{API}/projects", json={"name": "one"}, headers=headers).status_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [201, *[409] * 7]
    assert client.get(f"{API}/projects", filter="name = 'one'", count=1)["total"] == 1


def test_a_request_with_a_key_is_done_once(client: Any, filled: Any) -> None:
    run_id = start(client)["entity_id"]
    path, body = f"{API}/runs/{run_id}/metrics", {"metrics": {"loss": 1.0}, "step": 0}
    assert [keyed(client, "POST", path, body, "a") for _ in range(3)] == [(200, {"changed": 1})] * 3
    assert len(filled.store.read_series(run_id, "loss").values) == 1
    status, error = keyed(client, "POST", path, {"metrics": {"loss": 2.0}, "step": 1}, "a")
    assert (status, error["error"]["code"]) == (409, "conflict")
    created = [keyed(client, "POST", f"{API}/runs", {"project": "rest"}, "b") for _ in range(2)]
    assert created[0][0] == 201
    assert created[0] == created[1]
    assert keyed(client, "POST", f"{API}/projects", {"name": "p"}, "c") == keyed(
        client, "POST", f"{API}/projects", {"name": "p"}, "c"
    )
    assert [keyed(client, "POST", f"{API}/runs/{run_id}/finish", {}, "d")[0] for _ in range(2)] == [200, 200]
    said = {"parent_id": run_id, "message": "once"}
    assert len({keyed(client, "POST", f"{API}/comments", said, "e")[1]["entity_id"] for _ in range(2)}) == 1
    assert keyed(client, "POST", path, body, "x" * 257)[0] == 400
    assert keyed(client, "POST", f"{API}/series", {"series": []}, "f")[0] == 400
    assert verify(filled.store).ok


def test_a_key_that_comes_many_times_at_once_is_done_once(client: Any, filled: Any) -> None:
    run_id = start(client)["entity_id"]
    answers: list[int] = []

    def log() -> None:
        body = {"metrics": {"loss": 1.0}, "step": 0}
        answers.append(keyed(client, "POST", f"{API}/runs/{run_id}/metrics", body, "same")[0])

    threads = [threading.Thread(target=log) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 8
    assert len(filled.store.read_series(run_id, "loss").values) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/projects", {}, 400),
        ("/projects", {"name": "  "}, 400),
        ("/projects", {"name": "x", "owner": "the-cfo"}, 400),
        ("/projects", {"name": "x", "workspace_id": "nowhere"}, 404),
        ("/experiments", {"name": "x"}, 400),
        ("/experiments", {"name": "x", "project_id": "nowhere"}, 404),
        ("/dataset-versions", {"dataset_id": "nowhere"}, 404),
        ("/runs", {}, 400),
        ("/runs", {"experiment": "e"}, 400),
        ("/runs", {"project": "x" * 300}, 400),
        ("/runs", {"project": "p", "run_id": "mine"}, 400),
        ("/runs", {"project": "p", "started_at": "yesterday"}, 400),
        ("/runs", {"project": "p", "started_at": "9999-01-01T00:00:00Z"}, 400),
        ("/runs", {"project": "p", "hyperparameters": [1]}, 400),
        ("/runs/RUN/metrics", {"metrics": {"loss": "low"}}, 400),
        ("/runs/RUN/metrics", {"metrics": {"loss": 1}, "time": "2026-01-01T00:00:00Z"}, 400),
        ("/runs/RUN/metrics", {"points": []}, 400),
        ("/runs/RUN/metrics", {"points": [{"metrics": {"loss": 1}}]}, 400),
        ("/runs/RUN/metrics", {"metrics": {"loss": 1}, "step": 2**63}, 400),
        ("/runs/RUN/series", {"series": [{"key": "a", "values": [1, 2], "steps": [1]}]}, 400),
        ("/runs/RUN/series", {"series": [{"key": "a", "values": [1, "2"]}]}, 400),
        ("/runs/RUN/hyperparameters", {"values": {}}, 400),
        ("/runs/RUN/hyperparameters", {"values": {"": 1}}, 400),
        ("/runs/RUN/finish", {"status": "running"}, 400),
        ("/runs/RUN/finish", {"finished_at": "9999-01-01T00:00:00Z"}, 400),
        ("/runs/RUN/finish", {"finished_at": "2001-01-01T00:00:00Z"}, 400),
        ("/runs/RUN/finish", {"finished_at": 12}, 400),
        ("/runs/nothing/finish", {}, 404),
        ("/runs/nothing/metrics", {"metrics": {"loss": 1}}, 404),
        ("/runs/ENDED/metrics", {"metrics": {"loss": 1}}, 409),
        ("/runs/ENDED/finish", {}, 409),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    client: Any, filled: Any, path: str, body: Any, status: int
) -> None:
    before = filled.store.heads()
    path = path.replace("RUN", filled.run_id).replace("ENDED", filled.other_run_id)
    assert client.send("POST", f"{API}{path}", body, status)["error"]["message"]
    assert filled.store.heads() == before


def test_large_values_and_what_is_deleted(client: Any, filled: Any) -> None:
    run_id = start(client)["entity_id"]
    text = "x" * 200_000
    client.send("POST", f"{API}/runs/{run_id}/attributes", {"values": {"long": text}})
    assert "$blob" in client.get(f"{API}/runs/{run_id}")["attributes"]["long"]
    assert client.get(f"{API}/runs/{run_id}/values", section="attributes", key="long") == text
    headers = {"X-ModelDB": "1", "Content-Type": "application/json"}
    client.request("DELETE", f"{API}/runs/{run_id}", headers=headers)
    client.send("POST", f"{API}/runs/{run_id}/metrics", {"metrics": {"loss": 1}}, 409)
    client.request("POST", f"{API}/runs/{run_id}/restore", headers=headers)
    client.send("POST", f"{API}/runs/{run_id}/metrics", {"metrics": {"loss": 1}})


def test_a_file_that_is_longer_than_memory_allows_is_streamed(live: Any, client: Any, filled: Any) -> None:
    run_id = start(client)["entity_id"]
    piece, count = bytes(range(256)) * 4096, 40  # 40 MiB, where bodies in memory have 8
    headers = {"X-ModelDB": "1", "Content-Type": "application/octet-stream"}
    for name, is_chunked in (("whole.bin", False), ("chunked.bin", True)):
        length = {} if is_chunked else {"Content-Length": str(len(piece) * count)}
        connection = http.client.HTTPConnection(live.server.host, live.server.port, timeout=60)
        path = f"{API}/runs/{run_id}/artifacts?path={name}"
        connection.request("PUT", path, (piece for _ in range(count)), {**headers, **length}, encode_chunked=is_chunked)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, answer
        assert answer["digest"] == hashlib.sha256(piece * count).hexdigest()
    paths = [item["path"] for item in client.get(f"{API}/runs/{run_id}/artifacts/index")["items"]]
    assert paths == ["chunked.bin", "whole.bin"]
    remove = {"X-ModelDB": "1", "Content-Type": "application/json"}
    assert client.request("DELETE", f"{API}/runs/{run_id}/artifacts?path=whole.bin", headers=remove).status_code == 200
    assert client.request("DELETE", f"{API}/runs/{run_id}/artifacts?path=whole.bin", headers=remove).status_code == 404
    assert len(client.get(f"{API}/runs/{run_id}/artifacts/index")["items"]) == 1


def test_a_child_run_lies_where_its_parent_does(client: Any) -> None:
    parent = start(client, experiment="e")
    child = client.send("POST", f"{API}/runs", {"parent_id": parent["entity_id"]}, 201)
    assert (child["parent_id"], child["experiment_id"]) == (parent["entity_id"], parent["experiment_id"])
