"""Tables of Arrow: their content as a digest takes it in, the same as that of an equal table of polars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.tracking.description.columns import hash_arrow_column, is_from
from modeldb_core.tracking.description.contents import digested

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
        hash_arrow_column(content, table.column(name))
