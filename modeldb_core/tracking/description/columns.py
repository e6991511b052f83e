"""Columns of tables, of pandas, polars and Arrow, as a digest takes them in: equal content alike, whichever holds it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.tracking.description.digests import CHUNK_ITEMS, ContentHash, is_plain
from modeldb_core.tracking.description.items import UnreadableContentError, zone_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINE = re.compile(r"\bTime\b|time_unit='ns'|time64\[ns\]")  # types of which a list of Python's times would lose digits


def is_from(package: str, data: object) -> bool:
    """Whether the class of an object, or one that it is derived from, belongs to a package."""
    return any(cls.__module__.partition(".")[0] == package for cls in type(data).__mro__)


def is_column(data: object) -> bool:
    """Whether it is a column of pandas or polars, or an index or array that pandas makes a column of."""
    if is_from("pandas", data):
        return (
            hasattr(data, "dtype") and hasattr(data, "__array__") and not hasattr(data, "levels")
        )  # of several indices
    return is_from("polars", data) and hasattr(data, "slice") and hasattr(data, "dtype")


def as_column(data: Any) -> Any:  # noqa: ANN401
    """Return an index, or an array of pandas, as the column that it can be; the zone of its times is lost otherwise."""
    return data if hasattr(data, "iloc") or not is_from("pandas", data) else sys.modules["pandas"].Series(data)


def hash_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    """Take in a column of pandas or polars."""
    if is_from("polars", column):
        _hash_polars_column(content, column)
    else:
        _hash_pandas_column(content, as_column(column))


def _hash_pandas_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        content.array(column.to_numpy())
    elif type(dtype).__name__ == "DatetimeTZDtype":
        content.text(f"datetime64[{dtype.unit}, {zone_name(dtype.tz)}]")
        content.array(column.to_numpy(dtype=f"M8[{dtype.unit}]"))
    elif type(dtype).__name__ == "SparseDtype":  # the same content as that of a column that is not sparse
        _hash_pandas_column(content, column.sparse.to_dense())
    elif type(dtype).__name__ == "ArrowDtype":
        hash_arrow_column(content, column.array.__arrow_array__())
    elif _is_nullable_number(dtype):
        missing = column.isna().to_numpy()
        plain = dtype.numpy_dtype
        _hash_nullable(content, missing, column.to_numpy(dtype=plain, na_value=np.zeros((), plain)[()]))
    else:
        chunks = (column.iloc[i : i + CHUNK_ITEMS].astype(object) for i in _starts(len(column)))
        _hash_texts(content, len(column), (chunk.where(chunk.notna(), None).tolist() for chunk in chunks))


def _is_nullable_number(dtype: Any) -> bool:  # noqa: ANN401
    plain = getattr(dtype, "numpy_dtype", None)
    return plain is not None and is_plain(plain) and plain.kind in "biuf"


def _hash_polars_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    dtype = column.dtype
    name = type(dtype).__name__
    if name in ("Datetime", "Duration", "Date"):  # what is missing becomes NaT
        if getattr(dtype, "time_zone", None):
            content.text(f"datetime64[{dtype.time_unit}, {dtype.time_zone}]")
        content.array(column.to_numpy())
    elif (dtype.is_numeric() and name not in ("Decimal", "Int128", "UInt128")) or name == "Boolean":
        if column.null_count():
            filled = column.fill_null(False if name == "Boolean" else 0)
            _hash_nullable(content, column.is_null().to_numpy(), filled.to_numpy())
        else:
            content.array(column.to_numpy())
    elif name == "Time" and (column.to_physical().fill_null(0).to_numpy() % 1000).any():
        _hash_fine_times(content, column.is_null().to_numpy(), column.to_physical().fill_null(0).to_numpy())
    else:
        if name != "Time":
            _refuse_fine_times(dtype)
        _hash_texts(content, len(column), (column.slice(i, CHUNK_ITEMS).to_list() for i in _starts(len(column))))


def hash_arrow_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    """Take in a column of Arrow, whole or in chunks."""
    kind = str(column.type)
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
        missing = _arrow_numpy(column.is_null())
        if missing.any():
            column = column.fill_null(False if kind == "bool" else 0)
        _hash_nullable(content, missing, _arrow_numpy(column))
    elif kind.startswith(("timestamp", "date32", "date64", "duration")):
        if zone := getattr(column.type, "tz", None):
            content.text(f"datetime64[{column.type.unit}, {zone}]")
        content.array(_arrow_numpy(column))
    elif kind == "time64[ns]" and (_arrow_numpy(column.cast("int64").fill_null(0)) % 1000).any():
        _hash_fine_times(content, _arrow_numpy(column.is_null()), _arrow_numpy(column.cast("int64").fill_null(0)))
    else:
        if kind != "time64[ns]":
            _refuse_fine_times(kind)
        _hash_texts(content, len(column), (column.slice(i, CHUNK_ITEMS).to_pylist() for i in _starts(len(column))))


def _arrow_numpy(column: Any) -> Any:  # noqa: ANN401
    return np.asarray(column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False))


def _hash_fine_times(content: ContentHash, missing: Any, nanoseconds: Any) -> None:  # noqa: ANN401
    content.text("time64[ns]")
    _hash_nullable(content, missing, nanoseconds)


def _refuse_fine_times(dtype: object) -> None:
    if _FINE.search(str(dtype)):
        msg = f"it holds a column of {dtype}, whose nanoseconds would be lost; convert them to microseconds, or to numbers"
        raise UnreadableContentError(msg)


def _starts(length: int) -> range:
    return range(0, length, CHUNK_ITEMS)


def _hash_nullable(content: ContentHash, missing: Any, values: Any) -> None:  # noqa: ANN401
    if missing.any():
        content.text("missing")
        content.array(missing)
    content.array(values)


def _hash_texts(content: ContentHash, length: int, chunks: Iterator[list[Any]]) -> None:
    content.text("items")
    content.shape((length,))
    content.encoded_items(chunks)
