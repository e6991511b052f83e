"""Work that need not hold up training: it happens in a thread beside it, in order, and ``flush()`` waits for it."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from modeldb_core.autolog.isolation import entered, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("modeldb")

MAX_WAITING = 64  # jobs hold on to models and data: with more of them the caller waits for the oldest


class Background:
    """One thread that does jobs in the order in which they were submitted.

    Jobs carry *keys*, any hashable values: identifiers of runs and objects that they work on. At the end of the program
    all jobs are finished first. A forked child starts without jobs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()
        _backgrounds.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._thread_id: int | None = None
        self._jobs: dict[Future[None], frozenset[object]] = {}

    def submit(self, job: Callable[[], None], keys: Iterable[object] = ()) -> None:
        """Do ``job`` soon. What it raises is logged for debugging and dropped: a job reports failures itself."""
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, self._name, self._remember_thread)
            oldest = next(iter(self._jobs), None) if len(self._jobs) >= MAX_WAITING else None
        if oldest is not None and not self._is_own_thread():
            wait([oldest])
        try:
            future = self._executor.submit(_do, job)
        except RuntimeError:  # the interpreter is shutting down: no thread takes it any more
            _do(job)
            return
        with self._lock:
            self._jobs[future] = frozenset(keys)
        future.add_done_callback(self._forget)  # outside of the lock: for a job that is done it runs here and now

    def wait(self, *keys: object, timeout_s: float | None = None) -> bool:
        """Wait for the jobs that carry one of ``keys``, without keys for all; False where the time did not do."""
        if not self._jobs or self._is_own_thread():
            return True
        with self._lock:
            jobs = [job for job, names in self._jobs.items() if not keys or not names.isdisjoint(keys)]
        return not jobs or not wait(jobs, timeout_s).not_done

    def _remember_thread(self) -> None:
        self._thread_id = threading.get_ident()

    def _is_own_thread(self) -> bool:
        return threading.get_ident() == self._thread_id

    def _forget(self, job: Future[None]) -> None:
        with self._lock:
            self._jobs.pop(job, None)


def _do(job: Callable[[], None]) -> None:
    try:
        with entered(), quiet():
            job()
    except Exception:
        logger.debug("a job in the background failed", exc_info=True)


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for background in list(_backgrounds):
        background._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
