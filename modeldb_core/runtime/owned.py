"""Files and folders of this user: opened by descriptor without following links, and removed only where they are ours.

A folder may be shared, unpacked or prepared by somebody. So what is read, written over or removed there is looked at
first, through the folder that is held open: a name that becomes a link meanwhile leads nowhere else.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.runtime.disk import PRIVATE

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_HAS_DESCRIPTORS = {os.open, os.unlink, os.stat, os.rmdir, os.rename, os.mkdir} <= os.supports_dir_fd
"""Not on Windows, where paths have to do."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe would wait for its other end
_FOLDER = getattr(os, "O_DIRECTORY", 0)

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class NotOursError(OSError):
    """A name does not stand for what this user made there; the message says what it stands for."""


class Folder:
    """A folder that is held open. All names are those of its entries, without a separator.

    Attributes:
        path: where it was when it was opened; for messages.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, is_given: bool = False) -> Folder:
        """Open a folder by its path.

        Args:
            is_given: the user named it, so it may be a link and belong to anybody.

        Raises:
            NotOursError: it is not a folder, or, unless ``is_given``, a link or somebody else's.
            OSError: it is not there, or may not be read.
        """
        return cls._open(path, path, None, is_given=is_given)

    def folder(self, name: str) -> Folder:
        """Open a folder in it; raises as :meth:`open`."""
        return self._open(self.path / name, self._at(name), self._descriptor, is_given=False)

    @classmethod
    def _open(cls, path: Path, at: str | Path, within: int | None, *, is_given: bool) -> Folder:
        if not is_given:  # a pipe or a link is refused before it is opened, so that the message names it
            _check(os.stat(at, dir_fd=within, follow_symlinks=False), path, stat.S_IFDIR)
        if not _HAS_DESCRIPTORS:
            return cls(path, None)
        descriptor = os.open(at, os.O_RDONLY | PRIVATE | _FOLDER | (0 if is_given else _NO_LINK), dir_fd=within)
        try:
            if not is_given:
                _check(os.fstat(descriptor), path, stat.S_IFDIR)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def names(self) -> list[str]:
        """Return the names of what lies in it, sorted."""
        return sorted(os.listdir(self.path if self._descriptor is None else self._descriptor))

    def stat(self, name: str) -> os.stat_result:
        """Return what an entry is; of a link, the link itself."""
        return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)

    def open_file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file in it as :func:`open_file` does; return its descriptor."""
        return _open_file(self.path / name, self._at(name), self._descriptor, flags)

    def unlink(self, name: str) -> bool:
        """Remove a file of this user; return whether it is gone. What is not a file, or not ours, stays."""
        try:
            _check(self.stat(name), self.path / name, stat.S_IFREG)
            os.unlink(self._at(name), dir_fd=self._descriptor)
        except FileNotFoundError:
            return True
        except NotOursError:
            return False
        return True

    def rmdir(self, name: str) -> bool:
        """Remove an empty folder in it; return whether it is gone."""
        try:
            os.rmdir(self._at(name), dir_fd=self._descriptor)
        except FileNotFoundError:
            return True
        except OSError:  # it is not empty, or no folder
            return False
        return True

    def rename(self, name: str, new: str) -> None:
        """Give an entry another name."""
        os.rename(self._at(name), self._at(new), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def replace_file(self, name: str, content: bytes) -> None:
        """Write a file of this user at once and whole, over what has its name."""
        unborn = f".{name}.{os.urandom(8).hex()}"
        descriptor = self.open_file(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
            finally:
                os.close(descriptor)
            os.replace(self._at(unborn), self._at(name), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with suppress(OSError):
                self.unlink(unborn)
            raise

    def _at(self, name: str) -> str | Path:
        if not name or name in (".", "..") or "/" in name or os.sep in name or "\0" in name:
            msg = f"{name!r} is not the name of an entry of {self.path}"
            raise ValueError(msg)
        return self.path / name if self._descriptor is None else name


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file of this user, and nothing else; one that is made can be read by this user only.

    Raises:
        NotOursError: it is a link, a pipe, a folder or such, or belongs to another user.
        OSError: it is not there, or cannot be opened.
    """
    return _open_file(path, path, None, flags)


def check_file(path: Path) -> None:
    """Raise unless ``path`` is a regular file of this user, or nothing is there; the file is not opened.

    Raises:
        NotOursError: as of :func:`open_file`.
    """
    with suppress(FileNotFoundError):
        _check(path.lstat(), path, stat.S_IFREG)


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file of this user.

    Raises:
        NotOursError: as of :func:`open_file`; or it has more than ``most_bytes``.
        OSError: it is not there, or cannot be read.
    """
    with os.fdopen(open_file(path), "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        msg = f"{path} has more than {most_bytes:,} bytes"
        raise NotOursError(msg)
    return content


def make_private(path: str | Path) -> None:
    """Make a folder that only this user may look into, and what it lies in; one that is there stays as it is.

    So who makes a folder for several users lets them in, and nobody else does.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def make_folder(path: Path) -> Folder:
    """Open a folder of this user, making it (for this user only) and what it lies in where it is missing.

    Raises:
        NotOursError: there is something else of that name, or it belongs to another user.
        OSError: it cannot be made.
    """
    with suppress(FileNotFoundError):
        return Folder.open(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    return Folder.open(path)


def unlink_file(path: Path) -> bool:
    """Remove a file of this user from a folder of this user; return whether it is gone."""
    try:
        with Folder.open(path.parent) as folder:
            return folder.unlink(path.name)
    except FileNotFoundError:
        return True


def user_suffix() -> str:
    """Return what tells the folders of the users apart who share one, as the end of a name."""
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"


def _open_file(path: Path, at: str | Path, within: int | None, flags: int) -> int:
    if not flags & os.O_EXCL:
        with suppress(FileNotFoundError):
            _check(os.stat(at, dir_fd=within, follow_symlinks=False), path, stat.S_IFREG)
    descriptor = os.open(at, flags | PRIVATE | _NO_LINK | _NO_WAIT, 0o600, dir_fd=within)
    try:
        _check(os.fstat(descriptor), path, stat.S_IFREG)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(found: os.stat_result, path: Path, kind: int) -> None:
    """Raise unless an entry is of a kind, and this user's.

    A file with several names (hard links) passes: backups make them, and only its owner's files count anyway.
    """
    if stat.S_IFMT(found.st_mode) != kind:
        msg = f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not {_KINDS[kind]}"
        raise NotOursError(msg)
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        msg = f"{path} belongs to {_user_name(found.st_uid)}, not to this user"
        raise NotOursError(msg)


def _user_name(user_id: int) -> str:
    import pwd

    try:
        return f"the user {pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"the user {user_id}"
