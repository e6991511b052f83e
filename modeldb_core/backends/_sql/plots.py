"""Plots of a series from the outlines of its chunks; see ``MetadataStore.plot_series``.

A chunk whose points all fall into one pixel column is known well enough by its summary. The points of the others, which
lie across the edges of columns or of the range, are read, some chunks at a time. So a plot reads about as many chunks as it
has columns, however long the series is, and never holds more than a few of them. Nothing needs to be in order: steps
that repeat or fall only make fewer chunks lie within a column.

What is known of points in one column, from a summary or of a part that was read, is a *piece*. Columns are pieces put
together.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.backends._sql.outlines import load_outlines, pack_outlines, read_summaries
from modeldb_core.backends._sql.parts import StoredSeries
from modeldb_core.log.plots import POINTS_PER_COLUMN, Plot, PlotColumns, draw
from modeldb_core.log.points import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.parts import Batch
    from modeldb_core.log.plots import Canvas

_EXACT = 2**53  # below it whole numbers are exact as real ones
_FEW = 65_536  # points that are read and drawn rather than summed up

_MOST_PIECES = 16_384  # before those of a column are put together, so that they stay few
_COUNTS = ("count", "nan_count", "infinite_count", "nonpositive_count")
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
        columns=_columns(pieces[~hidden]),
    )


def _drawn(stored: StoredSeries, run_id: str, key: str, canvas: Canvas, chunk_pks: NDArray[np.int64]) -> Plot:
    """Return the plot of so few points that all of them are read."""
    inside = []
    for batch in (*stored.chunks(chunk_pks), *stored.waiting_batch()):
        x = batch.steps if canvas.axis == "step" else batch.times - canvas.origin
        inside += batch.take(np.flatnonzero((x >= canvas.first) & (x <= canvas.last)))
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
        loose = [row for row in rows if row[4] is not None]
        known = stored.outlines.packed
        if loose:
            known = np.concatenate([known, load_outlines([pack_outlines(loose)])])
        self._summaries, self._numbers, self._rows = known["summary"], known["chunk_pk"], known["rows"]
        self._steps = known["min_step"], known["max_step"]
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
        for batch in self._read(np.concatenate([self._numbers[across], self._unknown])):
            x = self._x(batch)
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
        found: list[NDArray[Any]] = []
        for each in self._found(edges, known, lowest):
            found.append(each)
            if sum(map(len, found)) > max(_MOST_PIECES, 2 * self._canvas.columns):
                found = [self._put_together(_joined(found))]
        pieces = self._put_together(_joined(found))
        pieces["column"] -= self._canvas.is_log
        return pieces

    def _found(
        self, edges: NDArray[np.float64], known: NDArray[np.bool_], columns: NDArray[np.intp]
    ) -> Iterator[NDArray[Any]]:
        """Iterate over pieces, some at a time: of chunks that are known to lie in a column, and of those to look into."""
        chosen = np.flatnonzero(known)
        for at in range(0, len(chosen), _MOST_PIECES):
            yield self._summed_up(chosen[at : at + _MOST_PIECES], columns)
        across = self._touches & ~known
        rising = self._numbers[across][np.argsort(self._low[across], kind="stable")]
        for batch in self._read(np.concatenate([rising, self._unknown])):
            yield self._looked_into(batch, edges)

    def _put_together(self, pieces: NDArray[Any]) -> NDArray[Any]:
        """Return one piece for each column."""
        pieces = pieces[np.argsort(pieces["column"], kind="stable")]
        starts = np.flatnonzero(np.diff(pieces["column"], prepend=-1))
        if len(starts) == len(pieces):
            return pieces
        sizes = np.diff(starts, append=len(pieces))
        found = pieces[starts]
        for end in ("first", "last"):
            best = pieces[self._ends(pieces, starts, sizes, end)]
            for name in (*(f"{end}_{each}" for each in ("x", "step", *_ORDER)), *(["last"] if end == "last" else [])):
                found[name] = best[name]
        for name in _COUNTS:
            found[name] = np.add.reduceat(pieces[name], starts)
        known_of_each = pieces["count"] - pieces["nan_count"] - pieces["infinite_count"]
        known = np.add.reduceat(known_of_each, starts)
        low, high = np.fmin.reduceat(pieces["minimum"], starts), np.fmax.reduceat(pieces["maximum"], starts)
        shares = known_of_each / np.repeat(np.maximum(known, 1), sizes)
        means = np.where(known_of_each > 0, pieces["mean"], 0.0)
        mean = np.clip(np.add.reduceat(means * shares, starts), low, high)
        found["mean"], found["minimum"], found["maximum"] = np.where(known > 0, mean, np.nan), low, high
        first_x = np.repeat(found["first_x"].astype(np.float64), sizes)
        ahead = pieces["first_x"].astype(np.float64) - first_x + pieces["offset"]
        found["offset"] = np.add.reduceat(ahead * (pieces["count"] / np.repeat(found["count"], sizes)), starts)
        return found

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

    def _looked_into(self, batch: Batch, edges: NDArray[np.float64]) -> NDArray[Any]:
        """Return the pieces of parts that were read."""
        x, values, rows, begins = self._cut(batch)
        if not len(x):
            return _blank(0)
        # Where x rises from one part to the next, a column may go on: the points are those of one longer part.
        begins = begins[np.append(True, x[begins[1:]] <= x[begins[1:] - 1])]
        ends = np.append(begins[1:], len(x))
        low, high = np.searchsorted(edges, x[np.stack([begins, ends - 1])].astype(np.float64), "right").tolist()
        pairs = enumerate(zip(begins.tolist(), ends.tolist(), strict=True))
        found = [_places(x[begin:end], edges[low[at] : high[at]]) + begin for at, (begin, end) in pairs]
        starts = np.unique(np.concatenate([begins, *found]))
        starts = starts[starts < len(x)]
        pieces = _blank(len(starts))
        pieces["column"] = np.searchsorted(edges, x[starts].astype(np.float64), "right")
        _sum_up(pieces, x, values, starts)
        last = np.append(starts[1:], len(x)) - 1
        pieces["first_x"], pieces["last_x"], pieces["last"] = x[starts], x[last], values[last]
        self._describe(pieces, "last", batch, last if rows is None else rows[last])
        if self._by_time:
            self._describe(pieces, "first", batch, starts if rows is None else rows[starts])
        else:
            pieces["first_step"] = pieces["first_x"]
        return pieces

    def _describe(self, pieces: NDArray[Any], end: str, batch: Batch, rows: NDArray[np.intp]) -> None:
        """Set what pieces are to know of their first, or last, points, which are these rows of the batch."""
        owners = np.searchsorted(batch.ends, rows, "right")
        numbers = np.array([part.number for part in batch.parts])
        pieces[f"{end}_part"], pieces[f"{end}_row"] = numbers[owners], rows - batch.begins[owners]
        pieces[f"{end}_position"] = -1
        if not numbers.any():  # groups that wait
            places = np.array([part.ends()[1] for part in batch.parts])
            pieces[f"{end}_position"], pieces[f"{end}_group"] = places[owners].T
        pieces[f"{end}_step"] = batch.steps[rows]
        if self._orders_by_time:
            pieces[f"{end}_time"] = batch.times[rows]

    def _cut(
        self, batch: Batch
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.intp] | None, NDArray[np.int64]]:
        """Return the points of a batch that lie in the range, those of each part ordered by x.

        Returns:
            x; values; which rows of the batch they are, ``None``: all as they come; where parts begin that have any.
        """
        x, values, ends = self._x(batch), batch.values, batch.ends
        rows: NDArray[np.intp] | None = None
        falls = x[1:] < x[:-1]
        falls[batch.begins[1:] - 1] = False
        if self._orders_by_time or bool(falls.any()):
            parts = np.repeat(np.arange(len(ends)), ends - batch.begins)
            rows = np.lexsort((batch.times, x, parts) if self._orders_by_time else (x, parts))
            x = x[rows]
        inside = (x >= self._canvas.first) & (x <= self._canvas.last)
        begins = batch.begins
        if not inside.all():
            kept = np.flatnonzero(inside)
            x, rows = x[kept], kept if rows is None else rows[kept]
            cuts = np.searchsorted(kept, ends)
            begins = np.unique(np.append(0, cuts[:-1]))
            begins = begins[begins < len(x)]
        return x, values if rows is None else values[rows], rows, begins

    def _read(self, chunk_pks: NDArray[np.int64]) -> Iterator[Batch]:
        """Iterate over chunks, and over what waits to become one."""
        has_times = self._by_time or self._orders_by_time
        yield from self._stored.chunks(chunk_pks) if has_times else self._stored.chunks_by_step(chunk_pks)
        yield from self._stored.waiting_batch()

    def _x(self, batch: Batch) -> NDArray[np.int64]:
        return batch.times - self._canvas.origin if self._by_time else batch.steps


def _columns(pieces: NDArray[Any]) -> PlotColumns:
    """Return the columns that pieces are, one each."""
    plain = {field.name: pieces[field.name].copy() for field in fields(PlotColumns) if field.name != "x"}
    return PlotColumns(x=pieces["first_x"] + pieces["offset"], **plain)


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
        # The sums may leave the range of 64 bits; what they are taken apart by brings them back into it.
        with np.errstate(over="ignore"):
            ahead = np.add.reduceat(x, starts) - first_x * counts
    else:
        ahead = np.add.reduceat(x.astype(np.float64) - np.repeat(first_x.astype(np.float64), counts), starts)
    pieces["offset"] = ahead / counts
