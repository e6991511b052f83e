"""Points of series: their columns, and the bytes that a change's digest covers.

Points that were logged together under the same keys form a *group*: one column of steps, one of times, and one of
values for each key. The payload of an ``append`` change is a list of groups in the plain form below, never compressed,
so that a store may compress, merge and re-encode chunks and the chain still verifies. ``docs/format.md`` gives it byte
by byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.display import series_html
from modeldb_core.model.values import check_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.model.entities import Run

Steps = NDArray[np.int64]
Times = NDArray[np.int64]
Floats = NDArray[np.float64]

_MAGIC = b"PTS1"
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class PointGroup:
    """Points logged together.

    Attributes:
        keys: k names.
        steps: int64, shape (n,): labels, in no order.
        times: int64, shape (n,): microseconds since 1970-01-01 UTC.
        values: float64, shape (k, n).
    """

    keys: tuple[str, ...]
    steps: Steps
    times: Times
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, steps: tuple[int, int]) -> PointGroup:
        """Return the points whose steps lie in a range, its ends included."""
        chosen = np.flatnonzero((self.steps >= steps[0]) & (self.steps <= steps[1]))
        if len(chosen) == len(self):
            return self
        return PointGroup(self.keys, self.steps[chosen], self.times[chosen], self.values[:, chosen])


def encode_points(groups: Iterable[PointGroup]) -> bytes:
    """Return the plain form of ``groups``: the payload of an ``append`` change."""
    groups = list(groups)
    parts = [_MAGIC, _U32.pack(len(groups))]
    for group in groups:
        parts.append(_U32.pack(len(group.keys)))
        for key in group.keys:
            text = key.encode()
            parts += (_U32.pack(len(text)), text)
        parts.append(_U32.pack(len(group)))
        parts += (_bytes(group.steps, "<i8"), _bytes(group.times, "<i8"), _bytes(group.values, "<f8"))
    return b"".join(parts)


def decode_points(payload: bytes) -> list[PointGroup]:
    """Return the groups in ``payload``. The arrays are views of it, read-only.

    Raises:
        IntegrityError: the payload is not in the plain form.
    """
    try:
        return list(_groups(payload))
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        msg = f"the payload of an append change is not a list of point groups: {error}"
        raise IntegrityError(msg) from error


def _groups(payload: bytes) -> Iterable[PointGroup]:
    if payload[:4] != _MAGIC:
        msg = f"it begins with {payload[:4]!r}, not {_MAGIC!r}"
        raise ValueError(msg)
    (count,) = _U32.unpack_from(payload, 4)
    at = 8
    for _ in range(count):
        (key_count,) = _U32.unpack_from(payload, at)
        at += 4
        keys = []
        for _ in range(key_count):
            (length,) = _U32.unpack_from(payload, at)
            keys.append(check_key(payload[at + 4 : at + 4 + length].decode()))
            at += 4 + length
        if len(set(keys)) < len(keys):
            msg = "a group has two columns of one key"
            raise ValueError(msg)
        (rows,) = _U32.unpack_from(payload, at)
        at += 4
        steps: Any = np.frombuffer(payload, "<i8", rows, at)
        times: Any = np.frombuffer(payload, "<i8", rows, at + 8 * rows)
        values: Any = np.frombuffer(payload, "<f8", rows * key_count, at + 16 * rows)
        at += 16 * rows + 8 * rows * key_count
        yield PointGroup(tuple(keys), steps, times, values.reshape(key_count, rows))
    if at != len(payload):
        msg = f"{len(payload) - at} bytes follow the last group"
        raise ValueError(msg)


def _bytes(array: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()


@dataclass(frozen=True, slots=True)
class Series:
    """The history of one metric of one run, in the order in which it was logged.

    Attributes:
        steps: int64, shape (n,): the labels given by the caller; late and repeated ones are kept.
        times: int64, shape (n,): microseconds since 1970-01-01 UTC.
        values: float64, shape (n,).
        total: how many points the asked range holds; more than n where the series was thinned out for drawing.
    """

    run_id: str
    key: str
    steps: Steps
    times: Times
    values: Floats
    total: int

    def __len__(self) -> int:
        return len(self.steps)

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """Return a DataFrame with the columns ``step``, ``time`` (UTC) and ``value``."""
        from modeldb_core.log.frames import points_table

        return points_table(self.steps, self.times, self.values)

    def _repr_html_(self) -> str:
        return series_html(self.key, self.steps, self.values, count=len(self), total=self.total)


def missing_series(run: Run, key: str) -> str:
    """Return why a run has no series of a name, in words: a metric without steps has a value, and no history."""
    if key in run.metrics:
        return f"{key!r} of run {run.entity_id} was logged without a step: it has a value, {run.metrics[key]}, and no history"
    names = sorted(run.series)
    known = ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
    return f"run {run.entity_id} has no series {key!r}; it has {known or 'none'}"


_NAMED = 10
"""Series that a message names."""
_MANY = 100
"""Points of a column, on average, from which on looking at one column after the other is faster than at all in turn."""


def thin_out(steps: Steps, values: Floats, max_points: int) -> NDArray[np.intp]:
    """Return the indices of at most ``max_points`` points that draw like all of them.

    The range of steps is cut into ``max_points // 4`` equal columns, and of each the first, last, lowest and highest
    point are kept (M4: Jugel et al., VLDB 2014), so no spike is ever hidden. NaN does not win a column but ends it: the
    first NaN of a column is kept instead of its last point, so that gaps show.
    Of fewer than four points the highest comes first, then the lowest, then the last.
    The result is ordered by step, then by the order of logging.

    Raises:
        InvalidArgumentError: ``max_points`` is less than 1.
    """
    if max_points < 1:
        msg = f"max_points is {max_points}; expected at least 1, or None for all points"
        raise InvalidArgumentError(msg)
    order, steps, values = _by_step(steps, values)
    if len(steps) <= max_points:
        return order
    edges = column_edges(int(steps[0]), int(steps[-1]), max_points)
    return order[_chosen(steps, values, edges, max_points)]


def column_edges(low: int, high: int, max_points: int) -> Floats:
    """Return where the columns begin into which :func:`thin_out` cuts the steps from ``low`` to ``high``."""
    return np.linspace(float(low), float(high), max(1, max_points // 4) + 1)[:-1]


def candidates(steps: Steps, values: Floats, edges: Floats) -> NDArray[np.intp]:
    """Return the indices of those of some points, at least one, that :func:`thin_out` may choose of all of them.

    What it chooses of the candidates of all parts of a series is what it would choose of the series.

    Args:
        steps: of the part.
        values: of the part.
        edges: :func:`column_edges` of the whole series.
    """
    order, steps, values = _by_step(steps, values)
    ends = np.searchsorted(edges, steps[[0, -1]].astype(np.float64), "right")
    own = edges[max(int(ends[0]) - 1, 0) : int(ends[1])]
    picked: NDArray[np.intp] = np.sort(order[_chosen(steps, values, own)])
    return picked


def thin_out_candidates(steps: Steps, values: Floats, edges: Floats, max_points: int) -> NDArray[np.intp]:
    """Return what :func:`thin_out` chooses of more than ``max_points`` points of which these are the candidates."""
    order, steps, values = _by_step(steps, values)
    return order[_chosen(steps, values, edges, max_points)]


def _chosen(steps: Steps, values: Floats, edges: Floats, max_points: int | None = None) -> NDArray[np.intp]:
    """Return the indices of the first, last, lowest and highest point of each column, in order; the steps never fall."""
    starts = _distinct(np.searchsorted(steps, edges))
    starts = starts[starts < len(values)]
    ends = np.append(starts[1:], len(values))
    nans = np.flatnonzero(np.isnan(values))
    chosen = [starts, ends - 1]
    for sign in (1.0, -1.0):
        signed = values * sign
        signed[nans] = np.inf
        chosen.append(_lowest(signed, starts, ends))
    if len(nans):
        at = np.searchsorted(nans, starts)
        inside = at < len(nans)
        first_nan = nans[np.minimum(at, len(nans) - 1)]
        chosen[1] = np.where(inside & (first_nan < ends), first_nan, chosen[1])
    if max_points is not None and max_points < len(chosen):
        few = dict.fromkeys(int(part[0]) for part in (*chosen[:1:-1], *chosen[1::-1]))
        return np.sort(np.array(list(few)[:max_points], np.intp))
    return _distinct(np.sort(np.concatenate(chosen)))


def _lowest(values: Floats, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the index of the first of the lowest values of each column."""
    if len(values) > _MANY * len(starts):
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return starts + np.array([values[start:end].argmin() for start, end in pairs], np.intp)
    hits = np.flatnonzero(values == np.repeat(np.minimum.reduceat(values, starts), ends - starts))
    return hits[np.searchsorted(hits, starts)]


def _distinct(ordered: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the different ones of numbers that never fall, none of them negative; faster than NumPy, which sorts."""
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _by_step(steps: Steps, values: Floats) -> tuple[NDArray[np.intp], Steps, Floats]:
    """Return which points come first by step, and steps and values in that order."""
    if len(steps) < 2 or bool(np.all(steps[1:] >= steps[:-1])):
        return np.arange(len(steps), dtype=np.intp), steps, values
    order = np.argsort(steps, kind="stable")
    return order, steps[order], values[order]


def concatenate(groups: Sequence[PointGroup]) -> PointGroup:
    """Return one group with the points of ``groups``, which have the same keys, one after the other."""
    if len(groups) == 1:
        return groups[0]
    return PointGroup(
        groups[0].keys,
        np.concatenate([group.steps for group in groups]),
        np.concatenate([group.times for group in groups]),
        np.concatenate([group.values for group in groups], axis=1),
    )
