"""Objects of a program as the content of a file, in the format that the file's name says."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError, ModelDBError
from modeldb_core.model.integers import int_text
from modeldb_core.model.values import check_key_in_map, key_text, normalize

Writer: TypeAlias = Callable[[Any], bytes]

_EXTENSION = re.compile(r"[A-Za-z]{2,8}|mp[34]|h5|hdf5|7z|bz2")  # "loss 0.5" and "model.v2" end in none
_PACKED = ("gz", "bz2", "xz")
_JSON = ("json", "geojson", "topojson", "ipynb")
_LINES = ("jsonl", "ndjson")


@dataclass(slots=True)
class Written:
    """An object as a file.

    Attributes:
        content: of the file.
        name: of the file, with its extension.
        kind: what it is: bytes, figure, table, image or json.
        details: what is recorded beside it, such as the types of columns that the format does not keep.
        notes: what the format does not keep, in words.
    """

    content: bytes
    name: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write(artifact: object, name: str | None) -> Written:
    """Return an object as a file. Its class is looked at, nothing is imported for it.

    Args:
        artifact: a figure, a table, an image, bytes, or a map or list.
        name: the extension says the format; without one it is the usual format of the kind, and its extension is added.

    Raises:
        InvalidArgumentError: bytes have no name, or the object cannot be written in the format that the name says.
        InvalidTypeError: the object is of none of these types.
        MissingDependencyError: the format needs a package that is not installed.
    """
    if isinstance(artifact, (bytes, bytearray, memoryview)):
        if name is None:
            msg = "artifact of bytes has no name; pass name=..."
            raise InvalidArgumentError(msg)
        return Written(bytes(artifact), name, "bytes")
    if hasattr(artifact, "to_frame") and not hasattr(artifact, "columns"):  # a column is a table of one
        artifact = artifact.to_frame(artifact.name if artifact.name not in (None, "") else "value")  # type: ignore[attr-defined]
    kind, formats, usual = _formats_of(artifact)
    written = Written(b"", name or kind, kind)
    extension = _extension(written.name, formats)
    if not extension:
        if usual == "parquet" and not _has_parquet(artifact):
            usual = "csv"
            columns = zip(artifact.columns, artifact.dtypes, strict=True)  # type: ignore[attr-defined]
            written.details["columns"] = [{"name": str(column), "dtype": str(dtype)} for column, dtype in columns]
            written.notes.append("stored as CSV, which keeps no types of columns; pip install pyarrow to have Parquet")
        extension = usual
        written.name += f".{usual}"
    writer = formats.get(extension.lower())
    if writer is None:
        able = ", ".join(f".{known}" for known in formats)
        msg = (
            f"artifact {name!r}: {_WORDS[kind]} cannot be written as .{extension}, only as {able}; choose one of them, or write "
            f"the file yourself and log its path"
        )
        raise InvalidArgumentError(msg)
    try:
        written.content = writer(artifact)
    except ModelDBError:
        raise
    except ImportError as error:
        msg = f"artifact {name!r}: writing .{extension} needs a package that is not installed ({error})"
        raise MissingDependencyError(msg) from error
    except Exception as error:
        msg = f"artifact {name!r}: this {kind} cannot be written as .{extension}: {error}"
        raise InvalidArgumentError(msg) from error
    if kind == "json" and _has_unreal(artifact):
        written.notes.append("JSON has no NaN and no infinities: they are null there")
    return written


def _extension(name: str, formats: Mapping[str, Writer]) -> str:
    """Return the extension of a name, ``csv.gz`` for a packed file; "" where what follows the last dot is none."""
    parts = PurePosixPath(name).name.split(".")[1:]
    packed = ".".join(parts[-2:])
    if packed.lower() in formats:
        return packed
    last = parts[-1] if parts else ""
    return last if last.lower() in formats or _EXTENSION.fullmatch(last) else ""


_WORDS = {"figure": "a figure", "table": "a table", "image": "an image", "json": "a map or list"}


def _formats_of(artifact: Any) -> tuple[str, Mapping[str, Writer], str]:  # noqa: ANN401
    """Return what an object is, by which formats it can be written, and which is the usual one."""
    if hasattr(artifact, "savefig"):  # a figure of Matplotlib, or of what stands on it
        return "figure", _figure_formats(artifact), "png"
    if hasattr(artifact, "write_csv") and hasattr(artifact, "write_parquet"):
        return "table", _POLARS, "parquet"
    if hasattr(artifact, "to_csv") and hasattr(artifact, "iloc"):
        return "table", _PANDAS, "parquet"
    if hasattr(artifact, "save") and hasattr(artifact, "mode") and hasattr(artifact, "getbands"):
        return "image", _image_formats(), "png"
    if isinstance(artifact, Mapping):
        return "json", dict.fromkeys(_JSON, _json), "json"
    if isinstance(artifact, (list, tuple)):
        return "json", {**dict.fromkeys(_JSON, _json), **dict.fromkeys(_LINES, _json_lines)}, "json"
    msg = (
        f"artifact is of type {type(artifact).__name__}; expected the path of a file or folder, a figure, a table, an "
        "image, bytes, a map or a list"
    )
    raise InvalidTypeError(msg)


# -- pictures ----------------------------------------------------------------------------------------------------------


def _figure_formats(figure: Any) -> Mapping[str, Writer]:  # noqa: ANN401
    canvas = getattr(figure, "canvas", None) or figure.figure.canvas

    def writer(extension: str) -> Writer:
        def save(drawn: Any) -> bytes:  # noqa: ANN401
            buffer = io.BytesIO()
            drawn.savefig(buffer, format=extension, bbox_inches="tight")
            return buffer.getvalue()

        return save

    return {extension: writer(extension) for extension in canvas.get_supported_filetypes()}


def _image_formats() -> Mapping[str, Writer]:
    pillow: Any = sys.modules["PIL.Image"]

    def writer(picture_format: str) -> Writer:
        def save(image: Any) -> bytes:  # noqa: ANN401
            buffer = io.BytesIO()
            image.save(buffer, format=picture_format)
            return buffer.getvalue()

        return save

    known = pillow.registered_extensions()  # loads the formats of Pillow
    return {extension[1:]: writer(found) for extension, found in known.items() if found in pillow.SAVE}


# -- tables ------------------------------------------------------------------------------------------------------------


def _has_parquet(table: Any) -> bool:  # noqa: ANN401
    """Whether a table can be written as Parquet here: polars does it itself."""
    if hasattr(table, "write_parquet"):
        return True
    return find_spec("pyarrow") is not None or find_spec("fastparquet") is not None


def _buffered(method: str, **options: Any) -> Writer:  # noqa: ANN401
    """Return a writer that calls a method of the table with a file in memory."""

    def save(table: Any) -> bytes:  # noqa: ANN401
        buffer = io.BytesIO()
        getattr(table, method)(buffer, **options)
        return buffer.getvalue()

    return save


def _text(method: str, **options: Any) -> Writer:  # noqa: ANN401
    return lambda table: str(getattr(table, method)(**options)).encode()


def _packed(writer: Writer, extension: str) -> Writer:
    def save(table: Any) -> bytes:  # noqa: ANN401
        import bz2
        import gzip
        import lzma

        content = writer(table)
        if extension == "gz":
            return gzip.compress(content, mtime=0)  # the same table gives the same file
        return bz2.compress(content) if extension == "bz2" else lzma.compress(content)

    return save


def _with_packed(formats: dict[str, Writer]) -> dict[str, Writer]:
    plain = [(name, writer) for name, writer in formats.items() if name in ("csv", "tsv", "json", *_LINES)]
    return formats | {f"{name}.{how}": _packed(writer, how) for name, writer in plain for how in _PACKED}


def _records(table: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the rows of a table as maps; of pandas with the index where that is more than numbers of rows."""
    if hasattr(table, "to_dicts"):
        return table.to_dicts()  # type: ignore[no-any-return]
    pandas: Any = sys.modules["pandas"]
    if not isinstance(table.index, pandas.RangeIndex):
        table = table.reset_index()
    found = table.astype(object)
    return found.where(found.notna(), None).to_dict("records")  # type: ignore[no-any-return]


def _feather(table: Any) -> bytes:  # noqa: ANN401
    pandas: Any = sys.modules["pandas"]
    buffer = io.BytesIO()
    (table if isinstance(table.index, pandas.RangeIndex) else table.reset_index()).to_feather(buffer)
    return buffer.getvalue()


_PANDAS = _with_packed(
    {
        "csv": _text("to_csv"),
        "tsv": _text("to_csv", sep="\t"),
        "json": lambda table: _json(_records(table)),
        **dict.fromkeys(_LINES, lambda table: _json_lines(_records(table))),
        **dict.fromkeys(("parquet", "pq"), _buffered("to_parquet")),
        **dict.fromkeys(("feather", "arrow"), _feather),
        "xlsx": _buffered("to_excel"),
        **dict.fromkeys(("html", "htm"), _text("to_html")),
    }
)
_POLARS = _with_packed(
    {
        "csv": _buffered("write_csv"),
        "tsv": _buffered("write_csv", separator="\t"),
        "json": lambda table: _json(_records(table)),
        **dict.fromkeys(_LINES, lambda table: _json_lines(_records(table))),
        **dict.fromkeys(("parquet", "pq"), _buffered("write_parquet")),
        **dict.fromkeys(("feather", "arrow"), _buffered("write_ipc")),
        "xlsx": _buffered("write_excel"),
    }
)


# -- JSON --------------------------------------------------------------------------------------------------------------


def _json(value: Any) -> bytes:  # noqa: ANN401
    """Return a map or list as JSON: what the user wrote, nothing of ModelDB's own."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False).encode()


def _json_lines(rows: Any) -> bytes:  # noqa: ANN401
    lines = (json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as data of JSON, with what JSON cannot say replaced: see docs/decisions/0042."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        for key, item in value.items():
            text = key if isinstance(key, str) else key_text(check_key_in_map(key, "artifact"))
            if text in made:
                msg = f"the keys {key!r} and {text!r} are the same in JSON; rename one of them"
                raise InvalidArgumentError(msg)
            made[text] = _plain(item)
        return made
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # an array, or a scalar of NumPy
        value = value.tolist()
        if isinstance(value, list):
            return _plain(value)
    found = normalize(value, "artifact")
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) >> 10_000:
        msg = f"an integer of {len(int_text(found)):,} digits is more than readers of JSON take; log it as a text"
        raise InvalidArgumentError(msg)
    return _plain(found) if isinstance(found, (dict, list)) else found


def _has_unreal(value: Any) -> bool:  # noqa: ANN401
    """Whether a map or list holds a NaN or an infinity."""
    if isinstance(value, Mapping):
        return any(map(_has_unreal, value.values()))
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return any(map(_has_unreal, value))
    try:
        return not math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False
