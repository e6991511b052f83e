"""What goes on inside :class:`joblib.Parallel`: results that are followed, and tasks that take their run along.

joblib sends tasks to threads and processes in which no block of the program is open and autologging is off. So the tasks
that a *program* sends take along which run they belong to and what to record (:class:`Task`). Fits that scikit-learn
sends are part of something that is recorded already, and go as they are; except where one of them is a search itself.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.autologging import is_inside, outside
from modeldb_core.autologging.runs import attach, describe, within
from modeldb_core.tracking import current_run
from modeldb_sklearn.calls import caller, is_by_sklearn
from modeldb_sklearn.options import GUARD, PATIENCE_S, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from modeldb_core.tracking import RunHandle

Told = dict[str, Any]
Install: TypeAlias = "Callable[[], None]"
"""Puts the patches in place in a worker; pickled by its name, so it is a function of a module."""


class Watch(ABC):
    """Follows the results that some function of scikit-learn waits for."""

    run: RunHandle

    @abstractmethod
    def claims(self, frame: FrameType) -> bool:
        """Whether what hands out its tasks in ``frame`` is what is followed."""

    @abstractmethod
    def begin(self, frame: FrameType) -> None:
        """Tasks are about to be handed out."""

    @abstractmethod
    def result(self, number: int, output: Any) -> None:  # noqa: ANN401
        """The task of that number is done, as all before it."""

    def task_run(self, number: int) -> tuple[Told, Told] | None:
        """Return the run that searches inside a task belong to, and facts about them; ``None``: there are none."""
        del number
        return None


WATCH: ContextVar[Watch | None] = ContextVar("modeldb_sklearn_watch", default=None)
INNER: ContextVar[tuple[Told, Told] | None] = ContextVar("modeldb_sklearn_inner", default=None)
"""The run that a search belongs to which scikit-learn itself fits, and facts about it."""
CARRIED: ContextVar[Options | None] = ContextVar("modeldb_sklearn_options", default=None)
"""The options that a task took along; they count before those of the process."""
_next: ContextVar[Callable[[int], Task | None] | None] = ContextVar("modeldb_sklearn_next", default=None)


def followed(run: RunHandle, run_id: str) -> Told:
    """Return what another process needs to log to the run of that identifier, a part of ``run``."""
    return {**describe(run), "run_id": run_id}


def on_sklearn_parallel(
    options: Options | None,
    install: Install,
    original: Callable[..., Any],
    parallel: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Call ``sklearn.utils.parallel.Parallel.__call__``, and let the watch that claims it see results as they come."""
    watch, frame = WATCH.get(), caller()
    if options is None or watch is None or frame is None or getattr(parallel, "return_generator", True):
        return original(parallel, *args, **kwargs)
    is_followed = False
    with GUARD.step("follow what is tried", watch.run.note):
        if watch.claims(frame):
            watch.begin(frame)
            is_followed = True
    if not is_followed:
        return original(parallel, *args, **kwargs)
    token = _next.set(lambda number: _inner_task(watch, number, options, install))
    parallel.return_generator = True
    try:
        outputs = original(parallel, *args, **kwargs)
        parallel.return_generator = False
        return list(_seen(outputs, watch))
    finally:
        parallel.return_generator = False
        _next.reset(token)


def on_joblib_parallel(
    options: Options | None,
    install: Install,
    original: Callable[..., Any],
    parallel: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Call ``joblib.Parallel.__call__`` such that the tasks know in their thread or process what they belong to."""
    make = _next.get()
    token = _next.set(None)
    try:
        if options is None or not args or not _is_local(parallel):
            return original(parallel, *args, **kwargs)
        if make is None and not is_inside() and not is_by_sklearn(caller()):
            with GUARD.step("hand a run to workers"):
                task = _program_task(options, install)
                make = lambda _: task  # noqa: E731
        if make is not None:
            args = (_carrying(args[0], make), *args[1:])
        return original(parallel, *args, **kwargs)
    finally:
        _next.reset(token)


def _seen(outputs: Iterable[Any], watch: Watch) -> Iterator[Any]:
    for number, output in enumerate(outputs):
        with GUARD.step("follow what is tried", watch.run.note):
            watch.result(number, output)
        yield output


def _is_local(parallel: Any) -> bool:  # noqa: ANN401
    """Return whether the tasks stay on this machine: elsewhere there may be no ModelDB to unpickle them."""
    return type(getattr(parallel, "_backend", None)).__module__.startswith("joblib.")


def _carrying(tasks: Iterable[Any], make: Callable[[int], Task | None]) -> Iterator[Any]:
    for number, (function, args, kwargs) in enumerate(tasks):
        task = make(number)
        yield (function if task is None else task.of(function)), args, kwargs


def _inner_task(watch: Watch, number: int, options: Options, install: Install) -> Task | None:
    with GUARD.step("hand a run to workers"):
        inner = watch.task_run(number)
        return None if inner is None else Task(options, install, inner=inner)
    return None


def _program_task(options: Options, install: Install) -> Task:
    run = current_run()
    return Task(options, install, run=None if run is None else describe(run), handle=run)


class Task:
    """What a task takes along; :meth:`of` makes the task."""

    def __init__(
        self,
        options: Options,
        install: Install,
        *,
        run: Told | None = None,
        inner: tuple[Told, Told] | None = None,
        handle: Any = None,  # noqa: ANN401
    ) -> None:
        self.options = options
        self._install = install
        self._portable = options.portable()  # not when it is pickled, where an error would be the program's
        self.run = run
        self.inner = inner
        self._handle = handle
        self._process_id = os.getpid()

    def of(self, function: Callable[..., Any]) -> CarriedFunction:
        """Return ``function`` as it is to be called by a worker."""
        return CarriedFunction(self, function)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_handle": None, "options": self._portable}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Wrap the methods before the function is read, which may be one of them: ``delayed(model.fit)``."""
        vars(self).update(state)
        with GUARD.step("take up the run of the program"):
            self._install()

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Give calls in the block the run and the options of the program, in whatever thread or process this is."""
        is_elsewhere = self._process_id != os.getpid()
        with contextlib.ExitStack() as stack:
            with GUARD.step("take up the run of the program"):
                if is_elsewhere:
                    stack.callback(CARRIED.reset, CARRIED.set(self.options))
                run = attach(self.run) if is_elsewhere and self.run is not None else self._handle
                if run is not None:
                    stack.enter_context(within(run))
                if self.inner is not None:
                    stack.callback(INNER.reset, INNER.set(self.inner))
            try:
                with outside() if self.inner is not None else contextlib.nullcontext():
                    yield
            finally:
                stack.close()
                if is_elsewhere:
                    with GUARD.step("finish the work of a task"):
                        _finish_task(self.options)


AFTER_TASK: list[Callable[[], None]] = []
"""What is to be done in a worker when one of its tasks is done."""
_no_shipping_before = 0.0


def _finish_task(options: Options) -> None:
    """Have all that a task has logged in the journal before it counts as done, and in the store if that is quick.

    A pool may end its workers right after, by a signal; what is not shipped then, the process that started them ships.
    """
    global _no_shipping_before
    for function in AFTER_TASK:
        function()
    client = options.resolved_client()
    client.secure()
    if monotonic() >= _no_shipping_before and not client.flush(PATIENCE_S):
        _no_shipping_before = monotonic() + 60 * PATIENCE_S


class CarriedFunction:
    """A function with what its calls belong to."""

    def __init__(self, task: Task, function: Callable[..., Any]) -> None:
        self.task = task
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return CarriedFunction, (self.task, self.function)  # in this order

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call the function."""
        with self.task.begun():
            return self.function(*args, **kwargs)
