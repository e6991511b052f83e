"""Repositories over HTTP."""

from __future__ import annotations

from typing import Any


def config(**settings: Any) -> dict[str, Any]:
    return {"config": {"kind": "config", "hyperparameters": settings}}


def test_a_repository_is_committed_to_merged_and_read_over_http(client: Any, filled: Any) -> None:
    home = client.send("POST", "/api/v2/repositories", {"name": "churn"}, 201)
    path = f"/api/v2/repositories/{home['entity_id']}"

    def commit(message: str, status: int = 201, **body: Any) -> Any:
        return client.send("POST", f"{path}/commits", {"message": message, **body}, status)

    first = commit("first", blobs=config(lr=0.1, batch=1), author="Ada")
    assert (first["message"], first["author"], first["owner"]) == ("first", "Ada", "grace")
    found = client.send("POST", f"{path}/branches", {"name": "try/it"})
    assert found["branches"] == {"main": first["entity_id"], "try/it": first["entity_id"]}
    second = commit("second", blobs=config(lr=0.2, batch=1), expected=first["digest"])
    theirs = commit(
        "theirs",
        blobs={**config(lr=0.3, batch=2), "env": {"kind": "environment", "type": "variables", "variables": {"A": "1"}}},
        branch="try/it",
    )
    moved = commit("late", 412, blobs=config(lr=9), expected=first["digest"])["error"]
    assert moved["code"] == "branch_moved"
    assert second["digest"] in moved["message"]
    conflict = client.send("POST", f"{path}/merge", {"revision": "try/it"}, 409)["error"]
    assert conflict["code"] == "merge_conflict"
    assert [(each["location"], each["parts"]) for each in conflict["conflicts"]] == [("config", ["lr"])]
    merged = client.send(
        "POST",
        f"{path}/merge",
        {"revision": "try/it", "resolve": [{"path": "config", "part": "lr", "take": "theirs"}]},
    )
    assert merged["parent_ids"] == [second["entity_id"], theirs["entity_id"]]
    assert client.get(f"{path}/blob?path=config")["hyperparameters"] == {"batch": 2, "lr": 0.3}
    assert [each["message"] for each in client.get(f"{path}/log?path=config")["items"]][-1] == "first"
    whole = client.get(f"{path}/log")
    assert whole["cursor"] is None
    paged, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{path}/log", limit=1, cursor=cursor)
        paged += page["items"]
        cursor = page["cursor"]
    assert [each["digest"] for each in paged] == [each["digest"] for each in whole["items"]]
    assert client.request("GET", f"{path}/log?cursor=x").status_code == 400
    assert client.get(f"{path}/blame?path=config")["older"] == []
    assert client.get(f"{path}/blobs", limit=1) == {
        "items": [{"location": "config", "kind": "config"}],
        "after": "config",
        "count": 2,
    }
    (rest,) = client.get(f"{path}/blobs", after="config")["items"]
    assert rest == {"location": "env", "kind": "environment"}
    diff = client.get(f"{path}/diff?before=main~&path=config")["items"]
    assert [(each["part"], each["before"], each["after"]) for each in diff[0]["parts"]] == [
        (["batch"], 1, 2),
        (["lr"], 0.2, 0.3),
    ]
    assert {each["name"]: each["commit"]["message"] for each in client.get(f"{path}/blame?path=config")["items"]} == {
        "batch": "theirs",
        "lr": "theirs",
    }
    reverted = client.send("POST", f"{path}/revert", {"commit": "main", "mainline": 1}, 201)
    assert reverted["parent_ids"] == [merged["entity_id"]]
    assert (
        client.send("POST", f"{path}/cherry-pick", {"commit": "try/it", "favour": "theirs"}, 201)["author"] == "grace"
    )
    tagged = client.send("POST", f"{path}/tags/create", {"name": "v1", "at": "main~"})
    assert tagged["commit_tags"] == {"v1": reverted["entity_id"]}
    assert client.send("POST", f"{path}/tags/create", {"name": "v1"}, 409)["error"]["code"] == "already_exists"
    assert client.send("POST", f"{path}/tags/delete", {"name": "v1"}).get("commit_tags", {}) == {}
    client.send("POST", f"{path}/branches", {"name": "try/it", "at": "main", "move": True})
    assert list(client.send("POST", f"{path}/branches/delete", {"name": "try/it"})["branches"]) == ["main"]


def test_what_cannot_be_committed_over_http_is_refused_and_nothing_is_written(client: Any, filled: Any) -> None:
    home = client.send("POST", "/api/v2/repositories", {"name": "churn"}, 201)
    path = f"/api/v2/repositories/{home['entity_id']}"
    head = client.send("POST", f"{path}/commits", {"message": "first", "blobs": config(lr=1)}, 201)
    for body, status in (
        ({"blobs": config(lr=2)}, 400),
        ({"message": "", "blobs": config(lr=2)}, 400),
        ({"message": "x"}, 400),
        ({"message": "x", "blobs": config(lr=1)}, 400),
        ({"message": "x", "blobs": {"a": 1}}, 400),
        ({"message": "x", "blobs": {"a": {"kind": "teapot"}}}, 400),
        ({"message": "x", "blobs": {"../a": config(a=1)["config"]}}, 400),
        ({"message": "x", "blobs": {"config/x": config(a=1)["config"]}}, 400),
        ({"message": "x", "blobs": {"a": {"kind": "data", "type": "path", "tree": head["tree"]}}}, 400),
        ({"message": "x", "blobs": config(lr=2), "branch": "a..b"}, 400),
        ({"message": "x", "blobs": config(lr=2), "branch": "new"}, 404),
        ({"message": "x", "blobs": config(lr=2), "base": "main"}, 400),
        ({"message": "x", "blobs": config(lr=2), "branch": "new", "base": "0" * 64}, 404),
        ({"message": "x", "remove": ["nothing"]}, 404),
    ):
        assert client.send("POST", f"{path}/commits", body, status)["error"]["message"]
    assert client.get(f"/api/v2/repositories/{home['entity_id']}")["branches"] == {"main": head["entity_id"]}
    for wrong, status in (("nowhere", 404), ("main~9", 404), ("~", 400)):
        assert client.error(f"{path}/log", status, revision=wrong)
    deleted = client.request(
        "DELETE", f"/api/v2/commits/{head['entity_id']}", headers={"X-ModelDB": "1", "Content-Type": "application/json"}
    )
    assert (deleted.status_code, "names it" in deleted.json["error"]["message"]) == (400, True)
    assert client.send("POST", "/api/v2/commits", {"repository_id": home["entity_id"]}, 405)["error"]
