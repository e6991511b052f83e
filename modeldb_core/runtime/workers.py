"""Threads that do what is handed to them, and never keep a process from ending."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from modeldb_core.runtime import exits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

S = TypeVar("S")
T = TypeVar("T")

IDLE_S = 10.0


class Workers:
    """At most ``width`` threads, started when there is work, gone when there was none for a while, or nobody has this.

    They are daemons: those of ``concurrent.futures`` are waited for when the interpreter ends, and a thread that waits
    for a server that never answers would keep it. A forked child begins without work and threads.
    """

    def __init__(self, width: int, name: str) -> None:
        self._crew = _Crew(width, name)

    def __del__(self) -> None:
        self._crew.release()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done, after what was submitted before; the future tells what became of it."""
        return self._crew.submit(work)

    def map(self, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """Iterate over what becomes of each item, in their order. In the end nothing of it runs any more, also after an error.

        Not for work that is done by these workers itself: it would wait for its own end.
        """
        futures = [self.submit(partial(work, item)) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            wait([future for future in futures if not future.cancel()])

    def release(self) -> None:
        """Let threads end as soon as they have nothing to do, until there is work again."""
        self._crew.release()


class _Crew:
    """The threads, and what waits for them; they keep this, and so not the object that work is handed to."""

    def __init__(self, width: int, name: str) -> None:
        self._width = width
        self._name = name
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = self._idle = 0
        self._is_released = False

    def release(self) -> None:
        self._is_released = True
        if self._condition.acquire(blocking=False):  # else who has it may be a thread that ended with the interpreter
            self._condition.notify_all()
            self._condition.release()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if self._pid != os.getpid():
            self._reset()
        future: Future[T] = Future()
        with self._condition:
            self._is_released = False
            self._waiting.append((future, work))
            if self._idle >= len(self._waiting):
                self._condition.notify()
                return future
            if self._threads < self._width:
                self._threads += 1
                if exits.start_thread(self._run, self._name) is None:
                    self._threads -= 1
            is_alone = self._threads == 0
        if is_alone:  # there can be no thread, as in some versions of Python while a program ends
            self._do_waiting()
        return future

    def _do_waiting(self) -> None:
        while self._waiting:
            future, work = self._waiting.popleft()
            _do(future, work)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting:
                    self._idle += 1
                    told = not self._is_released and self._condition.wait(IDLE_S)
                    self._idle -= 1
                    if not told and not self._waiting:
                        self._threads -= 1
                        return
                future, work = self._waiting.popleft()
            _do(future, work)
            del future, work  # what they hold on to is not kept until the next work comes


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
