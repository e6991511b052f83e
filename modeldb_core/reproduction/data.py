"""The data of a run that lay in files: found, put beside the code, and compared with the recorded digests."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ModelDBError, ReproductionError
from modeldb_core.reproduction.checkout import within
from modeldb_core.reproduction.command import literal, shown
from modeldb_core.tracking.description.datasets import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.reproduction.record import Place, Recording

FILE, FOLDER = "file", "folder"
EMPTY = hashlib.sha256().hexdigest()
"""The digest of an empty file, which is not read: what says of itself to be empty may be a device."""


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
    """

    role: str
    path: str
    inside: str | None
    digest: str
    kind: str
    size_bytes: int

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
        if not (is_path and isinstance(digest, str) and type(size) is int):
            msg = f"the record says of data set {shown(role)} that it is the {origin.get('type')} {literal(repr(path))[:200]}; expected an absolute path, a digest and a size"
            raise ReproductionError(msg)
        inside = recording.place.inside(path)
        found.append(DataFile(role, path, inside, digest, str(origin["type"]), size))
    return found


def place_data(
    files: Sequence[DataFile], code: Path, *, folder: Path | None = None, allow_changed: bool = False
) -> list[str]:
    """See that the data is there and what it was; returns what is not, for people, where that is allowed.

    Args:
        files: the data sets.
        code: the folder of the code, into which data is copied that lay beside the code.
        folder: where to look for that in place of where it was.
        allow_changed: go on with data that is not what it was.

    Raises:
        ReproductionError: data is missing, or, unless that is allowed, changed.
    """
    return [gap for each in files if (gap := _place(each, code, folder, allow_changed))]


def _place(data: DataFile, code: Path, folder: Path | None, allow_changed: bool) -> str:
    if data.inside is None:
        return _verified(data, Path(data.path), allow_changed)
    target = within(code / data.inside, code)
    if target.exists():  # of the commit
        return _verified(data, target, allow_changed)
    source = Path(data.path) if folder is None else folder / data.inside
    gap = _verified(data, source, allow_changed)
    _copy(source, target)
    return gap


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
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _verified(data: DataFile, path: Path, allow_changed: bool) -> str:
    """Return what is wrong with the content at a path; "" where nothing is."""
    if not (path.is_dir() if data.kind == FOLDER else path.is_file()):  # neither a device nor a pipe
        msg = f"data set {shown(data.role)} is missing: there is no {data.kind} {shown(str(path))}; --data FOLDER names another place"
        raise ReproductionError(msg)
    problem = _difference(data, path)
    if problem and not allow_changed:
        msg = f"{problem}. --changed-data repeats the run with it all the same"
        raise ReproductionError(msg)
    return problem


def _difference(data: DataFile, path: Path) -> str:
    """Return how content differs from the recorded; of a file the size is looked at first, so that none is read in vain."""
    try:
        size = path.stat().st_size if data.kind == FILE else data.size_bytes
        if size != data.size_bytes:
            now, then = f"{size} bytes", f"{data.size_bytes} bytes"
        else:
            now, then = describe(path)["digest"] if size or data.kind == FOLDER else EMPTY, data.digest
    except (OSError, ModelDBError) as error:
        return f"data set {shown(data.role)} cannot be read: {literal(str(error))}"
    if now == then:
        return ""
    return f"data set {shown(data.role)} has changed: {shown(str(path))} has {now} now and had {then}"
