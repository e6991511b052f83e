"""The data of a run that lay in files: found, put beside the code, and compared with the recorded digests."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ModelDBError, ReproductionError
from modeldb_core.model.values import is_digest
from modeldb_core.reproduction.checkout import within
from modeldb_core.reproduction.command import literal, shown
from modeldb_core.tracking.data.cache import HashCache
from modeldb_core.tracking.data.checkout import check_out
from modeldb_core.tracking.data.files import find_files
from modeldb_core.trees import TreeStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.model.entities import DatasetVersion
    from modeldb_core.reproduction.record import Place, Recording
    from modeldb_core.reproduction.versions import Versions

FILE, FOLDER = "file", "folder"
EMPTY = hashlib.sha256().hexdigest()
"""The digest of an empty file, which is not read: what says of itself to be empty may be a device."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data set of a run that is a file or a folder.

    Attributes:
        role: what the run used it for.
        path: where it was, absolute.
        inside: the same, relative to the code; ``None`` where it lay elsewhere: the program opens it there.
        digest: of its content, as recorded.
        kind: file or folder.
        size_bytes: as recorded.
        entry: what the run says of it.
    """

    role: str
    path: str
    inside: str | None
    digest: str
    kind: str
    size_bytes: int
    entry: Mapping[str, Any]

    def line(self) -> str:
        """Return what is to be done, for people."""
        where = f"copied to {shown(self.inside)} unless the commit has it" if self.inside else "read there"
        return f"{shown(self.role)}: {self.kind} {shown(self.path)}, {where}, to have the SHA-256 {self.digest[:12]}…"


def data_files(recording: Recording) -> list[DataFile]:
    """Return the data sets that are files or folders. Of data in memory only the repeated run itself can tell more."""
    found = []
    for role, entry in recording.datasets.items():
        origin = entry.get("origin")
        if not isinstance(origin, Mapping) or origin.get("type") not in (FILE, FOLDER):
            continue
        path: Any = origin.get("path")
        digest: Any = entry.get("digest")
        size: Any = entry.get("size_bytes")
        is_path = isinstance(path, str) and posixpath.isabs(path) and "\0" not in path
        if not (is_path and is_digest(digest) and type(size) is int):  # what is shown holds no control characters
            msg = f"the record says of data set {shown(role)} that it is the {origin.get('type')} {literal(repr(path))[:200]}; expected an absolute path, a SHA-256 and a size"
            raise ReproductionError(msg)
        inside = recording.place.inside(path)
        found.append(DataFile(role, path, inside, digest, str(origin["type"]), size, entry))
    return found


def place_data(
    files: Sequence[DataFile],
    code: Path,
    versions: Versions,
    *,
    folder: Path | None = None,
    allow_changed: bool = False,
) -> list[str]:
    """See that the data is there and what it was; returns what is not, for people, where that is allowed.

    What lay beside the code is copied from where it was, or, where that is not what it was, taken from the artifact store,
    if its content was kept.

    Args:
        files: the data sets.
        code: the folder of the code, into which data is copied that lay beside the code.
        versions: knows the files of the data sets.
        folder: where to look for that in place of where it was.
        allow_changed: go on with data that is not what it was.

    Raises:
        ReproductionError: data is missing, or, unless that is allowed, changed.
    """
    gaps = []
    for data in files:
        version = versions.of(data.entry)
        target = None if data.inside is None else within(code / data.inside, code)
        is_beside = target is not None and not target.exists()  # else it is of the commit, or read where it was
        source = (folder / data.inside if folder and data.inside else Path(data.path)) if is_beside else target
        source = source or Path(data.path)
        problem = _difference(data, source, version, versions)
        if problem and target and is_beside and version and version.is_kept and not allow_changed:
            _check_out(data, version, versions, target)
            continue
        if problem and not (allow_changed and _is_there(data, source)):
            hint = "--data FOLDER names another place, --changed-data repeats the run with what is there"
            msg = f"{problem}. {hint}"
            raise ReproductionError(msg)
        if is_beside and target:
            _copy(source, target)
        gaps += [problem] if problem else []
    return gaps


def _check_out(data: DataFile, version: DatasetVersion, versions: Versions, target: Path) -> None:
    """Write kept content to where the program looks for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".modeldb-") as scratch:
        try:
            tree = TreeStore(versions.blobs).open(version.tree)
            root = check_out(tree, versions.blobs, Path(scratch) / "content")
        except ModelDBError as error:
            msg = f"the kept content of data set {shown(data.role)} cannot be checked out: {literal(str(error))}"
            raise ReproductionError(msg) from error
        content = root if data.kind == FOLDER else root / next((name for name, _ in tree.items(limit=1)), "")
        if problem := _difference(data, content, version, versions):  # the tree need not be that of the digest
            raise ReproductionError(problem)
        content.rename(target)


def copy_unrecorded(paths: Sequence[str], place: Place, code: Path, *, folder: Path | None = None) -> list[str]:
    """Copy what lay beside the code and is in no record, as it is now; returns what that means, for people.

    Args:
        paths: relative to the recorded code, as the user has named them.
        place: where the code lay.
        code: the folder of the code.
        folder: where to look in place of where the code lay.

    Raises:
        ReproductionError: there is nothing, or it does not belong beside the code.
    """
    for path in paths:
        target, source = within(code / path, code), (folder or Path(place.root)) / path
        if not source.exists():
            msg = f"there is no {shown(str(source))} to copy"
            raise ReproductionError(msg)
        if target.exists():
            msg = f"the code has {shown(path)} already, which is not replaced"
            raise ReproductionError(msg)
        _copy(source, target)
    return [f"{shown(path)} was copied as it is now: no record says what it was" for path in paths]


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore_dangling_symlinks=True)
        else:
            shutil.copyfile(source, target)
    except OSError as error:  # links in a circle, no space
        msg = f"{shown(str(source))} cannot be copied to {shown(str(target))}: {literal(str(error))[:500]}"
        raise ReproductionError(msg) from error


def _is_there(data: DataFile, path: Path) -> bool:
    """Return whether there is a file or a folder, as it was: neither a device nor a pipe."""
    return path.is_dir() if data.kind == FOLDER else path.is_file()


def _difference(data: DataFile, path: Path, version: DatasetVersion | None, versions: Versions) -> str:
    """Return how content at a path differs from the recorded; of a file the size is looked at before it is read."""
    role, place = shown(data.role), shown(str(path))
    if not _is_there(data, path):
        return f"data set {role} is missing: there is no {data.kind} {place}"
    if data.kind == FILE and path.stat().st_size != data.size_bytes:
        return f"data set {role} has changed: {place} has {path.stat().st_size:,} bytes now and had {data.size_bytes:,}"
    if data.kind == FILE and not data.size_bytes:
        digest, parts = EMPTY, {}
    else:
        exclude = version.info.get("exclude") if version is not None else None
        patterns = [each for each in exclude if isinstance(each, str)] if isinstance(exclude, (list, tuple)) else []
        try:
            found = find_files(path, HashCache(None), exclude=patterns, is_lenient=True)
        except (OSError, ModelDBError) as error:
            return f"data set {role} cannot be read: {literal(str(error))}"
        digest, parts = found.digest, {part.location: part.sha256 for part in found.parts}
    if digest == data.digest:
        return ""
    then = versions.files(version) if data.kind == FOLDER else {}
    names = sorted(name for name in parts.keys() | then.keys() if parts.get(name) != then.get(name)) if then else []
    more = (
        f" in {', '.join(map(shown, names[:_NAMED]))}" + (" and others" if len(names) > _NAMED else "") if names else ""
    )
    return f"data set {role} has changed{more}: {place} has the SHA-256 {digest} now and had {data.digest}"
