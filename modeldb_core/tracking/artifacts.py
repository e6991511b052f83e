"""What can be logged as an artifact, and how it becomes files."""

from __future__ import annotations

import errno
import io
import logging
import mimetypes
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from modeldb_core.journal.uploads import SAY_EVERY_S, megabytes
from modeldb_core.model.values import check_key, is_digest
from modeldb_core.plugins import places_for
from modeldb_core.stores import BlobInfo
from modeldb_core.stores.reading import ReadableBlobs, Wanted, contents, groups
from modeldb_core.tracking.description.folders import name_left_out, scan
from modeldb_core.tracking.formats import write

if TYPE_CHECKING:
    from modeldb_core.config import Settings

logger = logging.getLogger("modeldb")

Put = Callable[[BinaryIO], BlobInfo]
Entries = dict[str, dict[str, Any]]

_CHUNK = 1 << 20
_SHOWN = 200  # characters of what was taken for a path


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an artifact.

    Attributes:
        entries: of the run's ``artifacts``, by path.
        notes: what was left out or could not be kept, in words.
    """

    entries: Entries
    notes: tuple[str, ...] = ()


def store(
    artifact: object, name: str | None, kind: str | None, put: Put, is_own: Callable[[Path], bool] | None = None
) -> Stored:
    """Put an artifact's files as blobs.

    Args:
        is_own: whether a file or folder is ModelDB's own, and no part of a folder that is logged.

    Raises:
        NotFoundError, InvalidArgumentError, InvalidTypeError, FolderChangedError: see ``RunHandle.log_artifact``.
    """
    if name is not None:
        check_key(name, "artifact name")
    if isinstance(artifact, (str, os.PathLike)):
        text = os.fsdecode(artifact)
        if not text:
            msg = "artifact is an empty text; expected the path of a file or folder ('.' is the current one)"
            raise InvalidArgumentError(msg)
        if "\0" in text:
            msg = f"artifact {artifact!r} is not a path: it holds a NUL character; pass bytes to log content"
            raise InvalidArgumentError(msg)
        return _store_path(Path(text), name, kind, put, is_own)
    written = write(artifact, name)
    entry = {**_entry(put(io.BytesIO(written.content)), written.name, kind or written.kind), **written.details}
    if name is not None and name != written.name:
        entry["logged_as"] = name
    return Stored({written.name: entry}, tuple(f"Artifact {written.name!r}: {note}" for note in written.notes))


def _store_path(
    path: Path, name: str | None, kind: str | None, put: Put, is_own: Callable[[Path], bool] | None
) -> Stored:
    # Not resolved: a link is logged by its own name and not by that of what it leads to.
    name = name or os.path.basename(os.path.abspath(path))
    if not name:
        msg = f"artifact {str(path)!r} has no name of its own; pass name=..."
        raise InvalidArgumentError(msg)
    try:
        mode = _mode(path)
        is_broken = not mode and path.is_symlink()
    except OSError as error:  # a text that is too long for a path, a folder that may not be looked into
        shown = str(path) if len(str(path)) <= _SHOWN else f"{str(path)[:_SHOWN]}…"
        msg = f"artifact {shown!r}: {error.strerror}; expected the path of a file or folder, or log_text for a text"
        raise (PermissionDeniedError if isinstance(error, PermissionError) else NotFoundError)(msg) from error
    if stat.S_ISDIR(mode):
        return _store_folder(path, name, kind, put, is_own)
    if not stat.S_ISREG(mode):
        what = "is not a regular file" if mode else f"does not exist in {Path.cwd()}"
        if is_broken:
            what = f"is a link to {os.readlink(path)!r}, where there is nothing"
        msg = f"artifact {str(path)!r} {what}; expected the path of a file or folder, or log_text for a text"
        raise NotFoundError(msg)
    try:
        return Stored({name: _put_file(path, name, kind or _kind_of(name), put)})
    except PermissionError as error:
        msg = f"artifact {str(path)!r} cannot be read: {error.strerror}; check its permissions"
        raise PermissionDeniedError(msg) from error
    except FileNotFoundError as error:
        msg = f"artifact {str(path)!r} went away while it was stored; nothing of it is recorded"
        raise NotFoundError(msg) from error


def _mode(path: Path) -> int:
    """Return what is at a path, links followed; 0: nothing is."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # it cannot be encoded
        return 0
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP):
            return 0
        raise


def _store_folder(path: Path, name: str, kind: str | None, put: Put, is_own: Callable[[Path], bool] | None) -> Stored:
    found = scan(path, lambda item: "ModelDB's own" if is_own is not None and is_own(item) else None)
    entries: Entries = {}
    for inside, file in found.files.items():
        try:
            key = check_key(f"{name}/{inside}", "artifact path")
        except InvalidArgumentError as error:
            found.left_out[inside] = str(error)
            continue
        try:
            with found.reading(inside):
                entries[key] = _put_file(file, key, kind or "file", put)
        except PermissionError as error:
            found.left_out[inside] = f"cannot be read: {error.strerror}"
    left_out = f"left out: {name_left_out(found.left_out)}" if found.left_out else ""
    if not entries:
        msg = f"folder {str(path)!r} holds no files to log{f'; {left_out}' if left_out else ''}"
        raise InvalidArgumentError(msg)
    return Stored(entries, (f"Artifact {name!r}: {left_out}",) if left_out else ())


def own_places(settings: Settings) -> Callable[[Path], bool]:
    """Return a test of whether a path is ModelDB's own."""
    places: frozenset[str] = frozenset()
    names: set[str] = set()

    def is_own(path: Path) -> bool:
        # Resolving a path asks the system for each folder above it, for each file of a folder: so only where it matters.
        nonlocal places, names
        if not places:
            places = own_paths(settings)
            names = {os.path.basename(place) for place in places}
        return (path.name in names or path.is_symlink()) and os.path.realpath(path) in places

    return is_own


def own_paths(settings: Settings) -> frozenset[str]:
    """Return the real paths of what is ModelDB's own: the store, its files, the journal and the cache."""
    places = {os.path.realpath(settings.journal_dir), os.path.realpath(settings.cache_dir)}
    return frozenset(places | places_for(settings).files_of(settings))


def _put_file(path: Path, name: str, kind: str, put: Put) -> dict[str, Any]:
    with path.open("rb", buffering=0) as stream:  # it is read in large pieces
        return _entry(put(stream), name, kind)


def _entry(info: BlobInfo, name: str, kind: str) -> dict[str, Any]:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"digest": info.digest, "size_bytes": info.size_bytes, "media_type": media_type, "type": kind}


def _kind_of(name: str) -> str:
    media_type = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    return media_type if media_type in ("image", "audio", "video", "text") else "file"


def files_of(artifacts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the artifacts that name a blob, by path: what a stranger recorded may be anything."""
    return {
        path: entry
        for path, entry in artifacts.items()
        if isinstance(entry, Mapping)
        and is_digest(entry.get("digest"))
        and type(entry.get("size_bytes", 0)) is int
        and "\0" not in path
    }


def find_path(artifacts: Mapping[str, Any], name: str) -> str:
    """Return the path of an artifact by that path, or by the name under which it was logged; else ``name``.

    Raises:
        InvalidArgumentError: several were logged under the name, with different extensions.
    """
    if name in artifacts:
        return name
    found = sorted(path for path, entry in artifacts.items() if entry.get("logged_as") == name)
    if len(found) > 1:
        msg = f"several artifacts were logged as {name!r}: {', '.join(map(repr, found))}; name one of them"
        raise InvalidArgumentError(msg)
    return found[0] if found else name


def download(
    artifacts: Mapping[str, Any],
    name: str,
    path: Path,
    blobs: ReadableBlobs,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Write the artifact ``name``, or all whose path lies under it, to ``path``; no file is left half written.

    Args:
        artifacts: of a run or of a version of a model.
        name: of one, or of a folder of them.
        path: where to.
        blobs: where their contents are.
        advance: told how many more bytes were written.

    Raises:
        NotFoundError: there is neither.
        InvalidArgumentError: a path within the artifacts would lead out of ``path``.
    """
    artifacts = files_of(artifacts)
    name = find_path(artifacts, name)
    if name in artifacts:
        target = path / name.rpartition("/")[2] if path.is_dir() else path
        _write_all({target: artifacts[name]}, blobs, advance)
        return target
    below = {key: entry for key, entry in artifacts.items() if key.startswith(f"{name}/")}
    if not below:
        msg = f"there is no artifact {name!r}; there are {sorted(artifacts) or 'none'}"
        raise NotFoundError(msg)
    root = path.resolve()
    targets: dict[Path, str] = {}
    for key in below:
        target = (root / key[len(name) + 1 :]).resolve()
        if root not in target.parents:
            msg = f"artifact {key!r} would be written outside of {str(path)!r}; read it with read_artifact"
            raise InvalidArgumentError(msg)
        if (other := targets.setdefault(target, key)) != key:
            msg = f"artifacts {other!r} and {key!r} would both be written to {str(target)!r}; fetch one after the other"
            raise InvalidArgumentError(msg)
    _write_all({target: below[key] for target, key in targets.items()}, blobs, advance)
    return path


def _write_all(
    entries: Mapping[Path, Mapping[str, Any]], blobs: ReadableBlobs, advance: Callable[[int], None] | None
) -> None:
    for folder in {target.parent for target in entries}:
        folder.mkdir(parents=True, exist_ok=True)
    wanted = (Wanted(target, entry["digest"], entry.get("size_bytes", 0)) for target, entry in entries.items())
    for group in groups(wanted):
        for target, stream in contents(blobs, group):
            with stream:
                _write(stream, target, advance)


def _write(stream: BinaryIO, target: Path, advance: Callable[[int], None] | None) -> None:
    fd, temporary = tempfile.mkstemp(prefix=".", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            _copy(stream, file, target, advance)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _copy(stream: BinaryIO, file: BinaryIO, target: Path, advance: Callable[[int], None] | None) -> None:
    """Copy a blob, and say now and then how far it is."""
    done, said_at = 0, time.monotonic()
    while chunk := stream.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if advance is not None:
            advance(len(chunk))
        if time.monotonic() - said_at > SAY_EVERY_S:
            said_at = time.monotonic()
            logger.info("Fetching %s: %s so far.", target, megabytes(done))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder that only this user can read, and remove it afterwards.

    ``TemporaryDirectory`` removes its folders when the interpreter begins to end, also one that a thread is still writing
    a model into, which the end of the program waits for.
    """
    folder = Path(tempfile.mkdtemp(prefix="modeldb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
