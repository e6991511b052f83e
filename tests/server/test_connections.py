"""What a client may cost that has not shown that it may ask: its connections, its headers, its body."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import request

from modeldb_core.log.batches import MEDIA_TYPE
from modeldb_core.plugins import PluginManager
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.connections import BODY_TIMEOUT_S, HEADER_TIMEOUT_S, LINGER_TIMEOUT_S
from tests.waiting import wait_until

TOKEN, READER = "one-of-the-tokens-1", "a-token-to-read-with"
CHANGES = "/api/v2/store/changes"


@pytest.fixture
def settings() -> ServerSettings:
    return ServerSettings(port=0, threads=2, max_connections=64, tokens=(TOKEN,), read_tokens=(READER,))


def connect(live: Any) -> socket.socket:
    return socket.create_connection((live.server.host, live.server.port), 60)


def head(method: str, path: str, **headers: str) -> bytes:
    sent = {"Host": "127.0.0.1", "Authorization": f"Bearer {TOKEN}", "X_ModelDB": "1", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in sent.items() if value]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def read_to_end(raw: socket.socket) -> bytes:
    received = b""
    while piece := raw.recv(65536):
        received += piece
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.[01] (\d+)", received)]


def metric(live: Any, name: str) -> float:
    text = live.server.context.metrics.exposition().decode()
    (value,) = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(value)


# -- half-open connections --------------------------------------------------------------------------------------------


def test_half_open_connections_beyond_the_limit_keep_nobody_out(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as opened:
        begun = [opened.enter_context(connect(live)) for _ in range(40)]
        for raw in begun:
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: 127")
        silent = [opened.enter_context(connect(live)) for _ in range(160)]
        assert live.json("/health") == {"status": "ok"}
        assert len(silent) == 160
        assert metric(live, "modeldb_connections") <= 64
        assert metric(live, "modeldb_connections_dropped_total") >= 100
    assert caplog.text.count("idle ones are closed to make room (127.0.0.1 has") == 1


def test_whoever_asked_before_keeps_the_connection_while_others_only_open_theirs(live: Any) -> None:
    connection = live.connect()
    connection.request("GET", "/health")
    connection.getresponse().read()
    events = live.connect()
    events.request("GET", "/api/v2/events", headers={"Authorization": f"Bearer {READER}"})
    stream = events.getresponse()
    sending = connect(live)
    sending.sendall(
        head("PUT", "/api/v2/store/blobs/" + "0" * 64, Content_Type="application/octet-stream", Content_Length="9")
    )
    channels = live.server._server.active_channels
    wait_until(lambda: [item for item in channels.values() if item.request is not None and item.request.is_admitted])
    before = connection.sock.getsockname()
    with ExitStack() as opened:
        for _ in range(150):
            opened.enter_context(connect(live))
        wait_until(lambda: metric(live, "modeldb_connections_dropped_total") >= 90)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        assert connection.sock.getsockname() == before
        assert stream.readline().startswith(b"retry")
        sending.sendall(b"123456789")
        assert statuses(sending.recv(65536)) == [422]
    for item in (connection, events, sending):
        item.close()


@pytest.mark.parametrize(
    ("sent", "limit_s"),
    [
        (b"", HEADER_TIMEOUT_S),
        (b"GET /health HTTP/1.1\r\nHost: 127", HEADER_TIMEOUT_S),
        (head("POST", CHANGES, Content_Type=MEDIA_TYPE, Content_Length="9"), BODY_TIMEOUT_S),
        (head("POST", CHANGES, Content_Type=MEDIA_TYPE, Content_Length="9", Authorization=""), LINGER_TIMEOUT_S),
    ],
    ids=["nothing", "headers", "body", "after a refusal"],
)
def test_a_request_that_does_not_come_is_not_waited_for(live: Any, sent: bytes, limit_s: float) -> None:
    with connect(live) as raw:
        raw.sendall(sent)
        channels = live.server._server.active_channels
        wait_until(lambda: channels)
        (channel,) = channels.values()
        wait_until(
            lambda: channel.lingers_since is not None if limit_s == LINGER_TIMEOUT_S else channel.request or not sent
        )
        wait_until(lambda: limit_s != BODY_TIMEOUT_S or channel.request.is_admitted)
        now = time.time()
        assert not channel.is_overdue(now)
        assert channel.is_overdue(now + limit_s + 1)


def test_an_overdue_connection_is_closed(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldb_server.connections.HEADER_TIMEOUT_S", 0.0)
    with connect(live) as raw:
        live.server._server.next_channel_cleanup = 0
        assert raw.recv(1) == b""  # the next time that the loop looks around


# -- one request that two readers read differently --------------------------------------------------------------------

SMUGGLED = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = b"0\r\n\r\n"
AMBIGUOUS = {
    "both": b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "both, the other way": b"POST /x HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\ncontent-length: 5\r\n\r\n",
    "both, one of them empty": b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding:\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "the same length twice": b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "two codings": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked twice": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "another coding": b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "no coding": b"POST /x HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
    "a coding with a tab": b"POST /x HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "of HTTP/1.0": b"POST /x HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    "of HTTP/1.2": b"POST /x HTTP/1.2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded header": b"POST /x HTTP/1.1\r\nA: b\r\n Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded coding": b"POST /x HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    "a space before the colon": b"POST /x HTTP/1.1\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n",
    "a sign": b"POST /x HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
    "no number": b"POST /x HTTP/1.1\r\nContent-Length: five\r\n\r\n",
    "too many digits": b"POST /x HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"5\r\n\r\n",
    "a bare line end": b"POST /x HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "no address": b"POST http://[x/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("request_head", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_request_that_could_be_read_in_two_ways_is_refused_and_ends_the_connection(
    live: Any, request_head: bytes
) -> None:
    with connect(live) as raw:
        raw.sendall(request_head + CHUNKED + SMUGGLED)
        received = read_to_end(raw)
    assert [status in (400, 501) for status in statuses(received)] == [True], received
    assert b"onnection: close" in received


def test_a_chunked_body_is_read(live: Any, filled: Any) -> None:
    body = json.dumps({"name": "in pieces"}).encode()
    with connect(live) as raw:
        sent = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
        raw.sendall(head("PATCH", f"/api/v2/runs/{filled.run_id}", **sent))
        raw.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        raw.sendall(head("GET", "/health", Connection="close"))
        assert statuses(read_to_end(raw)) == [200, 200]
    assert filled.store.get("run", filled.run_id).name == "in pieces"


# -- bodies of requests that are refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "no token": (401, "POST", CHANGES, {"Authorization": ""}),
    "a wrong token": (401, "POST", CHANGES, {"Authorization": "Bearer wrong-but-long-enough"}),
    "a token to read with": (403, "POST", CHANGES, {"Authorization": f"Bearer {READER}"}),
    "another host": (403, "POST", CHANGES, {"Host": "evil.example"}),
    "another origin": (403, "POST", CHANGES, {"Origin": "http://evil.example"}),
    "without the header of writes": (403, "POST", CHANGES, {"X_ModelDB": ""}),
    "another type": (415, "POST", CHANGES, {"Content_Type": "text/plain"}),
    "another method": (405, "PUT", CHANGES, {}),
    "no such path": (404, "POST", "/api/v2/nothing", {}),
    "no body wanted": (400, "GET", "/api/v2/store/heads", {"Content_Length": "5"}),
    "too long for the route": (413, "PATCH", "/api/v2/runs/x", {"Content_Type": "application/json"}),
    "too long for any": (413, "POST", CHANGES, {"Content_Length": str(1 << 40)}),
}


def refused_head(case: str) -> tuple[int, bytes]:
    status, method, path, headers = REFUSED[case]
    return status, head(method, path, **{"Content_Type": MEDIA_TYPE, "Content_Length": str(5 << 20), **headers})


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_before_its_body_is_read(live: Any, case: str) -> None:
    status, request_head = refused_head(case)
    with connect(live) as raw:
        raw.sendall(request_head)
        assert statuses(read_to_end(raw)) == [status]  # and nothing of the body was sent


@pytest.mark.parametrize("case", ["no token", "another type", "too long for the route"])
def test_a_client_that_sends_its_body_first_still_reads_the_answer(live: Any, case: str) -> None:
    status, request_head = refused_head(case)
    with connect(live) as raw:
        raw.sendall(request_head)
        for _ in range(5):
            raw.sendall(SMUGGLED.ljust(1 << 20, b"\n"))  # nothing in it is taken for a request
        assert statuses(read_to_end(raw)) == [status]


@pytest.mark.parametrize("case", ["no token", "too long for any"])
def test_a_client_that_asks_before_it_sends_its_body_is_told_not_to(live: Any, case: str) -> None:
    status, request_head = refused_head(case)
    with connect(live) as raw:
        raw.sendall(request_head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert statuses(read_to_end(raw)) == [status]
    with connect(live) as raw:
        raw.sendall(head("POST", CHANGES, Content_Type=MEDIA_TYPE, Content_Length="9", Expect="100-continue"))
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"no batch!")
        assert statuses(raw.recv(65536)) == [422]


def test_a_wrong_token_with_a_body_counts_once(live: Any) -> None:
    before = metric(live, 'modeldb_token_refusals_total{reason="wrong"}')
    with connect(live) as raw:
        raw.sendall(refused_head("a wrong token")[1])
        read_to_end(raw)
    assert metric(live, 'modeldb_token_refusals_total{reason="wrong"}') == before + 1


def test_more_bodies_than_there_is_room_for_are_refused_until_the_others_are_done(live: Any) -> None:
    size = 5 << 20
    request_head = head("POST", CHANGES, Content_Type=MEDIA_TYPE, Content_Length=str(size))
    room = live.server._server.front.room
    with ExitStack() as opened:
        for number in range((128 << 20) // size):
            raw = opened.enter_context(connect(live))
            raw.sendall(request_head)
            wait_until(lambda number=number: room._left == (128 << 20) - (number + 1) * size)
        with connect(live) as one_more:
            one_more.sendall(request_head)
            answer = http.client.HTTPResponse(one_more)
            answer.begin()
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
            assert json.load(answer)["error"]["code"] == "busy"
        assert metric(live, 'modeldb_requests_refused_total{status="429"}') == 1
        assert live.json("/health") == {"status": "ok"}
    wait_until(lambda: room._left == 128 << 20)  # who goes gives back what was kept for it
    with connect(live) as raw:
        raw.sendall(head("POST", CHANGES, Content_Type=MEDIA_TYPE, Content_Length="9") + b"no batch!")
        assert statuses(raw.recv(65536)) == [422]
    wait_until(lambda: room._left == 128 << 20)


# -- how many connections there may be --------------------------------------------------------------------------------


@pytest.fixture
def few_files(filled: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    server = Server(create_app(filled.store, filled.artifacts, ServerSettings(port=0), plugins=PluginManager()))
    yield server
    server.close()


def test_connections_leave_half_of_the_open_files_to_the_stores(few_files: Server) -> None:
    assert few_files._server.adj.connection_limit == 50


def test_a_process_without_descriptors_closes_idle_connections(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from waitress import wasyncore

    listener, accept, failed = live.server._server, wasyncore.dispatcher.accept, threading.Event()

    def out_of_descriptors(self: Any) -> Any:
        if not failed.is_set() and len(listener.active_channels) >= 3:
            failed.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(wasyncore.dispatcher, "accept", out_of_descriptors)
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(connect(live))
        assert live.json("/health") == {"status": "ok"}
    assert failed.is_set()
    assert metric(live, "modeldb_connections_dropped_total") >= 2


def test_the_developer_key_of_a_v1_client_arrives_and_other_headers_with_underscores_do_not(live: Any) -> None:
    seen: list[dict[str, str]] = []
    live.server.app.before_request(lambda: seen.append(dict(request.headers)))
    sent = head("GET", "/health", Connection="close").replace(
        b"\r\n\r\n", b"\r\nGrpc-Metadata-developer_key: secret\r\nX_Forwarded_For: 10.1.1.1\r\n\r\n"
    )
    with connect(live) as raw:
        raw.sendall(sent)
        assert statuses(read_to_end(raw)) == [200]
    assert seen[0]["Grpc-Metadata-Developer-Key"] == "secret"
    assert not [name for name in seen[0] if "forwarded" in name.lower()]
