"""``modeldb history``: the points of a metric as a table, JSON, CSV, or a small plot."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.output import can_show, echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_csv, print_json, print_table
from modeldb_core.cli.text import clean
from modeldb_core.errors import NotFoundError
from modeldb_core.log.json_documents import json_value
from modeldb_core.model.entities import to_datetime

if TYPE_CHECKING:
    from modeldb_core.log.points import Series

_ROWS = 12
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The dots of a Braille character by row and column (Unicode, block Braille Patterns)."""


@click.command(epilog=examples("modeldb history 3f9a1c2e loss", "modeldb history 3f9a1c2e loss --steps 0:500 --csv"))
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.argument("key")
@click.option("--steps", metavar="FIRST:LAST", help="Only points with these steps.")
@click.option("--max-points", type=click.IntRange(1), help="Thin out to this many points, keeping every extreme.")
@click.option("--table", "as_table", is_flag=True, help="Print the points as a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@with_session
def history(
    session: Session,
    *,
    reference: str,
    key: str,
    steps: str | None,
    max_points: int | None,
    as_table: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show the history of the metric KEY of a run: a plot, and with --table, --json or --csv the points."""
    if as_table + as_json + as_csv > 1:
        msg = "only one of --table, --json and --csv can be used"
        raise click.UsageError(msg)
    run = session.run(reference)
    plotted = not (as_table or as_json or as_csv)
    width = max(20, min(shutil.get_terminal_size().columns, 200) - 14)
    if plotted and max_points is None:
        max_points = width * 8
    wanted = _parse_steps(steps)
    try:
        series = session.store.read_series(run.entity_id, key, steps=wanted, max_points=max_points)
    except NotFoundError as error:
        from modeldb_core.log.points import missing_series

        raise NotFoundError(missing_series(run, key)) from error
    columns = ["step", "time", "value"]
    if as_json:
        print_json(_document(series))
    elif as_csv:
        print_csv(columns, _rows(series))
    elif as_table:
        print_table(columns, _rows(series), right=["step", "value"])
    else:
        lines = plot(series, width, _ROWS)
        echo("\n".join(lines if can_show(chr(_BRAILLE)) else map(_without_braille, lines)))


def plot(series: Series, width: int, rows: int) -> list[str]:
    """Return a series as lines of text: each column of dots spans the lowest to the highest of its points."""
    finite = [
        (int(step), float(value))
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
        if math.isfinite(value)
    ]
    left_out = len(series) - len(finite)
    summary = f"{clean(series.key)}: {len(series):,} of {series.total:,} points"
    if left_out:
        summary += f", {left_out:,} of them not finite"
    if not finite:
        return [summary]
    first, last = min(step for step, _ in finite), max(step for step, _ in finite)
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    grid = _draw(finite, (first, last), (low, high), width, rows)
    labels = {0: f"{high:.5g}", rows - 1: f"{low:.5g}"}
    lines = [f"{labels.get(index, ''):>11} {line}" for index, line in enumerate(grid)]
    axis = f"{first:,}".ljust(max(1, width - len(f"{last:,}"))) + f"{last:,}"
    return [summary, *lines, f"{'step':>11} {axis}"]


def _without_braille(line: str) -> str:
    """Return a line of a plot for an output that has no Braille: a star for a cell with dots."""
    return "".join("*" if _BRAILLE <= ord(character) < _BRAILLE + 256 else character for character in line)


def _draw(
    points: list[tuple[int, float]], steps: tuple[int, int], values: tuple[float, float], width: int, rows: int
) -> list[str]:
    across, down = width * 2 - 1, rows * 4 - 1
    spans: dict[int, tuple[int, int]] = {}

    def mark(x: int, y: int) -> None:
        top, bottom = spans.get(x, (y, y))
        spans[x] = (min(top, y), max(bottom, y))

    before: tuple[int, int] | None = None
    for step, value in sorted(points, key=lambda point: point[0]):
        x = round((step - steps[0]) / (steps[1] - steps[0]) * across) if steps[1] > steps[0] else 0
        # Halved, since the difference of two finite numbers may be infinite.
        share = (value / 2 - values[0] / 2) / (values[1] / 2 - values[0] / 2) if values[1] > values[0] else 0.5
        y = down - round(share * down)
        x_before, y_before = before or (x, y)
        for between in range(x_before + 1, x + 1):  # a line from the point before
            mark(between, round(y_before + (y - y_before) * (between - x_before - 1) / (x - x_before)))
        mark(x, y)
        before = (x, y)
    cells = [[0] * width for _ in range(rows)]
    for x, (top, bottom) in spans.items():
        for y in range(top, bottom + 1):
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return ["".join(chr(_BRAILLE + cell) if cell else " " for cell in row).rstrip() for row in cells]


def _rows(series: Series) -> list[list[Any]]:
    return [
        [step, to_datetime(time), value]
        for step, time, value in zip(series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True)
    ]


def _document(series: Series) -> dict[str, Any]:
    return {
        "run_id": series.run_id,
        "key": series.key,
        "steps": json_value(series.steps.tolist()),
        "times": series.times.tolist(),
        "values": json_value(series.values.tolist()),
        "total": int(series.total),
        "shown": len(series),
    }


def _parse_steps(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, mark, last = text.partition(":")
    try:
        return (int(first) if first else -(2**63), int(last) if last else 2**63 - 1) if mark else (int(first),) * 2
    except ValueError:
        msg = f"--steps is {text!r}; expected FIRST:LAST, such as 0:500, 100: or :500"
        raise click.UsageError(msg) from None
