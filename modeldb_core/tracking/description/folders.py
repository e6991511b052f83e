"""What lies in a folder: links are followed, and what cannot be read is named and not passed over."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.errors import FolderChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(slots=True)
class Scanned:
    """The content of a folder.

    Attributes:
        root: the folder.
        files: by path within it, with ``/``: where the file is, in the order of the paths.
        left_out: by path within it, why something is not among the files.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Say of a file that went away since the scan that the folder changed."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise changed(self.root, name) from error


def changed(root: Path, name: str) -> FolderChangedError:
    """Return the error for a folder in which something went away while it was read."""
    return FolderChangedError(
        f"the folder {str(root)!r} changed while it was read: {name!r} went away; nothing of it is recorded. Log it when "
        "nothing writes into it, or log a copy"
    )


def scan(root: Path, is_left_out: Callable[[Path], str | None] | None = None) -> Scanned:
    """Return what lies in a folder and below it.

    Args:
        is_left_out: returns why a file or folder is to be left out, ``None``: it is not.

    Raises:
        FolderChangedError: the folder itself went away meanwhile.
        PermissionError: it may not be read.
    """
    found = Scanned(root)
    _scan(found, root, "", (_identity(root),), is_left_out)
    found.files = dict(sorted(found.files.items()))
    return found


def _scan(
    found: Scanned,
    folder: Path,
    prefix: str,
    above: tuple[tuple[int, int], ...],
    is_left_out: Callable[[Path], str | None] | None,
) -> None:
    for name in _names(found, folder, prefix):
        path, inside = folder / name, f"{prefix}{name}"
        reason = is_left_out(path) if is_left_out is not None else None
        try:
            state = path.stat()
        except FileNotFoundError:
            if not path.is_symlink():
                raise changed(found.root, inside) from None
            reason = reason or f"a link to {os.readlink(path)!r}, where there is nothing"
        except OSError as error:  # a link to itself, among others
            reason = reason or f"cannot be read: {error.strerror or error}"
        if reason is not None:
            found.left_out[inside] = reason
        elif stat.S_ISDIR(state.st_mode):
            identity = (state.st_dev, state.st_ino)
            if identity in above:
                found.left_out[inside] = "a link back to a folder that it lies in"
            else:
                _scan(found, path, f"{inside}/", (*above, identity), is_left_out)
        elif not stat.S_ISREG(state.st_mode):
            found.left_out[inside] = f"not a file but {KINDS.get(stat.S_IFMT(state.st_mode), 'something else')}"
        elif not os.access(path, os.R_OK):
            found.left_out[inside] = "cannot be read: permission denied"
        else:
            found.files[inside] = path


def _names(found: Scanned, folder: Path, prefix: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise changed(found.root, prefix or ".") from None
    except OSError as error:
        if not prefix:
            raise
        found.left_out[prefix.rstrip("/")] = f"cannot be read: {error.strerror or error}"
        return []


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def name_left_out(left_out: dict[str, str], most: int = 5) -> str:
    """Return in words what was left out and why, the first few of it."""
    named = [f"{name!r} ({reason})" for name, reason in list(left_out.items())[:most]]
    more = len(left_out) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")
