"""What both stores need: the folder that a URL names, and errors of the system as errors of ModelDB."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

Durability = Literal["normal", "fsync"]

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def folder_of(url: str) -> Path:
    """Return the folder that a URL names: ``ledger:///absolute/path``."""
    path = unquote(url.removeprefix("ledger://"))
    if not url.startswith("ledger://") or not path.startswith("/") or "?" in url or "\0" in path:
        msg = (
            f"{url!r} names no folder; write ledger:///absolute/path, and options under [stores.ledger] in modeldb.toml"
        )
        raise ConfigurationError(msg)
    return Path(path)


def check_durability(durability: str) -> bool:
    """Return whether to wait for the disk."""
    if durability not in ("normal", "fsync"):
        msg = f"durability {durability!r} is unknown; expected 'normal' or 'fsync'"
        raise ConfigurationError(msg)
    return durability == "fsync"


@contextmanager
def sentences(path: Path | str) -> Iterator[None]:
    """Let no ``OSError`` pass: say what cannot be done, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            msg = f"{path} may not be written: {error.strerror}; check its permissions, or choose another folder"
            raise StoreReadOnlyError(msg) from error
        if error.errno == errno.ENOSPC:
            msg = f"the disk that holds {path} is full; free space, and send again"
            raise StoreUnavailableError(msg) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            msg = f"{path} cannot be used: {error.strerror}: {error.filename}; choose another folder"
            raise ConfigurationError(msg) from error
        msg = f"{path} cannot be read or written now: {error}"
        raise StoreUnavailableError(msg) from error


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
