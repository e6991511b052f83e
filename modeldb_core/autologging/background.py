"""Work that need not hold up training: it happens in a thread beside it, in order, and ``flush()`` waits for it.

Only code of ours belongs here. What may touch the state of the process (filters of warnings, random states, threads of
BLAS, the locale, the environment, the current folder) happens in the thread of the caller: scikit-learn's checks, for one,
enter ``warnings.catch_warnings()``, which would end in the middle of a block of the program's.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.autologging.isolation import entered, quiet
from modeldb_core.runtime import exits, forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("modeldb")

IDLE_S = 10.0  # without a job the thread ends, and a later job has a new one
MAX_WAITING = 64  # jobs hold on to models and data: with more of them the caller waits for the oldest


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], None]
    keys: frozenset[object]


class Background:
    """One thread that does jobs in the order in which they were submitted.

    Jobs carry *keys*, any hashable values: identifiers of runs and objects that they work on. At the end of the program
    all jobs are finished first. A forked child starts without jobs. What has to do with a store belongs in a background
    of its own: a store may hang, and nobody should wait for it who need not.

    Args:
        name: of the thread.
        exit_timeout_s: how long the end of the program waits for jobs; default: until all are done.
    """

    def __init__(self, name: str, *, exit_timeout_s: float | None = None) -> None:
        self._name = name
        self._exit_timeout_s = exit_timeout_s
        self._reset()
        _backgrounds.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()  # the first one is under way
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Return how many jobs are not done."""
        return len(self._jobs)

    def __bool__(self) -> bool:
        return True

    def submit(self, work: Callable[[], None], keys: Iterable[object] = (), *, patience_s: float | None = None) -> bool:
        """Do ``work`` soon. What it raises is logged for debugging and dropped: a job reports failures itself.

        Returns:
            ``False`` where there are many jobs already, and for ``patience_s`` seconds none was done.
        """
        job = _Job(work, frozenset(keys))
        oldest = self._jobs[0] if len(self._jobs) >= MAX_WAITING else None
        if oldest is not None and not self._is_own_thread() and not self._wait_for({oldest}, patience_s):
            return False
        with self._changed:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = exits.start_thread(self._work, self._name)
            is_alone = self._thread is None  # as in some versions of Python while a program ends
            if is_alone:
                self._thread = threading.current_thread()  # a job that waits for its run does not wait for itself
            exits.at_exit(self._at_exit, priority=20)
            self._changed.notify_all()
        if is_alone:
            self._work(idle_s=0)
        return True

    def wait(self, *keys: object, timeout_s: float | None = None) -> bool:
        """Wait for the jobs that carry one of ``keys``, without keys for all; False where the time did not do."""
        if not self._jobs or self._is_own_thread():
            return True
        with self._changed:
            jobs = {job for job in self._jobs if not keys or not job.keys.isdisjoint(keys)}
        return self._wait_for(jobs, timeout_s)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _wait_for(self, jobs: set[_Job], timeout_s: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: jobs.isdisjoint(self._jobs), timeout_s)

    def _work(self, idle_s: float | None = None) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._jobs, IDLE_S if idle_s is None else idle_s):
                    self._thread = None
                    return
            self._do_first()

    def _do_first(self) -> None:
        try:
            with entered(), quiet():
                self._jobs[0].work()
        except (Exception, SystemExit):
            logger.debug("a job in the background failed", exc_info=True)
        finally:
            with self._changed:
                self._jobs.popleft()
                self._changed.notify_all()

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _at_exit(self) -> None:
        limit_s = self._exit_timeout_s
        if not self.wait(timeout_s=None if limit_s is None else exits.time_left(limit_s)):
            logger.warning("The program ended before %s was done: %d jobs are left.", self._name, len(self))


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for background in list(_backgrounds):
        background._reset()


forks.after_in_child(_after_fork_in_child)
