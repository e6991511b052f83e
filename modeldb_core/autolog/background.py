"""Work that need not hold up training: it happens in a thread beside it, in order, and ``flush()`` waits for it."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.autolog.isolation import entered, quiet
from modeldb_core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger("modeldb")

MAX_WAITING = 64  # jobs hold on to models and data: with more of them the caller waits for the oldest
STUCK_S = 0.5
"""A store that does not answer for so long is not waited for: not by a fit, not by the end of a run, not at exit."""


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], None]
    keys: frozenset[object]


class Background:
    """A thread that does jobs in the order in which they were submitted.

    Jobs carry *keys*, any hashable values: identifiers of runs and objects that they work on. At the end of the program
    all jobs are finished first. A forked child starts without jobs.

    A job says when it is in the hands of a store (:meth:`storing`). If a store then does not answer, nobody waits for it:
    the jobs behind go on in another thread, and what they would store is refused at once, until the store answers.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()
        _backgrounds.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()  # the first ones are under way
        self._waiting: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._at_work: set[threading.Thread] = set()
        self._storing: dict[threading.Thread, float] = {}

    def submit(self, work: Callable[[], None], keys: Iterable[object] = ()) -> None:
        """Do ``work`` soon. What it raises is logged for debugging and dropped: a job reports failures itself."""
        job = _Job(work, frozenset(keys))
        with self._changed:
            oldest = self._jobs[0] if len(self._jobs) >= MAX_WAITING else None
        if oldest is not None and not self._is_own_thread():
            self._wait_for({oldest}, None)
        with self._changed:
            self._jobs.append(job)
            self._waiting.append(job)
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def wait(self, *keys: object, timeout_s: float | None = None) -> bool:
        """Wait for the jobs that carry one of ``keys``, without keys for all; False where they are not done.

        That is: not within the time, or a store does not answer.
        """
        if not self._jobs or self._is_own_thread():
            return True
        with self._changed:
            jobs = {job for job in self._jobs if not keys or not job.keys.isdisjoint(keys)}
        return self._wait_for(jobs, timeout_s)

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Say that what happens in the block is up to a store.

        Raises:
            StoreUnavailableError: an earlier job still waits for one that does not answer.
        """
        thread = threading.current_thread()
        if any(other is not thread and self._is_late(since) for other, since in list(self._storing.items())):
            msg = "a store has not answered for a while"
            raise StoreUnavailableError(msg)
        self._storing[thread] = time.monotonic()
        try:
            yield
        finally:
            self._storing.pop(thread, None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _wait_for(self, jobs: set[_Job], timeout_s: float | None) -> bool:
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not jobs.isdisjoint(self._jobs):
                left = STUCK_S if end is None else end - time.monotonic()
                if left <= 0:
                    return False
                if self._is_stuck():
                    self._start()
                elif self._storing and not any(job in jobs for job in self._waiting) and self._are_late():
                    return False
                self._changed.wait(min(left, STUCK_S / 10))
        return True

    def _is_stuck(self) -> bool:
        """Return whether the present thread hangs in a store: another one then goes on with the jobs behind."""
        since = None if self._thread is None else self._storing.get(self._thread)
        return since is not None and self._is_late(since)

    def _are_late(self) -> bool:
        """Return whether every job under way is in the hands of a store that does not answer."""
        return all(thread in self._storing and self._is_late(self._storing[thread]) for thread in list(self._at_work))

    def _is_late(self, since: float) -> bool:
        return time.monotonic() - since > STUCK_S

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()
        _finish_at_exit(self)

    def _work(self) -> None:
        thread = threading.current_thread()
        while True:
            with self._changed:
                while not self._waiting and self._thread is thread:
                    self._changed.wait()
                if self._thread is not thread:
                    return
                job = self._waiting.popleft()
                self._at_work.add(thread)
            try:
                with entered(), quiet():
                    job.work()
            except Exception:
                logger.debug("a job in the background failed", exc_info=True)
            with self._changed:
                self._jobs.remove(job)
                self._at_work.discard(thread)
                self._changed.notify_all()
            del job  # it holds on to a model and data

    def _is_own_thread(self) -> bool:
        return threading.current_thread() in self._at_work


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()
_finishing: set[int] = set()


def _finish_at_exit(background: Background) -> None:
    """Let the program, or the worker process, end when the jobs are done."""
    if id(background) in _finishing:
        return
    _finishing.add(id(background))
    util = sys.modules.get("multiprocessing.util")
    if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
        util.Finalize(None, background.wait, exitpriority=20)  # before the journal is closed
    else:
        atexit.register(background.wait)


def _after_fork_in_child() -> None:
    _finishing.clear()
    for background in list(_backgrounds):
        background._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
