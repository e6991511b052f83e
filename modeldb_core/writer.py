"""Ships what the journal holds to the store, from a background thread, about once a second.

A :class:`Writer` is one process's way into one store. It owns the process's stream and journal, which it makes when
the first thing is logged. Nothing it does can stop the program: while the store cannot be reached the journal grows.
"""

from __future__ import annotations

import logging
import os
import random
import struct
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from modeldb_core import __version__, forks
from modeldb_core.changes import BEAT, CLOSE, GENESIS, OPEN, SALT_BYTES, STREAM, payload_of
from modeldb_core.entities import new_id, now_us
from modeldb_core.errors import ModelDBError, StoreUnavailableError
from modeldb_core.exits import at_exit, is_worker
from modeldb_core.journal import Journal, RowPlan
from modeldb_core.losses import Losses
from modeldb_core.records import CHECK_BYTES, ROW_HEAD, Chain, Draft, Plan, Seal
from modeldb_core.rescue import BackgroundRecovery
from modeldb_core.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.changes import Change
    from modeldb_core.segments import Segment
    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

MAX_INTERVAL_S = 60.0
MAX_BACKOFF_S = 30.0
MAX_PLANS = 10_000

_spread = random.Random()  # a generator of our own: the training script's must not notice us
_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


class Writer:
    """Journals what is logged and ships it.

    Args:
        open_store: returns the open store; called from the background thread, again after it raised.
        open_artifacts: the same for the artifact store.
        store_url: where the store is, without secrets: what a journal is recovered by.
        journal_dir: where the journals of all processes lie.
        actor: who is logging.
    """

    def __init__(
        self,
        *,
        open_store: Callable[[], MetadataStore],
        open_artifacts: Callable[[], ArtifactStore],
        store_url: str,
        journal_dir: Path,
        actor: str,
        flush_interval_s: float = 1.0,
        lease_s: float = 30.0,
        fsync: bool = False,
    ) -> None:
        self.open_store = open_store
        self.open_artifacts = open_artifacts
        self.store_url = store_url
        self.journal_dir = journal_dir
        self.actor = actor
        self.flush_interval_s = flush_interval_s
        self.lease_s = lease_s
        self.fsync = fsync
        self.journal: Journal | None = None
        self.stream_id = ""
        self.on_stream: list[Callable[[], None]] = []
        """Called when a stream of this process was opened: also in a forked child, whose stream is its own."""
        self._retired: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        _writers.add(self)
        self._reset()

    def _reset(self) -> None:
        self.journal = None
        self.open_runs: set[str] = set()
        self._plans: dict[int, Plan] = {}
        self._tables: dict[str, dict[tuple[str, ...], RowPlan]] = {}
        self._start_lock = threading.RLock()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._tasks: list[Callable[[], None]] = []
        self._closing = False
        self._soon = self._now = False
        self._sealed = self._acknowledged = 0
        self._unsent: tuple[Segment, int, list[Change], Any] | None = None
        self._chain: Any = None
        self._started = self._sent_at = time.monotonic()
        self._declared_lease_s = self.lease_s
        self._failures = 0
        self._retry_at = 0.0
        self._told: set[str] = set()
        self.losses = Losses()
        self.failure: Exception | None = None
        self.uploads = Uploads(self.open_artifacts)
        self._recovery = BackgroundRecovery(self.journal_dir, self.store_url, self.open_artifacts)

    def ensure_stream(self) -> None:
        """Open this process's stream unless it is open: ``stream_id`` then names it."""
        self._ensure_open()

    # -- logging ------------------------------------------------------------------------------------------------------

    def append(self, draft: Draft) -> None:
        """Journal a change; the store has it about a second later."""
        self.journal_record(draft.record())
        self._soon = True

    def journal_record(self, record: bytes, plan: RowPlan | None = None) -> None:
        """Append a record to the journal; one that nothing has room for is counted, and said on the run."""
        if not self._ensure_open().append(record, plan):
            self.losses.calls += 1

    def row_plans(self, run_id: str) -> dict[tuple[str, ...], RowPlan]:
        """Return the table of plans of a run, which :meth:`plan_rows` fills and a new segment empties."""
        return self._tables.setdefault(run_id, {})

    def plan_rows(self, run_id: str, keys: tuple[str, ...]) -> RowPlan:
        """Define how rows with these keys are journalled and return it."""
        journal = self._ensure_open()
        with self._start_lock:
            table = self.row_plans(run_id)
            if len(table) >= MAX_PLANS:
                table.clear()
            number = len(self._plans) + 1
            plan = Plan(run_id, keys)
            self._plans[number] = plan
            definition = plan.record(number)
            packing = struct.Struct(f"{ROW_HEAD.format}{len(keys)}d")
            with journal.lock:
                journal.append(definition)  # which may empty the tables
                row_plan = RowPlan(packing.pack, number, packing.size + CHECK_BYTES, journal.memory, definition)
                table[keys] = row_plan
            return row_plan

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` in the background thread before what is logged from now on is shipped."""
        self._ensure_open()
        with self._condition:
            self._tasks.append(task)
        self._soon = True

    def flush(self, timeout_s: float | None = None, *, files: bool = True) -> bool:
        """Wait until the stores have all that was logged before; False if they have not within ``timeout_s`` seconds.

        Args:
            files: whether to wait for the artifact store as well.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._flush_changes(deadline):
            return False
        return not files or self.uploads.wait(None if deadline is None else deadline - time.monotonic())

    def _flush_changes(self, deadline: float | None) -> bool:
        journal = self.journal
        if journal is None or self._thread is None:
            return True
        target: int | None = None
        with self._condition:
            while self._tasks or target is None or self._acknowledged < target:
                if target is None and not self._tasks:  # what the tasks have logged counts too
                    target = journal.end
                    continue
                self._now = True
                self._condition.notify_all()
                wait = self.flush_interval_s if deadline is None else min(1.0, deadline - time.monotonic())
                if wait <= 0 or not self._thread.is_alive() or (deadline is None and self.failure is not None):
                    return False
                self._condition.wait(wait)
        return True

    def recover(self, timeout_s: float) -> None:
        """Ship now what processes that died have left, waiting at most ``timeout_s`` seconds."""
        self._recovery.start(self.open_store(), again=True)
        self._recovery.wait(timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """End the stream: ship the rest, waiting at most ``timeout_s`` seconds; what is left stays in the journal."""
        journal = self.journal
        if journal is None:
            return True
        deadline = time.monotonic() + timeout_s
        done = self.flush(timeout_s, files=False)
        if done and not self.open_runs:
            journal.append(Draft(CLOSE, STREAM, self.stream_id, now_us(), b"{}").record())
            done = self.flush(timeout_s, files=False)
        self._closing = True
        with self._condition:
            self._condition.notify_all()
        if self._thread is not None and done:
            self._thread.join(timeout_s)
        is_sent = self.uploads.finish(deadline)
        if done:
            self._recovery.start(self.open_store(), again=True)  # of workers of this process that were killed
        self._recovery.stop(deadline - time.monotonic())
        if done and is_sent:
            journal.close(remove=True)
        else:
            failure = self.failure or self.uploads.failure
            logger.warning(
                "ModelDB could not ship everything to %s%s. Nothing is lost: it is in the journal at %s, and the next "
                "ModelDB process, or `modeldb sync`, will ship it.",
                self.store_url if not done else "the artifact store",
                f" ({failure})" if failure else "",
                journal.directory,
            )
            journal.close(remove=False)
        if self._thread is not None:
            self._retired.add(self._thread)  # it may still be waiting for a store
        self._reset()
        return done and is_sent

    # -- the stream ---------------------------------------------------------------------------------------------------

    def _ensure_open(self) -> Journal:
        journal = self.journal
        if journal is not None:
            return journal
        with self._start_lock:
            if self.journal is None:
                self._open()
            assert self.journal is not None
            return self.journal

    def _open(self) -> None:
        if threading.current_thread() in self._retired:
            msg = "its stream was closed meanwhile"
            raise StoreUnavailableError(msg)
        self.stream_id = new_id()
        header = {"store_url": self.store_url, "actor": self.actor, "pid": os.getpid(), "version": __version__}
        journal = Journal(self.journal_dir, self.stream_id, header, fsync=self.fsync)
        journal.on_rotate = self._on_rotate
        self._chain = Chain(0, GENESIS)
        opening = payload_of({"lease_s": self.lease_s, "pid": os.getpid(), "version": __version__})
        journal.append(Draft(OPEN, STREAM, self.stream_id, now_us(), opening).record())
        self.journal = journal
        self._started = self._sent_at = time.monotonic()
        self._soon = True
        self._thread = threading.Thread(target=self._run, name="modeldb-writer", daemon=True)
        self._thread.start()
        if is_worker():  # in a program the client closes it
            at_exit(self.close, priority=10)
        for callback in self.on_stream:
            callback()

    def _on_rotate(self) -> None:
        for table in self._tables.values():
            table.clear()
        self._soon = True

    def abandon(self) -> None:
        """Forget the parent's stream after a fork: the child begins its own when it first logs."""
        if self.journal is not None:
            self.journal.abandon()
        for table in self._tables.values():
            table.clear()
        tables = self._tables
        self._reset()
        self._tables = tables

    # -- the background thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._is_current():
            with self._condition:
                if not self._now and not self._closing:
                    self._condition.wait(self.flush_interval_s)
                due = self._now or self._soon or time.monotonic() - self._sent_at >= self._interval_s()
                now, self._now = self._now, False
            if due and (now or time.monotonic() >= self._retry_at):
                self._soon = False
                self._attempt()
            with self._condition:
                self._condition.notify_all()
                if self._closing:
                    return

    def _is_current(self) -> bool:
        return self._thread is threading.current_thread()

    def _attempt(self) -> None:
        try:
            self._cycle()
        except Exception as error:
            if not self._is_current():
                return
            self.failure = error
            self._failures += 1
            pause = min(MAX_BACKOFF_S, self.flush_interval_s * 2 ** min(self._failures, 10))
            self._retry_at = time.monotonic() + pause * _spread.uniform(0.5, 1.0)
            self._soon = True
            self._tell(error)
        else:
            if not self._is_current():
                return
            if self._failures:
                logger.warning("ModelDB reached %s again; what was journalled meanwhile is shipped.", self.store_url)
            self.failure = None
            self._failures = 0
            self._told.clear()

    def _tell(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind in self._told:
            return
        self._told.add(kind)
        if isinstance(error, StoreUnavailableError):
            hope = "It is tried again"
        elif isinstance(error, ModelDBError):
            hope = "It is tried again, but this needs somebody to look"
        else:
            hope = "This is a fault of the store or of ModelDB; it is tried again"
        logger.warning(
            "ModelDB cannot write to %s: %s: %s. %s; logging goes on into the journal.",
            *(self.store_url, kind, error, hope),
        )

    def _cycle(self) -> None:
        journal = self.journal
        assert journal is not None
        self._beat()
        self.losses.say(journal, self.open_runs)
        while self._tasks:
            try:
                self._tasks[0]()
            except Exception as error:
                logger.warning("Something could not be recorded: %s: %s", type(error).__name__, error)
            if not self._is_current():
                return  # the stream was closed meanwhile: nobody waited for the end of the task
            with self._condition:
                self._tasks.pop(0)
        store = self.open_store()
        if not self._is_current():
            return
        self._ship(store)
        if self.losses.say(journal, self.open_runs):  # there was no room to say it before
            self._ship(store)
        self._recovery.start(store, again=self._chain.seq < 10)

    def _ship(self, store: MetadataStore) -> None:
        while self._unsent is not None or self._seal_next():
            assert self._unsent is not None
            segment, end, changes, chain = self._unsent
            store.apply(changes)
            if not self._is_current():
                return  # the store hung, and the stream was left to its journal meanwhile
            self._unsent, self._chain = None, chain
            self._sent_at = time.monotonic()
            self._advance(segment.base + end)

    def _seal_next(self) -> bool:
        """Turn the next stretch of the journal into changes; False where there is nothing more."""
        from modeldb_core.sealing import build

        journal = self.journal
        assert journal is not None
        for segment in journal.snapshot():
            start, end = max(self._sealed - segment.base, 0), segment.used
            if start >= end:
                continue
            sealed_at, salt = now_us(), os.urandom(SALT_BYTES)
            changes, chain = build(
                *(segment, start, end),
                stream_id=self.stream_id,
                actor=self.actor,
                first=self._chain,
                sealed_at=sealed_at,
                salt=salt,
                plans=self._plans,
            )
            self._sealed = segment.base + end
            if not changes:
                self._advance(self._sealed)
                continue
            mark: Seal = Seal(start, end, self._chain, sealed_at, salt, chain.seq, chain.hash)
            journal.append_seal(segment, mark.record())
            self._unsent = (segment, end, changes, chain)
            return True
        return False

    def _advance(self, position: int) -> None:
        assert self.journal is not None
        with self._condition:
            self._acknowledged = position
            self._condition.notify_all()
        self.journal.drop_until(position)

    def _interval_s(self) -> float:
        """Return how long rows may wait: a thousandth of the process's age, so never more than a pixel of its chart."""
        return min(MAX_INTERVAL_S, max(self.flush_interval_s, (time.monotonic() - self._started) / 1000))

    def _beat(self) -> None:
        """Renew the lease while runs are open, by a change where nothing else was sent for a third of it."""
        if not self.open_runs:
            return
        assert self.journal is not None
        wanted = max(self.lease_s, 3 * self._interval_s())
        if wanted > 1.5 * self._declared_lease_s:
            self._declared_lease_s = wanted
        elif time.monotonic() - self._sent_at < self._declared_lease_s / 3 or self.journal.end > self._sealed:
            return  # what waits is about to be sent, and renews it as well
        payload = payload_of({"lease_s": self._declared_lease_s})
        self.journal.append(Draft(BEAT, STREAM, self.stream_id, now_us(), payload).record())

    @property
    def spool(self) -> Path:
        """Where blobs wait that could not be put into the artifact store at once."""
        return self._ensure_open().directory / "spool"


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer.abandon()


forks.after_in_child(_after_fork_in_child)
