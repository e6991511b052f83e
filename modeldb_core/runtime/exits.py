"""The end of a process: what is to be done then, in which order, and how long all of it may take together.

Workers of :mod:`multiprocessing` end without :mod:`atexit`, and have an end of their own.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from modeldb_core.runtime import forks

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("modeldb")

SAY_AFTER_S = 3.0
"""How long a program waits for a store in silence."""
SAY_EVERY_S = 10.0

_functions: list[tuple[int, Callable[[], object]]] = []
_last_functions: list[Callable[[], object]] = []
_FORKED_WITHOUT_EXEC = 0x40  # PF_FORKNOEXEC
_is_forked: bool | None = None
_is_known = False
_began_at: float | None = None
_is_running = _is_hurried = False


def is_worker() -> bool:
    """Return whether :mod:`multiprocessing` started this process."""
    # What it needs for that is imported then; there is no need to import it in all other programs.
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def may_end_unheard() -> bool:
    """Return whether this process may end at any time, with nothing being called: a worker, or one that was forked.

    Who forks without :mod:`multiprocessing`, as RQ does, mostly ends the child by ``os._exit``.
    """
    global _is_forked
    if _is_forked is None:
        _is_forked = _was_forked()
    return _is_forked or is_worker()


def _was_forked() -> bool:
    """Return whether this process was forked and has begun no program since, as Linux knows of each."""
    try:
        with open("/proc/self/stat", "rb") as file:
            flags = int(file.read().rpartition(b")")[2].split()[6])
    except (OSError, ValueError, IndexError):  # another system: of a fork that comes later this module hears itself
        return False
    return bool(flags & _FORKED_WITHOUT_EXEC)


def at_exit(function: Callable[[], object], *, priority: int = 0) -> None:
    """Call ``function`` once when this process ends in an orderly way.

    Args:
        priority: what has more of it is called earlier; among equals, what came last.
    """
    global _is_known
    if (priority, function) not in _functions:
        _functions.append((priority, function))
    if _is_known:
        return
    _is_known = True
    if is_worker():
        from multiprocessing.util import Finalize

        Finalize(None, run_all, exitpriority=10)
    else:
        atexit.register(run_all)


def at_last(function: Callable[[], object]) -> None:
    """Call ``function`` when this process ends, after all that :func:`at_exit` knows and nearly all other callbacks."""
    _last_functions.append(function)


def has_begun() -> bool:
    """Return whether the interpreter ends: what is raised now ends no more than the callback that raises it."""
    return not threading.main_thread().is_alive()


def is_running() -> bool:
    """Return whether what is to be done at the end is being done, which limits its time itself."""
    return _is_running


def run_all() -> None:
    """Do all that is to be done at the end. What one of them raises keeps none of the others from their turn."""
    global _began_at, _is_running
    if _began_at is None:
        _began_at = time.monotonic()
    _is_running = True
    try:
        while _functions:
            last = max(range(len(_functions)), key=lambda index: (_functions[index][0], index))
            guarded(_functions.pop(last)[1])
    finally:
        _is_running = False


def _run_last() -> None:
    run_all()  # once more, after nearly all others: what other callbacks log is shipped, too
    for function in _last_functions:
        guarded(function)


def guarded(function: Callable[[], object]) -> None:
    """Call ``function`` while the process ends. After Ctrl-C or SIGTERM nothing waits any longer; other errors are said."""
    global _is_hurried
    try:
        function()
    except (KeyboardInterrupt, SystemExit):
        _is_hurried = True
    except Exception:
        logger.warning("Something that is done at the end of the program failed.", exc_info=True)


def time_left(timeout_s: float) -> float:
    """Return how many seconds a step may take that is allowed ``timeout_s``.

    All that is done at the end of a process shares one such time, which begins with the end.
    """
    if _began_at is None:
        return timeout_s
    return 0.0 if _is_hurried else max(0.0, min(timeout_s, _began_at + timeout_s - time.monotonic()))


def start_thread(target: Callable[[], object], name: str) -> threading.Thread | None:
    """Start a thread that keeps no process from ending; ``None`` where there can be none.

    That is so while the interpreter ends, in some versions of Python, and where the system has no room for another one.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        logger.debug("no thread %s: %s", name, error)
        return None
    return thread


class Waiting:
    """Says, while a program waits for a store, for what, until when, and that it need not."""

    def __init__(self, what: str, timeout_s: float, *, is_kept: bool = True) -> None:
        self._what = what
        self._is_kept = is_kept
        self._until = time.monotonic() + timeout_s
        self._say_at = time.monotonic() + SAY_AFTER_S

    def pause(self) -> float:
        """Return how many seconds to wait before this is called again, having said what there is to say."""
        now = time.monotonic()
        left_s = self._until - now
        if now >= self._say_at and left_s > 1:
            self._say_at = now + SAY_EVERY_S
            logger.warning(
                "ModelDB waits for %s, up to %d s more. Ctrl-C leaves at once%s",
                self._what,
                left_s,
                ": nothing is lost, it is in the journal." if self._is_kept else ".",
            )
        return max(0.0, min(left_s, self._say_at - now, 1.0))


def _after_fork_in_child() -> None:
    global _is_known, _began_at, _is_running, _is_hurried, _is_forked
    _functions.clear()
    _is_known, _began_at, _is_running, _is_hurried, _is_forked = False, None, False, False, True


forks.after_in_child(_after_fork_in_child)
atexit.register(_run_last)
