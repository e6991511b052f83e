"""A question that takes for ever ends when the time of its request is up, and the work ends with it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from flask import Blueprint, Flask
from sqlalchemy import text

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import TimeLimitError
from modeldb_core.hookspecs import hookimpl
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.runtime import time_limits
from modeldb_core.stores import MetadataStore
from modeldb_server import ServerSettings, create_app
from tests.v1.world import running_world

BASE = "http://127.0.0.1"
ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x % 1000 + 1 FROM t) SELECT count(*) FROM t"


def ask_for_ever(store: Any) -> None:
    store._database.read(lambda transaction: transaction.connection.execute(text(ENDLESS)).all())


class Plugin:
    """Adds a page that asks the store for ever, and a route that changes something and says its limit."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store

    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        def view() -> str:
            ask_for_ever(self.store)
            return "never"

        def change() -> str:
            return str(time_limits.until())

        change.modeldb_policy = "write"  # type: ignore[attr-defined]
        blueprint = Blueprint("endless", __name__)
        blueprint.add_url_rule("/api/endless", "page", view)
        blueprint.add_url_rule("/api/changing", "change", change, methods=["POST"])
        app.register_blueprint(blueprint)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/modeldb.db"


def test_a_question_that_takes_for_ever_is_answered_504_and_ended(url: str, tmp_path: Path) -> None:
    with open_store(url) as store:
        plugins = PluginManager()
        plugins.add(Plugin(store), "endless")
        settings = ServerSettings(port=0, request_timeout_s=0.2)
        app = create_app(store, FsspecArtifactStore(tmp_path.as_uri()), settings, plugins=plugins)
        client = app.test_client()
        for _ in range(3):
            answer = client.get("/api/endless", base_url=BASE)
            assert (answer.status_code, answer.json["error"]["code"]) == (504, "time_limit"), answer.text
        assert client.post("/api/changing", json={}, headers={"X-ModelDB": "1"}, base_url=BASE).text == "None"
        assert time_limits.until() is None  # the thread answers others
        list(store.read_changes().changes)
        app.extensions["modeldb_server"].close()


def test_who_asks_on_after_the_time_is_up_is_told_and_who_sets_no_limit_is_not(url: str) -> None:
    with open_store(url) as store, time_limits.no_limit():
        store.read_changes()
        time_limits.set_limit(0)
        with pytest.raises(TimeLimitError, match="narrower filter"):
            store.read_changes()
        with time_limits.no_limit():
            store.read_changes()


def test_a_call_by_grpc_is_not_worked_on_after_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_world(tmp_path, f"sqlite:///{tmp_path}/modeldb.db") as made:
        store = made.server.app.extensions["modeldb_server"].whole_store
        ended = threading.Event()

        def find(query: object) -> None:
            del query
            try:
                ask_for_ever(store)
            except TimeLimitError:
                ended.set()
                raise

        monkeypatch.setattr(store, "find", find)
        find_projects = made.channel.unary_unary("/ai.verta.modeldb.ProjectService/findProjects")
        with pytest.raises(grpc.RpcError) as refused:
            find_projects(b"", timeout=1, metadata=[("authorization", "Bearer a-token-that-may-write")])
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert ended.wait(60)
