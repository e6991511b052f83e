"""Local files and folders as parts: found, hashed in parallel, and seen not to change meanwhile."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
import time
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from modeldb_core.errors import (
    FolderChangedError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    PermissionDeniedError,
)
from modeldb_core.runtime.git_names import GITS, is_git_name
from modeldb_core.runtime.workers import Workers
from modeldb_core.tracking.data.parts import Found, Part
from modeldb_core.tracking.description.folders import KINDS as KINDS_OF_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from modeldb_core.tracking.data.cache import HashCache
    from modeldb_core.tracking.data.parts import Progress

_CHUNK_BYTES = 1 << 20
_AT_ONCE = 64  # files a worker takes
_WINDOW = 8192  # files between two looks at the cache
_WORKERS = min(16, (os.cpu_count() or 2) + 2)
_Identity: TypeAlias = tuple[int, int]
_seen_of = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


@dataclass(slots=True)
class _File:
    location: str
    path: str
    state: os.stat_result
    digest: bytes = b""


@dataclass(slots=True)
class _Scan:
    """What lies in a folder.

    Attributes:
        folders: with the time at which a name in them was last added or taken away.
        left_out: by location, why something is no part of it.
    """

    root: str
    is_lenient: bool
    is_excluded: Callable[[str, str], bool]
    own: Collection[str]
    files: list[_File] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def find_files(
    path: str | os.PathLike[str],
    cache: HashCache,
    *,
    exclude: Sequence[str] = (),
    own: Collection[str] = (),
    is_lenient: bool = False,
    progress: Progress | None = None,
) -> Found:
    """Return the files at a path with the digests of their content. Links are followed.

    Args:
        path: of a file or a folder.
        cache: of digests that are known.
        exclude: patterns (``*.tmp``, ``cache/*``) of names or locations that are no part of it.
        own: real paths of what is ModelDB's own, and no part of it.
        is_lenient: whether what cannot be read, or is written to meanwhile, is left out and named, instead of an error.
        progress: called now and then, from this thread.

    Raises:
        NotFoundError: there is nothing, or a link leads to nothing.
        PermissionDeniedError: something may not be read.
        InvalidArgumentError: there is a link back to a folder that it lies in, a pipe or such, a name that is not
            UTF-8, or no file at all.
        FolderChangedError: something changed while it was read.
    """
    root = os.path.abspath(path)
    url = Path(root).as_posix()
    try:
        state = os.stat(root)
    except OSError as error:
        raise _problem(root, "", error) from error
    scan = _Scan(root, is_lenient, _excluded(exclude), own)
    if stat.S_ISREG(state.st_mode):
        name = os.path.basename(root)
        scan.files.append(_File(_checked_name(root, name), root, state))
    elif stat.S_ISDIR(state.st_mode):
        _walk(scan, root, os.path.realpath(root), (state.st_dev, state.st_ino))
    else:
        msg = f"{root!r} is not a file or a folder but {_kind_of(state)}; expected a path of data"
        raise InvalidArgumentError(msg)
    is_file = stat.S_ISREG(state.st_mode)
    hashed, hashed_bytes = _hash(scan, cache, progress)
    if not scan.files and not is_lenient:
        left = f"; left out: {', '.join(sorted(scan.left_out)[:5])}" if scan.left_out else ""
        msg = f"the folder {root!r} holds no files{left}; expected data in it"
        raise InvalidArgumentError(msg)
    if not is_lenient:
        _check_unchanged(scan)
    parts = tuple(
        Part(each.location, each.state.st_size, each.digest.hex(), {"modified_at": each.state.st_mtime_ns // 1000})
        for each in scan.files
    )
    paths = {each.location: each.path for each in scan.files}
    return Found(
        parts, is_file, hashed, hashed_bytes, scan.left_out, url, lambda part: open(paths[part.location], "rb")
    )


# -- finding -----------------------------------------------------------------------------------------------------------


def _walk(scan: _Scan, root: str, real: str, identity: _Identity) -> None:
    waiting = [_walk_folder(scan, root, real, "", (identity,))]
    while waiting:  # folders may be nested deeper than calls
        below = next(waiting[-1], None)
        if below is None:
            waiting.pop()
        else:
            waiting.append(_walk_folder(scan, *below))


def _walk_folder(
    scan: _Scan, folder: str, real: str, prefix: str, above: tuple[_Identity, ...]
) -> Iterator[tuple[str, str, str, tuple[_Identity, ...]]]:
    """Take the files of a folder up, and iterate over the folders in it: path, real path, prefix, and what it lies in."""
    try:
        scan.folders[folder] = os.stat(folder).st_mtime_ns
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        _leave_out(scan, prefix.rstrip("/"), error)
        return
    real_prefix = os.path.join(real, "")
    for entry in entries:
        location = f"{prefix}{entry.name}"
        if scan.is_excluded(entry.name, location):
            continue
        if is_git_name(entry.name):  # it is never written out again
            scan.left_out[location] = GITS
            continue
        real_path = os.path.realpath(entry.path) if entry.is_symlink() else real_prefix + entry.name
        if real_path in scan.own:
            scan.left_out[location] = "ModelDB's own"
            scan.folders.pop(folder, None)  # a store makes and removes files beside its own
            continue
        try:
            state = entry.stat()
            _checked_name(scan.root, location)
        except (OSError, InvalidArgumentError) as error:
            _leave_out(scan, location, error)
            continue
        if stat.S_ISREG(state.st_mode):
            scan.files.append(_File(location, entry.path, state))
        elif not stat.S_ISDIR(state.st_mode):
            what = f"is not a file but {_kind_of(state)}"
            _leave_out(scan, location, InvalidArgumentError(f"{location!r} in {scan.root!r} {what}; exclude it"))
        elif (identity := (state.st_dev, state.st_ino)) in above:
            loop = f"{location!r} in {scan.root!r} is a link back to a folder that it lies in; remove or exclude it"
            _leave_out(scan, location, InvalidArgumentError(loop))
        else:
            yield entry.path, real_path, f"{location}/", (*above, identity)


def _leave_out(scan: _Scan, location: str, error: Exception) -> None:
    """Name something that is no part; raises unless the scan is lenient."""
    is_ours = isinstance(error, ModelDBError)
    problem = error if is_ours or not isinstance(error, OSError) else _problem(scan.root, location, error)
    if not scan.is_lenient or not location or isinstance(problem, FolderChangedError):
        raise problem from error
    shown = location.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    scan.left_out[shown] = str(problem)


def _problem(root: str, location: str, error: OSError) -> Exception:
    """Return what is wrong as an error of ours."""
    where = f"{location!r} in {root!r}" if location else repr(root)
    path = os.path.join(root, location) if location else root
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if os.path.islink(path):
            return NotFoundError(
                f"{where} is a link to {os.readlink(path)!r}, where there is nothing; repair or exclude it"
            )
        if location:
            return _changed(root, f"{location!r} went away")
        return NotFoundError(f"there is no file or folder {root!r}; pass a path that exists")
    if isinstance(error, PermissionError):
        return PermissionDeniedError(f"{where} may not be read: {error.strerror}; change its permissions or exclude it")
    return InvalidArgumentError(f"{where} cannot be read: {error.strerror or error}; repair or exclude it")


def _changed(root: str, what: str) -> FolderChangedError:
    return FolderChangedError(
        f"{root!r} changed while it was read: {what}; nothing of it is recorded. Do it again when nothing writes there, or "
        "use a copy"
    )


def _checked_name(root: str, location: str) -> str:
    if not location.isascii():
        try:
            location.encode()
        except UnicodeEncodeError as error:
            shown = location.encode("utf-8", "surrogateescape")
            msg = f"a name in {root!r} is not UTF-8: {shown!r}; rename it, or exclude it with '?' in place of the bytes"
            raise InvalidArgumentError(msg) from error
    return location


def _kind_of(state: os.stat_result) -> str:
    return KINDS_OF_FILES.get(stat.S_IFMT(state.st_mode), "something else")


def _excluded(patterns: Sequence[str]) -> Callable[[str, str], bool]:
    if isinstance(patterns, str):
        msg = f"exclude is the text {patterns!r}; expected a list of patterns: [{patterns!r}]"
        raise InvalidArgumentError(msg)
    if not patterns:
        return lambda _name, _location: False
    matches = re.compile("|".join(map(fnmatch.translate, patterns))).match
    return lambda name, location: bool(matches(name) or matches(location))


# -- hashing -----------------------------------------------------------------------------------------------------------


def _hash(scan: _Scan, cache: HashCache, progress: Progress | None) -> tuple[int, int]:
    """Find out the digests of all files; return how many were read, and how many bytes of them."""
    read = read_bytes = done = 0
    unreadable: set[int] = set()
    workers = Workers(_WORKERS, "modeldb-hash")
    for window in _batches(scan.files, _WINDOW):
        known = cache.find(each.state for each in window)
        for each in window:
            each.digest = known.get((each.state.st_dev, each.state.st_ino), b"")
        unknown = [each for each in window if not each.digest]
        for batch, results in zip(
            _batches(unknown, _AT_ONCE), workers.map(_hash_some, _batches(unknown, _AT_ONCE)), strict=True
        ):
            for each, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    _leave_out(
                        scan, each.location, _opening_problem(scan.root, each, result, is_lenient=scan.is_lenient)
                    )
                    unreadable.add(id(each))
                    continue
                each.digest = result[0]
                read, read_bytes = read + 1, read_bytes + each.state.st_size
            cache.keep(
                (each.state, each.digest, result[1])
                for each, result in zip(batch, results, strict=True)
                if not isinstance(result, Exception)
            )
            if progress is not None:
                progress(done + len(window) - len(unknown) + len(batch), len(scan.files), read_bytes)
        done += len(window)
        if progress is not None:
            progress(done, len(scan.files), read_bytes)
    if unreadable:
        scan.files = [each for each in scan.files if id(each) not in unreadable]
    return read, read_bytes


def _hash_some(files: Sequence[_File]) -> list[tuple[bytes, int] | Exception]:
    """Return the digests of files and when each began to be read, or what kept one from being read."""
    buffer = bytearray(_CHUNK_BYTES)
    found: list[tuple[bytes, int] | Exception] = []
    for each in files:
        began_ns = time.time_ns()
        try:
            found.append((_hash_file(each, buffer), began_ns))
        except (OSError, FolderChangedError) as error:
            found.append(error)
    return found


def _hash_file(file: _File, buffer: bytearray) -> bytes:
    view = memoryview(buffer)
    descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        before = os.fstat(descriptor)
        digest = hashlib.sha256()
        with open(descriptor, "rb", buffering=0, closefd=False) as stream:
            while count := stream.readinto(buffer):
                digest.update(view[:count])
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not _is_same(file.state, before) or not _is_same(before, after):
        raise FolderChangedError(file.location)
    return digest.digest()


def _opening_problem(root: str, file: _File, error: Exception, *, is_lenient: bool) -> Exception:
    if isinstance(error, FolderChangedError):
        if is_lenient:
            return InvalidArgumentError("it was written to while it was read")
        return _changed(root, f"{file.location!r} was written to")
    if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        return _changed(root, f"{file.location!r} went away")
    return error


def _check_unchanged(scan: _Scan) -> None:
    """See that all is as it was when it was found.

    Raises:
        FolderChangedError: it is not.
    """
    for each in scan.files:
        try:
            state = os.stat(each.path)
        except OSError as error:
            raise _changed(scan.root, f"{each.location!r} went away") from error
        if not _is_same(each.state, state):
            raise _changed(scan.root, f"{each.location!r} was written to")
    for folder, modified_ns in scan.folders.items():
        try:
            state = os.stat(folder)
        except OSError as error:
            raise _changed(scan.root, f"the folder {folder!r} went away") from error
        if state.st_mtime_ns != modified_ns:
            raise _changed(scan.root, f"something was added to, or removed from, the folder {folder!r}")


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return _seen_of(one) == _seen_of(other)


def _batches(files: Sequence[_File], size: int) -> Iterator[Sequence[_File]]:
    return (files[at : at + size] for at in range(0, len(files), size))
