"""Plots of series as documents for pages."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from modeldb_server.documents import floats, integers

if TYPE_CHECKING:
    from modeldb_core.log.plots import Plot

_COUNTS = ("total", "nan_count", "infinite_count", "nonpositive_count", "hidden_count")


def plot_document(plot: Plot) -> dict[str, Any]:
    """Return what a page needs to draw a series: ``points`` or ``columns``, ordered by x, and counts of the range."""
    document: dict[str, Any] = {"run_id": plot.run_id, "key": plot.key}
    document.update((name, getattr(plot, name)) for name in _COUNTS)
    for name in ("points", "columns"):
        part = getattr(plot, name)
        if part is not None:
            document[name] = {field.name: _packed(getattr(part, field.name)) for field in fields(part)}
    return document


def _packed(column: Any) -> Any:  # noqa: ANN401 - an array of either kind, as a list for JSON
    return integers(column) if column.dtype.kind == "i" else floats(column)
