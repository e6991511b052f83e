"""Points of series, and series for drawing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError, ModelDBError
from modeldb_core.log.plots import MAX_X, MIN_X, Axis, Canvas
from modeldb_core.log.points import thin_out
from modeldb_server.documents import series_document
from modeldb_server.errors import error_body
from modeldb_server.handlers.entities import check_id
from modeldb_server.pixels import plot_document
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.log.points import Series
    from modeldb_server.context import ServerContext

MAX_POINTS = 1_000_000
"""The most points in one answer. More are thinned out, and ``shown`` is less than ``total``."""
DEFAULT_COLUMNS = 500
MAX_COLUMNS = 250_000
"""The most pixel columns in one answer."""


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
    context: ServerContext, *, series: list[dict[str, Any]], columns: int, axis: Axis, scale: str
) -> Response:
    """Return several series for drawing; one that cannot be read has an error in its place."""
    if len(series) * columns > MAX_COLUMNS:
        msg = (
            f"{len(series)} series in {columns:,} columns are more than an answer holds ({MAX_COLUMNS:,} columns);"
            f" ask for at most {MAX_COLUMNS // len(series):,} columns"
        )
        raise InvalidArgumentError(msg)
    results = []
    for item in series:
        first, last = _range("first", item["first"], "last", item["last"])
        canvas = Canvas(
            columns=columns, axis=axis, origin=item["origin"], first=first, last=last, is_log=scale == "log"
        )
        results.append(_draw_or_error(context, item["run_id"], item["key"], canvas))
    return json_response({"series": results})


def _draw_or_error(context: ServerContext, run_id: str, key: str, canvas: Canvas) -> dict[str, Any]:
    try:
        return plot_document(context.store.plot_series(run_id, key, canvas))
    except ModelDBError as error:
        return {"run_id": run_id, "key": key, "error": error_body(error)}


def _read(
    context: ServerContext, run_id: str, key: str, steps: tuple[int, int] | None, max_points: int | None
) -> Series:
    series = context.store.read_series(run_id, key, steps=steps, max_points=max_points)
    if len(series) <= MAX_POINTS:
        return series
    chosen = thin_out(series.steps, series.values, MAX_POINTS)
    return replace(
        series, steps=series.steps[chosen], times=series.times[chosen], values=series.values[chosen], total=len(series)
    )


def _steps(first: int | None, last: int | None) -> tuple[int, int] | None:
    return None if first is None and last is None else _range("first_step", first, "last_step", last)


def _range(first_name: str, first: int | None, last_name: str, last: int | None) -> tuple[int, int]:
    steps = MIN_X if first is None else first, MAX_X if last is None else last
    if steps[0] > steps[1]:
        msg = f"{first_name} is {first} and {last_name} is {last}; the first must not be the greater"
        raise InvalidArgumentError(msg)
    return steps
