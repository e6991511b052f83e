"""Describes data sets: what a run was trained on, recognizable by its digest, without keeping the data.

:func:`describe` takes NumPy arrays, SciPy sparse matrices, pandas and polars tables and columns, tensors in the main
memory, lists, texts that are URLs, and paths of files and folders. Nothing is converted, made dense or copied whole: the
content is hashed where it lies, in pieces of a few megabytes (``digests`` defines the bytes). What it does not know, a
plugin may describe (``modeldb_describe_object``).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.digests import CHUNK_ITEMS, FORMAT, ContentHash, file_digest, folder_digest, is_plain
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Description = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Features and the target that is learned from them, logged as one data set: ``log_dataset(Labelled(X, y))``."""

    features: object
    target: object


@dataclass(frozen=True, slots=True)
class Described:
    """A data set that :func:`describe` has seen already: ``log_dataset(Described(description))`` does not read it again."""

    description: Description


def describe(
    data: object, name: str = "", *, describe_object: Callable[[object], Mapping[str, Any] | None] | None = None
) -> Description:
    """Describe a data set; equal content gives an equal digest.

    Args:
        data: the data, a :class:`Labelled` pair, a path, or a URL.
        name: what the caller calls it.
        describe_object: asked about types that are not known here, before giving up.

    Returns:
        A map of values that can be stored:

        - ``name``, ``digest`` (64 hexadecimal digits; empty for a URL, whose content is not read), ``digest_format``;
        - ``kind``: array, sparse, table, column, lazy, items, labelled, file, folder or url;
        - ``type``: the class of the object, such as ``pandas.DataFrame``;
        - ``shape``: a list of lengths, ``None`` for files; ``size_bytes``: of the content in memory or on disk;
        - ``schema``: for tables ``{"columns": [{"name", "dtype"}, …]}``, for arrays ``{"dtype"}``;
        - ``origin``: ``{"type": "memory"}``, ``{"type": "file" | "folder", "path"}`` or ``{"type": "url", "url"}``;
        - for labelled data ``features_digest``, and ``target``: its own description.

    Raises:
        InvalidTypeError: nothing is known about data of this type.
        InvalidArgumentError: it is a text, but neither a path nor a URL.
        NotFoundError: it is a path, and there is nothing.
    """
    if isinstance(data, Described):
        return {**data.description, "name": name}
    if isinstance(data, Labelled):
        return _describe_labelled(data, name, describe_object)
    for known, describer in _DESCRIBERS:
        if known(data):
            description: Description = describer(data)
            break
    else:
        found = describe_object(data) if describe_object is not None else None
        if found is None:
            msg = (
                f"data set {name!r} is of type {_type_name(data)}; expected an array, a sparse matrix, a table, a list, "
                f"a path or a URL: convert it, or log a file"
            )
            raise InvalidTypeError(msg)
        description = {"kind": "object", "digest": "", "shape": None, "size_bytes": None, "schema": {}, **found}
        description.setdefault("origin", {"type": "memory"})
    description.setdefault("type", _type_name(data))
    return {"name": name, "digest_format": FORMAT, **description}


def _describe_labelled(
    data: Labelled, name: str, describe_object: Callable[[object], Mapping[str, Any] | None] | None
) -> Description:
    features = describe(data.features, name, describe_object=describe_object)
    target = describe(data.target, "", describe_object=describe_object)
    content = ContentHash()
    content.text("labelled")
    content.raw(bytes.fromhex(features["digest"]))
    content.raw(bytes.fromhex(target["digest"]))
    del target["name"], target["digest_format"]
    return {
        **features,
        "kind": "labelled",
        "digest": content.hexdigest(),
        "size_bytes": (features["size_bytes"] or 0) + (target["size_bytes"] or 0),
        "features_kind": features["kind"],
        "features_digest": features["digest"],
        "target": target,
    }


# -- arrays and lists ----------------------------------------------------------------------------------------------


def _describe_array(array: Any) -> Description:  # noqa: ANN401
    content = ContentHash()
    if isinstance(array, np.ma.MaskedArray):
        content.text("missing")
        content.array(np.ma.getmaskarray(array))
        nothing: Any = np.zeros((), array.dtype)[()]
        content.array(array.filled(nothing))
    else:
        content.array(array)
    return {
        "kind": "array",
        "digest": content.hexdigest(),
        "shape": [int(length) for length in array.shape],
        "size_bytes": int(array.nbytes),
        "schema": {"dtype": str(array.dtype)},
        "origin": {"type": "memory"},
    }


def _describe_array_like(data: Any) -> Description:  # noqa: ANN401
    if hasattr(data, "detach"):  # a PyTorch tensor that takes part in a gradient refuses to become an array
        data = data.detach()
    try:
        array = np.asarray(data)
    except (TypeError, RuntimeError, ValueError) as error:
        msg = f"data of type {_type_name(data)} cannot be read as an array ({error}); move it to main memory first"
        raise InvalidTypeError(msg) from error
    return {**_describe_array(array), "type": _type_name(data)}


def _describe_sparse(matrix: Any) -> Description:  # noqa: ANN401
    content = ContentHash()
    content.sparse(matrix)
    parts = (getattr(matrix, part, None) for part in ("data", "indices", "indptr", "row", "col", "offsets"))
    return {
        "kind": "sparse",
        "digest": content.hexdigest(),
        "shape": [int(length) for length in matrix.shape],
        "size_bytes": sum(int(part.nbytes) for part in parts if isinstance(part, np.ndarray)),
        "schema": {"dtype": str(matrix.dtype), "format": matrix.format, "stored": int(matrix.nnz)},
        "origin": {"type": "memory"},
    }


def _describe_items(items: Any) -> Description:  # noqa: ANN401
    content = ContentHash()
    content.sequence(items)
    shape = [len(items)]
    inner = items[0] if items else None
    while isinstance(inner, (list, tuple, np.ndarray)):
        shape.append(len(inner))
        inner = inner[0] if len(inner) else None
    types = sorted({type(item).__name__ for item in items[:CHUNK_ITEMS]})
    return {
        "kind": "items",
        "digest": content.hexdigest(),
        "shape": shape,
        "size_bytes": sys.getsizeof(items),
        "schema": {"types": types},
        "origin": {"type": "memory"},
    }


# -- tables --------------------------------------------------------------------------------------------------------


def _describe_table(table: Any) -> Description:  # noqa: ANN401
    names = [name if isinstance(name, str) else str(name) for name in table.columns]
    rows, width = (int(length) for length in table.shape)
    content = ContentHash()
    content.text("table")
    content.number(rows)
    content.number(width)
    columns = []
    for index, name in enumerate(names):
        column = table.iloc[:, index] if _is_from("pandas", table) else table[:, index]
        content.text(name)
        _hash_column(content, column)
        columns.append({"name": name, "dtype": str(column.dtype)})
    return {
        "kind": "table",
        "digest": content.hexdigest(),
        "shape": [rows, width],
        "size_bytes": _size_of(table),
        "schema": {"columns": columns},
        "origin": {"type": "memory"},
    }


def _describe_column(column: Any) -> Description:  # noqa: ANN401
    content = ContentHash()
    _hash_column(content, column)
    schema = {"dtype": str(column.dtype)}
    name = getattr(column, "name", None)
    if name is not None and name != "":
        schema["name"] = str(name)
    return {
        "kind": "column",
        "digest": content.hexdigest(),
        "shape": [len(column)],
        "size_bytes": _size_of(column),
        "schema": schema,
        "origin": {"type": "memory"},
    }


def _size_of(table: Any) -> int:  # noqa: ANN401
    if _is_from("polars", table):
        return int(table.estimated_size())
    if hasattr(table, "memory_usage"):
        usage = table.memory_usage(index=False)
        return int(usage if isinstance(usage, (int, np.integer)) else usage.sum())
    return int(table.nbytes)


def _hash_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    if _is_from("polars", column):
        _hash_polars_column(content, column)
    else:
        _hash_pandas_column(content, column)


def _hash_pandas_column(content: ContentHash, column: Any) -> None:  # noqa: ANN401
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        content.array(column.to_numpy())
    elif type(dtype).__name__ == "DatetimeTZDtype":
        content.text(str(dtype))
        content.array(column.to_numpy(dtype=f"M8[{dtype.unit}]"))
    elif getattr(dtype, "numpy_dtype", None) is not None and is_plain(dtype.numpy_dtype):  # nullable numbers
        missing = column.isna().to_numpy()
        plain = dtype.numpy_dtype
        _hash_nullable(content, missing, column.to_numpy(dtype=plain, na_value=np.zeros((), plain)[()]))
    else:
        chunks = (column.iloc[i : i + CHUNK_ITEMS].astype(object) for i in _starts(len(column)))
        _hash_texts(content, len(column), (chunk.where(chunk.notna(), None).tolist() for chunk in chunks))


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


# -- data that is computed when it is asked for ------------------------------------------------------------------------


def _describe_lazy(data: Any) -> Description:  # noqa: ANN401
    """Describe a dask collection by its graph: reading it would mean computing it, maybe for hours.

    The name of a collection is a digest of how it is made, so the same steps on the same sources give the same one.
    """
    content = ContentHash()
    content.text("dask")
    content.text(str(getattr(data, "_name", None) or data.name))
    columns = getattr(data, "columns", None)
    if columns is None:
        schema: Description = {"dtype": str(data.dtype)}
    else:
        schema = {"columns": [{"name": str(name), "dtype": str(dtype)} for name, dtype in data.dtypes.items()]}
    parts = getattr(data, "npartitions", None)
    return {
        "kind": "lazy",
        "digest": content.hexdigest(),
        "shape": [_length(length) for length in data.shape],
        "size_bytes": None,
        "schema": schema if parts is None else {**schema, "partitions": int(parts)},
        "origin": {"type": "dask"},
    }


def _length(length: object) -> int | None:
    """Return a length, ``None`` where it is not known before the data is computed."""
    return length if isinstance(length, int) else None


# -- files ---------------------------------------------------------------------------------------------------------


def _describe_path(data: Any) -> Description:  # noqa: ANN401
    text = os.fspath(data)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if isinstance(data, str) and "://" in text:
        return {
            "kind": "url",
            "type": "url",
            "digest": "",
            "shape": None,
            "size_bytes": None,
            "schema": {},
            "origin": {"type": "url", "url": redact_url(text)},
        }
    path = Path(text)
    if path.is_dir():
        digest, size, count = folder_digest(path)
        schema: Description = {"files": count}
        kind = "folder"
    elif path.is_file():
        digest, size = file_digest(path)
        schema = {"suffix": path.suffix}
        kind = "file"
    elif isinstance(data, str) and os.sep not in text and "." not in text:
        msg = (
            f"data set {text!r} is a text, but neither a path of something that exists nor a URL; pass the data itself"
        )
        raise InvalidArgumentError(msg)
    else:
        msg = f"there is no file or folder {text!r}; pass a path that exists"
        raise NotFoundError(msg)
    return {
        "kind": kind,
        "type": kind,
        "digest": digest,
        "shape": None,
        "size_bytes": size,
        "schema": schema,
        "origin": {"type": kind, "path": str(path.resolve())},
    }


# -- which is which ------------------------------------------------------------------------------------------------


def _is_from(package: str, data: object) -> bool:
    return any(cls.__module__.partition(".")[0] == package for cls in type(data).__mro__)


def _is_table(data: object) -> bool:
    return (
        (_is_from("pandas", data) or _is_from("polars", data)) and hasattr(data, "columns") and hasattr(data, "shape")
    )


def _is_column(data: object) -> bool:
    return (_is_from("pandas", data) and hasattr(data, "iloc")) or (_is_from("polars", data) and hasattr(data, "slice"))


def _is_sparse(data: object) -> bool:
    return _is_from("scipy", data) and hasattr(data, "nnz") and hasattr(data, "tocsr")


def _is_lazy(data: object) -> bool:
    return hasattr(data, "__dask_graph__") and hasattr(data, "dtype" if not hasattr(data, "dtypes") else "dtypes")


def _is_array_like(data: object) -> bool:
    return hasattr(data, "__array__") and hasattr(data, "dtype") and hasattr(data, "shape")


_DESCRIBERS: Iterable[tuple[Callable[[object], bool], Callable[[Any], Description]]] = (
    (lambda data: isinstance(data, np.ndarray), _describe_array),
    (_is_lazy, _describe_lazy),
    (_is_table, _describe_table),
    (_is_sparse, _describe_sparse),
    (_is_column, _describe_column),
    (lambda data: isinstance(data, (list, tuple)), _describe_items),
    (lambda data: isinstance(data, (str, os.PathLike)), _describe_path),
    (_is_array_like, _describe_array_like),
)


def _type_name(value: object) -> str:
    """Return the public name of a value's class, such as ``pandas.DataFrame``."""
    cls = type(value)
    package = cls.__module__.partition(".")[0]
    if package == "builtins":
        return cls.__qualname__
    if getattr(sys.modules.get(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"
