"""What an entity is after its changes."""

from __future__ import annotations

import numpy as np

from modeldb_core.log.points import PointGroup
from modeldb_core.log.replay import replay, summarize
from modeldb_core.testing.streams import StreamWriter


def test_points_of_one_time_stay_in_the_order_of_their_arrival_however_many_there_are() -> None:
    writers = [StreamWriter(), StreamWriter()]
    changes = [
        writers[number % 2].append("r", {"loss": [float(number)] * 10}, times=[number % 3] * 10) for number in range(40)
    ]
    points = replay("run", "r", changes).points("loss")
    in_order = sorted(range(40), key=lambda number: number % 3)  # which is stable
    assert points.values[0].tolist() == [float(number) for number in in_order for _ in range(10)]


def test_of_points_of_the_latest_time_the_one_that_arrived_last_counts() -> None:
    times = np.array([5, 9, 9, 7], np.int64)
    points = PointGroup(("loss",), np.array([1, 2, 3, 4], np.int64), times, np.array([[0.1, 0.2, 0.3, 0.4]]))
    summary = summarize(points)
    assert (summary.last, summary.last_step) == (0.3, 3)
    assert (summary.first, summary.first_step) == (0.1, 1)
