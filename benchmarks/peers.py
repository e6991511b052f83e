"""Other trackers on the same work, where they are installed: ``python -m benchmarks --peers``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import content
from benchmarks.bench import timed
from benchmarks.fits import estimators
from benchmarks.peer_programs import TOOLS
from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def mlflow_autolog(bench: Bench) -> Iterator[Result]:
    """Fit what ``autolog`` fits, without and with MLflow's autologging, and with ModelDB's, in turns."""
    if find_spec("mlflow") is None:
        bench.say("mlflow is not installed: left out")
        return
    from sklearn.datasets import load_digits

    from modeldb_sklearn import autolog as switch

    tracker: Any = import_module("mlflow")
    patching: Any = import_module("mlflow.sklearn")
    X, y = load_digits(return_X_y=True)
    data = X[: bench.sizes.fit_rows], y[: bench.sizes.fit_rows]
    threadpool_limits: Any = import_module("threadpoolctl").threadpool_limits
    with threadpool_limits(1), bench.folder("mlflow-autolog") as folder, bench.client(folder) as client:
        tracker.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        tracker.create_experiment("benchmark", artifact_location=f"file://{folder / 'files'}")
        tracker.set_experiment("benchmark")
        for name, make in estimators().items():
            for log_models in (False, True):

                def fit(make: Callable[[], Any] = make) -> float:
                    estimator = make()
                    return timed(lambda: estimator.fit(*data)).wall

                def with_mlflow(log_models: bool = log_models, fit: Callable[[], float] = fit) -> float:
                    patching.autolog(log_models=log_models, silent=True)
                    try:
                        return fit()
                    finally:
                        patching.autolog(disable=True, silent=True)

                def with_modeldb(log_models: bool = log_models, fit: Callable[[], float] = fit) -> float:
                    with switch(client, log_models=log_models):
                        took = fit()
                    client.flush()
                    return took

                rounds = [
                    (fit(), with_mlflow(), with_modeldb()) for _ in range(max(3, bench.sizes.fit_repeats // 3) + 1)
                ]
                model = " with its model" if log_models else ""
                for tool, at in (("MLflow", 1), ("ModelDB", 2)):
                    yield Result(
                        benchmark="mlflow autolog",
                        work=f"{tool}: autologged fit of {name}, added{model}",
                        unit="ms",
                        ours=[each[at] - each[0] for each in rounds[1:]],
                        note=f"the fit alone takes {median(each[0] for each in rounds[1:]):.0f} ms",
                    )


_PROGRAMS = Path(__file__).with_name("peer_programs.py")


def trackers(bench: Bench) -> Iterator[Result]:
    """Do the same work with each tracker that the interpreter of peers has, and with ModelDB, each a program of its own."""
    sizes = bench.sizes
    works = (
        ("loop", "a call with 5 values, until the run has ended", "µs", 1.0, max(sizes.hot_calls // 100, 10)),
        ("runs", "one finished run", "ms", 1e3, max(sizes.finished_runs // 20, 3)),
        ("files", "a file of 1 MiB with a run", "ms", 1e3, max(sizes.small_files // 20, 3)),
    )
    for work, what, unit, divisor, count in works:
        for tool in TOOLS:
            python = sys.executable if tool == "modeldb_core" else bench.peers_python
            if not _has(python, tool):
                bench.say(f"{tool} is not installed for {python}: left out")
                continue
            found = [_measured(bench, python, tool, work, count) for _ in range(min(3, sizes.repeats))]
            taken = [each for each in found if each is not None]
            if taken:
                yield Result(
                    benchmark="trackers",
                    work=f"{tool}: {what}",
                    unit=unit,
                    ours=[each["microseconds"] / divisor for each in taken],
                    note=f"processor time, of its other processes too, "
                    f"{median(each['processor'] for each in taken) / divisor:.3g} {unit}",
                )


def _has(python: str, module: str) -> bool:
    asked = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", asked], check=False, timeout=60).returncode == 0


def _measured(bench: Bench, python: str, tool: str, work: str, count: int) -> dict[str, float] | None:
    """Return what a tool took; ``None``: it does not do such work."""
    with bench.folder("peer") as folder:
        done = subprocess.run(
            [python, str(_PROGRAMS), tool, work, str(folder), str(count)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode:
        msg = f"{tool} failed:\n{done.stderr}"
        raise RuntimeError(msg)
    result: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    return result
