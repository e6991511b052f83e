"""Files of Parquet below a folder or a URL, and the manifest that names them: what ``tables.py`` writes into.

Readers may be at work while tables are replaced: new files have new names, the manifest names them once all are there, and
only then are those removed that the manifest before named.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast
from urllib.parse import quote
from uuid import uuid4

from modeldb_core.errors import InvalidArgumentError, MissingDependencyError, StoreUnavailableError
from modeldb_core.runtime.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MANIFEST: Final = "_manifest.json"
FORMAT: Final = "modeldb-tables"
VERSION: Final = 1
PARTITION: Final = "project_id"

_ROWS = 1 << 20  # points that are held at a time, and of a row group
_DOCUMENTS = 4000  # that are held at a time
_NAMED = re.compile(r"[a-z]+/(?:project_id=[\w.~%-]+/)?part-[0-9a-f]{32}\.parquet")
_TIME = "timestamp"
_TEXTS = "map of text"  # each value as JSON

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "runs": {
        "run_id": "text",
        "name": "text",
        "status": "text",
        "experiment_id": "text",
        "parent_id": "text",
        "created_at": _TIME,
        "updated_at": _TIME,
        "started_at": _TIME,
        "finished_at": _TIME,
        "duration_s": "number",
        "tags": "list of text",
        "hyperparameters": _TEXTS,
        "attributes": _TEXTS,
        "metrics": "map of numbers",
        "document": "text",
    },
    "series": {
        "run_id": "text",
        "key": "text",
        "count": "integer",
        "nan_count": "integer",
        **dict.fromkeys(("first", "last", "minimum", "maximum", "mean"), "number"),
        **dict.fromkeys(("first_step", "last_step", "min_step", "max_step"), "integer"),
        "first_at": _TIME,
        "last_at": _TIME,
    },
    "points": {"run_id": "text", "key": "text", "step": "integer", "time": _TIME, "value": "number"},
    "projects": {"project_id": "text", "name": "text", "workspace_id": "text", "created_at": _TIME, "document": "text"},
    "experiments": {"experiment_id": "text", "name": "text", "created_at": _TIME, "document": "text"},
}
"""The tables, and the columns of each; all but ``projects`` are partitioned by ``project_id``."""


class Tables:
    """Gathers rows, and writes them into one file for each table and project; those of one project come together.

    Attributes:
        rows: how many, of each table.
        files: what the manifest says of each file that is whole.
    """

    def __init__(self, place: Place) -> None:
        self.rows = dict.fromkeys(COLUMNS, 0)
        self.files: list[dict[str, Any]] = []
        self._place = place
        self._open: dict[str, _File] = {}

    def add(self, table: str, project_id: str, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._file(table, project_id).add(row)
        self.rows[table] += 1

    def add_points(self, project_id: str, run_id: str, key: str, columns: Mapping[str, Any]) -> None:
        """Add the points of a series: its steps, times and values as arrays."""
        self.rows["points"] += self._file("points", project_id).add_points(run_id, key, columns)

    def _file(self, table: str, project_id: str) -> _File:
        if (file := self._open.get(table)) is None:
            folder = table if table == "projects" else f"{table}/{PARTITION}={quote(project_id, safe='')}"
            file = self._open[table] = _File(self._place, f"{folder}/part-{uuid4().hex}.parquet", table)
        return file

    def end_project(self) -> None:
        """End the files of a project."""
        for table in [table for table in self._open if table != "projects"]:
            self.files.append(self._open.pop(table).close())

    def end(self) -> None:
        """End all files."""
        self.end_project()
        self.files += [file.close() for file in self._open.values()]
        self._open.clear()


class _File:
    """A file that is being written."""

    def __init__(self, place: Place, path: str, table: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._path = path
        self._schema = pa.schema([(name, _type(kind)) for name, kind in COLUMNS[table].items()])
        self._sink = _Hashing(place.create(path))
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[Mapping[str, Any]] = []
        self._points: list[Any] = []
        self._rows = self._points_waiting = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._waiting.append(row)
        self._rows += 1
        if len(self._waiting) >= _DOCUMENTS:
            self._flush()

    def add_points(self, run_id: str, key: str, columns: Mapping[str, Any]) -> int:
        """Add points; return how many."""
        import pyarrow as pa

        count = len(columns["step"])
        arrays = [pa.repeat(pa.scalar(text, pa.string()), count) for text in (run_id, key)]
        arrays += [pa.array(columns[name]).cast(self._schema.field(name).type) for name in ("step", "time", "value")]
        self._points.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self._points_waiting += count
        self._rows += count
        if self._points_waiting >= _ROWS:
            self._flush()
        return count

    def close(self) -> dict[str, Any]:
        """Write the end; return what the manifest says of the file."""
        self._flush()
        self._writer.close()
        self._sink.close()
        size, digest = self._sink.size, self._sink.sha.hexdigest()
        return {"path": self._path, "rows": self._rows, "size_bytes": size, "sha256": digest}

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            columns = [pa.array([row[each.name] for row in self._waiting], each.type) for each in self._schema]
            self._points.append(pa.Table.from_arrays(columns, schema=self._schema))
        if self._points:
            self._writer.write_table(pa.concat_tables(self._points), row_group_size=_ROWS)
        self._waiting, self._points, self._points_waiting = [], [], 0


def _type(kind: str) -> Any:  # noqa: ANN401 - of pyarrow
    import pyarrow as pa

    return {
        "text": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        _TIME: pa.timestamp("us", "UTC"),
        "list of text": pa.list_(pa.string()),
        _TEXTS: pa.map_(pa.string(), pa.string()),
        "map of numbers": pa.map_(pa.string(), pa.float64()),
    }[kind]


class _Hashing:
    """A file to which bytes are only added, with its size and SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha, self.size, self.closed = file, hashlib.sha256(), 0, False

    def write(self, data: Any) -> int:  # noqa: ANN401 - anything with a buffer
        self.sha.update(data)
        self._file.write(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._file.close()


@dataclass(frozen=True, slots=True)
class Place:
    """Where tables lie."""

    url: str
    fs: Any
    root: str

    @classmethod
    def open(cls, url: str) -> Place:
        """Return the place that a path or URL names; raises as :func:`~modeldb_core.movement.tables.write_tables`."""
        try:
            import pyarrow  # noqa: F401 - so that its absence is noticed first
        except ImportError as error:
            msg = (
                f"tables in Parquet need a package that is not installed ({error}); pip install 'modeldb-core[parquet]'"
            )
            raise MissingDependencyError(msg) from error
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            msg = f"{redact_url(url)} cannot be written: {error}"
            raise (MissingDependencyError if isinstance(error, ImportError) else InvalidArgumentError)(msg) from error
        return cls(redact_url(url), fs, root.rstrip("/"))

    def create(self, path: str) -> BinaryIO:
        """Open a new file."""
        try:
            self.fs.makedirs(f"{self.root}/{path}".rpartition("/")[0], exist_ok=True)
            return cast("BinaryIO", self.fs.open(f"{self.root}/{path}", "wb"))
        except OSError as error:
            msg = f"{self.url} cannot be written: {error}; check the place and its permissions"
            raise StoreUnavailableError(msg) from error

    def old_files(self, *, replace: bool) -> set[str]:
        """Return the files that a manifest in this place names, which are to be replaced.

        Raises:
            InvalidArgumentError: there is something, and it is not to be replaced, or is no table of ModelDB.
        """
        try:
            with self.fs.open(f"{self.root}/{MANIFEST}", "rb") as file:
                named = files_named(file.read(), self.url)
        except FileNotFoundError:
            if any(True for _ in self._entries()):
                msg = f"{self.url} is not empty, and has no {MANIFEST}; name another folder"
                raise InvalidArgumentError(msg) from None
            return set()
        if not replace:
            msg = f"{self.url} has tables already; replace them with --force, or name another folder"
            raise InvalidArgumentError(msg)
        return named

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files that a manifest named; one that is gone is no matter."""
        for path in sorted(paths):
            with suppress(FileNotFoundError):
                self.fs.rm_file(f"{self.root}/{path}")

    def _entries(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from self.fs.ls(self.root, detail=False)


def files_named(manifest: bytes, where: str) -> set[str]:
    """Return the files that a manifest names.

    Raises:
        InvalidArgumentError: it is not the manifest of tables, or names something else than a file of theirs.
    """
    try:
        document = json.loads(manifest)
        named = {each["path"] for table in document["tables"].values() for each in table["files"]}
        if document["format"] == FORMAT and all(_NAMED.fullmatch(path) for path in named):
            return named
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    msg = f"{where}/{MANIFEST} is not the manifest of tables that ModelDB wrote; name another folder"
    raise InvalidArgumentError(msg)
