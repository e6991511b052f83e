"""A stream of this process: its journal, and the background thread that ships it, about once a second."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBError, StoreUnavailableError
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.losses import Losses
from modeldb_core.journal.records import Chain, Draft, Plan, Seal
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_core.journal.retries import REFUSALS, Retries
from modeldb_core.journal.uploads import Uploads
from modeldb_core.log.changes import BEAT, CLOSE, GENESIS, OPEN, SALT_BYTES, STREAM, payload_of
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.runtime import __version__, exits
from modeldb_core.runtime.notices import command_line
from modeldb_core.stores.numbering import number_shipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.journal.segments import Segment
    from modeldb_core.log.changes import Change
    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

MAX_INTERVAL_S = 60.0


@dataclass(slots=True)
class Target:
    """Where a process logs to, and how.

    Attributes:
        open_store: returns the open store; called from the background thread, again after it raised.
        open_artifacts: the same for the artifact store.
        store_url: where the store is, without secrets: what a journal is recovered by.
        journal_dir: where the journals of all processes lie.
        actor: who is logging.
        is_actor_known: whether that is certain. A server takes changes only in the name of the user of a token, and may
            not have answered yet: then it is asked before anything is sealed.
    """

    open_store: Callable[[], MetadataStore]
    open_artifacts: Callable[[], ArtifactStore]
    store_url: str
    journal_dir: Path
    actor: str
    is_actor_known: bool = True
    flush_interval_s: float = 1.0
    lease_s: float = 30.0
    fsync: bool = False


class OpenStream:
    """A stream while this process writes it.

    Logging appends to its :attr:`journal`. The thread turns what is there into changes and sends them.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.stream_id = new_id()
        self.declared: dict[str, tuple[float, int]] = {}
        """When containers were created in this stream, and where in the journal they last were, by their identifiers."""
        self.open_runs: set[str] = set()
        self.thread: threading.Thread | None = None
        self.failure: Exception | None = None
        """Why the last attempt failed; ``None`` once one succeeded."""
        self.uploads = Uploads(target.open_artifacts)
        self.losses = Losses()
        self._recovery = BackgroundRecovery(target.journal_dir, target.store_url, target.open_artifacts)
        self._starting = threading.RLock()
        self._condition = threading.Condition()
        self._tasks: list[Callable[[], None]] = []
        self.is_closing = self._is_left = self._is_over = False
        self._soon, self._now = True, False
        self._attempts = 0
        self._turn = threading.Lock()  # the thread that holds it ships: a stream has one writer
        self._stepping: threading.Thread | None = None
        self._gave_up_at: tuple[int, int] | None = None
        self._sealed = self._acknowledged = 0
        self._unsent: tuple[Segment, int, list[Change], Chain] | None = None
        self._chain = Chain(0, GENESIS)
        self._plans: tuple[int, dict[int, Plan]] = (0, {})  # of one segment, by their numbers
        self._started = self._sent_at = time.monotonic()
        self._declared_lease_s = target.lease_s
        self._retries = Retries(target.flush_interval_s)
        about = {"pid": os.getpid(), "version": __version__}
        named = {"actor": target.actor, "is_actor_known": target.is_actor_known}
        header = {"store_url": target.store_url, **named, **about}
        self.journal = Journal(target.journal_dir, self.stream_id, header, fsync=target.fsync)
        self.journal.on_rotate = self.wake_soon
        opening = payload_of({"lease_s": target.lease_s, **about})
        self.journal.append(Draft(OPEN, STREAM, self.stream_id, now_us(), opening).record())

    def start(self) -> bool:
        """Start the thread unless it is there; False where there can be none, and the caller has to do the work."""
        with self._starting:
            if self.thread is None and not self._has_left():
                # What sealing needs is imported here: the thread would wait for its turn behind a busy loop.
                try:
                    import modeldb_core.journal.sealing  # noqa: F401
                except ImportError:  # in a destructor at the very end of the interpreter: it stays in the journal
                    return False
                self.thread = exits.start_thread(self._run, "modeldb-writer")
            return self.thread is not None

    def wake_soon(self) -> None:
        """Have what is in the journal shipped at the next opportunity."""
        self._soon = True

    def is_waiting(self, position: int) -> bool:
        """Return whether what the journal has from ``position`` on goes into one batch with what is logged next."""
        return position >= max(self.journal.seen, self.journal.segments[-1].base)  # a batch ends with its segment

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` in the background thread; :meth:`flush` waits for it."""
        with self._condition:
            self._tasks.append(task)
        self._soon = True

    def flush(self, deadline: float | None, *, patient: bool = True, waiting: exits.Waiting | None = None) -> bool:
        """Wait until the store has all that was logged before; False where it has not by ``deadline``.

        The store is asked at once, but not more often than its refusals allow. Where it will take nothing until
        somebody has repaired it, this does not wait; nor does it where what it waits for is waiting itself: in the
        background thread, and in a signal handler that interrupted a log call.

        Args:
            deadline: of the monotonic clock; ``None``: until an attempt fails.
            patient: whether to wait through failures until ``deadline``. Otherwise this gives up at the first one, or
                at once where the store was asked just before, or has not answered yet to what was waited for in vain.
            waiting: says that this takes long.
        """
        if self._has_left() or self.journal.is_interrupted or threading.current_thread() is self._stepping:
            return False
        is_hopeless = (self.failure is not None and not self._retries.is_due()) or self._gave_up_at == self._progress()
        is_started = self.start()
        target: int | None = None
        first = self._attempts
        with self._condition:
            while self._tasks or target is None or self._acknowledged < target:
                if target is None and not self._tasks:  # what the tasks have logged counts too
                    target = self.journal.end
                    continue
                self._retries.ask_again()
                failed = self.failure is not None and self._attempts > first
                gives_up = failed and (deadline is None or not patient or self._retries.is_refused)
                is_refused = self._retries.is_refused and not self._retries.is_due()
                is_in_vain = is_refused or not self._retries.is_due_by(deadline)
                left_s = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
                if left_s <= 0:
                    self._gave_up_at = self._progress()
                if gives_up or is_in_vain or left_s <= 0 or self._has_left() or (is_hopeless and not patient):
                    return False
                self._now = True
                self._condition.notify_all()
                if is_started or not self._retries.is_due() or not self._step():
                    self._condition.wait(left_s if waiting is None else min(left_s, waiting.pause()))
        return True

    def recover(self, timeout_s: float) -> None:
        """Ship now what processes that died have left, waiting at most ``timeout_s`` seconds."""
        self._recovery.start(self.target.open_store(), again=True)
        self._recovery.wait(timeout_s)

    def close(self, timeout_s: float, leave: Callable[[], None]) -> bool:
        """End the stream: ship the rest, waiting at most ``timeout_s`` seconds; what is left stays in the journal.

        Args:
            leave: called once nothing more is to be logged here. Tasks that still wait log into this stream before.
        """
        deadline = time.monotonic() + timeout_s
        done = is_sent = False
        try:
            waiting = exits.Waiting(self.target.store_url, timeout_s, is_kept=not self.journal.is_volatile)
            done = self.flush(deadline, waiting=waiting)
            leave()
            closing = Draft(CLOSE, STREAM, self.stream_id, now_us(), b"{}").record()
            is_shipped = done
            self.journal.end_with(lambda: closing if is_shipped and not self.open_runs else None)
            done = self.flush(deadline, waiting=waiting) and done
            is_sent = self.uploads.finish(deadline)
            if done:  # workers of this process may have been killed
                self._recovery.start(self.target.open_store(), again=True)
            self._recovery.stop(deadline - time.monotonic())
        except StoreUnavailableError as error:  # raised by open_store alone
            logger.debug("not recovered: %s", error)
        finally:
            is_empty = self._leave(done=done, is_sent=is_sent, deadline=deadline)
        return is_empty

    def discard(self) -> None:
        """Take back a stream into which nothing was logged."""
        self._is_left = True
        self.journal.close(remove=True)

    def abandon(self) -> None:
        """Forget it after a fork: it is the parent's."""
        self._is_left = True
        self.journal.abandon()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _leave(self, *, done: bool, is_sent: bool, deadline: float) -> bool:
        """Release the thread, which may still be waiting for a store, and the journal; True: nothing is left."""
        self.uploads.stop()
        is_sent = is_sent and not self.uploads.waiting[0]  # another thread may have added a file
        with self._condition:
            self._is_left = True
            self._condition.notify_all()
            if self.thread is not None and done:
                self._condition.wait_for(lambda: self._is_over, max(1.0, deadline - time.monotonic()))
        journal = self.journal
        is_lost = any(segment.path is None and segment.end > self._acknowledged for segment in journal.snapshot())
        journal.close(remove=done and is_sent)
        if done and is_sent:
            return True
        failure = self.failure or self.uploads.failure
        logger.warning(
            "ModelDB could not ship everything to %s%s. %s",
            self.target.store_url if not done else "the artifact store",
            f" ({failure})" if failure else "",
            f"What was not shipped is lost, for the journal at {journal.directory} could not be written."
            if is_lost
            else f"Nothing is lost: it is in the journal at {journal.directory}, and the next ModelDB process, or "
            f"`{command_line('sync')}`, will ship it.",
        )
        return False

    def _run(self) -> None:
        while not self._has_left():
            with self._condition:
                if not self._has_left() and not (self._now and self._retries.is_due()):
                    self._condition.wait(min(self.target.flush_interval_s, self._retries.pause_s()))
            self._step()
        with self._condition:
            self._is_over = True
            self._condition.notify_all()

    def _has_left(self) -> bool:
        return self._is_left

    def _progress(self) -> tuple[int, int]:
        return self._attempts, self._acknowledged

    def _step(self) -> bool:
        """Make an attempt if it is time for one; False where another thread is making one."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._has_left() or not self._retries.is_due():
                return True
            if self._now or self._soon or time.monotonic() - self._sent_at >= self._interval_s():
                asked, self._now, self._soon = self._now, False, False
                self._stepping = threading.current_thread()
                self._attempt(asked=asked)
                self._stepping = None
                with self._condition:
                    self._attempts += 1
                    self._condition.notify_all()
        finally:
            self._turn.release()
        return True

    def _attempt(self, *, asked: bool) -> None:
        try:
            self._cycle(asked=asked)
        except Exception as error:
            if self._has_left():
                return
            self.failure = error
            self._soon = True
            if self._retries.note_failure(error):
                logger.warning(
                    "ModelDB cannot write to %s: %s: %s. %s; logging goes on into the journal.",
                    self.target.store_url,
                    type(error).__name__,
                    error,
                    _retry_note(error),
                )
        else:
            if self._retries.note_success():
                logger.warning(
                    "ModelDB reached %s again; what was journalled meanwhile is shipped.", self.target.store_url
                )
            self.failure = None

    def _cycle(self, *, asked: bool) -> None:
        self._beat()
        self.losses.say(self.journal, self.open_runs)
        try:
            if self._tasks and not asked:  # the tasks take their time, and somebody may look at the run meanwhile
                self._ship(self.target.open_store())
        finally:
            self._do_tasks()  # what they find is in the journal then, also where the store is away
        if self._has_left():
            return  # the stream was closed meanwhile: nobody waited for the end of the task
        store = self.target.open_store()
        self._ship(store)
        if self.losses.say(self.journal, self.open_runs):  # there was no room to say it before
            self._ship(store)
        if not self.journal.is_closed:
            self._recovery.start(store, again=self._chain.seq < 10)

    def _do_tasks(self) -> None:
        while self._tasks and not self._has_left():
            try:
                self._tasks[0]()
            except Exception as error:
                logger.warning("Something could not be recorded: %s: %s", type(error).__name__, error)
            with self._condition:
                self._tasks.pop(0)

    def _ship(self, store: MetadataStore) -> None:
        target = self.target
        if not target.is_actor_known:
            target.actor, target.is_actor_known = store.user or target.actor, True
        while not self._has_left() and (self._unsent is not None or self._seal_next()):
            assert self._unsent is not None
            segment, end, changes, chain = self._unsent
            store.apply(changes)
            if self._has_left():
                return  # the store hung, and the stream was left to its journal meanwhile
            self._unsent, self._chain = None, chain
            number_shipped(store, changes, target.actor)
            self._sent_at = time.monotonic()
            self._advance(segment.base + end)

    def _seal_next(self) -> bool:
        """Turn the next stretch of the journal into changes; False where there is nothing more."""
        from modeldb_core.journal.sealing import build

        for segment in self.journal.snapshot():
            start, end = max(self._sealed - segment.base, 0), segment.used
            if start >= end:
                continue
            if self._plans[0] != segment.number:
                self._plans = (segment.number, {})  # each segment defines the plans of its rows
            sealed_at, salt = now_us(), os.urandom(SALT_BYTES)
            changes, chain = build(
                segment,
                start,
                end,
                stream_id=self.stream_id,
                actor=self.target.actor,
                first=self._chain,
                sealed_at=sealed_at,
                salt=salt,
                plans=self._plans[1],
            )
            if changes:
                mark = Seal(start, end, self._chain, sealed_at, salt, chain.seq, chain.hash, self.target.actor)
                self.journal.append_seal(segment, mark.record())
            self._sealed = segment.base + end  # after all that may raise: what is not sealed is sealed again
            if not changes:
                self._advance(self._sealed)
                continue
            self._unsent = (segment, end, changes, chain)
            return True
        return False

    def _advance(self, position: int) -> None:
        with self._condition:
            self._acknowledged = position
            self._condition.notify_all()
        self.journal.drop_until(position)

    def _interval_s(self) -> float:
        """Return how long rows may wait: a thousandth of the process's age, so never more than a pixel of its chart."""
        return min(MAX_INTERVAL_S, max(self.target.flush_interval_s, (time.monotonic() - self._started) / 1000))

    def _beat(self) -> None:
        """Renew the lease while runs are open, by a change where nothing else was sent for a third of it."""
        if not self.open_runs:
            return
        wanted = max(self.target.lease_s, 3 * self._interval_s())
        if wanted > 1.5 * self._declared_lease_s:
            self._declared_lease_s = wanted
        elif time.monotonic() - self._sent_at < self._declared_lease_s / 3 or self.journal.end > self._sealed:
            return  # what waits is about to be sent, and renews it as well
        payload = payload_of({"lease_s": self._declared_lease_s})
        self.journal.append(Draft(BEAT, STREAM, self.stream_id, now_us(), payload).record())


def _retry_note(error: Exception) -> str:
    if isinstance(error, StoreUnavailableError):
        return "It is tried again"
    if isinstance(error, REFUSALS):
        return "This needs somebody to look: until then nothing is shipped"
    if isinstance(error, ModelDBError):
        return "It is tried again, but this needs somebody to look"
    return "This is a fault of the store or of ModelDB; it is tried again"
