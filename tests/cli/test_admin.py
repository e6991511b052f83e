"""``modeldb admin``: the first administrator, users, tokens, teams and roles, without a server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.cli import program
from modeldb_core.plugins import PluginManager, load_settings, open_artifacts, open_store
from modeldb_core.queries import Query
from modeldb_server import create_app
from tests.cli.conftest import Command

PASSWORD = "correct horse battery"


@pytest.fixture
def admin(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, given: str = "", code: int = program.OK) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        result = command("admin", *arguments, "--json")
        assert result.code == code, result.err
        assert PASSWORD not in result.out + result.err
        return json.loads(result.out) if code == program.OK else result.err

    return run


def test_an_administrator_makes_users_and_the_server_lets_them_in(admin: Any, tmp_path: Path) -> None:
    short = admin("create", "ada", given="too short\n", code=program.USAGE)
    assert "12" in short
    made = admin("create", "ada", "--email", "Ada@example.org", given=f"{PASSWORD}\n")
    assert made["name"] == "ada"
    assert "already" in admin("create", "ada", given=f"{PASSWORD}\n", code=program.FOUND)
    admin("user", "create", "bob", "--full-name", "Bob B.", given=f"{PASSWORD} 2\n")
    admin("user", "create", "robot", "--service")
    admin("user", "update", "bob", "--email", "bob@example.org")
    listed = {each["name"]: each for each in admin("user", "list")}
    assert (listed["ada"]["is_admin"], listed["ada"]["email"]) == (True, "ada@example.org")
    assert (listed["robot"]["is_service"], listed["bob"]["email"]) == (True, "bob@example.org")
    admin("workspace", "create", "research")
    admin("team", "create", "research", "vision")
    admin("team", "add", "research", "vision", "bob")
    assert admin("team", "list", "research")[0]["members"] == ["bob"]
    admin("role", "give", "vision", "reader", "research", "--team")
    admin("role", "give", "robot", "contributor", "research")
    assert {each["name"]: each["role"] for each in admin("role", "list", "research")} == {
        "vision": "reader",
        "robot": "contributor",
    }
    token = admin("token", "create", "robot", "--name", "nightly", "--days", "30")
    reading = admin("token", "create", "bob", "--name", "dashboard", "--allows", "read", "--place", "research")
    assert "no project" in admin("role", "give", "bob", "reader", "research/none", code=program.MISSING)

    settings = load_settings()
    with open_store(settings.url, settings) as store:
        app = create_app(store, open_artifacts(settings.artifact_url, settings), settings, plugins=PluginManager())

        def status(shown: str) -> int:
            headers = {"Authorization": f"Bearer {shown}"}
            return app.test_client().get("/api/v2/runs", headers=headers, base_url="http://127.0.0.1").status_code

        assert [status(each["token"]) for each in (token, reading)] == [200, 200]
        assert status("mdb_nothing") == 401
        admin("token", "revoke", token["token_id"])
        admin("user", "disable", "bob")
        assert [status(each["token"]) for each in (token, reading)] == [401, 401]
        app.extensions["modeldb_server"].close()
        makers = {each.actor for each in store.read_changes().changes if each.kind in ("user", "team", "grant")}
        assert len(makers) == 1  # the log says who made them
        assert store.find(Query("grant", count=True)).total == 4  # two workspaces of their own beside these
    rows = {each["name"]: each for each in admin("token", "list")}
    assert rows["nightly"]["revoked_at"]
    assert rows["nightly"]["last_used_at"]
    assert [each["name"] for each in admin("token", "list", "bob")] == ["dashboard"]
    admin("user", "enable", "bob")
    admin("role", "take", "vision", "research", "--team")
    admin("team", "remove", "research", "vision", "bob")
    admin("team", "delete", "research", "vision")
    admin("workspace", "visibility", "research", "public")
    admin("user", "password", "bob", given="another long password\n")
    files = [path.name for path in tmp_path.iterdir() if "accounts" in path.name]
    assert "modeldb-accounts.db" in files


def test_a_store_with_no_place_beside_it_needs_a_database(admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELDB_URL", "memory://")
    told = admin("user", "list", code=program.CONFIGURATION)
    assert "MODELDB_SERVER_ACCOUNTS" in told
    monkeypatch.setenv("MODELDB_SERVER_ACCOUNTS", "off")
    assert "is off" in admin("user", "list", code=program.CONFIGURATION)
    monkeypatch.setenv("MODELDB_SERVER_ACCOUNTS", "mysql://root:secret@host/x")
    told = admin("user", "list", code=program.CONFIGURATION)
    assert "mysql" in told
    assert "secret" not in told
