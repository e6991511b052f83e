"""What holds for every answer: compression, keep-alive, headers, health and metrics."""

from __future__ import annotations

import gzip
import json
import re
import socket
from typing import Any

import pytest

from modeldb_core.errors import StoreUnavailableError


def test_json_of_more_than_a_kilobyte_is_compressed_for_clients_that_ask(client: Any) -> None:
    plain = client.request("GET", "/api/v2/openapi.json")
    packed = client.request("GET", "/api/v2/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.content_length == len(packed.data) < len(plain.data) / 3
    for response in (plain, packed):
        assert "Accept-Encoding" in response.headers["Vary"]
    refused = client.request("GET", "/api/v2/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_small_answers_errors_and_artifacts_are_not_compressed(client: Any, filled: Any) -> None:
    headers = {"Accept-Encoding": "gzip"}
    filled.add_artifact("long.txt", b"a" * 10_000)
    for path in ("/health", "/api/v2/runs?nope=1", f"/api/v2/runs/{filled.run_id}/artifacts?path=long.txt"):
        assert "Content-Encoding" not in client.request("GET", path, headers=headers).headers


def test_a_connection_serves_many_requests(live: Any) -> None:
    connection = live.connect()
    connection.connect()
    before = connection.sock.getsockname()
    for path in ("/health", "/api/v2/runs", "/api/v2/nothing", "/api/v2/runs?limit=0", "/health"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert not response.will_close
    assert connection.sock.getsockname() == before
    connection.close()


def test_requests_sent_ahead_are_answered_in_order(live: Any) -> None:
    with socket.create_connection((live.server.host, live.server.port), 30) as raw:
        request = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n"
        raw.sendall((request.format("/health", "") + request.format("/nothing", "Connection: close\r\n")).encode())
        received = b""
        while piece := raw.recv(65536):
            received += piece
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)] == [200, 404]


def test_without_its_store_a_server_is_alive_and_not_ready(
    client: Any, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        msg = "cannot open /secret/place/modeldb.db"
        raise StoreUnavailableError(msg)

    for method in ("find", "check_usable"):
        monkeypatch.setattr(app.extensions["modeldb_server"].store, method, unreachable)
    assert client.get("/health") == {"status": "ok"}
    response = client.request("GET", "/ready")
    assert (response.status_code, response.json["checks"]["store"]) == (503, "unavailable")
    assert "Retry-After" in response.headers
    assert "/secret/place" not in response.text
    listed = client.request("GET", "/api/v2/runs")
    assert (listed.status_code, listed.json["error"]["code"]) == (503, "store_unavailable")
    assert "Retry-After" in listed.headers
    assert "/secret/place" not in listed.text


def test_metrics_count_requests_by_route_and_not_by_path(client: Any, filled: Any) -> None:
    for name in ("a", "b", "c"):
        client.request("GET", f"/api/v2/runs/{name}")
    client.request("GET", "/nothing/a")
    client.request("GET", "/nothing/b")
    client.request("BREW", "/nothing/c")
    client.send("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": "x"})
    text = client.request("GET", "/metrics").text
    assert 'modeldb_http_requests_total{method="GET",route="api.get_run",status="404"} 3.0' in text
    assert 'modeldb_http_requests_total{method="GET",route="unmatched",status="404"} 2.0' in text
    assert 'method="other",route="unmatched"' in text
    assert "modeldb_http_request_duration_seconds_bucket" in text
    assert "modeldb_http_requests_in_progress 1.0" in text
    assert "modeldb_changes_written_total 1.0" in text
    assert "process_resident_memory_bytes" in text


def test_a_request_leaves_a_line_in_the_log(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "modeldb_server.access"):
        client.request("GET", "/api/v2/runs/a%0ab")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "modeldb_server.access"]
    assert re.fullmatch(r"GET '/api/v2/runs/a\\nb' 404 [\d.]+ ms", line)


def test_a_head_request_has_the_headers_of_the_get(live: Any) -> None:
    connection = live.connect()
    connection.request("HEAD", "/api/v2/runs")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100
    connection.close()


def test_the_answer_is_strict_json(live: Any, filled: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    _, body = live.get(f"/api/v2/runs/{filled.run_id}")
    assert json.loads(body, parse_constant=refuse)["metrics"]["broken"] == {"$float": "NaN"}


@pytest.mark.parametrize("path", ["/nothing", "/deep/er/<script>alert(1)</script>"])
def test_a_browser_that_goes_astray_gets_a_page_that_helps(client: Any, path: str) -> None:
    accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    response = client.request("GET", path, headers=accept)
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "There is nothing at this path." in response.text
    assert f'href="{"../" * (path.count("/") - 1) or "./"}"' in response.text
    assert "<script" not in response.text
    assert client.request("GET", path).mimetype == "text/plain"
    assert client.request("GET", "/api/v2/nothing", headers=accept).mimetype == "application/json"
