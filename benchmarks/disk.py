"""Bytes a point in SQLite, after the store is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.content import SERIES_KEYS, START_US, noisy_losses
from benchmarks.hand_written import Rows, database
from benchmarks.hot_path import stored_bytes
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.bench import Bench
    from modeldb_core.stores import MetadataStore
    from modeldb_core.testing import StreamWriter

_BUDGET = Budget(8)
_PACKED = "the same columns in one Pcodec chunk each: what no store can go below"


def bytes_a_point(bench: Bench) -> Iterator[Result]:
    """Log noisy losses through the client; float64 noise first, then what a float32 program logs."""
    steps = bench.sizes.size_steps
    rows = _row_bytes(bench, noisy_losses(steps))
    for label, columns in (
        ("float64 noise", noisy_losses(steps)),
        ("float32 noise", noisy_losses(steps).astype(np.float32).astype(np.float64)),
    ):
        bench.say(f"logging {columns.size:,} points of {label}")
        size, times = _logged_bytes(bench, columns)
        yield Result(
            benchmark="bytes",
            work=f"bytes a point, 5 keys x {steps:,} steps, {label}",
            unit="B",
            ours=[size],
            limit=[_packed_bytes(columns, times)],
            limit_is=f"{_PACKED}; as rows of SQLite: {rows:.1f} B",
            budget=_BUDGET,
            peers="tensorboard 45 B, trackio 100 B, MLflow 456 B",
        )


def week(bench: Bench) -> Iterator[Result]:
    """Apply the changes that a writer makes of a run that logs one point a second for a week."""
    seconds = bench.sizes.week_s
    jitter = np.random.default_rng(1).integers(0, 2_000, seconds)
    times = START_US + np.arange(seconds) * 1_000_000 + jitter
    exact = noisy_losses(seconds)[0]
    for label, values in (("float64 noise", exact), ("float32 noise", exact.astype(np.float32).astype(np.float64))):
        with bench.folder("week") as folder:
            path = folder / "modeldb.db"
            with bench.store(path) as store:
                changes = _live_a_week(bench, store, values, times)
            size = stored_bytes(path)
        yield Result(
            benchmark="week",
            work=f"bytes a point, one point a second for {seconds / 86_400:.3g} days, {label}",
            unit="B",
            ours=[size / seconds],
            limit=[_packed_bytes(values[None, :], times)],
            limit_is=_PACKED,
            budget=_BUDGET,
            note=f"{changes:,} changes",
        )


def _live_a_week(bench: Bench, store: MetadataStore, values: NDArray[np.float64], times: NDArray[np.int64]) -> int:
    """Apply changes at the intervals at which a writer ships; returns how many there were."""
    from modeldb_core.journal.shipping import MAX_INTERVAL_S
    from modeldb_core.testing import StreamWriter

    writer = StreamWriter(at=int(times[0]))
    writer.open()
    containers = writer.create_containers("size", "week")
    run_id = writer.create_run(name="week", **containers).entity_id
    start, sent = 0, 0
    while start < len(values):
        age_s = float(times[start] - times[0]) / 1e6
        interval_s = min(MAX_INTERVAL_S, max(1.0, age_s / 1000))  # docs/decisions/0002
        end = max(start + 1, int(np.searchsorted(times, times[start] + int(interval_s * 1e6))))
        end = min(end, len(values))
        writer.at = int(times[end - 1])
        writer.append(
            run_id, {"loss": values[start:end].tolist()}, steps=range(start, end), times=times[start:end].tolist()
        )
        start = end
        sent = _ship(store, writer, sent)
        if sent % 1000 == 0:
            bench.say(f"simulated {start:,} of {len(values):,} seconds")
    writer.update("run", run_id, set={"status": "finished", "finished_at": writer.at})
    writer.close()
    return _ship(store, writer, sent)


def _ship(store: MetadataStore, writer: StreamWriter, sent: int) -> int:
    store.apply(writer.take(sent))
    return len(writer.changes)


def _logged_bytes(bench: Bench, columns: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """Log through a client; returns the bytes a point and the times that the points got."""
    with bench.folder("bytes") as folder:
        with bench.client(folder) as client:
            with client.start_run(capture=False) as run:
                for step, row in enumerate(columns.T.tolist()):
                    run.log_metrics(dict(zip(SERIES_KEYS, row, strict=True)), step)
            client.flush()
            times = client.store.read_series(run.run_id, SERIES_KEYS[0]).times
        return stored_bytes(folder / "modeldb.db") / columns.size, times


def _row_bytes(bench: Bench, columns: NDArray[np.float64]) -> float:
    with bench.folder("rows") as folder:
        path = folder / "limit.db"
        with database(path) as connection:
            numbers = [Rows(connection).key(key) for key in SERIES_KEYS]
            connection.execute("BEGIN")
            for step, row in enumerate(columns.T.tolist()):
                points = [(1, number, step, START_US + step, value) for number, value in zip(numbers, row, strict=True)]
                connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", points)
            connection.execute("COMMIT")
        return stored_bytes(path) / columns.size


def _packed_bytes(values: NDArray[np.float64], times: NDArray[np.int64]) -> float:
    from pcodec import ChunkConfig, standalone

    columns = [np.arange(values.shape[1]), np.asarray(times, np.int64), *values]
    return sum(len(standalone.simple_compress(column, ChunkConfig())) for column in columns) / float(values.size)
