"""Series for drawing: the points themselves where they fit, else a summary of each pixel column.

A column says what its points were: mean, minimum, maximum, last, count, and how many were NaN or infinite. So a line
of means is the mean at any width, a band from minimum to maximum hides no spike, and every count is of what is stored.

:func:`draw` says what a plot is. A store may answer faster, from summaries that it keeps, with the same result: only
means may differ, by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from modeldb_core.log.points import Floats, Series, Steps

Axis: TypeAlias = Literal["step", "time"]
Ints = NDArray[np.int64]

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

    @property
    def steps(self) -> tuple[int, int] | None:
        """The range of steps that is drawn; ``None`` where it does not go by steps."""
        return (self.first, self.last) if self.axis == "step" else None

    def edges(self, low: int, high: int) -> Floats:
        """Return where columns begin, all but the first, if the points go from ``low`` to ``high``."""
        space = np.geomspace if self.is_log else np.linspace
        return np.sort(space(float(low), float(high), self.columns + 1)[1:-1])


@dataclass(frozen=True, slots=True)
class PlotPoints:
    """Points as they were logged, ordered by x. All arrays have the shape (n,)."""

    x: Ints
    steps: Steps
    values: Floats


@dataclass(frozen=True, slots=True)
class PlotColumns:
    """Summaries of the pixel columns that hold points, from left to right. All arrays have the shape (n,).

    Attributes:
        x: the mean x of the points.
        first_x: the lowest x.
        last_x: the highest x.
        first_step: the step of the first point.
        last_step: the step of the last point.
        count: how many points there are.
        nan_count: how many of them are NaN.
        infinite_count: how many of them are infinite.
        mean: of the finite values; NaN where there are none, as in the next two.
        minimum: the lowest of the finite values.
        maximum: the highest of the finite values.
        last: the value of the last point, whatever it is.
    """

    x: Floats
    first_x: Ints
    last_x: Ints
    first_step: Steps
    last_step: Steps
    count: Ints
    nan_count: Ints
    infinite_count: Ints
    mean: Floats
    minimum: Floats
    maximum: Floats
    last: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What there is to draw of one series, and counts of the points in the range of the canvas.

    Attributes:
        total: how many points the range holds.
        nan_count: how many of them are NaN.
        infinite_count: how many of them are infinite.
        nonpositive_count: how many of them are finite and at most 0.
        hidden_count: how many of them a logarithmic axis has no place for.
        points: the points, where they fit.
        columns: else what each pixel column holds.
    """

    run_id: str
    key: str
    total: int
    nan_count: int
    infinite_count: int
    nonpositive_count: int
    hidden_count: int
    points: PlotPoints | None = None
    columns: PlotColumns | None = None


def draw(series: Series, canvas: Canvas) -> Plot:
    """Return the plot of a series."""
    x = series.steps if canvas.axis == "step" else series.times - canvas.origin
    inside = np.flatnonzero((x >= canvas.first) & (x <= canvas.last))
    x, steps, values = x[inside], series.steps[inside], series.values[inside]
    if len(x) > 1 and bool(np.any(x[1:] < x[:-1])):
        order = np.argsort(x, kind="stable")
        x, steps, values = x[order], steps[order], values[order]
    finite = np.isfinite(values)
    is_nan = np.isnan(values)
    hidden = int(np.searchsorted(x, 0, "right")) if canvas.is_log else 0
    points, columns = None, None
    shown = x[hidden:], steps[hidden:], values[hidden:]
    if len(x) - hidden <= POINTS_PER_COLUMN * canvas.columns:
        points = PlotPoints(*shown)
    else:
        columns = _columns(*shown, _starts(shown[0], canvas))
    return Plot(
        run_id=series.run_id,
        key=series.key,
        total=len(x),
        nan_count=int(is_nan.sum()),
        infinite_count=int((~finite & ~is_nan).sum()),
        nonpositive_count=int((values[finite] <= 0).sum()),
        hidden_count=hidden,
        points=points,
        columns=columns,
    )


def _starts(x: Ints, canvas: Canvas) -> NDArray[np.intp]:
    """Return where each column that holds points begins."""
    edges = canvas.edges(int(x[0]), int(x[-1]))
    starts = np.unique(np.concatenate([[0], np.searchsorted(x.astype(np.float64), edges)]))
    return starts[starts < len(x)]


def _columns(x: Ints, steps: Steps, values: Floats, starts: NDArray[np.intp]) -> PlotColumns:
    ends = np.append(starts[1:], len(x))
    counts = ends - starts
    finite = np.isfinite(values)
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
    nans = np.add.reduceat(np.isnan(values).astype(np.int64), starts)
    return PlotColumns(
        x=middle,
        first_x=x[starts],
        last_x=x[ends - 1],
        first_step=steps[starts],
        last_step=steps[ends - 1],
        count=counts,
        nan_count=nans,
        infinite_count=counts - known - nans,
        mean=mean,
        minimum=low,
        maximum=high,
        last=values[ends - 1],
    )
