"""What autologging of peers does to its users, case by case, and does not happen here."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it enables the import below
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import (  # imported before autologging is on
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import modeldb_core as modeldb
from modeldb_sklearn import autolog
from tests.waiting import wait_until

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)


def test_trap_a_search_through_twenty_candidates_records_five_of_them(client: Any, runs: Any):
    autolog(client, log_models=False)
    GridSearchCV(DecisionTreeClassifier(), {"max_depth": list(range(1, 21))}, cv=2).fit(X, Y)
    parent, *children = runs()
    assert len(children) == 20
    assert {child.parent_id for child in children} == {parent.entity_id}
    assert sorted(child.hyperparameters["max_depth"] for child in children) == list(range(1, 21))


def test_trap_a_halving_search_records_no_candidates(client: Any, runs: Any):
    autolog(client, log_models=False)
    search = HalvingGridSearchCV(DecisionTreeClassifier(), {"max_depth": list(range(1, 21))}, cv=2, random_state=0)
    search.fit(X, Y)
    assert len(runs()) == 1 + len(search.cv_results_["params"]) > 20


def test_trap_cross_validation_imported_before_leaves_stray_runs(client: Any, runs: Any):
    autolog(client, log_models=False)
    cross_val_score(GaussianNB(), X, Y, cv=3)
    cross_validate(GaussianNB(), X, Y, cv=3)
    assert [run.name for run in runs()] == ["cross_val_score GaussianNB", "cross_validate GaussianNB"]


def test_trap_batches_of_partial_fit_are_not_recorded(client: Any, runs: Any):
    autolog(client, log_models=False)
    model = SGDClassifier(random_state=0)
    for start in range(0, 60, 20):
        model.partial_fit(X[start : start + 20], Y[start : start + 20], classes=[0, 1])
    autolog(disable=True)
    (run,) = runs()
    assert client.get_run(run.entity_id).history("samples_seen").values.tolist() == [20.0, 40.0, 60.0]


def test_trap_estimators_of_the_user_are_not_recorded(client: Any, runs: Any):
    class Majority(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_, counts = np.unique(y, return_counts=True)
            self.label_ = self.classes_[counts.argmax()]
            return self

        def predict(self, X: Any) -> Any:
            return np.full(len(X), self.label_)

    autolog(client, log_models=False)
    model = Majority().fit(X, Y)
    score = model.score(X, Y)
    (run,) = runs()
    assert run.attributes["estimator_class"].endswith("Majority")
    assert run.metrics["training_score"] == score == max(Y.mean(), 1 - Y.mean())


def test_trap_a_transformer_alone_is_not_recorded(client: Any, runs: Any):
    autolog(client, log_models=False)
    StandardScaler().fit(X)
    assert [run.name for run in runs()] == ["StandardScaler"]


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_trap_fits_in_parallel_are_empty_runs_or_none(client: Any, runs: Any, backend: str):
    autolog(client, log_models=False)
    with joblib.parallel_config(backend, n_jobs=2):
        joblib.Parallel()(joblib.delayed(LogisticRegression(C=C).fit)(X, Y) for C in (1.0, 2.0, 3.0, 4.0))
    wait_until(
        lambda: len(found := runs()) >= 4 and all(run.status != "running" for run in found),
        lambda: [(run.name, run.status, run.notes) for run in runs()],
    )
    found = runs()
    assert sorted(run.hyperparameters["C"] for run in found) == [1.0, 2.0, 3.0, 4.0]
    assert all("training_accuracy" in run.metrics for run in found)


def test_trap_the_second_fit_in_a_run_is_dropped_and_its_metrics_mixed_in(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client):
        first = LogisticRegression(C=1.0).fit(X, Y)
        second = LogisticRegression(C=0.001).fit(X, Y)
    parent, child = runs()
    assert (parent.hyperparameters["C"], child.hyperparameters["C"]) == (1.0, 0.001)
    assert parent.metrics["training_accuracy"] == first.score(X, Y)
    assert child.metrics["training_accuracy"] == second.score(X, Y)


def test_trap_trials_of_a_tuner_all_land_in_the_first_run(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client, name="tuner"):
        for depth in (1, 2, 3, 4):
            DecisionTreeClassifier(max_depth=depth).fit(X, Y)
    found = runs()
    assert [run.hyperparameters["max_depth"] for run in found] == [1, 2, 3, 4]
    assert len({run.entity_id for run in found}) == 4


def test_trap_long_values_are_cut_or_end_all_autologging(client: Any, runs: Any):
    weights = {label: 1.0 + label for label in range(3000)}
    autolog(client, log_models=False)
    DecisionTreeClassifier(class_weight=weights).fit(X, Y)
    (run,) = runs()
    stored = client.get_run(run.entity_id).hyperparameters["class_weight"]
    assert stored == {str(label): weight for label, weight in weights.items()}


def test_trap_sparse_data_is_made_dense(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("made dense")

    data = sp.random(60, 50_000, 0.001, format="csr", random_state=0)
    for name in ("toarray", "todense"):
        monkeypatch.setattr(sp.csr_matrix, name, refuse)
    autolog(client, log_models=False)
    SGDClassifier(random_state=0).fit(data, Y)
    assert runs()[0].datasets["train"]["shape"] == [60, 50_000]


def test_trap_a_run_stays_running_when_its_fit_raises(client: Any, runs: Any):
    autolog(client, log_models=False)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        LogisticRegression().fit(X * np.nan, Y)
    assert runs()[0].status == "failed"


def test_trap_notes_of_failed_fits_repeat_the_passwords_of_the_exception(client: Any, runs: Any):
    class Asking(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Asking:
            raise ConnectionError("no answer from postgresql://me:hunter2@db/features, password='hunter2'")

    autolog(client)
    with client.start_run(name="mine"):
        with pytest.raises(ConnectionError):
            Asking().fit(X, Y)
        with pytest.raises(ConnectionError):
            cross_val_score(Asking(), X, Y, cv=2, error_score="raise")
    notes = [note for run in runs() for note in run.notes]
    assert (
        len([note for note in notes if "ConnectionError: no answer from postgresql://me:***@db/features" in note]) == 2
    )
    assert not [note for note in notes if "hunter2" in note]


def test_trap_an_exception_that_cannot_be_shown_costs_the_record_of_its_fit(client: Any, runs: Any):
    class Unspeakable(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Failing(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Failing:
            raise Unspeakable

    autolog(client)
    with pytest.raises(Unspeakable):
        Failing().fit(X, Y)
    (run,) = runs()
    assert run.status == "failed"
    assert "modeldb/fit_seconds" in run.metrics
    assert [note for note in run.notes if "Failing raised Unspeakable" in note]
