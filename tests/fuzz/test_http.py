"""A server answers whatever it is asked, and a client takes whatever it is answered, within bounds.

A request to the application may be refused, and never fails; what is no request ends its connection. An answer is
understood, or is an error of ModelDB.
"""

from __future__ import annotations

import http.client
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import strategies as st

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import ModelDBError
from modeldb_core.log.changes import Change
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.stores import MetadataStore
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.api import routes
from tests.fuzz.bounds import bounded, check, size_of
from tests.fuzz.http import CALLS, Sent, answers, ask_stranger, exchange, raw_requests, requests, stranger
from tests.fuzz.running import run
from tests.fuzz.wholes import BLOB, sealed, written

BASE = "http://127.0.0.1:5000"
READS = [route for route in routes() if route.method == "GET" and route.name != "follow_changes"]  # which has no end


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    with open_store(f"sqlite:///{tmp_path}/x.db") as opened:
        opened.apply(written().changes)
        yield opened


@pytest.fixture
def app(store: MetadataStore, tmp_path: Path) -> Iterator[Flask]:
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    artifacts.put(io.BytesIO(BLOB))
    settings = ServerSettings(port=0, actor="me", threads=2, poll_interval_s=0.02, heartbeat_s=0.2)
    made = create_app(store, artifacts, settings, plugins=PluginManager())
    yield made
    made.extensions["modeldb_server"].close()
    artifacts.close()


def _send(app: Flask, sent: Sent) -> None:
    with bounded(size_of(sent.body) + size_of(sent.path) + size_of(sent.query) + size_of(sent.headers)):
        response = app.test_client().open(
            sent.path,
            method=sent.method,
            query_string=[(name, text.encode("utf-8", "surrogatepass")) for name, text in sent.query],  # type: ignore[arg-type]
            data=sent.body,
            headers=sent.headers,
            base_url=BASE,
        )
        content = response.get_data()
    assert response.status_code < 500 or response.status_code == 503, (response.status_code, content[:300])
    is_refused = response.status_code >= 400 and sent.path.startswith("/api/")
    assert not is_refused or (response.is_json and response.json["error"]["message"]), content[:300]


def test_requests_to_every_route(app: Flask) -> None:
    ids = [change.entity_id for change in written().changes if change.kind != "stream"] + ["a", "loss", "x"]
    asked = [route for route in routes() if route.name != "follow_changes"]
    for route in asked:  # each of them, and then any
        run(requests([route], ids), lambda sent: _send(app, sent), 1)
    run(requests(asked, ids), lambda sent: _send(app, sent), 30)


def test_hostile_records_can_be_shown(app: Flask, store: MetadataStore) -> None:
    client = app.test_client()

    def shown(changes: tuple[Change, ...]) -> None:
        for change in changes:
            try:
                store.apply([change])
            except ModelDBError:
                continue
        entity_id = changes[-1].entity_id
        for route in READS:
            path = re.sub(r"<[\w:]+>", "x", re.sub(r"<(run_id|entity_id)>", "{}", route.path)).format(
                *["" or quote(entity_id, safe="", errors="replace")] * 2
            )
            query = {item.name: item.choices[0] if item.choices else "a" for item in route.parameters if item.required}
            response = client.get(path, query_string=query, base_url=BASE)
            assert response.status_code < 500 or response.status_code == 503, (route.name, response.get_data()[:300])

    run(sealed(), shown, 3)


def test_answers_to_a_client() -> None:
    with stranger() as server:

        def asked(case: tuple[bytes, int]) -> None:
            server.answer = case[0]
            check(lambda number: ask_stranger(server.url, number), case[1])

        run(st.tuples(answers(), st.integers(0, CALLS - 1)), asked, 40)


def test_bytes_sent_to_a_server(app: Flask) -> None:
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    address = (server.host, server.port)

    def sent(data: bytes) -> None:
        received = exchange(address, data)
        statuses = [int(found) for found in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", received, re.MULTILINE)]
        assert not received or statuses, received[:200]
        assert all(status < 500 or status in (501, 505) for status in statuses), received[:300]

    try:
        run(raw_requests(), sent, 25)
        assert _health(address) == 200
    finally:
        server.stop()
        assert server.wait(60)
        thread.join(60)


def _health(address: tuple[str, int]) -> int:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_calls_of_a_client_are_all_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    with stranger() as server:
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
        for number in range(CALLS):
            with pytest.raises(ModelDBError):
                tried.append(ask_stranger(server.url, number))
    assert tried == []
