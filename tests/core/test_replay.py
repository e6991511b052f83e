"""What an entity is after its changes."""

from __future__ import annotations

from modeldb_core.log.replay import replay
from modeldb_core.testing.streams import StreamWriter


def test_points_of_one_time_stay_in_the_order_of_their_arrival_however_many_there_are() -> None:
    writers = [StreamWriter(), StreamWriter()]
    changes = [
        writers[number % 2].append("r", {"loss": [float(number)] * 10}, times=[number % 3] * 10) for number in range(40)
    ]
    points = replay("run", "r", changes).points("loss")
    in_order = sorted(range(40), key=lambda number: number % 3)  # which is stable
    assert points.values[0].tolist() == [float(number) for number in in_order for _ in range(10)]
