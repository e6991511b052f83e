"""Looking at long series: a part of one, what is new of one, and all of one in pixel columns."""

from __future__ import annotations

import math
import tracemalloc
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.building import STORE
from benchmarks.content import START_US, noisy_losses
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.bench import Bench

_BATCH = 1_000_000
_COLUMNS = 500
_ZOOM = 1_000
_BUDGETS = {1_000_000: Budget(20), 10_000_000: Budget(30), 100_000_000: Budget(100)}


def long_series(bench: Bench) -> Iterator[Result]:
    """Zoom into series of growing length, and draw them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for points in bench.sizes.series_points:
        folder = bench.built(f"series-of-{points}", partial(_fill, bench, points))
        for what, result in _measured(bench, folder, points):
            found.setdefault(what, []).append((points, median(result.ours)))
            yield result
        _say_exponents(bench, found)


def _measured(bench: Bench, folder: Path, points: int) -> Iterator[tuple[str, Result]]:
    from modeldb_core.log.plots import Canvas

    run_id = (folder / "run_id").read_text()
    middle = points // 2
    with bench.store(folder / STORE) as store:
        packed = _packed_chunk(store.read_series(run_id, "loss", steps=(middle, middle + 4095)).values)
        edges = min(_COLUMNS, math.ceil(points / 4096))
        looks: dict[str, tuple[Callable[[], object], int, Budget | None]] = {
            f"{_ZOOM:,} steps of": (
                lambda: store.read_series(run_id, "loss", steps=(middle, middle + _ZOOM - 1)),
                1,
                Budget(3),
            ),
            "the last 100 steps of": (
                lambda: store.read_series(run_id, "loss", steps=(points - 100, 2**63 - 1)),
                1,
                Budget(3),
            ),
            f"plot in {_COLUMNS} columns of": (
                lambda: store.plot_series(run_id, "loss", Canvas(columns=_COLUMNS)),
                edges,
                _BUDGETS.get(points),
            ),
        }
        for what, (look, chunks, budget) in looks.items():
            measured = bench.time_in_turns(partial(packed, chunks), look)
            yield (
                what,
                Result(
                    benchmark="series",
                    work=f"{what} {points:,} points",
                    unit="ms",
                    **measured,
                    limit_is="the values of the fewest chunks that hold it, from Pcodec in memory",
                    budget=budget,
                    note=f"{_peak_mb(look):.1f} MB at most",
                ),
            )


def _fill(bench: Bench, points: int, folder: Path) -> None:
    """Make a store with one series, in changes of a million points, as a recovery or a copy brings them."""
    import numpy as np

    from modeldb_core.log.points import PointGroup
    from modeldb_core.testing import StreamWriter

    writer = StreamWriter(at=START_US)
    writer.open()
    run_id = writer.create_run(name="long", **writer.create_containers("benchmark", "points")).entity_id
    noise = noisy_losses(min(points, _BATCH))[0]
    sent = 0
    with bench.store(folder / STORE) as store:
        for first in range(0, points, _BATCH):
            steps = np.arange(first, min(first + _BATCH, points))
            values = np.exp(-steps / points) + noise[: len(steps)]
            writer.append_groups(run_id, PointGroup(("loss",), steps, START_US + 100 * steps, values[None]))
            store.apply(writer.take(sent))
            sent = len(writer.changes)
            writer.changes[-1] = writer.changes[-1].erased()  # or the points of all changes would stay in memory
    (folder / "run_id").write_text(run_id)


def _packed_chunk(values: NDArray[Any]) -> Callable[[int], None]:
    """Return a function that decompresses a chunk so many times."""
    from modeldb_core.log.packing import pack, unpack_floats

    data = pack(values)

    def unpack(times: int) -> None:
        for _ in range(times):
            unpack_floats(data)

    return unpack


def _peak_mb(look: Callable[[], object]) -> float:
    """Return the most memory that was held, in MB."""
    tracemalloc.start()
    try:
        look()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _say_exponents(bench: Bench, found: dict[str, list[tuple[int, float]]]) -> None:
    for what, taken in found.items():
        (least, first), (most, last) = taken[0], taken[-1]
        if most > least:
            bench.say(f"{what} a series: exponent {math.log(last / first) / math.log(most / least):.2f}")
