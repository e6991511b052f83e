"""Calls that raise: the run of the program is what the next one is about, and a run of its own says what happened."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate, learning_curve
from sklearn.preprocessing import StandardScaler

import modeldb_core as modeldb
from modeldb_sklearn import autolog, validation

X, Y = load_iris(return_X_y=True)
BAD = ["a"] * 149 + ["b"]  # no regression takes such a target

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning"),
    pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning"),
    pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning"),
    pytest.mark.filterwarnings("ignore:The least populated class:UserWarning"),
]


class Majority(ClassifierMixin, BaseEstimator):
    """Predicts the most frequent class, and raises ``error`` from the fit of that number on."""

    fits = 0

    def __init__(self, label: int = 0, good_fits: int = 1_000, error: Any = None) -> None:
        self.label = label
        self.good_fits = good_fits
        self.error = error

    def fit(self, X: Any, y: Any) -> Any:
        Majority.fits += 1
        if Majority.fits > self.good_fits:
            raise self.error
        self.classes_, counts = np.unique(y, return_counts=True)
        self.most_ = self.classes_[(counts.argmax() + self.label) % len(counts)]
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.most_)


@pytest.fixture(autouse=True)
def _no_fits() -> None:
    Majority.fits = 0


@pytest.mark.parametrize("function", [cross_validate, cross_val_score])
@pytest.mark.parametrize("error_score", [np.nan, "raise"])
@pytest.mark.parametrize("is_shown", [False, True], ids=["at_the_end", "as_they_come"])
def test_after_a_cross_validation_that_failed_the_next_is_the_runs(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch, function: Any, error_score: Any, is_shown: bool
):
    if is_shown:
        monkeypatch.setattr(validation, "_PATIENCE_S", -1.0)
    autolog(client)
    with modeldb.start_run(client=client, name="cv") as run:
        with pytest.raises(ValueError, match="fits failed|must be a float"):
            function(Ridge(alpha=-1.0), X, Y, cv=3, error_score=error_score)
        found = function(LogisticRegression(C=0.5, max_iter=500), X, Y, cv=4)
    scores = found["test_score"] if isinstance(found, dict) else found
    (entity,) = runs()
    assert run.history("test_score").values.tolist() == scores.tolist()
    assert {name: value for name, value in entity.metrics.items() if name.startswith("split")} == {
        f"split{index}_test_score": score for index, score in enumerate(scores)
    }
    assert entity.metrics["mean_test_score"] == scores.mean()
    assert entity.hyperparameters == LogisticRegression(C=0.5, max_iter=500).get_params()
    assert (entity.attributes["n_splits"], "scoring" in entity.attributes) == (4, False)
    (note,) = entity.notes
    assert note.startswith("The cross-validation raised ")
    assert entity.status == "finished"


def test_what_a_cross_validation_found_before_it_failed_is_kept_until_the_next(client: Any, runs: Any):
    autolog(client)
    error = RuntimeError("the disk is full")
    with modeldb.start_run(client=client) as run:
        with pytest.raises(RuntimeError):
            cross_validate(Majority(good_fits=2, error=error), X, Y, cv=5, error_score="raise")
        run.log_metrics({"modeldb/seconds": 12.5})
        (failed,) = runs()
        assert {name: failed.metrics[name] for name in failed.metrics if name.startswith("split")} == {
            "split0_test_score": 1 / 3,
            "split1_test_score": 1 / 3,
        }
        found = cross_validate(Majority(label=1), X, Y, cv=2, scoring=["accuracy", "f1_macro"])
    (entity,) = runs()
    assert run.history("test_accuracy").values.tolist() == found["test_accuracy"].tolist()
    assert {name for name in entity.metrics if name.startswith("split")} == {
        f"split{index}_test_{name}" for index in (0, 1) for name in ("accuracy", "f1_macro")
    }
    assert "test_score" not in entity.series
    assert entity.metrics["modeldb/seconds"] == 12.5
    assert entity.metrics["split1_test_f1_macro"] == found["test_f1_macro"][1]


def test_a_split_whose_fit_failed_is_missing_from_the_mean_as_scikit_learn_has_it(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client) as run:
        found = cross_validate(Majority(good_fits=2, error=ValueError("no")), X, Y, cv=3)
    assert np.isnan(found["test_score"]).tolist() == [False, False, True]
    assert np.array_equal(run.history("test_score").values, found["test_score"], equal_nan=True)
    assert np.isnan(runs()[0].metrics["mean_test_score"])


def test_after_a_fit_that_failed_the_next_is_the_runs(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client, name="mine", hyperparameters={"seed": 7}) as run:
        run.set_attributes({"owner": "me"})
        with pytest.raises(ValueError, match="could not convert"):
            Ridge(alpha=3.0).fit(X, BAD, sample_weight=np.ones(150))
        model = LogisticRegression(C=0.5, max_iter=500).fit(X, Y)
        LogisticRegression(C=0.1, max_iter=500).fit(X, Y)
    first, second = runs()
    assert first.hyperparameters == {"seed": 7, **model.get_params()}
    assert first.attributes["estimator_class"] == "sklearn.linear_model.LogisticRegression"
    assert (first.attributes["owner"], "fit_parameters" in first.attributes) == ("me", False)
    assert first.metrics["training_accuracy"] == model.score(X, Y)
    assert [note.partition(" raised ")[0] for note in first.notes] == ["The fit of Ridge"]
    assert run.load_model().C == 0.5
    assert (second.parent_id, second.hyperparameters["C"]) == (first.entity_id, 0.1)


def test_settings_that_the_program_has_recorded_itself_are_not_replaced(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client, hyperparameters={"C": 99}, attributes={"estimator_type": "mine"}) as run:
        run.log_hyperparameters({"tol": ["mine"], "label": "mine"})
        with pytest.raises(ValueError, match="could not convert"):
            Ridge(tol=0.1).fit(X, BAD)
        with pytest.raises(RuntimeError):
            Majority(label=["long"] * 30_000, good_fits=0, error=RuntimeError("no")).fit(X, Y)  # type: ignore[arg-type]
        model = LogisticRegression(C=0.5, max_iter=500).fit(X, Y)
    (entity,) = runs()
    assert entity.hyperparameters == {**model.get_params(), "C": 99, "tol": ["mine"], "label": "mine"}
    assert entity.attributes["estimator_type"] == "mine"
    assert entity.attributes["estimator_class"] == "sklearn.linear_model.LogisticRegression"
    assert entity.notes[-1] == "Not recorded: C, tol, estimator_type, since the program has logged that itself."


def test_what_a_failed_fit_was_set_to_stays_where_nothing_follows(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(ValueError, match="could not convert"), modeldb.start_run(client=client):
        Ridge(alpha=3.0).fit(X, BAD)
    (run,) = runs()
    assert run.status == "failed"
    assert run.hyperparameters["alpha"] == 3.0
    assert run.metrics["modeldb/fit_seconds"] >= 0


def test_long_settings_of_a_fit_that_failed_are_not_the_next_ones(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client):
        with pytest.raises(RuntimeError):
            Majority(good_fits=0, error=RuntimeError("x" * 300_000)).fit(X, Y)
        with pytest.raises(RuntimeError):
            Majority(label=["long"] * 30_000, good_fits=0, error=RuntimeError("no")).fit(X, Y)  # type: ignore[arg-type]
        Majority(label=1).fit(X, Y)
    assert runs()[0].hyperparameters == {"label": 1, "good_fits": 1_000, "error": None}


def test_after_a_search_that_was_stopped_the_next_is_the_runs(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client) as run:
        stopped = GridSearchCV(Majority(good_fits=5, error=KeyboardInterrupt()), {"label": [0, 1, 2]}, cv=2)
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(X, Y)
        search = GridSearchCV(Majority(), {"label": [1, 2]}, cv=2).fit(X, Y)
    entity, *children = runs()
    assert run.history("candidates/mean_test_score").values.tolist() == search.cv_results_["mean_test_score"].tolist()
    assert entity.metrics["n_candidates"] == 2
    assert entity.hyperparameters["param_grid"] == {"label": [1, 2]}
    assert [child.status for child in children] == ["finished"] * 4
    assert {child.parent_id for child in children} == {run.run_id}


def test_after_a_learning_curve_that_failed_a_fit_is_the_runs(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(validation, "_PATIENCE_S", -1.0)
    autolog(client)
    with modeldb.start_run(client=client):
        with pytest.raises(RuntimeError):
            learning_curve(Majority(good_fits=3, error=RuntimeError("no")), X, Y, cv=2, error_score="raise")
        assert runs()[0].metrics["modeldb/fits_done"] == 3
        LogisticRegression(max_iter=500).fit(X, Y)
    (run,) = runs()
    assert "modeldb/fits_done" not in run.metrics
    assert "modeldb/seconds" not in run.metrics
    assert "validation" not in run.attributes


class Interrupted(LogisticRegression):
    """Is interrupted by a signal when autologging asks for its parameters."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        if not deep:
            signal.raise_signal(signal.SIGUSR1)
        return super().get_params(deep)


def test_a_signal_that_bounds_the_training_does_so_wherever_it_comes(client: Any, runs: Any):
    def stop(number: int, frame: Any) -> None:
        msg = "no more time"
        raise TimeoutError(msg)

    autolog(client)
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with modeldb.start_run(client=client):
            with pytest.raises(TimeoutError, match="no more time"):
                Interrupted().fit(X, Y)
            LogisticRegression(C=0.5, max_iter=500).fit(X, Y)
    finally:
        signal.signal(signal.SIGUSR1, before)
    (run,) = runs()
    assert (run.status, run.hyperparameters["C"]) == ("finished", 0.5)


def test_a_preparation_that_failed_says_so_in_a_run_of_its_own(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client):
        with pytest.raises(ValueError, match="could not convert"):
            StandardScaler().fit([["a"]])
        LogisticRegression(max_iter=500).fit(X, Y)
    first, second = runs()
    assert first.attributes["estimator_class"] == "sklearn.linear_model.LogisticRegression"
    assert (second.name, second.status) == ("StandardScaler", "failed")


def test_a_first_batch_that_fails_is_a_failed_run_and_a_later_one_may_be_followed_by_good_ones(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(ValueError, match="classes must be passed"):
        SGDClassifier().partial_fit(X, Y)
    first, second = SGDClassifier(random_state=0), SGDClassifier(random_state=0)
    for model in (first, second):
        model.partial_fit(X, Y, classes=[0, 1, 2])
        with pytest.raises(ValueError, match="features"):
            model.partial_fit(X[:, :2], Y)
    second.partial_fit(X, Y)
    autolog(disable=True)
    failed, broken, good = runs()
    assert (failed.status, broken.status, good.status) == ("failed", "failed", "finished")
    for run in (failed, broken, good):
        assert any(note.startswith("partial_fit of SGDClassifier raised ValueError") for note in run.notes)
    assert good.attributes["partial_fit_calls"] == 2


def test_after_a_first_batch_that_failed_the_next_estimator_is_the_runs(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client) as run:
        with pytest.raises(ValueError, match="classes must be passed"):
            SGDClassifier(alpha=0.5).partial_fit(X, Y)
        SGDClassifier(alpha=0.25).partial_fit(X, Y, classes=[0, 1, 2])
    (entity,) = runs()
    assert entity.hyperparameters["alpha"] == 0.25
    assert run.history("samples_seen").values.tolist() == [150.0]
