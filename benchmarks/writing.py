"""The server as a store: what it takes in from eight processes that log at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.building import STORE
from benchmarks.results import Budget, Result
from benchmarks.serving import modeldb_server, started_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

CLIENTS = 8
_LIMIT_IS = "a 25-line Flask application on waitress, executemany into SQLite, one row a point"
_PEERS = "MLflow 5,300 points/s, p99 627 ms"
_SMALLEST_APPLICATION = """
import logging, sqlite3, sys, threading
import flask
from waitress.server import create_server

logging.getLogger("waitress.queue").disabled = True
app = flask.Flask("smallest")
own, turn = threading.local(), threading.Lock()

def database():
    if not hasattr(own, "connection"):
        own.connection = sqlite3.connect(sys.argv[1], timeout=30)
        own.connection.execute("PRAGMA journal_mode = WAL")
        own.connection.execute("PRAGMA synchronous = NORMAL")
    return own.connection

@app.get("/health")
def health():
    return "ok"

@app.post("/points")
def points():
    rows = flask.request.get_json()["rows"]
    with turn, database() as connection:
        connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
    return {"done": True}

database().execute("CREATE TABLE points (run TEXT, key TEXT, step INTEGER, time INTEGER, value REAL)")
server = create_server(app, host="127.0.0.1", port=0, threads=8)
print(f"at http://127.0.0.1:{server.effective_port} ", flush=True)
server.run()
"""


def batches(bench: Bench) -> Iterator[Result]:
    """Send batches of a hundred points from eight processes, until each is acknowledged as durable."""
    taken = _Taken(bench, bench.sizes.client_batches, 100)
    yield Result(
        benchmark="writes",
        work=f"server, {CLIENTS} clients, batches of 100 points",
        unit="points/s",
        ours=taken.ours,
        limit=taken.limits,
        limit_is=_LIMIT_IS,
        budget=Budget(90_000, at_least=True),
        peers=_PEERS,
    )
    yield Result(
        benchmark="writes",
        work=f"server, {CLIENTS} clients, batches of 100 points: 99th percentile",
        unit="ms",
        ours=taken.slowest_ms,
        limit=taken.slowest_limits_ms,
        limit_is=_LIMIT_IS,
        budget=Budget(100),
        peers=_PEERS,
    )
    second = _Taken(bench, bench.sizes.client_seconds, bench.sizes.second_points)
    yield Result(
        benchmark="writes",
        work=f"server, {CLIENTS} clients, one second of training each ({bench.sizes.second_points:,} points)",
        unit="points/s",
        ours=second.ours,
        limit=second.limits,
        limit_is=_LIMIT_IS,
        budget=Budget(2_000_000, at_least=True),
        peers=_PEERS,
    )


class _Taken:
    """What both servers took in, in turns: points a second, and how long the slowest hundredth of the batches took."""

    def __init__(self, bench: Bench, count: int, points: int) -> None:
        self.slowest_ms: list[float] = []
        self.slowest_limits_ms: list[float] = []

        def ours() -> float:
            with bench.folder("writes") as folder, started_server(modeldb_server(folder)) as server:
                return _points_a_second("ours", f"http://{server.host}:{server.port}", count, points, self.slowest_ms)

        def limit() -> float:
            with bench.folder("writes") as folder, started_server(_smallest(folder)) as server:
                url = f"http://{server.host}:{server.port}"
                return _points_a_second("limit", url, count, points, self.slowest_limits_ms)

        self.limits, self.ours = bench.take_turns(limit, ours)


def _smallest(folder: Path) -> list[str]:
    return [sys.executable, "-c", _SMALLEST_APPLICATION, str(folder / STORE)]


def _points_a_second(server: str, url: str, count: int, points: int, slowest_ms: list[float]) -> float:
    command = [sys.executable, "-m", "benchmarks.clients", server, url, str(count), str(points)]
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)
    ]
    taken: list[float] = []
    try:
        for client in clients:
            assert client.stdout is not None
            client.stdout.readline()
        start = time.perf_counter()
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("\n")
            client.stdin.flush()
        for client in clients:
            assert client.stdout is not None
            taken += json.loads(client.stdout.readline())
        seconds = time.perf_counter() - start
    finally:
        for client in clients:
            client.kill()
            client.communicate()
    taken.sort()
    slowest_ms.append(taken[int(len(taken) * 0.99)] * 1e3)
    return CLIENTS * count * points / seconds
