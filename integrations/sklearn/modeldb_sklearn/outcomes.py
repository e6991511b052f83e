"""What a fitted estimator knows of its own training: curves over iterations, and single numbers.

Everything is read from attributes that are there already; nothing is computed, so this costs microseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modeldb_core.model.scalars import scalar_of

CURVES: Mapping[str, str] = {
    "loss_curve_": "loss",  # MLP
    "validation_scores_": "validation_score",  # MLP with early stopping
    "train_score_": "train_score",  # gradient boosting, both kinds
    "validation_score_": "validation_score",  # histogram gradient boosting
    "oob_scores_": "oob_score",  # gradient boosting with subsampling
    "lower_bounds_": "lower_bound",  # mixtures
    "scores_": "score",  # Bayesian regressions with compute_score
    "estimator_errors_": "estimator_error",  # AdaBoost
    "estimator_weights_": "estimator_weight",
    "error_": "error",  # dictionary learning
    "cost_": "cost",
}
"""The attributes that hold a number for each iteration, and the series they become."""

_COUNTS = ("n_iter", "n_clusters", "n_components", "n_leaves", "n_noise", "n_support", "best_iteration", "best_ntree")
"""How attributes begin whose integers are results of the training; other integers are facts, and no metrics."""
_MAX_CURVES_OF_MAP = 50


@dataclass(slots=True)
class Outcome:
    """What an estimator knows after its fit.

    Attributes:
        metrics: numbers by name, without the trailing underscore of the attribute.
        attributes: other small facts by name.
        curves: by name the values of each iteration, from step 0.
    """

    metrics: dict[str, int | float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)


def outcome_of(estimator: Any) -> Outcome:  # noqa: ANN401 - any estimator
    """Return what ``estimator`` knows of its training; for a pipeline or a search, what its last or best part knows."""
    outcome = Outcome()
    inner = fitted_part(estimator)
    for part in (estimator,) if inner is estimator else (estimator, inner):
        per_iteration = "compute_score" in vars(part)  # the scores_ of feature selection are those of features
        for name, value in vars(part).items():
            if name.endswith("_") and not name.startswith("_"):
                _take(outcome, name, value, per_iteration=per_iteration)
    _take_evaluations(outcome, inner)
    labels = vars(estimator).get("labels_")
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu" and labels.size:
        found = np.unique(labels)
        outcome.metrics["n_clusters"] = int((found >= 0).sum())
        noise = int((labels < 0).sum())
        if noise:
            outcome.metrics["n_noise"] = noise
    return outcome


def steps_of(estimator: Any) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Return the steps of a pipeline; of anything else, whatever its ``steps`` are, there are none."""
    steps = getattr(estimator, "__dict__", {}).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, tuple) and len(step) == 2 for step in steps):
        return []
    return steps


def is_pipeline(estimator: object) -> bool:
    """Return whether ``estimator`` is a pipeline of scikit-learn's, or derived from it."""
    module = sys.modules.get("sklearn.pipeline")
    return module is not None and isinstance(estimator, module.Pipeline)


def fitted_part(estimator: Any) -> Any:  # noqa: ANN401
    """Return the part whose training counts: the best estimator of a search, the last step of a pipeline."""
    for _ in range(20):
        inner = getattr(estimator, "__dict__", {}).get("best_estimator_")
        if inner is None and (steps := steps_of(estimator)):
            inner = steps[-1][1]
        if inner is None or not hasattr(inner, "get_params") or isinstance(inner, type):
            break
        estimator = inner
    return estimator


def _take(outcome: Outcome, name: str, value: Any, *, per_iteration: bool) -> None:  # noqa: ANN401
    key = name[:-1]
    if name == "scores_" and not per_iteration:
        return
    if name in CURVES and isinstance(value, (list, np.ndarray)):
        values = _as_floats(value)
        if values:
            outcome.curves[CURVES[name]] = values
        return
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf" and name.startswith("n_iter"):
        value = value.reshape(())[()]
    elif name == "n_iter_" and isinstance(value, np.ndarray) and value.ndim == 1 and 0 < value.size <= 1000:
        outcome.attributes[key] = value.tolist()  # one for each class
        value = value.max()
    scalar = scalar_of(value) if not isinstance(value, (bool, int, float, str)) else value
    is_fact = name.startswith("n_") or type(scalar) is int
    if (isinstance(scalar, float) and not is_fact) or (isinstance(scalar, int) and name.startswith(_COUNTS)):
        outcome.metrics[key] = scalar
    elif scalar is not None:
        outcome.attributes[key] = scalar


def _as_floats(values: Any) -> list[float]:  # noqa: ANN401
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return []
    return array.tolist() if array.ndim == 1 else []


def _take_evaluations(outcome: Outcome, estimator: Any) -> None:  # noqa: ANN401
    """Take what boosting libraries keep of their evaluation sets: ``{"validation_0": {"logloss": [...]}}``."""
    results = getattr(estimator, "evals_result_", None)
    if not isinstance(results, Mapping):
        return
    pairs = [
        (f"{data}_{metric}", values)
        for data, metrics in results.items()
        if isinstance(metrics, Mapping)
        for metric, values in metrics.items()
    ]
    for name, values in pairs[:_MAX_CURVES_OF_MAP]:
        if numbers := _as_floats(values):
            outcome.curves[name] = numbers


def log_curves(run: Any, curves: dict[str, list[float]]) -> None:  # noqa: ANN401
    """Log each iteration's values as points, the curves of one length together."""
    by_length: dict[int, list[str]] = {}
    for name, values in curves.items():
        by_length.setdefault(len(values), []).append(name)
    for length, names in by_length.items():
        columns = [curves[name] for name in names]
        for step in range(length):
            run.log_metrics({name: column[step] for name, column in zip(names, columns, strict=True)}, step)
