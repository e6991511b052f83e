"""Plots of a series from the outlines of its chunks; see ``MetadataStore.plot_series``.

A chunk whose points all fall into one pixel column is known well enough by its summary. The points of the others, which
lie across the edges of columns or of the range, are read, some chunks at a time. So a plot reads about as many chunks as it
has columns, however long the series is, and never holds more than a few of them. Nothing needs to be in order: steps
that repeat or fall only make fewer chunks lie within a column.

What is known of points in one column, from a summary or of a part that was read, is a *piece*. Columns are pieces put
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modeldb_core.backends._sql.outlines import load_summaries, read_summaries
from modeldb_core.backends._sql.parts import StoredSeries
from modeldb_core.log.plots import POINTS_PER_COLUMN, Plot, PlotColumns, draw
from modeldb_core.log.points import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.parts import Part
    from modeldb_core.log.plots import Canvas

_EXACT = 2**53  # below it whole numbers are exact as real ones
_FEW = 65_536  # points that are read and drawn rather than summed up

_ORDER = ("time", "position", "group", "part", "row")
"""By what the first, or last, of several points of one x is found: ``last_time`` and so on."""
_PIECE = np.dtype(
    [
        ("column", "<i8"),
        ("count", "<i8"),
        ("nan_count", "<i8"),
        ("infinite_count", "<i8"),
        ("nonpositive_count", "<i8"),
        ("mean", "<f8"),
        ("minimum", "<f8"),
        ("maximum", "<f8"),
        ("first_x", "<i8"),
        ("last_x", "<i8"),
        ("offset", "<f8"),  # mean of x - first_x
        ("first_step", "<i8"),
        ("last_step", "<i8"),
        ("last", "<f8"),
        *((f"{end}_{name}", "<i8") for end in ("first", "last") for name in _ORDER),
    ]
)


def plot_series(transaction: Transaction, url: str, run_id: str, key: str, canvas: Canvas) -> Plot:
    """Return what there is to draw of a series."""
    stored = StoredSeries(transaction, url, run_id, key, canvas.steps)
    outlines = stored.outlines
    if int(outlines.rows.sum()) <= max(_FEW, POINTS_PER_COLUMN * canvas.columns):
        return _drawn(stored, run_id, key, canvas, outlines.chunk_pks)
    sketch = _Sketch(transaction, stored, canvas)
    low, high, visible = sketch.extent()
    if visible <= POINTS_PER_COLUMN * canvas.columns:
        return _drawn(stored, run_id, key, canvas, sketch.touched())
    pieces = sketch.pieces(canvas.edges(low, high))
    hidden = pieces["column"] < 0
    return Plot(
        run_id=run_id,
        key=key,
        total=int(pieces["count"].sum()),
        nan_count=int(pieces["nan_count"].sum()),
        infinite_count=int(pieces["infinite_count"].sum()),
        nonpositive_count=int(pieces["nonpositive_count"].sum()),
        hidden_count=int(pieces["count"][hidden].sum()),
        columns=sketch.columns(pieces[~hidden]),
    )


def _drawn(stored: StoredSeries, run_id: str, key: str, canvas: Canvas, chunk_pks: NDArray[np.int64]) -> Plot:
    """Return the plot of so few points that all of them are read."""
    parts = list(stored.waiting)
    for some in stored.chunks(chunk_pks):
        parts += some
    inside = []
    for part in parts:
        x = part.steps if canvas.axis == "step" else part.times - canvas.origin
        chosen = np.flatnonzero((x >= canvas.first) & (x <= canvas.last))
        if len(chosen):
            inside.append(part.take(chosen))
    columns = stored.in_order(inside)
    return draw(Series(run_id, key, *columns, len(columns[0])), canvas)


class _Sketch:
    """A series on a canvas, of which only the outlines are known."""

    def __init__(self, transaction: Transaction, stored: StoredSeries, canvas: Canvas) -> None:
        self._stored, self._canvas = stored, canvas
        self._by_time = canvas.axis == "time"
        # Of several points of one step the last is found by time where several streams wrote.
        self._orders_by_time = stored.has_several_streams and not self._by_time
        rows = read_summaries(transaction, stored.entity_pk, stored.key_pk, canvas.steps)
        known = [row for row in rows if row[4] is not None]
        self._summaries = load_summaries([row[4] for row in known])
        plain = np.array([row[:4] for row in known], np.int64).reshape(-1, 4)
        self._numbers, self._rows, self._steps = plain[:, 0], plain[:, 1], plain[:, 2:].T
        self._unknown = np.array([row[0] for row in rows if row[4] is None], np.int64)
        if self._by_time:
            ends = (self._summaries[name] - canvas.origin for name in ("min_time", "max_time"))
            self._low, self._high = ends
        else:
            self._low, self._high = self._steps
        self._visible_from = max(canvas.first, 1) if canvas.is_log else canvas.first
        self._touches = (self._high >= canvas.first) & (self._low <= canvas.last)

    def touched(self) -> NDArray[np.int64]:
        """Return the numbers of the chunks that may hold points of the range."""
        return np.concatenate([self._numbers[self._touches], self._unknown])

    def extent(self) -> tuple[int, int, int]:
        """Return the lowest and the highest x that is drawn, and how many points are."""
        first, last = self._visible_from, self._canvas.last
        within = (self._low >= first) & (self._high <= last)
        across = ~within & (self._high >= first) & (self._low <= last)
        found = [(int(self._low[within].min()), int(self._high[within].max()))] if within.any() else []
        count = int(self._rows[within].sum())
        for parts in self._read(np.concatenate([self._numbers[across], self._unknown])):
            for part in parts:
                x = self._x(part)
                x = x[(x >= first) & (x <= last)]
                count += len(x)
                if len(x):
                    found.append((int(x.min()), int(x.max())))
        return min((low for low, _ in found), default=0), max((high for _, high in found), default=0), count

    def pieces(self, edges: NDArray[np.float64]) -> NDArray[Any]:
        """Return the pieces of all columns that begin at ``edges``; what a logarithmic axis hides is in column -1."""
        if self._canvas.is_log:
            edges = np.concatenate([[0.5], edges])
        lowest = np.searchsorted(edges, self._low.astype(np.float64), "right")
        highest = np.searchsorted(edges, self._high.astype(np.float64), "right")
        known = (lowest == highest) & (self._low >= self._canvas.first) & (self._high <= self._canvas.last)
        if self._orders_by_time:
            known &= self._summaries["times_rise"] == 1
        found = [self._summed_up(np.flatnonzero(known), lowest)]
        across = self._numbers[self._touches & ~known]
        found += [self._looked_into(parts, edges) for parts in self._read(np.concatenate([across, self._unknown]))]
        pieces = _joined(found)
        pieces["column"] -= self._canvas.is_log
        return pieces[np.argsort(pieces["column"], kind="stable")]

    def columns(self, pieces: NDArray[Any]) -> PlotColumns:
        """Return the columns that pieces make, which are ordered by column."""
        starts = np.flatnonzero(np.diff(pieces["column"], prepend=-1))
        sizes = np.diff(starts, append=len(pieces))
        first, last = self._ends(pieces, starts, sizes, "first"), self._ends(pieces, starts, sizes, "last")
        first_x, last_x = pieces["first_x"][first], pieces["last_x"][last]
        counts = {name: np.add.reduceat(pieces[name], starts) for name in ("count", "nan_count", "infinite_count")}
        count = counts["count"]
        known_of_each = pieces["count"] - pieces["nan_count"] - pieces["infinite_count"]
        known = np.add.reduceat(known_of_each, starts)
        low, high = np.fmin.reduceat(pieces["minimum"], starts), np.fmax.reduceat(pieces["maximum"], starts)
        shares = known_of_each / np.repeat(np.maximum(known, 1), sizes)
        means = np.where(known_of_each > 0, pieces["mean"], 0.0)
        mean = np.where(known > 0, np.clip(np.add.reduceat(means * shares, starts), low, high), np.nan)
        ahead = pieces["first_x"].astype(np.float64) - np.repeat(first_x.astype(np.float64), sizes)
        middle = first_x + np.add.reduceat(
            (ahead + pieces["offset"]) * (pieces["count"] / np.repeat(count, sizes)), starts
        )
        return PlotColumns(
            x=middle,
            first_x=first_x,
            last_x=last_x,
            first_step=pieces["first_step"][first],
            last_step=pieces["last_step"][last],
            mean=mean,
            minimum=low,
            maximum=high,
            last=pieces["last"][last],
            **counts,
        )

    def _ends(
        self, pieces: NDArray[Any], starts: NDArray[np.intp], sizes: NDArray[np.intp], end: str
    ) -> NDArray[np.intp]:
        """Return which piece of each column has the ``first``, or ``last``, point of it."""
        x = pieces[f"{end}_x"]
        best = (np.minimum if end == "first" else np.maximum).reduceat(x, starts)
        tied = np.flatnonzero(x == np.repeat(best, sizes))
        columns = np.repeat(np.arange(len(starts)), sizes)[tied]
        contested = np.bincount(columns)[columns] > 1
        if contested.any():
            self._place(pieces, tied[contested], end)
            ranks = [pieces[f"{end}_{name}"][tied] for name in reversed(_ORDER)]
            tied = tied[np.lexsort((*ranks, columns))]
        all_columns = np.arange(len(starts))
        if end == "first":
            return tied[np.searchsorted(columns, all_columns)]
        return tied[np.searchsorted(columns, all_columns, "right") - 1]

    def _place(self, pieces: NDArray[Any], chosen: NDArray[np.intp], end: str) -> None:
        """Look up positions and groups of the first, or last, points of pieces, where only part and row are known."""
        chosen = chosen[pieces[f"{end}_position"][chosen] < 0]
        if not len(chosen):
            return
        parts, owners = np.unique(pieces[f"{end}_part"][chosen], return_inverse=True)
        by_part = np.split(chosen[np.argsort(owners, kind="stable")], np.cumsum(np.bincount(owners))[:-1])
        of_chunks = self._stored.segments(parts.tolist())
        for number, of_part in zip(parts.tolist(), by_part, strict=True):
            segments = of_chunks[number]
            at = np.searchsorted(np.cumsum(segments.rows), pieces[f"{end}_row"][of_part], "right")
            pieces[f"{end}_position"][of_part] = segments.positions[at]
            pieces[f"{end}_group"][of_part] = segments.groups[at]

    def _summed_up(self, chosen: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[Any]:
        """Return the pieces of chunks of which the summary says everything."""
        summaries, axis = self._summaries[chosen], self._canvas.axis
        pieces = _blank(len(chosen))
        pieces["column"], pieces["count"] = columns[chosen], self._rows[chosen]
        for name in ("nan_count", "infinite_count", "nonpositive_count", "mean", "minimum", "maximum"):
            pieces[name] = summaries[name]
        pieces["first_x"], pieces["last_x"] = self._low[chosen], self._high[chosen]
        pieces["offset"], pieces["last"] = summaries[f"{axis}_offset"], summaries[f"{axis}_last"]
        if self._by_time:
            pieces["first_step"], pieces["last_step"] = summaries["time_first_step"], summaries["time_last_step"]
        else:
            pieces["first_step"], pieces["last_step"] = self._steps[0][chosen], self._steps[1][chosen]
        for end in ("first", "last") if self._by_time else ("last",):
            pieces[f"{end}_part"] = self._numbers[chosen]
            for name in ("position", "group"):
                pieces[f"{end}_{name}"] = summaries[f"{axis}_{end}_{name}"]
        if self._orders_by_time:
            pieces["last_time"] = summaries["step_last_time"]
        return pieces

    def _looked_into(self, parts: Sequence[Part], edges: NDArray[np.float64]) -> NDArray[Any]:
        """Return the pieces of parts that were read."""
        cuts = [cut for part in parts if (cut := self._cut(part)) is not None]
        if not cuts:
            return _blank(0)
        x, values = np.concatenate([cut.x for cut in cuts]), np.concatenate([cut.values for cut in cuts])
        ends = np.cumsum([len(cut.x) for cut in cuts])
        begins = ends - [len(cut.x) for cut in cuts]
        low, high = np.searchsorted(edges, x[np.stack([begins, ends - 1])].astype(np.float64), "right").tolist()
        found = [_places(cut.x, edges[low[at] : high[at]]) + begins[at] for at, cut in enumerate(cuts)]
        starts = np.concatenate([each for pair in zip(begins[:, None], found, strict=True) for each in pair])
        owners = np.repeat(np.arange(len(cuts)), [1 + len(each) for each in found])
        inside = starts < ends[owners]
        starts, owners = starts[inside], owners[inside]
        is_new = np.diff(starts, prepend=-1) > 0
        starts, owners = starts[is_new], owners[is_new]
        pieces = _blank(len(starts))
        pieces["column"] = np.searchsorted(edges, x[starts].astype(np.float64), "right")
        _sum_up(pieces, x, values, starts)
        last = np.append(starts[1:], len(x)) - 1
        pieces["first_x"], pieces["last_x"], pieces["last"] = x[starts], x[last], values[last]
        self._describe(pieces, "last", cuts, owners, last - begins[owners])
        if self._by_time:
            self._describe(pieces, "first", cuts, owners, starts - begins[owners])
        else:
            pieces["first_step"] = pieces["first_x"]
        return pieces

    def _describe(
        self, pieces: NDArray[Any], end: str, cuts: Sequence[_Cut], owners: NDArray[np.intp], at: NDArray[np.intp]
    ) -> None:
        """Set what pieces are to know of their first, or last, points: ``at`` in the parts ``owners`` as they are cut."""
        if all(isinstance(cut.rows, int) for cut in cuts):
            rows = at + np.array([cut.rows for cut in cuts])[owners]
        else:
            places = zip(owners.tolist(), at.tolist(), strict=True)
            rows = np.array([cuts[owner].row(place) for owner, place in places], np.int64)
        pieces[f"{end}_row"], pieces[f"{end}_position"] = rows, -1
        pieces[f"{end}_part"] = np.array([cut.part.number for cut in cuts])[owners]
        for owner, cut in enumerate(cuts):
            if not cut.part.number:  # a group that waits
                of_part = owners == owner
                pieces[f"{end}_position"][of_part], pieces[f"{end}_group"][of_part] = cut.part.first[:2]
        pairs = list(zip(owners.tolist(), rows.tolist(), strict=True))
        if self._by_time:
            pieces[f"{end}_step"] = [cuts[owner].part.steps[row] for owner, row in pairs]
        else:
            pieces[f"{end}_step"] = pieces[f"{end}_x"]
        if self._orders_by_time:
            pieces[f"{end}_time"] = [cuts[owner].part.times[row] for owner, row in pairs]

    def _cut(self, part: Part) -> _Cut | None:
        """Order the points of a part that lie in the range; ``None`` where none do."""
        x, first, last = self._x(part), self._canvas.first, self._canvas.last
        order: NDArray[np.intp] | None = None
        if self._orders_by_time:
            order = np.lexsort((part.times, x))
        elif bool(np.any(x[1:] < x[:-1])):
            order = np.argsort(x, kind="stable")
        values = part.values
        if order is not None:
            x, values = x[order], values[order]
        if x[0] >= first and x[-1] <= last:
            return _Cut(part, 0 if order is None else order, x, values)
        begin, end = int(np.searchsorted(x, first)), int(np.searchsorted(x, last, "right"))
        rows = begin if order is None else order[begin:end]
        return _Cut(part, rows, x[begin:end], values[begin:end]) if begin < end else None

    def _read(self, chunk_pks: NDArray[np.int64]) -> Iterator[list[Part]]:
        """Iterate over chunks, and over what waits to become one."""
        has_times = self._by_time or self._orders_by_time
        yield from self._stored.chunks(chunk_pks) if has_times else self._stored.chunks_by_step(chunk_pks)
        if self._stored.waiting:
            yield self._stored.waiting

    def _x(self, part: Part) -> NDArray[np.int64]:
        return part.times - self._canvas.origin if self._by_time else part.steps


def _blank(count: int) -> NDArray[Any]:
    return np.zeros(count, _PIECE)


def _joined(found: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return pieces as one array; faster than NumPy, which compares the types field by field."""
    joined, at = _blank(sum(map(len, found))), 0
    for each in found:
        joined[at : at + len(each)] = each
        at += len(each)
    return joined


def _places(x: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return where columns begin among rising numbers, compared as real ones."""
    if x[0] > -_EXACT and x[-1] < _EXACT:
        return np.searchsorted(x, np.ceil(edges).astype(np.int64))
    return np.searchsorted(x.astype(np.float64), edges)


class _Cut(NamedTuple):
    """The points of a part that lie in the range, ordered by x; and which rows of the part, or the first of all that follow."""

    part: Part
    rows: int | NDArray[np.intp]
    x: NDArray[np.int64]
    values: NDArray[np.float64]

    def row(self, at: int) -> int:
        """Return the row of the part that one of the points was."""
        return self.rows + at if isinstance(self.rows, int) else int(self.rows[at])


def _sum_up(pieces: NDArray[Any], x: NDArray[np.int64], values: NDArray[np.float64], starts: NDArray[np.intp]) -> None:
    """Set what does not depend on the order of points."""
    counts = np.diff(starts, append=len(x))
    pieces["count"] = counts
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(values, starts)
    low, high, known = values, values, counts
    if np.isfinite(sums).all():  # the usual case: no value is anything else
        pieces["mean"] = sums / counts
    else:
        finite = np.isfinite(values)
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        known = np.add.reduceat(finite, starts, dtype=np.int64)
        pieces["nan_count"] = np.add.reduceat(np.isnan(values), starts, dtype=np.int64)
        pieces["infinite_count"] = counts - known - pieces["nan_count"]
        # Divided first, or the sum of large numbers would overflow.
        shares = np.where(finite, values, 0.0) / np.repeat(np.maximum(known, 1), counts)
        pieces["mean"] = np.add.reduceat(shares, starts)
    pieces["minimum"], pieces["maximum"] = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    if (pieces["minimum"] <= 0).any():
        pieces["nonpositive_count"] = np.add.reduceat(low <= 0, starts, dtype=np.int64)
    for name in ("mean", "minimum", "maximum"):
        pieces[name][known == 0] = np.nan
    first_x = x[starts]
    if float(x.max()) - float(x.min()) < _EXACT / len(x):
        ahead = np.add.reduceat(x - np.repeat(first_x, counts), starts)
    else:
        ahead = np.add.reduceat(x.astype(np.float64) - np.repeat(first_x.astype(np.float64), counts), starts)
    pieces["offset"] = ahead / counts
