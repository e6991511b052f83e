"""Searches and cross-validations: one run, with a child for each candidate."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy.stats import uniform
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it enables the import below
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (  # imported before autologging is on
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import modeldb_core as modeldb
from modeldb_sklearn import autolog
from modeldb_sklearn import search as search_module
from tests.waiting import wait_until

X, Y = load_iris(return_X_y=True)


def eventually(runs: Any, count: int) -> list[Any]:
    """Return all runs when there are ``count``: those of worker processes arrive when these ship them."""
    wait_until(
        lambda: len(found := runs()) >= count and all(run.status != "running" for run in found),
        lambda: [(run.name, run.status) for run in runs()],
    )
    found: list[Any] = runs()
    assert len(found) == count
    return found


class Constant(ClassifierMixin, BaseEstimator):
    """Says the same always."""

    def __init__(self, label: int = 0) -> None:
        self.label = label

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.label)


class Interrupted(Constant):
    """Presses Ctrl-C at the third candidate."""

    def fit(self, X: Any, y: Any) -> Any:
        if self.label == 2:
            raise KeyboardInterrupt
        return super().fit(X, y)


class Waiting(Constant):
    """Waits until somebody has seen the candidates before it."""

    def __init__(self, label: int = 0, gate: str = "", wait: bool = False) -> None:
        super().__init__(label)
        self.gate = gate
        self.wait = wait

    def fit(self, X: Any, y: Any) -> Any:
        if self.wait:
            wait_until(Path(self.gate).exists)
        return super().fit(X, y)


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
        assert child.reported_times == ("started_at",), "worked out from how long scikit-learn says that it took"
        seconds = 3 * (results["mean_fit_time"][index] + results["mean_score_time"][index])
        assert (child.finished_at - child.started_at).total_seconds() == pytest.approx(seconds, abs=1e-4)
        assert child.hyperparameters["svc"]["C"] == results["params"][index]["svc__C"]
        for name in ("mean_test_score", "std_test_score", "rank_test_score", "split0_test_score", "split2_test_score"):
            assert child.metrics[name] == results[name][index]
        assert next(iter(child.metrics)) == "mean_test_score", "what tables show first"
        assert child.artifacts == {}
    curve = client.get_run(parent.run_id).history("candidates/mean_test_score")
    assert curve.values.tolist() == results["mean_test_score"].tolist()
    assert np.array_equal(client.get_run(parent.run_id).load_model().predict(X), search.predict(X))
    found = client.search_runs("hyperparameters.svc.C >= 100 and metrics.rank_test_score <= 3")
    assert all(run.entity.hyperparameters["svc"]["C"] >= 100 for run in found)


def test_a_search_in_a_run_of_the_program_is_seen_as_a_curve_too(client: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client) as run:
        search = GridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3).fit(X, Y)
    assert run.history("candidates/mean_test_score").values.tolist() == search.cv_results_["mean_test_score"].tolist()


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


def test_searches_in_later_rounds_of_a_halving_search_are_below_the_candidates_of_their_round(client: Any, runs: Any):
    autolog(client, log_models=False)
    inner = GridSearchCV(Constant(), {"label": [0]}, cv=2)
    search = HalvingGridSearchCV(
        inner, {"error_score": [1.0, 2.0, 3.0, 4.0]}, cv=2, random_state=0, factor=2, min_resources=60
    ).fit(X, Y)
    found = runs()
    (parent,) = [run for run in found if run.parent_id is None]
    candidates = [run for run in found if run.parent_id == parent.entity_id]
    assert len(candidates) == len(search.cv_results_["params"]) > 4
    for candidate in candidates:
        below = [run for run in found if run.parent_id == candidate.entity_id]
        assert sorted(run.attributes["split"] for run in below) == [0, 1]
        assert {run.hyperparameters["error_score"] for run in below} == {candidate.hyperparameters["error_score"]}


WITH_PROCESSES = ("loky", pytest.param("multiprocessing", marks=pytest.mark.thorough))
"""Backends of joblib that start workers: what these log reaches the run the same way."""


@pytest.mark.parametrize("backend", ["sequential", "threading", *WITH_PROCESSES])
def test_a_nested_search_has_the_searches_of_each_split_below_its_candidates(client: Any, runs: Any, backend: str):
    autolog(client, log_models=False)
    inner = GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2)
    with joblib.parallel_config(backend, n_jobs=None if backend == "sequential" else 2):
        search = GridSearchCV(inner, {"estimator__kernel": ["rbf", "linear"]}, cv=2).fit(X, Y)
    found = eventually(runs, 1 + 2 + 4 + 8)
    by_parent: dict[Any, list[Any]] = {}
    for run in found:
        by_parent.setdefault(run.parent_id, []).append(run)
        assert run.status == "finished"
    (parent,) = by_parent[None]
    assert parent.attributes["structure"] == "GridSearchCV(estimator=GridSearchCV(estimator=SVC))"
    candidates = by_parent[parent.entity_id]
    assert sorted(run.attributes["candidate"] for run in candidates) == [0, 1]
    for candidate in candidates:
        expected = search.cv_results_["mean_test_score"][candidate.attributes["candidate"]]
        assert candidate.metrics["mean_test_score"] == expected
        searches = by_parent[candidate.entity_id]
        assert sorted(run.attributes["split"] for run in searches) == [0, 1]
        for run in searches:
            assert run.hyperparameters["estimator"]["kernel"] == candidate.hyperparameters["estimator"]["kernel"]
            assert run.metrics["best_score"] == max(c.metrics["mean_test_score"] for c in by_parent[run.entity_id])


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_search_that_is_cross_validated_has_a_run_for_each_split(client: Any, runs: Any, backend: str):
    autolog(client, log_models=False)
    with joblib.parallel_config(backend, n_jobs=None if backend == "sequential" else 2):
        cross_val_score(GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2), X, Y, cv=2)
    found = eventually(runs, 1 + 2 + 4)
    (parent,) = [run for run in found if run.parent_id is None]
    searches = [run for run in found if run.parent_id == parent.entity_id]
    assert sorted(run.attributes["split"] for run in searches) == [0, 1]
    assert all(run.metrics["n_candidates"] == 2 for run in searches)


@pytest.mark.parametrize("backend", ["sequential", "threading", *WITH_PROCESSES])
def test_candidates_are_there_while_the_search_goes_on(client: Any, tmp_path: Path, backend: str):
    autolog(client, log_models=False)
    gate = tmp_path / "gate"
    model = Waiting(gate=str(gate))
    grid = {"wait": [False, False, False, True]}
    done: list[Any] = []

    def look() -> None:
        while not gate.exists():
            client.writer.flush(10)
            found = [run.entity for run in client.search_runs("attributes.candidate >= 0")]
            if len([run for run in found if run.status == "finished"]) == 3:
                done.extend(found)
                gate.touch()

    watcher = threading.Thread(target=look)
    watcher.start()
    with joblib.parallel_config(backend, n_jobs=None if backend == "sequential" else 2):
        GridSearchCV(model, grid, cv=2).fit(X, Y)
    watcher.join(60)
    assert {run.metrics["mean_test_score"] for run in done if run.status == "finished"} == {1 / 3}
    assert not [run for run in done if "rank_test_score" in run.metrics]
    client.flush()
    found = [run.entity for run in client.search_runs("attributes.candidate >= 0")]
    assert [run.metrics["rank_test_score"] for run in found] == [1] * 4


def test_a_candidate_whose_splits_take_long_is_shown_before_they_are_all_done(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_module, "_PATIENCE_S", -1.0)
    autolog(client, log_models=False)
    GridSearchCV(SVC(), {"C": [1.0]}, cv=3).fit(X, Y)
    _, child = runs()
    kinds = [change.action for change in client.store.read_changes().changes if change.entity_id == child.entity_id]
    assert kinds == ["create", "update", "update", "update"]
    assert child.status == "finished"
    assert {f"split{index}_test_score" for index in range(3)} <= child.metrics.keys()


def test_a_search_that_is_interrupted_keeps_what_it_tried(client: Any, runs: Any):
    autolog(client, log_models=False)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(Interrupted(), {"label": [0, 1, 2]}, cv=2).fit(X, Y)
    parent, *children = runs()
    assert parent.status == "killed"
    assert [child.attributes["candidate"] for child in children] == [0, 1]
    assert {child.status for child in children} == {"finished"}


class InterruptedHalfway(Constant):
    """Presses Ctrl-C at the second fit of all."""

    fits = 0

    def fit(self, X: Any, y: Any) -> Any:
        InterruptedHalfway.fits += 1
        if self.fits == 2:
            raise KeyboardInterrupt
        return super().fit(X, y)


def test_a_candidate_that_was_shown_and_is_interrupted_does_not_run_for_ever(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_module, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(InterruptedHalfway, "fits", 0)
    autolog(client, log_models=False)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(InterruptedHalfway(), {"label": [0, 1]}, cv=3).fit(X, Y)
    parent, candidate = runs()
    assert (parent.status, candidate.status) == ("killed", "killed")
    assert "split0_test_score" in candidate.metrics


@pytest.mark.parametrize("patience_s", [1000.0, 0.0], ids=["whole", "shown_before"])
def test_a_candidate_that_cannot_be_fitted_is_a_failed_run_that_says_why(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch, patience_s: float
):
    monkeypatch.setattr(search_module, "_PATIENCE_S", patience_s)
    autolog(client, log_models=False)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        GridSearchCV(SVC(), {"kernel": ["rbf", "nonsense"]}, cv=2).fit(X, Y)
    good, bad = sorted(runs()[1:], key=lambda run: run.attributes["candidate"])
    assert good.status == "finished"
    assert bad.status == "failed"
    (note,) = bad.notes  # both splits failed alike
    assert "nonsense" in note
    assert np.isnan(bad.metrics["mean_test_score"])


def test_candidates_that_could_not_be_followed_read_like_those_that_were(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    autolog(client, log_models=False)
    search = GridSearchCV(SVC(), {"kernel": ["rbf", "nonsense"]}, cv=3)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, Y)
        monkeypatch.setattr(
            search_module.SearchWatch, "claims", lambda *_: False
        )  # as where others hand out the splits
        search.fit(X, Y)
    followed, other = [
        sorted(
            (run for run in runs() if run.parent_id == parent.entity_id), key=lambda run: run.attributes["candidate"]
        )
        for parent in runs(top=True)
    ]
    for one, two in zip(followed, other, strict=True):
        assert (one.name, one.status, one.metrics.keys()) == (two.name, two.status, two.metrics.keys())
        names = list(two.metrics)
        assert names.index("mean_test_score") < names.index("split0_test_score")
    for run in (followed[0], other[0]):
        took_s = (run.finished_at - run.started_at).total_seconds()
        assert took_s >= 3 * (run.metrics["mean_fit_time"] + run.metrics["mean_score_time"]) - 1e-5


class HalfFailing(Constant):
    """Cannot learn from one of two halves of the data."""

    def fit(self, features: Any, y: Any) -> Any:
        if features.sum() > X.sum() / 2:
            raise ValueError("too large")
        return super().fit(features, y)


@pytest.mark.parametrize("patience_s", [1000.0, 0.0], ids=["whole", "shown_before"])
def test_a_candidate_of_which_one_split_fails_is_finished_and_says_so(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch, patience_s: float
):
    monkeypatch.setattr(search_module, "_PATIENCE_S", patience_s)
    autolog(client, log_models=False)
    small, large = np.array_split(np.argsort(X.sum(axis=1)), 2)
    splits = [(small, large), (large, small)]  # the second fails
    with pytest.warns((FitFailedWarning, UserWarning)):  # also of the mean, which is none
        GridSearchCV(HalfFailing(), {"label": [0]}, cv=splits, refit=False).fit(X, Y)
    _, candidate = runs()
    assert candidate.status == "finished"
    assert "too large" in candidate.notes[0]


def test_many_candidates_are_two_changes_each_and_no_models(client: Any):
    autolog(client, log_models=False)
    count = 500  # the benchmarks try 10,000
    GridSearchCV(Constant(), {"label": list(range(count))}, cv=2, refit=False).fit(X[:20], Y[:20])
    assert client.flush(300)
    by_action: dict[str, int] = {}
    told_later: set[str] = set()
    after = 0
    while True:
        page = client.store.read_changes(after=after, limit=10_000)
        for change in page.changes:
            by_action[change.action] = by_action.get(change.action, 0) + 1
            if change.action == "update":
                told_later.update(change.data().get("put", {}).get("metrics", ()))
        if not page.changes:
            break
        after = page.cursor
    assert count < by_action["create"] < count + 20
    assert by_action["update"] < count + 20
    assert "rank_test_score" in told_later
    assert not told_later & {"mean_test_score", "split0_test_score"}, "what is there is not written again"
    assert len(client.search_runs("attributes.candidate >= 0", limit=1, count=True).entities) == 1
    assert client.search_runs("attributes.candidate >= 0", limit=1, count=True).total == count


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


def test_cross_validation_is_the_subject_of_a_users_run_and_later_fits_are_its_children(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client) as run:
        cross_val_score(SVC(), X, Y, cv=2, n_jobs=2)
        SVC(C=3.0).fit(X, Y)
    entities = {entity.run_id: entity for entity in runs()}
    assert len(entities) == 2
    validated = entities.pop(run.run_id)
    assert validated.attributes["validation"] == "cross_val_score"
    assert validated.hyperparameters["C"] == 1.0
    (child,) = entities.values()
    assert child.parent_id == run.run_id
    assert child.hyperparameters["C"] == 3.0


def test_a_failed_cross_validation_is_a_failed_run(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(ValueError, match="could not convert string"):
        cross_val_score(SVC(), [["a"]] * 10, [0, 1] * 5, cv=2, error_score="raise")
    assert runs()[0].status == "failed"


def test_a_cross_validation_that_is_interrupted_is_killed_and_keeps_its_splits(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(InterruptedHalfway, "fits", 0)
    autolog(client)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(InterruptedHalfway(), X, Y, cv=3)
    (run,) = runs()
    assert run.status == "killed"
    assert run.metrics["split0_test_score"] == client.get_run(run.entity_id).history("test_score").values[0]
    assert run.metrics["modeldb/seconds"] > 0
    assert "KeyboardInterrupt" in run.notes[0]


def test_a_learning_curve_is_a_run_with_its_curve(client: Any, runs: Any):
    autolog(client)
    sizes, _, test = learning_curve(SVC(), X, Y, cv=2, train_sizes=[0.5, 1.0], shuffle=True, random_state=0)
    (run,) = runs()
    assert (run.name, run.attributes["validation"]) == ("learning_curve SVC", "learning_curve")
    history = client.get_run(run.entity_id).history("mean_test_score")
    assert history.steps.tolist() == sizes.tolist()
    assert history.values.tolist() == pytest.approx(test.mean(axis=1).tolist())


def test_a_validation_curve_is_a_run_with_its_parameter(client: Any, runs: Any):
    autolog(client)
    _, test = validation_curve(SVC(), X, Y, param_name="C", param_range=[0.1, 1.0, 10.0], cv=2)
    (run,) = runs()
    assert run.attributes["param_range"] == [0.1, 1.0, 10.0]
    assert client.get_run(run.entity_id).history("mean_test_score").values.tolist() == test.mean(axis=1).tolist()
    assert run.metrics["best_mean_test_score"] == test.mean(axis=1).max()


def test_a_value_that_cannot_be_fitted_is_not_the_best_of_a_validation_curve(client: Any, runs: Any):
    autolog(client, log_pictures=False)
    _, test = validation_curve(SVC(), X, Y, param_name="C", param_range=[-1.0, 1.0], cv=2)
    (run,) = runs()
    assert run.metrics["best_mean_test_score"] == test[1].mean()
    assert not run.artifacts


def test_a_permutation_test_is_a_run_with_its_p_value(client: Any, runs: Any):
    autolog(client)
    score, _, p_value = permutation_test_score(LogisticRegression(max_iter=500), X, Y, n_permutations=5, random_state=0)
    (run,) = runs()
    assert (run.metrics["score"], run.metrics["p_value"]) == (score, p_value)


SCRIPT = """
import numpy as np
import modeldb_core as modeldb
from modeldb_sklearn import autolog
from modeldb_sklearn import search as search_module
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning

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
