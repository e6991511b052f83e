"""Writing the content of a version into a folder: whole or not at all, and never over what is there unasked.

A tree may be a stranger's. Everything is written into a new folder beside the target, each file under a name that must not be
there yet and by no link, and checked against its digest; then that folder takes the target's name.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from modeldb_core.errors import AlreadyExistsError, IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores.reading import Wanted, contents, groups
from modeldb_core.trees import blob_of, check_path
from modeldb_core.trees.folders import check_apart, make_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.stores.reading import ReadableBlobs
    from modeldb_core.trees import Tree

_CHUNK_BYTES = 1 << 20
_WORKERS = 8
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def check_out(
    tree: Tree,
    blobs: ReadableBlobs,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the files of a tree into a folder, which is there whole when this returns, or as it was before.

    Args:
        tree: whose entries name blobs below ``observed``.
        blobs: where these are.
        folder: a new one, or an empty one.
        overwrite: whether what lies in it is replaced by the files of the tree.
        progress: called with files that are written, and files in all.

    Returns:
        The folder.

    Raises:
        AlreadyExistsError: something is there, and ``overwrite`` is not set; or it is no folder.
        NotFoundError: the content was not kept, or is not there any more.
        IntegrityError: a blob is not the one that the tree names.
        InvalidArgumentError: a location cannot be a path within the folder on this machine.
    """
    target = Path(os.path.abspath(folder))
    check_target(target, overwrite=overwrite)
    entries = dict(tree.items())
    missing = next((location for location, entry in entries.items() if blob_of(entry) is None), None)
    if missing is not None:
        msg = f"the content of {missing!r} was not kept; add the version with keep=True to check it out later"
        raise NotFoundError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    replaced = private / "replaced"
    try:
        unborn = private / "content"
        unborn.mkdir()
        _write_all(entries, blobs, unborn, progress)
        _take_place(unborn, target, replaced, overwrite=overwrite)
    finally:
        if replaced.exists() and not os.path.lexists(target):  # interrupted, or refused, in between
            os.rename(replaced, target)
        remove_folder(private)
    return target


def check_target(target: Path, *, overwrite: bool) -> None:
    """See that a folder may be written.

    Raises:
        AlreadyExistsError: something is there that is not to be replaced.
    """
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        msg = f"{str(target)!r} is not a folder; name a new one"
        raise AlreadyExistsError(msg)
    if not overwrite and next(target.iterdir(), None) is not None:
        msg = f"the folder {str(target)!r} is not empty; name a new one, or overwrite it"
        raise AlreadyExistsError(msg)


def _write_all(
    entries: Mapping[str, Mapping[str, Any]],
    blobs: ReadableBlobs,
    root: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    paths = {location: _path_within(root, location) for location in entries}
    check_apart(entries, root)
    for folder in sorted({path.parent for path in paths.values()}):
        try:
            make_folder(folder)
        except (FileExistsError, NotADirectoryError) as error:
            msg = f"{str(folder.relative_to(root))!r} would be a file and a folder; the tree is not one of a folder"
            raise IntegrityError(msg) from error
        except OSError as error:
            msg = f"{str(folder.relative_to(root))!r} cannot be a folder on this machine: {error.strerror or error}"
            raise InvalidArgumentError(msg) from error

    def fetch(group: Sequence[Wanted[str]]) -> int:
        for location, stream in contents(blobs, group):
            with stream:
                _write(stream, paths[location], location)
        return len(group)

    wanted = (_wanted(entry, location) for location, entry in entries.items())
    done = 0
    for more in Workers(_WORKERS, "modeldb-fetch").map(fetch, groups(wanted)):
        done += more
        if progress is not None:
            progress(done, len(entries))


def _wanted(entry: Mapping[str, Any], location: str) -> Wanted[str]:
    digest = blob_of(entry)
    assert digest is not None
    if entry.get("sha256", digest) != digest:
        msg = f"{location!r} names the blob {digest}, which is not the content it was added with; the tree was altered"
        raise IntegrityError(msg)
    return Wanted(location, digest, entry.get("size_bytes", 0))


def _write(stream: BinaryIO, path: Path, location: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError as error:
        msg = f"{location!r} and another file have one name on this machine; check it out where names differ in case"
        raise InvalidArgumentError(msg) from error
    except OSError as error:
        msg = f"{location!r} cannot be a file on this machine: {error.strerror or error}"
        raise InvalidArgumentError(msg) from error
    with os.fdopen(descriptor, "wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)


def _path_within(root: Path, location: str) -> Path:
    return root.joinpath(*PurePosixPath(check_path(location)).parts)


def _take_place(unborn: Path, target: Path, replaced: Path, *, overwrite: bool) -> None:
    check_target(target, overwrite=overwrite)
    if target.exists():
        os.rename(target, replaced)
    os.rename(unborn, target)
