"""``log_metrics`` with five values: what the training thread pays, and what it costs until it is in SQLite."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

from benchmarks.bench import Taken, in_turns
from benchmarks.content import SERIES_KEYS
from benchmarks.hand_written import Rows, database
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from modeldb_core.tracking import RunHandle

_BLOCK = 100  # calls timed together: the clock itself costs a twentieth of a call
_RECORD_BYTES = 72  # of a row with five values in the journal
_ONE_WRITE = "one os.write of the same 72 bytes to an append-only file"
_PEERS = "trackio 12.8 µs, losing its queue on a kill; MLflow 13,700 µs"


@dataclass(frozen=True, slots=True)
class _Times:
    """In µs a call: the mean over the loop, and of blocks of calls the median and the 99th percentile."""

    mean: float
    p50: float
    p99: float


def producer(bench: Bench) -> Iterator[Result]:
    """Time the calls alone, while a background thread ships: each block of calls beside a block of writes."""
    for label, fill in (("dict in the loop", _log_literals), ("dict made before", _log_prepared)):
        pairs = [_beside_writes(bench, fill) for _ in range(bench.sizes.repeats)]
        packing = median(_writes(bench, pack=True).p50 for _ in range(bench.sizes.repeats))
        yield Result(
            benchmark="producer",
            work=f"log_metrics, 5 values, {label}: median call",
            unit="µs",
            ours=[ours for _, ours in pairs],
            limit=[limit for limit, _ in pairs],
            limit_is=_ONE_WRITE,
            budget=Budget(1.5, "ratio"),
            note=f"packing the record and writing it: {packing:.2f} µs",
            peers=_PEERS,
        )
        limits, ours = bench.take_turns(lambda: _writes(bench), lambda fill=fill: _logs(bench, fill))  # type: ignore[misc]
        yield Result(
            benchmark="producer",
            work=f"log_metrics, 5 values, {label}: mean call",
            unit="µs",
            ours=[times.mean for times in ours],
            limit=[times.mean for times in limits],
            limit_is=_ONE_WRITE,
            budget=Budget(1.5, "ratio"),
            note=f"with all that the background thread takes from the loop; 99th percentile of blocks of {_BLOCK}: ours "
            f"{median(times.p99 for times in ours):.1f} µs, limit {median(times.p99 for times in limits):.1f} µs",
            peers=_PEERS,
        )


def durable(bench: Bench) -> Iterator[Result]:
    """Time the calls and the flush that ends them, in wall and in processor time of all threads."""
    limits, ours = bench.take_turns(lambda: _rows(bench), lambda: _logs_durably(bench))
    yield Result(
        benchmark="durable",
        work="log_metrics, 5 values, until in SQLite",
        unit="µs",
        **in_turns(limits, ours),
        limit_is="sqlite3 executemany, one row a point, 1,000 rows a transaction, WAL",
        budget=Budget(0.5, "ratio"),
        peers="trackio 37 µs (4.0 x), MLflow 7,700 µs (740 x the processor time)",
    )


# -- ours -------------------------------------------------------------------------------------------------------------


def _logs(bench: Bench, fill: Callable[[RunHandle, int, int], None]) -> _Times:
    with bench.folder("producer") as folder, bench.client(folder) as client:
        run = client.start_run(capture=False)
        fill(run, 0, 1)
        client.flush()
        return _in_blocks(bench.sizes.hot_calls, lambda first: fill(run, first, first + _BLOCK))


def _beside_writes(bench: Bench, fill: Callable[[RunHandle, int, int], None]) -> tuple[float, float]:
    """Return the median of writes and of calls in blocks that take turns: the processor's speed is that of both."""
    clock, record = time.perf_counter_ns, bytes(_RECORD_BYTES)
    writes, calls = [], []
    with bench.folder("producer") as folder, bench.client(folder) as client, (folder / "log").open("ab", 0) as file:
        run, number = client.start_run(capture=False), file.fileno()
        fill(run, 0, 1)
        client.flush()
        for first in range(0, bench.sizes.hot_calls, _BLOCK):
            start = clock()
            for _ in range(_BLOCK):
                os.write(number, record)
            middle = clock()
            fill(run, first, first + _BLOCK)
            calls.append(clock() - middle)
            writes.append(middle - start)
    return median(writes) / 1e3 / _BLOCK, median(calls) / 1e3 / _BLOCK


def _logs_durably(bench: Bench) -> Taken:
    calls = bench.sizes.hot_calls
    with bench.folder("durable") as folder, bench.client(folder) as client:
        run = client.start_run(capture=False)
        _log_literals(run, 0, 1)
        client.flush()
        start, start_cpu = time.perf_counter(), time.process_time()
        _log_literals(run, 1, calls + 1)
        client.flush()
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        stored = len(client.store.read_series(run.run_id, SERIES_KEYS[0]))
        if stored != calls + 1:
            msg = f"{calls + 1} points were logged, and {stored} are in the store after the flush"
            raise RuntimeError(msg)
    return Taken(wall / calls * 1e6, cpu / calls * 1e6)


def _log_literals(run: RunHandle, first: int, last: int) -> None:
    log_metrics, loss = run.log_metrics, 0.6931471805599453
    for step in range(first, last):
        log_metrics(
            {
                "train_loss": loss + step,
                "train_accuracy": 0.5,
                "validation_loss": loss,
                "gradient_norm": 1.5,
                "learning_rate": 1e-3,
            },
            step,
        )


def _log_prepared(run: RunHandle, first: int, last: int) -> None:
    log_metrics, values = run.log_metrics, dict.fromkeys(SERIES_KEYS, 0.6931471805599453)
    for step in range(first, last):
        log_metrics(values, step)


# -- limits -----------------------------------------------------------------------------------------------------------


def _writes(bench: Bench, *, pack: bool = False) -> _Times:
    """Write records that are there, or pack each before."""
    with bench.folder("writes") as folder:
        file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        record, packed = bytes(_RECORD_BYTES), struct.Struct("<qqiiqq4d").pack

        def write(_: int) -> None:
            for _ in range(_BLOCK):
                os.write(file, record)

        def pack_and_write(first: int) -> None:
            for step in range(first, first + _BLOCK):
                os.write(file, packed(1, 2, 3, 4, step, time.time_ns(), 0.5, 0.6, 0.7, 0.8))

        try:
            return _in_blocks(bench.sizes.hot_calls, pack_and_write if pack else write)
        finally:
            os.close(file)


def _rows(bench: Bench) -> Taken:
    calls = bench.sizes.hot_calls
    with bench.folder("rows") as folder, database(folder / "limit.db") as connection:
        numbers = [Rows(connection).key(key) for key in SERIES_KEYS]
        start, start_cpu = time.perf_counter(), time.process_time()
        rows: list[tuple[int, int, int, int, float]] = []
        for step in range(calls):
            now = time.time_ns() // 1000
            rows += [(1, number, step, now, 0.6931471805599453 + step) for number in numbers]
            if len(rows) == 1000:
                _insert_rows(connection.execute, connection.executemany, rows)
        _insert_rows(connection.execute, connection.executemany, rows)
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return Taken(wall / calls * 1e6, cpu / calls * 1e6)


def _insert_rows(
    execute: Callable[[str], object],
    many: Callable[[str, list[tuple[int, int, int, int, float]]], object],
    rows: list[tuple[int, int, int, int, float]],
) -> None:
    execute("BEGIN")
    many("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
    execute("COMMIT")
    rows.clear()


def _in_blocks(calls: int, block: Callable[[int], None]) -> _Times:
    clock = time.perf_counter_ns
    marks = [clock()]
    for first in range(0, calls, _BLOCK):
        block(first)
        marks.append(clock())
    each = [(after - before) / 1e3 / _BLOCK for before, after in pairwise(marks)]
    high = quantiles(each, n=100)[-1] if len(each) > 1 else each[0]
    return _Times((marks[-1] - marks[0]) / 1e3 / _BLOCK / len(each), median(each), high)


def stored_bytes(path: Path) -> int:
    """Return the size of a closed database, with what may lie beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
