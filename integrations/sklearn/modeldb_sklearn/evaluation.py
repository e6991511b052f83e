"""Scores that the program works out after a fit find the run of the model that they judge.

A prediction is remembered by the object that it is: when it, or a part of it, is handed to a function of
:mod:`sklearn.metrics`, what comes back belongs to the run of the model that predicted. So nothing has to be declared, and
a score of something else never ends up on a run. Which data it is about is read from the names that the program uses:
``model.score(X_test, y_test)`` becomes ``test_score``.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.autologging import entered
from modeldb_core.datasets import Described, describe
from modeldb_core.values import scalar_of
from modeldb_sklearn.calls import caller, is_by_sklearn, is_part_of_another
from modeldb_sklearn.data import BESIDE_BYTES, size_of
from modeldb_sklearn.options import GUARD, Options
from modeldb_sklearn.placement import late

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from modeldb_core.tracking import RunHandle

MAX_REMEMBERED = 64
MAX_UNUSED = 1000  # after so many predictions that nobody scored, no more of the model are remembered
MAX_LISTED = 1000
TRAINING, UNNAMED, CROSS_VALIDATED = "training", "evaluation", "cross_validated"
_DATA = re.compile(
    r"^(?:x|y|df|data|features|inputs|samples|labels|target|targets|true)_|_(?:x|y|df|data|features|set)$", re.I
)
_PLAIN = frozenset(
    {"x", "y", "X", "Y", "df", "data", "features", "inputs", "samples", "labels", "target", "args", "array"}
)
_FRAMES = 8


@dataclass(slots=True)
class Fitted:
    """A model, and the run that it belongs to."""

    estimator: Callable[[], Any]  # a weak reference
    run: RunHandle
    options: Options
    trained_on: weakref.ref[Any] | None = None
    training_digest: str = ""
    labels: dict[str, str] = field(default_factory=dict)  # by what identifies data, the name that it goes by
    values: dict[str, Any] = field(default_factory=dict)  # by name of metric, what was recorded
    unused: int = 0
    chain: Chain | None = None


@dataclass(slots=True)
class Chain:
    """Fits of one estimator of which each goes on from the one before (``warm_start=True``)."""

    first: RunHandle
    number: int = 0


@dataclass(slots=True)
class _Data:
    """Data that something was predicted of: what tells it from other data, how the program calls it, what it is."""

    key: str
    name: str
    description: dict[str, Any] | None = None


@dataclass(slots=True)
class _Prediction:
    result: Callable[[], Any]  # a weak reference where there can be one
    fitted: Fitted
    data: _Data


_TRAINING = _Data(TRAINING, TRAINING)


class Evaluations:
    """The models whose runs are known, and what they predicted lately. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fitted: dict[int, Fitted] = {}
        self._predictions: OrderedDict[int, _Prediction] = OrderedDict()

    # -- what is known of -----------------------------------------------------------------------------------------------

    def add(
        self,
        estimators: list[Any],
        run: RunHandle,
        options: Options,
        X: Any,  # noqa: ANN401
        digest: str,
        chain: Chain | None = None,
    ) -> None:
        """Remember that ``estimators`` belong to ``run``, and what they were trained on."""
        for estimator in estimators:
            fitted = Fitted(
                weakref.ref(estimator, self._gone(id(estimator))), late(run), options, _weak(X), digest, chain=chain
            )
            self._fitted[id(estimator)] = fitted
            labels = vars(estimator).get("labels_")
            if isinstance(labels, np.ndarray):
                self._remember(labels, fitted, _TRAINING)

    def forget(self, estimator: object) -> Chain | None:
        """The estimator is fitted anew; returns the fits that it was in, and would go on from with a warm start."""
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
            self._remember(result, fitted, self._data(fitted, X, caller()))
        return result

    def on_score(self, original: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call ``score`` of an estimator, and record what it returns."""
        fitted = self._known(estimator)
        if fitted is None or is_part_of_another(estimator):
            return original(estimator, *args, **kwargs)
        with entered():
            result = original(estimator, *args, **kwargs)
        with GUARD.step("record a score", fitted.run.note):
            X = args[0] if args else kwargs.get("X")
            self._record(fitted, self._label(fitted, self._data(fitted, X, caller())), "score", result)
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
            label = self._label(fitted, self._data(fitted, X, caller()))
            scores = result if isinstance(result, Mapping) else {_scorer_name(scorer): result}
            for name, value in scores.items():
                self._record(fitted, label, str(name), value)
        return result

    def on_metric(self, original: Callable[..., Any], _: None, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """Call a function of :mod:`sklearn.metrics`, and record what it returns if it is about a known prediction."""
        found = self._find((*args, *kwargs.values())) if self._predictions else None
        if found is None or is_by_sklearn(caller()):
            return original(*args, **kwargs)
        with entered():
            result = original(*args, **kwargs)
        prediction, truth = found
        fitted = prediction.fitted
        with GUARD.step("record a metric", fitted.run.note):
            fitted.unused = 0
            label = self._label(fitted, prediction.data, "" if truth is None else name_of(truth, caller()))
            name = original.__name__.removesuffix("_score")
            self._record(fitted, label, name + _average(name, kwargs.get("average"), label), result)
        return result

    def remember_for_run(self, result: Any, run: RunHandle, options: Options) -> None:  # noqa: ANN401
        """Remember predictions that belong to a run, and to no model: those of ``cross_val_predict``."""
        self._remember(result, Fitted(lambda: None, late(run), options), _Data(CROSS_VALIDATED, CROSS_VALIDATED))

    def record_importance(self, estimator: Any, X: Any, result: Any) -> None:  # noqa: ANN401
        """Record what ``permutation_importance`` found of a model."""
        fitted = self._known(estimator)
        if fitted is not None:
            label = self._label(fitted, self._data(fitted, X, caller()))
            names = getattr(X, "columns", None)
            fitted.run.set_attributes({f"{label}_permutation_importance": _importances(names, result)})

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _remember(self, result: Any, fitted: Fitted, data: _Data) -> None:  # noqa: ANN401
        weak = _weak(result)
        with self._lock:
            self._predictions[id(result)] = _Prediction(weak or (lambda: result), fitted, data)
            self._predictions.move_to_end(id(result))
            while len(self._predictions) > MAX_REMEMBERED:
                self._predictions.popitem(last=False)

    def _find(self, values: tuple[Any, ...]) -> tuple[_Prediction, Any] | None:
        """Return the prediction that one of the arguments is or is part of, and the argument that it is compared with."""
        for value in values:
            for item in _with_bases(value):
                prediction = self._predictions.get(id(item))
                if prediction is not None and prediction.result() is item:
                    others = (other for other in values if other is not value and hasattr(other, "__len__"))
                    return prediction, next(others, None)
        return None

    def _data(self, fitted: Fitted, X: Any, frame: FrameType | None) -> _Data:  # noqa: ANN401
        if fitted.trained_on is not None and fitted.trained_on() is X:
            return _TRAINING
        key, description = _identity(X)
        return _TRAINING if key == fitted.training_digest else _Data(key, name_of(X, frame), description)

    def _label(self, fitted: Fitted, data: _Data, truth_name: str = "") -> str:
        """Return the name of data that is scored, with a number where the program calls different data the same."""
        if data.key == TRAINING:
            return TRAINING
        label = fitted.labels.get(data.key)
        if label is None:
            label = given = data.name or truth_name or UNNAMED
            taken, number = {TRAINING, *fitted.labels.values()}, 1
            while label in taken:
                number += 1
                label = f"{given}_{number}"
            fitted.labels[data.key] = label
            if not fitted.options.log_datasets:
                pass
            elif data.description is not None:
                fitted.run.log_dataset(Described(data.description), label)
            elif data.key != CROSS_VALIDATED:
                fitted.run.note(f"Not recorded: the digest of {label!r}, which is larger than {BESIDE_BYTES:,} bytes.")
        return label

    def _record(self, fitted: Fitted, label: str, name: str, value: Any) -> None:  # noqa: ANN401
        run, base = fitted.run, f"{label}_{name}"
        number = scalar_of(value) if not isinstance(value, (bool, int, float)) else value
        if isinstance(number, (int, float)):
            key = _free(fitted.values, base, number)
            fitted.values[key] = number
            run.log_metrics({key: number})
        elif isinstance(value, np.ndarray) and value.size <= MAX_LISTED and value.dtype.kind in "biuf":
            run.set_attributes({base: value.tolist()})
        elif isinstance(value, str) or (isinstance(value, dict) and name == "classification_report"):
            run.set_attributes({base: value})


def _importances(names: Any, result: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the mean and the standard deviation of the importance of each feature."""
    found = result if "importances_mean" in result else next(iter(result.values()))
    shown = (
        [str(name) for name in names] if names is not None else [str(i) for i in range(len(found["importances_mean"]))]
    )
    pairs = zip(shown, found["importances_mean"], found["importances_std"], strict=True)
    return {name: {"mean": float(mean), "std": float(std)} for name, mean, std in pairs}


def _average(name: str, average: object, label: str) -> str:
    """Return what a name says of how classes are averaged; autologging's own scores of training data are weighted."""
    if label == TRAINING and name in ("f1", "precision", "recall"):
        return "" if average == "weighted" else f"_{average or 'binary'}"
    return f"_{average}" if isinstance(average, str) and average != "binary" else ""


def _free(values: Mapping[str, Any], key: str, value: float) -> str:
    """Return ``key``, with a number where it has another value already: nothing is overwritten."""
    name, number = key, 1
    while name in values and values[name] != value:
        number += 1
        name = f"{key}_{number}"
    return name


def name_of(value: Any, frame: FrameType | None) -> str:  # noqa: ANN401
    """Return what the program calls ``value``, without what says that it is data; "" where it has no name.

    A function that was handed ``X`` is looked at from outside too: its caller may call it ``X_test``.
    """
    fallback = ""
    seen: list[object] = []
    for _ in range(_FRAMES):
        if frame is None:
            break
        for names in (frame.f_locals, frame.f_globals):
            if any(names is known for known in seen):
                continue
            seen.append(names)
            for name, bound in list(names.items()):
                if bound is value and not name.startswith("_"):
                    if name not in _PLAIN:
                        return _DATA.sub("", name) or name
                    fallback = fallback or name
        frame = frame.f_back
    return fallback


def _identity(X: Any) -> tuple[str, dict[str, Any] | None]:  # noqa: ANN401
    """Return what tells data from other data, and its description where it is small enough to be read at once."""
    if size_of(X) > BESIDE_BYTES:
        return f"{type(X).__name__} {getattr(X, 'shape', None)} {getattr(X, 'dtype', None)}", None
    description = describe(X)
    # Data without a digest is like no other data.
    return description["digest"] or f"{type(X).__name__} {id(X)}", description


def _with_bases(value: Any) -> Iterator[Any]:  # noqa: ANN401
    """Iterate over an argument and the arrays that it is a view of, such as the probabilities of one class."""
    for _ in range(4):
        if value is None or isinstance(value, (str, int, float, bool)):
            return
        yield value
        value = getattr(value, "base", None) if isinstance(value, np.ndarray) else None


def _scorer_name(scorer: Any) -> str:  # noqa: ANN401
    function = getattr(scorer, "_score_func", None)
    name = getattr(function, "__name__", "score").removesuffix("_score")
    return f"neg_{name}" if getattr(scorer, "_sign", 1) < 0 else name


def _weak(value: Any) -> weakref.ref[Any] | None:  # noqa: ANN401
    try:
        return weakref.ref(value)
    except TypeError:
        return None
