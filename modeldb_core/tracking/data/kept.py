"""Objects as the content of a file, and back: tables, arrays, sparse matrices, lists and maps, never by pickling."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from modeldb_core.errors import InvalidTypeError, MissingDependencyError
from modeldb_core.tracking.description.arrow import is_arrow
from modeldb_core.tracking.description.columns import as_column, is_column, is_from
from modeldb_core.tracking.description.contents import is_array_like, is_sparse, is_table, type_name
from modeldb_core.tracking.description.datasets import describe
from modeldb_core.tracking.formats import write

if TYPE_CHECKING:
    from collections.abc import Sequence


def dump(data: Any) -> tuple[str, bytes]:  # noqa: ANN401
    """Return the name of a file for an object, and its content.

    Raises:
        InvalidTypeError: there is no format for it that loads without running code, or it would come back as something else.
        MissingDependencyError: the format needs a package that is not installed.
    """
    name, content = _dump(data)
    if name.endswith((".parquet", ".json")) and not _comes_back(data, name, content):
        msg = (
            f"data of type {type_name(data)} would not come back from {name!r} as it is, such as a NaN, a time or a key that "
            "is no text in JSON, or a list in a cell of Parquet; convert it, or keep a file"
        )
        raise InvalidTypeError(msg)
    return name, content


def _comes_back(data: Any, name: str, content: bytes) -> bool:  # noqa: ANN401
    digest = describe(data)["digest"]
    dtypes = [str(dtype) for dtype in data.dtypes] if is_table(data) else ()
    return not digest or describe(load(name, io.BytesIO(content), type_name(data), dtypes))["digest"] == digest


def _dump(data: Any) -> tuple[str, bytes]:  # noqa: ANN401
    buffer = io.BytesIO()
    is_extension = is_column(data) and is_from("pandas", data) and not isinstance(as_column(data).dtype, np.dtype)
    if is_extension or isinstance(data, np.ma.MaskedArray):
        kind = f"{type_name(data)} of {data.dtype}"
        msg = f"a {kind} cannot be kept as an array without changing it; keep a table with this column, or a file"
        raise InvalidTypeError(msg)
    if isinstance(data, np.ndarray) or is_array_like(data):
        array = np.asarray(data)
        if array.dtype.hasobject:
            msg = f"an array of {array.dtype} cannot be kept without pickling it; convert it, or keep a file"
            raise InvalidTypeError(msg)
        np.save(buffer, array, allow_pickle=False)
        return "data.npy", buffer.getvalue()
    if is_sparse(data):
        from scipy import sparse

        sparse.save_npz(buffer, data.tocsr() if data.format in ("lil", "dok") else data)
        return "data.npz", buffer.getvalue()
    if is_arrow(data):
        from pyarrow import ipc

        with ipc.new_file(buffer, data.schema) as writer:
            writer.write(data)
        return "data.arrow", buffer.getvalue()
    if (is_table(data) or is_column(data)) and not _has_parquet(data):
        return "data.csv", _csv(data)
    if is_table(data) or is_column(data) or isinstance(data, (list, tuple, dict, bytes)):
        written = write(data, "data.bin" if isinstance(data, bytes) else None)
        return f"data.{written.name.partition('.')[2]}", written.content
    msg = f"data of type {type_name(data)} cannot be kept; keep a file or a folder with path(..., keep=True)"
    raise InvalidTypeError(msg)


def _has_parquet(table: Any) -> bool:  # noqa: ANN401
    return is_from("polars", table) or find_spec("pyarrow") is not None or find_spec("fastparquet") is not None


def _csv(table: Any) -> bytes:  # noqa: ANN401
    """Return a pandas table as CSV, where that gives the same table again.

    Raises:
        MissingDependencyError: it does not: what is missing is no empty text, and times are no texts.
    """
    frame = table if is_table(table) else table.to_frame()
    content = str(frame.to_csv(index=False)).encode()
    try:
        again = _table("csv", io.BytesIO(content), "pandas", [str(dtype) for dtype in frame.dtypes])
        is_same = describe(again)["digest"] == describe(frame)["digest"]
    except (TypeError, ValueError):
        is_same = False
    if not is_same:
        msg = "keeping this table needs Parquet, which pandas writes with pyarrow; pip install pyarrow, or keep a file"
        raise MissingDependencyError(msg)
    return content


def load(name: str, stream: BinaryIO, kind: str, dtypes: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """Return the object that a file holds.

    Args:
        name: of the file, whose extension says the format.
        stream: its content.
        kind: the class that was kept, such as ``polars.DataFrame``; what else reads the format takes its place.
        dtypes: of the columns of a table, for formats that do not say them.

    Raises:
        InvalidTypeError: the format is none of those that :func:`dump` writes, or the content is not of it.
        MissingDependencyError: it needs a package that is not installed.
    """
    extension = name.rpartition(".")[2]
    try:
        if extension == "npy":
            return np.load(io.BytesIO(stream.read()), allow_pickle=False)
        if extension == "npz":
            from scipy import sparse

            return sparse.load_npz(io.BytesIO(stream.read()))
        if extension == "arrow":
            from pyarrow import ipc

            return ipc.open_file(stream.read()).read_all()
        if extension == "json":
            return json.loads(stream.read())
        if extension == "bin":
            return stream.read()
        if extension in ("parquet", "csv"):
            return _table(extension, io.BytesIO(stream.read()), kind, dtypes)
    except ImportError as error:
        msg = f"reading {name!r} needs a package that is not installed ({error})"
        raise MissingDependencyError(msg) from error
    except Exception as error:  # whatever a library says of a file that somebody else made
        msg = (
            f"{name!r} does not hold what its name says ({type(error).__name__}: {error!s:.200}); read the file itself"
        )
        raise InvalidTypeError(msg) from error
    msg = f"{name!r} is not an object that was kept; read the file itself"
    raise InvalidTypeError(msg)


def _table(extension: str, content: io.BytesIO, kind: str, dtypes: Sequence[str]) -> Any:  # noqa: ANN401
    if kind.startswith("polars"):
        import polars

        return polars.read_parquet(content) if extension == "parquet" else polars.read_csv(content)
    import pandas

    if extension == "parquet":
        table = pandas.read_parquet(content)
        seconds = ("datetime64[s", "timedelta64[s")  # Parquet has milliseconds only
        coarse = {name: dtype for name, dtype in zip(table.columns, dtypes, strict=False) if dtype.startswith(seconds)}
        return table.astype(coarse) if coarse else table
    table = pandas.read_csv(content)
    return table.astype(dict(zip(table.columns, dtypes, strict=True))) if dtypes else table
