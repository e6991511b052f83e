"""The file of a SQLite database and the folder that it lies in."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "sqlite:///"


def make_private(path: Path) -> None:
    """Make an empty file that nobody else may read, which SQLite then fills; one that is there stays as it is.

    The files that SQLite puts beside a database have the mode of the database, so ``chmod`` opens it to others for good.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def prepare_folder(path: Path, *, create: bool) -> bool:
    """Make the folder of a database where it is missing; return whether files may be made in it.

    Raises:
        StoreReadOnlyError: there is no file, and it may not be made.
        ConfigurationError: the path leads to or through something that is not what it must be.
    """
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):
            msg = f"{path} is not a file; name one, such as {PREFIX}{path / 'modeldb.db'}"
            raise ConfigurationError(msg)
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(path.parent, os.W_OK | os.X_OK)
        exists = path.exists()
        if create and is_writable and not exists:
            make_private(path)
            exists = True
    except PermissionError as error:
        msg = f"{path} cannot be opened: {error.strerror}: {error.filename}; choose a path that this user may use"
        raise StoreReadOnlyError(msg) from error
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"{path} cannot be created: {error.filename} is not a folder"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be created: {error}"
        raise (StoreReadOnlyError if error.errno == errno.EROFS else StoreUnavailableError)(msg) from error
    if not exists and not (create and is_writable):
        why = f"the folder {path.parent} may not be written" if create else "it was to be opened for reading only"
        msg = f"{path} does not exist, and {why}; choose another path"
        raise StoreReadOnlyError(msg)
    return is_writable


def may_write(path: Path) -> bool:
    """Return whether a file may be written, or made where it is missing."""
    return not path.exists() or os.access(path, os.W_OK)
