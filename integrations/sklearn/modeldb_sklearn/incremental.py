"""``partial_fit``: one run for each estimator, and a point for each call."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import interruption_of, summary_of
from modeldb_core.model.scalars import scalar_of
from modeldb_sklearn.formats import dump_now, signature_of
from modeldb_sklearn.hyperparameters import public_name, settings_of
from modeldb_sklearn.options import BACKGROUND, GUARD, Options, upload
from modeldb_sklearn.placement import Placement, place
from modeldb_sklearn.recording import task_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.autologging.runs import Ending
    from modeldb_core.tracking import RunHandle
    from modeldb_sklearn.evaluation import Evaluations

WATCHED = ("loss_", "n_iter_", "t_", "noise_variance_", "inertia_", "reconstruction_err_")
"""Attributes that are read after each call; those that hold a number become series of their name without ``_``."""


@dataclass(slots=True)
class Stream:
    """The run of an estimator that learns batch by batch."""

    estimator: weakref.ref[Any]
    placement: Placement
    options: Options
    ending: Ending | None = None  # of the run, after a call that raised
    calls: int = 0
    samples: int = 0
    own: set[str] = field(default_factory=set)  # the series that are not the program's


class Streams:
    """The estimators that learn batch by batch at the moment."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations = evaluations
        self._lock = threading.Lock()
        self._open: dict[int, Stream] = {}
        self._gone: deque[int] = deque()  # filled while garbage is collected, where no lock may be taken

    def before(self, estimator: Any, options: Options) -> Stream | None:  # noqa: ANN401
        """Return the run of ``estimator``, started if this is its first batch; ``None`` where that did not work."""
        self._end_gone()
        stream = self._open.get(id(estimator))
        if stream is not None and stream.estimator() is estimator:
            return stream
        with GUARD.step("start a run for partial_fit"):
            task = task_of(estimator)
            settings = settings_of(estimator)
            placement = place(
                options,
                type(estimator).__name__,
                is_preparation=task == "transformer",
                hyperparameters=settings.values,
                attributes={
                    "estimator_class": public_name(type(estimator)),
                    "estimator_type": task or "estimator",
                    "fitted_by": "partial_fit",
                },
                tags=["sklearn", task, *options.tags],
            )
            stream = Stream(weakref.ref(estimator, self._collected(id(estimator))), placement, options)
            with self._lock:
                self._open[id(estimator)] = stream
            if options.log_evaluations:
                self._evaluations.add([estimator], placement.run, options, step=lambda: max(0, stream.calls - 1))
            return stream
        return None

    def after(self, stream: Stream, samples: int) -> None:
        """Log the points of a call that is done."""
        estimator = stream.estimator()
        stream.ending = None
        with GUARD.step("record partial_fit", stream.placement.run.note):
            stream.samples += samples
            values = {"samples_seen": float(stream.samples)}
            attributes = vars(estimator)
            for name in WATCHED:
                value = attributes.get(name)
                number = value if isinstance(value, (int, float)) else scalar_of(value)
                if isinstance(number, (int, float)):
                    values[name[:-1]] = float(number)
            run = stream.placement.run
            stream.own.update(name for name in values if not run.has_metric(name))
            run.log_metrics({name: value for name, value in values.items() if name in stream.own}, stream.calls)
            stream.calls += 1

    def fail(self, stream: Stream, error: BaseException) -> None:
        """A call raised ``error``. Where it was the first, that was all; else the estimator may go on."""
        stream.ending = interruption_of(error)
        estimator, run = stream.estimator(), stream.placement.run
        with GUARD.step("record a failed partial_fit"):
            run.note(f"partial_fit of {type(estimator).__name__} raised {summary_of(error)}")
        if not stream.calls:
            stream.placement.has_failed = True
            with GUARD.step("end the run"):
                self._open.pop(id(estimator), None)
                self._evaluations.forget(estimator)
                if stream.placement.is_ours:
                    run.finish(stream.ending)

    def end(self, estimator: Any) -> None:  # noqa: ANN401
        """End the run of an estimator: it is fitted again."""
        stream = self._open.get(id(estimator))
        if stream is not None and stream.estimator() is estimator:
            self._close(id(estimator))

    def end_all(self) -> None:
        """End all runs, with the models as they are now."""
        for key in list(self._open):
            self._close(key)

    def end_run(self, run_id: str) -> None:
        """A run is about to be ended by somebody: record the model as it is now."""
        for key, stream in list(self._open.items()):
            if stream.placement.run.run_id == run_id:
                stream.placement.is_ours = False
                self._close(key)

    def _collected(self, key: int) -> Callable[[object], None]:
        return lambda _: self._gone.append(key)

    def _end_gone(self) -> None:
        while self._gone:
            key = self._gone.popleft()
            stream = self._open.get(key)
            if stream is not None and stream.estimator() is None:
                self._close(key)

    def _close(self, key: int) -> None:
        with self._lock:
            stream = self._open.pop(key, None)
        if stream is None:
            return
        run = stream.placement.run
        estimator = stream.estimator()
        with GUARD.step("record the result of partial_fit", run.note):
            run.set_attributes({"partial_fit_calls": stream.calls})
            if not stream.options.log_models:
                pass
            elif estimator is None:
                run.note("Not recorded: the model, which was gone before its run ended.")
            else:
                model = dump_now(estimator, signature_of(estimator))
                stored = run.late()
                upload("the model", stored, lambda: stored.log_model(model))
        if stream.placement.is_ours:
            BACKGROUND.submit(lambda: _finish(run, stream.ending), [run.run_id])


def _finish(run: RunHandle, ending: Ending | None) -> None:
    with GUARD.step("end the run"):
        run.finish(ending)
