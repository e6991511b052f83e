"""Statistics of the columns of a table, by which two versions are compared: numbers missing, extremes, mean, distinct."""

from __future__ import annotations

import math
from typing import Any

from modeldb_core.tracking.description.arrow import is_arrow
from modeldb_core.tracking.description.columns import is_from
from modeldb_core.tracking.description.contents import is_table

MAX_COLUMNS = 1000
"""Of wider tables only the first columns have statistics."""


def statistics(table: object) -> dict[str, dict[str, Any]]:
    """Return by column ``missing``, and ``min``, ``max`` and ``mean`` of numbers and truth values, ``distinct`` of texts.

    What is no table has none; a column whose package cannot say one of them goes without it.
    """
    if not (is_table(table) or is_arrow(table)):
        return {}
    data: Any = table
    names = list(data.column_names if is_arrow(data) else data.columns)[:MAX_COLUMNS]
    return {str(name): _of_column(_column(data, at)) for at, name in enumerate(names)}


def _column(table: Any, at: int) -> Any:  # noqa: ANN401
    if is_arrow(table):
        return table.column(at)
    return table.iloc[:, at] if is_from("pandas", table) else table.to_series(at)


def _of_column(column: Any) -> dict[str, Any]:  # noqa: ANN401
    if is_from("pyarrow", column):
        return _of_arrow(column)
    is_pandas = is_from("pandas", column)
    found: dict[str, Any] = {"missing": int(column.isna().sum() if is_pandas else column.null_count())}
    try:
        if _is_number(column):
            for name in ("min", "max", "mean"):
                value = getattr(column, name)()
                if value is not None and not (isinstance(value, float) and math.isnan(value)):
                    found[name] = float(value) if name == "mean" or isinstance(value, float) else _plain(value)
        else:
            found["distinct"] = int(column.nunique() if is_pandas else column.drop_nulls().n_unique())
    except (TypeError, ValueError):  # of lists, of maps: nothing of them is smallest, and none equals another
        pass
    except Exception:  # polars has errors of its own
        if not is_from("polars", column):
            raise
    return found


def _of_arrow(column: Any) -> dict[str, Any]:  # noqa: ANN401
    import pyarrow.compute as compute

    found: dict[str, Any] = {"missing": int(column.null_count)}
    kind = str(column.type)
    try:
        if kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
            extremes = compute.min_max(column).as_py()
            mean = compute.mean(column).as_py()
            found |= {name: value for name, value in {**extremes, "mean": mean}.items() if value is not None}
        else:
            found["distinct"] = int(compute.count_distinct(column).as_py())
    except (NotImplementedError, TypeError, ValueError):
        pass
    return found


def _is_number(column: Any) -> bool:  # noqa: ANN401
    if is_from("polars", column):
        return bool(column.dtype.is_integer() or column.dtype.is_float()) or str(column.dtype) == "Boolean"
    kind = getattr(column.dtype, "kind", "O")
    return kind in "biuf"


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.item() if hasattr(value, "item") else value
