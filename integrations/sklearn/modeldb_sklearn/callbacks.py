"""What scikit-learn's own callbacks tell of a fit (``sklearn.callback``, from 1.9 on): how long its tasks took.

Only a few estimators call them, so the fit itself is followed by its wrapped method in any case, and behaves the same
with and without. Searches are left out: their callbacks would be sent to worker processes, and never come back.
"""

from __future__ import annotations

import contextlib
from time import perf_counter
from typing import TYPE_CHECKING, Any

from modeldb_sklearn.options import GUARD
from modeldb_sklearn.search import is_search

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIPELINE = ("fit-transform-", "fit-final-", "fit-predict-final-", "fit-transform-final-")


class TaskTimes:
    """A ``FitCallback`` that remembers how long each task directly below the fit took.

    scikit-learn lets exceptions of callbacks end the fit, so none may leave these methods: they touch clocks and lists.
    A copy that is pickled or cloned away remembers nothing.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._begun: dict[Any, float] = {}
        self._last = perf_counter()

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskTimes, ()

    def setup(self, estimator: Any, context: Any) -> None:  # noqa: ANN401
        """The fit begins."""
        del estimator, context
        self._last = perf_counter()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:  # noqa: ANN401
        """A task begins."""
        del estimator
        self._begun[id(context)] = perf_counter()

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:  # noqa: ANN401
        """A task is done; ``False``: the fit goes on."""
        del estimator
        now = perf_counter()
        if getattr(context, "parent", None) is not None:
            began = self._begun.pop(
                id(context), self._last
            )  # an iteration that is not announced began with the last one
            self.seconds.setdefault(str(context.task_name), []).append(now - began)
        self._last = now
        return False

    def teardown(self, estimator: Any, context: Any) -> None:  # noqa: ANN401
        """The fit is over."""

    def metrics(self, steps: list[str]) -> dict[str, float]:
        """Return the times of a pipeline's steps by name."""
        found: dict[str, float] = {}
        for task, times in self.seconds.items():
            if len(times) != 1 or not task.startswith(_PIPELINE):
                continue
            name = steps[-1] if "final-" in task and steps else task.removeprefix("fit-transform-")
            found[f"modeldb/fit_seconds/{name}"] = times[0]
        return found

    def curves(self) -> dict[str, list[float]]:
        """Return the times of iterations."""
        return {
            f"modeldb/{task.replace('-', '_')}_seconds": times
            for task, times in self.seconds.items()
            if not task.startswith(_PIPELINE) and len(times) > 1
        }


@contextlib.contextmanager
def timed_tasks(estimator: Any, times: TaskTimes) -> Iterator[None]:  # noqa: ANN401
    """Let ``times`` follow the fit of ``estimator`` in the block, beside the program's own callbacks."""
    is_set = False
    before = getattr(estimator, "__dict__", {}).get("_skl_callbacks") or ()  # scikit-learn has no way to ask for them
    with GUARD.step("follow the tasks of a fit"), contextlib.suppress(NotImplementedError):  # of some solvers
        if hasattr(estimator, "set_callbacks") and not is_search(estimator):
            estimator.set_callbacks(*before, times)
            is_set = True
    try:
        yield
    finally:
        if is_set:
            with GUARD.step("follow the tasks of a fit"):  # scikit-learn warns here of solvers without callbacks
                estimator.set_callbacks(*before)  # none: as if there had been none
