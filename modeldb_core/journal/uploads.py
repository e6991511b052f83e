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
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from modeldb_core.errors import ModelDBError, StoreUnavailableError
from modeldb_core.journal.retries import Retries
from modeldb_core.journal.sending import SMALL_BYTES, WIDTH, StoppedError, send, send_together, together_with
from modeldb_core.runtime.disk import PRIVATE
from modeldb_core.runtime.hashing import hashing
from modeldb_core.runtime.owned import make_private
from modeldb_core.runtime.redaction import redact_message
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.stores import ArtifactStore

logger = logging.getLogger("modeldb")

SAY_EVERY_S = 10.0
EXIT_PATIENCE_S = 3.0  # before something is said of it

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # of linux/fs.h
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | PRIVATE | getattr(os, "O_NOFOLLOW", 0)


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
        self._small: dict[Path, int] = {}  # those that wait for the next request
        self._is_sending_small = False
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
                size = self._sizes[path] = path.stat().st_size
            except FileNotFoundError:  # the same content was logged a moment before, and has just been delivered
                return True
            if size > SMALL_BYTES:
                work: Callable[[], None] = partial(self._deliver, path)
            else:
                self._small[path] = size
                if self._is_sending_small:
                    return True
                self._is_sending_small, work = True, self._deliver_small
        self._workers.submit(work)
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
        self._workers.release()
        with self._condition:
            self._condition.notify_all()

    def _deliver_small(self) -> None:
        """Deliver the small files that wait in one request, and those that were added meanwhile in the next, until none is."""
        while group := self._next_group():
            failure: Exception | None = StoreUnavailableError()
            while isinstance(failure, StoreUnavailableError) and not self._is_stopped.is_set():
                failure = self._attempt(partial(self._deliver_group, group), group[0])
                if len(group) == 1:
                    break
            # What is not done with by then goes by itself, so that none keeps another from being sent.
            for path in group:
                if path in self._sizes:
                    self._workers.submit(partial(self._deliver, path))

    def _next_group(self) -> list[Path]:
        """Return which small files go next, in one request."""
        with self._condition:
            group = together_with(next(iter(self._small)), self._small) if self._small else []
            for path in group:
                del self._small[path]
            self._is_sending_small = bool(group)
            return group

    def _deliver_group(self, group: Sequence[Path]) -> None:
        sent = send_together(group, self._open_artifacts(), self._advance, self._is_stopped)
        for path in sent:
            self._note_delivered(path)

    def _deliver(self, path: Path) -> None:
        if path not in self._sizes:
            return
        while not self._is_stopped.is_set():
            if self._attempt(lambda: send(path, self._open_artifacts(), self._advance, self._is_stopped), path) is None:
                break
        self._note_delivered(path)

    def _attempt(self, work: Callable[[], object], path: Path) -> Exception | None:
        """Do something once the store may be asked again; return why it failed; ``None``: it is not to be tried again."""
        with self._condition:
            while not self._retries.is_due() and not self._is_stopped.is_set():
                self._condition.wait(self._retries.pause_s())
        try:
            if not self._is_stopped.is_set():
                work()
        except StoppedError:
            pass
        except FileNotFoundError:
            pass  # another process has found the spool, and delivered it
        except Exception as error:
            self._note_failure(path, error)
            return error
        return None

    def _note_delivered(self, path: Path) -> None:
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
            redact_message(str(error)),
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


def spool(stream: BinaryIO, folder: Path) -> BlobInfo:
    """Keep what ``stream`` holds in a folder, under its digest.

    A file that begins at its beginning is cloned where the file system can: then it is not copied, and what the program
    writes into it later does not show. (A hard link would not do: it is the same file.)

    Raises:
        StoreUnavailableError: there is no room, or the folder cannot be written.
    """
    name = f"{folder}/.{os.urandom(8).hex()}"
    try:
        try:
            descriptor = os.open(name, _CREATE, 0o600)
        except FileNotFoundError:
            for each in (folder.parent.parent, folder.parent, folder):
                make_private(each)
            descriptor = os.open(name, _CREATE, 0o600)
    except OSError as error:
        raise _no_room(folder, error) from error
    try:
        with io.FileIO(descriptor, "r+") as target:
            hashed = _hash(target) if _is_cloned(stream, target) else _copy(stream, target, folder)
        os.replace(name, f"{folder}/{hashed.digest}")
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return hashed


def _copy(stream: BinaryIO, target: io.FileIO, folder: Path) -> BlobInfo:
    sha, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        with hashing(sha, chunk):
            _write(target, chunk, folder)
    return BlobInfo(sha.hexdigest(), size)


def _write(target: io.FileIO, content: bytes, folder: Path) -> None:
    try:
        while content:
            content = content[target.write(content) :]
    except OSError as error:
        raise _no_room(folder, error) from error


def _hash(target: io.FileIO) -> BlobInfo:
    sha = hashlib.file_digest(target, "sha256")
    return BlobInfo(sha.hexdigest(), target.tell())


def _is_cloned(stream: BinaryIO, target: io.FileIO) -> bool:
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
