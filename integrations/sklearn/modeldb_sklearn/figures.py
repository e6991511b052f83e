"""What pictures of a model show, as data: ModelDB's pages draw it.

Nothing is drawn in the program, nothing is imported for it, and nothing is predicted: figures show the predictions that
the metrics were worked out from. ``docs/sklearn.md`` describes the three kinds: matrices, lines and bars.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.tracking.description.figures import FOLDER, MEDIA_TYPE, SUFFIX
from modeldb_sklearn.options import upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.tracking import RunHandle
    from modeldb_sklearn.scores import Judged

TYPE = "figure"
MAX_CLASSES = 30
MAX_CURVES = 10
MAX_BARS = 30
MAX_POINTS = 500  # of a curve: more cannot be told apart on a screen
MAX_ROWS = 5_000_000
_BINS = 10

Figure = tuple[str, dict[str, Any]]
"""A name, and the content."""


def store(run: RunHandle, figures: list[Figure]) -> None:
    """Store figures with a run, which may have ended by then."""
    if not figures:
        return

    def work() -> None:
        entries = {}
        for name, content in figures:
            info = run.client.put_blob(io.BytesIO(json.dumps(content).encode()))
            kinds = {"type": TYPE, "media_type": MEDIA_TYPE}
            entries[f"{FOLDER}{name}{SUFFIX}"] = {"digest": info.digest, "size_bytes": info.size_bytes, **kinds}
        run.link_artifacts(entries)

    upload("figures", run, work)


def of_predictions(judged: Judged | None, label: str) -> Iterator[Figure]:
    """Iterate over what can be shown of predictions, named after the data."""
    if judged is None or judged.truth.ndim != 1 or len(judged.truth) > MAX_ROWS:
        return
    if judged.task == "regressor":
        yield f"{label}_residuals", _residuals(judged, label)
        return
    if judged.classes is None or not 2 <= len(judged.classes) <= MAX_CLASSES:
        return
    yield f"{label}_confusion_matrix", _confusion(judged, label)
    if judged.probabilities is None or len(judged.classes) > MAX_CURVES:
        return
    curves = list(_positives(judged))
    if not curves:
        return
    yield f"{label}_roc_curve", _roc(curves, label)
    yield f"{label}_precision_recall_curve", _precision_recall(curves, label)
    if len(judged.classes) == 2:
        yield f"{label}_calibration_curve", _calibration(*curves[0], label)


def of_importances(part: Any) -> Iterator[Figure]:  # noqa: ANN401
    """Iterate over one figure of what the features count for, where the estimator holds that."""
    held = getattr(part, "__dict__", {})
    coefficients = held.get("coef_")
    found: Any
    if coefficients is not None:
        found = np.abs(coefficients.toarray() if hasattr(coefficients, "toarray") else np.asarray(coefficients))
    else:
        found = getattr(part, "feature_importances_", None)
    if found is None:
        return
    values = np.asarray(found, dtype=float)
    values = values.mean(axis=0) if values.ndim == 2 else values
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        return
    names = held.get("feature_names_in_")
    order = np.argsort(values, kind="stable")[::-1][:MAX_BARS]
    if names is None or len(names) != len(values):
        names = range(len(values))
    yield (
        "feature_importances",
        {
            "figure": "feature_importances",
            "kind": "bars",
            "title": "Feature importances" if coefficients is None else "Mean size of the coefficients",
            "x_label": "Importance" if coefficients is None else "Size",
            "labels": [str(names[i]) for i in order],
            "values": [float(values[i]) for i in order],
        },
    )


def of_learning_curve(name: str, x: list[Any], train: Any, test: Any) -> Iterator[Figure]:  # noqa: ANN401
    """Iterate over the figure of what ``learning_curve`` or ``validation_curve`` returned.

    Args:
        name: of the parameter; "" for a learning curve.
        x: sizes of the training data, or values of the parameter; where these are not numbers, their places count.
        train: scores, shape (points, splits).
        test: likewise.
    """
    is_numeric = all(isinstance(value, (int, float, np.number)) and np.isfinite(value) for value in x)
    places = [float(value) for value in x] if is_numeric else [float(index) for index in range(len(x))]
    figure = "validation_curve" if name else "learning_curve"
    content = {
        "figure": figure,
        "kind": "lines",
        "title": f"Scores by {name}" if name else "Scores by size of the training data",
        "x_label": (name if is_numeric else f"Place in the range of {name}") if name else "Rows of training data",
        "y_label": "Score",
        "diagonal": False,
        "series": [
            {"label": f"{kind} (mean)", "x": places, "y": _numbers(np.mean(scores, axis=1))}
            for kind, scores in (("training", train), ("test", test))
        ],
    }
    yield figure, content


# -- what they show ------------------------------------------------------------------------------------------------


def _confusion(judged: Judged, label: str) -> dict[str, Any]:
    classes = judged.classes
    count = len(classes)
    places = np.searchsorted(classes, judged.truth) * count + np.searchsorted(classes, judged.predicted)
    matrix = np.bincount(places, minlength=count * count).reshape(count, count)
    names = [str(name) for name in classes]
    return {
        "figure": "confusion_matrix",
        "kind": "matrix",
        "title": f"Confusion matrix, {label}",
        "rows": names,
        "columns": names,
        "values": matrix.tolist(),
        "x_label": "Predicted",
        "y_label": "True",
    }


def _positives(judged: Judged) -> Iterator[tuple[str, Any, Any]]:
    """Iterate over the classes with, for each row, whether it is of the class, and its probability."""
    first = 1 if len(judged.classes) == 2 else 0
    for index in range(first, len(judged.classes)):
        positive = judged.truth == judged.classes[index]
        if positive.any() and not positive.all():
            yield str(judged.classes[index]), positive, judged.probabilities[:, index]


def _counts(positive: Any, score: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return how many hits and how many false alarms there are above each threshold, the highest first."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[ends]
    return hits, 1 + ends - hits


def _roc(curves: list[tuple[str, Any, Any]], label: str) -> dict[str, Any]:
    series = []
    for name, positive, score in curves:
        hits, alarms = _counts(positive, score)
        x, y = np.append(0, alarms) / alarms[-1], np.append(0, hits) / hits[-1]
        area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())
        series.append(_line(f"class {name} (AUC {area:.3g})", x, y))
    return _lines(
        "roc_curve", f"ROC curve, {label}", "False positive rate", "True positive rate", series, diagonal=True
    )


def _precision_recall(curves: list[tuple[str, Any, Any]], label: str) -> dict[str, Any]:
    series = []
    for name, positive, score in curves:
        hits, alarms = _counts(positive, score)
        precision, recall = hits / (hits + alarms), hits / hits[-1]
        average = float((np.diff(recall, prepend=0.0) * precision).sum())
        line = _line(f"class {name} (AP {average:.3g})", np.append(0.0, recall), np.append(precision[0], precision))
        series.append(line)
    return _lines("precision_recall_curve", f"Precision and recall, {label}", "Recall", "Precision", series)


def _calibration(name: str, positive: Any, score: Any, label: str) -> dict[str, Any]:  # noqa: ANN401
    bins = np.minimum((score * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    used = counts > 0
    x = np.bincount(bins, weights=score, minlength=_BINS)[used] / counts[used]
    y = np.bincount(bins, weights=positive, minlength=_BINS)[used] / counts[used]
    line = _line(f"class {name}", x, y)
    labels = ("Mean predicted probability", "Fraction of positives")
    return _lines("calibration_curve", f"Calibration, {label}", *labels, [line], diagonal=True)


def _residuals(judged: Judged, label: str) -> dict[str, Any]:
    """Return the spread of what is left over: by ranges of the prediction, the mean and the 5 % and 95 % points."""
    residuals = judged.truth - judged.predicted
    order = np.argsort(judged.predicted, kind="stable")
    groups = [group for group in np.array_split(order, 30) if len(group)]
    x = np.array([judged.predicted[group].mean() for group in groups])
    series = [
        _line("mean", x, np.array([residuals[group].mean() for group in groups])),
        _line("5 % lie below", x, np.array([np.quantile(residuals[group], 0.05) for group in groups])),
        _line("5 % lie above", x, np.array([np.quantile(residuals[group], 0.95) for group in groups])),
    ]
    return _lines("residuals", f"Residuals, {label}", "Predicted", "True minus predicted", series)


def _lines(
    figure: str, title: str, x_label: str, y_label: str, series: list[dict[str, Any]], *, diagonal: bool = False
) -> dict[str, Any]:
    return {
        "figure": figure,
        "kind": "lines",
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "diagonal": diagonal,
        "series": series,
    }


def _line(label: str, x: Any, y: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a line with at most ``MAX_POINTS`` points, the first and the last among them."""
    if len(x) > MAX_POINTS:
        chosen = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).round().astype(int))
        x, y = x[chosen], y[chosen]
    return {"label": label, "x": _numbers(x), "y": _numbers(y)}


def _numbers(values: Any) -> list[float | None]:  # noqa: ANN401
    """Return numbers for JSON, which has no NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
