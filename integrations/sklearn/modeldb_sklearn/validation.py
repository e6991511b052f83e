"""``cross_validate`` and ``cross_val_score``: one run with the scores of every split.

They are functions that programs import by name, so replacing them in their module would miss whoever imported them
before. What they all go through is the method that hands out the splits (``Parallel.__call__``); it is wrapped, and
looks at who calls it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.autolog import entered
from modeldb_core.datasets import Described, describe
from modeldb_sklearn.hyperparameters import public_name, settings_of, typed
from modeldb_sklearn.options import BACKGROUND, GUARD, Options
from modeldb_sklearn.placement import place
from modeldb_sklearn.recording import DATASET, labelled, task_of

if TYPE_CHECKING:
    from types import FrameType

_MODULE = "sklearn.model_selection._validation"
_FUNCTIONS = ("cross_validate", "cross_val_score")


def on_parallel(
    options: Options,
    original: Callable[..., Any],
    parallel: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Call ``Parallel.__call__``; where ``cross_validate`` does so for the program, record what it finds."""
    found = _validation_call()
    if found is None:
        return original(parallel, *args, **kwargs)
    validation: Validation | None = None
    with GUARD.step("record a cross-validation"):
        validation = Validation(*found, options)
    start = perf_counter()
    try:
        with entered():
            results = original(parallel, *args, **kwargs)
    except BaseException as error:
        if validation is not None:
            validation.fail(error)
        raise
    if validation is not None:
        with GUARD.step("record a cross-validation", validation.run.note):
            validation.succeed(results, perf_counter() - start)
    return results


def _validation_call() -> tuple[str, dict[str, Any]] | None:
    """Return the function of scikit-learn that the program called, and the arguments of its ``cross_validate``."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("modeldb_core.autolog", "modeldb_sk")):
        frame = frame.f_back
    if frame is None or frame.f_code.co_name != "cross_validate" or frame.f_globals.get("__name__") != _MODULE:
        return None
    arguments = dict(frame.f_locals)
    name = "cross_validate"
    while frame is not None and frame.f_globals.get("__name__", "").startswith("sklearn."):
        if frame.f_code.co_name in _FUNCTIONS:
            name = frame.f_code.co_name
        elif frame.f_globals["__name__"] == _MODULE:
            return None  # learning curves and the like
        frame = frame.f_back
    return name, arguments


class Validation:
    """The run of one cross-validation; within the program's run always a child, so that the run stays the fit's."""

    def __init__(self, function: str, arguments: Mapping[str, Any], options: Options) -> None:
        estimator = arguments["estimator"]
        self._data = labelled(arguments["X"], arguments["y"])
        self._options = options
        self.run = place(
            options,
            f"{function} {type(estimator).__name__}",
            is_preparation=True,
            hyperparameters=settings_of(estimator).values,
            attributes={
                "estimator_class": public_name(type(estimator)),
                "estimator_type": task_of(estimator) or "estimator",
                "validation": function,
                "cv": typed(arguments.get("cv")),
                "scoring": typed(arguments.get("scoring")),
            },
            tags=["sklearn", "cross-validation", *options.tags],
        ).run
        self._description = None
        if options.log_datasets:
            with GUARD.step("describe the data", self.run.note):
                self._description = describe(self._data, DATASET)

    def succeed(self, results: list[Mapping[str, Any]], duration_s: float) -> None:
        """Record the scores of all splits beside the program."""
        splits = [_numbers(result) for result in results]
        BACKGROUND.submit(lambda: self._record(splits, duration_s), [self.run.run_id])

    def fail(self, error: BaseException) -> None:
        """Scikit-learn raised ``error``."""
        with GUARD.step("record a failed cross-validation"):
            self.run.note(f"The cross-validation raised {type(error).__name__}: {str(error)[:500]}")
            self.run.finish("killed" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed")

    def _record(self, splits: list[dict[str, float]], duration_s: float) -> None:
        with GUARD.step("record a cross-validation", self.run.note):
            metrics: dict[str, float] = {"seconds": duration_s}
            for name in splits[0]:
                values = np.array([split[name] for split in splits])
                metrics[f"mean_{name}"], metrics[f"std_{name}"] = float(values.mean()), float(values.std())
                if "score" in name and "time" not in name:
                    metrics.update({f"split{index}_{name}": float(value) for index, value in enumerate(values)})
            self.run.log_metrics(metrics)
            for index, split in enumerate(splits):
                self.run.log_metrics(split, index)
            self.run.set_attributes({"n_splits": len(splits)})
            if self._description is not None:
                self.run.log_dataset(Described(self._description), DATASET)
        with GUARD.step("end the run"):
            self.run.finish()


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one split: a score or a map of scores, for test and training, and the times."""
    found: dict[str, float] = {}
    for name in ("test", "train"):
        scores = result.get(f"{name}_scores")
        if isinstance(scores, Mapping):
            found.update({f"{name}_{key}": float(value) for key, value in scores.items()})
        elif scores is not None:
            found[f"{name}_score"] = float(scores)
    found.update({name: float(result[name]) for name in ("fit_time", "score_time") if name in result})
    return found
