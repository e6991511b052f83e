"""Versions of data sets over HTTP."""

from __future__ import annotations

from typing import Any

from tests.server.test_api import schema_errors

SHA = {letter: letter * 64 for letter in "abc"}


def test_versions_are_added_numbered_and_compared_over_http(client: Any) -> None:
    made = client.send("POST", "/api/v2/datasets", {"name": "churn/train", "dataset_type": "path"}, 201)
    path = f"/api/v2/datasets/{made['entity_id']}"

    def parts(**digests: str) -> list[dict[str, Any]]:
        return [{"path": f"{name}.csv", "size_bytes": 2, "sha256": digest} for name, digest in digests.items()]

    time = {"modified_at": "2026-05-01T12:00:00Z"}
    first = {
        "dataset_type": "path",
        "source": "/data/train",
        "parts": [{**each, **time} for each in parts(one=SHA["a"], two=SHA["b"])],
        "description": "of May",
        "tags": ["raw"],
        "visibility": "private",
        "info": {"location_type": "local"},
    }
    added = client.send("POST", f"{path}/versions", first, 201)
    assert schema_errors("DatasetVersion", added) == []
    assert (added["version"], added["part_count"], added["size_bytes"], added["owner"]) == (1, 2, 4, "grace")
    same = {"dataset_type": "path", "parts": parts(two=SHA["b"], one=SHA["a"])}
    assert client.send("POST", f"{path}/versions", same, 200)["entity_id"] == added["entity_id"]
    changed = {"dataset_type": "path", "parts": parts(one=SHA["c"], three=SHA["b"])}
    second = client.send("POST", f"{path}/versions", changed, 201)
    assert (second["version"], second["parent_id"]) == (2, added["entity_id"])
    assert client.get(f"{path}/version")["version"] == 2
    assert client.get(f"{path}/version?version=v1")["description"] == "of May"
    diff = client.get(f"{path}/diff?before=v1")
    assert schema_errors("DatasetDiff", diff) == []
    assert diff["files"] == {
        "added": {"three.csv": 2},
        "removed": {"two.csv": 2},
        "changed": {"one.csv": {"before": 2, "after": 2}},
    }
    listed = client.get(f"/api/v2/dataset-versions/{added['entity_id']}/tree")
    assert [item["location"] for item in listed["items"]] == ["one.csv", "two.csv"]

    for wrong, status in (
        ({"dataset_type": "raw", "digest": "d"}, 400),
        ({"dataset_type": "path", "parts": parts(one="no digest")}, 400),
        ({"dataset_type": "path", "parts": [*parts(one=SHA["a"]), *parts(one=SHA["b"])]}, 400),
        ({"dataset_type": "path", "parts": [{"path": "../a", "size_bytes": 1, "sha256": SHA["a"]}]}, 400),
        ({"dataset_type": "path", "digest": "d", "parent_id": "0197f3c2-0000-7000-8000-000000000001"}, 404),
        ({"dataset_type": "teapot"}, 400),
        ({"dataset_type": "raw", "parts": parts(one=SHA["a"])}, 400),
    ):
        client.send("POST", f"{path}/versions", wrong, status)
    for missing in ("v9", "v0"):
        assert client.request("GET", f"{path}/version?version={missing}").status_code in (400, 404)
    assert client.get(f"{path}/version")["version"] == 2
