"""Keeps what ModelDB does around a call away from the program: exceptions, warnings, random state."""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime import forks
from modeldb_core.runtime.interruptions import is_of_a_signal_handler
from modeldb_core.runtime.notices import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

logger = logging.getLogger("modeldb")

_inside: ContextVar[bool] = ContextVar("modeldb_inside", default=False)
_silence = threading.local()


def is_inside() -> bool:
    """Whether this thread is inside a call that is being recorded, or inside ModelDB's own work."""
    return _inside.get()


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """Calls of wrapped methods within the block are not recorded: they are part of one that is."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Calls of wrapped methods within the block go through their interceptors again, though a call is under way."""
    token = _inside.set(False)
    try:
        yield
    finally:
        _inside.reset(token)


class _OnlyHere(type):
    """Makes a warning category that all warnings belong to, in threads that are in a :func:`quiet` block."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        return getattr(_silence, "depth", 0) > 0


class _Silenced(Warning, metaclass=_OnlyHere):
    """The category of the filter that :func:`quiet` puts first."""


_FILTER: Any = ("ignore", None, _Silenced, None, 0)
_filtering = threading.RLock()
_quiet_threads = 0  # and, nested, blocks


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings that this thread causes within the block, and leave no trace of it.

    ``warnings.catch_warnings`` would silence other threads too, and would make Python forget which warnings it has
    shown already, so that the program's own ones came again. Here, one filter that matches in this thread only stands
    first for a while; what it drops is not remembered as shown either.

    It is taken out by the main thread only, when no thread is in such a block any more. A thread that is looking through
    the filters for a warning of its own would miss one of them when the list moved up under it.
    """
    global _quiet_threads
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    with _filtering:
        _quiet_threads += 1
        _silence.depth = getattr(_silence, "depth", 0) + 1
        if not filters or filters[0] is not _FILTER:
            filters.insert(0, _FILTER)
    try:
        yield
    finally:
        with _filtering:
            _quiet_threads -= 1
            _silence.depth -= 1
            if not _quiet_threads and threading.current_thread() is threading.main_thread():
                while _FILTER in filters:
                    filters.remove(_FILTER)


@contextlib.contextmanager
def rolled_back(*objects: object) -> Iterator[None]:
    """Put back what code of strangers within the block may change: attributes of ``objects``, global random states.

    Attributes are put back as references: what such code changes inside a list or an array stays changed.
    """
    states = [(item, dict(vars(item))) for item in objects if hasattr(item, "__dict__")]
    python_state = random.getstate()
    numpy_random: Any = getattr(sys.modules.get("numpy"), "random", None)
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    try:
        yield
    finally:
        for item, before in states:
            after = vars(item)
            if len(after) != len(before) or any(after.get(key, _MISSING) is not value for key, value in before.items()):
                after.clear()
                after.update(before)
        if random.getstate() != python_state:
            random.setstate(python_state)
        if numpy_state is not None and not _same_state(numpy_state, numpy_random.get_state()):
            numpy_random.set_state(numpy_state)


_MISSING = object()


def _same_state(first: Any, second: Any) -> bool:  # noqa: ANN401
    return bool(first[0] == second[0] and first[2:] == second[2:] and (first[1] == second[1]).all())


class Guard:
    """Runs ModelDB's own steps such that none of them can stop or change the program.

    Args:
        integration: the name that warnings carry.
    """

    def __init__(self, integration: str) -> None:
        self._integration = integration
        self._told: set[str] = set()

    def step(self, what: str, note: Callable[[str], None] | None = None) -> Step:
        """Return a context manager for a step whose failure costs nothing but itself.

        An exception becomes one :class:`~modeldb_core.errors.ModelDBWarning` for each ``what``, and a note on the run
        by ``note``. KeyboardInterrupt, SystemExit and what a signal handler of the program raises pass: they are not the
        step's.

        Args:
            what: what is done, as in "could not record the model".
            note: writes on the run.
        """
        return Step(self, what, note)

    def report(self, message: str, key: str, note: Callable[[str], None] | None = None) -> None:
        """Warn of something once, and note it on the run every time; never raises."""
        if note is not None:
            try:
                note(f"Autologging of {self._integration} {message}.")
            except Exception:
                logger.debug("the note could not be written", exc_info=True)
        if key in self._told:
            return
        self._told.add(key)
        depth, _silence.depth = getattr(_silence, "depth", 0), 0  # the step around this one may be quiet
        try:
            warn(f"autologging of {self._integration} {message}; training goes on. This is said once.")
        except Exception:  # warnings are errors here: the program asked for it, but autologging never raises
            logger.warning("Autologging of %s %s.", self._integration, message)
        finally:
            _silence.depth = depth

    def forget(self) -> None:
        """Warn again of what was warned of."""
        self._told.clear()


class Step:
    """One step under a :class:`Guard`: calls of wrapped methods in it are not recorded, and nothing leaves it."""

    __slots__ = ("_guard", "_note", "_quiet", "_token", "_what")

    def __init__(self, guard: Guard, what: str, note: Callable[[str], None] | None) -> None:
        self._guard = guard
        self._what = what
        self._note = note

    def __enter__(self) -> None:
        self._token = _inside.set(True)
        self._quiet = quiet()
        self._quiet.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._quiet.__exit__(None, None, None)
        _inside.reset(self._token)
        if not isinstance(error, Exception) or is_of_a_signal_handler(error):
            return False
        logger.debug("autologging could not %s", self._what, exc_info=error)
        self._guard.report(f"could not {self._what}: {describe_error(error)}", self._what, self._note)
        return True


def describe_error(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _after_fork_in_child() -> None:
    """Only the thread that forked is here."""
    global _filtering, _quiet_threads
    _filtering, _quiet_threads = threading.RLock(), getattr(_silence, "depth", 0)


forks.after_in_child(_after_fork_in_child)
