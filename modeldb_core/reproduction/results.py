"""Comparing the results of a repeated run with the recorded ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from modeldb_core.errors import ReproductionError
from modeldb_core.log.display import is_own
from modeldb_core.log.json_documents import json_value
from modeldb_core.movement.deletion import pages
from modeldb_core.queries.literals import condition
from modeldb_core.queries.query import Query
from modeldb_core.reproduction.values import ABSENT, same

if TYPE_CHECKING:
    from modeldb_core.model.entities import Run
    from modeldb_core.stores import MetadataStore

Verdict: TypeAlias = Literal["same", "close", "differs", "missing", "extra"]


@dataclass(frozen=True, slots=True)
class Result:
    """A metric as it was and as it is now.

    Attributes:
        key: its name.
        recorded, repeated: its values, :data:`~modeldb_core.reproduction.values.ABSENT` where there is none.
        verdict: same (also NaN and NaN), close (within the tolerance), differs, missing now, or extra.
        points: of a series, how many there were.
        different_points: how many of them are not the same now, in value or step; those that only one of both has count.
    """

    key: str
    recorded: Any
    repeated: Any
    verdict: Verdict
    points: int = 0
    different_points: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the metric was reproduced."""
        return self.verdict in ("same", "close")

    @property
    def difference(self) -> float | None:
        """What is there now less what was recorded; ``None`` where one of them is missing, or no number."""
        recorded, repeated = _number(self.recorded), _number(self.repeated)
        return None if recorded is None or repeated is None else repeated - recorded

    def document(self) -> dict[str, Any]:
        """Return it as JSON data; a value that is not there is left out."""
        values = {"recorded": self.recorded, "repeated": self.repeated, "difference": self.difference}
        shown = {name: json_value(value) for name, value in values.items() if value is not ABSENT and value is not None}
        counts = {"points": self.points, "different_points": self.different_points} if self.points else {}
        return {"key": self.key, "verdict": self.verdict, **shown, **counts}


def compare_results(
    recorded: Run, repeated: Run, stores: tuple[MetadataStore, MetadataStore], tolerance: float
) -> list[Result]:
    """Compare the metrics of two runs: what was logged once, the last values of series, and their points.

    What ModelDB measures by itself, such as durations, is left out.

    Args:
        recorded: the original run.
        repeated: the other one.
        stores: where each of them is.
        tolerance: a difference so small is close: relative to the greater value, absolute around zero. 0: none is.
    """
    keys = sorted(key for key in {*recorded.metrics, *repeated.metrics} if not is_own(key))
    return [_compared(key, recorded, repeated, stores, tolerance) for key in keys]


def _compared(
    key: str, recorded: Run, repeated: Run, stores: tuple[MetadataStore, MetadataStore], tolerance: float
) -> Result:
    first, second = recorded.metrics.get(key, ABSENT), repeated.metrics.get(key, ABSENT)
    if first is ABSENT or second is ABSENT:
        return Result(key, first, second, "extra" if first is ABSENT else "missing")
    verdict = _verdict(first, second, tolerance)
    if key not in recorded.series and key not in repeated.series:
        return Result(key, first, second, verdict)
    points, different, worst = _points(key, (recorded, repeated), stores, tolerance)
    return Result(key, first, second, max(verdict, worst, key=_RANKS.__getitem__), points, different)


_RANKS: dict[Verdict, int] = {"same": 0, "close": 1, "differs": 2, "missing": 3, "extra": 4}


def _points(
    key: str, runs: tuple[Run, Run], stores: tuple[MetadataStore, MetadataStore], tolerance: float
) -> tuple[int, int, Verdict]:
    """Return how many points a series had, how many are not the same, and the verdict on the worst of them."""
    if not all(key in run.series for run in runs):
        count = max(run.series[key].count for run in runs if key in run.series)
        return count, count, "differs"
    first, second = (store.read_series(run.entity_id, key) for run, store in zip(runs, stores, strict=True))
    pairs = zip(
        zip(first.steps.tolist(), first.values.tolist(), strict=True),
        zip(second.steps.tolist(), second.values.tolist(), strict=True),
        strict=False,
    )
    verdicts = [_verdict(one[1], other[1], tolerance) if one[0] == other[0] else "differs" for one, other in pairs]
    verdicts += ["differs"] * abs(len(first) - len(second))
    worst: Verdict = max(verdicts, key=lambda each: _RANKS[each], default="same")
    return len(first), sum(each != "same" for each in verdicts), worst


def _verdict(first: Any, second: Any, tolerance: float) -> Verdict:  # noqa: ANN401 - numbers, as a rule
    one, other = _number(first), _number(second)
    if one is None or other is None:
        return "same" if same(first, second) else "differs"
    if same(one, other):
        return "same"
    return "close" if tolerance and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance) else "differs"


def _number(value: Any) -> float | None:  # noqa: ANN401
    """Return a value as a float; ``None`` of what is no number, or too large for one: a record may hold anything."""
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return None


def matching_run(recorded: Run, recorded_store: MetadataStore, store: MetadataStore) -> Run:
    """Return the run of ``store`` that repeats a recorded one.

    A program may log many runs: it is the one with the same place among the runs of its process, or else the only one of
    its name.

    Raises:
        ReproductionError: no run was logged, or it cannot be told which one it is.
    """
    then = _runs(recorded_store, condition("stream_id = ?", recorded.stream_id)) if recorded.stream_id else [recorded]
    now = _runs(store)
    if not now:
        msg = "the program ended and logged no run to the store that it was given"
        raise ReproductionError(msg)
    place = next((index for index, run in enumerate(then) if run.entity_id == recorded.entity_id), None)
    if place is not None and len(then) == len(now):
        return now[place]
    named = [run for run in now if run.name == recorded.name]
    if len(named) == 1:
        return named[0]
    msg = f"the program logged {len(now)} runs and the recorded process {len(then)}, so it cannot be told which of them repeats {recorded.name!r}"
    raise ReproductionError(msg)


def _runs(store: MetadataStore, filter_text: str = "") -> list[Run]:
    """Return the runs that match, deleted ones too, in the order that they began in."""
    found = pages(store, Query("run", filter_text, include_deleted=True))
    return sorted((cast("Run", run) for run in found), key=lambda run: run.entity_id)
