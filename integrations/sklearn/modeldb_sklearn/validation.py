"""Functions that judge models by fitting them again and again: one run each, recorded as what it is.

``cross_validate``, ``cross_val_score``, ``cross_val_predict``, ``learning_curve``, ``validation_curve`` and
``permutation_test_score`` are runs, placed as fits are: the first in the program's run logs to it, each later one to a
child. What ``permutation_importance`` finds belongs to the run of the model that it is told to look at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.autologging import entered
from modeldb_core.autologging.runs import interruption_of, summary_of
from modeldb_core.tracking.description.datasets import Described
from modeldb_sklearn import figures
from modeldb_sklearn.calls import caller, is_by_sklearn
from modeldb_sklearn.data import DATASET, DataDigest
from modeldb_sklearn.hyperparameters import public_name, settings_of, typed
from modeldb_sklearn.options import BACKGROUND, GUARD, Options, secure
from modeldb_sklearn.parallel import WATCH, Watch, followed
from modeldb_sklearn.placement import place
from modeldb_sklearn.recording import task_of
from modeldb_sklearn.search import is_search

if TYPE_CHECKING:
    from types import FrameType

    from modeldb_sklearn.evaluation import Evaluations

SECONDS = "modeldb/seconds"
_PATIENCE_S = 1.0  # what takes longer is shown before it is done
_MODULE = "sklearn.model_selection._validation"
FUNCTIONS = (
    "cross_validate",
    "cross_val_score",
    "cross_val_predict",
    "learning_curve",
    "validation_curve",
    "permutation_test_score",
)


def on_validation(
    options: Options | None,
    evaluations: Evaluations,
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Call a function that judges a model, and record what it finds."""
    if options is None or is_by_sklearn(caller()):
        return original(*args, **kwargs)
    validation: Validation | None = None
    arguments: Mapping[str, Any] = {}
    with GUARD.step("record a cross-validation"):
        arguments = _arguments(original, args, kwargs)
        chosen = options.of(arguments["estimator"]) if "estimator" in arguments else None
        if chosen is not None:
            validation = Validation(original.__name__, arguments, chosen)
    token = WATCH.set(validation)
    start = perf_counter()
    try:
        with entered():
            result = original(*args, **kwargs)
    except BaseException as error:
        if validation is not None:
            validation.fail(error)
        raise
    finally:
        WATCH.reset(token)
    if validation is not None:
        with GUARD.step("record a cross-validation", validation.run.note):
            validation.succeed(result, perf_counter() - start)
        with GUARD.step("remember predictions", validation.run.note):
            if validation.function == "cross_val_predict" and chosen is not None and chosen.log_evaluations:
                evaluations.remember_for_run(result, validation.run, chosen, arguments.get("y"))
    return result


def _arguments(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(original).bind(*args, **kwargs).arguments
    except TypeError:  # the call is wrong, which scikit-learn says better
        return {}


class Validation(Watch):
    """The run of one such call."""

    def __init__(self, function: str, arguments: Mapping[str, Any], options: Options) -> None:
        estimator = arguments["estimator"]
        self.function = function
        self._arguments = arguments
        self._options = options
        self._splits: list[dict[str, float]] = []
        self._fits = 0
        self._shown_at = monotonic()
        self._has_search = False
        self._start = perf_counter()
        settings = settings_of(estimator)
        self._has_search = any(is_search(part) for part in settings.estimators)
        attributes = {
            "estimator_class": public_name(type(estimator)),
            "estimator_type": _task(estimator),
            "validation": function,
        }
        attributes |= {name: typed(arguments[name]) for name in ("cv", "scoring", "method") if name in arguments}
        self._placement = place(
            options,
            f"{function} {type(estimator).__name__}",
            is_preparation=False,
            hyperparameters=settings.values,
            attributes=attributes,
            tags=["sklearn", "cross-validation", *options.tags],
        )
        self.run = self._placement.run
        self._digest = None
        X, y = arguments.get("X"), arguments.get("y")
        if options.log_datasets and (X is not None or y is not None):
            with GUARD.step("describe the data", self.run.note):
                self._digest = DataDigest(X, y, at_once=bool(settings.foreign_code))

    # -- while it goes on ---------------------------------------------------------------------------------------------

    def claims(self, frame: FrameType) -> bool:
        """Whether this function, or ``cross_validate`` for it, hands out its fits in ``frame``."""
        return frame.f_globals.get("__name__") == _MODULE and frame.f_code.co_name in (self.function, "cross_validate")

    def begin(self, frame: FrameType) -> None:
        """Nothing is known before the first split is done."""

    def task_run(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A search that is judged has a run for each split."""
        return (followed(self.run, self.run.run_id), {"split": number}) if self._has_search else None

    def result(self, number: int, output: Any) -> None:  # noqa: ANN401
        """The fit and the score of a split are done."""
        if isinstance(output, Mapping) and self.function in ("cross_validate", "cross_val_score"):
            self._splits.append(_numbers(output))
            if self._placement.is_ours:
                self.run.log_metrics(self._splits[number], number)
        elif self.function != "cross_val_predict":
            self._fits = number + 1
        if monotonic() - self._shown_at > _PATIENCE_S:
            self._show()

    def _show(self) -> None:
        """Show what has been done, in a form that can be taken back: points of a series stay."""
        self._shown_at = monotonic()
        known = self._placement.names.get("metrics", ())
        scores = _by_split(self._splits)  # NaN where the fit failed
        new = {name: value for name, value in scores.items() if name not in known and not np.isnan(value)}
        self._placement.put_metrics(new | ({"modeldb/fits_done": self._fits} if self._fits else {}))

    # -- after it -----------------------------------------------------------------------------------------------------

    def succeed(self, result: Any, duration_s: float) -> None:  # noqa: ANN401
        """Record what it returned; whatever goes wrong, the run ends."""
        drawn: list[figures.Figure] = []
        found = {SECONDS: duration_s}
        description = None
        try:
            with GUARD.step("describe the data", self.run.note):
                description = self._digest.result() if self._digest is not None else None
            with GUARD.step("record the result of a cross-validation", self.run.note):
                found.update(self._summary(result, drawn))
        finally:
            BACKGROUND.submit(lambda: self._record(found, description, drawn), [self.run.run_id])
            secure(self.run)

    def fail(self, error: BaseException) -> None:
        """Scikit-learn raised ``error``."""
        self._placement.has_failed = True
        with GUARD.step("record a failed cross-validation"):
            self.run.note(f"The cross-validation raised {summary_of(error)}")
            self._show()
            self._placement.put_metrics({SECONDS: perf_counter() - self._start})
        with GUARD.step("end the run"):
            if self._placement.is_ours:
                self.run.finish(interruption_of(error))

    def _record(
        self, metrics: dict[str, float], description: dict[str, Any] | None, drawn: list[figures.Figure]
    ) -> None:
        with GUARD.step("record a cross-validation", self.run.note):
            taken = [name for name in metrics if self.run.has_metric(name)]
            if taken:
                self.run.note(f"Not recorded: {', '.join(taken)}, since the program has logged that itself.")
            self.run.log_metrics({name: value for name, value in metrics.items() if name not in taken})
        with GUARD.step("record the data set", self.run.note):
            if description is not None and self._digest is not None:
                self.run.log_dataset(Described(description, self._digest.name), DATASET)
        with GUARD.step("store files", self.run.note):
            figures.store(self.run.late(), drawn)
        with GUARD.step("end the run"):
            if self._placement.is_ours:
                self.run.finish()

    def _summary(self, result: Any, drawn: list[figures.Figure]) -> dict[str, float]:  # noqa: ANN401
        if self.function in ("cross_validate", "cross_val_score"):
            return self._split_summary(result)
        if self.function == "permutation_test_score":
            score, permuted, p_value = result
            return {"score": float(score), "p_value": float(p_value), "mean_permuted_score": float(np.mean(permuted))}
        if self.function in ("learning_curve", "validation_curve"):
            return self._curve(result, drawn)
        return {}

    def _split_summary(self, result: Any) -> dict[str, float]:  # noqa: ANN401
        splits = self._splits
        if not splits:  # they did not come by, as with a joblib that hands them out at the end only
            scores = result if isinstance(result, Mapping) else {"test_score": result}
            names = [name for name in scores if getattr(scores[name], "dtype", np.dtype(object)).kind in "if"]
            count = len(scores[names[0]]) if names else 0
            splits = [{name: float(scores[name][index]) for name in names} for index in range(count)]
        self.run.set_attributes({"n_splits": len(splits)})
        if not (self._splits and self._placement.is_ours):
            for index, split in enumerate(splits):
                self.run.log_metrics(split, index)
        metrics: dict[str, float] = {}
        for name in splits[0] if splits else ():
            values = np.array([split.get(name, np.nan) for split in splits])
            metrics[f"mean_{name}"], metrics[f"std_{name}"] = float(values.mean()), float(values.std())
        return metrics | _by_split(splits)

    def _curve(self, result: Any, drawn: list[figures.Figure]) -> dict[str, float]:  # noqa: ANN401
        """Log the curve: by the size of the training data, or by the place in the range of the parameter."""
        name = str(self._arguments.get("param_name", ""))
        if self.function == "learning_curve":
            x, train, test = result[:3]
            steps = [int(size) for size in x]
        else:
            train, test = result
            x = list(self._arguments["param_range"])
            steps = list(range(len(x)))
            self.run.set_attributes({"param_name": name, "param_range": [typed(value) for value in x]})
        for index, step in enumerate(steps):
            numbers = {}
            for kind, scores in (("train", train), ("test", test)):
                numbers[f"mean_{kind}_score"] = float(np.mean(scores[index]))
                numbers[f"std_{kind}_score"] = float(np.std(scores[index]))
            self.run.log_metrics(numbers, step)
        if self._options.log_pictures:
            drawn.extend(figures.of_learning_curve(name, list(x), train, test))
        return {"best_mean_test_score": float(np.nanmax(np.mean(test, axis=1)))}


def _task(estimator: Any) -> str:  # noqa: ANN401
    try:
        return task_of(estimator) or "estimator"
    except Exception:  # an estimator that answers wrongly is for nothing in particular
        return "estimator"


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


def _by_split(splits: list[dict[str, float]]) -> dict[str, float]:
    """Return the scores of all splits as metrics with names of their own; times are no scores."""
    return {
        f"split{index}_{name}": value
        for index, split in enumerate(splits)
        for name, value in split.items()
        if name.startswith(("test_", "train_"))
    }


def on_importance(
    evaluations: Evaluations, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:  # noqa: ANN401
    """Call ``permutation_importance``, and record what it finds with the model."""
    if is_by_sklearn(caller()):
        return original(*args, **kwargs)
    with entered():
        result = original(*args, **kwargs)
    with GUARD.step("record importances"):
        arguments = inspect.signature(original).bind(*args, **kwargs).arguments
        evaluations.record_importance(arguments["estimator"], arguments["X"], result)
    return result
