"""A server with the v1 API on real stores, and a client that speaks as the original one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import modeldb_v1
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import PluginManager, open_store
from modeldb_server import ServerSettings, create_app
from tests.v1.wire import Wire

MODELDB = "/api/v1/modeldb"
WRITE_TOKEN, READ_TOKEN = "grace:write-write-write-1", "alan:read-read-read-read-1"


@dataclass
class V1:
    """Sends what the original client sends: JSON with every field, query strings with Python's words for truth."""

    client: FlaskClient
    headers: dict[str, str]
    prefix: str = MODELDB

    def send(self, method: str, path: str, body: Any = None, /, **query: Any) -> TestResponse:
        """Send a request and return the answer."""
        prefix = "" if path.startswith(("/api/", "/v1/")) else f"{self.prefix}/"
        options: dict[str, Any] = {} if body is None else {"json": body}
        texts = {
            name: [str(each) for each in value] if isinstance(value, list) else str(value)
            for name, value in query.items()
        }
        return self.client.open(
            f"{prefix}{path}",
            method=method,
            query_string=texts,
            headers=self.headers,
            base_url="http://localhost",
            **options,
        )

    def get(self, path: str, /, **query: Any) -> Any:
        """Return what a GET is answered."""
        return self._checked(self.send("GET", path, **query))

    def post(self, path: str, /, **body: Any) -> Any:
        """Return what a POST is answered."""
        return self._checked(self.send("POST", path, body))

    def delete(self, path: str, /, **body: Any) -> Any:
        """Return what a DELETE with a body is answered."""
        return self._checked(self.send("DELETE", path, body))

    def _checked(self, response: TestResponse) -> Any:
        assert response.status_code == 200, response.get_data(as_text=True)
        return response.json


def made_app(folder: Path, **settings: Any) -> Any:
    """Return an application with the v1 API on stores in ``folder``, and what closes it."""
    plugins = PluginManager()
    plugins.add(modeldb_v1, "modeldb_v1")
    store = open_store(f"sqlite:///{folder}/modeldb.db")
    artifacts = FsspecArtifactStore(f"file://{folder}/blobs")
    app = create_app(store, artifacts, ServerSettings(port=0, actor="grace", **settings), plugins=plugins)
    return app, (app.extensions["modeldb_server"], store, artifacts)


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V1]:
    """A client of one server for all tests of a module: each makes what it needs under names of its own."""
    app, parts = made_app(tmp_path_factory.mktemp("v1"))
    yield V1(app.test_client(), {"Grpc-Metadata-source": "PythonClient"})
    for part in parts:
        part.close()


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The calls by their names, of one server for all tests of a module."""
    app, parts = made_app(tmp_path_factory.mktemp("v1"))
    yield Wire(app.test_client())
    for part in parts:
        part.close()
