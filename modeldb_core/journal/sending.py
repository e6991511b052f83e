"""Sending files of a spool to an artifact store: large ones one by one, many small ones in one request."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.errors import IntegrityError, ModelDBError
from modeldb_core.runtime.owned import Folder
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import BlobInfo, check_stored, put_together
from modeldb_core.stores.blob_batches import MAX_BLOBS, MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore

WIDTH = 4
SMALL_BYTES = 256 << 10
"""What is longer goes by itself: the time for its bytes is longer than that for a request."""
_TOGETHER_BYTES = MAX_BYTES - 4096


class StoppedError(Exception):
    """The upload was called off; what has arrived of it can be used by the next one."""


def ship(
    paths: Iterable[Path],
    artifacts: ArtifactStore,
    advance: Callable[[int], None] | None = None,
    stopped: threading.Event | None = None,
    *,
    folder: Folder | None = None,
) -> None:
    """Send files of a spool, several at a time, and wait for them; each is removed once the store has it.

    One whose content is not that of its name keeps no other from being sent.

    Args:
        paths: their names are their digests.
        folder: the open folder that they lie in, to be sure of that.
        artifacts: where they go.
        advance: told how many more bytes were taken.
        stopped: calls it off.

    Raises:
        StoppedError: it was called off.
        ModelDBError: what the store said of the first one that it did not take.
    """
    workers = Workers(WIDTH, "modeldb-upload")
    stopped = stopped or threading.Event()
    deliver = partial(_send_group, artifacts=artifacts, advance=advance or _ignore, stopped=stopped, folder=folder)
    futures = [workers.submit(partial(deliver, group)) for group in _groups(paths)]
    damaged: IntegrityError | None = None
    try:
        for future in futures:
            try:
                future.result()
            except IntegrityError as error:
                damaged = damaged or error
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    if damaged is not None:
        raise damaged


def send(
    path: Path,
    artifacts: ArtifactStore,
    advance: Callable[[int], None],
    stopped: threading.Event,
    folder: Folder | None = None,
) -> None:
    """Put a file whose name is its digest into a store, and remove it.

    It is put even where the store has it: so the blob is young, and is not collected before it is named.

    Args:
        folder: the open folder that it lies in; opened here where it is not given.

    Raises:
        NotOursError: it is a link, not a file or not this user's, or the folder is.
    """
    if folder is None:
        with Folder.open(path.parent) as opened:
            send(path, artifacts, advance, stopped, opened)
        return
    with os.fdopen(folder.open_file(path.name), "rb", buffering=0) as file:
        reading = cast("BinaryIO", _Reading(file, advance, stopped))
        info = artifacts.put(reading, digest=path.name)
        check_stored(info, BlobInfo(path.name, os.fstat(file.fileno()).st_size), artifacts.url)
    folder.unlink(path.name)


def together_with(path: Path, sizes: Mapping[Path, int]) -> list[Path]:
    """Return a file and those others of its folder that go with it in one request: small ones, the first of them.

    Args:
        path: the file.
        sizes: of all files that wait, in bytes, this one included.
    """
    group, size = [path], sizes[path]
    if size > SMALL_BYTES:
        return group
    for other, more in sizes.items():
        if len(group) == MAX_BLOBS or size + more > _TOGETHER_BYTES:
            break
        if other != path and more <= SMALL_BYTES and other.parent == path.parent:
            group.append(other)
            size += more
    return group


def send_together(
    paths: Sequence[Path],
    artifacts: ArtifactStore,
    advance: Callable[[int], None],
    stopped: threading.Event,
    folder: Folder | None = None,
) -> list[Path]:
    """Put small files of one folder into a store in one request, and remove them; return which ones are done with.

    Those whose content is not that of their name stay, and so do all where this raises.

    Args:
        folder: the open folder that they lie in; opened here where it is not given.

    Raises:
        StoppedError: it was called off.
        NotOursError: one is a link, not a file or not this user's, or the folder is.
    """
    if folder is None:
        with Folder.open(paths[0].parent) as opened:
            return send_together(paths, artifacts, advance, stopped, opened)
    done: list[Path] = []
    contents: dict[Path, bytes] = {}
    for path in paths:
        if stopped.is_set():
            raise StoppedError
        try:
            with os.fdopen(folder.open_file(path.name), "rb", buffering=0) as file:
                contents[path] = file.readall()
        except FileNotFoundError:  # another process has found the spool, and delivered it
            done.append(path)
    for path, digest in zip(contents, put_together(artifacts, list(contents.values())), strict=True):
        advance(len(contents[path]))
        if digest == path.name:
            folder.unlink(path.name)
            done.append(path)
    return done


def _groups(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Put the small ones of files together."""
    sizes = {path: _size_of(path) for path in paths}
    while sizes:
        group = together_with(next(iter(sizes)), sizes)
        yield group
        for path in group:
            del sizes[path]


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # whoever opens it says what is the matter
        return SMALL_BYTES + 1


def _send_group(
    paths: Sequence[Path],
    artifacts: ArtifactStore,
    advance: Callable[[int], None],
    stopped: threading.Event,
    folder: Folder | None,
) -> None:
    """Send files, together where they are several; what a store does not take so, one by one: each speaks for itself."""
    done: list[Path] = []
    if len(paths) > 1:
        with suppress(ModelDBError):
            done = send_together(paths, artifacts, advance, stopped, folder)
    failure: IntegrityError | None = None
    for path in paths:
        if path in done:
            continue
        try:
            send(path, artifacts, advance, stopped, folder)
        except IntegrityError as error:
            failure = failure or error
    if failure is not None:
        raise failure


class _Reading(io.RawIOBase):
    """Passes reads on, tells how much was read, and ends an upload that is called off."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None], stopped: threading.Event) -> None:
        self._file, self._advance, self._stopped = file, advance, stopped

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        if self._stopped.is_set():
            raise StoppedError
        count = int(self._file.readinto(buffer))  # type: ignore[attr-defined]
        self._advance(count)
        return count

    def read(self, count: int = -1) -> bytes:
        # By way of readinto it would be a copy of what was read.
        if self._stopped.is_set():
            raise StoppedError
        content = self._file.read(count)
        self._advance(len(content))
        return content


def _ignore(_: int) -> None:
    pass
