"""Files on their way into the artifact store, beside what else is shipped.

A store that is not on this machine gets files from the *spool*, a folder in the journal's of the stream: a file lies
there under its digest from before ``log_artifact`` returns until the store has it. Threads of their own send them, so
that a large one holds back neither metrics nor the end of the process; what is left then, the next process sends.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.errors import IntegrityError, ModelDBError, StoreUnavailableError
from modeldb_core.journal.retries import Retries
from modeldb_core.runtime.owned import Folder, make_private
from modeldb_core.runtime.redaction import redact_text
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import BlobInfo, check_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modeldb_core.stores import ArtifactStore

logger = logging.getLogger("modeldb")

WIDTH = 4
SAY_EVERY_S = 10.0
EXIT_PATIENCE_S = 3.0  # before something is said of it

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # of linux/fs.h


class StoppedError(Exception):
    """The upload was called off; what has arrived of it can be used by the next one."""


class Uploads:
    """Sends the files of a spool to the artifact store until it has them, several at a time.

    While the store cannot be reached, it is tried again with growing pauses. Nothing here raises into the program.

    Args:
        open_artifacts: returns the open store; called from the threads, again after it raised.
    """

    def __init__(self, open_artifacts: Callable[[], ArtifactStore]) -> None:
        self._open_artifacts = open_artifacts
        self._workers = Workers(WIDTH, "modeldb-upload")
        self._condition = threading.Condition()
        self._sizes: dict[Path, int] = {}
        self._sent_bytes = 0
        self._said_at = time.monotonic()
        self._retries = Retries(0.5)
        self._is_stopped = threading.Event()
        self.failure: Exception | None = None
        """Why the last attempt failed; ``None`` once one succeeded."""

    def add(self, path: Path) -> bool:
        """Have a file of the spool sent, whose name is its digest; it is removed once the store has it.

        Returns:
            ``False`` where nothing is sent any more.
        """
        with self._condition:
            if self._is_stopped.is_set():
                return False
            if path in self._sizes:
                return True
            try:
                self._sizes[path] = path.stat().st_size
            except FileNotFoundError:  # the same content was logged a moment before, and has just been delivered
                return True
        self._workers.submit(partial(self._deliver, path))
        return True

    @property
    def waiting(self) -> tuple[int, int]:
        """How many files are not delivered yet, and how many bytes they have."""
        with self._condition:
            return len(self._sizes), sum(self._sizes.values())

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until what was added so far is delivered; False where it is not within ``timeout_s`` seconds.

        Without a time it waits as long as the store takes files.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._condition:
            wanted = set(self._sizes)
            while wanted & self._sizes.keys():
                left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
                self._retries.ask_again()
                gives_up = self.failure is not None and (deadline is None or self._retries.is_refused)
                if left <= 0 or self._is_stopped.is_set() or gives_up:
                    return False
                self._condition.wait(left)
        return True

    def finish(self, deadline: float) -> bool:
        """Wait for what is on its way until ``deadline`` (of the monotonic clock), say so, and stop; False: it lacks."""
        left_s = deadline - time.monotonic()
        if self.wait(min(left_s, EXIT_PATIENCE_S)):
            return True
        count, size = self.waiting
        if count and left_s > EXIT_PATIENCE_S:
            logger.warning(
                "ModelDB waits up to %d s for %d %s (%s) to reach the artifact store.",
                left_s - EXIT_PATIENCE_S,
                count,
                "file" if count == 1 else "files",
                megabytes(size),
            )
        is_sent = self.wait(deadline - time.monotonic())
        self.stop()
        return is_sent

    def stop(self) -> None:
        """Send nothing more; what is not delivered stays in the spool."""
        self._is_stopped.set()
        with self._condition:
            self._condition.notify_all()

    def _deliver(self, path: Path) -> None:
        while not self._is_stopped.is_set():
            with self._condition:
                while not self._retries.is_due() and not self._is_stopped.is_set():
                    self._condition.wait(self._retries.pause_s())
            try:
                if not self._is_stopped.is_set():
                    send(path, self._open_artifacts(), self._advance, self._is_stopped)
                    break
            except StoppedError:
                break
            except FileNotFoundError:
                break  # another process has found the spool, and delivered it
            except Exception as error:
                self._note_failure(path, error)
        with self._condition:
            if not self._is_stopped.is_set():
                self.failure = None
                self._retries.note_success()
            self._sizes.pop(path, None)
            self._condition.notify_all()

    def _note_failure(self, path: Path, error: Exception) -> None:
        with self._condition:
            self.failure = error
            is_told = not self._retries.note_failure(error)
            self._condition.notify_all()
            if is_told or self._is_stopped.is_set():
                return
        hope = "" if isinstance(error, StoreUnavailableError) else ", but this needs somebody to look"
        logger.warning(
            "A file cannot be sent to the artifact store: %s: %s. It is kept in %s and tried again%s.",
            type(error).__name__,
            redact_text(str(error)),
            path.parent,
            hope,
        )

    def _advance(self, amount: int) -> None:
        """Say now and then how far it is: where nothing is said for long, people take a program for dead."""
        with self._condition:
            self._sent_bytes += amount
            now = time.monotonic()
            if now - self._said_at < SAY_EVERY_S:
                return
            self._said_at = now
            count, size = len(self._sizes), sum(self._sizes.values())
            sent, self._sent_bytes = self._sent_bytes, 0
        logger.info(
            "Sending files to the artifact store: %d with %s to go or on their way, %s in the last %d s.",
            count,
            megabytes(size),
            megabytes(sent),
            SAY_EVERY_S,
        )


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
    deliver = partial(send, artifacts=artifacts, advance=advance or _ignore, stopped=stopped, folder=folder)
    futures = [workers.submit(partial(deliver, path)) for path in paths]
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
    with os.fdopen(folder.open_file(path.name), "rb") as file:
        reading = cast("BinaryIO", _Reading(file, advance, stopped))
        info = artifacts.put(reading, digest=path.name)
        check_stored(info, BlobInfo(path.name, os.fstat(file.fileno()).st_size), artifacts.url)
    folder.unlink(path.name)


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


def spool(stream: BinaryIO, folder: Path) -> BlobInfo:
    """Keep what ``stream`` holds in a folder, under its digest.

    A file that begins at its beginning is cloned where the file system can: then it is not copied, and what the program
    writes into it later does not show. (A hard link would not do: it is the same file.)

    Raises:
        StoreUnavailableError: there is no room, or the folder cannot be written.
    """
    try:
        for each in (folder.parent.parent, folder.parent, folder):
            make_private(each)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=folder)
    except OSError as error:
        raise _no_room(folder, error) from error
    try:
        with os.fdopen(descriptor, "w+b") as target:
            hashed = _hash(target) if _is_cloned(stream, target) else _copy(stream, target, folder)
        os.replace(name, folder / hashed.digest)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return hashed


def _copy(stream: BinaryIO, target: BinaryIO, folder: Path) -> BlobInfo:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        try:
            target.write(chunk)
        except OSError as error:
            raise _no_room(folder, error) from error
    try:
        target.flush()
    except OSError as error:
        raise _no_room(folder, error) from error
    return BlobInfo(digest.hexdigest(), size)


def _hash(target: BinaryIO) -> BlobInfo:
    sha = hashlib.file_digest(target, "sha256")  # type: ignore[arg-type]
    return BlobInfo(sha.hexdigest(), target.tell())


def _is_cloned(stream: BinaryIO, target: BinaryIO) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with suppress(OSError, ValueError, AttributeError):  # no file, no such file system, or another one
        if stream.tell() == 0:
            fcntl.ioctl(target.fileno(), _FICLONE, stream.fileno())
            return True
    return False


def _no_room(folder: Path, error: OSError) -> ModelDBError:
    msg = f"a file cannot be kept in {folder} ({error.strerror or error}); free space there, or set journal_dir"
    return StoreUnavailableError(msg)


def megabytes(size: int) -> str:
    """Return a size for a message."""
    return f"{size / 1e6:,.1f} MB"


def _ignore(_: int) -> None:
    pass
