"""Pictures of a model, drawn by scikit-learn's own displays in a thread of their own, from what is known anyway.

Nothing is predicted for a picture: it shows the predictions that the metrics were worked out from. Drawing takes about a
tenth of a second, in which Python does nothing else; so no more than a twentieth of the program's time goes into it,
after the first seconds, and what is left out is said on the run.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_sklearn.options import GUARD, PICTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.tracking import RunHandle

MAX_ROWS = 200_000
MAX_CLASSES = 30
MAX_CURVES = 10
MAX_BARS = 30
FREE_S, SHARE = 3.0, 0.05
_MAX_QUEUED = 16


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


Drawing = "tuple[str, Callable[[Any], None]]"


def offer(run: RunHandle, drawings: list[tuple[str, Callable[[Any], None]]]) -> None:
    """Draw soon, and store with ``run``, which may have ended by then; each drawing is a name and what draws on axes."""
    if not drawings or not is_possible():
        return
    if not _BUDGET.is_left() or len(PICTURES) >= _MAX_QUEUED:
        run.note(
            "Not recorded: pictures, into which a twentieth of the program's time has gone already; "
            "fit fewer models, or draw those that matter."
        )
        return
    PICTURES.submit(lambda: _draw(run, drawings), [run.run_id])


@functools.cache
def is_possible() -> bool:
    """Return whether matplotlib is installed; it is not imported before the first picture."""
    return importlib.util.find_spec("matplotlib") is not None


def of_predictions(judged: Judged | None, label: str) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Iterate over what can be drawn of predictions, named after the data."""
    if judged is None or judged.truth.ndim != 1 or len(judged.truth) > MAX_ROWS:
        return
    if judged.task == "regressor":
        yield f"{label}_residuals.png", functools.partial(_residuals, judged)
        return
    if judged.classes is None or len(judged.classes) > MAX_CLASSES or len(judged.classes) < 2:
        return
    yield f"{label}_confusion_matrix.png", functools.partial(_confusion, judged)
    if judged.probabilities is None or len(judged.classes) > MAX_CURVES:
        return
    yield f"{label}_roc.png", functools.partial(_curves, judged, "RocCurveDisplay")
    yield f"{label}_precision_recall.png", functools.partial(_curves, judged, "PrecisionRecallDisplay")
    if len(judged.classes) == 2:
        yield f"{label}_calibration.png", functools.partial(_calibration, judged)


def of_importances(part: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:  # noqa: ANN401
    """Iterate over one picture of what the features count for, where the estimator holds that."""
    held = vars(part) if hasattr(part, "__dict__") else {}
    values = getattr(part, "feature_importances_", None) if "coef_" not in held else np.abs(_dense(held["coef_"]))
    if values is None:
        return
    values = np.asarray(values, dtype=float)
    values = values.mean(axis=0) if values.ndim == 2 else values
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        return
    names = held.get("feature_names_in_")
    order = np.argsort(values)[::-1][:MAX_BARS]
    shown = [str(names[i]) if names is not None and len(names) == len(values) else str(i) for i in order]
    title = "feature importances" if "coef_" not in held else "mean size of the coefficients"
    yield "feature_importance.png", functools.partial(_bars, shown, values[order].copy(), title)


def of_learning_curve(name: str, x: Any, train: Any, test: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:  # noqa: ANN401
    """Iterate over the picture of what ``learning_curve`` or ``validation_curve`` returned."""

    def draw(axes: Any) -> None:  # noqa: ANN401
        from sklearn.model_selection import LearningCurveDisplay, ValidationCurveDisplay

        if name:
            display = ValidationCurveDisplay(param_name=name, param_range=x, train_scores=train, test_scores=test)
        else:
            display = LearningCurveDisplay(train_sizes=x, train_scores=train, test_scores=test)
        display.plot(ax=axes, score_type="both")

    yield ("validation_curve.png" if name else "learning_curve.png"), draw


# -- drawing -------------------------------------------------------------------------------------------------------


class _Budget:
    """How much time may go into pictures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = monotonic()
        self.spent_s = 0.0

    def is_left(self) -> bool:
        return self.spent_s < FREE_S + SHARE * (monotonic() - self._start)

    def take(self, seconds: float) -> None:
        with self._lock:
            self.spent_s += seconds


_BUDGET = _Budget()


def _draw(run: RunHandle, drawings: list[tuple[str, Callable[[Any], None]]]) -> None:
    for name, draw in drawings:
        start = perf_counter()
        with GUARD.step(f"draw {name}", run.note):
            from matplotlib.figure import Figure  # which no window and no list of open figures knows of

            figure = Figure(figsize=(6.4, 4.8), layout="tight")
            draw(figure.subplots())
            run.log_artifact(figure, f"pictures/{name}")
        _BUDGET.take(perf_counter() - start)


def _confusion(judged: Judged, axes: Any) -> None:  # noqa: ANN401
    from sklearn.metrics import ConfusionMatrixDisplay

    few = len(judged.classes) <= 15
    ConfusionMatrixDisplay.from_predictions(
        judged.truth, judged.predicted, labels=judged.classes, ax=axes, include_values=few, xticks_rotation="vertical"
    )


def _curves(judged: Judged, display: str, axes: Any) -> None:  # noqa: ANN401
    import sklearn.metrics

    cls = getattr(sklearn.metrics, display)
    first = 1 if len(judged.classes) == 2 else 0
    for index in range(first, len(judged.classes)):
        positive = judged.truth == judged.classes[index]
        if positive.any() and not positive.all():
            cls.from_predictions(positive, judged.probabilities[:, index], name=str(judged.classes[index]), ax=axes)


def _calibration(judged: Judged, axes: Any) -> None:  # noqa: ANN401
    from sklearn.calibration import CalibrationDisplay

    positive = judged.truth == judged.classes[1]
    CalibrationDisplay.from_predictions(positive, judged.probabilities[:, 1], n_bins=10, ax=axes)


def _residuals(judged: Judged, axes: Any) -> None:  # noqa: ANN401
    from sklearn.metrics import PredictionErrorDisplay

    PredictionErrorDisplay.from_predictions(
        judged.truth, judged.predicted, kind="residual_vs_predicted", subsample=2000, random_state=0, ax=axes
    )


def _bars(names: list[str], values: Any, title: str, axes: Any) -> None:  # noqa: ANN401
    axes.barh(names[::-1], values[::-1])
    axes.set_title(title)
    axes.tick_params(axis="y", labelsize="small")


def _dense(values: Any) -> Any:  # noqa: ANN401
    """Return coefficients as an array; those of a sparse model are sparse."""
    return values.toarray() if hasattr(values, "toarray") else values
