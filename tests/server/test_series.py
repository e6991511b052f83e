from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeldb_core.points import PointGroup
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


def test_many_series_come_at_once_and_one_that_fails_does_not_hide_the_rest(client: Any, filled: Any) -> None:
    asked = [{"run_id": filled.run_id, "key": key} for key in ("loss", "missing", "accuracy")]
    found = client.send("POST", "/api/v2/series", {"series": asked, "max_points": 100})["series"]
    assert [item["key"] for item in found] == ["loss", "missing", "accuracy"]
    assert found[0]["shown"] == 4
    assert found[1]["error"]["code"] == "not_found"
    assert found[2]["values"] == [0.1, 0.2, 0.3, 0.4]


def test_the_points_of_one_answer_are_limited(client: Any, filled: Any) -> None:
    asked = [{"run_id": filled.run_id, "key": "loss"}] * 3
    error = client.send("POST", "/api/v2/series", {"series": asked, "max_points": 1_000_000}, 400)["error"]
    assert "at most 333,333" in error["message"]
    error = client.send("POST", "/api/v2/series", {"series": asked * 200}, 400)["error"]
    assert "600 items; at most 500" in error["message"]
    error = client.send("POST", "/api/v2/series", {"series": [{"run_id": filled.run_id}]}, 400)["error"]
    assert "key is missing" in error["message"]


def test_columns_that_are_not_contiguous_are_written_right(filled: Any) -> None:
    from modeldb_core.points import Series

    grid = np.arange(12.0).reshape(4, 3)
    document = series_document(Series("r", "k", np.arange(8)[::2], np.arange(4, dtype=">i8"), grid[:, 1], 4))  # type: ignore[arg-type]
    text = dump_json(document)
    assert b'"values":[1.0,4.0,7.0,10.0]' in text
    assert b'"steps":[0,2,4,6],"times":[0,1,2,3]' in text
