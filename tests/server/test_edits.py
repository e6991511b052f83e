from __future__ import annotations

import threading
from typing import Any

import pytest

from modeldb_core.commands import runs
from modeldb_core.errors import ModelDBError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.log.changes import GENESIS, verify_change
from modeldb_core.plugins import PluginManager
from modeldb_server import ServerSettings, create_app
from modeldb_server.writing import Writers


def streams_of_the_server(filled: Any) -> list[list[Any]]:
    streams: dict[str, list[Any]] = {}
    for change in filled.store.read_changes(limit=10_000).changes:
        if change.stream_id != filled.writer.stream_id:
            streams.setdefault(change.stream_id, []).append(change)
    for changes in streams.values():
        previous = GENESIS
        for change in changes:
            verify_change(change, previous)
            previous = change.hash
    return list(streams.values())


def test_a_comment_is_recorded_with_its_author(client: Any, filled: Any) -> None:
    comment = client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": "looks\ngood"}, 201)
    assert (comment["parent_id"], comment["message"], comment["author"]) == (filled.run_id, "looks\ngood", "grace")
    (found,) = client.get("/api/v2/comments", within=filled.run_id)["items"]
    assert found == comment
    project = {"parent_kind": "project", "parent_id": filled.project_id, "message": "hello"}
    assert client.send("POST", "/api/v2/comments", project, 201)["parent_id"] == filled.project_id


def test_a_comment_needs_something_to_speak_of_and_to_say(client: Any, filled: Any) -> None:
    assert client.send("POST", "/api/v2/comments", {"parent_id": "none", "message": "x"}, 404)["error"]
    assert client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": " \n"}, 400)["error"]
    too_long = {"parent_id": filled.run_id, "message": "x" * 100_001}
    assert "100,001" in client.send("POST", "/api/v2/comments", too_long, 400)["error"]["message"]
    assert client.get("/api/v2/comments")["items"] == []


def test_tags_are_added_and_removed(client: Any, filled: Any) -> None:
    path = f"/api/v2/runs/{filled.run_id}/tags"
    assert client.send("POST", path, {"add": ["best", "best", "baseline"]})["tags"] == ["baseline", "best"]
    assert client.send("POST", path, {"remove": ["baseline", "never there"]})["tags"] == ["best"]
    assert client.send("POST", path, {"add": ["a"], "remove": ["best"]})["tags"] == ["a"]
    for wrong in ({}, {"add": ["x"], "remove": ["x"]}, {"add": [""]}, {"add": "x"}, {"add": ["x"] * 101}):
        assert client.send("POST", path, wrong, 400)["error"]["message"]
    assert client.get(f"/api/v2/runs/{filled.run_id}")["tags"] == ["a"]


def test_name_and_description_are_changed_one_by_one(client: Any, filled: Any) -> None:
    path = f"/api/v2/runs/{filled.run_id}"
    assert client.send("PATCH", path, {"name": "renamed"})["name"] == "renamed"
    run = client.send("PATCH", path, {"description": "why"})
    assert (run["name"], run["description"]) == ("renamed", "why")
    assert "description" not in client.send("PATCH", path, {"description": ""})
    assert client.send("PATCH", path, {}, 400)["error"]["message"]
    assert client.send("PATCH", path, {"status": "finished"}, 400)["error"]["message"]


def test_a_deleted_run_is_not_changed(client: Any, filled: Any) -> None:
    filled.writer.delete("run", filled.run_id)
    filled.apply()
    error = client.send("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": "x"}, 409)["error"]
    assert (error["code"], "restore it first" in error["message"]) == ("conflict", True)


def test_a_change_through_the_server_leaves_the_status_of_a_run_alone(client: Any, filled: Any) -> None:
    client.send("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": "x"})
    run = client.get(f"/api/v2/runs/{filled.run_id}")
    assert (run["status"], run["stream_id"]) == ("running", filled.writer.stream_id)


def test_edits_are_one_stream_that_is_sealed_at_the_end(app: Any, client: Any, filled: Any) -> None:
    for name in ("a", "b", "c"):
        client.send("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": name})
    app.extensions["modeldb_server"].close()
    (changes,) = streams_of_the_server(filled)
    assert [change.action for change in changes] == ["open", "update", "update", "update", "close"]
    assert {change.actor for change in changes} == {"grace"}


def test_a_server_that_changed_nothing_leaves_no_stream(app: Any, client: Any, filled: Any) -> None:
    client.get("/api/v2/runs")
    app.extensions["modeldb_server"].close()
    assert streams_of_the_server(filled) == []


def test_changes_from_many_threads_form_one_chain(client: Any, filled: Any, app: Any) -> None:
    def add(index: int) -> None:
        headers = {"X-ModelDB": "1"}
        path = f"/api/v2/runs/{filled.run_id}/tags"
        answers.append(client.request("POST", path, json={"add": [f"t{index}"]}, headers=headers).status_code)

    answers: list[int] = []
    threads = [threading.Thread(target=add, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 16
    assert len(client.get(f"/api/v2/runs/{filled.run_id}")["tags"]) == 17
    (changes,) = streams_of_the_server(filled)
    assert [change.seq for change in changes] == list(range(1, 18))


def test_after_a_failure_the_next_change_begins_a_new_stream(filled: Any) -> None:
    failing = _FailingStore(filled.store)
    writers = Writers(filled.store, failing, actor="ada")
    writers.execute(runs.rename(filled.run_id, "one"))
    failing.fails = True
    with pytest.raises(StoreUnavailableError):
        writers.execute(runs.rename(filled.run_id, "lost"))
    failing.fails = False
    writers.execute(runs.rename(filled.run_id, "two"))
    writers.close()
    first, second = streams_of_the_server(filled)
    assert [change.action for change in first] == ["open", "update"]
    assert [change.action for change in second] == ["open", "update", "close"]
    assert filled.store.get("run", filled.run_id).name == "two"


def test_streams_of_those_who_went_silent_are_sealed(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldb_server.writing._MOST_OPEN", 2)
    writers = Writers(filled.store, filled.store)
    for actor in ("ann", "bob", "ann", "cleo"):
        writers.execute(runs.rename(filled.run_id, actor), actor)
    last = {changes[0].actor: changes[-1].action for changes in streams_of_the_server(filled)}
    assert last == {"ann": "update", "bob": "close", "cleo": "update"}
    writers.close()
    assert {changes[-1].action for changes in streams_of_the_server(filled)} == {"close"}


class _FailingStore:
    """A real store that can be cut off."""

    def __init__(self, store: Any) -> None:
        self.store, self.fails = store, False

    def apply(self, changes: Any, *, expect: Any = ()) -> None:
        if self.fails:
            msg = "cut off"
            raise StoreUnavailableError(msg)
        self.store.apply(changes, expect=expect)


def test_a_read_only_server_changes_nothing(filled: Any) -> None:
    app = create_app(filled.store, filled.artifacts, ServerSettings(read_only=True), plugins=PluginManager())
    base, headers = "http://127.0.0.1", {"X-ModelDB": "1"}
    response = app.test_client().post(
        f"/api/v2/runs/{filled.run_id}/tags", json={"add": ["x"]}, headers=headers, base_url=base
    )
    assert (response.status_code, response.json["error"]["code"]) == (403, "store_read_only")
    assert app.test_client().get("/api/v2/server", base_url=base).json["read_only"] is True
    with pytest.raises(StoreReadOnlyError):
        app.extensions["modeldb_server"].writers.execute(runs.rename(filled.run_id, "x"))
    assert isinstance(StoreReadOnlyError(), ModelDBError)


def test_the_author_is_the_login_name_by_default(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "lovelace")
    assert Writers(filled.store, filled.store).actor == "lovelace"


JSON = {"X-ModelDB": "1", "Content-Type": "application/json"}


def call(client: Any, method: str, path: str, status: int = 200) -> Any:
    response = client.request(method, f"/api/v2{path}", headers=JSON)
    assert response.status_code == status, response.text
    return response.json


def test_a_run_is_deleted_with_its_comments_and_comes_back_with_them(client: Any, filled: Any) -> None:
    client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": "mine"}, 201)
    assert call(client, "DELETE", f"/runs/{filled.run_id}") == {"changed": 2}
    assert filled.run_id not in [item["entity_id"] for item in client.get("/api/v2/runs")["items"]]
    assert client.get(f"/api/v2/runs/{filled.run_id}")["deleted_at"]
    assert call(client, "DELETE", f"/runs/{filled.run_id}") == {"changed": 0}
    assert call(client, "POST", f"/runs/{filled.run_id}/restore") == {"changed": 2}
    assert client.get("/api/v2/comments", within=filled.run_id)["items"][0]["message"] == "mine"
    assert call(client, "DELETE", "/runs/none", 404)["error"]["code"] == "not_found"


def test_what_contains_something_is_deleted_only_with_it(client: Any, filled: Any) -> None:
    error = call(client, "DELETE", f"/projects/{filled.project_id}", 400)["error"]
    assert "contains 1 experiment, 2 runs" in error["message"]
    assert call(client, "DELETE", f"/projects/{filled.project_id}?recursive=1")["changed"] >= 4
    assert client.get("/api/v2/runs")["items"] == client.get("/api/v2/projects")["items"] == []
    call(client, "POST", f"/projects/{filled.project_id}/restore")
    assert len(client.get("/api/v2/runs")["items"]) == 2


def test_projects_and_experiments_are_renamed_described_and_tagged(client: Any, filled: Any) -> None:
    for path in (f"/api/v2/projects/{filled.project_id}", f"/api/v2/experiments/{filled.experiment_id}"):
        assert client.send("PATCH", path, {"name": " new name ", "description": "d"})["name"] == "new name"
        assert client.send("POST", f"{path}/tags", {"add": ["t"]})["tags"] == ["t"]
    other = filled.writer.create_containers("taken", "else")
    filled.apply()
    error = client.send("PATCH", f"/api/v2/projects/{filled.project_id}", {"name": "taken"}, 409)["error"]
    assert "there is a project with name 'taken'" in error["message"]
    assert client.send("PATCH", f"/api/v2/projects/{other['project_id']}", {"name": "taken"})["name"] == "taken"
    for name in ("", "  ", "x" * 257):
        assert client.send("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": name}, 400)["error"]["message"]


def test_many_runs_are_changed_together_or_not_at_all(client: Any, filled: Any) -> None:
    path, both = "/api/v2/runs/edit", [filled.run_id, filled.other_run_id]
    answer = client.send("POST", path, {"action": "tag", "tags": ["seen"], "run_ids": both})
    assert answer == {"run_ids": both, "changed": 2}
    assert all("seen" in item["tags"] for item in client.get("/api/v2/runs")["items"])
    client.send("POST", path, {"action": "untag", "tags": ["seen"], "run_ids": both})
    client.send("POST", path, {"action": "describe", "description": "same", "run_ids": both})
    items = client.get("/api/v2/runs")["items"]
    assert [(item["description"], "seen" in item.get("tags", [])) for item in items] == [("same", False)] * 2
    client.send("POST", path, {"action": "delete", "run_ids": [filled.run_id, "none"]}, 404)
    assert len(client.get("/api/v2/runs")["items"]) == 2, "nothing was deleted"
    client.send("POST", path, {"action": "delete", "run_ids": both})
    assert client.get("/api/v2/runs")["items"] == []
    client.send("POST", path, {"action": "restore", "run_ids": both})
    assert len(client.get("/api/v2/runs")["items"]) == 2
    client.send("POST", path, {"action": "delete", "run_ids": both[:1]})
    deleted = {"action": "restore", "filter": "name exists", "within": filled.project_id, "expect": 1}
    assert client.send("POST", path, deleted)["run_ids"] == both[:1]


def test_many_runs_are_looked_up_at_once(client: Any, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [filled.writer.create_run(name=f"run {index}").entity_id for index in range(40)]
    filled.apply()
    asked: list[str] = []
    for method in ("get", "find"):
        real = getattr(filled.store, method)
        monkeypatch.setattr(
            filled.store, method, lambda *given, real=real, name=method: (asked.append(name), real(*given))[1]
        )
    answer = client.send("POST", "/api/v2/runs/edit", {"action": "tag", "tags": ["seen"], "run_ids": ids})
    assert answer == {"run_ids": ids, "changed": 40}
    assert asked == ["find"]
    ids.append("none")
    client.send("POST", "/api/v2/runs/edit", {"action": "tag", "tags": ["more"], "run_ids": ids}, 404)


def test_runs_with_long_identifiers_are_edited_together(client: Any, filled: Any) -> None:
    ids = [f"{index:04}" * 60 for index in range(450)]
    for run_id in ids:
        filled.writer.create("run", run_id, name="run", project_id=filled.project_id)
    filled.apply()
    answer = client.send("POST", "/api/v2/runs/edit", {"action": "tag", "tags": ["seen"], "run_ids": ids})
    assert answer == {"run_ids": ids, "changed": len(ids)}


def test_all_that_match_a_filter_are_changed_if_they_are_as_many_as_expected(client: Any, filled: Any) -> None:
    path, all_of_it = "/api/v2/runs/edit", {"filter": "", "within": filled.project_id}
    error = client.send("POST", path, {"action": "delete", **all_of_it, "expect": 3}, 409)["error"]
    assert "2 runs match now, not 3" in error["message"]
    (one,) = client.send(
        "POST", path, {"action": "tag", "tags": ["a"], **all_of_it, "filter": f'run_id = "{filled.run_id}"'}
    )["run_ids"]
    assert one == filled.run_id
    assert client.send("POST", path, {"action": "delete", **all_of_it, "expect": 2})["changed"] == 2
    for wrong in (
        {"action": "delete"},
        {"action": "delete", "filter": ""},
        {"action": "delete", "filter": "", "within": "x", "run_ids": ["y"]},
        {"action": "explode", "run_ids": ["x"]},
        {"action": "tag", "run_ids": []},
        {"action": "describe", "run_ids": []},
        {"action": "tag", "tags": ["a"], "filter": "metrics. >", "within": filled.project_id},
    ):
        assert client.send("POST", path, wrong, 400)["error"]["message"]


def test_a_parent_is_deleted_with_its_children_where_both_are_named(client: Any, filled: Any) -> None:
    child = filled.writer.create_run(
        project_id=filled.project_id, experiment_id=filled.experiment_id, parent_id=filled.run_id, name="fold"
    ).entity_id
    filled.apply()
    path = "/api/v2/runs/edit"
    error = client.send("POST", path, {"action": "delete", "run_ids": [filled.run_id]}, 400)["error"]
    assert "contains 1 run;" in error["message"]
    assert client.send("POST", path, {"action": "delete", "run_ids": [filled.run_id, child]})["changed"] == 2
    client.send("POST", path, {"action": "restore", "run_ids": [filled.run_id]})
    assert not client.get(f"/api/v2/runs/{child}").get("deleted_at"), "what went together comes back together"
    recursive = {"action": "delete", "run_ids": [filled.run_id], "recursive": True}
    assert client.send("POST", path, recursive)["changed"] == 2
