"""Metrics on the training data equal those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import metrics
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.semi_supervised import LabelPropagation

from modeldb_sklearn import scores
from modeldb_sklearn.scores import (
    classification_scores,
    probability_scores,
    regression_scores,
    roc_auc,
    training_scores,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("kind", ["int", "text"])
def test_classification_scores_equal_scikit_learns(count: int, kind: str):
    names = np.array([f"class {number}" for number in range(count)]) if kind == "text" else np.arange(count) * 3 - 2
    truth = RNG.integers(0, count, 400)
    probabilities = RNG.dirichlet(np.ones(count), 400).round(2)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    guess = probabilities.argmax(axis=1)
    y, predicted = names[truth], names[guess]
    found = classification_scores(y, predicted, names) | probability_scores(y, probabilities, names)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y, predicted, average="weighted", zero_division=0
    )
    area = metrics.roc_auc_score(y, probabilities[:, 1] if count == 2 else probabilities, multi_class="ovr")
    expected = {
        "accuracy": metrics.accuracy_score(y, predicted),
        "precision_weighted": precision,
        "recall_weighted": recall,
        "f1_weighted": f1,
        "log_loss": metrics.log_loss(y, probabilities, labels=names),
        "roc_auc" if count == 2 else "roc_auc_multi_class_ovr": area,
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_never_predicted_and_certain_mistakes_do_no_harm():
    y, predicted = np.array([0, 0, 1, 2]), np.array([0, 0, 0, 0])
    found = classification_scores(y, predicted, np.arange(3))
    assert found["precision_weighted"] == pytest.approx(
        metrics.precision_score(y, predicted, average="weighted", zero_division=0)
    )
    wrong = probability_scores(np.array([0, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.arange(2))
    assert wrong["log_loss"] == pytest.approx(metrics.log_loss([0, 1], [[0.0, 1.0], [1.0, 0.0]]))
    assert np.isnan(roc_auc(np.array([True, True]), np.array([0.1, 0.2])))
    assert "roc_auc" not in probability_scores(np.zeros(3, int), np.ones((3, 2)) / 2, np.arange(2))


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_regression_scores_equal_scikit_learns(shape: Any):
    y = RNG.normal(size=shape)
    predicted = y + RNG.normal(size=shape)
    assert regression_scores(y, predicted) == pytest.approx(
        {
            "r2": metrics.r2_score(y, predicted),
            "mae": metrics.mean_absolute_error(y, predicted),
            "rmse": metrics.root_mean_squared_error(y, predicted),
        }
    )


def test_a_constant_target_has_the_r2_that_scikit_learn_gives_it():
    y = np.ones(5)
    assert regression_scores(y, y)["r2"] == metrics.r2_score(y, y) == 1.0
    assert regression_scores(y, y + 1)["r2"] == metrics.r2_score(y, y + 1) == 0.0
    assert "r2" not in regression_scores(y[:1], y[:1])


def score(model: Any, X: Any, y: Any, task: str, fit_s: float = 10.0) -> tuple[dict[str, float], list[str]]:
    notes: list[str] = []
    return training_scores(model, model, X, y, task=task, fit_s=fit_s, note=notes.append)[0], notes


def test_several_labels_at_once_count_as_right_where_all_are():
    X, y = make_multilabel_classification(random_state=0)
    model = MultiOutputClassifier(LogisticRegression()).fit(X, y)
    assert score(model, X, y, "classifier")[0] == {"accuracy": model.score(X, y)}


@pytest.mark.parametrize("target", ["sparse", "lists", "classes", "texts"])
def test_targets_of_all_shapes_are_scored_without_a_word(target: str):
    X, y = make_multilabel_classification(random_state=0, n_classes=3)
    if target == "classes":
        y = y + np.arange(3)
    elif target == "texts":
        y = y.astype(str)
    given = sp.csr_matrix(y) if target == "sparse" else (y.tolist() if target == "lists" else y)
    if target == "sparse":
        model: Any = OneVsRestClassifier(LogisticRegression()).fit(X, given)
    else:
        model = RandomForestClassifier(3, random_state=0).fit(X, given)
    found, notes = score(model, X, given, "classifier")
    predicted = model.predict(X)
    predicted = predicted.toarray() if target == "sparse" else predicted
    assert found == {"accuracy": float((predicted == y).all(axis=1).mean())}
    assert notes == []


def test_rows_without_a_label_do_not_count():
    X, y = load_iris(return_X_y=True)
    partly = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    model = LabelPropagation().fit(X, partly)
    found, _ = score(model, X, partly, "classifier")
    known = partly >= 0
    assert found["accuracy"] == metrics.accuracy_score(y[known], model.predict(X)[known])
    assert "score" not in found, "its own counts them as wrong"


def test_a_prediction_that_would_take_longer_than_the_fit_is_not_begun():
    class Slow(LinearRegression):
        rows: list[int] = []

        def predict(self, X: Any) -> Any:
            import time

            self.rows.append(len(X))
            time.sleep(0.02)
            return super().predict(X)

    X, y = RNG.normal(size=(100_000, 2)), RNG.normal(size=100_000)
    model = Slow().fit(X, y)
    found, notes = score(model, X, y, "regressor", fit_s=0.01)
    assert found == {}
    assert len(notes) == 1
    assert "would take about" in notes[0]
    assert max(Slow.rows) < 1000


def test_a_target_in_one_column_is_a_target():
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    assert score(model, X, y.reshape(-1, 1), "classifier")[0]["accuracy"] == model.score(X, y)
    assert score(model, X, None, "classifier")[0] == {}


@pytest.mark.parametrize(
    ("estimate_s", "fit_s", "expected"),
    [
        (0.2, 0.0, {"accuracy", "log_loss"}),
        (0.4, 0.0, {"accuracy"}),  # probabilities would take as long again
        (0.6, 0.0, set()),
        (0.6, 4.0, {"accuracy", "log_loss"}),
        (1.9, 4.0, {"accuracy"}),
        (2.1, 4.0, set()),
    ],
)
def test_predictions_take_half_a_second_or_half_the_fit_and_what_is_left_out_is_said(
    monkeypatch: pytest.MonkeyPatch, estimate_s: float, fit_s: float, expected: set[str]
):
    monkeypatch.setattr(scores, "_estimate_s", lambda *given: estimate_s)
    X, y = load_iris(return_X_y=True)
    model, notes = LogisticRegression(max_iter=1000).fit(X, y), []
    found, _ = training_scores(model, model, X, y, task="classifier", fit_s=fit_s, note=notes.append)
    assert {"accuracy", "log_loss"} & set(found) == expected
    assert len(notes) == (len(expected) < 2)


def test_more_probabilities_than_memory_has_room_for_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "MAX_CELLS", 449)  # 150 rows and three classes
    X, y = load_iris(return_X_y=True)
    model, notes = LogisticRegression(max_iter=1000).fit(X, y), []
    found, _ = training_scores(model, model, X, y, task="classifier", fit_s=0.0, note=notes.append)
    assert "accuracy" in found
    assert "log_loss" not in found
    assert notes == ["log loss and ROC AUC, which would need 150 times 3 probabilities"]


def test_probabilities_of_another_shape_are_left_alone():
    class OneColumn(LogisticRegression):
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X)[:, 1:]

    X, y = load_iris(return_X_y=True)
    model = OneColumn(max_iter=1000).fit(X, y)
    found, _ = score(model, X, y, "classifier")
    assert found["accuracy"] == model.score(X, y)
    assert "log_loss" not in found


def test_certain_and_wrong_predictions_have_a_finite_loss():
    y, certain = np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])
    found = probability_scores(y, certain, np.array([0, 1]))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, certain))
    assert np.isfinite(found["log_loss"])
