"""Forks: connections are closed before one, because neither side could use them after it.

A child must not touch its parent's connections. SQLite goes further: even opening the same file again is wrong while the
child has inherited an open connection, since SQLite then believes in locks that the child does not hold. So a process
that forks waits for the operations under way, closes all connections, forks, and opens new ones on both sides when
they are needed. A fork also waits while a thread of ModelDB imports something: the child, where that thread is not,
would have half a module for ever. Starting a program (``subprocess``) is not a fork in this sense.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PATIENCE_S = 10.0
"""How long a fork waits for other threads, in all."""

_deadline = 0.0  # of the fork under way


class Forkable(Protocol):
    """What must release its connections before a fork."""

    def before_fork(self) -> None:
        """Release all connections."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on."""


class Gate:
    """Lets operations in while it is open; shutting it waits for those inside.

    A thread may enter again while it is inside, also when the gate was shut meanwhile: a signal handler may have forked.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside: dict[int, int] = {}  # by thread
        self._is_shut = False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be inside, for an operation."""
        me = threading.get_ident()
        with self._condition:
            while self._is_shut and me not in self._inside:
                self._condition.wait()
            self._inside[me] = self._inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self._condition:
                self._inside[me] -= 1
                if not self._inside[me]:
                    del self._inside[me]
                self._condition.notify_all()

    def shut(self) -> None:
        """Let nobody in, and wait for the other threads inside, as long as the fork under way has patience."""
        me = threading.get_ident()
        with self._condition:
            self._is_shut = True
            while self._inside.keys() - {me} and (left := _deadline - time.monotonic()) > 0:
                self._condition.wait(left)

    def open(self) -> None:
        """Let operations in again."""
        with self._condition:
            self._is_shut = False
            self._condition.notify_all()


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking: list[Forkable] = []


def after_in_child(function: Callable[[], object]) -> None:
    """Call ``function`` in each child, before what it is forked for."""
    if hasattr(os, "register_at_fork"):  # Windows has no forks
        os.register_at_fork(after_in_child=function)


def register(item: Forkable) -> None:
    """Tell ``item`` about forks from now on, as long as it lives."""
    _known.add(item)


def forget(item: Forkable) -> None:
    """Tell ``item`` no more."""
    _known.discard(item)


def _before() -> None:
    global _deadline
    _deadline = time.monotonic() + PATIENCE_S
    _forking[:] = list(_known)
    while _is_importing() and time.monotonic() < _deadline:
        time.sleep(0.001)
    for item in _forking:
        item.before_fork()


def _is_importing() -> bool:
    """Return whether a thread of ModelDB is in the middle of an import."""
    ours = {thread.ident for thread in threading.enumerate() if thread.name.startswith("modeldb-")}
    ours.discard(threading.get_ident())
    return any(ident in ours and _imports(frame) for ident, frame in _frames().items())


def _frames() -> dict[int, FrameType]:
    """Return the frame that each thread is in."""
    # Until Python 3.12 a collection in the midst of this may deadlock with a thread that begins or ends.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if was_enabled:
            gc.enable()


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _after_in_parent() -> None:
    for item in _forking:
        item.after_fork(in_child=False)
    _forking.clear()


def _after_in_child() -> None:
    for item in _forking:
        item.after_fork(in_child=True)
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
