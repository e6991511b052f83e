"""Users, roles and tokens: who is let in, and what they see and may change."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import event

from modeldb_core.commands import people
from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from modeldb_core.log.batches import MEDIA_TYPE, encode_changes
from modeldb_core.model.entities import User
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.accounts import directory
from modeldb_server.accounts.accounts import Accounts
from modeldb_server.accounts.credentials import Means, Shown, shown_in
from modeldb_server.routes import Policy
from tests.stores.test_scoped import SECRET, Workspace

PASSWORD = "correct horse battery"
ADMIN = "root"


@dataclass
class Team:
    """A server with users: an administrator, and two workspaces with something in them."""

    store: MetadataStore
    artifacts: Any
    app: Flask
    seen: Workspace
    other: Workspace
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def accounts(self) -> Accounts:
        found: Accounts | None = self.app.extensions["modeldb_server"].accounts
        assert found is not None
        return found

    def add_user(self, name: str, **options: Any) -> User:
        operation = people.create_user(self.store, name, email=f"{name}@example.org", **options)
        self.accounts.execute(operation, ADMIN)
        user = self.accounts.directory().users[operation.entity_id]
        self.tokens[name] = self.accounts.create_token(user, name="test", created_by=ADMIN)[0]
        return user

    def give(self, user: User, role: str, place_kind: str = "workspace", place_id: str = "") -> None:
        place_id = place_id or self.seen.workspace
        self.accounts.execute(people.give_role(self.store, "user", user.entity_id, place_kind, place_id, role), ADMIN)

    def ask(self, path: str, method: str = "GET", *, name: str = "", headers: Any = None, **options: Any) -> Any:
        sent = {"X-ModelDB": "1", **(headers or {})}
        if name:
            sent["Authorization"] = f"Bearer {self.tokens[name]}"
        return self.app.test_client().open(
            path, method=method, headers=sent, base_url="http://127.0.0.1:5000", **options
        )

    def narrowed(self, name: str) -> MetadataStore:
        """Return the store as a user sees it."""
        visitor = self.accounts.visitor(Shown(Means.TOKEN, self.tokens[name]))
        assert visitor is not None
        scope = self.accounts.scope_of(visitor)
        assert scope is not None
        narrowed: MetadataStore = self.app.extensions["modeldb_server"].narrowed.of(scope)
        return narrowed

    def names(self, kind: str, name: str) -> set[str]:
        answer = self.ask(f"/api/v2/{kind}", name=name)
        assert answer.status_code == 200, answer.text
        return {each["name"] for each in answer.json["items"]}


on_both = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
"""What a test asks of the tables of accounts is the same in each database."""


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database for the store, and one for the accounts: in PostgreSQL it is one."""
    if getattr(request, "param", "sqlite") == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/accounts.db"


@pytest.fixture
def store(place: str, tmp_path: Path) -> Iterator[MetadataStore]:
    with open_store(f"sqlite:///{tmp_path}/modeldb.db" if place.startswith("sqlite") else place) as store:
        yield store


@pytest.fixture
def team(store: MetadataStore, artifacts: Any, place: str) -> Iterator[Team]:
    settings = ServerSettings(port=0, accounts=place, poll_interval_s=0.02)
    app = create_app(store, artifacts, settings, plugins=PluginManager())
    seen = Workspace("open")
    other = Workspace(SECRET, seen.run)
    store.apply([*seen.writer.changes, *other.writer.changes])
    made = Team(store, artifacts, app, seen, other)
    made.add_user(ADMIN, is_admin=True)
    yield made
    app.extensions["modeldb_server"].close()


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_user_sees_their_own_workspace_and_what_they_have_a_role_on(team: Team) -> None:
    ada = team.add_user("ada")
    assert team.names("workspaces", "ada") == {"ada"}
    assert team.names("runs", "ada") == set()
    team.give(ada, "reader")
    assert team.names("workspaces", "ada") == {"ada", "open workspace"}
    assert team.names("runs", "ada")
    assert team.names("workspaces", ADMIN) >= {"ada", "open workspace", f"{SECRET} workspace"}


def test_a_reader_reads_a_contributor_writes_and_an_admin_governs(team: Team) -> None:
    roles = ("reader", "contributor", "admin")
    for role in roles:
        team.give(team.add_user(role), role)
    run, workspace = f"/api/v2/runs/{team.seen.run}", f"/api/v2/workspaces/{team.seen.workspace}"
    assert {role: team.ask(run, name=role).status_code for role in roles} == dict.fromkeys(roles, 200)
    wrote = {role: team.ask(run, "PATCH", name=role, json={"description": role}).status_code for role in roles}
    assert wrote == {"reader": 403, "contributor": 200, "admin": 200}
    renamed = {role: team.ask(workspace, "PATCH", name=role, json={"description": role}).status_code for role in roles}
    assert renamed == {"reader": 403, "contributor": 403, "admin": 200}
    foreign = f"/api/v2/runs/{team.other.run}"
    assert {role: team.ask(foreign, name=role).status_code for role in roles} == dict.fromkeys(roles, 404)


def test_a_collaborator_of_one_project_sees_that_project_and_nothing_else(team: Team) -> None:
    bob = team.add_user("bob")
    team.give(bob, "contributor", "project", team.seen.project)
    assert team.names("projects", "bob") == {team.store.get("project", team.seen.project).name}
    assert team.names("datasets", "bob") == set()
    assert team.ask(f"/api/v2/runs/{team.seen.run}", "PATCH", name="bob", json={"description": "x"}).status_code == 200
    assert (
        team.ask(
            f"/api/v2/workspaces/{team.seen.workspace}", "PATCH", name="bob", json={"description": "x"}
        ).status_code
        == 403
    )


def test_who_reads_one_project_and_writes_another_changes_only_that(team: Team) -> None:
    eve = team.add_user("eve")
    team.give(eve, "reader")
    team.give(eve, "contributor", "project", team.other.project)
    assert team.ask(f"/api/v2/runs/{team.seen.run}", name="eve").status_code == 200
    assert team.ask(f"/api/v2/runs/{team.seen.run}", "PATCH", name="eve", json={"description": "x"}).status_code == 403
    assert team.ask(f"/api/v2/runs/{team.other.run}", "PATCH", name="eve", json={"description": "x"}).status_code == 200


@on_both
def test_a_change_of_membership_takes_effect_at_once(team: Team) -> None:
    ada = team.add_user("ada")
    run = f"/api/v2/runs/{team.seen.run}"
    for _ in range(2):
        team.give(ada, "reader")
        assert team.ask(run, name="ada").status_code == 200
        team.accounts.execute(people.take_role(team.store, ada.entity_id, team.seen.workspace), ADMIN)
        assert team.ask(run, name="ada").status_code == 404
    team.accounts.disable(ada, ADMIN)
    assert team.ask(run, name="ada").status_code == 401


@on_both
def test_members_of_a_team_have_its_roles(team: Team) -> None:
    ada, store = team.add_user("ada"), team.store
    made = people.create_team(store, team.seen.workspace, "research")
    team.accounts.execute(made, ADMIN)
    team.accounts.execute(people.join_team(store, made.entity_id, ada.entity_id), ADMIN)
    place = ("workspace", team.seen.workspace)
    team.accounts.execute(people.give_role(store, "team", made.entity_id, *place, "reader"), ADMIN)
    run = f"/api/v2/runs/{team.seen.run}"
    assert team.ask(run, name="ada").status_code == 200
    team.accounts.execute(people.leave_team(store, made.entity_id, ada.entity_id), ADMIN)
    assert team.ask(run, name="ada").status_code == 404
    team.accounts.execute(people.join_team(store, made.entity_id, ada.entity_id), ADMIN)
    assert team.ask(run, name="ada").status_code == 200
    team.accounts.execute(people.delete_team(store, made.entity_id), ADMIN)
    assert team.ask(run, name="ada").status_code == 404
    team.accounts.execute(people.create_team(store, team.seen.workspace, "research"), ADMIN)
    assert team.ask(run, name="ada").status_code == 404  # it has no members


@on_both
def test_visibility_lets_others_read_and_nobody_but_admins_alters_it(team: Team) -> None:
    ada, bob, store = team.add_user("ada"), team.add_user("bob"), team.store
    made = people.create_team(store, team.seen.workspace, "research")
    team.accounts.execute(made, ADMIN)
    team.accounts.execute(people.join_team(store, made.entity_id, ada.entity_id), ADMIN)
    run = f"/api/v2/runs/{team.seen.run}"

    def seen() -> list[int]:
        return [team.ask(run, name=name).status_code for name in ("ada", "bob")]

    expected = {"private": [404, 404], "organization": [200, 404], "public": [200, 200]}
    for visibility, codes in expected.items():
        team.accounts.execute(people.set_visibility(store, "project", team.seen.project, visibility), ADMIN)
        assert seen() == codes, visibility
    team.accounts.execute(people.set_visibility(store, "project", team.seen.project, "private"), ADMIN)
    team.give(bob, "contributor")
    project = f"/api/v2/projects/{team.seen.project}"
    assert team.ask(project, "PATCH", name="bob", json={"description": "x"}).status_code == 200
    for role, is_allowed in (("contributor", False), ("admin", True)):
        team.give(bob, role)
        change = StreamWriter(actor="bob").update("project", team.seen.project, set={"visibility": "public"})
        with nullcontext() if is_allowed else pytest.raises(PermissionDeniedError):
            team.narrowed("bob").apply([change])
    assert store.get("project", team.seen.project).visibility == "public"


def test_what_a_request_shows_is_found_in_any_form(team: Team) -> None:
    ada = team.add_user("ada")
    team.accounts.set_password(ada, PASSWORD)
    token = team.tokens["ada"]
    good = [
        {"Authorization": f"Bearer {token}"},
        basic("ada", token),
        basic("ada", PASSWORD),
        basic("ada@example.org", PASSWORD),
        {"Grpc-Metadata-developer_key": token, "Grpc-Metadata-email": "ada@example.org"},
        {"Grpc-Metadata-developer_key": token, "Grpc-Metadata-email": "ADA@example.org"},
    ]
    bad = [
        {},
        {"Authorization": f"Bearer {PASSWORD}"},
        basic("bob", PASSWORD),
        basic("ada", PASSWORD + "x"),
        basic("ada", ""),
        basic("", token[:-1]),
        {"Grpc-Metadata-developer_key": token, "Grpc-Metadata-email": "root@example.org"},
        {"Grpc-Metadata-developer_key": PASSWORD, "Grpc-Metadata-email": "ada@example.org"},
        {"X-Remote-User": "ada"},
        {"Cookie": "modeldb_session=guess"},
    ]
    assert [team.ask("/api/v2/runs", headers=each).status_code for each in good] == [200] * len(good)
    answers = [team.ask("/api/v2/runs", headers=each) for each in bad]
    assert {(each.status_code, each.text) for each in answers} == {(401, answers[0].text)}


def test_an_unknown_user_costs_as_much_as_a_wrong_password(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = team.add_user("ada")
    team.accounts.set_password(ada, PASSWORD)
    counted: list[str] = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(
        PasswordHasher, "verify", lambda self, hashed, given: counted.append(given) or verify(self, hashed, given)
    )
    for name in ("ada", "nobody", ADMIN):  # a wrong password, no such user, one without a password
        with counted_queries(team) as queries:
            assert team.ask("/api/v2/runs", headers=basic(name, f"wrong password {name}")).status_code == 401
        assert (len(counted), len(queries)) == (1, 2), name
        counted.clear()
    for _ in range(3):  # a right one is hashed once
        assert team.ask("/api/v2/runs", headers=basic("ada", PASSWORD)).status_code == 200
    assert len(counted) == 1
    team.accounts.set_password(ada, f"{PASSWORD} staple")
    assert team.ask("/api/v2/runs", headers=basic("ada", PASSWORD)).status_code == 401  # at once


@pytest.mark.parametrize(
    ("means", "of_accounts", "of_store"),
    [
        ("token", 1, 1),
        ("session", 1, 1),
        ("password", 2, 1),
        ("token of an admin", 1, 1),
        ("token for a project", 1, 2),
    ],
)
def test_who_asks_costs_one_query_for_each_request(
    team: Team, monkeypatch: pytest.MonkeyPatch, means: str, of_accounts: int, of_store: int
) -> None:
    """What a request gets takes one of the store; who is who is not read again."""
    monkeypatch.setattr(directory, "MAX_AGE_S", 3600)
    ada = team.add_user("ada")
    team.give(ada, "contributor")
    team.accounts.set_password(ada, PASSWORD)
    place = ("project", team.seen.project)
    shown = {
        "token": f"Bearer {team.tokens['ada']}",
        "token of an admin": f"Bearer {team.tokens[ADMIN]}",
        "token for a project": f"Bearer {team.accounts.create_token(ada, name='p', place=place, created_by=ADMIN)[0]}",
        "password": basic("ada", PASSWORD)["Authorization"],
    }
    session = team.accounts.vault.add_session(ada.entity_id, 60)
    headers = {"Authorization": shown[means]} if means in shown else {"Cookie": f"modeldb_session={session}"}
    client = team.app.test_client(use_cookies=False)

    def ask() -> int:
        return int(client.get(f"/api/v2/runs/{team.seen.run}", headers=headers).status_code)

    assert ask() == 200
    asked: list[str] = []
    for name in ("get", "find"):
        method = getattr(type(team.store), name)
        monkeypatch.setattr(
            type(team.store), name, lambda *given, _method=method, **more: asked.append("") or _method(*given, **more)
        )
    with counted_queries(team) as queries:
        assert [ask() for _ in range(3)] == [200] * 3
    assert (len(queries), len(asked)) == (3 * of_accounts, 3 * of_store)


@contextmanager
def counted_queries(team: Team) -> Iterator[list[str]]:
    queries: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            queries.append(statement)

    engine = team.accounts.vault.database._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield queries
    finally:
        event.remove(engine, "before_cursor_execute", note)


@on_both
def test_a_token_ends_when_it_expires_is_revoked_or_its_user_is_disabled(team: Team) -> None:
    ada = team.add_user("ada")
    accounts = team.accounts
    expired = accounts.create_token(ada, name="short", expires_in_days=1e-11, created_by=ADMIN)[0]
    revoked, kept = accounts.create_token(ada, name="revoked", created_by=ADMIN)
    assert accounts.vault.revoke_token(kept.token_id)
    assert not accounts.vault.revoke_token(kept.token_id)
    for token in (expired, revoked):
        assert team.ask("/api/v2/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert [each.name for each in accounts.vault.tokens_of(ada.entity_id)] == ["revoked", "short", "test"]
    assert accounts.vault.tokens_of(ada.entity_id)[2].last_used_at is None
    team.ask("/api/v2/runs", name="ada")
    assert accounts.vault.tokens_of(ada.entity_id)[2].last_used_at is not None
    accounts.disable(ada, ADMIN)
    accounts.execute(people.update_user(team.store, ada.entity_id, is_disabled=False), ADMIN)
    assert team.ask("/api/v2/runs", name="ada").status_code == 401  # it does not come back


@on_both
def test_a_token_allows_no_more_than_it_says(team: Team) -> None:
    ada, store = team.add_user("ada"), team.store
    team.give(ada, "contributor")
    root = team.accounts.directory().named(ADMIN)
    assert root is not None
    run, description = f"/api/v2/runs/{team.seen.run}", {"description": "x"}
    place = ("project", team.seen.project)
    for user in (ada, root):
        reading = team.accounts.create_token(user, name="r", allows=Policy.READ, created_by=ADMIN)[0]
        narrow = team.accounts.create_token(user, name="p", place=place, created_by=ADMIN)[0]
        for token, codes in ((reading, [200, 403, 200]), (narrow, [200, 200, 404])):
            headers = {"Authorization": f"Bearer {token}"}
            answers = [
                team.ask(run, headers=headers),
                team.ask(run, "PATCH", headers=headers, json=description),
                team.ask(f"/api/v2/datasets/{team.seen.dataset}", headers=headers),
            ]
            assert [each.status_code for each in answers] == codes
        assert (
            team.ask(f"/api/v2/runs/{team.other.run}", headers={"Authorization": f"Bearer {narrow}"}).status_code == 404
        )
    with pytest.raises(PermissionDeniedError, match="cannot|no token"):
        team.accounts.create_token(ada, name="e", allows=Policy.ERASE, created_by=ADMIN)
    with pytest.raises(NotFoundError):
        team.accounts.create_token(ada, name="x", place=("project", ada.entity_id), created_by=ADMIN)
    team.accounts.execute(people.take_role(store, ada.entity_id, team.seen.workspace), ADMIN)
    assert team.ask(run, headers={"Authorization": f"Bearer {narrow}"}).status_code == 200  # that of the administrator


def test_nobody_but_an_administrator_says_who_may_do_what(team: Team) -> None:
    """Not by the routes for stores either, which take any change."""
    ada = team.add_user("ada")
    team.give(ada, "admin")
    writer = StreamWriter(actor="ada")
    writer.open()
    writer.update("user", ada.entity_id, set={"is_admin": True})
    content = encode_changes(writer.changes)
    headers = {"Content-Type": MEDIA_TYPE}
    answer = team.ask("/api/v2/store/changes", "POST", name="ada", data=content, headers=headers)
    assert answer.status_code == 403
    with pytest.raises(PermissionDeniedError):
        team.narrowed("ada").apply(writer.changes)
    assert not team.store.get("user", ada.entity_id).is_admin


def test_secrets_are_nowhere_but_as_digests(team: Team, tmp_path: Path) -> None:
    ada = team.add_user("ada")
    team.accounts.set_password(ada, PASSWORD)
    team.ask("/api/v2/runs", name="ada")
    session = team.accounts.vault.add_session(ada.entity_id, 60)
    team.accounts.close()
    secrets = [PASSWORD, session, *team.tokens.values()]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [each for each in secrets if each.encode() in content], path
    assert (tmp_path / "accounts.db").stat().st_mode & 0o077 == 0
    log = b"".join(each.payload or b"" for each in team.store.read_changes().changes)
    assert b"ada@example.org" in log
    assert b"argon2" not in log


def test_weak_passwords_and_wrong_names_are_refused(team: Team) -> None:
    ada = team.add_user("ada-of-the-lake")
    for password in ("", "short", "a" * 30, "abababababababab", "ada-of-the-lake", "x" * 2000):
        with pytest.raises(InvalidArgumentError) as caught:
            team.accounts.set_password(ada, password)
        assert not password or password not in str(caught.value)
    service = team.add_user("robot", is_service=True)
    with pytest.raises(InvalidArgumentError, match="service"):
        team.accounts.set_password(service, PASSWORD)
    assert team.store.find(Query("workspace", "name = 'robot'")).entities == ()
    for name in ("", " ", "a b", "a:b", "../x", "x" * 101, "a\n", "-a", "=cmd"):
        with pytest.raises(InvalidArgumentError):
            people.create_user(team.store, name)
    with pytest.raises(InvalidArgumentError, match="email"):
        people.create_user(team.store, "new", email="nowhere")


def test_metadata_of_grpc_shows_the_same_as_headers() -> None:
    assert shown_in([("authorization", "Bearer abc")]) == shown_in([("Authorization", "bearer abc")])
    for names in (
        ("Grpc-Metadata-email", "Grpc-Metadata-developer_key"),
        ("grpc-metadata-email", "grpc-metadata-developer_key"),
        ("email", "developer_key"),
    ):
        shown = shown_in([(names[0], "ada@example.org"), (names[1], "key")])
        assert shown is not None
        assert (shown.name, shown.secret) == ("ada@example.org", "key")
    assert shown_in([("X-Remote-User", "ada")]) is None
    assert shown_in([]) is None


@pytest.mark.parametrize(("proxy", "status"), [("127.0.0.1", 200), ("192.0.2.1", 401)])
def test_a_proxy_says_who_asks_only_from_where_it_is_told_to_be(
    store: MetadataStore, artifacts: Any, tmp_path: Path, proxy: str, status: int
) -> None:
    place = f"sqlite:///{tmp_path}/accounts.db"
    settings = ServerSettings(port=0, accounts=place, trusted_proxy=proxy, proxy_user_header="X-Remote-User")
    server = Server(create_app(store, artifacts, settings, plugins=PluginManager()))
    assert server.context.accounts is not None
    server.context.accounts.execute(people.create_user(store, "ada"), ADMIN)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        for name, expected in (("ada", status), ("nobody", 401)):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", "/api/v2/runs", headers={"X-Remote-User": name})
            assert connection.getresponse().status == expected
            connection.close()
    finally:
        server.stop()
        assert server.wait(30)
        thread.join(30)
