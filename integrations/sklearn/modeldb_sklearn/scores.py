"""Metrics on the training data, from one prediction of it.

They equal those of :mod:`sklearn.metrics`, without its checks of arguments and its warnings: those functions cost a
millisecond each on small data, and a warning of ours would hide the same one of the program's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PATIENCE_S, SHARE = 0.5, 0.5
"""A prediction of the training data holds up the program for so many seconds, or for this share of what the fit took."""
MAX_CELLS = 10_000_000  # elements of a matrix of probabilities; 80 MB
_PROBE_ROWS = 256
_MOST_PROBABLE = ("sklearn.ensemble._forest.RandomForestClassifier", "sklearn.ensemble._forest.ExtraTreesClassifier")
_COSTLY_PROBABILITIES = ("sklearn.neighbors", "sklearn.svm", "sklearn.gaussian_process", "sklearn.semi_supervised")

Scores = dict[str, float]


@dataclass(slots=True)
class Judged:
    """Predictions of data whose truth is known.

    Attributes:
        task: classifier or regressor.
        truth: shape (n,), or (n, outputs).
        predicted: of the same shape.
        probabilities: shape (n, classes), where they are known.
        classes: sorted labels.
    """

    task: str
    truth: Any
    predicted: Any
    probabilities: Any = None
    classes: Any = None


Outcome = tuple[Scores, Judged | None]


def classification_scores(y: NDArray[Any], predicted: NDArray[Any], classes: NDArray[Any]) -> Scores:
    """Return accuracy, and precision, recall and F1 weighted by the classes' sizes.

    Args:
        y: true labels, shape (n,).
        predicted: predicted labels, shape (n,).
        classes: all labels, sorted.
    """
    count = len(classes)
    truth, guess = np.searchsorted(classes, y), np.searchsorted(classes, predicted)
    support = np.bincount(truth, minlength=count).astype(float)
    guessed = np.bincount(guess, minlength=count).astype(float)
    hits = np.bincount(truth[truth == guess], minlength=count).astype(float)
    precision, recall = _ratio(hits, guessed), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + guessed)
    weights = support / support.sum()
    return {
        "accuracy": float(hits.sum() / len(y)),
        "precision_weighted": float(precision @ weights),
        "recall_weighted": float(recall @ weights),
        "f1_weighted": float(f1 @ weights),
    }


def probability_scores(y: NDArray[Any], probabilities: NDArray[Any], classes: NDArray[Any]) -> Scores:
    """Return log loss and the area under the ROC curve (for several classes the mean of one against the rest).

    Args:
        y: true labels, shape (n,).
        probabilities: shape (n, k).
        classes: shape (k,), sorted.
    """
    truth = np.searchsorted(classes, y)
    epsilon = np.finfo(probabilities.dtype).eps
    chosen = np.clip(probabilities[np.arange(len(y)), truth], epsilon, 1 - epsilon)
    scores = {"log_loss": float(-np.log(chosen).mean())}
    if len(classes) == 2:
        scores["roc_auc"] = roc_auc(truth == 1, probabilities[:, 1])
    elif len(classes) > 2:
        areas = [roc_auc(truth == index, probabilities[:, index]) for index in range(len(classes))]
        scores["roc_auc_multi_class_ovr"] = float(np.mean(areas))
    return {key: value for key, value in scores.items() if not np.isnan(value)}


def roc_auc(positive: NDArray[np.bool_], score: NDArray[Any]) -> float:
    """Return the chance that a positive one scores above a negative one, ties counted half; NaN without either."""
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[place[positive]].sum())
    return (rank_sum - hits * (hits + 1) / 2) / (hits * misses)


def regression_scores(y: NDArray[Any], predicted: NDArray[Any]) -> Scores:
    """Return R², mean absolute error and root mean squared error; the mean over outputs where there are several."""
    truth = y.reshape(len(y), -1).astype(float)
    difference = truth - predicted.reshape(len(y), -1)
    squares = (difference**2).sum(axis=0)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    r2 = np.where(spread > 0, 1 - _ratio(squares, spread), np.where(squares > 0, 0.0, 1.0))
    scores = {
        "mae": float(np.abs(difference).mean()),
        "rmse": float(np.sqrt(squares / len(y)).mean()),
    }
    return {"r2": float(r2.mean()), **scores} if len(y) > 1 else scores


def training_scores(
    estimator: Any,  # noqa: ANN401 - any fitted estimator
    part: Any,  # noqa: ANN401 - its last or best part
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    *,
    task: str,
    fit_s: float,
    note: Callable[[str], None],
) -> Outcome:
    """Return the metrics that fit the task, and the predictions that they were worked out from.

    ``note`` is told what was left out. The program waits meanwhile, so a prediction of the training data that looks
    likely to take longer than half the fit, or half a second, is not begun: nearest neighbours, for example, fit in no
    time and predict for hours.

    Args:
        task: "classifier" or "regressor"; there are no metrics for anything else.
        fit_s: how long the fit took.
    """
    if X is None or y is None or task not in ("classifier", "regressor") or not hasattr(estimator, "predict"):
        return {}, None
    truth = _dense(y)
    if truth is None or not 1 <= truth.ndim <= 2 or not truth.size:
        return {}, None
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth.ravel()
    limit_s = max(PATIENCE_S, SHARE * fit_s)
    estimate_s = _estimate_s(estimator.predict, X, len(truth))
    if estimate_s > limit_s:
        note(
            f"metrics on the training data, because predicting it would take about {estimate_s:.1f} s and the fit took "
            f"{fit_s:.1f} s"
        )
        return {}, None
    if task == "classifier" and truth.ndim == 1:
        return _classifier_scores(estimator, part, X, truth, limit_s / max(estimate_s, 1e-9), note)
    predicted = _dense(estimator.predict(X))
    if predicted is None or predicted.size != truth.size:
        note("metrics on the training data, for which what is predicted has another shape than what was learned")
        return {}, None
    predicted = predicted.reshape(truth.shape)
    if task == "classifier":  # a row with several labels counts as right where all of them are
        return {"accuracy": float((predicted == truth).all(axis=1).mean())}, None
    if truth.dtype.kind not in "biuf" or predicted.dtype.kind not in "biuf":
        return {}, None
    return _with_score(regression_scores(truth, predicted), "r2", part), Judged(task, truth.copy(), predicted)


def _dense(values: Any) -> NDArray[Any] | None:  # noqa: ANN401
    """Return labels as an array; ``None`` where they are none, such as lists of different lengths."""
    if hasattr(values, "toarray"):
        if values.shape[0] * values.shape[1] > MAX_CELLS:
            return None
        values = values.toarray()
    try:
        return np.asarray(values)
    except ValueError:
        return None


def _classifier_scores(
    estimator: Any,  # noqa: ANN401
    part: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    truth: NDArray[Any],
    room: float,
    note: Callable[[str], None],
) -> Outcome:
    classes = getattr(estimator, "classes_", None)
    probabilities = None
    if isinstance(classes, np.ndarray) and classes.ndim == 1 and hasattr(estimator, "predict_proba"):
        if len(truth) * len(classes) > MAX_CELLS:
            note(f"log loss and ROC AUC, which would need {len(truth):,} times {len(classes):,} probabilities")
        elif room < 2 or type(part).__module__.startswith(_COSTLY_PROBABILITIES):
            note("log loss and ROC AUC, because probabilities of the training data are costly with this estimator")
        else:
            probabilities = np.asarray(estimator.predict_proba(X))
    if probabilities is not None and estimator is part and _predicts_most_probable(part):
        assert isinstance(classes, np.ndarray)
        predicted = classes.take(np.argmax(probabilities, axis=1))
    else:
        predicted = np.asarray(estimator.predict(X)).reshape(-1)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        classes = np.unique(np.concatenate([truth, predicted]))
    known = classes[np.minimum(np.searchsorted(classes, truth), len(classes) - 1)] == truth
    if not np.any(known) or len(predicted) != len(truth):
        return {}, None
    if not known.all():  # unlabelled rows of semi-supervised training
        truth, predicted = truth[known], predicted[known]
        probabilities = None if probabilities is None else probabilities[known]
    scores = classification_scores(truth, predicted, classes)
    if known.all():
        scores = _with_score(scores, "accuracy", part)
    if probabilities is not None and probabilities.shape != (len(truth), len(classes)):
        probabilities = None
    if probabilities is not None:
        scores.update(probability_scores(truth, probabilities, classes))
    return scores, Judged("classifier", truth.copy(), predicted, probabilities, classes)


def _with_score(scores: Scores, name: str, part: Any) -> Scores:  # noqa: ANN401
    """Add ``score`` where the estimator's own ``score`` is known to be the metric of that name."""
    from sklearn.base import ClassifierMixin, RegressorMixin

    if name in scores and _original(getattr(type(part), "score", None)) in map(
        _original, (ClassifierMixin.score, RegressorMixin.score)
    ):
        return {"score": scores[name], **scores}
    return scores


def _original(function: Any) -> Any:  # noqa: ANN401
    return getattr(function, "__wrapped__", function)


def _predicts_most_probable(part: Any) -> bool:  # noqa: ANN401
    """Return whether ``predict`` is known to be the most probable class, bit for bit: then one pass serves both."""
    return f"{type(part).__module__}.{type(part).__name__}" in _MOST_PROBABLE


def _estimate_s(predict: Callable[[Any], Any], X: Any, rows: int) -> float:  # noqa: ANN401
    """Return about how long predicting all rows takes, by a few of them; 0 where there are few anyway."""
    if rows <= 8 * _PROBE_ROWS:
        return 0.0
    part = X.iloc[:_PROBE_ROWS] if hasattr(X, "iloc") else X[:_PROBE_ROWS]
    start = perf_counter()
    predict(part)
    return (perf_counter() - start) * rows / _PROBE_ROWS


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """Return the quotient, 0 where it is not defined."""
    quotient: NDArray[Any] = np.divide(above, below, out=np.zeros_like(below, dtype=float), where=below != 0)
    return quotient
