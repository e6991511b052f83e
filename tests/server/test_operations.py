"""What those who run a server rely on: readiness, request ids, logs, limits by rate and by queue, a calm end, a path below."""

from __future__ import annotations

import http.client
import io
import json
import logging
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.backends._sql.layout import VERSION_TABLE
from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.queries import Query
from modeldb_server import Server, ServerSettings, create_app, readiness
from modeldb_server.logs import JSONFormatter, TextFormatter, with_fields
from modeldb_server.rates import MAX_BUCKETS, Rates
from modeldb_server.request_ids import HEADER, answering
from modeldb_server.routes import Policy
from tests.services.server import TOKEN, ModelDBServer
from tests.waiting import wait_until

LIMIT_S = 60


@contextmanager
def listening(filled: Any, *, prepare: Callable[[Any], None] | None = None, **options: Any) -> Iterator[Server]:
    settings = ServerSettings(port=0, **options)
    app = create_app(filled.store, filled.artifacts, settings, plugins=PluginManager())
    if prepare is not None:
        prepare(app)
    server = Server(app)
    runner = threading.Thread(target=server.run)
    runner.start()
    try:
        yield server
    finally:
        server.stop()
        assert server.wait(LIMIT_S)
        runner.join(LIMIT_S)


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.host, server.port, timeout=LIMIT_S)


def ask(server: Server, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(connect(server)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()


class Gate:
    """A route whose requests wait until the test lets them go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Semaphore(0), threading.Event()

    def add(self, app: Any) -> None:
        app.add_url_rule("/slow", "slow", self._answer)
        app.add_url_rule("/slow-post", "slow_post", self._answer, methods=["POST"])
        app.extensions["modeldb_policies"].update(slow=Policy.READ, slow_post=Policy.WRITE)

    def _answer(self) -> str:
        self.entered.release()
        assert self.go_on.wait(LIMIT_S)
        return "done"


# -- readiness ------------------------------------------------------------------------------------------------------------


def test_a_server_is_ready_until_its_tables_no_longer_fit(filled: Any, client: Any, app: Any, tmp_path: Path) -> None:
    ready = {"status": "ready", "checks": {"server": "ok", "store": "ok", "schema": "ok", "disk": "ok"}}
    assert client.get("/ready") == ready
    with closing(sqlite3.connect(tmp_path / "modeldb.db")) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = 'of-a-newer-modeldb'")
    app.extensions["modeldb_server"].readiness._until = 0.0  # an answer is kept for a second
    response = client.request("GET", "/ready")
    assert (response.status_code, response.json["checks"]["schema"]) == (503, "unfit")
    assert client.get("/health") == {"status": "ok"}
    assert "modeldb_ready 0.0" in client.request("GET", "/metrics").text


def test_a_full_disk_and_a_server_that_stops_are_not_ready(
    client: Any, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LEAST_FREE_BYTES", 1 << 80)
    response = client.request("GET", "/ready")
    assert (response.status_code, response.json["checks"]["disk"]) == (503, "full")
    app.extensions["modeldb_server"].readiness.stop()
    assert client.request("GET", "/ready").json == {"status": "unready", "checks": {"server": "stopping"}}


# -- request ids and logs -------------------------------------------------------------------------------------------------


def test_every_answer_has_a_request_id_which_is_that_of_the_request_where_it_has_one(live: Any) -> None:
    paths = ("/health", "/api/v2/runs", "/nothing", "/api/v2/runs?limit=x")
    taken = ("a", "0197f3c2-9d1e-7b1a", "Root=1-67891233:abc.d_e", "x" * 128)
    for path in paths:
        for name in taken:
            assert live.get(path, {HEADER: name})[0].headers.get_all(HEADER) == [name]
        made = {
            live.get(path, {HEADER: name})[0].headers[HEADER] for name in ("", "x" * 129, "a b", "<script>", "é", "-a")
        }
        assert len(made) == 6
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in made)
    for broken in (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n", b"nonsense\r\n\r\n"):
        with socket.create_connection((live.server.host, live.server.port), LIMIT_S) as raw:
            raw.sendall(broken)
            assert re.search(rb"(?i)\r\nX-Request-ID: [0-9a-f]{32}\r\n", raw.recv(65536))


def test_the_log_of_a_server_is_json_with_request_ids_and_without_secrets() -> None:
    secret = "hunter2-hunter2-hunter2"
    server = ModelDBServer(environment={"MODELDB_SERVER_LOG": "json"})
    try:
        for name, path, token in (
            ("good", "/api/v2/runs", TOKEN),
            ("wrong", f"/api/v2/runs?token={secret}", secret),
            ("line", "/api/v2/runs/a%0ab%22%7B", TOKEN),
        ):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
                connection.request("GET", path, headers={HEADER: name, "Authorization": f"Bearer {token}"})
                connection.getresponse().read()
        assert server.terminate() == 0
        log = server.log
    finally:
        server.stop()
    assert secret not in log
    assert TOKEN not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    requests = {line["request_id"]: line for line in lines if line["logger"] == "modeldb_server.access"}
    assert {name: line["status"] for name, line in requests.items()} == {"good": 200, "wrong": 401, "line": 404}
    good = requests["good"]
    assert (good["level"], good["method"], good["path"], good["route"]) == (
        "info",
        "GET",
        "/api/v2/runs",
        "api.find_runs",
    )
    assert good["time"].endswith("Z")
    assert good["duration_ms"] > 0
    assert good["address"] == "127.0.0.1"
    (refusal,) = [line for line in lines if line["logger"] == "modeldb_server.tokens"]
    assert (refusal["level"], refusal["request_id"]) == ("warning", "wrong")


@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_a_line_of_the_log_holds_tracebacks_and_no_passwords(formatter: logging.Formatter) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    with answering("the-id"):
        try:
            msg = "cannot open postgresql://ada:hush-hush@db/modeldb"
            raise OSError(msg)
        except OSError:
            logger.exception('failed\nwith password="hush-hush"', extra=with_fields(status=500))
    written = stream.getvalue()
    assert "hush-hush" not in written
    assert "the-id" in written
    assert "OSError: cannot open postgresql://ada:***@db/modeldb" in written
    if isinstance(formatter, JSONFormatter):
        assert json.loads(written)["status"] == 500


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_bucket_holds_ten_seconds_and_is_filled_by_time() -> None:
    now = [100.0]
    rates = Rates(2.0, lambda: now[0])
    assert [rates.take("ada") for _ in range(20)] == [0.0] * 20
    assert rates.take("ada") == pytest.approx(0.5)
    assert rates.take("ben") == 0.0
    now[0] += 0.5
    assert [rates.take("ada"), rates.take("ada")] == [0.0, pytest.approx(0.5)]
    now[0] += 1000
    assert sum(not rates.take("ada") for _ in range(100)) == 20
    for number in range(MAX_BUCKETS + 10):
        rates.take(str(number))
    assert len(rates._buckets) == MAX_BUCKETS
    unlimited = Rates(0.0, lambda: now[0])
    assert not any(unlimited.take("ada") for _ in range(100))


def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_not_slowed_down(filled: Any) -> None:
    ada, ben = "ada:the-first-of-two-tokens", "ben:the-other-of-two-tokens"
    with listening(filled, tokens=(ada, ben), rate_limit=0.1) as server:

        def status(entry: str, method: str = "GET", path: str = "/api/v2/runs") -> tuple[int, str | None]:
            with closing(connect(server)) as connection:
                sent = {"Authorization": f"Bearer {entry.partition(':')[2]}", "X-ModelDB": "1"}
                body = None
                if method == "POST":
                    body, sent["Content-Type"] = b'{"name": "another"}', "application/json"
                connection.request(method, path, body, sent)
                response = connection.getresponse()
                response.read()
                return response.status, response.headers["Retry-After"]

        assert status(ada)[0] == 200
        found, wanted = status(ada)
        assert found == 429
        assert wanted is not None
        assert 1 <= int(wanted) <= 10
        assert status(ben, "POST", "/api/v2/projects")[0] == 201  # a request with a body counts once
        assert status(ben, "POST", "/api/v2/projects")[0] == 429
        assert [status(ada, path=path)[0] for path in ("/health", "/ready")] == [200, 200]
        assert ask(server, "/api/v2/runs")[0].status == 401


def test_the_client_comes_again_when_it_was_told_to_and_not_before(filled: Any) -> None:
    refused: list[float] = []

    def clock() -> float:  # stands still until somebody was refused
        return time.monotonic() - refused[0] if refused else 0.0

    def note(response: Any) -> Any:
        if response.status_code == 429:
            refused.append(time.monotonic())
        return response

    def prepare(app: Any) -> None:
        object.__setattr__(app.extensions["modeldb_server"], "rates", Rates(1.0, clock))
        app.after_request(note)

    with listening(filled, prepare=prepare) as server, open_store(server.url) as store:
        for _ in range(12):
            store.find(Query("run", limit=1, fields=()))
            if refused:
                break
    assert len(refused) == 1  # a second later there was a token for the request again


def test_a_request_that_too_many_wait_before_is_told_to_come_again(filled: Any, caplog: Any) -> None:
    gate = Gate()
    with listening(filled, prepare=gate.add, threads=1, max_event_streams=1, max_waiting=1) as server:
        waiting = [connect(server) for _ in range(3)]
        for connection in waiting[:2]:
            connection.request("GET", "/slow")
            assert gate.entered.acquire(timeout=LIMIT_S)
        waiting[2].request("GET", "/slow")
        wait_until(lambda: server._server.waiting == 1)
        alive, late = connect(server), connect(server)
        alive.request("GET", "/health")
        wait_until(lambda: server._server.waiting == 2)
        late.request("GET", "/api/v2/runs")
        wait_until(lambda: server._server.waiting == 3)
        gate.go_on.set()
        response = late.getresponse()
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert json.load(response)["error"]["code"] == "busy"
        assert [connection.getresponse().status for connection in (*waiting, alive)] == [200] * 4
        for connection in (*waiting, alive, late):
            connection.close()
        text = server.context.metrics.exposition().decode()
        assert 'modeldb_requests_refused_total{status="503"} 1.0' in text
    assert caplog.messages == []  # which stderr would show: a request that waits is a number among the metrics


# -- the end --------------------------------------------------------------------------------------------------------------


def test_a_server_that_stops_takes_nobody_in_and_finishes_what_has_begun(filled: Any) -> None:
    gate = Gate()
    with listening(filled, prepare=gate.add, stop_timeout_s=LIMIT_S) as server:
        idle, slow, sending = connect(server), connect(server), connect(server)
        idle.request("GET", "/health")
        idle.getresponse().read()
        slow.request("GET", "/slow")
        assert gate.entered.acquire(timeout=LIMIT_S)
        sending.putrequest("POST", "/slow-post")
        for name, value in {"Content-Type": "application/json", "Content-Length": "2", "X-ModelDB": "1"}.items():
            sending.putheader(name, value)
        sending.endheaders()
        wait_until(lambda: any(channel.rank[0] for channel in list(server._server.active_channels.values())))
        server.stop()
        assert idle.sock.recv(1) == b""  # who asks for nothing is not kept waiting
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((server.host, server.port), LIMIT_S)
        sending.send(b"{}")
        assert gate.entered.acquire(timeout=LIMIT_S)
        gate.go_on.set()
        for connection in (slow, sending):
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"done")
            assert response.headers["Connection"] == "close" or connection is slow
            connection.close()
        idle.close()


def test_a_server_does_not_wait_for_ever_for_what_has_begun(filled: Any) -> None:
    gate = Gate()
    with listening(filled, prepare=gate.add, stop_timeout_s=0.1) as server:
        slow = connect(server)
        slow.request("GET", "/slow")
        assert gate.entered.acquire(timeout=LIMIT_S)
        server.stop()
        assert server.wait(LIMIT_S)
        gate.go_on.set()
        slow.close()


# -- behind a proxy -------------------------------------------------------------------------------------------------------


def test_below_a_path_a_server_answers_with_it_and_without_it(filled: Any) -> None:
    with listening(filled, base_path="/ml/models") as server:
        assert server.url.endswith("/ml/models")
        for path in ("/health", "/ml/models/health", "/ml/models/api/v2/runs"):
            assert ask(server, path)[0].status == 200
        assert ask(server, "/ml/modelsx/health")[0].status == 404
        with open_store(server.url) as store:
            assert len(store.find(Query("run", limit=10)).entities) == 2


def test_only_a_trusted_proxy_says_how_and_by_whom_a_server_was_asked(filled: Any) -> None:
    from flask import request

    def add(app: Any) -> None:
        app.add_url_rule("/who", "who", lambda: f"{request.scheme} {request.remote_addr}")
        app.extensions["modeldb_policies"]["who"] = Policy.READ

    said = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    for network, expected in (
        ("127.0.0.0/8", b"https 203.0.113.9"),
        ("127.0.0.1", b"https 203.0.113.9"),
        ("10.0.0.0/8", b"http 127.0.0.1"),
        ("", b"http 127.0.0.1"),
    ):
        with listening(filled, prepare=add, trusted_proxy=network) as server:
            assert ask(server, "/who", **said)[1] == expected
            assert ask(server, "/who", X_Forwarded_Proto="gopher")[1] == b"http 127.0.0.1"


@pytest.mark.parametrize(
    "options",
    [
        {"base_path": "models"},
        {"base_path": "/models/"},
        {"base_path": "/a/../b"},
        {"base_path": "//host"},
        {"log": "xml"},
        {"rate_limit": -1.0},
        {"rate_limit": float("nan")},
        {"stop_timeout_s": -1.0},
        {"max_waiting": 0},
    ],
)
def test_a_setting_that_cannot_be_is_named(options: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ServerSettings(**options)
