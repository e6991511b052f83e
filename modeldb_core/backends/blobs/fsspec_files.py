"""The files below a URL of fsspec, as the blob store uses them."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.backends._fsspec import Remote, split_url
from modeldb_core.backends._fsspec_errors import translate
from modeldb_core.stores import REFRESH_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.backends._fsspec_errors import Doing
    from modeldb_core.errors import ModelDBError

_INCOMING = ".incoming"
_ORPHAN_S = 24 * 3600.0  # after a day, nobody is still writing a temporary file
_IN_MEMORY = "memory://modeldb-artifacts"
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class FsspecFiles:
    """The files below a URL.

    Temporary ones lie in a folder ``.incoming``. Those that a killed process left are removed a day later, when another
    one writes.
    """

    failures: tuple[type[Exception], ...] = (Exception,)
    """A driver raises what it likes."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        bare, driver, _ = split_url(_IN_MEMORY if url == "memory://" else url, options, {})
        self._remote = Remote(bare, driver)
        self._is_swept = False

    def create(self) -> tuple[str, BinaryIO]:
        """Return the name of a new temporary file, and the file."""
        folder = self._path(_INCOMING)
        fs = self._remote.fs
        fs.makedirs(folder, exist_ok=True)
        if not self._is_swept:
            self._is_swept = True
            self._sweep(folder)
        name = f"{folder}/{uuid.uuid4().hex}"
        return name, cast("BinaryIO", fs.open(name, "wb"))

    def publish(self, name: str, path: str) -> None:
        """Give a temporary file its place, over what may be there."""
        target = self._path(path)
        self._remote.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._remote.fs.mv(name, target)

    def discard(self, name: str) -> None:
        """Remove a temporary file."""
        with suppress(Exception):
            self._remote.fs.rm_file(name)

    def stat(self, path: str) -> tuple[int, float | None]:
        """Return the size of a file, and when it was written where that is known; raises FileNotFoundError."""
        return _stated(self._remote.fs.info(self._path(path)))

    def touch(self, path: str) -> bool:
        """Copy a file onto itself where it is no longer young: object stores offer nothing else."""
        _, modified = self.stat(path)
        if modified is not None and time.time() - modified > REFRESH_S / 2:
            self._remote.fs.cp_file(self._path(path), self._path(path))
        return True

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; raises FileNotFoundError."""
        return cast("BinaryIO", self._remote.fs.open(self._path(path), "rb"))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder; none where it is not there."""
        try:
            paths = self._remote.fs.find(self._path(folder))
        except FileNotFoundError:
            return []
        return sorted(path.rpartition("/")[2] for path in paths)

    def walk(self) -> Iterator[tuple[str, int, float | None]]:
        """Iterate over all files but temporary ones: name, size, and when it was written."""
        for path, info in self._remote.fs.find(self._remote.root, detail=True).items():
            if f"/{_INCOMING}/" not in path:
                yield (path.rpartition("/")[2], *_stated(info))

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._remote.fs.rm_file(self._path(path))

    def url_for(self, path: str, expires_s: int) -> str | None:
        """Return ``None``: each driver has its own way to ask that a browser must not show the content."""
        del path, expires_s
        return None

    def translate(self, error: Exception, doing: Doing) -> ModelDBError:
        """Return the error of the contract for one of the driver."""
        return translate(error, self._remote.url, doing)

    def _path(self, path: str) -> str:
        return f"{self._remote.root}/{path}"

    def _sweep(self, folder: str) -> None:
        with suppress(Exception):
            for name, info in self._remote.fs.find(folder, detail=True).items():
                _, modified = _stated(info)
                if modified is not None and time.time() - modified > _ORPHAN_S:
                    self.discard(name)


def _stated(info: Mapping[str, Any]) -> tuple[int, float | None]:
    """Return the size of a file and the time of its last change, which each file system calls by a name of its own."""
    found = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if isinstance(found, datetime):
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return int(info["size"]), None if found is None else float(found)
