"""Points of series, thinned out for drawing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError, ModelDBError
from modeldb_server.documents import series_document
from modeldb_server.errors import error_body
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.points import Series
    from modeldb_server.context import ServerContext

MAX_POINTS = 1_000_000
"""The most points in one answer. More are thinned out, and ``shown`` is less than ``total``."""
DEFAULT_PLOT_POINTS = 2000
MIN_STEP, MAX_STEP = -(2**63), 2**63 - 1


def read_series(
    context: ServerContext,
    *,
    run_id: str,
    key: str,
    first_step: int | None,
    last_step: int | None,
    max_points: int | None,
) -> Response:
    """Return the points of one series of a run."""
    check_id("run", run_id)
    return json_response(series_document(_read(context, run_id, key, _steps(first_step, last_step), max_points)))


def read_many_series(
    context: ServerContext,
    *,
    series: list[dict[str, str]],
    first_step: int | None,
    last_step: int | None,
    max_points: int,
) -> Response:
    """Return the points of several series; one that cannot be read has an error in its place."""
    if len(series) * max_points > MAX_POINTS:
        msg = (
            f"{len(series)} series of {max_points:,} points are more than an answer holds ({MAX_POINTS:,} points);"
            f" ask for max_points of at most {MAX_POINTS // len(series):,}"
        )
        raise InvalidArgumentError(msg)
    steps = _steps(first_step, last_step)
    results = [_read_or_error(context, item["run_id"], item["key"], steps, max_points) for item in series]
    return json_response({"series": results})


def _read_or_error(
    context: ServerContext, run_id: str, key: str, steps: tuple[int, int] | None, max_points: int
) -> dict[str, Any]:
    try:
        return series_document(_read(context, run_id, key, steps, max_points))
    except ModelDBError as error:
        return {"run_id": run_id, "key": key, "error": error_body(error)}


def _read(
    context: ServerContext, run_id: str, key: str, steps: tuple[int, int] | None, max_points: int | None
) -> Series:
    series = context.store.read_series(run_id, key, steps=steps, max_points=max_points)
    if len(series) <= MAX_POINTS:
        return series
    from modeldb_core.points import thin_out

    chosen = thin_out(series.steps, series.values, MAX_POINTS)
    return replace(
        series, steps=series.steps[chosen], times=series.times[chosen], values=series.values[chosen], total=len(series)
    )


def _steps(first: int | None, last: int | None) -> tuple[int, int] | None:
    if first is None and last is None:
        return None
    steps = MIN_STEP if first is None else first, MAX_STEP if last is None else last
    if steps[0] > steps[1]:
        msg = f"first_step is {first} and last_step is {last}; the first must not be the greater"
        raise InvalidArgumentError(msg)
    return steps
