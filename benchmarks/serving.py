"""The server: how fast it is there, what it takes, and how soon a browser has a chart."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.building import STORE, with_points, with_runs
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.bench import Bench
    from modeldb_core.log.points import Series

_POINTS_A_PIXEL = 4  # first, last, lowest and highest: modeldb_core.log.points.thin_out
_START_TIMEOUT_S = 60.0
_SMALLEST_SERVER = """
import flask, waitress
from waitress.server import create_server
app = flask.Flask("smallest")
app.add_url_rule("/health", view_func=lambda: "ok")
server = create_server(app, host="127.0.0.1", port=0)
print(f"at http://127.0.0.1:{server.effective_port} ", flush=True)
server.run()
"""


@dataclass(frozen=True, slots=True)
class Started:
    """A server that runs: its address, how long it took to answer, and its process."""

    host: str
    port: int
    seconds: float
    process_id: int

    def get(self, path: str, **headers: str) -> bytes:
        """Return the body of the answer to a request over a new connection."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            return _body(connection, path)
        finally:
            connection.close()

    def memory_mb(self) -> float:
        """Return the memory of the process and its children, in MB: what is in RAM now."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def processes(self) -> list[int]:
        """Return the process and all that descend from it."""
        found = [self.process_id]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found


def cold_start(bench: Bench) -> Iterator[Result]:
    """Start servers on a store that is there, until they answer; then let the first pages be asked for."""
    folder = with_runs(bench, bench.sizes.stored_runs)
    memory: list[float] = []
    counts: list[int] = []

    def ours() -> float:
        with started_server(modeldb_server(folder)) as server:
            server.get("/api/v2/runs?limit=100&count=1")
            memory.append(server.memory_mb())
            counts.append(len(server.processes()))
            return server.seconds

    smallest: list[float] = []

    def limit() -> float:
        with started_server([sys.executable, "-c", _SMALLEST_SERVER]) as server:
            smallest.append(server.memory_mb())
            return server.seconds

    ours()  # compiles what is imported
    limit()
    memory.clear()
    smallest.clear()
    limits, seconds = bench.take_turns(limit, ours)
    least = "a Flask application of one route on waitress"
    peers = "MLflow 14 to 34 s, 2.7 GB, 15 processes"
    yield Result(
        benchmark="server",
        work="server: cold start until /health answers",
        unit="s",
        ours=seconds,
        limit=limits,
        limit_is=least,
        budget=Budget(2),
        note=f"{max(counts)} process",
        peers=peers,
    )
    yield Result(
        benchmark="server",
        work="server: memory after the first page of runs",
        unit="MB",
        ours=memory,
        limit=smallest,
        limit_is=least,
        budget=Budget(150),
        peers=peers,
    )


def plot(bench: Bench) -> Iterator[Result]:
    """Thin out a long series for a wide chart: in the store, and over HTTP as a browser asks for it."""
    points, pixels = bench.sizes.plot_points, bench.sizes.plot_pixels
    folder = with_points(bench, f"{points}-points", points)
    run_id, wanted = (folder / "run_id").read_text(), pixels * _POINTS_A_PIXEL
    with bench.store(folder / STORE) as store:
        packed = _PackedPoints(store.read_series(run_id, "loss"))
        measured = bench.time_in_turns(
            lambda: packed.draw(wanted), lambda: store.read_series(run_id, "loss", max_points=wanted)
        )
    work = f"plot of {points:,} points at {pixels:,} pixels"
    least = "the columns from Pcodec chunks in memory, thinned out, as JSON"
    yield Result(
        benchmark="plot",
        work=f"{work}: store to arrays",
        unit="ms",
        **measured,
        limit_is=least,
        budget=Budget(100),
    )
    with started_server(modeldb_server(folder)) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        path = f"/api/v2/runs/{run_id}/series?key=loss&max_points={wanted}"
        for headers, label in (({"Accept-Encoding": "gzip"}, "compressed"), ({}, "plain")):

            def ask(headers: dict[str, str] = headers) -> bytes:
                connection.request("GET", path, headers=headers)
                return _body(connection, path)

            size = len(ask())
            measured = bench.time_in_turns(lambda: packed.draw(wanted), ask)
            measured["processor"] = []  # the server has a process of its own
            yield Result(
                benchmark="plot",
                work=f"{work}: store to JSON over HTTP, {label}",
                unit="ms",
                **measured,
                limit_is=least,
                budget=Budget(100),
                note=f"{size / 1000:,.0f} kB",
            )
        shown = json.loads(ask())["shown"]
        connection.close()
    if not 0 < shown <= wanted:
        msg = f"{wanted} points were asked for, and {shown} came"
        raise RuntimeError(msg)


class _PackedPoints:
    """A series as compressed columns in memory."""

    def __init__(self, series: Series) -> None:
        from pcodec import ChunkConfig, standalone

        self._columns = [
            standalone.simple_compress(column, ChunkConfig()) for column in (series.steps, series.times, series.values)
        ]

    def draw(self, max_points: int) -> bytes:
        """Return the points to draw as JSON."""
        import orjson
        from pcodec import standalone

        from modeldb_core.log.points import thin_out

        steps, times, values = map(standalone.simple_decompress, self._columns)
        assert steps is not None
        assert times is not None
        assert values is not None
        chosen = thin_out(steps, values, max_points)
        data = {"steps": steps[chosen], "times": times[chosen], "values": values[chosen]}
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


def modeldb_server(folder: Path) -> list[str]:
    """Return the command that serves the store and the files in a folder."""
    url, artifact_url = f"sqlite:///{folder / STORE}", f"file://{folder / 'artifacts'}"
    command = [sys.executable, "-m", "modeldb_core.cli", "server", "--port", "0"]
    return [*command, "--url", url, "--artifact-url", artifact_url]


@contextmanager
def started_server(command: Sequence[str]) -> Iterator[Started]:
    """Start a server, wait until it answers, and end it."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        host, port = _address(process)
        connection = http.client.HTTPConnection(host, port, timeout=_START_TIMEOUT_S)
        connection.request("GET", "/health")
        _body(connection, "/health")
        connection.close()
        yield Started(host, port, time.perf_counter() - start, process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT if "modeldb_core.cli" in command else signal.SIGKILL)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _address(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Return where the server listens: it says so in the first line that holds an address."""
    assert process.stdout is not None
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            continue
        line = process.stdout.readline()
        if not line:
            break
        for word in line.split():
            parts = urlsplit(word)
            if parts.scheme == "http" and parts.hostname and parts.port:
                return parts.hostname, parts.port
    msg = f"the server did not say where it listens; exit code {process.poll()}"
    raise RuntimeError(msg)


def _body(connection: http.client.HTTPConnection, path: str) -> bytes:
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        msg = f"GET {path} gave {response.status}: {body[:300]!r}"
        raise RuntimeError(msg)
    return body
