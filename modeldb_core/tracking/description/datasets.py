"""Describes data sets: what a run was trained on, recognizable by its digest, without keeping the data.

:func:`describe` takes NumPy arrays, SciPy sparse matrices, pandas and polars tables and columns, tensors in the main
memory, images, lists, maps, texts that are URLs, and paths of files and folders. Nothing is converted, made dense or copied whole: the
content is hashed where it lies, in pieces of a few megabytes (``digests`` defines the bytes). What it does not know, a
plugin may describe (``modeldb_describe_object``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.tracking.description.arrow import describe_arrow, is_arrow
from modeldb_core.tracking.description.columns import as_column, hash_column, is_column, is_from
from modeldb_core.tracking.description.contents import (
    as_array,
    digested,
    hash_image,
    hash_table,
    held_besides,
    is_array_like,
    is_image,
    is_lazy,
    is_sparse,
    is_table,
    nested,
    type_name,
)
from modeldb_core.tracking.description.digests import CHUNK_ITEMS, FORMAT, ContentHash, file_digest, folder_digest
from modeldb_core.tracking.description.folders import name_left_out
from modeldb_core.tracking.description.items import encode_item
from modeldb_core.tracking.description.lakes import describe_delta, describe_iceberg, is_delta, is_iceberg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Description = dict[str, Any]
_MAX_SHOWN = 300  # characters of what is given as a path
_MAX_DIMENSIONS = 32  # of lists in lists: one may hold itself


@dataclass(frozen=True, slots=True)
class Labelled:
    """Features and the target that is learned from them, logged as one data set: ``log_dataset(Labelled(X, y))``."""

    features: object
    target: object


@dataclass(frozen=True, slots=True)
class Described:
    """A data set that :func:`describe` has seen already: ``log_dataset(Described(description))`` does not read it again.

    Args:
        description: what it returned.
        name: what the program calls the data.
    """

    description: Description
    name: str = ""


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

        - ``name``, ``digest`` (64 hexadecimal digits; empty for a URL, whose content is not read, and where something in
          the data cannot be read, which ``note`` then names), ``digest_format``;
        - ``kind``: array, sparse, table, column, lazy, image, items, map, labelled, file, folder, url, delta or iceberg;
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
            if description["digest"] and (reason := held_besides(data)):
                description |= {"digest": "", "note": f"it has no digest: {reason}"}
            break
    else:
        found = describe_object(data) if describe_object is not None else None
        if found is None and isinstance(data, Mapping):  # a plugin may know more of one, such as what its target is
            found = _describe_map(data)
        if found is None:
            msg = (
                f"data set {name!r} is of type {type_name(data)}; expected an array, a sparse matrix, a table, a list, "
                f"a path or a URL: convert it, or log a file"
            )
            raise InvalidTypeError(msg)
        description = {"kind": "object", "digest": "", "shape": None, "size_bytes": None, "schema": {}, **found}
        description.setdefault("origin", {"type": "memory"})
    description.setdefault("type", type_name(data))
    description = {"digest": "", **description}
    return {"name": name, "digest_format": FORMAT, **description}


def _describe_labelled(
    data: Labelled, name: str, describe_object: Callable[[object], Mapping[str, Any] | None] | None
) -> Description:
    features = describe(data.features, name, describe_object=describe_object)
    target = describe(data.target, "", describe_object=describe_object)

    def write(content: ContentHash) -> None:
        content.text("labelled")
        for part in (features, target):
            content.raw(bytes.fromhex(part["digest"]))

    notes = [part.pop("note") for part in (features, target) if "note" in part]
    del target["name"], target["digest_format"]
    whole = digested(write) if features["digest"] and target["digest"] else {"digest": ""}
    return {
        **features,
        "kind": "labelled",
        **whole,
        **({"note": "; ".join(notes)} if notes else {}),
        "size_bytes": (features["size_bytes"] or 0) + (target["size_bytes"] or 0),
        "features_kind": features["kind"],
        "features_digest": features["digest"],
        "target": target,
    }


# -- arrays and lists ----------------------------------------------------------------------------------------------


def _describe_array(array: Any) -> Description:  # noqa: ANN401
    return {
        "kind": "array",
        **digested(lambda content: content.array(array)),
        "shape": [int(length) for length in array.shape],
        "size_bytes": int(array.nbytes),
        "schema": {"dtype": str(array.dtype)},
        "origin": {"type": "memory"},
    }


def _describe_array_like(data: Any) -> Description:  # noqa: ANN401
    return {**_describe_array(as_array(data)), "type": type_name(data)}


def _describe_image(image: Any) -> Description:  # noqa: ANN401
    return {
        "kind": "image",
        **digested(lambda content: hash_image(content, image)),
        "shape": [image.height, image.width, len(image.getbands())],
        "size_bytes": image.height * image.width * len(image.getbands()),
        "schema": {"mode": image.mode},
        "origin": {"type": "memory"},
    }


def _describe_sparse(matrix: Any) -> Description:  # noqa: ANN401
    parts = (getattr(matrix, part, None) for part in ("data", "indices", "indptr", "row", "col", "offsets"))
    return {
        "kind": "sparse",
        **digested(lambda content: content.sparse(matrix)),
        "shape": [int(length) for length in matrix.shape],
        "size_bytes": sum(int(part.nbytes) for part in parts if isinstance(part, np.ndarray)),
        "schema": {"dtype": str(matrix.dtype), "format": matrix.format, "stored": int(matrix.nnz)},
        "origin": {"type": "memory"},
    }


def _describe_items(items: Any) -> Description:  # noqa: ANN401
    shape = [len(items)]
    inner = items[0] if items else None
    while (
        isinstance(inner, (list, tuple, np.ndarray))
        and getattr(inner, "ndim", True)  # an array without dimensions is a single item
        and len(shape) < _MAX_DIMENSIONS
    ):
        shape.append(len(inner))
        inner = inner[0] if len(inner) else None
    types = sorted({type(item).__name__ for item in items[:CHUNK_ITEMS]})
    return {
        "kind": "items",
        **digested(lambda content: content.sequence(items)),
        "shape": shape,
        "size_bytes": sys.getsizeof(items),
        "schema": {"types": types},
        "origin": {"type": "memory"},
    }


def _describe_map(items: Any) -> Description:  # noqa: ANN401
    return {
        "kind": "map",
        **digested(lambda content: content.raw(encode_item(items, nested))),
        "shape": [len(items)],
        "size_bytes": sys.getsizeof(items),
        "schema": {"keys": [key if isinstance(key, str) else str(key) for key in islice(items, CHUNK_ITEMS)]},
        "origin": {"type": "memory"},
    }


# -- tables --------------------------------------------------------------------------------------------------------


def _describe_table(table: Any) -> Description:  # noqa: ANN401
    rows, width = (int(length) for length in table.shape)
    dtypes = zip(table.columns, table.dtypes, strict=True)
    columns = [{"name": name if isinstance(name, str) else str(name), "dtype": str(dtype)} for name, dtype in dtypes]
    return {
        "kind": "table",
        **digested(lambda content: hash_table(content, table)),
        "shape": [rows, width],
        "size_bytes": _size_of(table),
        "schema": {"columns": columns},
        "origin": {"type": "memory"},
    }


def _describe_column(column: Any) -> Description:  # noqa: ANN401
    column = as_column(column)
    schema = {"dtype": str(column.dtype)}
    name = getattr(column, "name", None)
    if name is not None and name != "":
        schema["name"] = str(name)
    return {
        "kind": "column",
        **digested(lambda content: hash_column(content, column)),
        "shape": [len(column)],
        "size_bytes": _size_of(column),
        "schema": schema,
        "origin": {"type": "memory"},
    }


def _size_of(table: Any) -> int:  # noqa: ANN401
    if is_from("polars", table):
        return int(table.estimated_size())
    if hasattr(table, "memory_usage"):
        usage = table.memory_usage(index=False)
        return int(usage if isinstance(usage, (int, np.integer)) else usage.sum())
    return int(table.nbytes)


# -- data that is computed when it is asked for ------------------------------------------------------------------------


def _describe_lazy(data: Any) -> Description:  # noqa: ANN401
    """Describe a dask collection by its name: reading it would mean computing it, maybe for hours.

    The name says how it is made and not what comes of it: programs choose names, and files change below them.
    """
    columns = getattr(data, "columns", None)
    if columns is None:
        schema: Description = {"dtype": str(data.dtype)}
    else:
        schema = {"columns": [{"name": str(name), "dtype": str(dtype)} for name, dtype in data.dtypes.items()]}
    parts = getattr(data, "npartitions", None)
    return {
        "kind": "lazy",
        "digest": "",
        "note": "it has no digest: dask computes it only when it is asked for; log what it is made of, or what it computes",
        "shape": [_length(length) for length in data.shape],
        "size_bytes": None,
        "schema": schema if parts is None else {**schema, "partitions": int(parts)},
        "origin": {"type": "dask", "name": str(getattr(data, "_name", None) or data.name)},
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
    if not text:
        msg = "a data set is given as an empty text, which is no path; pass the path, or the data itself"
        raise InvalidArgumentError(msg)
    path = Path(text)
    note: Description = {}
    if os.path.isdir(path):  # a text that cannot be a path makes those of pathlib raise
        digest, size, count, left_out = folder_digest(path)
        schema: Description = {"files": count}
        if left_out:
            note = {"note": f"left out: {name_left_out(left_out)}"}
        kind = "folder"
    elif os.path.isfile(path):
        digest, size = file_digest(path)
        schema = {"suffix": path.suffix}
        kind = "file"
    elif isinstance(data, str) and os.sep not in text and "." not in text:
        msg = f"data set {text[:_MAX_SHOWN]!r} is a text, but neither a path of something that exists nor a URL; pass the data itself"
        raise InvalidArgumentError(msg)
    else:
        msg = f"there is no file or folder {text[:_MAX_SHOWN]!r}; pass a path that exists"
        raise NotFoundError(msg)
    return {
        "kind": kind,
        "type": kind,
        "digest": digest,
        "shape": None,
        "size_bytes": size,
        "schema": schema,
        "origin": {"type": kind, "path": str(path.resolve())},
        **note,
    }


_DESCRIBERS: Iterable[tuple[Callable[[object], bool], Callable[[Any], Description]]] = (
    (lambda data: isinstance(data, np.ndarray), _describe_array),
    (is_lazy, _describe_lazy),
    (is_delta, describe_delta),
    (is_iceberg, describe_iceberg),
    (is_arrow, describe_arrow),
    (is_table, _describe_table),
    (is_sparse, _describe_sparse),
    (is_column, _describe_column),
    (is_image, _describe_image),
    (lambda data: isinstance(data, (list, tuple)), _describe_items),
    (lambda data: isinstance(data, (str, os.PathLike)), _describe_path),
    (is_array_like, _describe_array_like),
)
