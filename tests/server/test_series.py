from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeldb_core.log.points import PointGroup
from modeldb_server.documents import series_document
from modeldb_server.handlers import series as handler
from modeldb_server.responses import dump_json


def add_series(filled: Any, key: str, values: Any, steps: Any = None) -> None:
    values = np.asarray(values, np.float64)
    steps = np.arange(len(values)) if steps is None else np.asarray(steps, np.int64)
    times = np.arange(len(values)) + 1_700_000_000_000_000
    filled.writer.append_groups(filled.run_id, PointGroup((key,), steps, times, values.reshape(1, -1)))
    filled.apply()


def test_points_come_as_they_were_logged(client: Any, filled: Any) -> None:
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="loss")
    assert answer["steps"] == [0, 1, 2, 3]
    assert answer["values"] == [1.0, 0.5, {"$float": "NaN"}, 0.25]
    assert (answer["total"], answer["shown"], answer["key"], answer["run_id"]) == (4, 4, "loss", filled.run_id)
    assert all(isinstance(time, int) for time in answer["times"])


def test_special_numbers_survive(client: Any, filled: Any) -> None:
    values = [-0.0, np.inf, -np.inf, 5e-324, 1.7976931348623157e308, 0.1]
    add_series(filled, "special", values, [2**62, -(2**62), 0, 2**53, 2**53 - 1, -1])
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="special")
    assert answer["values"] == [-0.0, {"$float": "Infinity"}, {"$float": "-Infinity"}, 5e-324, values[4], 0.1]
    assert str(answer["values"][0]) == "-0.0"
    assert answer["steps"][:4] == [{"$int": str(2**62)}, {"$int": str(-(2**62))}, 0, {"$int": str(2**53)}]


def test_thinning_keeps_the_spike_and_says_how_much_is_shown(client: Any, filled: Any) -> None:
    values = np.sin(np.arange(50_000) / 1000)
    values[31_234] = 99.0
    add_series(filled, "wave", values)
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="wave", max_points=400)
    assert answer["total"] == 50_000
    assert answer["shown"] == len(answer["values"]) <= 400
    assert 99.0 in answer["values"]
    zoomed = client.get(
        f"/api/v2/runs/{filled.run_id}/series", key="wave", first_step=31_230, last_step=31_240, max_points=400
    )
    assert zoomed["total"] == zoomed["shown"] == 11


def test_an_open_range_takes_the_rest(client: Any, filled: Any) -> None:
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="accuracy", first_step=2)
    assert answer["steps"] == [2, 3]
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="accuracy", last_step=0)
    assert answer["values"] == [0.1]
    error = client.error(f"/api/v2/runs/{filled.run_id}/series", 400, key="accuracy", first_step=2, last_step=1)
    assert "first_step is 2" in error["message"]


def test_a_series_or_run_that_is_not_there_is_not_found(client: Any, filled: Any) -> None:
    assert client.error(f"/api/v2/runs/{filled.run_id}/series", 404, key="no")["code"] == "not_found"
    assert client.error("/api/v2/runs/no/series", 404, key="loss")["code"] == "not_found"
    assert "key is missing" in client.error(f"/api/v2/runs/{filled.run_id}/series", 400)["message"]


def test_an_answer_has_at_most_so_many_points(client: Any, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "MAX_POINTS", 1000)
    add_series(filled, "long", np.arange(5000))
    answer = client.get(f"/api/v2/runs/{filled.run_id}/series", key="long")
    assert answer["total"] == 5000
    assert answer["shown"] <= 1000
    assert (answer["values"][0], answer["values"][-1]) == (0, 4999)


def draw(client: Any, filled: Any, key: str, **options: Any) -> Any:
    item = {name: options.pop(name) for name in ("first", "last", "origin") if name in options}
    body = {"series": [{"run_id": filled.run_id, "key": key, **item}], **options}
    (found,) = client.send("POST", "/api/v2/series", body)["series"]
    return found


def test_many_series_come_at_once_and_one_that_fails_does_not_hide_the_rest(client: Any, filled: Any) -> None:
    asked = [{"run_id": filled.run_id, "key": key} for key in ("loss", "missing", "accuracy")]
    found = client.send("POST", "/api/v2/series", {"series": asked, "columns": 100})["series"]
    assert [item["key"] for item in found] == ["loss", "missing", "accuracy"]
    assert (found[0]["total"], found[0]["nan_count"]) == (4, 1)
    assert found[1]["error"]["code"] == "not_found"
    assert found[2]["points"]["values"] == [0.1, 0.2, 0.3, 0.4]
    assert "columns" not in found[2]


def test_the_columns_of_one_answer_are_limited(client: Any, filled: Any) -> None:
    asked = [{"run_id": filled.run_id, "key": "loss"}] * 20
    error = client.send("POST", "/api/v2/series", {"series": asked, "columns": 20_000}, 400)["error"]
    assert "at most 12,500" in error["message"]
    error = client.send("POST", "/api/v2/series", {"series": asked * 30}, 400)["error"]
    assert "600 items; at most 500" in error["message"]
    error = client.send("POST", "/api/v2/series", {"series": [{"run_id": filled.run_id}]}, 400)["error"]
    assert "key is missing" in error["message"]


@pytest.mark.parametrize("columns", [7, 100, 640])
def test_the_mean_of_a_pixel_column_is_the_mean_of_its_points_at_any_width(
    client: Any, filled: Any, columns: int
) -> None:
    values = np.random.default_rng(3).exponential(1.0, 20_000)
    add_series(filled, "wild", values)
    found = draw(client, filled, "wild", columns=columns)
    parts = found["columns"]
    at = 0
    for count, mean, low, high, last in zip(
        *(parts[name] for name in ("count", "mean", "minimum", "maximum", "last")), strict=True
    ):
        points = values[at : at + count]
        assert mean == pytest.approx(points.mean())
        assert (low, high, last) == (points.min(), points.max(), points[-1])
        at += count
    assert at == found["total"] == 20_000
    assert sum(c * m for c, m in zip(parts["count"], parts["mean"], strict=True)) / at == pytest.approx(values.mean())


def test_numbers_that_are_no_numbers_are_counted_by_the_store_and_drawn_by_nobody(client: Any, filled: Any) -> None:
    values = np.ones(10_000)
    values[4000:4500], values[100], values[9999] = np.nan, np.inf, -np.inf
    values[7000:7010] = [-1.0] * 9 + [-0.0]
    add_series(filled, "holes", values)
    found = draw(client, filled, "holes", columns=100)
    assert [found[f"{name}_count"] for name in ("nan", "infinite", "nonpositive")] == [500, 2, 10]
    parts = found["columns"]
    assert (sum(parts["nan_count"]), sum(parts["infinite_count"])) == (500, 2)
    assert parts["mean"][0] == parts["maximum"][0] == 1.0
    assert parts["mean"][42] == {"$float": "NaN"}, "a column of nothing but NaN has no mean"
    assert parts["last"][-1] == {"$float": "-Infinity"}


def test_a_mean_of_large_numbers_does_not_overflow_and_a_constant_stays_itself(client: Any, filled: Any) -> None:
    add_series(filled, "huge", np.full(5000, 1.7e308))
    assert set(draw(client, filled, "huge", columns=10)["columns"]["mean"]) == {1.7e308}
    add_series(filled, "tenth", np.full(5000, 0.1))
    assert set(draw(client, filled, "tenth", columns=10)["columns"]["mean"]) == {0.1}


def test_columns_are_cut_along_the_axis_that_is_drawn(client: Any, filled: Any) -> None:
    times = 1_700_000_000_000_000
    add_series(filled, "order", np.arange(6000.0), np.arange(6000)[::-1])
    by_step = draw(client, filled, "order", columns=4)["columns"]
    assert by_step["last"] == [4500.0, 3000.0, 1500.0, 0.0]
    by_time = draw(client, filled, "order", columns=4, axis="time", origin=times)["columns"]
    assert (by_time["first_x"][0], by_time["last_x"][-1]) == (0, 5999)
    assert by_time["last"] == [1499.0, 2999.0, 4499.0, 5999.0]
    assert (by_time["first_step"][0], by_time["last_step"][0]) == (5999, 4500)
    part = draw(client, filled, "order", columns=4, axis="time", origin=times, first=10, last=12)
    assert (part["points"]["x"], part["points"]["values"], part["total"]) == ([10, 11, 12], [10.0, 11.0, 12.0], 3)


def test_a_logarithmic_axis_has_columns_of_its_own_and_says_what_it_hides(client: Any, filled: Any) -> None:
    add_series(filled, "long", np.arange(100_000.0), np.arange(100_000) - 5)
    found = draw(client, filled, "long", columns=50, scale="log")
    assert (found["hidden_count"], found["total"]) == (6, 100_000)
    assert found["columns"]["first_x"][0] == 1
    assert found["columns"]["count"][0] == 1, "the first decade is not one column"
    assert sum(found["columns"]["count"]) == 99_994


def test_steps_beyond_two_to_the_53_keep_every_digit(client: Any, filled: Any) -> None:
    add_series(filled, "far", [1.0, 2.0, 3.0], [2**62, -(2**62), 2**53 + 1])
    found = draw(client, filled, "far")["points"]
    assert found["steps"] == [{"$int": str(-(2**62))}, {"$int": str(2**53 + 1)}, {"$int": str(2**62)}]
    add_series(filled, "wide", np.ones(5000), np.linspace(-(2**62), 2**62, 5000).astype(np.int64))
    assert draw(client, filled, "wide", columns=10)["columns"]["x"][-1] > 2**61


def test_repeated_steps_are_one_column_and_nothing_of_them_is_lost(client: Any, filled: Any) -> None:
    add_series(filled, "same", np.arange(5000.0), np.zeros(5000))
    parts = draw(client, filled, "same", columns=10)["columns"]
    assert (parts["count"], parts["mean"], parts["minimum"], parts["maximum"]) == ([5000], [2499.5], [0.0], [4999.0])


def test_a_range_without_points_is_empty_and_no_error(client: Any, filled: Any) -> None:
    assert draw(client, filled, "loss", first=1000)["points"]["x"] == []
    body = {"series": [{"run_id": filled.run_id, "key": "loss", "first": 2, "last": 1}]}
    assert "first is 2" in client.send("POST", "/api/v2/series", body, 400)["error"]["message"]


def test_columns_that_are_not_contiguous_are_written_right(filled: Any) -> None:
    from modeldb_core.log.points import Series

    grid = np.arange(12.0).reshape(4, 3)
    document = series_document(Series("r", "k", np.arange(8)[::2], np.arange(4, dtype=">i8"), grid[:, 1], 4))  # type: ignore[arg-type]
    text = dump_json(document)
    assert b'"values":[1.0,4.0,7.0,10.0]' in text
    assert b'"steps":[0,2,4,6],"times":[0,1,2,3]' in text
