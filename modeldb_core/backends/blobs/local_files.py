"""A folder of this machine, as the blob store uses it: without a layer between it and the system."""

from __future__ import annotations

import errno
import io
import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from modeldb_core.backends._folders import inside, refuse_links
from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError
from modeldb_core.runtime import disk, owned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.backends._fsspec_errors import Doing
from modeldb_core.errors import ModelDBError

_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ORPHAN_S = 24 * 3600.0  # after a day, nobody is still writing a temporary file


class LocalFiles:
    """The files below a folder, by their path relative to it.

    Temporary files lie in a folder that only this user can look into, one for each user because several may share a
    store. Those that a killed process left are removed a day later, when another one writes.
    """

    failures: tuple[type[Exception], ...] = (OSError,)
    """What goes wrong in a file system; anything else is a fault of ours."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self._temporary = f"{self.root}/.incoming-{owned.user_suffix()}"
        self._is_swept = False

    def create(self) -> tuple[str, BinaryIO]:
        """Return the name of a new temporary file, and the file.

        Raises:
            NotOursError: another user, or a link, has the place of this user's temporary files.
        """
        name = self.temporary(uuid.uuid4().hex)
        return name, cast("BinaryIO", io.FileIO(self._make(name, _CREATE), "wb"))

    def temporary(self, name: str) -> str:
        """Return where a temporary file of this name lies, which :meth:`publish` and :meth:`discard` take."""
        return f"{self._temporary}/{name}"

    def open_temporary(self, name: str, *, may_create: bool) -> int:
        """Open the temporary file ``name`` for reading and writing; raises FileNotFoundError.

        Args:
            may_create: an empty one is made where there is none.
        """
        if may_create:
            return self._make(name, _UPDATE | os.O_CREAT)
        return os.open(name, _UPDATE)

    def _make(self, name: str, flags: int) -> int:
        if not self._is_swept:
            with suppress(FileNotFoundError):
                owned.Folder.open(Path(self._temporary)).close()
        try:
            descriptor = os.open(name, flags, 0o666)
        except FileNotFoundError:
            owned.make_private(self.root)
            owned.make_folder(Path(self._temporary)).close()
            descriptor = os.open(name, flags, 0o666)
        if not self._is_swept:
            self._is_swept = True
            self._sweep()
        return descriptor

    def publish(self, name: str, path: str) -> None:
        """Give a temporary file its place, at once and whole, over what may be there."""
        folder = path.rpartition("/")[0]
        if not refuse_links(self.root, folder):
            with suppress(FileExistsError):
                os.mkdir(f"{self.root}/{folder}")
        os.replace(name, f"{self.root}/{path}")

    def discard(self, name: str) -> None:
        """Remove a temporary file."""
        with suppress(OSError):
            os.unlink(name)

    def stat(self, path: str) -> tuple[int, float | None]:
        """Return the size of a file, and when it was written or touched; raises FileNotFoundError."""
        found = os.stat(f"{self.root}/{path}")
        return found.st_size, found.st_mtime

    def touch(self, path: str) -> bool:
        """Make a file young; False where another user's may not be touched. Raises FileNotFoundError."""
        try:
            os.utime(f"{self.root}/{path}")
        except PermissionError:
            return False
        return True

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; raises FileNotFoundError."""
        return cast("BinaryIO", io.FileIO(disk.open_regular(f"{self.root}/{path}", follow=True), "rb"))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder; none where it is not there."""
        try:
            return sorted(os.listdir(f"{self.root}/{folder}"))
        except FileNotFoundError:
            return []

    def walk(self) -> Iterator[tuple[str, int, float | None]]:
        """Iterate over all files one folder down: name, size, and when it was written or touched."""
        # Through no link: what lies behind one is not the store's to remove.
        folders = [entry.path for entry in _entries(self.root) if entry.is_dir(follow_symlinks=False)]
        for entry in (entry for folder in folders for entry in _entries(folder)):
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield entry.name, found.st_size, found.st_mtime

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        folder, _, name = path.rpartition("/")
        with suppress(FileNotFoundError), inside(self.root, folder) as opened:
            opened.remove(name)

    def remove_stale(self, path: str, before: float) -> bool:
        """Remove a file unless it was written or touched since ``before``; return whether it was removed.

        It is taken aside before it is looked at: who touches it before that is seen, who comes after it writes it again.
        """
        refuse_links(self.root, path.rpartition("/")[0])
        aside = f"{self._temporary}/{uuid.uuid4().hex}"
        owned.make_folder(Path(self._temporary)).close()
        try:
            os.rename(f"{self.root}/{path}", aside)
        except FileNotFoundError:
            return False
        is_stale = os.stat(aside).st_mtime < before
        if not is_stale:
            with suppress(FileExistsError):
                os.link(aside, f"{self.root}/{path}")
        os.unlink(aside)
        return is_stale

    def url_for(self, path: str, expires_s: int) -> str | None:
        """Return ``None``: nobody else can read a folder of this machine."""
        del path, expires_s
        return None

    def translate(self, error: Exception, doing: Doing) -> ModelDBError:
        """Return the error of the contract for one of the system."""
        del doing
        where = f"file://{self.root}"
        number = getattr(error, "errno", None)
        if isinstance(error, owned.NotOursError):
            msg = f"temporary files for {where} have no safe place: {error}; remove what is there, or ask its owner to"
            return StoreReadOnlyError(msg)
        if number in _READ_ONLY:
            msg = f"this process may not use {where} that way: {error}; check its permissions"
            return StoreReadOnlyError(msg)
        cause = "it is full" if number in _FULL else str(error)
        return StoreUnavailableError(f"{where} cannot be used now: {cause}; the same call may succeed later")

    def _sweep(self) -> None:
        oldest = time.time() - _ORPHAN_S
        with suppress(OSError), owned.Folder.open(Path(self._temporary)) as folder:
            for name in folder.names():
                if _TEMPORARY.fullmatch(name) and folder.stat(name).st_mtime < oldest:
                    folder.unlink(name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


_TEMPORARY = re.compile("([0-9a-f]{32}){1,2}")
_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN
_UPDATE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | _PLAIN
