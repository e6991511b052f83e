"""How series come back: every point in order and in every bit, summaries, ranges, and thinned out for drawing."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import ClassVar

import numpy as np
import pytest

from modeldb_core.errors import NotFoundError
from modeldb_core.log.plots import Canvas
from modeldb_core.log.points import PointGroup
from modeldb_core.model.entities import SeriesSummary, to_datetime
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter

_AT = 1_800_000_000_000_000


def _group(keys: tuple[str, ...], steps: list[int], times: list[int], *values: list[float]) -> PointGroup:
    return PointGroup(keys, np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def _equal(first: SeriesSummary, second: SeriesSummary) -> bool:
    return all(
        one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
        for one, other in ((getattr(first, field.name), getattr(second, field.name)) for field in fields(first))
    )


class SeriesTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.read_series` and the summaries of runs promise."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.read_series, MetadataStore.plot_series)

    def test_points_come_back_in_every_bit(self, scene: Scene) -> None:
        values = [1.0, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1]
        steps = [0, -1, 2**62, -(2**63), 2**63 - 1, 7, 7, 7]
        times = [_AT + number for number in range(8)]
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": values}, steps=steps, times=times)
        scene.ship()
        series = scene.store.read_series(run_id, "loss")
        assert series.values.tobytes() == np.array(values).tobytes()
        assert series.steps.tolist() == steps
        assert series.times.tolist() == times
        assert (series.run_id, series.key, series.total, len(series)) == (run_id, "loss", 8, 8)
        assert [str(part.dtype) for part in (series.steps, series.times, series.values)] == [
            "int64",
            "int64",
            "float64",
        ]

    def test_points_keep_the_order_of_logging(self, scene: Scene) -> None:
        run_id = scene.run()
        for value in range(30):
            scene.writer.append(run_id, {"loss": [float(value)]}, steps=[100 - value], times=[_AT - value])
            if value % 7 == 0:
                scene.ship()
        scene.ship()
        assert scene.store.read_series(run_id, "loss").values.tolist() == [float(value) for value in range(30)]

    def test_points_of_several_streams_are_merged_by_time(self, scene: Scene) -> None:
        run_id = scene.run()
        other = StreamWriter()
        scene.writer.append(run_id, {"loss": [1.0, 3.0]}, times=[_AT + 1, _AT + 3])
        other.append(run_id, {"loss": [2.0, 4.0]}, times=[_AT + 2, _AT + 4])
        scene.ship()
        scene.store.apply(other.changes)
        scene.writer.append(run_id, {"loss": [5.0, 2.5]}, times=[_AT + 5, _AT + 2])
        scene.ship()
        series = scene.store.read_series(run_id, "loss")
        assert series.times.tolist() == [_AT + 1, _AT + 2, _AT + 2, _AT + 3, _AT + 4, _AT + 5]
        assert sorted(series.values.tolist()) == [1.0, 2.0, 2.5, 3.0, 4.0, 5.0]

    def test_groups_of_keys_are_taken_apart(self, scene: Scene) -> None:
        run_id = scene.run()
        times = [_AT, _AT + 1]
        scene.writer.append_groups(
            run_id,
            _group(("loss", "acc"), [0, 1], times, [1.0, 2.0], [3.0, 4.0]),
            _group(("loss",), [2], [_AT + 2], [5.0]),
            _group(("lr",), [], [], []),
            _group((), [], []),
        )
        scene.ship()
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0, 5.0]
        assert scene.store.read_series(run_id, "acc").steps.tolist() == [0, 1]
        assert set(scene.get(run_id).series) == {"loss", "acc"}
        with pytest.raises(NotFoundError):
            scene.store.read_series(run_id, "lr")

    def test_runs_do_not_share_series(self, scene: Scene) -> None:
        first, second = scene.run("first"), scene.run("second")
        scene.writer.append(first, {"loss": [1.0]})
        scene.writer.append(second, {"loss": [2.0]})
        scene.ship()
        assert scene.store.read_series(first, "loss").values.tolist() == [1.0]
        assert scene.store.read_series(second, "loss").values.tolist() == [2.0]

    def test_what_is_not_there_is_not_found(self, scene: Scene) -> None:
        run_id = scene.run(metrics={"auc": 0.5})
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        for asked in ((run_id, "auc"), (run_id, "Loss"), (run_id, ""), ("nowhere", "loss")):
            with pytest.raises(NotFoundError):
                scene.store.read_series(*asked)

    def test_a_deleted_run_keeps_its_series(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.writer.delete("run", run_id)
        scene.writer.append(run_id, {"loss": [2.0]})
        scene.ship()
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0]

    @pytest.mark.parametrize("key", ["val loss", "a.b/c-d", "日本語 🚀", "'; --", '"quoted"', "x" * 1024, "sum", "$"])
    def test_any_key_will_do(self, scene: Scene, key: str) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {key: [1.5]})
        scene.ship()
        assert scene.store.read_series(run_id, key).values.tolist() == [1.5]
        assert scene.get(run_id).metrics == {key: 1.5}

    def test_a_range_of_steps_includes_both_ends(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": list(range(100))}, steps=list(range(0, 200, 2)))
        scene.writer.append(run_id, {"loss": [-1.0]}, steps=[50])
        scene.ship()
        series = scene.store.read_series(run_id, "loss", steps=(48, 52))
        assert series.steps.tolist() == [48, 50, 52, 50]
        assert series.total == 4
        assert len(scene.store.read_series(run_id, "loss", steps=(1, 1))) == 0
        assert scene.store.read_series(run_id, "loss", steps=(-(2**63), 2**63 - 1)).total == 101

    def test_thinning_out_keeps_extremes_and_says_how_many_there_are(self, scene: Scene) -> None:
        run_id = scene.run()
        values = np.sin(np.arange(50_000) / 100)
        values[12_345], values[23_456] = 99.0, -99.0
        for part in range(0, 50_000, 10_000):
            rows = slice(part, part + 10_000)
            scene.writer.append(
                run_id, {"loss": values[rows].tolist()}, steps=list(range(part, part + 10_000)), times=[_AT] * 10_000
            )
        scene.ship()
        series = scene.store.read_series(run_id, "loss", max_points=400)
        assert len(series) <= 400
        assert series.total == 50_000
        assert {99.0, -99.0} <= set(series.values.tolist())
        assert bool(np.all(np.diff(series.steps) > 0))
        assert (series.steps[0], series.steps[-1]) == (0, 49_999)
        ranged = scene.store.read_series(run_id, "loss", steps=(20_000, 30_000), max_points=100)
        assert (ranged.total, len(ranged) <= 100, -99.0 in ranged.values) == (10_001, True, True)

    def test_a_plot_sums_up_the_points_of_each_pixel_column(self, scene: Scene) -> None:
        run_id = scene.run()
        values = np.sin(np.arange(3000) / 100)
        values[1234], values[2345] = 99.0, np.nan
        scene.writer.append(run_id, {"loss": values.tolist()}, steps=list(range(3000)), times=[_AT] * 3000)
        scene.ship()
        plot = scene.store.plot_series(run_id, "loss", Canvas(columns=10))
        assert (plot.total, plot.nan_count, plot.points) == (3000, 1, None)
        assert plot.columns is not None
        parts = values.reshape(10, 300)
        assert plot.columns.count.tolist() == [300] * 10
        assert plot.columns.maximum.tolist() == np.nanmax(parts, axis=1).tolist()
        assert np.allclose(plot.columns.mean, np.nanmean(parts, axis=1))
        zoomed = scene.store.plot_series(run_id, "loss", Canvas(columns=10, first=1230, last=1239)).points
        assert zoomed is not None
        assert zoomed.values.tolist() == values[1230:1240].tolist()

    def test_few_points_are_not_thinned_out_but_ordered_by_step(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [1.0, 2.0, 3.0]}, steps=[2, 1, 1])
        scene.ship()
        assert scene.store.read_series(run_id, "loss", max_points=100).values.tolist() == [2.0, 3.0, 1.0]

    def test_many_small_changes_make_one_series(self, scene: Scene) -> None:
        run_id = scene.run()
        for step in range(300):
            scene.writer.append(run_id, {"loss": [step / 2], "acc": [step / 4]}, steps=[step])
            if step % 20 == 0:
                scene.ship()
        scene.ship()
        for key, divisor in (("loss", 2), ("acc", 4)):
            series = scene.store.read_series(run_id, key)
            assert series.steps.tolist() == list(range(300))
            assert series.values.tolist() == [step / divisor for step in range(300)]
        assert scene.get(run_id).series["loss"].count == 300

    def test_summaries_say_what_a_series_holds(self, scene: Scene) -> None:
        run_id = scene.run()
        nan = math.nan
        scene.writer.append(
            run_id, {"loss": [2.0, nan, 1.0, 4.0]}, steps=[10, 20, 30, 40], times=[_AT, _AT + 1, _AT + 2, _AT + 3]
        )
        scene.ship()
        scene.writer.append(run_id, {"loss": [1.0, 4.0, 3.0]}, steps=[50, 60, 70], times=[_AT + 9, _AT + 4, _AT + 5])
        scene.ship()
        expected = SeriesSummary(
            count=7,
            nan_count=1,
            first=2.0,
            last=1.0,
            minimum=1.0,
            maximum=4.0,
            mean=2.5,
            first_step=10,
            last_step=50,
            min_step=30,
            max_step=40,
            first_at=to_datetime(_AT),
            last_at=to_datetime(_AT + 9),
        )
        assert scene.get(run_id).series == {"loss": expected}
        assert scene.find().entities[0].series == {"loss": expected}  # type: ignore[attr-defined]

    def test_first_and_last_go_by_time_and_ties_by_arrival(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [1.0, 2.0]}, times=[_AT, _AT])
        scene.ship()
        scene.writer.append(run_id, {"loss": [3.0]}, times=[_AT])
        scene.writer.append(run_id, {"loss": [4.0]}, times=[_AT - 1])
        scene.ship()
        summary = scene.get(run_id).series["loss"]
        assert (summary.first, summary.last) == (4.0, 3.0)
        assert (summary.first_at, summary.last_at) == (to_datetime(_AT - 1), to_datetime(_AT))

    def test_a_series_of_only_nan_has_no_extremes(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [math.nan, math.nan]}, times=[_AT, _AT + 1])
        scene.ship()
        summary = scene.get(run_id).series["loss"]
        assert (summary.count, summary.nan_count, summary.last_at) == (2, 2, to_datetime(_AT + 1))
        assert all(math.isnan(value) for value in (summary.minimum, summary.maximum, summary.mean, summary.last))

    def test_extremes_may_be_infinite(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [math.inf, 1.0, -math.inf]}, steps=[1, 2, 3])
        scene.ship()
        summary = scene.get(run_id).series["loss"]
        assert (summary.minimum, summary.maximum, summary.min_step, summary.max_step) == (-math.inf, math.inf, 3, 1)
        assert math.isnan(summary.mean)

    def test_summaries_keep_minus_zero(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [-0.0]})
        scene.ship()
        summary = scene.get(run_id).series["loss"]
        assert [math.copysign(1, value) for value in (summary.first, summary.last, summary.minimum)] == [-1, -1, -1]
        assert math.copysign(1, scene.get(run_id).metrics["loss"]) == -1

    def test_batches_make_no_difference_to_a_summary(self, scene: Scene) -> None:
        whole, split = scene.run("whole"), scene.run("split")
        values = [1.5, math.nan, -2.25, 8.0, -2.25, 0.5]
        for run_id, sizes in ((whole, [6]), (split, [1, 2, 3])):
            at = 0
            for size in sizes:
                scene.writer.append(
                    run_id,
                    {"loss": values[at : at + size]},
                    steps=list(range(at, at + size)),
                    times=[_AT + number for number in range(at, at + size)],
                )
                scene.ship()
                at += size
        assert _equal(scene.get(whole).series["loss"], scene.get(split).series["loss"])

    def test_a_metric_logged_once_comes_before_its_series(self, scene: Scene) -> None:
        run_id = scene.run(metrics={"loss": 0.25, "auc": 0.75})
        scene.writer.append(run_id, {"loss": [3.0, 4.0], "acc": [5.0, 6.0]})
        scene.ship()
        run = scene.get(run_id)
        assert run.metrics == {"loss": 0.25, "auc": 0.75, "acc": 6.0}
        assert run.series["loss"].last == 4.0
