"""Tables of Arrow: their content as a digest takes it in, the same as that of an equal table of polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.tracking.description.contents import digested, is_from
from modeldb_core.tracking.description.digests import CHUNK_ITEMS

if TYPE_CHECKING:
    from modeldb_core.tracking.description.digests import ContentHash


def is_arrow(data: object) -> bool:
    """Whether it is a table or a batch of Arrow."""
    return is_from("pyarrow", data) and hasattr(data, "column_names") and hasattr(data, "schema")


def describe_arrow(table: Any) -> dict[str, Any]:  # noqa: ANN401 - pyarrow is optional
    """Return the description of a table of Arrow."""
    columns = [{"name": field.name, "dtype": str(field.type)} for field in table.schema]
    return {
        "kind": "table",
        **digested(lambda content: hash_arrow(content, table)),
        "shape": [int(table.num_rows), int(table.num_columns)],
        "size_bytes": int(table.nbytes),
        "schema": {"columns": columns},
        "origin": {"type": "memory"},
    }


def hash_arrow(content: ContentHash, table: Any) -> None:  # noqa: ANN401
    """Take in a table of Arrow as *table*; how it is cut into chunks is no part of the content."""
    content.text("table")
    content.number(int(table.num_rows))
    content.number(int(table.num_columns))
    for name in table.column_names:
        content.name(name)
        _hash_column(content, table.column(name))


def _hash_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    kind = str(column.type)
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
        missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False)) if _is_array(column) else _nulls(column)
        if missing.any():
            content.text("missing")
            content.array(missing)
            column = column.fill_null(False if kind == "bool" else 0)
        content.array(_numpy(column))
    elif kind.startswith(("timestamp", "date32", "date64", "duration")):
        if zone := getattr(column.type, "tz", None):
            content.text(f"datetime64[{column.type.unit}, {zone}]")
        content.array(_numpy(column))
    else:
        content.text("items")
        content.shape((len(column),))
        starts = range(0, len(column), CHUNK_ITEMS)
        content.encoded_items(column.slice(at, CHUNK_ITEMS).to_pylist() for at in starts)


def _is_array(column: Any) -> bool:  # noqa: ANN401
    return not hasattr(column, "chunks")


def _nulls(column: Any) -> Any:  # noqa: ANN401
    return np.asarray(column.is_null().to_numpy())


def _numpy(column: Any) -> Any:  # noqa: ANN401
    return np.asarray(column.to_numpy(zero_copy_only=False) if _is_array(column) else column.to_numpy())
