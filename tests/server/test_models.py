"""The registry of models over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.test_api import schema_errors


@pytest.fixture
def model(client: Any, filled: Any) -> str:
    """A registered model with two versions; its path."""
    made = client.send("POST", "/api/v2/registered-models", {"name": "churn"}, 201)
    path = f"/api/v2/registered-models/{made['entity_id']}"
    for number in (1, 2):
        body = {"run_id": filled.run_id, "artifact": "notes.txt", "tags": ["good"], "attributes": {"n": number}}
        version = client.send("POST", f"{path}/versions", body, 201)
        assert schema_errors("ModelVersion", version) == []
        assert (version["version"], version["stage"], version["owner"]) == (number, "development", "grace")
    return path


def test_versions_are_promoted_approved_and_looked_up_over_http(client: Any, model: str) -> None:
    first = client.get("/api/v2/registry/version?reference=churn@v1")
    moved = client.send(
        "POST", f"{model}/promote", {"version": "1", "stage": "production", "alias": "champion", "reason": "first"}
    )
    assert schema_errors("RegisteredModel", moved) == []
    assert moved["stages"]["production"] == moved["aliases"]["champion"] == first["entity_id"]
    client.send("PUT", f"{model}/approvals-needed", {"stage": "production", "count": 1})
    second = client.get("/api/v2/registry/version?reference=churn@latest")["entity_id"]
    wanted = {"version": "v2", "stage": "production", "reason": "better"}
    assert client.send("POST", f"{model}/promote", wanted, 409)["error"]["code"] == "conflict"
    said = client.send("POST", f"/api/v2/model-versions/{second}/approvals", {"stage": "production"}, 201)
    assert schema_errors("Approval", said) == []
    assert (said["verdict"], said["author"]) == ("approved", "grace")
    client.send("POST", f"{model}/promote", wanted)
    assert client.get("/api/v2/registry/version?reference=churn@production")["version"] == 2
    history = client.get(f"{model}/history")
    assert schema_errors("ModelMoves", history) == []
    assert [(move["reason"], move["stages"]["production"]["after"]["number"]) for move in history["moves"]] == [
        ("first", 1),
        ("better", 2),
    ]
    paged, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{model}/history", cursor=cursor, limit=2)
        assert schema_errors("ModelMoves", page) == []
        paged += page["moves"]
        cursor = page["cursor"]
    assert paged == history["moves"]
    assert history["cursor"] is None
    for wrong in ("x", "-1", "1.x", "9" * 40, "0.eJw="):
        assert client.request("GET", f"{model}/history?cursor={wrong}").status_code == 400
    client.send("POST", "/api/v2/registered-models", {"name": "another"}, 201)
    states = client.get("/api/v2/registry", limit=1)
    assert [each["name"] for each in states["models"]] == ["another"]
    states = client.get("/api/v2/registry", limit=1, cursor=states["cursor"])
    assert ([each["name"] for each in states["models"]], states["cursor"]) == (["churn"], None)
    for at, number in ((f"?at={history['moves'][0]['at']}", 1), ("", 2)):
        states = client.get(f"/api/v2/registry{at}")
        assert schema_errors("ModelStates", states) == []
        assert states["models"][-1]["stages"]["production"]["number"] == number
    client.send("POST", f"{model}/aliases/remove", {"alias": "champion", "reason": "not needed"})
    stages = ["new", "staging", "production", "archived"]
    refused = client.send("PUT", f"{model}/stages", {"stages": [*stages[:3], "old"]}, 409)
    assert "v1 of 'churn' is in 'archived'" in refused["error"]["message"]
    assert client.send("PUT", f"{model}/stages", {"stages": stages})["stage_names"] == stages
    card = client.get(f"/api/v2/model-versions/{second}/card")
    assert schema_errors("ModelCard", card) == []
    assert card["card"].startswith("# churn v2")
    file = client.request("GET", f"/api/v2/model-versions/{second}/artifacts?path=notes.txt")
    assert file.data.decode() == "Grüße\n"


def test_what_an_operation_decides_no_other_route_takes(client: Any, model: str, filled: Any) -> None:
    refused = client.send("POST", "/api/v2/registered-models", {"name": "x", "aliases": {"champion": "y"}}, 400)
    assert "aliases" in refused["error"]["message"]
    model_id = model.rpartition("/")[2]
    made = {"registered_model_id": model_id, "version": 7, "stage": "production"}
    assert client.request("POST", "/api/v2/model-versions", json=made, headers={"X-ModelDB": "1"}).status_code == 405
    for path, body, status in (
        (f"{model}/versions", {"run_id": filled.run_id, "artifact": "nothing"}, 404),
        (f"{model}/versions", {"run_id": filled.run_id, "artifact": "notes.txt", "trusted": ["pickle"]}, 400),
        (f"{model}/promote", {"version": "1", "stage": "live", "reason": "x"}, 400),
        (f"{model}/promote", {"version": "9", "stage": "staging", "reason": "x"}, 404),
        (f"{model}/promote", {"version": "1", "stage": "staging"}, 400),
        (f"{model}/aliases/remove", {"alias": "none", "reason": "x"}, 404),
    ):
        assert "error" in client.send("POST", path, body, status), path
    for query in ("reference=churn", "reference=churn@v9", "reference=else@v1"):
        assert client.request("GET", f"/api/v2/registry/version?{query}").status_code in (400, 404)
    assert client.request("GET", "/api/v2/registry?at=yesterday").status_code == 400
    assert client.get(f"{model}/history") == {"moves": [], "cursor": None}


def test_a_repeated_request_registers_once(client: Any, model: str, filled: Any) -> None:
    headers = {"X-ModelDB": "1", "Idempotency-Key": "once"}
    body = {"run_id": filled.run_id, "artifact": "notes.txt"}
    answers = [client.request("POST", f"{model}/versions", json=body, headers=headers).json for _ in range(2)]
    assert answers[0] == answers[1]
    assert client.get(model)["last_version"] == 3
