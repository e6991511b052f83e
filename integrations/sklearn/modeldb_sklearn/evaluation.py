"""Scores that the program works out after a fit find the run of the model that they judge.

A prediction is remembered by the object that it is: when it, whole and unchanged, is handed to a function of
:mod:`sklearn.metrics`, what comes back belongs to the run of the model that predicted. So nothing has to be declared, and
a score of something else never ends up on a run. Which data it is about is read from the names that the program uses:
``model.score(X_test, y_test)`` becomes ``test_score``.

Nothing that was recorded is ever replaced. What is worked out again with another result, of other rows under the same
name for example, becomes a series beside it: ``test_score_repeated``.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.autologging import entered
from modeldb_core.model.scalars import scalar_of
from modeldb_core.tracking.description.datasets import Described, describe
from modeldb_core.tracking.description.origins import variable_name
from modeldb_sklearn.calls import caller, is_by_sklearn, is_part_of_another
from modeldb_sklearn.data import size_of
from modeldb_sklearn.naming import label_of, name_of, signature_of_call, suffix_of
from modeldb_sklearn.options import GUARD, Options
from modeldb_sklearn.predictions import WHOLE, Predictions, truth_key

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable
    from types import FrameType

    from modeldb_core.tracking import RunHandle

MAX_UNUSED = 1000  # after so many predictions that nobody scored, no more of the model are remembered
MAX_LISTED = 1000
MAX_REPEATS = 100_000
MAX_READ_BYTES = 1 << 30  # scores of data that takes longer than half a second to recognize are not recorded
TRAINING, CROSS_VALIDATED = "training", "cross_validated"
_TRUTHS = ("y_true", "labels_true", "X")
_SAME = 1e-9


@dataclass(slots=True)
class Chain:
    """Fits of one estimator of which each goes on from the one before (``warm_start=True``)."""

    first: RunHandle
    number: int = 0


@dataclass(slots=True)
class Fitted:
    """A model, and the run that it belongs to.

    Attributes:
        estimator: returns it, while there is one.
        run: its run, which may have ended.
        training: what identifies the features and the target that it was fitted with; "" where that is not known.
        labels: by label, what identifies the features and the truth that go by it.
        values: by name, what was recorded.
        repeats: by name, how many more results there were.
        step: returns the step of a model that goes on learning, whose scores are series.
        unused: how many predictions nobody has scored.
    """

    estimator: Callable[[], Any]
    run: RunHandle
    options: Options
    training: tuple[str, str] = ("", "")
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    step: Callable[[], int] | None = None
    unused: int = 0
    chain: Chain | None = None


@dataclass(slots=True)
class _Data:
    """Data that something was predicted of: what distinguishes it from other data, how the program calls it, what it is."""

    key: str
    name: str
    description: dict[str, Any] | None = None
    features: weakref.ref[Any] | None = None


@dataclass(slots=True)
class _Place:
    """What a score is recorded under, and whether other data has that label already."""

    label: str
    is_repeated: bool


class Evaluations:
    """The models whose runs are known, and what they predicted lately. Safe for any number of threads."""

    def __init__(self) -> None:
        self._fitted: dict[int, Fitted] = {}
        self._predictions: Predictions[tuple[Fitted, _Data]] = Predictions()

    # -- what is known of -----------------------------------------------------------------------------------------------

    def add(
        self,
        estimators: list[Any],
        run: RunHandle,
        options: Options,
        *,
        training: Mapping[str, Any] | None = None,
        truth: str = "",
        values: Mapping[str, Any] | None = None,
        chain: Chain | None = None,
        step: Callable[[], int] | None = None,
    ) -> None:
        """Remember that ``estimators`` belong to ``run``, what they were trained on, and what of it is recorded.

        Args:
            estimators: the model, and what passes its calls on to it.
            run: their run.
            options: how they are recorded.
            training: the description of the training data.
            truth: what identifies the target.
            values: metrics that are recorded already, by name.
            chain: the fits that this one goes on from.
            step: for a model that goes on learning, returns the step that its scores belong to.
        """
        features = "" if training is None else training.get("features_digest", training["digest"])
        known, recorded = (features, truth), dict(values or {})
        labels = {TRAINING: known} if features else {}
        for estimator in estimators:
            fitted = Fitted(
                weakref.ref(estimator, self._gone(id(estimator))), run.late(), options, known, labels, recorded
            )
            fitted.chain, fitted.step = chain, step
            self._fitted[id(estimator)] = fitted
            found = getattr(estimator, "__dict__", {}).get("labels_")
            if isinstance(found, np.ndarray):
                self._predictions.remember(found, (fitted, _Data(features, TRAINING)))

    def forget(self, estimator: object) -> Chain | None:
        """The estimator is fitted again; returns the fits that it was in, and would go on from with a warm start."""
        fitted = self._known(estimator)
        self._fitted.pop(id(estimator), None)
        if fitted is None:
            return None
        return Chain(fitted.run) if fitted.chain is None else fitted.chain

    def clear(self) -> None:
        """Forget everything."""
        self._fitted.clear()
        self._predictions.clear()

    def _gone(self, key: int) -> Callable[[object], None]:
        def forget(reference: object) -> None:
            fitted = self._fitted.get(key)
            if fitted is not None and fitted.estimator is reference:
                self._fitted.pop(key, None)

        return forget

    def _known(self, estimator: object) -> Fitted | None:
        fitted = self._fitted.get(id(estimator))
        return fitted if fitted is not None and fitted.estimator() is estimator else None

    # -- calls ----------------------------------------------------------------------------------------------------------

    def on_predict(self, original: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call a method that predicts, and remember the result."""
        fitted = self._known(estimator)
        if fitted is None or fitted.unused >= MAX_UNUSED or is_part_of_another(estimator):
            return original(estimator, *args, **kwargs)
        with entered():
            result = original(estimator, *args, **kwargs)
        with GUARD.step("remember a prediction"):
            fitted.unused += 1
            X = args[0] if args else next(iter(kwargs.values()), None)
            if size_of(X) <= MAX_READ_BYTES:
                self._predictions.remember(result, (fitted, self._data(fitted, X, caller())))
        return result

    def on_score(self, original: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call ``score`` of an estimator, and record what it returns."""
        fitted = self._known(estimator)
        if fitted is None or is_part_of_another(estimator):
            return original(estimator, *args, **kwargs)
        with entered():
            result = original(estimator, *args, **kwargs)
        with GUARD.step("record a score", fitted.run.note):
            signature = signature_of_call(original)
            arguments = signature.bind(estimator, *args, **kwargs).arguments
            (_, X), *more = list(arguments.items())[1:] or [("", None)]
            truth = arguments.get("y", more[0][1] if more and more[0][0] in ("Y", "y_true") else None)
            data = frozenset(list(arguments)[:2]) | {"y", "Y", "y_true"}
            place = self._place(fitted, self._data(fitted, X, caller()), X, truth)
            self._record(fitted, place, "score" + suffix_of(signature, arguments, data), result)
        return result

    def on_scorer(self, original: Callable[..., Any], scorer: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call a scorer, and record what it returns."""
        fitted = self._known(args[0] if args else kwargs.get("estimator"))
        if fitted is None or is_by_sklearn(caller()):
            return original(scorer, *args, **kwargs)
        with entered():
            result = original(scorer, *args, **kwargs)
        with GUARD.step("record a score", fitted.run.note):
            X = args[1] if len(args) > 1 else kwargs.get("X")
            truth = args[2] if len(args) > 2 else kwargs.get("y_true", kwargs.get("y"))
            place = self._place(fitted, self._data(fitted, X, caller()), X, truth)
            signature = signature_of_call(original)
            given = {"sample_weight": args[3]} if len(args) > 3 else {}
            given |= {key: value for key, value in kwargs.items() if value is not None}
            suffix = suffix_of(signature, given, frozenset({"estimator", "X", "y", "y_true"}))
            scores = result if isinstance(result, Mapping) else {_scorer_name(scorer): result}
            for name, value in scores.items():
                self._record(fitted, place, f"{name}{suffix}", value)
        return result

    def on_metric(self, original: Callable[..., Any], _: None, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call a function of :mod:`sklearn.metrics`, and record what it returns if it is about a known prediction."""
        if not len(self._predictions) or is_by_sklearn(caller()):
            return original(*args, **kwargs)
        with entered():
            result = original(*args, **kwargs)
        found = None
        with GUARD.step("find the prediction that a metric is about"):
            found = self._find(signature_of_call(original), args, kwargs)
        if found is None:
            return result
        (fitted, data), truth, suffix = found
        with GUARD.step("record a metric", fitted.run.note):
            fitted.unused = 0
            X = data.features() if data.features is not None else None
            place = self._place(fitted, data, X, truth)
            self._record(fitted, place, original.__name__.removesuffix("_score") + suffix, result)
        return result

    def remember_for_run(self, result: Any, run: RunHandle, options: Options, y: Any) -> None:  # noqa: ANN401
        """Remember predictions that belong to a run, and to no model: those of ``cross_val_predict``."""
        known = (CROSS_VALIDATED, truth_key(y))
        fitted = Fitted(lambda: None, run.late(), options, known, {CROSS_VALIDATED: known})
        self._predictions.remember(result, (fitted, _Data(CROSS_VALIDATED, CROSS_VALIDATED)))

    def record_importance(self, estimator: Any, X: Any, result: Any) -> None:  # noqa: ANN401
        """Record what ``permutation_importance`` found of a model."""
        fitted = self._known(estimator)
        if fitted is not None:
            place = self._place(fitted, self._data(fitted, X, caller()), X, None)
            names = getattr(X, "columns", None)
            self._record(fitted, place, "permutation_importance", _importances(names, result))

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _find(
        self,
        signature: inspect.Signature,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[tuple[Fitted, _Data], Any, str] | None:
        """Return the prediction that a metric is about, what it is compared with, and what its name says of the rest.

        ``None`` where it is about several predictions, such as those of a teacher and its student, or some rows of one.
        """
        arguments = signature.bind(*args, **kwargs).arguments
        known = [(name, found) for name, value in arguments.items() if (found := self._predictions.find(value))]
        if len(known) != 1:
            return None
        name, prediction = known[0]
        part = prediction.part(arguments[name])
        if part is None:
            return None
        others = [other for other in arguments if other != name]
        truth_name = next((other for other in others if other in _TRUTHS), others[0] if others else "")
        suffix = suffix_of(signature, arguments, frozenset({name, truth_name}))
        if name in _TRUTHS and name != "X" and truth_name:
            suffix += "_swapped"  # the prediction was passed as the truth
        if part != WHOLE and (part, len(prediction.columns)) != (1, 2):  # the second of two classes needs no word
            suffix += f"_column_{part}"
        return prediction.about, arguments.get(truth_name), suffix

    def _data(self, fitted: Fitted, X: Any, frame: FrameType | None) -> _Data:  # noqa: ANN401
        description = describe(X)
        key = description["digest"]  # "" of data whose content is not known: it is like no other
        if key and key == fitted.training[0]:
            return _Data(key, TRAINING)
        try:
            features = weakref.ref(X)
        except TypeError:
            features = None
        return _Data(key, name_of(X, frame), description, features)

    def _place(self, fitted: Fitted, data: _Data, X: Any, truth: Any) -> _Place:  # noqa: ANN401
        """Return the label of a score, and remember which data and truth go by it."""
        key = truth_key(truth)
        if data.name in (TRAINING, CROSS_VALIDATED) and data.key == fitted.training[0]:
            label = data.name
            is_features = bool(data.key) and truth is not None and _digest(truth) == data.key  # of a clustering
            if fitted.training[1] and key and key != fitted.training[1] and not is_features:
                label = f"{label}_against_{name_of(truth, caller()) or 'other'}"
            if fitted.labels.get(label, ("", ""))[1] == "" or is_features:
                key = ""
        else:
            label = label_of(data.name, X, truth, caller())
        taken = fitted.labels.get(label)
        if taken is None:
            fitted.labels[label] = (data.key, key)
            if fitted.options.log_datasets and data.description is not None:
                fitted.run.log_dataset(Described(data.description, variable_name(X, caller())), label)
            return _Place(label, is_repeated=False)
        if taken[0] == data.key and not taken[1]:
            fitted.labels[label] = taken = (data.key, key)
        is_same = taken[0] == data.key and bool(data.key) and (not key or key == taken[1])
        return _Place(label, is_repeated=not is_same)

    def _record(self, fitted: Fitted, place: _Place, name: str, value: Any) -> None:  # noqa: ANN401
        base = f"{place.label}_{name}"
        number = scalar_of(value) if not isinstance(value, (bool, int, float)) else value
        if isinstance(number, (int, float)):
            self._record_number(fitted, place, base, number)
        elif isinstance(value, (str, dict)) or (
            isinstance(value, np.ndarray) and value.size <= MAX_LISTED and value.dtype.kind in "biuf"
        ):
            content = value.tolist() if isinstance(value, np.ndarray) else value
            if base not in fitted.values and not place.is_repeated:
                fitted.values[base] = content
                fitted.run.set_attributes({base: content})
            elif fitted.values.get(base) != content and not fitted.repeats.get(base):
                fitted.repeats[base] = 1
                fitted.run.note(f"Not recorded: further results under the name {base}.")

    def _record_number(self, fitted: Fitted, place: _Place, base: str, value: float) -> None:
        run = fitted.run
        if fitted.step is not None:
            if not run.has_metric(base) or base in fitted.values:
                fitted.values[base] = value
                run.log_metrics({base: float(value)}, fitted.step())
            return
        if not place.is_repeated and base not in fitted.values:
            if run.has_metric(base):
                run.note(f"Not recorded: {base}, since the program has logged that itself.")
                return
            fitted.values[base] = value
            run.log_metrics({base: value})
            return
        if not place.is_repeated and _same(fitted.values[base], value):
            return
        count = fitted.repeats.get(base, 0)
        series = f"{base}_repeated"
        if count < MAX_REPEATS and (count or not run.has_metric(series)):
            fitted.repeats[base] = count + 1
            run.log_metrics({series: float(value)}, count + 1)


def _same(first: float, second: float) -> bool:
    """Return whether two results are one: what autologging works out itself may differ in the last digits."""
    return math.isclose(first, second, rel_tol=_SAME, abs_tol=_SAME) or (math.isnan(first) and math.isnan(second))


def _digest(data: Any) -> str:  # noqa: ANN401
    try:
        return str(describe(data)["digest"])
    except Exception:  # nothing that can be described: no data
        return ""


def _importances(names: Any, result: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the mean and the standard deviation of the importance of each feature."""
    found = result if "importances_mean" in result else next(iter(result.values()))
    shown = (
        [str(name) for name in names] if names is not None else [str(i) for i in range(len(found["importances_mean"]))]
    )
    pairs = zip(shown, found["importances_mean"], found["importances_std"], strict=True)
    return {name: {"mean": float(mean), "std": float(std)} for name, mean, std in pairs}


def _scorer_name(scorer: Any) -> str:  # noqa: ANN401
    """Return the name of the function that a scorer calls, with the arguments that it was made with."""
    function = getattr(scorer, "_score_func", None)
    name = getattr(function, "__name__", "score").removesuffix("_score").replace("<lambda>", "lambda")
    given = getattr(scorer, "_kwargs", None) or {}
    if function is not None and given:
        name += suffix_of(signature_of_call(function), given, frozenset())
    return f"neg_{name}" if getattr(scorer, "_sign", 1) < 0 else name
