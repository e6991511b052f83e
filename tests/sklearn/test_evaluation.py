"""Scores that the program works out after a fit, found by the run of their model."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import (  # imported before autologging is on
    accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
    fbeta_score,
    get_scorer,
    make_scorer,
    mean_squared_error,
    precision_score,
    roc_auc_score,
    silhouette_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modeldb_core as modeldb
from modeldb_sklearn import autolog, evaluation
from modeldb_sklearn.predictions import Predictions, truth_key

X, Y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, Y, random_state=0)


@pytest.fixture(autouse=True)
def _on(client: Any) -> None:
    autolog(client, log_models=False)


def fitted() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)


def test_scores_of_predictions_go_to_the_run_of_the_model_named_after_the_data(runs: Any):
    model, other = fitted(), LogisticRegression(C=0.01, max_iter=5000).fit(X_train, y_train)
    predicted = model.predict(X_test)
    accuracy = accuracy_score(y_test, predicted)
    f1 = f1_score(y_test, y_pred=predicted, average="macro")
    auc = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
    other_accuracy = accuracy_score(y_test, other.predict(X_test))
    first, second = runs()
    assert first.metrics["test_accuracy"] == accuracy
    assert first.metrics["test_f1_macro"] == f1
    assert first.metrics["test_roc_auc"] == auc
    assert second.metrics["test_accuracy"] == other_accuracy
    assert first.datasets["test"]["shape"] == [143, 30]
    assert first.status == "finished"


def test_score_and_scorers_are_recorded_alike(runs: Any):
    model = fitted()
    score = model.score(X_test, y_test)
    accuracy = get_scorer("accuracy")(model, X_test, y_test)
    loss = get_scorer("neg_log_loss")(model, X_test, y_test)
    (run,) = runs()
    assert (run.metrics["test_score"], run.metrics["test_accuracy"]) == (score, accuracy)
    assert run.metrics["test_neg_log_loss"] == loss


def test_arguments_are_understood_by_position_and_by_name(runs: Any):
    model, weights = fitted(), np.linspace(0, 1, len(y_test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # weights by position come to an end
        weighted = get_scorer("accuracy")(model, X_test, y_test, weights)
    recall = get_scorer("recall")(estimator=model, X=X_test, y_true=y_test)
    f1 = f1_score(y_true=y_test, y_pred=model.predict(X=X_test))
    metrics = runs()[0].metrics
    assert {name: value for name, value in metrics.items() if name.startswith("test_")} == {
        "test_accuracy_sample_weight": weighted,
        "test_recall": recall,
        "test_f1": f1,
    }


def test_data_goes_by_the_name_that_the_outermost_caller_gives_it(runs: Any):
    def evaluate(model: Any, X: Any, y: Any) -> float:
        return accuracy_score(y, model.predict(X))

    X_holdout, y_holdout = X_test[:50], y_test[:50]
    accuracy = evaluate(fitted(), X_holdout, y_holdout)
    (run,) = runs()
    assert run.metrics["holdout_accuracy"] == accuracy


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("Xtest", "ytest"), "test"),
        (("xte", "yte"), "te"),
        (("testX", "testY"), "test"),
        (("XVal", "yVal"), "val"),
        (("valid_x", "valid_y"), "valid"),
        (("test", "yte"), "test"),
        (("Xtest2", "ytest2"), "test2"),
        (("holdout", "y"), "holdout"),
    ],
)
def test_data_is_known_by_all_the_usual_names(runs: Any, names: tuple[str, str], label: str):
    program = "accuracy_score({1}, model.predict({0}))\nmodel.score({0}, {1})".format(*names)
    given = {"model": fitted(), "accuracy_score": accuracy_score, names[0]: X_test.copy(), names[1]: y_test.copy()}
    exec(program, given)
    (run,) = runs()
    found = {name for name in run.metrics if not name.startswith(("training_", "modeldb/", "n_iter"))}
    assert found == {f"{label}_accuracy", f"{label}_score"}


def test_a_clustering_is_judged_by_the_data_that_it_is_of(runs: Any):
    model = KMeans(3, n_init=1, random_state=0).fit(X_train)
    found = silhouette_score(X_test, model.predict(X_test))
    assert runs()[0].metrics["test_silhouette"] == found


def test_data_whose_content_is_not_known_is_never_taken_for_the_training_data(runs: Any):
    known, data_test = [object() for _ in y_train], [object() for _ in y_test]
    model = DummyClassifier().fit(known, y_train)
    found = model.score(data_test, y_test)
    data_test = [object() for _ in y_test]  # nobody knows whether it is the same
    model.score(data_test, y_test)
    (run,) = runs()
    assert {name: value for name, value in run.metrics.items() if "score" in name} == {
        "test_score": found,
        "test_score_repeated": found,
    }


def test_data_that_takes_long_to_recognize_is_not_waited_for(runs: Any, monkeypatch: pytest.MonkeyPatch):
    model = fitted()
    monkeypatch.setattr(evaluation, "MAX_READ_BYTES", X_test.nbytes - 1)
    accuracy_score(y_test, model.predict(X_test))
    half = X_test[:20].copy(), y_test[:20].copy()
    accuracy_score(half[1], model.predict(half[0]))
    assert [name for name in runs()[0].metrics if name.endswith("accuracy")] == [
        "training_accuracy",
        "evaluation_accuracy",
    ]


def test_series_of_the_program_get_no_scores_of_autologging(client: Any, runs: Any):
    with modeldb.start_run(client=client) as run:
        run.log_metric("test_score", 0.125, step=0)
        learner = SGDClassifier(random_state=0)
        for _ in range(3):
            learner.partial_fit(X_train, y_train, classes=[0, 1])
            learner.score(X_test, y_test)
            learner.score(X_train, y_train)
    with modeldb.start_run(client=client) as other:
        other.log_metric("window_score_repeated", 0.25, step=0)
        model = fitted()
        for start in range(3):
            window, y_window = X_test[start : start + 50].copy(), y_test[start : start + 50].copy()
            model.score(window, y_window)
    assert run.history("test_score").values.tolist() == [0.125]
    assert run.series["train_score"].count == 3
    assert other.history("window_score_repeated").values.tolist() == [0.25]


def test_a_prediction_passed_as_the_truth_is_said_in_the_name(runs: Any):
    model = fitted()
    found = precision_score(model.predict(X_test), y_test)
    assert runs()[0].metrics["test_precision_swapped"] == found


def test_a_large_confusion_matrix_is_no_attribute(runs: Any):
    predicted = fitted().predict(X_test)
    confusion_matrix(y_test, predicted, labels=range(31))
    confusion_matrix(y_test, predicted, labels=range(32))
    (found,) = (name for name in runs()[0].attributes if "confusion" in name)
    assert "labels" in found
    assert np.shape(runs()[0].attributes[found]) == (31, 31)


def test_matrices_of_other_truths_are_left_out_with_one_note(client: Any, runs: Any):
    predicted = fitted().predict(X_test)
    matrix = confusion_matrix(y_test, predicted)
    counts = []
    for shift in range(1, 5):
        confusion_matrix(np.roll(y_test, shift), predicted)
        (run,) = runs()
        counts.append(len([change for change in client.store.read_changes().changes if change.entity_id == run.run_id]))
    assert counts[0] < counts[1] == counts[2] == counts[3], "the note is written once"
    assert run.attributes["test_confusion_matrix"] == matrix.tolist()
    assert run.notes == ("Not recorded: further results under the name test_against_other_confusion_matrix.",)


def test_probabilities_that_the_program_has_changed_are_no_prediction(runs: Any):
    probabilities = fitted().predict_proba(X_test)
    probabilities[:, 1] = probabilities[::-1, 1].copy()
    roc_auc_score(y_test, probabilities[:, 1])
    assert not [name for name in runs()[0].metrics if name.startswith("test_")]


def test_a_scorer_without_weights_has_the_plain_name_and_nan_is_one_result(runs: Any):
    model = fitted()
    scorer = make_scorer(lambda truth, predicted: float("nan"))
    for _ in range(2):
        scorer(model, X_test, y_test, sample_weight=None)
    found = {name: value for name, value in runs()[0].metrics.items() if name.startswith("test_")}
    assert list(found) == ["test_lambda"]
    assert np.isnan(found["test_lambda"])


def test_data_without_a_name_goes_by_that_of_its_truth_or_by_none(runs: Any):
    model = fitted()
    first = accuracy_score(y_test, model.predict(X_test * 1.0))
    second = accuracy_score(y_test[:20], model.predict(X_test[:20]))
    (run,) = runs()
    assert run.metrics["test_accuracy"] == first
    assert run.metrics["evaluation_accuracy"] == second


def test_training_data_is_known_again_also_as_a_copy(runs: Any):
    model = fitted()
    accuracy_score(y_train, model.predict(X_train.copy()))
    f1 = f1_score(y_train, model.predict(X_train))
    (run,) = runs()
    assert run.metrics["training_f1"] == f1
    assert run.metrics["training_f1_weighted"] != f1
    assert set(run.datasets) == {"train"}


def test_what_was_recorded_is_never_replaced_and_names_say_every_argument(runs: Any):
    model = fitted()
    weights = np.linspace(0, 1, len(y_train))
    predicted = model.predict(X_train)
    before = dict(runs()[0].metrics)
    weighted = model.score(X_train, y_train, sample_weight=weights)
    count = accuracy_score(y_train, predicted, normalize=False)
    partial = roc_auc_score(y_train, model.predict_proba(X_train)[:, 1], max_fpr=0.1)
    beta = fbeta_score(y_train, predicted, beta=2, pos_label=0)
    low = make_scorer(fbeta_score, beta=0.5)(model, X_train, y_train)
    accuracy_score(y_train, predicted)
    (run,) = runs()
    added = {name: value for name, value in run.metrics.items() if name not in before}
    assert {name: run.metrics[name] for name in before} == before
    assert added == {
        "training_score_sample_weight": weighted,
        "training_accuracy_normalize_false": count,
        "training_roc_auc_max_fpr_0.1": partial,
        "training_fbeta_beta_2_pos_label_0": beta,
        "training_fbeta_beta_0.5": low,
    }


def test_a_students_agreement_with_its_teacher_is_no_accuracy(runs: Any):
    teacher, student = fitted(), make_pipeline(StandardScaler(), LogisticRegression(C=1e-4)).fit(X_train, y_train)
    accuracy_score(teacher.predict(X_test), student.predict(X_test))
    y_soft = teacher.predict_proba(X_test)[:, 1] > 0.5
    accuracy_score(y_soft, student.predict(X_test))
    real = accuracy_score(y_test, student.predict(X_test))
    first, second = runs()
    assert not [name for name in first.metrics if name.startswith("test")]
    found = {name: value for name, value in second.metrics.items() if name.startswith("test")}
    assert found["test_accuracy"] == real
    assert set(found) == {"test_accuracy", "test_against_soft_accuracy"}


def test_some_rows_of_a_prediction_are_not_the_data_set(runs: Any):
    model = fitted()
    predicted = model.predict(X_test)
    accuracy_score(y_test[:50], predicted[:50])
    accuracy_score(y_test, predicted[::-1])
    predicted[:] = 0
    accuracy_score(y_test, predicted)
    accuracy_score(y_test, model.predict_proba(X_test)[:, 1] > 0.2)
    assert not [name for name in runs()[0].metrics if name.startswith("test")]


def test_permuted_data_and_shuffled_labels_are_a_series_beside_the_score(client: Any, runs: Any):
    model = fitted()
    rng = np.random.default_rng(0)
    X_test, y_test = globals()["X_test"].copy(), globals()["y_test"].copy()
    real = model.score(X_test, y_test)
    X_test[:, 0] = rng.permutation(X_test[:, 0])
    permuted = model.score(X_test, y_test)
    rng.shuffle(y_test)
    shuffled = model.score(X_test, y_test)
    model.score(X_train, rng.permutation(y_train))
    (run,) = runs()
    assert run.metrics["test_score"] == real
    assert client.get_run(run.entity_id).history("test_score_repeated").values.tolist() == [permuted, shuffled]
    assert "training_against_other_score" in run.metrics
    assert run.metrics["training_score"] == model.score(X_train, y_train)


def test_a_rolling_window_is_one_series(client: Any, runs: Any):
    model = fitted()
    scores = []
    for start in range(0, 100, 10):
        window, y_window = X_test[start : start + 40], y_test[start : start + 40]
        scores.append(accuracy_score(y_window, model.predict(window)))
    (run,) = runs()
    assert {name for name in run.metrics if "window" in name} == {"window_accuracy", "window_accuracy_repeated"}
    assert run.metrics["window_accuracy"] == scores[0]
    series = client.get_run(run.entity_id).history("window_accuracy_repeated")
    assert (series.steps.tolist(), series.values.tolist()) == (list(range(1, 10)), scores[1:])
    assert set(run.datasets) == {"train", "window"}


def test_columns_of_tables_are_the_truth_of_their_rows(runs: Any):
    table = pd.DataFrame(X_test[:, :2], columns=["a", "b"]).assign(label=y_test)
    columns = ["a", "b"]
    X_test_ab = table[columns]
    model = LogisticRegression().fit(table[columns] * 2, table["label"])
    accuracy = accuracy_score(table["label"], model.predict(X_test_ab))
    accuracy_score(np.random.default_rng(0).permutation(table["label"]), model.predict(X_test_ab))
    (run,) = runs()
    assert run.metrics["test_ab_accuracy"] == accuracy
    assert "test_ab_against_other_accuracy" in run.metrics


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "network"])
def test_the_test_auc_of_models_whose_probabilities_are_views_is_recorded(runs: Any, kind: str):
    if kind == "lightgbm":
        model: Any = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=3, verbose=-1)
    elif kind == "xgboost":
        model = pytest.importorskip("xgboost").XGBClassifier(n_estimators=3)
    else:
        model = make_pipeline(StandardScaler(), MLPClassifier(2, max_iter=5, solver="lbfgs", random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X_train, y_train)
    auc = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
    (run,) = runs()
    assert run.metrics["test_roc_auc"] == auc
    assert "training_accuracy" in run.metrics


def test_what_the_program_logged_itself_is_left_alone(client: Any):
    with modeldb.start_run(client=client) as run:
        run.log_metrics({"training_accuracy": -1.0, "test_accuracy": -2.0})
        run.log_metric("n_iter", -3.0, 0)
        model = fitted()
        accuracy_score(y_test, model.predict(X_test))
    assert (run.metrics["training_accuracy"], run.metrics["test_accuracy"]) == (-1.0, -2.0)
    assert "training_f1_weighted" in run.metrics
    assert any("training_accuracy, since the program has logged that itself" in note for note in run.entity.notes)
    assert "Not recorded: test_accuracy, since the program has logged that itself." in run.entity.notes


def test_matrices_and_reports_become_attributes(runs: Any):
    predicted = fitted().predict(X_test)
    matrix = confusion_matrix(y_test, predicted)
    report = classification_report(y_test, predicted)
    (run,) = runs()
    assert run.attributes["test_confusion_matrix"] == matrix.tolist()
    assert run.attributes["test_classification_report"] == report


def test_scores_of_a_search_go_to_the_search(runs: Any):
    search = GridSearchCV(LogisticRegression(max_iter=5000), {"C": [0.1, 1.0]}, cv=2).fit(X_train, y_train)
    score = search.score(X_test, y_test)
    error = mean_squared_error(y_test, search.best_estimator_.predict(X_test))
    parent = runs()[0]
    assert (parent.metrics["test_score"], parent.metrics["test_mean_squared_error"]) == (score, error)


def test_clusters_regressions_and_batches_are_judged_too(runs: Any):
    silhouette = silhouette_score(X, KMeans(3, n_init=1, random_state=0).fit(X).labels_)
    data, target = load_diabetes(return_X_y=True)
    ridge = Ridge().fit(data[:300], target[:300])
    error = mean_squared_error(target[300:], ridge.predict(data[300:]))
    learner = SGDClassifier(random_state=0)
    learner.partial_fit(X_train, y_train, classes=[0, 1])
    score = learner.score(X_test, y_test)
    autolog(disable=True)
    clusters, regression, batches = runs()
    assert clusters.metrics["training_silhouette"] == silhouette
    assert regression.metrics["evaluation_mean_squared_error"] == error
    assert batches.metrics["test_score"] == score


def test_a_score_is_read_at_once_from_a_run_that_has_ended(client: Any):
    with modeldb.start_run(client=client) as run:
        model = fitted()
    assert "test_accuracy" not in run.metrics
    accuracy = accuracy_score(y_test, model.predict(X_test))
    assert run.metrics["test_accuracy"] == accuracy


def test_predictions_of_cross_validation_are_scored_in_its_run(runs: Any):
    predicted = cross_val_predict(LogisticRegression(max_iter=5000), X, Y, cv=2, method="predict")
    accuracy = accuracy_score(Y, predicted)
    y_flipped = 1 - Y
    against = accuracy_score(y_flipped, predicted)
    (run,) = runs()
    assert run.name == "cross_val_predict LogisticRegression"
    assert (run.attributes["cv"], run.attributes["method"]) == (2, "predict")
    assert run.metrics["cross_validated_accuracy"] == accuracy
    assert run.metrics["cross_validated_against_flipped_accuracy"] == against


def test_importances_belong_to_the_model(runs: Any):
    frame = pd.DataFrame(X_test[:, :3], columns=["a", "b", "c"])
    model = LogisticRegression(max_iter=5000).fit(frame, y_test)
    found = permutation_importance(model, frame, y_test, n_repeats=2, random_state=0)
    (run,) = runs()
    assert run.attributes["training_permutation_importance"]["b"]["mean"] == found.importances_mean[1]


def test_of_importances_by_several_scores_the_first_are_recorded(runs: Any):
    model = LogisticRegression(max_iter=5000).fit(X_test[:, :2], y_test)
    scoring = ["accuracy", "f1"]
    found = permutation_importance(model, X_test[:, :2], y_test, scoring=scoring, n_repeats=2, random_state=0)
    recorded = runs()[0].attributes["training_permutation_importance"]
    assert [recorded[name]["mean"] for name in ("0", "1")] == found["accuracy"].importances_mean.tolist()


def test_scores_of_other_things_are_nobodys(runs: Any):
    fitted()
    before = runs()[0].metrics
    accuracy_score(y_test, np.zeros_like(y_test))
    stranger = LogisticRegression(max_iter=5000)
    with autolog(disable=True):
        stranger.fit(X_train, y_train)
    accuracy_score(y_test, stranger.predict(X_test))
    assert runs()[0].metrics == before


def test_a_model_that_is_fitted_anew_is_scored_in_the_new_run(client: Any, runs: Any):
    model = LogisticRegression(max_iter=5000)
    model.fit(X_train, y_train)
    model.set_params(C=0.1).fit(X_train, y_train)
    score = model.score(X_test, y_test)
    first, second = runs()
    assert "test_score" not in first.metrics
    assert second.metrics["test_score"] == score


def test_scores_in_a_users_run_go_to_the_run(client: Any):
    with modeldb.start_run(client=client) as run:
        model = fitted()
        score = model.score(X_test, y_test)
    assert run.metrics["test_score"] == score
    late = accuracy_score(y_test, model.predict(X_test))
    client.flush()
    assert client.get_run(run.run_id).metrics["test_accuracy"] == late
    assert client.get_run(run.run_id).status == "finished"


def test_they_can_be_left_out(client: Any, runs: Any):
    autolog(client, log_models=False, log_evaluations=False)
    fitted().score(X_test, y_test)
    accuracy_score(Y, cross_val_predict(LogisticRegression(max_iter=5000), X, Y, cv=2))
    run, validation = runs()
    assert "test_score" not in run.metrics
    assert "cross_validated_accuracy" not in validation.metrics


def test_without_data_sets_there_are_scores_and_no_data(client: Any, runs: Any):
    autolog(client, log_models=False, log_datasets=False)
    score = fitted().score(X_test, y_test)
    cross_val_predict(LogisticRegression(max_iter=5000), X, Y, cv=2)
    run, validation = runs()
    assert run.metrics["test_score"] == score
    assert (run.datasets, validation.datasets) == ({}, {})


def test_thousands_of_predictions_that_nobody_scores_are_soon_let_be(runs: Any, monkeypatch: pytest.MonkeyPatch):
    from modeldb_sklearn import evaluation

    monkeypatch.setattr(evaluation, "MAX_UNUSED", 5)
    model = LogisticRegression(max_iter=5000).fit(X_train, y_train)
    for row in X_test[:10]:
        model.predict([row])
    assert len(runs()[0].datasets) <= 1 + 5


def test_a_model_that_is_judged_again_and_again_is_not_let_be(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    from modeldb_sklearn import evaluation

    monkeypatch.setattr(evaluation, "MAX_UNUSED", 3)
    model = fitted()
    for count in range(20, 30):
        accuracy_score(y_test[:count], model.predict(X_test[:count]))
    (run,) = runs()
    assert "evaluation_accuracy" in run.metrics
    assert len(client.get_run(run.run_id).history("evaluation_accuracy_repeated")) == 9


def test_of_many_predictions_the_latest_is_known(runs: Any):
    model = fitted()
    predicted = [model.predict(X_test) for _ in range(70)]
    accuracy = accuracy_score(y_test, predicted[-1])
    assert runs()[0].metrics["test_accuracy"] == accuracy


def test_a_score_after_importances_of_the_same_data_has_the_plain_name(runs: Any):
    model = fitted()
    permutation_importance(model, X_test, y_test, n_repeats=1)
    score = model.score(X_test, y_test)
    assert runs()[0].metrics["test_score"] == score


def test_a_column_of_probabilities_that_are_one_column_repeated_is_no_column_of_them():
    column = np.linspace(0, 1, 5)
    predictions: Predictions[str] = Predictions()
    predictions.remember(repeated := np.broadcast_to(column[:, None], (5, 2)), "model")
    found = predictions.find(repeated[:, 1])
    assert found is not None
    assert found.part(repeated[:, 1]) is None


def test_truths_of_different_shapes_differ():
    assert truth_key([[1, 2], [3, 4]]) != truth_key([1, 2, 3, 4])
    assert truth_key([[1], [2]]) == truth_key(np.array([1, 2])) == truth_key(pd.Series([1, 2]))


def test_a_score_of_the_other_class_says_which_column_it_is_of(runs: Any):
    model = fitted()
    probabilities = model.predict_proba(X_test)
    other = roc_auc_score(y_test, probabilities[:, 0])
    auc = roc_auc_score(y_test, probabilities[:, 1])
    iris, kind = load_iris(return_X_y=True)
    three = LogisticRegression(max_iter=500).fit(iris, kind)
    of_iris = three.predict_proba(iris)
    each = [roc_auc_score(kind == column, of_iris[:, column]) for column in range(3)]
    first, second = runs()
    assert (first.metrics["test_roc_auc"], first.metrics["test_roc_auc_column_0"]) == (auc, other)
    assert [second.metrics[f"training_against_other_roc_auc_column_{column}"] for column in range(3)] == each
    assert not [name for name in (*first.metrics, *second.metrics) if name.endswith("_repeated")]


LATE = """
import sys
import modeldb_core as modeldb
from modeldb_sklearn import autolog, evaluation

client = modeldb.connect(sys.argv[1], capture_enabled=False)
autolog(client, log_models=False)
from sklearn.datasets import make_blobs
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.metrics import accuracy_score

X, y = make_blobs(60, centers=2, random_state=0)
X_test, y_test = make_blobs(20, centers=2, random_state=0)
for kind in (LogisticRegression, RidgeClassifier, SGDClassifier, LinearDiscriminantAnalysis):
    accuracy_score(y_test, kind().fit(X, y).predict(X_test))
"""


def test_models_that_are_imported_after_autologging_is_on_have_their_scores(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/late.db"
    subprocess.run([sys.executable, "-c", LATE, url], check=True, cwd=tmp_path)
    with modeldb.connect(url) as client:
        found = {run.entity.name: "test_accuracy" in run.metrics for run in client.search_runs()}
    assert len(found) == 4
    assert all(found.values()), found
