"""A token that is bound to a workspace: no route, and no event, shows anything of another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modeldb_core.errors import ConfigurationError, PermissionDeniedError
from modeldb_core.plugins import PluginManager, load_settings, open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.scoped import Scope
from modeldb_core.testing import StreamWriter
from modeldb_server import ServerSettings, create_app
from modeldb_server.api import routes, served_kinds
from modeldb_server.routes import Route
from modeldb_server.settings import server_settings
from tests.services.server import serving
from tests.stores.test_scoped import SECRET, Workspace

ADA, BOB = "a-token-that-is-bound", "a-token-that-is-not"


def ask(app: Flask, path: str, method: str = "GET", token: str = ADA, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}", "X-ModelDB": "1"}
    return app.test_client().open(path, method=method, headers=headers, base_url="http://127.0.0.1:5000", **options)


class Two:
    """Two workspaces with files, and an application in which Ada may see one of them."""

    def __init__(self, store: MetadataStore, artifacts: Any, **settings: Any) -> None:
        self.store, self.artifacts = store, artifacts
        self.seen = Workspace("open")
        self.other = Workspace(SECRET, self.seen.run)
        for place in (self.seen, self.other):
            with (Path(artifacts.url.removeprefix("file://")).parent / place.word).open("w+b") as file:
                file.write(f"{place.word} content".encode())
                file.seek(0)
                digest = artifacts.put(file).digest
            entry = {"digest": digest, "size_bytes": len(place.word) + 8, "media_type": "text/plain"}
            place.writer.update("run", place.run, put={"artifacts": {"notes.txt": entry}})
        self.digest = digest
        store.apply([*self.seen.writer.changes, *self.other.writer.changes])
        tokens = (f"ada:{ADA}", f"bob:{BOB}")
        self.settings = ServerSettings(
            port=0, tokens=tokens, scopes=("ada=open workspace",), poll_interval_s=0.02, **settings
        )
        self.app = create_app(store, artifacts, self.settings, plugins=PluginManager())


@pytest.fixture
def two(store: MetadataStore, artifacts: Any) -> Iterator[Two]:
    made = Two(store, artifacts)
    yield made
    made.app.extensions["modeldb_server"].close()


def test_the_routes_that_show_the_whole_store_are_for_those_who_may_see_it(two: Two) -> None:
    whole = [route for route in routes() if route.whole]
    assert {route.tag for route in whole} == {"store", "server"}
    assert all(route.whole for route in routes() if route.tag == "store")
    for route in whole:
        path = route.path.replace("<digest>", two.digest)
        options = {} if route.method == "GET" else {"data": b"{}", "content_type": route.body_type}
        answer = ask(two.app, path, route.method, **options)
        assert answer.status_code == 403, route.name
        assert "JSON API" in answer.text
        assert ask(two.app, path, route.method, BOB, **options).status_code != 403, route.name


def test_no_route_shows_anything_of_another_workspace_or_tells_it_from_what_is_not_there(two: Two) -> None:
    walked = 0
    file = f"/api/v2/runs/{two.seen.run}/artifacts?path=notes.txt"
    assert ask(two.app, file).data == b"open content"  # through what names it; by its digest nothing is given out
    nobody = dict.fromkeys(two.other.names, "01a225d4-0000-7000-8000-00000000dead")
    for route in routes():
        if route.whole or route.name == "follow_changes":
            continue
        answers = []
        for other in (two.other.names, nobody):
            entity_id = other.get(_kind_of(route), other["run"])
            path = route.path.replace("<run_id>", other["run"]).replace("<entity_id>", entity_id)
            answer = ask(
                two.app, path, route.method, query_string=_arguments(route, two.seen.run), **_body(route, other)
            )
            text = answer.text
            for each in other.values():
                text = text.replace(each, "ID")
            answers.append((answer.status_code, text))
        assert answers[0] == answers[1], route.name
        assert SECRET not in answers[0][1].replace(f"{SECRET} key", "").replace(f"{SECRET} loss", "").replace(
            f"{SECRET} model", ""
        ), route.name
        if "<" in route.path:
            assert answers[0][0] in (403, 404), (route.name, answers[0])
            walked += 1
    assert walked > 80
    unseen = [{"other": other["run"]} for other in (two.other.names, nobody)]
    answers = [ask(two.app, f"/api/v2/runs/{two.seen.run}/diff", query_string=each) for each in unseen]
    assert [each.status_code for each in answers] == [404, 404]
    for each in (two.other.names, nobody):
        walks = ("/lineage", "/lineage/dot", "/lineage/prov", "/lineage/openlineage")
        beyond = [ask(two.app, f"/api/v2{walk}", query_string={"entity": f"run:{each['run']}"}) for walk in walks]
        assert [one.status_code for one in beyond] == [404] * 4
    shown = ask(two.app, "/api/v2/lineage", query_string={"entity": f"run:{two.seen.run}"})
    assert shown.status_code == 200
    assert SECRET not in shown.text
    assert not [name for name in two.other.names.values() if name in shown.text]
    assert two.store.find(Query("comment", count=True, within=two.other.workspace)).total == 1
    assert two.store.get("run", two.other.run).revision == 3


def _kind_of(route: Route) -> str:
    """Return the kind of the entities whose identifiers a route takes."""
    plural = route.path.split("/")[3:4]
    return str(
        route.fixed.get("kind") or next((served_kinds()[each].kind for each in plural if each in served_kinds()), "run")
    )


def _arguments(route: Route, seen: str) -> dict[str, str]:
    """Return what a route must be asked with, of something that the other workspace has; a second run is one that is seen."""
    key = f"{SECRET} loss" if route.name == "read_series" else f"{SECRET} key"
    section = "hyperparameters" if route.fixed.get("kind", "run") == "run" else "attributes"
    known = {
        "reference": f"{SECRET} model@v1",
        "path": "notes.txt",
        "key": key,
        "section": section,
        "other": seen,
        "before": "v1",
    }
    return {each.name: known[each.name] for each in route.parameters if each.required and each.name in known}


def _body(route: Route, other: dict[str, str]) -> dict[str, Any]:
    """Return how a route is asked for something about another workspace."""
    if route.method == "GET":
        return {}
    if route.body_type != "application/json":
        return {"data": b"content", "content_type": route.body_type}
    if not route.body:
        return {"content_type": route.body_type}
    body = {
        "create_comment": {"parent_kind": "run", "parent_id": other["run"], "message": "hello"},
        "edit_runs": {"action": "delete", "run_ids": [other["run"]]},
        "create_run": {"experiment_id": other["experiment"]},
        "read_many_series": {"series": [{"run_id": other["run"], "key": "loss"}]},
        "log_metrics": {"metrics": {"a": 1.0}},
        "log_series": {"series": [{"key": "a", "values": [1.0], "steps": [0]}]},
        "log_dataset": {"name": "data", "digest": "0" * 64},
        "log_hyperparameters": {"values": {"a": 1}},
        "set_values": {"values": {"a": 1}},
        "finish_run": {"status": "finished"},
        "change_tags": {"add": ["x"]},
        "edit_entity": {"name": "x"},
        "register_version": {"run_id": other["run"]},
        "promote": {"version": "v1", "stage": "staging", "reason": "x"},
        "remove_alias": {"alias": "champion", "reason": "x"},
        "set_stages": {"stages": ["a", "b"]},
        "require_approvals": {"stage": "production", "count": 1},
        "approve": {"stage": "production"},
        "create_lineage": {"inputs": [f"run:{other['run']}"], "outputs": [f"run:{other['run']}"]},
        "create_commit": {"message": "x"},
        "merge_commit": {"revision": "main"},
        **{key: {"commit": "main"} for key in ("revert_commit", "cherry_pick_commit")},
        **{key: {"name": "x"} for key in ("set_branch", "delete_branch", "create_tag", "delete_tag")},
        "remove_lineage": {"inputs": [f"run:{other['run']}"], "outputs": [f"run:{other['run']}"]},
    }
    return {"json": body.get(route.name) or body.get(route.handler.__name__, {})}


def test_who_moved_what_they_wrote_out_of_sight_can_go_on_writing(two: Two) -> None:
    def name(entity_id: str, name: str) -> int:
        return int(ask(two.app, f"/api/v2/runs/{entity_id}", "PATCH", json={"name": name}).status_code)

    elsewhere = StreamWriter()
    moved = elsewhere.create("project", name="moves", workspace_id=two.seen.workspace).entity_id
    run = elsewhere.create_run(project_id=moved, name="before").entity_id
    two.store.apply(elsewhere.changes)
    assert name(run, "once") == 200
    elsewhere.update("project", moved, set={"workspace_id": two.other.workspace})
    two.store.apply(elsewhere.changes[2:])
    assert ask(two.app, "/api/v2/changes").status_code == 200  # the log is read anew
    assert name(run, "twice") == 404
    assert name(two.seen.run, "still mine") == 200
    assert two.store.get("run", two.seen.run).name == "still mine"


def test_what_is_asked_for_by_name_or_link_is_narrowed_too(two: Two) -> None:
    for path in (
        "/api/v2/runs?count=true&limit=1",
        f"/api/v2/runs?within={two.other.workspace}&count=true",
        f"/api/v2/model-versions?linked=run:{two.seen.run}&count=true",
        "/api/v2/keys?kind=run",
        "/api/v2/changes?limit=1000",
        f"/api/v2/changes?entity_id={two.other.run}",
        f"/api/v2/changes?stream_id={two.other.writer.stream_id}",
        "/api/v2/server",
    ):
        answer = ask(two.app, path)
        assert answer.status_code == 200, answer.text
        assert SECRET not in answer.text
        assert two.other.run not in answer.text
        before = answer.text
        two.store.apply(_more(two.other))
        assert ask(two.app, path).text == before, path
        assert ask(two.app, path, token=BOB).text != before, path


def _more(place: Workspace) -> list[Any]:
    count = len(place.writer.changes)
    place.writer.create_run(project_id=place.project, experiment_id=place.experiment, name=f"{place.word} more")
    return place.writer.take(count)


def test_what_is_created_lies_in_the_workspace_that_one_may_see(two: Two) -> None:
    made = ask(two.app, "/api/v2/projects", "POST", json={"name": "mine"})
    assert made.status_code == 201, made.text
    assert two.store.get("project", made.json["entity_id"]).workspace_id == two.seen.workspace
    run = ask(two.app, "/api/v2/runs", "POST", json={"project": "open project", "name": "logged"})
    assert run.status_code == 201, run.text
    assert run.json["project_id"] == two.seen.project
    logged = ask(two.app, f"/api/v2/runs/{run.json['entity_id']}/metrics", "POST", json={"metrics": {"auc": 0.5}})
    assert logged.status_code == 200, logged.text
    refused = ask(two.app, "/api/v2/projects", "POST", json={"name": "x", "workspace_id": two.other.workspace})
    assert refused.status_code in (403, 404)
    elsewhere = ask(two.app, "/api/v2/projects", "POST", BOB, json={"name": "elsewhere"})
    assert elsewhere.status_code == 201, elsewhere.text  # in the default workspace, which is made with it
    assert ask(two.app, f"/api/v2/projects/{elsewhere.json['entity_id']}").status_code == 404


def test_events_tell_of_what_one_may_see_alone(two: Two) -> None:
    context = two.app.extensions["modeldb_server"]
    narrowed = context.narrowed.of(Scope(frozenset({two.seen.workspace})))
    stream = context.events.open(store=narrowed)
    try:
        ready = next(stream).decode()
        assert f'"cursor":{narrowed.end_of_log()}' in ready.replace(" ", "")
        two.store.apply(_more(two.other))
        shared = StreamWriter()
        shared.open()
        shared.create_run(project_id=two.other.project, experiment_id=two.other.experiment, name=f"{SECRET} run")
        mine = shared.create_run(project_id=two.seen.project, experiment_id=two.seen.experiment).entity_id
        two.store.apply(shared.changes)
        lines = next(line for line in stream if b"event: changes" in line).decode()
        data = json.loads(lines.partition("data: ")[2])
        assert [(each["kind"], each["entity_id"]) for each in data["entities"]] == [("run", mine)]
        assert data["cursor"] == narrowed.end_of_log()
        assert not data["truncated"]
    finally:
        stream.close()


def test_a_page_follows_from_a_cursor_that_tells_nothing(two: Two) -> None:
    context = two.app.extensions["modeldb_server"]
    narrowed = context.narrowed.of(Scope(frozenset({two.seen.workspace})))
    before = context.events.cursor(narrowed)
    two.store.apply(_more(two.other))
    assert context.events.cursor(narrowed) == before == narrowed.end_of_log()
    assert context.events.cursor() > before


def test_the_library_is_told_that_its_token_is_for_a_part(two: Two) -> None:
    with serving(two.store, two.artifacts, two.settings) as url:
        for ask_for in (lambda s: s.get("run", two.other.run), lambda s: s.heads(), lambda s: s.read_changes()):
            with (
                open_store(url, load_settings(token=ADA)) as remote,
                pytest.raises(PermissionDeniedError, match="part|some"),
            ):
                ask_for(remote)


def test_a_program_may_say_what_users_see(store: MetadataStore, artifacts: Any) -> None:
    two = Two(store, artifacts)
    asked: list[str] = []

    def scope_of(user: str) -> Scope | None:
        asked.append(user)
        return Scope(projects=frozenset({two.seen.project})) if user == "bob" else None

    settings = ServerSettings(port=0, tokens=(f"ada:{ADA}", f"bob:{BOB}"))
    app = create_app(store, artifacts, settings, plugins=PluginManager(), scope_of=scope_of)
    assert ask(app, "/api/v2/runs?count=true").json["total"] == 4
    assert ask(app, "/api/v2/runs?count=true", token=BOB).json["total"] == 2
    assert ask(app, "/health").status_code == 200
    assert asked == ["ada", "bob"]
    for made in (app, two.app):
        made.extensions["modeldb_server"].close()


def test_scopes_are_given_to_users_by_name_or_identifier(store: MetadataStore, artifacts: Any) -> None:
    two = Two(store, artifacts)
    for entry, runs in (
        ("ada=open workspace", 2),
        ("ada=open workspace/open project", 2),
        (f"ada={two.seen.workspace}", 2),
        (f"ada={two.seen.project}", 2),
        ("ada=nobody has it", 0),
    ):
        settings = ServerSettings(port=0, tokens=(f"ada:{ADA}",), scopes=(entry,))
        app = create_app(store, artifacts, settings, plugins=PluginManager())
        assert ask(app, "/api/v2/runs?count=true").json["total"] == runs, entry
        app.extensions["modeldb_server"].close()
    two.app.extensions["modeldb_server"].close()


@pytest.mark.parametrize("entry", ["ada", "=x", "ada=", "ada=a/b/c", "ada=a/", "adda=x", "ada =x"])
def test_a_scope_that_binds_nobody_keeps_the_server_from_starting(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="server.scopes"):
        ServerSettings(tokens=(f"ada:{ADA}",), scopes=(entry,))
    with pytest.raises(ConfigurationError, match="no token"):
        ServerSettings(scopes=("ada=x",))


def test_the_settings_file_names_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDB_SERVER_TOKENS", f"ada:{ADA}")
    monkeypatch.setenv("MODELDB_SERVER_SCOPES", "ada=research,ada=other/churn")
    assert server_settings(load_settings()).scopes == ("ada=research", "ada=other/churn")
