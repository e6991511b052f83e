"""What a benchmark found, and how it compares with its budget."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Measure = Literal["ratio", "value", "excess"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a benchmark may cost.

    Attributes:
        bound: the most, or with ``at_least`` the least.
        of: "ratio" of ours to the limit, the "value" itself, or its "excess" over the limit.
        at_least: whether more is better, as with a throughput.
    """

    bound: float
    of: Measure = "value"
    at_least: bool = False

    def describe(self, unit: str) -> str:
        """Return the budget in a few characters, such as ``≤ 1.5 x``."""
        sign = "≥" if self.at_least else "≤"
        if self.of == "ratio":
            return f"{sign} {self.bound:g} x"
        return f"{sign} {'limit + ' if self.of == 'excess' else ''}{self.bound:g} {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table.

    Attributes:
        benchmark: the name it is chosen by.
        work: what was done.
        unit: of the samples.
        ours: a sample for each repetition.
        limit: the same of the limit, measured in turns with ours; empty where there is none.
        processor: processor time of ours and of the limit for each repetition, where that is the steadier measure.
        limit_is: what the limit does.
        budget: ``None`` for a line that only informs.
        note: what else is worth knowing.
        peers: what other trackers need for the same work, as documented.
    """

    benchmark: str
    work: str
    unit: str
    ours: Sequence[float]
    limit: Sequence[float] = ()
    processor: Sequence[tuple[float, float]] = ()
    limit_is: str = ""
    budget: Budget | None = None
    note: str = ""
    peers: str = ""

    @property
    def value(self) -> float:
        """The median of ours."""
        return median(self.ours)

    @property
    def limit_value(self) -> float | None:
        """The median of the limit."""
        return median(self.limit) if self.limit else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of neighbouring samples: what slows the machine down slows both."""
        if not self.limit:
            return None
        if len(self.limit) == len(self.ours):
            pairs = [ours / limit for ours, limit in zip(self.ours, self.limit, strict=True) if limit]
            return median(pairs) if pairs else None
        limit = median(self.limit)
        return self.value / limit if limit else None

    @property
    def processor_ratio(self) -> float | None:
        """The median of the ratios of processor time: what else runs on the machine matters less to it."""
        pairs = [ours / limit for ours, limit in self.processor if limit]
        return median(pairs) if pairs else None

    @property
    def measured(self) -> float | None:
        """What the budget is about."""
        if self.budget is None or self.budget.of == "value":
            return self.value
        if self.budget.of == "ratio":
            return self.ratio
        pairs = zip(self.ours, self.limit, strict=True)
        return median(ours - limit for ours, limit in pairs)

    @property
    def use(self) -> float | None:
        """How much of the budget is used up: met up to 1."""
        measured = self.measured
        if self.budget is None or measured is None:
            return None
        if self.budget.at_least:
            return self.budget.bound / measured if measured else float("inf")
        return measured / self.budget.bound

    @property
    def verdict(self) -> str:
        """Met or missed, and by how much."""
        use = self.use
        if use is None:
            return ""
        if use <= 0:
            return "met"
        return f"met ({use:.2f} of it)" if use <= 1 else f"MISSED ({use:.2f} x)"

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        budget = self.budget
        return {
            "benchmark": self.benchmark,
            "work": self.work,
            "unit": self.unit,
            "ours": list(self.ours),
            "limit": list(self.limit),
            "limit_is": self.limit_is,
            "median": self.value,
            "limit_median": self.limit_value,
            "ratio": self.ratio,
            "processor": [list(pair) for pair in self.processor],
            "processor_ratio": self.processor_ratio,
            "budget": None if budget is None else budget.describe(self.unit),
            "used": self.use,
            "met": None if self.use is None else self.use <= 1,
            "note": self.note,
            "peers": self.peers,
        }


_HEADINGS = ("work", "ours", "limit", "ratio", "of cpu", "budget", "verdict")
_RIGHT = (1, 2, 3, 4)


def table(results: Iterable[Result]) -> str:
    """Return results as a Markdown table that also reads well as plain text."""
    rows = [_HEADINGS, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "| "
        + " | ".join(_padded(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    ]
    rule = (
        "|"
        + "|".join("-" * (width + 1) + (":" if column in _RIGHT else "-") for column, width in enumerate(widths))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def notes(results: Iterable[Result]) -> str:
    """Return what the limits are, what else there is to say, and what others need, line by line and each once."""
    lines: dict[str, None] = {}
    for result in results:
        if result.note:
            lines[f"- {result.work}: {result.note}."] = None
        if result.limit_is:
            lines[f"- Limit of `{result.benchmark}`: {result.limit_is}."] = None
        if result.peers:
            lines[f"- Others on `{result.benchmark}`, as documented: {result.peers}."] = None
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    limit, ratio, processor = result.limit_value, result.ratio, result.processor_ratio
    return (
        result.work,
        f"{number(result.value)} {result.unit}",
        "" if limit is None else f"{number(limit)} {result.unit}",
        "" if ratio is None else number(ratio),
        "" if processor is None else number(processor),
        "" if result.budget is None else result.budget.describe(result.unit),
        result.verdict,
    )


def _padded(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in _RIGHT else cell.ljust(width)


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
