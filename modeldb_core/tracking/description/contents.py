"""The content of the objects that hold data, as a digest takes it in; and which objects those are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import InvalidTypeError
from modeldb_core.tracking.description.digests import CHUNK_ITEMS, ContentHash, is_plain
from modeldb_core.tracking.description.items import UnreadableContentError, zone_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def digested(write: Callable[[ContentHash], None]) -> dict[str, str]:
    """Return the digest of what ``write`` hands to a hash; "" and a note where something in it cannot be read."""
    content = ContentHash(nested)
    try:
        write(content)
    except UnreadableContentError as error:
        return {"digest": "", "note": f"it has no digest: {error}"}
    except RecursionError:
        return {"digest": "", "note": "it has no digest: it holds itself, or is nested too deeply"}
    return {"digest": content.hexdigest()}


def nested(data: object) -> bytes | None:
    """Return the digest of data that lies within data, such as an image in a list; ``None`` where it is none."""
    content = ContentHash(nested)
    if isinstance(data, np.ndarray):
        content.array(data)
    elif is_table(data):
        hash_table(content, data)
    elif is_column(data):
        hash_column(content, data)
    elif is_sparse(data):
        content.sparse(data)
    elif is_image(data):
        hash_image(content, data)
    elif is_array_like(data) and not is_lazy(data):
        try:
            content.array(as_array(data))
        except InvalidTypeError as error:
            raise UnreadableContentError(str(error)) from error
    else:
        return None
    return bytes.fromhex(content.hexdigest())


def as_array(data: Any) -> Any:  # noqa: ANN401
    """Return data that can be one as an array; raises InvalidTypeError where it lies in other memory."""
    if hasattr(data, "detach"):  # a PyTorch tensor that takes part in a gradient refuses to become an array
        data = data.detach()
    try:
        return np.asarray(data)
    except (TypeError, RuntimeError, ValueError) as error:
        msg = f"data of type {type_name(data)} cannot be read as an array ({error}); move it to main memory first"
        raise InvalidTypeError(msg) from error


def hash_image(content: ContentHash, image: Any) -> None:  # noqa: ANN401
    """Take in an image of Pillow."""
    if getattr(image, "n_frames", 1) > 1:
        msg = "it holds an image of several frames, of which only one can be read without going to the others"
        raise UnreadableContentError(msg)
    content.text("image")
    content.text(image.mode)
    content.shape(image.size)
    content.sized(bytes(image.getpalette() or ()) if image.mode in ("P", "PA") else b"")
    content.sized(image.tobytes())


# -- tables and columns ------------------------------------------------------------------------------------------------


def hash_table(content: ContentHash, table: Any) -> None:  # noqa: ANN401
    """Take in a table of pandas or polars."""
    rows, width = (int(length) for length in table.shape)
    content.text("table")
    content.number(rows)
    content.number(width)
    for index, name in enumerate(table.columns):
        content.name(name)
        hash_column(content, table.iloc[:, index] if is_from("pandas", table) else table[:, index])


def hash_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    """Take in a column of pandas or polars."""
    if is_from("polars", column):
        _hash_polars_column(content, column)
    else:
        _hash_pandas_column(content, column)


def _hash_pandas_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        content.array(column.to_numpy())
    elif type(dtype).__name__ == "DatetimeTZDtype":
        content.text(f"datetime64[{dtype.unit}, {zone_name(dtype.tz)}]")
        content.array(column.to_numpy(dtype=f"M8[{dtype.unit}]"))
    elif type(dtype).__name__ == "SparseDtype":  # the same content as that of a column that is not sparse
        _hash_pandas_column(content, column.sparse.to_dense())
    elif _is_nullable_number(dtype):
        missing = column.isna().to_numpy()
        plain = dtype.numpy_dtype
        _hash_nullable(content, missing, column.to_numpy(dtype=plain, na_value=np.zeros((), plain)[()]))
    else:
        chunks = (column.iloc[i : i + CHUNK_ITEMS].astype(object) for i in _starts(len(column)))
        _hash_texts(content, len(column), (chunk.where(chunk.notna(), None).tolist() for chunk in chunks))


def _is_nullable_number(dtype: Any) -> bool:  # noqa: ANN401
    plain = getattr(dtype, "numpy_dtype", None)
    # Times of Arrow have a zone, which the dtype of NumPy does not tell.
    return plain is not None and is_plain(plain) and plain.kind in "biuf"


def _hash_polars_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    dtype = column.dtype
    name = type(dtype).__name__
    if name in ("Datetime", "Duration", "Date"):  # what is missing becomes NaT
        if getattr(dtype, "time_zone", None):
            content.text(f"datetime64[{dtype.time_unit}, {dtype.time_zone}]")
        content.array(column.to_numpy())
    elif (dtype.is_numeric() and name != "Decimal") or name == "Boolean":
        if column.null_count():
            filled = column.fill_null(False if name == "Boolean" else 0)
            _hash_nullable(content, column.is_null().to_numpy(), filled.to_numpy())
        else:
            content.array(column.to_numpy())
    else:
        _hash_texts(content, len(column), (column.slice(i, CHUNK_ITEMS).to_list() for i in _starts(len(column))))


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


# -- which is which ----------------------------------------------------------------------------------------------------


def is_from(package: str, data: object) -> bool:
    """Whether the class of an object, or one that it is derived from, belongs to a package."""
    return any(cls.__module__.partition(".")[0] == package for cls in type(data).__mro__)


def is_table(data: object) -> bool:
    """Whether it is a table of pandas or polars."""
    return (is_from("pandas", data) or is_from("polars", data)) and hasattr(data, "columns") and hasattr(data, "shape")


def is_column(data: object) -> bool:
    """Whether it is a column of pandas or polars."""
    return (is_from("pandas", data) and hasattr(data, "iloc")) or (is_from("polars", data) and hasattr(data, "slice"))


def is_sparse(data: object) -> bool:
    """Whether it is a sparse matrix or array of SciPy."""
    return is_from("scipy", data) and hasattr(data, "nnz") and hasattr(data, "tocsr")


def is_lazy(data: object) -> bool:
    """Whether it is a collection of dask, which is computed when it is asked for."""
    return hasattr(data, "__dask_graph__") and hasattr(data, "dtype" if not hasattr(data, "dtypes") else "dtypes")


def is_image(data: object) -> bool:
    """Whether it is an image of Pillow."""
    return is_from("PIL", data) and hasattr(data, "tobytes") and hasattr(data, "getbands")


def is_array_like(data: object) -> bool:
    """Whether all of its content is an array that it turns into."""
    # The array within what xarray makes is not all of its content: names of dimensions and coordinates are part of it.
    return (
        hasattr(data, "__array__") and hasattr(data, "dtype") and hasattr(data, "shape") and not is_from("xarray", data)
    )


def type_name(value: object) -> str:
    """Return the public name of a value's class, such as ``pandas.DataFrame``."""
    cls = type(value)
    package = cls.__module__.partition(".")[0]
    if package == "builtins":
        return cls.__qualname__
    if getattr(sys.modules.get(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"
