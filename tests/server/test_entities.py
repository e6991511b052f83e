from __future__ import annotations

import io
import math
from typing import Any

import pytest

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import BlobReference, decode, encode, normalize


def test_a_run_comes_with_everything_that_was_logged(client: Any, filled: Any) -> None:
    run = client.get(f"/api/v2/runs/{filled.run_id}")
    assert (run["kind"], run["entity_id"], run["name"], run["owner"]) == ("run", filled.run_id, "first", "ada")
    assert run["status"] == "running"
    assert run["tags"] == ["baseline"]
    assert run["hyperparameters"]["nested"] == {"$$lr": 0.001, "list": [1, {"$float": "NaN"}]}
    assert run["hyperparameters"]["huge"] == {"$int": str(2**70)}
    assert run["metrics"]["broken"] == {"$float": "NaN"}
    assert run["metrics"]["above"] == {"$float": "Infinity"}
    assert run["metrics"]["loss"] == 0.25
    assert run["attributes"] == {"team": "growth", "empty": ""}
    assert run["artifacts"]["table.csv"]["digest"] == filled.blobs["table.csv"]


def test_the_summary_of_a_series_has_every_field(client: Any, filled: Any) -> None:
    loss = client.get(f"/api/v2/runs/{filled.run_id}")["series"]["loss"]
    assert loss["count"] == 4
    assert loss["nan_count"] == 1
    assert (loss["first"], loss["last"], loss["minimum"], loss["maximum"]) == (1.0, 0.25, 0.25, 1.0)
    assert (loss["first_step"], loss["last_step"], loss["min_step"], loss["max_step"]) == (0, 3, 3, 0)
    assert loss["first_at"].endswith("Z")
    assert len(loss["last_at"]) == len("2026-11-23T21:00:00.123456Z")


def test_a_filter_an_order_and_a_limit_reach_the_store(client: Any, filled: Any) -> None:
    page = client.get("/api/v2/runs", filter="metrics.auc > 0.8")
    assert [run["entity_id"] for run in page["items"]] == [filled.run_id]
    page = client.get("/api/v2/runs", order_by="metrics.auc", limit=1, count=1)
    assert [run["name"] for run in page["items"]] == ["second"]
    assert page["total"] == 2


def test_pages_follow_one_another_by_cursor(client: Any) -> None:
    first = client.get("/api/v2/runs", order_by="name", limit=1)
    second = client.get("/api/v2/runs", order_by="name", limit=1, cursor=first["cursor"])
    assert [first["items"][0]["name"], second["items"][0]["name"]] == ["first", "second"]
    assert second["cursor"] is None
    assert client.error("/api/v2/runs", 400, cursor="nonsense")["code"] == "query_syntax"


def test_fields_choose_what_comes(client: Any, filled: Any) -> None:
    page = client.get("/api/v2/runs", fields="metrics.auc,tags", filter="name = 'first'")
    run = page["items"][0]
    assert run["metrics"] == {"auc": 0.91}
    assert run["tags"] == ["baseline"]
    assert "hyperparameters" not in run
    assert "artifacts" not in run
    assert run["entity_id"] == filled.run_id


def test_within_looks_into_one_container(client: Any, filled: Any) -> None:
    assert len(client.get("/api/v2/runs", within=filled.project_id)["items"]) == 2
    assert client.get("/api/v2/runs", within="elsewhere")["items"] == []


def test_deleted_entities_come_when_asked_for(client: Any, filled: Any) -> None:
    filled.writer.delete("run", filled.run_id)
    filled.apply()
    assert len(client.get("/api/v2/runs")["items"]) == 1
    assert len(client.get("/api/v2/runs", include_deleted=1)["items"]) == 2
    assert client.get(f"/api/v2/runs/{filled.run_id}")["deleted_at"]


def test_keys_are_found(client: Any) -> None:
    keys = {(item["section"], item["key"]): item for item in client.get("/api/v2/keys", kind="run")["keys"]}
    assert keys["metrics", "auc"]["count"] == 2
    assert "series" in keys["metrics", "loss"]["value_types"]
    assert ("tags", "baseline") in keys
    assert ("metrics", "loss") not in {
        (item["section"], item["key"]) for item in client.get("/api/v2/keys", filter="name = 'second'")["keys"]
    }


def test_what_does_not_exist_is_not_found(client: Any) -> None:
    for path in ("/api/v2/runs/none", "/api/v2/projects/none", "/api/v2/runs/" + "x" * 500):
        assert client.error(path, 404)["code"] == "not_found"


def test_a_value_that_lies_in_the_artifact_store_can_be_read(client: Any, filled: Any) -> None:
    large = {"text": "x" * 500_000, "nan": math.nan, "$key": [1, 2**70]}
    info = filled.artifacts.put(io.BytesIO(encode(normalize(large, "x"))))
    filled.writer.update(
        "run", filled.run_id, put={"attributes": {"large": BlobReference(info.digest, info.size_bytes)}}
    )
    filled.apply()
    shown = client.get(f"/api/v2/runs/{filled.run_id}")["attributes"]["large"]
    assert shown == {"$blob": info.digest, "size": info.size_bytes}
    path = f"/api/v2/runs/{filled.run_id}/values"
    with client.request("GET", path, query_string={"section": "attributes", "key": "large"}) as response:
        assert response.mimetype == "application/json"
        value = decode(response.data)
    assert isinstance(value, dict)
    assert math.isnan(value.pop("nan"))  # type: ignore[arg-type]
    assert value == {"text": "x" * 500_000, "$key": [1, 2**70]}
    assert client.get(path, section="attributes", key="team") == "growth"
    assert client.get(path, section="metrics", key="loss") == 0.25
    assert client.error(path, 404, section="attributes", key="none")["code"] == "not_found"
    assert client.error(path, 400, section="document", key="x")["code"] == "invalid_argument"
    filled.writer.update("run", filled.run_id, put={"attributes": {"gone": BlobReference("0" * 64, 5)}})
    filled.apply()
    assert client.error(path, 404, section="attributes", key="gone")["code"] == "not_found"
    filled.writer.update("run", filled.run_id, put={"attributes": {"bad": BlobReference("../../secret.txt", 5)}})
    with pytest.raises(InvalidArgumentError, match="stands for no value"):
        filled.apply()


def test_the_server_says_where_the_store_is_now(client: Any, filled: Any) -> None:
    cursor = client.get("/api/v2/server")["cursor"]
    assert client.get("/api/v2/changes", after=cursor)["changes"] == []
    filled.writer.update("run", filled.run_id, add={"tags": ["new"]})
    filled.apply()
    assert len(client.get("/api/v2/changes", after=cursor)["changes"]) == 1
    assert client.get("/api/v2/server")["cursor"] > cursor
