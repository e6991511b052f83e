"""Searches and cross-validations: one run, with a child for each candidate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.stats import uniform
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it enables the import below
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (  # imported before autologging is on
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import modeldb_core as modeldb
from modeldb_sklearn import autolog

X, Y = load_iris(return_X_y=True)
PIPELINE = Pipeline([("scale", StandardScaler()), ("svc", SVC())])
GRID = {
    "svc__C": [0.1, 1.0, 10.0, 100.0, 1000.0],
    "svc__kernel": ["linear", "rbf"],
    "scale": [StandardScaler(), "passthrough"],
}


def test_a_grid_search_is_a_run_with_a_child_for_every_candidate(client: Any, runs: Any):
    autolog(client)
    search = GridSearchCV(PIPELINE, GRID, cv=3).fit(X, Y)
    parent, *children = runs()
    results = search.cv_results_
    assert parent.name == "GridSearchCV"
    assert parent.metrics["best_score"] == search.best_score_
    assert parent.metrics["n_candidates"] == len(children) == 20
    assert parent.attributes["best_params"]["svc"]["C"] == search.best_params_["svc__C"]
    assert parent.hyperparameters["param_grid"]["svc__C"] == GRID["svc__C"]
    assert parent.hyperparameters["estimator"]["svc"]["class"] == "sklearn.svm.SVC"
    children.sort(key=lambda run: run.attributes["candidate"])
    for index, child in enumerate(children):
        assert child.parent_id == parent.run_id
        assert child.status == "finished"
        assert child.hyperparameters["svc"]["C"] == results["params"][index]["svc__C"]
        for name in ("mean_test_score", "std_test_score", "rank_test_score", "split0_test_score", "split2_test_score"):
            assert child.metrics[name] == results[name][index]
        assert child.artifacts == {}
    curve = client.get_run(parent.run_id).history("candidates/mean_test_score")
    assert curve.values.tolist() == results["mean_test_score"].tolist()
    assert np.array_equal(client.get_run(parent.run_id).load_model().predict(X), search.predict(X))
    found = client.search_runs("hyperparameters.svc.C >= 100 and metrics.rank_test_score <= 3")
    assert all(run.entity.hyperparameters["svc"]["C"] >= 100 for run in found)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_in_parallel_leaves_no_stray_runs_and_finds_the_same(client: Any, runs: Any, backend: str):
    expected = GridSearchCV(PIPELINE, {"svc__C": [0.1, 1.0]}, cv=3).fit(X, Y)
    autolog(client)
    with joblib.parallel_config(backend):
        search = GridSearchCV(PIPELINE, {"svc__C": [0.1, 1.0]}, cv=3, n_jobs=2).fit(X, Y)
    parent, *children = runs()
    assert search.best_params_ == expected.best_params_
    assert np.array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert parent.metrics["n_candidates"] == 2
    assert [child.parent_id for child in children] == [parent.run_id] * 2


def test_a_random_search_describes_its_distributions(client: Any, runs: Any):
    autolog(client, log_models=False)
    RandomizedSearchCV(PIPELINE, {"svc__C": uniform(loc=0.1, scale=4)}, n_iter=3, cv=2, random_state=0).fit(X, Y)
    parent, *children = runs()
    assert parent.hyperparameters["param_distributions"]["svc__C"]["repr"] == "uniform(loc=0.1, scale=4)"
    assert len(children) == 3


def test_a_halving_search_has_children_too(client: Any, runs: Any):
    autolog(client, log_models=False)
    search = HalvingGridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0, 100.0]}, cv=2, random_state=0, factor=2).fit(X, Y)
    parent, *children = runs()
    assert len(children) == len(search.cv_results_["params"]) > 4
    assert {child.metrics["iter"] for child in children} == set(search.cv_results_["iter"])
    assert parent.attributes["n_resources"] == search.n_resources_


def test_a_nested_search_is_one_search(client: Any, runs: Any):
    autolog(client, log_models=False)
    inner = GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2)
    GridSearchCV(inner, {"estimator__kernel": ["rbf", "linear"]}, cv=2).fit(X, Y)
    parent, *children = runs()
    assert len(children) == 2
    assert parent.hyperparameters["estimator"]["class"] == "sklearn.model_selection.GridSearchCV"


def test_several_scores_are_all_recorded(client: Any, runs: Any):
    autolog(client, log_models=False)
    scoring = ["accuracy", "f1_macro"]
    GridSearchCV(SVC(), {"C": [1.0]}, cv=2, scoring=scoring, refit=False, return_train_score=True).fit(X, Y)
    _, child = runs()
    assert {
        "mean_test_accuracy",
        "mean_test_f1_macro",
        "mean_train_accuracy",
        "split1_test_f1_macro",
    } <= child.metrics.keys()


def test_candidates_can_be_left_out(client: Any, runs: Any):
    autolog(client, log_candidates=False)
    GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert len(runs()) == 1


def test_cross_validation_is_one_run_with_every_splits_score(client: Any, runs: Any):
    autolog(client)
    scores = cross_val_score(LogisticRegression(max_iter=500), X, Y, cv=4)
    results = cross_validate(SVC(C=2.0), X, Y, cv=3, scoring=["accuracy", "f1_macro"], return_train_score=True)
    first, second = runs()
    assert first.name == "cross_val_score LogisticRegression"
    assert client.get_run(first.run_id).history("test_score").values.tolist() == scores.tolist()
    assert first.metrics["mean_test_score"] == scores.mean()
    assert first.metrics["split3_test_score"] == scores[3]
    assert first.datasets["train"]["shape"] == [150, 4]
    assert second.hyperparameters["C"] == 2.0
    assert second.metrics["mean_test_f1_macro"] == results["test_f1_macro"].mean()
    assert second.metrics["mean_train_accuracy"] == results["train_accuracy"].mean()


def test_cross_validation_in_a_users_run_is_a_child_of_it(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client) as run:
        cross_val_score(SVC(), X, Y, cv=2, n_jobs=2)
        SVC(C=3.0).fit(X, Y)
    entities = {entity.run_id: entity for entity in runs()}
    assert len(entities) == 2
    assert entities.pop(run.run_id).hyperparameters["C"] == 3.0
    (child,) = entities.values()
    assert child.parent_id == run.run_id


def test_a_failed_cross_validation_is_a_failed_run(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(ValueError, match="could not convert string"):
        cross_val_score(SVC(), [["a"]] * 10, [0, 1] * 5, cv=2, error_score="raise")
    assert runs()[0].status == "failed"


def test_a_learning_curve_leaves_no_stray_runs(client: Any, runs: Any):
    autolog(client)
    learning_curve(SVC(), X, Y, cv=2, train_sizes=[0.5, 1.0], shuffle=True, random_state=0)
    assert runs() == []


SCRIPT = """
import numpy as np
import modeldb_core as modeldb
from modeldb_sklearn import autolog
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV
from sklearn.datasets import load_iris

class Own(ClassifierMixin, BaseEstimator):
    def __init__(self, label=0):
        self.label = label
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return np.full(len(X), self.label)

if __name__ == "__main__":
    client = modeldb.connect()
    autolog(log_models=False)
    search = GridSearchCV(Own(), {"label": [0, 1]}, cv=2, n_jobs=2).fit(*load_iris(return_X_y=True))
    client.close()
"""


def test_a_class_of_the_script_itself_goes_to_worker_processes(tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    url = f"sqlite:///{tmp_path}/modeldb.db"
    environment = {**os.environ, "MODELDB_URL": url, "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        *(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        entities = [run.entity for run in client.search_runs(limit=10)]
    assert len(entities) == 3
    assert sorted(entity.metrics["mean_test_score"] for entity in entities if entity.parent_id) == [1 / 3, 1 / 3]
