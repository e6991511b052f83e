"""Figures that were recorded as numbers: read them again, and draw them where somebody asks for it.

A training program records what a picture shows and draws nothing; the pages draw it. ``docs/ui.md`` gives the format.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MEDIA_TYPE = "application/vnd.modeldb.figure+json"
FOLDER, SUFFIX = "figures/", ".json"

_MOST_CELLS_WITH_TEXT = 20  # on a side of a matrix: more numbers cannot be read
_TOO_LARGE = 1 << 1023  # for a float
_EXPECTED = {
    "matrix": "rows and columns (texts), and values, a list of numbers for each row",
    "lines": "series, each with a label and as many numbers in x as in y",
    "bars": "labels and as many numbers in values, and in errors where there are any",
}


@dataclass(frozen=True, slots=True)
class LoggedFigure:
    """What a picture shows, as it was recorded.

    Attributes:
        name: of the figure, such as ``"training_roc_curve"``.
        kind: ``"matrix"``, ``"lines"`` or ``"bars"``.
        data: what was recorded: titles, labels and numbers. A number that JSON has no word for is ``None``.
    """

    name: str
    kind: str
    data: Mapping[str, Any]

    def draw(self) -> Any:  # noqa: ANN401 - matplotlib is optional
        """Return a ``matplotlib.figure.Figure``; ``.savefig("roc.png")`` writes it. Nothing of pyplot's state is touched.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            msg = f"matplotlib, which draws the figure {self.name!r}, is not installed; pip install matplotlib"
            raise MissingDependencyError(msg) from error
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        _DRAWING[self.kind](axes, self.data)
        axes.set_title(str(self.data.get("title", "")))
        axes.set_xlabel(str(self.data.get("x_label", "")))
        axes.set_ylabel(str(self.data.get("y_label", "")))
        return figure


def figure_paths(artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the paths of figures by their names."""
    return {
        path.removeprefix(FOLDER).removesuffix(SUFFIX): path
        for path, entry in sorted(artifacts.items())
        if entry.get("media_type") == MEDIA_TYPE
    }


def read_figure(name: str, content: bytes) -> LoggedFigure:
    """Return the figure that a file holds.

    Raises:
        IntegrityError: it is not a figure; the message says what one of its kind consists of.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"the figure {name!r} is not JSON: {error}"
        raise IntegrityError(msg) from error
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _EXPECTED:
        msg = f"{name!r} is not a figure of a kind that is known: {kind!r:.100}; expected {', '.join(_EXPECTED)}"
        raise IntegrityError(msg)
    if not _FITTING[kind](data):
        msg = f"the figure {name!r} is not complete; {kind} have {_EXPECTED[kind]}"
        raise IntegrityError(msg)
    return LoggedFigure(name, kind, data)


# -- what belongs to each kind ----------------------------------------------------------------------------------------


def _are_numbers(values: object, count: int | None = None) -> bool:
    return (
        isinstance(values, list)
        and (count is None or len(values) == count)
        and all(value is None or type(value) is float or _is_small_integer(value) for value in values)
    )


def _is_small_integer(value: object) -> bool:
    return type(value) is int and -_TOO_LARGE < value < _TOO_LARGE


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_matrix(data: Mapping[str, Any]) -> bool:
    rows, columns, values = data.get("rows"), data.get("columns"), data.get("values")
    return (
        isinstance(rows, list)
        and isinstance(columns, list)
        and _are_texts(rows + columns)
        and isinstance(values, list)
        and len(values) == len(rows)
        and all(_are_numbers(row, len(columns)) for row in values)
    )


def _are_lines(data: Mapping[str, Any]) -> bool:
    series = data.get("series")
    return isinstance(series, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("label"), str)
        and _are_numbers(one.get("x"))
        and _are_numbers(one.get("y"), len(one["x"]))
        for one in series
    )


def _are_bars(data: Mapping[str, Any]) -> bool:
    labels = data.get("labels")
    return (
        isinstance(labels, list)
        and _are_texts(labels)
        and _are_numbers(data.get("values"), len(labels))
        and (data.get("errors") is None or _are_numbers(data["errors"], len(labels)))
    )


_FITTING: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "matrix": _is_matrix,
    "lines": _are_lines,
    "bars": _are_bars,
}


def _floats(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _draw_matrix(axes: Any, data: Mapping[str, Any]) -> None:  # noqa: ANN401
    rows, columns, values = data["rows"], data["columns"], [_floats(row) for row in data["values"]]
    axes.imshow(values, cmap="Blues")
    axes.set_xticks(range(len(columns)), columns, rotation=45 if len(columns) > 5 else 0)
    axes.set_yticks(range(len(rows)), rows)
    if max(len(rows), len(columns)) > _MOST_CELLS_WITH_TEXT:
        return
    most = max((value for row in values for value in row if math.isfinite(value)), default=0.0)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            axes.text(x, y, f"{value:g}", ha="center", va="center", color="white" if value > most / 2 else "black")


def _draw_lines(axes: Any, data: Mapping[str, Any]) -> None:  # noqa: ANN401
    for one in data["series"]:
        axes.plot(_floats(one["x"]), _floats(one["y"]), label=one["label"])
    if data.get("diagonal") is True:
        axes.axline((0, 0), slope=1, color="grey", linestyle=":")
    if data["series"]:
        axes.legend()


def _draw_bars(axes: Any, data: Mapping[str, Any]) -> None:  # noqa: ANN401
    places = range(len(data["labels"]))
    errors = None if data.get("errors") is None else _floats(data["errors"])
    axes.barh(places, _floats(data["values"]), xerr=errors)
    axes.set_yticks(places, data["labels"])
    axes.invert_yaxis()  # the first one on top


_DRAWING: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "matrix": _draw_matrix,
    "lines": _draw_lines,
    "bars": _draw_bars,
}
