"""Stores with many runs, and the same content in hand-written tables."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from benchmarks import content
from benchmarks.hand_written import Rows, database

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.bench import Bench

STORE, BY_HAND = "modeldb.db", "limit.db"
_BATCH = 500


def with_runs(bench: Bench, count: int) -> Path:
    """Return a folder with a store of ``count`` finished runs, and a hand-written database with the same content."""

    def build(folder: Path) -> None:
        identifiers = _fill(bench, folder / STORE, count)
        with database(folder / BY_HAND) as connection:
            Rows(connection).insert_all(zip(identifiers, content.runs(count), strict=True))

    return bench.built(f"store-of-{count}-runs", build)


def _fill(bench: Bench, path: Path, count: int) -> list[str]:
    """Apply the changes that make the runs, a batch at a time; returns their identifiers."""
    from modeldb_core.testing import StreamWriter

    identifiers: list[str] = []
    writer = StreamWriter(at=content.START_US)
    writer.open()
    containers = writer.create_containers("benchmark", "runs")
    sent = 0
    with bench.store(path) as store:
        every = content.runs(count)
        while batch := list(islice(every, _BATCH)):
            for run in batch:
                writer.at = max(writer.at, run.started_at)
                change = writer.create_run(
                    **containers,
                    name=run.name,
                    status="finished",
                    hyperparameters=run.hyperparameters,
                    metrics=run.metrics,
                    tags=run.tags,
                    finished_at=run.finished_at,
                )
                identifiers.append(change.entity_id)
            store.apply(writer.take(sent))
            sent = len(writer.changes)
            if len(identifiers) % (20 * _BATCH) == 0:
                bench.say(f"{len(identifiers):,} of {count:,} runs")
        writer.close()
        store.apply(writer.take(sent))
    return identifiers


def with_points(bench: Bench, name: str, points: int) -> Path:
    """Return a folder with a store that holds one run with ``points`` points under ``loss``, and the same as rows.

    The points come in changes of ten thousand, as a second of training gives them.
    """

    def build(folder: Path) -> None:
        import numpy as np

        from modeldb_core.log.points import PointGroup
        from modeldb_core.testing import StreamWriter

        values = content.noisy_losses(points)[0]
        times = content.START_US + np.cumsum(np.random.default_rng(2).integers(80, 120, points))
        writer = StreamWriter(at=content.START_US)
        writer.open()
        run_id = writer.create_run(name="long", **writer.create_containers("benchmark", "points")).entity_id
        sent = 0
        with bench.store(folder / STORE) as store:
            for first in range(0, points, 10_000):
                part = slice(first, min(first + 10_000, points))
                group = PointGroup(("loss",), np.arange(part.start, part.stop), times[part], values[None, part])
                writer.append_groups(run_id, group)
                store.apply(writer.take(sent))
                sent = len(writer.changes)
        (folder / "run_id").write_text(run_id)
        with database(folder / BY_HAND) as connection:
            connection.execute("BEGIN")
            rows = zip(range(points), times.tolist(), values.tolist(), strict=True)
            connection.executemany("INSERT INTO points VALUES (1, 1, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            connection.execute("CREATE INDEX points_of_run ON points (run_pk, key_pk, step, time, value)")

    return bench.built(f"store-of-{name}", build)
