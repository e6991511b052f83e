"""A store that is a folder of this machine: nothing below it is reached through a link, least of all to be removed.

The folder itself may be a link, since the user named it. What lies in it may be anybody's who may write there.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HAS_DESCRIPTORS = {os.open, os.unlink, os.rmdir} <= os.supports_dir_fd  # not on Windows, where paths have to do
_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Opened:
    """A folder that is held open, so that no link takes its place meanwhile."""

    def __init__(self, path: str, descriptors: list[int]) -> None:
        self._path = path
        self._descriptors = descriptors

    def remove(self, name: str) -> None:
        """Remove a file in it."""
        if self._descriptors:
            os.unlink(name, dir_fd=self._descriptors[-1])
        else:
            os.unlink(f"{self._path}/{name}")

    def remove_itself(self) -> None:
        """Remove it where it is empty."""
        with suppress(OSError):
            if len(self._descriptors) > 1:
                os.rmdir(os.path.basename(self._path), dir_fd=self._descriptors[-2])
            else:
                os.rmdir(self._path)


@contextmanager
def inside(root: str, folder: str) -> Iterator[Opened]:
    """Hold a folder below ``root`` open.

    Raises:
        ConfigurationError: something on the way there is a link.
        FileNotFoundError: it is not there.
    """
    refuse_links(root, folder)
    path, opened = root, list[int]()
    try:
        if _HAS_DESCRIPTORS:
            opened.append(os.open(root, os.O_RDONLY))
        for part in filter(None, folder.split("/")):
            path = f"{path}/{part}"
            if _HAS_DESCRIPTORS:
                opened.append(os.open(part, _FLAGS, dir_fd=opened[-1]))
        yield Opened(path, opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def refuse_links(root: str, folder: str) -> bool:
    """Refuse a folder below ``root`` that is a link, or lies behind one; return whether it is there.

    Raises:
        ConfigurationError: it names the link.
    """
    path = root
    for part in filter(None, folder.split("/")):
        path = f"{path}/{part}"
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False
        if is_link:
            msg = f"{path} is a link, and nothing in a store may lead out of it; move what it leads to there, or name that"
            raise ConfigurationError(msg)
    return True
