"""Other trackers on the same work, where they are installed: ``python -m benchmarks --peers``."""

from __future__ import annotations

import time
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks import content
from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench


def mlflow(bench: Bench) -> Iterator[Result]:
    """Log, finish runs and search with MLflow on SQLite; nothing where it is not installed."""
    if find_spec("mlflow") is None:
        bench.say("mlflow is not installed: left out")
        return
    tracker: Any = import_module("mlflow")
    entities: Any = import_module("mlflow.entities")

    with bench.folder("mlflow") as folder:
        client = tracker.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment_id = client.create_experiment("benchmark", artifact_location=f"file://{folder / 'files'}")
        run_id = client.create_run(experiment_id).info.run_id
        calls = max(bench.sizes.hot_calls // 500, 10)
        start, start_cpu = time.perf_counter(), time.process_time()
        for step in range(calls):
            now = time.time_ns() // 1_000_000
            client.log_batch(run_id, [entities.Metric(key, step + 0.5, now, step) for key in content.SERIES_KEYS])
        for what, took in (("", time.perf_counter() - start), (", processor time", time.process_time() - start_cpu)):
            yield Result(
                benchmark="mlflow",
                work=f"MLflow: 5 values, until in SQLite{what}",
                unit="µs",
                ours=[took / calls * 1e6],
            )
        runs = list(content.runs(max(bench.sizes.finished_runs // 10, 3)))
        start = time.perf_counter()
        for each in runs:
            run_id = client.create_run(experiment_id).info.run_id
            now = time.time_ns() // 1_000_000
            client.log_batch(
                run_id,
                [entities.Metric(key, value, now, 0) for key, value in each.metrics.items()],
                [entities.Param(key, str(value)) for key, value in each.hyperparameters.items()],
                [entities.RunTag(tag, "") for tag in each.tags],
            )
            client.set_terminated(run_id)
        took = time.perf_counter() - start
        yield Result(benchmark="mlflow", work="MLflow: one finished run", unit="ms", ours=[took / len(runs) * 1e3])
