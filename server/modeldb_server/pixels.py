"""Series for drawing: the points themselves where they fit, else a summary of each pixel column.

A column says what its points were: mean, minimum, maximum, last, count, and how many were NaN or infinite. So a line
of means is the mean at any width, a band from minimum to maximum hides no spike, and every count is of what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from modeldb_server.documents import floats, integers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modeldb_core.log.points import Series

Axis: TypeAlias = Literal["step", "time"]
MIN_X, MAX_X = -(2**63), 2**63 - 1
POINTS_PER_COLUMN = 2
"""Up to so many points for each column are sent as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What a series is drawn on.

    Attributes:
        axis: what x is: the step, or the time in microseconds since ``origin``.
        origin: what times are counted from, in microseconds since 1970-01-01 UTC.
        first: only points from this x on.
        last: only points up to this x.
        columns: into how many columns the range of x is cut.
        is_log: the columns are equally wide on a logarithmic axis, which has no place for an x of 0 or less.
    """

    columns: int
    axis: Axis = "step"
    origin: int = 0
    first: int = MIN_X
    last: int = MAX_X
    is_log: bool = False


def draw(series: Series, canvas: Canvas) -> dict[str, Any]:
    """Return what a page needs to draw ``series``: ``points`` or ``columns``, ordered by x, and counts of the range."""
    x = series.steps if canvas.axis == "step" else series.times - canvas.origin
    inside = np.flatnonzero((x >= canvas.first) & (x <= canvas.last))
    x, steps, values = x[inside], series.steps[inside], series.values[inside]
    if len(x) > 1 and bool(np.any(x[1:] < x[:-1])):
        order = np.argsort(x, kind="stable")
        x, steps, values = x[order], steps[order], values[order]
    finite = np.isfinite(values)
    is_nan = np.isnan(values)
    document: dict[str, Any] = {
        "run_id": series.run_id,
        "key": series.key,
        "total": len(x),
        "nan_count": int(is_nan.sum()),
        "infinite_count": int((~finite & ~is_nan).sum()),
        "nonpositive_count": int((values[finite] <= 0).sum()),
        "hidden_count": 0,
    }
    if canvas.is_log:
        hidden = int(np.searchsorted(x, 0, "right"))
        document["hidden_count"] = hidden
        x, steps, values = x[hidden:], steps[hidden:], values[hidden:]
    if len(x) <= POINTS_PER_COLUMN * canvas.columns:
        document["points"] = {"x": integers(x), "steps": integers(steps), "values": floats(values)}
    else:
        document["columns"] = _columns(x, steps, values, _starts(x, canvas))
    return document


def _starts(x: NDArray[np.int64], canvas: Canvas) -> NDArray[np.intp]:
    """Return where each column that holds points begins."""
    low, high = float(x[0]), float(x[-1])
    space = np.geomspace if canvas.is_log else np.linspace
    edges = space(low, high, canvas.columns + 1)[1:-1]
    starts = np.unique(np.concatenate([[0], np.searchsorted(x.astype(np.float64), edges)]))
    return starts[starts < len(x)]


def _columns(
    x: NDArray[np.int64], steps: NDArray[np.int64], values: NDArray[np.float64], starts: NDArray[np.intp]
) -> dict[str, Any]:
    ends = np.append(starts[1:], len(x))
    counts = ends - starts
    finite = np.isfinite(values)
    is_nan = np.isnan(values)
    known = np.add.reduceat(finite.astype(np.int64), starts)
    low = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    # Divided first, or the sum of large numbers would overflow; kept between the extremes, where rounding may leave them.
    parts = np.where(finite, values, 0.0) / np.repeat(np.maximum(known, 1), counts)
    mean = np.clip(np.add.reduceat(parts, starts), low, np.maximum(low, high))
    empty = known == 0
    for column in (low, high, mean):
        column[empty] = np.nan
    middle = x[starts] + np.add.reduceat(x.astype(np.float64) - np.repeat(x[starts], counts), starts) / counts
    nans = np.add.reduceat(is_nan.astype(np.int64), starts)
    return {
        "x": floats(middle),
        "first_x": integers(x[starts]),
        "last_x": integers(x[ends - 1]),
        "first_step": integers(steps[starts]),
        "last_step": integers(steps[ends - 1]),
        "count": integers(counts),
        "nan_count": integers(nans),
        "infinite_count": integers(counts - known - nans),
        "mean": floats(mean),
        "minimum": floats(low),
        "maximum": floats(high),
        "last": floats(values[ends - 1]),
    }
