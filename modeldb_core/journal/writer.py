"""One process's way into one store: takes what is logged, and opens and closes the streams that it goes into.

A :class:`Writer` opens a stream when the first thing is logged. Nothing it does can stop the program: while the store
cannot be reached the journal grows.

What interrupts a log call may log as well: a signal handler, a destructor, a callback of the garbage collector, another
thread. Three things make that safe, and nothing else has to be: the numbers of plans come from a counter and are never
given twice; a stream is complete before it becomes :attr:`Writer.stream`, by one assignment; and the journal alone says
whether it took a record (:meth:`~modeldb_core.journal.journal.Journal.append`).
"""

from __future__ import annotations

import itertools
import struct
import threading
import time
import weakref
from typing import TYPE_CHECKING

from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal.journal import RowPlan
from modeldb_core.journal.records import CHECK_BYTES, ROW_HEAD, Draft, Plan
from modeldb_core.journal.shipping import OpenStream
from modeldb_core.runtime import exits, forks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.journal.shipping import Target
    from modeldb_core.journal.uploads import Uploads

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_open_writers: set[Writer] = set()


class Writer:
    """Journals what is logged and ships it.

    Args:
        target: where to, and how.
        exit_timeout_s: how long the end of a stream waits for a store.
    """

    def __init__(self, target: Target, *, exit_timeout_s: float = 30.0) -> None:
        self.target = target
        self.stream: OpenStream | None = None
        """The stream of this process while one is open."""
        self.on_stream: list[Callable[[], None]] = []
        """Called when a stream of this process was opened: also in a forked child, whose stream is its own."""
        self.exit_timeout_s = exit_timeout_s
        self._numbers = itertools.count(1)  # of plans, in all streams and in forked children alike
        self._retired: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._start_lock = threading.RLock()
        _writers.add(self)

    @property
    def store_url(self) -> str:
        """Where the store is, without secrets."""
        return self.target.store_url

    @property
    def stream_id(self) -> str:
        """The identifier of the stream of this process, which is opened unless it is open."""
        return self.ensure_stream().stream_id

    @property
    def uploads(self) -> Uploads:
        """The files on their way into the artifact store."""
        return self.ensure_stream().uploads

    @property
    def spool(self) -> Path:
        """Where blobs wait that could not be put into the artifact store at once."""
        return self.ensure_stream().journal.directory / "spool"

    @property
    def failure(self) -> Exception | None:
        """Why the last attempt to ship something failed; ``None`` once one succeeded."""
        stream = self.stream
        return None if stream is None else stream.failure

    def ensure_stream(self) -> OpenStream:
        """Return this process's stream, opening it unless it is open."""
        stream = self.stream
        if stream is not None:
            return stream
        with self._start_lock:
            return self.stream or self._open()

    # -- logging ------------------------------------------------------------------------------------------------------

    def append(self, draft: Draft) -> OpenStream:
        """Journal a change; the store has it about a second later. Returns the stream that took it."""
        stream = self.journal_record(draft.record())
        stream.wake_soon()
        return stream

    def journal_record(self, record: bytes, plan: RowPlan | None = None) -> OpenStream:
        """Append a record to the journal of the stream that is open, and return that."""
        while not (stream := self.ensure_stream()).journal.append(record, plan):
            self._forget(stream)  # it was closed meanwhile
        return stream

    def plan_rows(self, run_id: str, keys: tuple[str, ...], known: RowPlan | None = None) -> RowPlan:
        """Return how rows with these keys are journalled, defined in the current segment.

        Args:
            known: the plan of these keys in an earlier segment or stream.
        """
        if known is None:
            number = next(self._numbers)
            packing = struct.Struct(f"{ROW_HEAD.format}{len(keys)}d")
            known = RowPlan(packing.pack, number, packing.size + CHECK_BYTES, None, Plan(run_id, keys).record(number))
        return self.ensure_stream().journal.define(known)

    @property
    def position(self) -> tuple[str, int] | None:
        """What differs as soon as more was logged; ``None`` while no stream is open."""
        stream = self.stream
        return None if stream is None else (stream.stream_id, stream.journal.end)

    def end_run(self, run_id: str) -> None:
        """A run that this process had open has ended."""
        stream = self.stream
        if stream is not None:
            stream.open_runs.discard(run_id)

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` in the background thread; :meth:`flush` waits for it."""
        self.ensure_stream().submit(task)

    def flush(self, timeout_s: float | None = None, *, files: bool = True, patient: bool = True) -> bool:
        """Wait until the stores have all that was logged before; False if they have not within ``timeout_s`` seconds.

        Args:
            files: whether to wait for the artifact store as well.
            patient: see :meth:`OpenStream.flush`.
        """
        stream = self.stream
        if stream is None:
            return True
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not stream.flush(deadline, patient=patient):
            return False
        return not files or stream.uploads.wait(None if deadline is None else deadline - time.monotonic())

    def recover(self, timeout_s: float) -> None:
        """Ship now what processes that died have left, waiting at most ``timeout_s`` seconds."""
        self.ensure_stream().recover(timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """End the stream: ship the rest, waiting at most ``timeout_s`` seconds; what is left stays in the journal.

        In a signal handler that interrupted a log call nothing happens: the stream is closed at the end of the process.
        Nor does anything while another thread closes it.
        """
        stream = self.stream
        if stream is None:
            return True
        if stream.journal.is_interrupted:
            return False
        with self._start_lock:
            if stream.is_closing:
                return False
            stream.is_closing = True
        if stream.thread is not None:
            self._retired.add(stream.thread)  # it may still be waiting for a store, and begins no stream then
        timeout_s = exits.time_left(self.exit_timeout_s) if timeout_s is None else timeout_s
        try:
            return stream.close(timeout_s, lambda: self._forget(stream))
        finally:
            self._forget(stream)
            if self.stream is None:
                _open_writers.discard(self)

    # -- the stream ---------------------------------------------------------------------------------------------------

    def _open(self) -> OpenStream:
        if threading.current_thread() in self._retired:
            msg = "its stream was closed meanwhile"
            raise StoreUnavailableError(msg)
        if not _open_writers:
            exits.at_exit(_close_all, priority=5)
        _open_writers.add(self)
        stream = OpenStream(self.target)
        if self.stream is None:  # nothing is called here, so nothing comes between
            self.stream = stream
        else:
            stream.discard()  # what interrupted this thread has opened one
            return self.stream
        for callback in self.on_stream:
            callback()
        stream.start()
        return stream

    def _forget(self, stream: OpenStream) -> None:
        with self._start_lock:
            if self.stream is stream:
                self.stream = None

    def abandon(self) -> None:
        """Forget the parent's stream after a fork: the child begins its own when it first logs."""
        stream, self.stream = self.stream, None
        self._start_lock = threading.RLock()
        if stream is not None:
            stream.abandon()


def _close_all() -> None:
    for writer in list(_open_writers):
        exits.guarded(writer.close)


def _after_fork_in_child() -> None:
    _open_writers.clear()
    for writer in list(_writers):
        writer.abandon()


forks.after_in_child(_after_fork_in_child)
