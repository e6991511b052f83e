"""Train real models on real data with one extra line, and find everything in the browser.

    python examples/sklearn_quickstart.py
    modeldb ui

It takes about ten seconds. Everything is kept in ``modeldb.db`` and the folder ``modeldb-artifacts`` beside it, or
wherever ``MODELDB_URL`` says.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, mean_absolute_error, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import modeldb_core as modeldb
import modeldb_sklearn
from modeldb_core.runtime.notices import command_line

SEED = 7


def compare_classifiers() -> None:
    """Three models for one task. What is not logged by hand below, autologging records."""
    data = load_breast_cancer(as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, random_state=SEED, stratify=data.target)
    models = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.5)),
        "random forest": RandomForestClassifier(100, max_depth=6, random_state=SEED),
        "linear, class weights": make_pipeline(StandardScaler(), LogisticRegression(class_weight={0: 2.0, 1: 1.0})),
    }
    for name, model in models.items():
        with modeldb.start_run(project="breast cancer", experiment="classifiers", name=name, tags=["baseline"]) as run:
            model.fit(X_train, y_train)
            predicted = model.predict(X_test)
            run.log_metrics(
                {
                    "accuracy": accuracy_score(y_test, predicted),
                    "roc_auc": roc_auc_score(y_test, model.predict_proba(X_test)[:, 1]),
                }
            )
            run.log_dataset(X_test, "test")
            log_confusion_matrix(run, y_test, predicted, ["malignant", "benign"])
            run.set_attributes({"team": "quickstart", "reviewed": False})
            print(f"  {name:<24} accuracy {accuracy_score(y_test, predicted):.3f}")


def train_by_hand() -> None:
    """A training loop that logs each epoch itself, and a network whose loss curve autologging finds."""
    X, y = load_digits(return_X_y=True)
    X_train, X_valid, y_train, y_valid = train_test_split(X / 16, y, random_state=SEED, stratify=y)
    classes = np.unique(y)

    for rate in (0.003, 0.03):
        settings = {"eta0": rate, "learning_rate": "constant", "alpha": 1e-4}
        with modeldb.start_run(project="digits", experiment="networks", name=f"SGD, rate {rate}") as run:
            model = SGDClassifier(loss="log_loss", random_state=SEED, **settings)
            order = np.random.default_rng(SEED)
            for epoch in range(30):
                for batch in np.array_split(order.permutation(len(X_train)), 10):
                    model.partial_fit(X_train[batch], y_train[batch], classes=classes)
                run.log_metrics(
                    {
                        "loss": log_loss(y_train, model.predict_proba(X_train)),
                        "validation_loss": log_loss(y_valid, model.predict_proba(X_valid)),
                        "accuracy": accuracy_score(y_train, model.predict(X_train)),
                        "validation_accuracy": accuracy_score(y_valid, model.predict(X_valid)),
                    },
                    step=epoch,
                )
            run.log_dataset(X_train, "train")
            run.log_dataset(X_valid, "validation")
            log_confusion_matrix(run, y_valid, model.predict(X_valid), classes)
            print(f"  SGD, rate {rate:<13} accuracy {accuracy_score(y_valid, model.predict(X_valid)):.3f}")

    with modeldb.start_run(
        project="digits", experiment="networks", name="two hidden layers", tags=["candidate"]
    ) as run:
        network = MLPClassifier((64, 32), max_iter=40, early_stopping=True, n_iter_no_change=40, random_state=SEED)
        quietly(network.fit, X_train, y_train)
        accuracy = accuracy_score(y_valid, network.predict(X_valid))
        run.log_metric("validation_accuracy", accuracy)
        log_confusion_matrix(run, y_valid, network.predict(X_valid), classes)
        run.comment("Stops early only if it must: the curve shows where it could have.")
        print(f"  {'two hidden layers':<24} accuracy {accuracy:.3f}")


def search_for_settings() -> None:
    """A grid search: one run for the search, and a child of it for each candidate."""
    X, y = load_digits(return_X_y=True)
    with modeldb.start_run(project="digits", experiment="support vectors", name="grid search") as run:
        grid = {"svc__C": [0.1, 1, 10], "svc__gamma": [0.001, 0.01, 0.1, "scale"]}
        search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=3).fit(X[:900], y[:900])
        run.log_metric("accuracy", search.score(X[900:], y[900:]))
        print(f"  best of {len(search.cv_results_['params'])} candidates: {search.best_params_}")


def predict_progression() -> None:
    """Regression, without a run of our own: each fit becomes a run by itself."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=SEED)
    for model in (Ridge(alpha=0.1), GradientBoostingRegressor(n_estimators=150, subsample=0.7, random_state=SEED)):
        model.fit(X_train, y_train)
        predicted = model.predict(X_test)
        print(
            f"  {type(model).__name__:<26} R² {r2_score(y_test, predicted):.3f}, "
            f"mean error {mean_absolute_error(y_test, predicted):.1f}"
        )


def log_confusion_matrix(run: modeldb.RunHandle, truth: Any, predicted: Any, labels: Any) -> None:
    """Store the confusion matrix as a picture, where Matplotlib is installed, and as a table of numbers."""
    matrix = confusion_matrix(truth, predicted)
    run.log_artifact({"labels": [str(label) for label in labels], "matrix": matrix.tolist()}, name="confusion.json")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if count > matrix.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(labels)), [str(label) for label in labels])
    axes.set_yticks(range(len(labels)), [str(label) for label in labels])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    run.log_artifact(figure, name="confusion.png")


def quietly(function: Any, *args: Any) -> Any:
    """Call ``function`` without scikit-learn's word that a network could be trained longer."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def main() -> None:
    start = time.perf_counter()
    client = modeldb.connect()
    modeldb_sklearn.autolog(project="diabetes", experiment="regressors")  # the one extra line

    print("Three classifiers on the breast cancer data:")
    compare_classifiers()
    print("A grid search on the digits data:")
    search_for_settings()
    print("Networks on the digits data, epoch by epoch:")
    train_by_hand()
    print("Regression on the diabetes data:")
    predict_progression()

    best = modeldb.search_runs(
        "metrics.accuracy > 0.5", project="breast cancer", order_by="metrics.accuracy desc", limit=1
    )
    for run in best:
        print(f"\nBest on the breast cancer data: {run.name}, accuracy {run.metrics['accuracy']:.3f} ({run.run_id})")
    count = modeldb.search_runs(count=True, limit=1).total
    url = client.store.url
    client.close()
    print(f"{count} runs are in {url} after {time.perf_counter() - start:.0f} s.")
    print("Look at them in the browser, in the terminal, and prove that nobody altered them:\n")
    for command in (["ui"], ["runs", "--project", "digits"], ["audit", "verify"]):
        print(f"    {command_line(*command, '--url', url)}")


if __name__ == "__main__":
    main()
