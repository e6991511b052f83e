"""The access log of a server: every refusal, every file that was read, every sign-in; and never a secret."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb_server
import modeldb_webui
from modeldb_core.audit.access import AccessReader, verify_access
from modeldb_core.audit.access.entries import READ, REFUSE, SIGN_IN
from modeldb_core.errors import ConfigurationError
from modeldb_core.log.changes import Change
from modeldb_core.plugins import PluginManager
from modeldb_server import ServerSettings, create_app
from modeldb_server.api import routes
from modeldb_server.guesses import FREE_GUESSES
from modeldb_server.routes import Policy
from modeldb_v1.rpc import requests
from tests.server.test_scoped import ADA, Two

WRITER, READER = "a-token-to-write-with", "a-token-to-read-with"
EMPTY = PluginManager()
SECRETS = (WRITER, READER, "wrong-but-long-enough", "s3cr3t")


class Logged:
    """An application with an access log, and what it wrote."""

    def __init__(
        self, store: Any, artifacts: Any, folder: Path, plugins: PluginManager | None = EMPTY, **settings: Any
    ) -> None:
        self.folder = folder
        settings.setdefault("tokens", (f"grace:{WRITER}",))
        settings.setdefault("read_tokens", (f"rita:{READER}",))
        chosen = ServerSettings(port=0, access_log_dir=folder, **settings)
        self.app = create_app(store, artifacts, chosen, plugins=plugins)

    def ask(self, path: str, token: str = "", method: str = "GET", **options: Any) -> Any:
        headers = {"X-ModelDB": "1", **options.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        options.setdefault("base_url", "http://127.0.0.1:5000")
        return self.app.test_client().open(path, method=method, headers=headers, **options)

    def entries(self, *actions: str) -> list[Change]:
        self.app.extensions["modeldb_server"].access.log.flush()
        with AccessReader(self.folder) as reader:
            changes = reader.read_changes(limit=1_000_000).changes
        return [change for change in changes if change.action in actions]


@pytest.fixture
def logged(filled: Any, tmp_path: Path) -> Iterator[Logged]:
    made = Logged(filled.store, filled.artifacts, tmp_path / "access")
    yield made
    made.app.extensions["modeldb_server"].close()
    assert verify_access(made.folder).ok
    with AccessReader(made.folder) as reader:
        texts = "".join(f"{change}{change.payload!r}" for change in reader.read_changes(limit=1_000_000).changes)
    assert not [secret for secret in SECRETS if secret in texts]


def concrete(path: str, filled: Any) -> str:
    for name, value in (
        ("run_id", filled.run_id),
        ("entity_id", filled.run_id),
        ("digest", filled.blobs["notes.txt"]),
    ):
        path = path.replace(f"<{name}>", value)
    return path


def test_every_route_records_whom_it_refused_and_why(logged: Logged, filled: Any) -> None:
    asked = [route for route in routes() if route.policy is not Policy.PUBLIC]
    for route in asked:
        path = concrete(route.path, filled)
        assert logged.ask(path, method=route.method, json={}).status_code == 401
    found = logged.entries(REFUSE)
    assert [change.entity_id for change in found] == [route.path for route in asked]
    for route, change in zip(asked, found, strict=True):
        data = change.data()
        assert (data["status"], data["method"], data["address"]) == (401, route.method, "127.0.0.1")
        assert data["reason"] == "unauthorized"
        assert change.actor == ""
        if "<run_id>" in route.path:
            assert data["run_id"] == filled.run_id


def test_who_may_only_read_is_named_with_what_they_tried(logged: Logged, filled: Any) -> None:
    writes = [route for route in routes() if route.policy in (Policy.WRITE, Policy.ERASE)]
    for route in writes:
        assert logged.ask(concrete(route.path, filled), READER, route.method, json={}).status_code == 403
    found = logged.entries(REFUSE)
    assert [(change.actor, change.entity_id) for change in found] == [("rita", route.path) for route in writes]
    assert {change.data()["reason"] for change in found} == {"permission_denied"}


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"base_url": "http://evil.example.org"}, 403),
        ({"headers": {"Origin": "https://evil.example.org"}}, 403),
        ({"headers": {"Authorization": "Bearer wrong-but-long-enough"}}, 401),
        ({"headers": {"Authorization": "Basic " + base64.b64encode(b"ada:s3cr3t").decode()}}, 401),
        ({"path": "/api/v2/nothing/s3cr3t?token=s3cr3t"}, 401),
    ],
)
def test_what_is_refused_for_any_reason_is_recorded_without_what_was_shown(
    logged: Logged, options: dict[str, Any], status: int
) -> None:
    path = options.pop("path", "/api/v2/runs?filter=s3cr3t")
    assert logged.ask(path, **options).status_code == status
    (change,) = logged.entries(REFUSE)
    assert change.data()["status"] == status
    assert change.entity_id in ("/api/v2/runs", "unknown")


def test_guesses_that_are_slowed_down_are_recorded(logged: Logged) -> None:
    for number in range(FREE_GUESSES + 1):
        last = logged.ask("/api/v2/runs", f"a-guess-that-is-long-{number}")
    assert last.status_code == 429
    assert [change.data()["status"] for change in logged.entries(REFUSE)] == [401] * FREE_GUESSES + [429]


def test_somebody_elses_run_is_recorded_as_refused_and_one_that_is_not_there_is_not(
    store: Any, artifacts: Any, tmp_path: Path
) -> None:
    two = Two(store, artifacts, access_log_dir=tmp_path / "access")
    logged = Logged.__new__(Logged)
    logged.app, logged.folder = two.app, tmp_path / "access"
    missing = two.other.run[:-4] + "0000"
    for run_id in (two.other.run, missing, two.seen.run):
        logged.ask(f"/api/v2/runs/{run_id}", ADA)
        logged.ask(f"/api/v2/runs/{run_id}/artifacts?path=notes.txt", ADA)
    refused = logged.entries(REFUSE)
    assert {name for change in refused for name in change.data().values() if name == two.other.run} == {two.other.run}
    assert {(change.actor, change.data()["status"], change.data()["reason"]) for change in refused} == {
        ("ada", 404, "out_of_scope")
    }
    assert len(refused) == 2
    assert [change.entity_id for change in logged.entries(READ)] == [two.seen.run]
    two.app.extensions["modeldb_server"].close()


def test_every_way_to_read_a_file_is_recorded(logged: Logged, filled: Any) -> None:
    digest, run = filled.blobs["notes.txt"], filled.run_id
    size = len("Grüße\n".encode())
    base = f"/api/v2/runs/{run}/artifacts?path=notes.txt"
    asked: list[tuple[str, dict[str, Any], int]] = [
        (base, {}, size),
        (f"{base}&download=1", {}, size),
        (base, {"headers": {"Range": "bytes=0-1"}}, 2),
        (base, {"method": "HEAD"}, 0),
        (f"/api/v2/runs/{run}/artifacts/preview?path=notes.txt", {}, size),
        (f"/api/v2/store/blobs/{digest}", {}, size),
        (f"/api/v2/store/blobs/{digest}/url", {}, 0),
        ("/api/v2/store/blob-contents", {"method": "POST", "json": {"digests": [digest], "max_bytes": 1 << 20}}, size),
    ]
    for path, options, _ in asked:
        assert logged.ask(path, READER, **options).status_code in (200, 206), path
    logged.ask(base, READER, headers={"If-None-Match": f'"{digest}"'})
    found = logged.entries(READ)
    assert len(found) == len(asked), "what the client had already was not handed out"
    for change, (path, _, length) in zip(found, asked, strict=True):
        data = change.data()
        assert (change.actor, data["digest"], data["address"]) == ("rita", digest, "127.0.0.1")
        assert data["bytes"] == length, path
        if "/runs/" in path:
            assert (change.kind, change.entity_id, data["path"]) == ("run", run, "notes.txt")
            assert data["project_id"] == filled.project_id
        else:
            assert (change.kind, change.entity_id) == ("blob", digest)


def test_no_handler_opens_a_file_without_saying_so() -> None:
    """Each function that opens, lists contents of or links to blobs notes it, or is one of those that hand nothing out."""
    compared, uploaded = {"diff_runs", "compare_versions", "read_bom", "whole"}, {"_opened", "_renewed"}
    found = set()
    for package in (modeldb_server, modeldb_webui):
        for path in Path(str(package.__file__)).parents[1].rglob("*.py"):  # and what lies beside it
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef) and not any(
                    isinstance(below, ast.FunctionDef) and below is not node for below in ast.walk(node)
                ):
                    text = ast.unparse(node)
                    if any(f"artifacts.{call}" in text for call in ("open", "read_many", "url_for")):
                        found.add(node.name)
                        assert "note_read(" in text or node.name in compared | uploaded | {"_stream"}, (
                            f"{path}: {node.name}"
                        )
    assert {"send_file", "read_blob", "read_blobs", "get_blob_url", "preview_artifact"} <= found


def test_a_sign_in_is_recorded_once_in_a_while_and_for_each_address(logged: Logged) -> None:
    for _ in range(3):
        logged.ask("/api/v2/runs", READER)
        logged.ask("/api/v2/runs", WRITER, environ_base={"REMOTE_ADDR": "10.1.2.3"})
    found = [(change.actor, change.data()["how"], change.data()["address"]) for change in logged.entries(SIGN_IN)]
    assert found == [("rita", "bearer", "127.0.0.1"), ("grace", "bearer", "10.1.2.3")]


def test_without_a_log_nothing_is_written_and_one_that_cannot_be_made_is_said(filled: Any, tmp_path: Path) -> None:
    app = create_app(filled.store, filled.artifacts, ServerSettings(port=0), plugins=PluginManager())
    assert app.extensions["modeldb_server"].access.log is None
    app.extensions["modeldb_server"].close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"server\.access_log_dir"):
        Logged(filled.store, filled.artifacts, tmp_path / "file" / "access")


def test_what_is_lost_is_counted_in_the_metrics(logged: Logged) -> None:
    context = logged.app.extensions["modeldb_server"]
    context.access.log.close()
    logged.ask("/api/v2/runs")
    text = logged.ask("/metrics", READER).text
    assert "modeldb_access_entries_lost_total 1.0" in text
    assert json.loads(logged.ask("/api/v2/runs", READER).text)["items"]


def test_calls_of_the_v1_api_are_named_by_http_and_grpc(filled: Any, tmp_path: Path) -> None:
    logged = Logged(filled.store, filled.artifacts, tmp_path / "access", plugins=None)
    logged.ask("/api/v1/modeldb/project/getProjectById?id=s3cr3t")
    path = "/ai.verta.modeldb.ProjectService/createProject"
    requests.ask(logged.app, path, b"", [("authorization", f"Bearer {READER}")], "ipv4:10.1.2.3:4567")
    one, other = logged.entries(REFUSE)
    assert one.data()["call"] == "ai.verta.modeldb.ProjectService/getProjectById"
    assert (other.actor, other.data()["call"], other.data()["status"]) == ("rita", path[1:], 403)
    assert other.data()["address"] == "10.1.2.3"
    assert len(one.data()["request_id"]) == 32
    logged.app.extensions["modeldb_server"].close()
