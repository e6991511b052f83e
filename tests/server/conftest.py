"""A real store with real changes, a real artifact store, and the application on both."""

from __future__ import annotations

import http.client
import io
import json
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.stores import ArtifactStore, MetadataStore
from modeldb_core.testing import StreamWriter
from modeldb_server import Server, ServerSettings, create_app

STORE_URL = os.environ.get("SERVER_TEST_STORE", "sqlite:///{tmp_path}/modeldb.db")

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
FILES = {
    "plots/confusion.png": PNG,
    "report.html": b"<script>alert(1)</script>",
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "table.csv": b'name,auc\nforest,0.91\n"boost, tuned",0.93\n',
    "notes.txt": "Grüße\n".encode(),
    "model.pkl": b"cos\nsystem\n(S'true'\ntR.",
    "große Datei.bin": bytes(range(256)) * 4096,
    "empty.txt": b"",
}


@dataclass
class Filled:
    """A store with one project, an experiment and two runs."""

    store: MetadataStore
    artifacts: ArtifactStore
    writer: StreamWriter
    project_id: str = ""
    experiment_id: str = ""
    run_id: str = ""
    other_run_id: str = ""
    blobs: dict[str, str] = field(default_factory=dict)

    def apply(self) -> None:
        """Apply what the writer has made since the last time."""
        seen = self.store.heads().get(self.writer.stream_id)
        self.store.apply(self.writer.take(seen.seq if seen else 0))

    def add_artifact(self, path: str, content: bytes, **entry: Any) -> str:
        """Store a blob and log it to the first run; returns its digest."""
        info = self.artifacts.put(io.BytesIO(content))
        self.blobs[path] = info.digest
        described = {"digest": info.digest, "size_bytes": len(content), **entry}
        self.writer.update("run", self.run_id, put={"artifacts": {path: described}})
        self.apply()
        return info.digest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    with open_store(STORE_URL.format(tmp_path=tmp_path)) as opened:
        yield opened


@pytest.fixture
def artifacts(tmp_path: Path) -> Iterator[ArtifactStore]:
    opened = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    yield opened
    opened.close()


@pytest.fixture
def filled(store: MetadataStore, artifacts: ArtifactStore) -> Filled:
    writer = StreamWriter(actor="ada")
    data = Filled(store, artifacts, writer)
    writer.open(lease_s=3600)
    ids = writer.create_containers("churn", "forest")
    data.project_id, data.experiment_id = ids["project_id"], ids["experiment_id"]
    data.run_id = writer.create_run(
        **ids,
        name="first",
        tags=["baseline"],
        hyperparameters={"max_depth": 8, "nested": {"$lr": 1e-3, "list": [1, math.nan]}, "huge": 2**70},
        metrics={"auc": 0.91, "broken": math.nan, "above": math.inf},
        attributes={"team": "growth", "empty": ""},
    ).entity_id
    data.other_run_id = writer.create_run(**ids, name="second", metrics={"auc": 0.7}, status="finished").entity_id
    writer.append(data.run_id, {"loss": [1.0, 0.5, math.nan, 0.25], "accuracy": [0.1, 0.2, 0.3, 0.4]})
    data.apply()
    for path, content in FILES.items():
        data.add_artifact(path, content)
    return data


@pytest.fixture
def settings() -> ServerSettings:
    return ServerSettings(port=0, actor="grace", poll_interval_s=0.02, heartbeat_s=0.2, threads=2, max_event_streams=3)


@pytest.fixture
def app(filled: Filled, settings: ServerSettings) -> Iterator[Flask]:
    made = create_app(filled.store, filled.artifacts, settings, plugins=PluginManager())
    yield made
    made.extensions["modeldb_server"].close()


class Client:
    """Asks an application as a browser on this machine would, and reads JSON."""

    def __init__(self, app: Flask) -> None:
        self.flask: FlaskClient = app.test_client()

    def request(self, method: str, path: str, **options: Any) -> Any:
        options.setdefault("base_url", "http://127.0.0.1:5000")
        return self.flask.open(path, method=method, **options)

    def get(self, path: str, **query: Any) -> Any:
        response = self.request("GET", path, **({"query_string": query} if query else {}))
        assert response.status_code == 200, response.text
        return response.json

    def error(self, path: str, status: int, **query: Any) -> Any:
        response = self.request("GET", path, **({"query_string": query} if query else {}))
        assert response.status_code == status, response.text
        assert response.json["error"]["message"]
        return response.json["error"]

    def send(self, method: str, path: str, body: Any, status: int = 200) -> Any:
        response = self.request(method, path, json=body, headers={"X-ModelDB": "1"})
        assert response.status_code == status, response.text
        return response.json


@pytest.fixture
def client(app: Flask) -> Client:
    return Client(app)


@dataclass
class Live:
    """A server that listens."""

    server: Server

    def connect(self, timeout: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.server.host, self.server.port, timeout=timeout)

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connect()
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        response, body = self.get(path)
        assert response.status == 200, body
        return json.loads(body)


@pytest.fixture
def live(app: Flask) -> Iterator[Live]:
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Live(server)
    server.stop()
    assert server.wait(30)
    thread.join(30)
