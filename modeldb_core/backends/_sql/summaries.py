"""What is known of a series without reading its points, and how it grows as points arrive."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import IntegrityError
from modeldb_core.model.entities import SeriesSummary, to_datetime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modeldb_core.log.points import PointGroup

_EXACT = struct.Struct("<6d")
_NUMBERS = (int, float, type(None))
_FEW_VALUES = 2048
"""So many values of a group are looked at one by one, which is faster than asking NumPy a dozen questions."""


@dataclass(slots=True)
class Summary:
    """A summary that can grow. Times are microseconds since 1970-01-01 UTC; ``total`` is the sum without NaN."""

    count: int = 0
    nan_count: int = 0
    first: float = math.nan
    last: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan
    total: float = 0.0
    first_step: int = 0
    last_step: int = 0
    min_step: int = 0
    max_step: int = 0
    first_at: int = 0
    last_at: int = 0

    @property
    def mean(self) -> float:
        """The mean of what is not NaN; NaN where nothing is."""
        return self.total / (self.count - self.nan_count) if self.count > self.nan_count else math.nan

    def add(self, other: Summary) -> None:
        """Take in points that arrived after all of these."""
        if not other.count:
            return
        if not self.count or other.first_at < self.first_at:
            self.first, self.first_step, self.first_at = other.first, other.first_step, other.first_at
        if not self.count or other.last_at >= self.last_at:
            self.last, self.last_step, self.last_at = other.last, other.last_step, other.last_at
        if other.minimum < self.minimum or math.isnan(self.minimum):
            self.minimum, self.min_step = other.minimum, other.min_step
        if other.maximum > self.maximum or math.isnan(self.maximum):
            self.maximum, self.max_step = other.maximum, other.max_step
        self.count += other.count
        self.nan_count += other.nan_count
        self.total += other.total

    def row(self) -> dict[str, Any]:
        """Return the columns of ``metrics`` that hold it."""
        first, last, low, high, mean, total = self.first, self.last, self.minimum, self.maximum, self.mean, self.total
        floats = (first, last, low, high, mean, total)
        has_negative_zero = 0.0 in floats and any(value == 0 and math.copysign(1, value) < 0 for value in floats)
        return {
            "count": self.count,
            "nan_count": self.nan_count,
            "first": first if first == first else None,  # NaN is not itself
            "last": last if last == last else None,
            "minimum": low if low == low else None,
            "maximum": high if high == high else None,
            "mean": mean if mean == mean else None,
            "total": total if total == total else None,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "min_step": self.min_step,
            "max_step": self.max_step,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "exact": _EXACT.pack(*floats) if has_negative_zero else None,
        }

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Summary:
        """Return the summary in the columns ``SUMMARY_COLUMNS`` of a row."""
        count, nan_count, first, last, low, high, _, total, *steps_and_times, exact = row
        if exact is not None:
            first, last, low, high, _, total = _EXACT.unpack(exact)
        nan = math.nan
        return cls(
            count,
            nan_count,
            nan if first is None else first,
            nan if last is None else last,
            nan if low is None else low,
            nan if high is None else high,
            nan if total is None else total,
            *steps_and_times,
        )


def read_summary(row: Sequence[Any]) -> SeriesSummary:
    """Return what callers get of the columns ``SUMMARY_COLUMNS`` of a row.

    Raises:
        IntegrityError: the row holds what no store writes.
    """
    if not all(isinstance(value, _NUMBERS) for value in row[:-1]) or not _is_exact(row[-1]):
        msg = f"the summary of a series holds {str(tuple(row))[:300]}, which no store writes"
        raise IntegrityError(msg)
    count, nan_count, first, last, low, high, mean, _, first_step, last_step, min_step, max_step, *rest = row
    first_at, last_at, exact = rest
    if exact is not None:
        first, last, low, high, mean, _ = _EXACT.unpack(exact)
    nan = math.nan
    return SeriesSummary(
        count=count,
        nan_count=nan_count,
        first=nan if first is None else first,
        last=nan if last is None else last,
        minimum=nan if low is None else low,
        maximum=nan if high is None else high,
        mean=nan if mean is None else mean,
        first_step=first_step,
        last_step=last_step,
        min_step=min_step,
        max_step=max_step,
        first_at=to_datetime(first_at),
        last_at=to_datetime(last_at),
    )


def _is_exact(data: object) -> bool:
    return data is None or (isinstance(data, bytes) and len(data) == _EXACT.size)


def last_value(last: float | None, exact: bytes | None) -> float:
    """Return the last value of a series from the columns ``last`` and ``exact``."""
    if exact is not None:
        return float(_EXACT.unpack(exact)[1])
    return math.nan if last is None else last


class SeriesMap(Mapping[str, SeriesSummary]):
    """The summaries of a run's series. Each is built when it is looked at: most readers want a few."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Mapping[str, Sequence[Any]]) -> None:
        self._rows = rows

    def __getitem__(self, key: str) -> SeriesSummary:
        return read_summary(self._rows[key])

    def __iter__(self) -> Any:  # noqa: ANN401 - an iterator over str
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(dict(self))


def summarize(groups: Iterable[PointGroup]) -> dict[str, Summary]:
    """Return the summaries of points by key, which arrived in the order given."""
    summaries: dict[str, Summary] = {}
    for group in groups:
        if len(group):
            for key, summary in zip(group.keys, _of_group(group), strict=True):
                if key in summaries:
                    summaries[key].add(summary)
                else:
                    summaries[key] = summary
    return summaries


def _of_group(group: PointGroup) -> Iterable[Summary]:
    if group.values.size <= _FEW_VALUES:
        with np.errstate(all="ignore"):
            totals: list[float] = group.values.sum(axis=1).tolist()
        if all(total == total for total in totals):  # where a value is NaN, the sum is too
            return _of_numbers(group, totals)
    return _of_columns(group)


def _of_numbers(group: PointGroup, totals: Sequence[float]) -> list[Summary]:
    """Return the summaries of a group without NaN, of which the sums are known."""
    rows, steps, times = group.values.tolist(), group.steps.tolist(), group.times.tolist()
    count, first_at, last_at = len(times), min(times), max(times)
    first = times.index(first_at)
    last = count - 1 if times[-1] == last_at else count - 1 - times[::-1].index(last_at)
    first_step, last_step = steps[first], steps[last]
    found = []
    for row, total in zip(rows, totals, strict=True):
        low, high = min(row), max(row)
        min_step, max_step = steps[row.index(low)], steps[row.index(high)]
        some = (row[first], row[last], low, high, total)
        found.append(Summary(count, 0, *some, first_step, last_step, min_step, max_step, first_at, last_at))
    return found


def _of_columns(group: PointGroup) -> Iterable[Summary]:
    values, steps, times = group.values, group.steps, group.times
    count = len(group)
    first, last = int(np.argmin(times)), count - 1 - int(np.argmax(times[::-1]))
    is_nan = np.isnan(values)
    nan_counts = is_nan.sum(axis=1)
    with np.errstate(all="ignore"):
        totals = np.where(is_nan, 0.0, values).sum(axis=1) if nan_counts.any() else values.sum(axis=1)
    lowest, highest = _extremes(values, is_nan, nan_counts)
    rows, has_number = np.arange(len(values)), nan_counts < count
    parts = zip(
        nan_counts.tolist(),
        totals.tolist(),
        values[:, first].tolist(),
        values[:, last].tolist(),
        values[rows, lowest].tolist(),
        values[rows, highest].tolist(),
        np.where(has_number, steps[lowest], 0).tolist(),
        np.where(has_number, steps[highest], 0).tolist(),
        strict=True,
    )
    first_step, last_step = int(steps[first]), int(steps[last])
    first_at, last_at = int(times[first]), int(times[last])
    for nan_count, total, at_first, at_last, low, high, low_step, high_step in parts:
        yield Summary(
            count,
            nan_count,
            at_first,
            at_last,
            low,
            high,
            total,
            first_step,
            last_step,
            low_step,
            high_step,
            first_at,
            last_at,
        )


def _extremes(
    values: NDArray[np.float64], is_nan: NDArray[np.bool_], nan_counts: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of the earliest lowest and highest value of each row; of any place for rows of only NaN."""
    if not nan_counts.any():
        return np.argmin(values, axis=1), np.argmax(values, axis=1)
    found = []
    for sign in (1.0, -1.0):
        signed = np.where(is_nan, np.inf, values * sign)
        lowest = signed.min(axis=1, keepdims=True)
        # A real infinity must not lose to the one that stands for NaN.
        found.append(np.argmax((signed == lowest) & ~is_nan, axis=1))
    return found[0], found[1]
