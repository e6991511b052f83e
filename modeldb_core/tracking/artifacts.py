"""What can be logged as an artifact, and how it becomes files."""

from __future__ import annotations

import io
import json
import logging
import mimetypes
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.stores import BlobInfo
from modeldb_core.uploads import SAY_EVERY_S, megabytes
from modeldb_core.values import check_key, normalize, to_json

logger = logging.getLogger("modeldb")

Put = Callable[[BinaryIO], BlobInfo]
Entries = dict[str, dict[str, Any]]

_CHUNK = 1 << 20


def store(artifact: object, name: str | None, kind: str | None, put: Put) -> Entries:
    """Put an artifact's files as blobs; return the entries of the run's ``artifacts``, by path.

    Raises:
        NotFoundError, InvalidArgumentError, InvalidTypeError: see ``RunHandle.log_artifact``.
    """
    if name is not None:
        check_key(name, "artifact name")
    if isinstance(artifact, (str, os.PathLike)):
        if "\0" in os.fspath(artifact):
            msg = f"artifact {artifact!r} is no path: it holds a NUL character; pass bytes to log content"
            raise InvalidArgumentError(msg)
        return _store_path(Path(artifact), name, kind, put)
    data, extension, told = _to_bytes(artifact)
    if name is None:
        if told == "bytes":
            msg = "artifact of bytes has no name; pass name=..."
            raise InvalidArgumentError(msg)
        name = told + extension
    elif extension and not Path(name).suffix:
        name += extension
    return {name: _entry(put(io.BytesIO(data)), name, kind or told)}


def _store_path(path: Path, name: str | None, kind: str | None, put: Put) -> Entries:
    name = name or path.resolve().name
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if not files:
            msg = f"folder {str(path)!r} holds no files to log"
            raise InvalidArgumentError(msg)
        entries: Entries = {}
        for file in files:
            inside = check_key(f"{name}/{file.relative_to(path).as_posix()}", "artifact path")
            entries[inside] = _put_file(file, inside, kind or "file", put)
        return entries
    if not path.is_file():
        what = "is no regular file" if path.exists() else f"does not exist in {Path.cwd()}"
        msg = f"artifact {str(path)!r} {what}; expected the path of a file or folder"
        raise NotFoundError(msg)
    return {name: _put_file(path, name, kind or _kind_of(name), put)}


def _put_file(path: Path, name: str, kind: str, put: Put) -> dict[str, Any]:
    with path.open("rb") as stream:
        return _entry(put(stream), name, kind)


def _entry(info: BlobInfo, name: str, kind: str) -> dict[str, Any]:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"digest": info.digest, "size_bytes": info.size_bytes, "media_type": media_type, "type": kind}


def _kind_of(name: str) -> str:
    media_type = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    return media_type if media_type in ("image", "audio", "video", "text") else "file"


def _to_bytes(artifact: object) -> tuple[bytes, str, str]:
    """Return (content, extension, kind) of an object in memory. Its class is looked at, nothing is imported for it."""
    if isinstance(artifact, (bytes, bytearray, memoryview)):
        return bytes(artifact), "", "bytes"
    if hasattr(artifact, "savefig"):  # a Matplotlib figure
        buffer = io.BytesIO()
        artifact.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue(), ".png", "figure"
    if hasattr(artifact, "write_csv"):  # a polars table
        buffer = io.BytesIO()
        artifact.write_csv(buffer)
        return buffer.getvalue(), ".csv", "table"
    if hasattr(artifact, "to_csv"):  # a pandas table or column
        return artifact.to_csv().encode(), ".csv", "table"
    if hasattr(artifact, "save") and hasattr(artifact, "mode"):  # an image of Pillow
        buffer = io.BytesIO()
        artifact.save(buffer, format="PNG")
        return buffer.getvalue(), ".png", "image"
    if isinstance(artifact, (Mapping, list, tuple)):
        text = json.dumps(to_json(normalize(artifact, "artifact")), ensure_ascii=False, indent=2)
        return text.encode(), ".json", "json"
    msg = (
        f"artifact is of type {type(artifact).__name__}; expected the path of a file or folder, a figure, a table, an "
        "image, bytes, a map or a list"
    )
    raise InvalidTypeError(msg)


def download(artifacts: Mapping[str, Any], name: str, path: Path, open_blob: Callable[[str], BinaryIO]) -> Path:
    """Write the artifact ``name``, or all whose path lies under it, to ``path``; nothing is left half written.

    Raises:
        NotFoundError: there is neither.
        InvalidArgumentError: a path within the artifacts would lead out of ``path``.
    """
    if name in artifacts:
        target = path / name.rpartition("/")[2] if path.is_dir() else path
        _write(artifacts[name]["digest"], target, open_blob)
        return target
    below = {key: entry for key, entry in artifacts.items() if key.startswith(f"{name}/")}
    if not below:
        msg = f"there is no artifact {name!r}; there are {sorted(artifacts) or 'none'}"
        raise NotFoundError(msg)
    root = path.resolve()
    targets: dict[Path, str] = {}
    for key, entry in below.items():
        target = (root / key[len(name) + 1 :]).resolve()
        if root not in target.parents:
            msg = f"artifact {key!r} would be written outside of {str(path)!r}; read it with read_artifact"
            raise InvalidArgumentError(msg)
        if (other := targets.setdefault(target, key)) != key:
            msg = f"artifacts {other!r} and {key!r} would both be written to {str(target)!r}; fetch one after the other"
            raise InvalidArgumentError(msg)
        _write(entry["digest"], target, open_blob)
    return path


def _write(digest: str, target: Path, open_blob: Callable[[str], BinaryIO]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file, open_blob(digest) as stream:
            _copy(stream, file, target)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _copy(stream: BinaryIO, file: BinaryIO, target: Path) -> None:
    """Copy a blob, and say now and then how far it is."""
    done, said_at = 0, time.monotonic()
    while chunk := stream.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if time.monotonic() - said_at > SAY_EVERY_S:
            said_at = time.monotonic()
            logger.info("Fetching %s: %s so far.", target, megabytes(done))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder that only this user can read, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="modeldb-") as name:
        yield Path(name)
