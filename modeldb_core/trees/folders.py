"""Folders of this machine into which trees are written: as deep as locations are, on file systems of any kind."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, however many: ``Path.mkdir`` and ``os.makedirs`` call themselves for each."""
    missing: list[Path] = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and all that is in it, however deep, as far as that is possible; links in it are not followed."""
    folders = [path]
    for folder in folders:  # it grows
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                with suppress(OSError):
                    os.unlink(entry.path)
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def content_of(path: Path) -> Iterator[Path]:
    """Iterate over all that is in a folder, however deep; links are not followed."""
    folders = [path]
    for folder in folders:  # it grows
        for entry in _entries(folder):
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))


def folders_of(location: str) -> list[str]:
    """Return the folders in which a location lies: of ``a/b/c`` ``a/b`` and ``a``."""
    parts = location.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def check_apart(names: Iterable[str], root: Path) -> None:
    """See that files that are to be written below a folder, and the folders they are in, have names of their own there.

    A file system that ignores case, or how an accent is written, would put two of them in one place.

    Raises:
        InvalidArgumentError: two of them have one name on that file system; it names both.
    """
    known: dict[str, str] = {}
    answers: dict[bool, bool] = {}  # by whether two names differ in case
    seen: set[str] = set()
    for name in names:
        for each in (name, *folders_of(name)):
            if each in seen:
                break  # and so are those above it
            seen.add(each)
            other = known.setdefault(unicodedata.normalize("NFC", each).casefold(), each)
            if other == each:
                continue
            in_case = unicodedata.normalize("NFC", each) != unicodedata.normalize("NFC", other)
            if in_case not in answers:
                answers[in_case] = are_one(root, other, each)
            if answers[in_case]:
                msg = (
                    f"{other!r:.200} and {each!r:.200} have one name on the file system of {str(root)!r}; check it out where "
                    f"names differ in case and accents. Nothing was written"
                )
                raise InvalidArgumentError(msg)


def are_one(root: Path, one: str, other: str) -> bool:
    """Return whether two paths that look alike are one on the file system of a folder: it is tried, in a folder that goes again."""
    while not root.is_dir():
        root = root.parent
    first, second = next(pair for pair in zip(one.split("/"), other.split("/"), strict=False) if pair[0] != pair[1])
    try:
        with tempfile.TemporaryDirectory(prefix=".modeldb-", dir=root) as folder:
            Path(folder, first).touch()
            return os.path.lexists(Path(folder, second))
    except OSError:
        return False  # it cannot be written; who writes there next will say so


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []
