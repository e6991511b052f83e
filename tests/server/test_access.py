"""Every route, whoever asks: anonymous, expired, revoked, disabled, in a wrong role, of a foreign workspace. And signing in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.commands import people
from modeldb_core.stores import MetadataStore
from modeldb_server import ServerSettings, create_app
from modeldb_server.routes import Policy
from modeldb_server.security import POLICIES, methods_of
from tests.server.test_accounts import ADMIN, PASSWORD, Team, basic
from tests.stores.test_scoped import SECRET, Workspace

ORIGIN = {"Origin": "http://127.0.0.1:5000"}
NOBODY = "01a225d4-0000-7000-8000-00000000dead"
PUBLIC = re.compile(
    r"/health|/ready|/sign-in|/assets/.*|/api/v2/session(/oidc.*)?|/api/v1/openapi\.json|/openapi\.json"
)


@pytest.fixture
def team(store: MetadataStore, artifacts: Any, tmp_path: Path) -> Iterator[Team]:
    """A server with all of its plugins."""
    settings = ServerSettings(port=0, accounts=f"sqlite:///{tmp_path}/accounts.db", poll_interval_s=0.02)
    app = create_app(store, artifacts, settings)
    seen = Workspace("open")
    other = Workspace(SECRET, seen.run)
    store.apply([*seen.writer.changes, *other.writer.changes])
    made = Team(store, artifacts, app, seen, other)
    made.add_user(ADMIN, is_admin=True)
    yield made
    app.extensions["modeldb_server"].close()


def requests(team: Team, ids: dict[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Iterate over all that may be asked: endpoint, method, path, with identifiers for what the paths leave open."""
    for rule in team.app.url_map.iter_rules():
        kind = rule.rule.split("/")[3:4]
        name = kind[0].removesuffix("s").replace("-", "_") if kind else "run"
        entity_id = ids.get(name, ids["run"])
        path = re.sub(r"<(?:[^<>:]+:)?[^<>]+>", entity_id, rule.rule)
        for method in sorted(methods_of(rule) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, method, path


def test_no_route_lets_anyone_in_who_shows_nothing_that_is_valid(team: Team) -> None:
    ada = team.add_user("ada")
    bob = team.add_user("bob")
    accounts = team.accounts
    expired = accounts.create_token(ada, name="e", expires_in_days=1e-11, created_by=ADMIN)[0]
    revoked, kept = accounts.create_token(ada, name="r", created_by=ADMIN)
    accounts.vault.revoke_token(kept.token_id)
    ended = accounts.vault.add_session(ada.entity_id, 60)
    accounts.vault.end_session(ended)
    accounts.disable(bob, ADMIN)
    shown: list[dict[str, str]] = [
        {},
        {"Authorization": f"Bearer {expired}"},
        {"Authorization": f"Bearer {revoked}"},
        {"Authorization": f"Bearer {team.tokens['bob']}"},
        {"Cookie": f"modeldb_session={ended}"},
        {"Grpc-Metadata-email": "ada@example.org", "Grpc-Metadata-developer_key": team.tokens["bob"]},
    ]
    policies, heads, open_to_all, asked = team.app.extensions[POLICIES], team.store.heads(), set(), 0
    for endpoint, method, path in requests(team, team.other.names):
        answers = set()
        for number, headers in enumerate(shown):
            if number > 1 and method == "GET" and asked % 5:  # one in five is tried with all of them
                continue
            answer = team.ask(
                path, method, headers=headers, content_type="application/json", data=None if method == "GET" else b"{}"
            )
            answers.add((answer.status_code, answer.text))
        asked += 1
        if policies[endpoint] is Policy.PUBLIC:
            open_to_all.add(path)
            assert not [text for _, text in answers if SECRET in text]
        else:
            assert {status for status, _ in answers} == {401}, (endpoint, method, answers)
            assert len(answers) == 1, "the answer tells why"
    assert asked > 200
    assert not [path for path in open_to_all if not PUBLIC.fullmatch(path)]
    assert team.store.heads() == heads


def test_a_reader_changes_nothing_by_any_route_and_sees_nothing_of_a_foreign_workspace(team: Team) -> None:
    eve = team.add_user("eve")
    team.give(eve, "reader")
    heads = team.store.heads()
    policies = team.app.extensions[POLICIES]
    nobody = dict.fromkeys(team.other.names, NOBODY)
    pairs = zip(requests(team, team.other.names), requests(team, nobody), strict=True)
    for (endpoint, method, path), (_, _, absent) in pairs:
        if endpoint.endswith("follow_changes") or "session" in path:
            continue
        options: dict[str, Any] = {"content_type": "application/json"}
        if method != "GET":
            options["data"] = b"{}"
        answers = []
        for each in (path, absent):
            answer = team.ask(each, method, name="eve", **options)
            text = answer.get_data(as_text=True)
            for one in (*team.other.names.values(), NOBODY):
                text = text.replace(one, "ID")
            answers.append((answer.status_code, re.sub(r'data-cursor="\d*"|"cursor":\d+', "", text)))
        assert answers[0] == answers[1], (endpoint, method)
        assert answers[0][0] < 500, (endpoint, answers[0])
        assert SECRET not in answers[0][1], endpoint
        if policies[endpoint] is Policy.WRITE:
            assert answers[0][0] >= 400, (endpoint, method, answers[0])  # she may write in her own workspace
    assert team.store.heads() == heads


def sign_in(team: Team, client: Any, name: str = "ada", password: str = PASSWORD, **headers: str) -> Any:
    sent = {"X-ModelDB": "1", **ORIGIN, **headers}
    return client.post(
        "/api/v2/session", json={"user": name, "password": password}, headers=sent, base_url="http://127.0.0.1:5000"
    )


def test_a_browser_signs_in_by_a_cookie_that_no_script_and_no_other_page_can_use(team: Team) -> None:
    ada = team.add_user("ada")
    team.give(ada, "contributor")
    team.accounts.set_password(ada, PASSWORD)
    client = team.app.test_client()

    def ask(path: str, method: str = "GET", **headers: str) -> Any:
        content = {} if method == "GET" else {"json": {"description": "x"}}
        return client.open(path, method=method, base_url="http://127.0.0.1:5000", headers=headers, **content)

    run = f"/api/v2/runs/{team.seen.run}"
    assert ask(run).status_code == 401
    for name, password in (("ada", "wrong password!"), ("nobody", PASSWORD), ("ada", team.tokens[ADMIN][:-1])):
        answer = sign_in(team, client, name, password)
        assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (401, [])
    foreign = sign_in(team, client, Origin="http://evil.example")
    assert (foreign.status_code, foreign.headers.getlist("Set-Cookie")) == (403, [])
    answer = sign_in(team, client)
    assert answer.status_code == 200, answer.text
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("modeldb_session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert ask("/api/v2/session").json["user"] == "ada"
    assert ask(run).status_code == 200
    assert ask(run, "PATCH").status_code == 403
    assert ask(run, "PATCH", **{"X-ModelDB": "1"}).status_code == 403  # without an Origin
    assert ask(run, "PATCH", **ORIGIN).status_code == 403
    assert ask(run, "PATCH", Origin="http://evil.example", **{"X-ModelDB": "1"}).status_code == 403
    signed = {"X-ModelDB": "1", **ORIGIN}
    assert ask(run, "PATCH", **signed).status_code == 200
    assert team.store.get("run", team.seen.run).document["description"] == "x"
    shown = cookie.split(";")[0].partition("=")[2]
    assert (
        client.delete(
            "/api/v2/session", headers=ORIGIN, content_type="application/json", base_url="http://127.0.0.1:5000"
        ).status_code
        == 403
    )
    assert (
        client.delete(
            "/api/v2/session", headers=signed, content_type="application/json", base_url="http://127.0.0.1:5000"
        ).status_code
        == 200
    )
    assert team.ask(run, headers={"Cookie": f"modeldb_session={shown}"}).status_code == 401  # the server has ended it
    secure = sign_in(team, client, **{"X-Forwarded-Proto": "https"})
    assert "Secure" not in secure.headers["Set-Cookie"]  # nobody has said that this one is a proxy
    encrypted = client.post(
        "/api/v2/session",
        json={"user": "ada", "password": PASSWORD},
        base_url="https://127.0.0.1:5000",
        headers={"X-ModelDB": "1", "Origin": "https://127.0.0.1:5000"},
    )
    assert encrypted.headers["Set-Cookie"].startswith("__Host-modeldb_session=")
    assert "Secure" in encrypted.headers["Set-Cookie"]


def test_users_manage_their_own_tokens_and_password_and_no_others(team: Team) -> None:
    ada, bob = team.add_user("ada"), team.add_user("bob")
    for user in (ada, bob):
        team.accounts.set_password(user, f"{PASSWORD} {user.name}")
    as_ada = basic("ada", f"{PASSWORD} ada")
    tokens = "/api/v2/session/tokens"
    made = team.ask(tokens, "POST", headers=as_ada, json={"name": "mine", "allows": "read", "days": 3})
    assert made.status_code == 201, made.text
    shown = {"Authorization": f"Bearer {made.json['token']}"}
    assert team.ask("/api/v2/runs", headers=shown).status_code == 200
    listed = team.ask(tokens, headers=as_ada).json["items"]
    assert [each["name"] for each in listed] == ["mine", "test"]
    assert not [each for each in listed if "token" in each or "digest" in each]
    assert team.ask(tokens, "POST", headers=shown, json={"name": "more"}).status_code == 403  # a token makes no others
    of_bob = team.accounts.vault.tokens_of(bob.entity_id)[0].token_id
    assert team.ask(f"{tokens}/{of_bob}", "DELETE", headers=as_ada, content_type="application/json").status_code == 404
    mine = made.json["token_id"]
    assert team.ask(f"{tokens}/{mine}", "DELETE", headers=as_ada, content_type="application/json").status_code == 200
    assert team.ask("/api/v2/runs", headers=shown).status_code == 401
    assert team.ask(tokens, "POST", headers=as_ada, json={"name": "e", "allows": "erase"}).status_code == 403
    foreign = {"name": "p", "place_kind": "project", "place_id": team.other.project}
    assert team.ask(tokens, "POST", headers=as_ada, json=foreign).status_code == 404
    path = "/api/v2/session/password"
    new = {"password": f"{PASSWORD} ada", "new_password": "another long password"}
    assert team.ask(path, "PUT", headers=as_ada, json={**new, "password": "wrong password"}).status_code == 401
    assert team.ask(path, "PUT", headers=as_ada, json={**new, "new_password": "short"}).status_code == 400
    assert team.ask(path, "PUT", headers=as_ada, json=new).status_code == 200
    assert team.ask(tokens, headers=as_ada).status_code == 401
    assert team.ask(tokens, headers=basic("ada", "another long password")).status_code == 200


def test_admins_of_a_workspace_say_who_has_a_role_there_and_nobody_else(team: Team) -> None:
    for role in ("reader", "contributor", "admin"):
        team.give(team.add_user(role), role)
    team.add_user("new")
    members, there = (
        f"/api/v2/workspaces/{team.seen.workspace}/members",
        f"/api/v2/projects/{team.seen.project}/members",
    )
    said = {"name": "new", "role": "contributor"}
    codes = {
        each: team.ask(members, "PUT", name=each, json=said).status_code
        for each in ("reader", "contributor", "new", "admin")
    }
    assert codes == {"reader": 403, "contributor": 403, "new": 404, "admin": 200}
    listed = team.ask(members, name="reader").json
    assert {each["name"]: each["role"] for each in listed["items"]}["new"] == "contributor"
    assert (listed["may_change"], team.ask(members, name="admin").json["may_change"]) == (False, True)
    assert team.ask(there, "PUT", name="admin", json={"name": "new", "role": "reader"}).status_code == 200
    assert team.ask(there, "PUT", name="new", json={"name": "new", "role": "admin"}).status_code == 403
    assert team.ask(members, "PUT", name="admin", json={"name": "nobody", "role": "reader"}).status_code == 404
    assert team.ask(members, "PUT", name="admin", json={"name": "new", "role": "owner"}).status_code == 400
    assert team.ask(members, "PUT", name="admin", json={"name": "new", "role": ""}).status_code == 200
    foreign = f"/api/v2/workspaces/{team.other.workspace}/members"
    assert [
        team.ask(foreign, method, name="admin", json=said if method == "PUT" else None).status_code
        for method in ("GET", "PUT")
    ] == [404, 404]
    grant = team.store.get("grant", people.grant_id_of(people.user_id_of("new"), team.seen.workspace))
    assert grant.document["role"] == ""
    last = team.store.read_changes(entity_id=grant.entity_id).changes[-1]
    assert last.actor == "admin"  # the log says who did it


def test_an_open_stream_of_events_ends_when_its_user_may_see_something_else(team: Team) -> None:
    ada = team.add_user("ada")
    team.give(ada, "reader")
    answer = team.ask("/api/v2/events", name="ada")
    stream = answer.iter_encoded()
    assert b"event: ready" in next(stream)
    team.accounts.execute(people.take_role(team.store, ada.entity_id, team.seen.workspace), ADMIN)
    for _ in stream:
        pass  # it comes to its end
    answer.close()
