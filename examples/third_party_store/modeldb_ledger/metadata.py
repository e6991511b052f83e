"""A metadata store in one append-only file: ``<folder>/ledger``.

The file holds *frames*, each with the changes of one ``apply``; so a frame is there whole or not at all, and with it the
batch. Every process keeps a *replica* in memory, ModelDB's reference store, brings it up to date from the file before it
answers, and lets it do everything else: verifying, skipping what was seen, replaying, querying. What is left to do here
is what a replica cannot: lasting, and being shared.

A frame is: 4 bytes ``LGR1``, the length of the batch (u64), the CRC-32 of these twelve bytes (u32), that of the batch
(u32), all little-endian, and the batch. The first checksum tells a length that was altered from a frame that was cut off.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import weakref
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import IntegrityError, StoreReadOnlyError, StoreUnavailableError, StoreVersionError
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import DELETE, ERASE
from modeldb_core.stores import ChangePage, KeyInfo, MetadataStore, Page
from modeldb_ledger.folders import Durability, check_durability, flush_folder, folder_of, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Entity
    from modeldb_core.queries import Query

_MAGIC = b"LGR1"
_BEGIN, _HEADER = struct.Struct("<4sQ"), struct.Struct("<4sQII")
_ANY_LENGTH = 1 << 62  # limits are for the bytes of strangers
_AT_ONCE = 1000  # changes in a frame of a file that is written again
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class LedgerStore(MetadataStore):
    """Keeps changes in an append-only file, and their consequences in memory.

    Args:
        url: ``ledger:///absolute/path`` of the folder; it is made when needed.
        durability: "normal" survives the death of any process; "fsync" waits for the disk at every ``apply``, and so
            survives the loss of power too.
        timeout_s: how long to wait for other processes.
    """

    understands = MemoryStore.understands  # the replica answers
    _file = -1  # the descriptor of the file; none before the first question

    def __init__(self, url: str, *, durability: Durability = "normal", timeout_s: float = 60.0) -> None:
        self.url = url
        self._folder = folder_of(url)
        self._path = self._folder / "ledger"
        self._waits_for_disk = check_durability(durability)
        self._timeout_s = timeout_s
        self._closed = False
        self.start_afresh()
        with sentences(self._path):
            if not self._path.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self._path, _CREATE, 0o644))
        _stores.add(self)

    def start_afresh(self) -> None:
        """Forget what there is in memory; the next question reads the file again."""
        self._lock = threading.RLock()  # of this process's threads
        self._forget()

    # Writing

    @property
    def decides(self) -> bool:
        return True

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        with self._lock, self._locked(fcntl.LOCK_EX):
            self._catch_up()
            self._cut_what_was_torn()
            seen = self._count()
            self._replica.apply(changes, expect=expect)  # raises where something is wrong: then nothing has happened
            fresh = self._replica.read_changes(after=seen, limit=2**62).changes  # also what the replica has settled
            try:
                with sentences(self._path):
                    if any(change.action in (ERASE, DELETE) for change in fresh):
                        self._write_anew()  # what was erased must not stay in an old frame
                    elif fresh:
                        self._append(_frame(fresh))
            except BaseException:
                self._forget()  # the replica knows more than the file
                raise

    def _append(self, frame: bytes) -> None:
        try:
            _write(self._file, frame, self._read)
            if self._waits_for_disk:
                os.fsync(self._file)
        except BaseException:
            os.ftruncate(self._file, self._read)
            raise
        self._read += len(frame)

    def _write_anew(self) -> None:
        """Replace the file by one that holds what the replica holds."""
        new = self._path.with_suffix(".new")
        file = os.open(new, _CREATE | os.O_TRUNC, 0o644)
        at = position = 0
        try:
            while (page := self._replica.read_changes(after=position, limit=_AT_ONCE)).changes:
                position = page.cursor
                at += _write(file, _frame(page.changes), at)
            os.fsync(file)
            os.replace(new, self._path)  # others see by its number that it is another file
            flush_folder(self._folder)
        except BaseException:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file, self._read = file, at

    def _cut_what_was_torn(self) -> None:
        """Remove the beginning of a frame whose writer died; nobody was told that it is stored."""
        with sentences(self._path):
            if os.fstat(self._file).st_size > self._read:
                os.ftruncate(self._file, self._read)

    # Reading

    def get(self, kind: str, entity_id: str) -> Entity:
        with self._current() as replica:
            return replica.get(kind, entity_id)

    def find(self, query: Query) -> Page:
        with self._current() as replica:
            return replica.find(query)

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        with self._current() as replica:
            return replica.find_keys(query)

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        with self._current() as replica:
            return replica.read_series(run_id, key, steps=steps, max_points=max_points)

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        with self._current() as replica:
            return replica.read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)

    def heads(self) -> Mapping[str, Head]:
        with self._current() as replica:
            return replica.heads()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._forget()

    @contextmanager
    def _current(self) -> Iterator[MemoryStore]:
        """Hold the replica, up to date; other threads wait, since one that applies is ahead of the file for a moment."""
        with self._lock:
            with self._locked(fcntl.LOCK_SH):
                self._catch_up()
            yield self._replica

    # The file

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Hold the lock of the folder, which processes share. Opened each time: a fork would share one that is open."""
        if self._closed:
            msg = f"the store {self.url} was closed; open it again"
            raise StoreUnavailableError(msg)
        with sentences(self._folder):
            lock = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + self._timeout_s
            while not _try_lock(lock, kind):
                if time.monotonic() > deadline:
                    msg = (
                        f"{self._folder} is locked by another process for more than {self._timeout_s:g} s; look for it"
                    )
                    raise StoreUnavailableError(msg)
                time.sleep(0.002)
            if kind == fcntl.LOCK_EX and not os.access(self._path, os.W_OK):
                msg = f"{self._path} may only be read by this process; check its permissions"
                raise StoreReadOnlyError(msg)
            yield
        finally:
            os.close(lock)

    def _catch_up(self) -> None:
        """Bring the replica up to date. The lock is held, so what is not whole is what a writer that died has left."""
        with sentences(self._path):
            if self._file < 0 or os.stat(self._path).st_ino != os.fstat(self._file).st_ino:
                self._forget()
                self._file = os.open(self._path, os.O_CLOEXEC | _access(self._path))
            frames = list(self._frames())
        changes = [change for frame in frames for change in decode_changes(frame, max_bytes=_ANY_LENGTH)]
        self._replica.apply(changes)  # at once: each call costs the replica a copy of its log
        self._read += sum(_HEADER.size + len(frame) for frame in frames)

    def _frames(self) -> Iterator[bytes]:
        """Iterate over the frames that the replica has not seen."""
        at, size = self._read, os.fstat(self._file).st_size
        while at + _HEADER.size <= size:
            header = os.pread(self._file, _HEADER.size, at)
            magic, length, check, check_of_body = _HEADER.unpack(header)
            where = f"{self._path} at byte {at:,}"
            if magic != _MAGIC and magic[:3] == _MAGIC[:3]:
                msg = f"{where} has the format {magic!r}, this version reads {_MAGIC!r}: update modeldb-ledger"
                raise StoreVersionError(msg)
            if magic != _MAGIC or zlib.crc32(header[: _BEGIN.size]) != check:
                msg = f"{where} does not begin a frame: it is damaged, or no ledger; restore a backup"
                raise IntegrityError(msg)
            if at + _HEADER.size + length > size:
                return
            body = os.pread(self._file, length, at + _HEADER.size)
            if zlib.crc32(body) != check_of_body:
                msg = f"{where} is damaged: a frame does not match its checksum; restore a backup"
                raise IntegrityError(msg)
            yield body
            at += _HEADER.size + length

    def _count(self) -> int:
        """Return how many changes the replica holds."""
        return sum(head.seq for head in self._replica.heads().values())

    def _forget(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._replica = MemoryStore(self.url)
        self._read = 0  # bytes of the file that the replica has seen


def _frame(changes: Sequence[Change]) -> bytes:
    batch = encode_changes(changes)
    check = zlib.crc32(_BEGIN.pack(_MAGIC, len(batch)))
    return _HEADER.pack(_MAGIC, len(batch), check, zlib.crc32(batch)) + batch


def _write(file: int, data: bytes, at: int) -> int:
    """Write all of ``data``: the system may take a part of it at a time."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, memoryview(data)[written:], at + written)
    return written


def _access(path: os.PathLike[str]) -> int:
    return os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# A forked child has its parent's memory, in which another thread may have been half way through something.
_stores: weakref.WeakSet[LedgerStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)
