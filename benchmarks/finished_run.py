"""One finished run after the other: 20 hyperparameters, 10 metrics, 5 tags."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import content
from benchmarks.bench import Taken, in_turns
from benchmarks.hand_written import Rows, database
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_PEERS = "trackio 15.9 ms (22 x), MLflow 34 ms (48 x)"


def finished(bench: Bench) -> Iterator[Result]:
    """Time runs from their start until all of them are in the store."""
    limits, ours = bench.take_turns(lambda: _by_hand(bench), lambda: _logged(bench))
    yield Result(
        benchmark="finished",
        work="one finished run",
        unit="ms",
        **in_turns(limits, ours),
        limit_is="sqlite3, indexed tables, one transaction a run",
        budget=Budget(2),
        note=f"of {bench.sizes.finished_runs:,} in one process, until the last is in the store",
        peers=_PEERS,
    )


def _logged(bench: Bench) -> Taken:
    runs = list(content.runs(bench.sizes.finished_runs))
    with bench.folder("finished") as folder, bench.client(folder) as client:
        client.start_run(capture=False).finish()
        client.flush()
        start, start_cpu = time.perf_counter(), time.process_time()
        for each in runs:
            with client.start_run(name=each.name, capture=False) as run:
                run.log_hyperparameters(each.hyperparameters)
                run.log_metrics(each.metrics)
                run.add_tags(*each.tags)
        client.flush()
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Taken(wall / len(runs) * 1e3, cpu / len(runs) * 1e3)


def _by_hand(bench: Bench) -> Taken:
    runs = list(content.runs(bench.sizes.finished_runs))
    with bench.folder("by-hand") as folder, database(folder / "limit.db") as connection:
        rows = Rows(connection)
        start, start_cpu = time.perf_counter(), time.process_time()
        for number, each in enumerate(runs):
            connection.execute("BEGIN")
            rows.insert(f"run-{number:032}", each)
            connection.execute("COMMIT")
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Taken(wall / len(runs) * 1e3, cpu / len(runs) * 1e3)
