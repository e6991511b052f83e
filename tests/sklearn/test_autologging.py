"""What is recorded of fits, and that nothing else happens."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import random
import threading
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import modeldb_core as modeldb
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, ModelDBWarning
from modeldb_core.tracking.description.datasets import Labelled, describe
from modeldb_sklearn import autolog, recording
from modeldb_sklearn.data import BESIDE_BYTES
from modeldb_sklearn.options import BACKGROUND

TREE = ["sklearn.tree._tree.Tree"]

X, Y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)


class Mean(RegressorMixin, BaseEstimator):
    """A user's estimator: it has its own way to change when it predicts."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, X: Any, y: Any) -> Mean:
        self.mean_ = float(np.mean(y)) + self.shift
        self.predictions_ = 0
        return self

    def predict(self, X: Any) -> Any:
        self.predictions_ += 1
        np.random.random()
        X[:] = 0
        return np.full(len(X), self.mean_)


def fit_repeatedly(model: Any, count: int) -> None:
    for _ in range(count):
        model.fit(X, Y)


# -- what is recorded ----------------------------------------------------------------------------------------------


def test_a_fit_becomes_a_run_with_everything_a_colleague_asks_for(client: Any, runs: Any):
    autolog(client, project="churn", experiment="forest", tags=["nightly"])
    model = LogisticRegression(C=0.5, class_weight={0: 1.0, 1: 9.5}).fit(X, Y)
    (run,) = runs()
    probabilities = model.predict_proba(X)
    assert run.name == "LogisticRegression"
    assert run.status == "finished"
    assert run.tags == ("sklearn", "classifier", "nightly")
    assert run.hyperparameters["C"] == 0.5
    assert run.hyperparameters["class_weight"] == {"0": 1.0, "1": 9.5}
    assert run.hyperparameters.keys() == model.get_params().keys()
    assert run.attributes["estimator_class"] == "sklearn.linear_model.LogisticRegression"
    assert run.metrics["training_score"] == model.score(X, Y)
    assert run.metrics["training_accuracy"] == accuracy_score(Y, model.predict(X))
    assert run.metrics["training_f1_weighted"] == pytest.approx(
        f1_score(Y, model.predict(X), average="weighted"), abs=1e-12
    )
    assert run.metrics["training_log_loss"] == pytest.approx(log_loss(Y, probabilities), abs=1e-12)
    assert run.metrics["training_roc_auc"] == pytest.approx(roc_auc_score(Y, probabilities[:, 1]), abs=1e-12)
    assert run.metrics["n_iter"] == model.n_iter_[0]
    assert run.metrics["modeldb/fit_seconds"] > 0
    assert run.datasets["train"]["digest"] == describe(Labelled(X, Y))["digest"]
    assert run.datasets["train"]["shape"] == [569, 30]
    assert [project.name for project in client.projects()] == ["churn"]
    assert [experiment.name for experiment in client.experiments("churn")] == ["forest"]
    described = run.artifacts["model/model.skops"]["model"]
    assert described["untrusted_types"] == []
    assert described["signature"]["inputs"] == {"shape": [None, 30], "dtype": "float64"}
    loaded = client.get_run(run.run_id).load_model()
    assert np.array_equal(loaded.predict_proba(X), probabilities)


def test_regression_is_recorded_with_metrics_that_fit_it(client: Any, runs: Any):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    autolog(client)
    model = GradientBoostingRegressor(n_estimators=12, random_state=0).fit(X, y)
    (run,) = runs()
    predicted = model.predict(X)
    assert run.metrics["training_score"] == run.metrics["training_r2"]
    assert run.metrics["training_r2"] == pytest.approx(r2_score(y, predicted), abs=1e-12)
    assert run.metrics["training_mae"] == pytest.approx(mean_absolute_error(y, predicted), abs=1e-9)
    assert run.metrics["training_rmse"] == pytest.approx(root_mean_squared_error(y, predicted), abs=1e-9)
    assert client.get_run(run.run_id).history("train_score").values.tolist() == model.train_score_.tolist()
    assert "training_accuracy" not in run.metrics
    columns = run.artifacts["model/model.skops"]["model"]["signature"]["inputs"]["columns"]
    assert [column["name"] for column in columns] == list(X.columns)


def test_clusters_are_counted(client: Any, runs: Any):
    autolog(client)
    kmeans = KMeans(4, n_init=1, random_state=0).fit(X)
    dbscan = DBSCAN(eps=3.0).fit(X)
    first, second = runs()
    assert first.metrics["inertia"] == kmeans.inertia_
    assert first.metrics["n_clusters"] == 4
    assert first.attributes["estimator_type"] == "clusterer"
    assert second.metrics["n_noise"] == int((dbscan.labels_ < 0).sum())
    assert first.datasets["train"]["kind"] == "array"


def test_curves_over_iterations_become_series(client: Any, runs: Any):
    autolog(client, log_models=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier((8,), max_iter=7, early_stopping=True, random_state=0).fit(X, Y)
    (run,) = runs()
    history = client.get_run(run.run_id).history("loss")
    assert history.values.tolist() == model.loss_curve_
    assert history.steps.tolist() == list(range(7))
    assert run.series["validation_score"].maximum == max(model.validation_scores_)


def test_a_series_that_the_program_has_logged_itself_gets_no_curve_of_autologging(client: Any):
    autolog(client)
    with modeldb.start_run(client=client) as run:
        run.log_metrics({"validation_score": 5.0}, 0)
        model = MLPClassifier((5,), max_iter=500, early_stopping=True, random_state=0).fit(X, Y)
    assert len(model.validation_scores_) > 1
    assert run.history("validation_score").values.tolist() == [5.0]
    assert any("validation_score, since the program has logged that itself" in note for note in run.entity.notes)


def test_what_is_a_fact_of_the_data_or_of_its_features_is_no_metric(client: Any, runs: Any):
    autolog(client, log_models=False)
    pairs = SVC().fit(*load_iris(return_X_y=True))
    SelectKBest(k=2).fit(*load_iris(return_X_y=True))
    svc, selection = sorted(runs(), key=lambda run: run.name != "SVC")
    assert (svc.metrics["n_iter"], svc.attributes["n_iter"]) == (pairs.n_iter_.max(), pairs.n_iter_.tolist())
    assert svc.attributes["n_features_in"] == 4
    assert "n_features_in" not in svc.metrics
    assert "score" not in selection.series


def test_a_pipeline_is_one_run_with_its_steps_nested(client: Any, runs: Any):
    autolog(client)
    columns = ColumnTransformer([("scaled", StandardScaler(with_mean=False), [0, 1]), ("rest", "drop", slice(2, None))])
    union = FeatureUnion([("pca", PCA(1)), ("same", "passthrough")])
    Pipeline([("columns", columns), ("union", union), ("model", LogisticRegression(C=2.0))]).fit(X, Y)
    (run,) = runs()
    found = run.hyperparameters
    assert found["steps"] == ["columns", "union", "model"]
    assert found["model"]["C"] == 2.0
    assert found["model"]["class"] == "sklearn.linear_model.LogisticRegression"
    assert found["columns"]["scaled"]["with_mean"] is False
    assert found["columns"]["scaled"]["columns"] == [0, 1]
    assert found["union"]["pca"]["n_components"] == 1
    (same,) = client.search_runs("hyperparameters.model.C = 2.0")
    assert same.run_id == run.run_id
    assert "training_accuracy" in run.metrics


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
        StackingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())], cv=2),
        BaggingClassifier(LogisticRegression(), n_estimators=3, random_state=0),
        BaggingClassifier(LogisticRegression(), n_estimators=4, n_jobs=2, random_state=0),
    ],
    ids=["voting", "stacking", "bagging", "bagging-in-parallel"],
)
def test_fits_inside_a_fit_are_no_runs_of_their_own(client: Any, runs: Any, model: Any):
    autolog(client, log_models=False)
    with joblib.parallel_config("threading"):
        model.fit(X, Y)
    (run,) = runs()
    assert run.name == type(model).__name__
    assert "training_accuracy" in run.metrics


def test_users_own_estimators_are_recorded_also_when_defined_later(client: Any, runs: Any):
    autolog(client)

    class Later(Mean):
        def fit(self, X: Any, y: Any) -> Later:
            return super().fit(X, y)  # type: ignore[return-value]

    Mean(shift=1.0).fit(X, Y.astype(float))
    Later().fit(X, Y.astype(float))
    first, second = runs()
    assert first.hyperparameters == {"shift": 1.0}
    assert "modeldb/fit_seconds" in first.metrics
    assert second.name == "Later"


def test_transformers_are_recorded_too(client: Any, runs: Any):
    autolog(client)
    StandardScaler().fit(X)
    PCA(2).fit_transform(X)
    StandardScaler().fit_transform(X)
    assert [run.name for run in runs()] == ["StandardScaler", "PCA", "StandardScaler"]


def test_fit_predict_is_one_run(client: Any, runs: Any):
    autolog(client)
    KMeans(2, n_init=1, random_state=0).fit_predict(X)
    DBSCAN().fit_predict(X)
    assert [run.name for run in runs()] == ["KMeans", "DBSCAN"]


def test_other_arguments_of_fit_are_described(client: Any, runs: Any):
    autolog(client)
    LogisticRegression().fit(X, Y, sample_weight=np.linspace(1, 2, len(Y)))
    found = runs()[0].attributes["fit_parameters"]["sample_weight"]
    assert found["type"] == "numpy.ndarray"
    assert found["shape"] == [569]


def test_a_fit_that_raises_is_a_failed_run_and_raises_the_same(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(ValueError, match="inconsistent numbers of samples") as caught:
        LogisticRegression().fit(X[:3], Y)
    assert not isinstance(caught.value, modeldb.errors.ModelDBError)
    (run,) = runs()
    assert run.status == "failed"
    assert "inconsistent numbers of samples" in run.notes[0]


def test_ctrl_c_in_a_fit_is_a_killed_run(client: Any, runs: Any):
    class Interrupted(Mean):
        def fit(self, X: Any, y: Any) -> Any:
            raise KeyboardInterrupt

    autolog(client)
    with pytest.raises(KeyboardInterrupt):
        Interrupted().fit(X, Y)
    assert runs()[0].status == "killed"


def test_lazy_data_is_not_computed_again_for_metrics(client: Any, runs: Any):
    class Lazy(np.ndarray):
        def compute(self) -> Any:
            raise AssertionError

    autolog(client, log_models=False)
    DecisionTreeClassifier(max_depth=1).fit(X.view(Lazy), Y)
    (run,) = runs()
    assert "training_accuracy" not in run.metrics
    assert any("which would have to be computed again" in note for note in run.notes)


def test_what_is_not_recorded_is_noted_with_the_reason(client: Any, runs: Any):
    autolog(client)
    KNeighborsClassifier().fit(X, Y)
    StandardScaler(copy=False).fit(X.copy())
    LinearRegression(copy_X=False).fit(X.copy(), Y)
    neighbours, _, regression = runs()
    assert neighbours.metrics["training_accuracy"] > 0.9
    assert "log loss and ROC AUC" in neighbours.notes[0]
    assert "training_r2" not in regression.metrics
    assert "told to change in place" in regression.notes[0]


def test_a_model_that_skops_cannot_write_is_noted_and_the_rest_recorded(client: Any, runs: Any):
    autolog(client)

    class Unwritable(Mean):
        def fit(self, X: Any, y: Any) -> Any:
            self.stream_ = (value for value in [1])
            return super().fit(X, y)

    with pytest.warns(ModelDBWarning, match="could not store the model") as caught:
        fit_repeatedly(Unwritable(), 2)
    assert len(caught) == 1
    for run in runs():
        assert run.status == "finished"
        assert run.artifacts == {}
        assert "modeldb/fit_seconds" in run.metrics
        assert any("could not store the model" in note for note in run.notes)


def test_options_leave_parts_out(client: Any, runs: Any):
    autolog(client, log_models=False, log_datasets=False, log_training_metrics=False, log_pictures=False)
    LogisticRegression().fit(X, Y)
    (run,) = runs()
    assert run.artifacts == {}
    assert run.datasets == {}
    assert not any(name.startswith("training_") for name in run.metrics)
    assert run.hyperparameters["C"] == 1.0


def test_the_digest_of_large_data_is_worked_out_while_the_fit_runs(client: Any, runs: Any):
    data = np.random.default_rng(0).normal(size=(80_000, 10))
    labels = (data[:, 0] > 0).astype(int)
    autolog(client)
    SGDClassifier(random_state=0).fit(data, labels)
    (run,) = runs()
    assert data.nbytes > BESIDE_BYTES
    assert run.datasets["train"]["digest"] == describe(Labelled(data, labels))["digest"]


@pytest.mark.parametrize("changed", ["data", "model"])
def test_what_is_recorded_is_what_there_was_when_the_fit_ended(client: Any, runs: Any, changed: str):
    autolog(client)
    data, gate = X.copy(), threading.Event()
    BACKGROUND.submit(lambda: gate.wait(60) and None)
    model = LogisticRegression().fit(data, Y)
    expected, accuracy = model.coef_.copy(), model.score(X, Y)
    if changed == "data":
        data[:, 0] += 100
    else:
        model.coef_ *= -2
    gate.set()
    (run,) = runs()
    assert run.metrics["training_accuracy"] == accuracy
    assert run.datasets["train"]["digest"] == describe(Labelled(X, Y))["digest"]
    assert np.array_equal(client.get_run(run.run_id).load_model().coef_, expected)


def test_fitting_again_at_once_keeps_the_results_apart(client: Any, runs: Any):
    autolog(client)
    gate = threading.Event()
    model = RandomForestClassifier(5, warm_start=True, random_state=0)
    threading.Timer(0.05, gate.set).start()
    BACKGROUND.submit(lambda: gate.wait(60) and None)
    model.fit(X, Y)
    model.set_params(n_estimators=40).fit(X, Y)
    first, second = (client.get_run(run.run_id).load_model(trusted=TREE) for run in runs())
    assert (len(first.estimators_), len(second.estimators_)) == (5, 40)
    assert [run.metrics["training_accuracy"] for run in runs()] == [first.score(X, Y), second.score(X, Y)]


def test_an_estimator_that_is_gone_before_its_run_ends_is_noted(client: Any, runs: Any):
    autolog(client)
    model = SGDClassifier(random_state=0)
    model.partial_fit(X, Y, classes=[0, 1])
    del model
    gc.collect()
    SGDClassifier(random_state=0).partial_fit(X, Y, classes=[0, 1])
    first = runs()[0]
    assert first.status == "finished"
    assert first.artifacts == {}
    assert "which was gone" in first.notes[0]


# -- where it is recorded ------------------------------------------------------------------------------------------


def test_the_first_fit_in_a_run_logs_to_it_and_later_ones_to_children(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(project="mine", client=client, name="by hand") as run:
        LogisticRegression(C=1.0).fit(StandardScaler().fit_transform(X), Y)
        LogisticRegression(C=2.0).fit(X, Y)
    found = {entity.name + str(entity.hyperparameters.get("C", "")): entity for entity in runs()}
    assert found["by hand1.0"].run_id == run.run_id
    assert found["by hand1.0"].metrics["training_accuracy"] > 0.9
    assert found["by hand1.0"].status == "finished"
    assert found["LogisticRegression2.0"].parent_id == run.run_id
    assert found["StandardScaler"].parent_id == run.run_id
    assert len(found) == 3


def test_a_second_fit_of_the_same_estimator_is_a_run_of_its_own(client: Any, runs: Any):
    autolog(client)
    model = LogisticRegression(C=1.0)
    model.fit(X, Y)
    model.set_params(C=5.0).fit(X[:100], Y[:100])
    first, second = runs()
    assert (first.hyperparameters["C"], second.hyperparameters["C"]) == (1.0, 5.0)
    assert first.metrics["training_accuracy"] != second.metrics["training_accuracy"]


def test_results_are_in_the_run_when_its_block_ends(client: Any):
    autolog(client)
    with modeldb.start_run(client=client) as run:
        model = RandomForestClassifier(30, random_state=0).fit(X, Y)
    assert run.metrics["training_accuracy"] == model.score(X, Y)
    assert "model/model.skops" in run.artifacts
    assert run.entity.artifacts["model/model.skops"]["model"]["untrusted_types"] == ["sklearn.tree._tree.Tree"]


def test_batches_of_partial_fit_are_one_run_with_a_point_each(client: Any, runs: Any):
    autolog(client)
    model = SGDClassifier(random_state=0)
    for batch in np.array_split(np.arange(len(X)), 10):
        model.partial_fit(X[batch], Y[batch], classes=[0, 1])
    autolog(disable=True)
    (run,) = runs()
    assert run.attributes["partial_fit_calls"] == 10
    assert client.get_run(run.run_id).history("samples_seen").values.tolist()[-1] == len(X)
    assert run.status == "finished"
    assert np.array_equal(client.get_run(run.run_id).load_model().coef_, model.coef_)


def test_partial_fit_in_a_users_run_logs_to_it_beside_their_own_metrics(client: Any, runs: Any):
    autolog(client)
    with modeldb.start_run(client=client, name="loop") as run:
        model = SGDClassifier(loss="log_loss", random_state=0)
        for epoch in range(5):
            model.partial_fit(X, Y, classes=[0, 1])
            run.log_metric("loss", log_loss(Y, model.predict_proba(X)), step=epoch)
    (found,) = runs()
    assert found.series.keys() == {"loss", "samples_seen", "n_iter", "t", "X_log_loss"}
    assert found.hyperparameters["loss"] == "log_loss"
    assert found.status == "finished"
    assert "model/model.skops" in found.artifacts


def test_scores_after_a_batch_stand_at_the_step_of_that_batch(client: Any, runs: Any):
    autolog(client)
    model = SGDClassifier(random_state=0)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1])
        model.score(X, Y)
    autolog(disable=True)
    run = client.get_run(runs()[0].run_id)
    assert run.history("samples_seen").steps.tolist() == [0, 1, 2]
    assert run.history("X_score").steps.tolist() == [0, 1, 2]


def test_a_series_that_the_program_logs_gets_no_points_of_partial_fit(client: Any):
    autolog(client)
    with modeldb.start_run(client=client) as run:
        run.log_metric("samples_seen", 0.5, step=7)
        model = SGDClassifier(random_state=0)
        for _ in range(3):
            model.partial_fit(X, Y, classes=[0, 1])
    assert run.history("samples_seen").values.tolist() == [0.5]
    assert run.history("t").steps.tolist() == [0, 1, 2]


def test_two_estimators_that_learn_in_turns_do_not_mix(client: Any, runs: Any):
    autolog(client, log_models=False)
    models = [SGDClassifier(alpha=alpha, random_state=0) for alpha in (0.1, 0.2)]
    for _ in range(3):
        for model in models:
            model.partial_fit(X, Y, classes=[0, 1])
    autolog(disable=True)
    assert [(run.hyperparameters["alpha"], run.attributes["partial_fit_calls"]) for run in runs()] == [
        (0.1, 3),
        (0.2, 3),
    ]


def test_fits_in_threads_of_joblib_are_whole_runs(client: Any, runs: Any):
    autolog(client)
    joblib.Parallel(2, prefer="threads")(
        joblib.delayed(LogisticRegression(C=c).fit)(X, Y) for c in (1.0, 2.0, 3.0, 4.0)
    )
    found = runs()
    assert sorted(run.hyperparameters["C"] for run in found) == [1.0, 2.0, 3.0, 4.0]
    assert all(run.metrics["training_accuracy"] > 0.9 and run.artifacts and run.status == "finished" for run in found)


def test_what_scikit_learn_fits_for_itself_is_no_run(client: Any, runs: Any):
    autolog(client)
    log_loss(["a", "b", "a"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert runs() == []
    cross_val_predict(LogisticRegression(), X, Y, cv=2, method="predict_proba")
    LabelBinarizer().fit([1, 2, 3])
    assert [run.name for run in runs()] == ["cross_val_predict LogisticRegression", "LabelBinarizer"]


# -- what does not happen ------------------------------------------------------------------------------------------

MODELS = [
    LogisticRegression(),
    RandomForestClassifier(10),
    make_pipeline(StandardScaler(), SVC(probability=False)),
    MLPClassifier((5,), max_iter=3),
    SGDClassifier(),
    KMeans(3, n_init=2),
    BaggingClassifier(n_estimators=3),
    KNeighborsClassifier(algorithm="kd_tree"),
    BaggingClassifier(KNeighborsClassifier(algorithm="ball_tree"), n_estimators=2),
    KernelDensity(),
    Mean(),
]


@pytest.mark.parametrize("model", MODELS, ids=[type(model).__name__ for model in MODELS])
def test_results_warnings_and_random_states_are_the_same_with_and_without(client: Any, model: Any):
    def train() -> tuple[Any, ...]:
        data, target = X.copy(), Y.copy()
        estimator = clone(model)
        np.random.seed(11)
        random.seed(11)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(data, target)
        client.flush()
        state = {name: joblib.hash(value) for name, value in vars(estimator).items()}
        messages = [(warning.category, str(warning.message)) for warning in caught]
        return state, messages, np.random.random(), random.random(), joblib.hash(data), joblib.hash(target)

    without = train()
    autolog(client)
    assert train() == without


def test_a_large_search_tree_is_not_copied_for_training_metrics(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recording, "MAX_COPY_BYTES", X.nbytes - 1)
    autolog(client)
    KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    LogisticRegression(max_iter=1000).fit(X, Y)
    neighbors, regression = runs()
    assert "training_accuracy" not in neighbors.metrics
    assert "for which a large search tree would have to be copied" in neighbors.notes[0]
    assert regression.metrics["training_accuracy"] > 0.9


def test_estimators_clone_pickle_and_show_their_parameters_as_before(client: Any):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=3.0))
    parameters, text = model.get_params(), repr(model)
    autolog(client)
    model.fit(X, Y)
    assert model.get_params() == parameters
    assert repr(model) == text
    assert clone(model).get_params()["logisticregression__C"] == 3.0
    data = pickle.dumps(model)
    autolog(disable=True)
    assert np.array_equal(pickle.loads(data).predict(X), model.predict(X))
    assert pickle.dumps(model) == data


def test_switching_off_undoes_every_patch(client: Any):
    def snapshot() -> dict[Any, Any]:
        found, waiting = {}, [BaseEstimator]
        while waiting:
            cls = waiting.pop()
            found[cls] = dict(cls.__dict__)
            waiting += type.__subclasses__(cls)
        return found

    before = snapshot()
    parallel = joblib.Parallel.__call__
    autolog(client)
    with autolog(client, project="other"):
        assert LogisticRegression.__dict__["fit"] is not before[LogisticRegression]["fit"]

    class Meanwhile(Mean):
        def fit(self, X: Any, y: Any) -> Any:
            return super().fit(X, y)

    assert hasattr(Meanwhile.fit, "__modeldb_name__")
    autolog(disable=True)
    assert not hasattr(Meanwhile.fit, "__modeldb_name__")
    for cls, attributes in before.items():
        assert dict(cls.__dict__) == attributes, cls
    assert joblib.Parallel.__call__ is parallel


def test_it_works_as_a_decorator_and_in_a_block_and_is_off_outside(client: Any, runs: Any):
    @autolog(client, project="decorated")
    def train() -> None:
        LogisticRegression().fit(X, Y)

    LogisticRegression().fit(X, Y)
    train()
    LogisticRegression().fit(X, Y)
    with autolog(client, project="block"):
        LogisticRegression().fit(X, Y)
    LogisticRegression().fit(X, Y)
    assert len(runs()) == 2
    assert [project.name for project in client.projects()] == ["block", "decorated"]


def test_it_works_as_a_decorator_without_arguments(client: Any, runs: Any):
    @autolog
    def train(c: float) -> float:
        LogisticRegression(C=c).fit(X, Y)
        return c

    assert train(2.0) == 2.0
    assert runs()[0].hyperparameters["C"] == 2.0


class Training:
    def __call__(self, c: float) -> float:
        LogisticRegression(C=c).fit(X, Y)
        return c

    async def later(self, c: float) -> float:
        await asyncio.sleep(0)
        return self(c)


class LaterTraining(Training):
    async def __call__(self, c: float) -> float:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().__call__(c)


@pytest.mark.parametrize(
    "function",
    [
        Training(),
        Training().__call__,
        functools.partial(Training().__call__),
        Training().later,
        functools.partial(Training().later),
        LaterTraining(),
    ],
    ids=["object", "method", "partial", "coroutine", "partial_coroutine", "object_with_coroutine"],
)
@pytest.mark.usefixtures("client", "no_running_loop")
def test_whatever_can_be_called_is_decorated_without_arguments(runs: Any, function: Any):
    found: Any = autolog(function)(2.0)
    assert (asyncio.run(found) if inspect.isawaitable(found) else found) == 2.0
    Training()(3.0)  # not while it runs
    assert [run.hyperparameters["C"] for run in runs()] == [2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client": Training}, "is of type type; expected a Client"),
        ({"client": "sqlite:///x"}, "client = 'sqlite:///x' is of type str; expected a Client"),
        ({"project": 3}, "project = 3 is of type int; expected the name of a project"),
        ({"log_models": "yes"}, "log_models = 'yes' is of type str; expected True or False"),
        ({"tags": "one"}, "expected a list of texts"),
    ],
)
def test_a_wrong_argument_raises_at_the_call(arguments: Any, message: str):
    with pytest.raises(InvalidTypeError) as caught:
        autolog(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("wrong", [{"project": "p" * 257}, {"experiment": ""}, {"tags": [""]}, {"tags": ["a\0"]}])
def test_a_name_or_tag_that_no_run_can_have_raises_at_the_call(wrong: Any):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong)).rstrip("s")):
        autolog(**wrong)


def test_a_class_with_a_very_long_name_is_recorded_under_a_shortened_one(client: Any, runs: Any):
    autolog(client, log_models=False)
    type("Long" * 100, (LogisticRegression,), {})().fit(X, Y)
    (run,) = runs()
    assert len(run.name) == 256
    assert any("LongLong" in note for note in run.notes)


def test_a_store_that_fails_costs_one_warning_and_nothing_else(client: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any, **kwargs: Any) -> Any:
        msg = "no stream"
        raise OSError(msg)

    autolog(client)
    expected = LogisticRegression().fit(X, Y).coef_
    client.flush()
    monkeypatch.setattr(client, "start_run", fail)
    model = LogisticRegression()
    with pytest.warns(ModelDBWarning, match="could not start a run: OSError: no stream") as caught:
        fit_repeatedly(model, 3)
    assert len(caught) == 1
    assert np.array_equal(model.coef_, expected)


def test_sparse_data_is_never_made_dense(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("made dense")

    data = sp.random(300, 20_000, 0.002, format="csr", random_state=0)
    labels = np.arange(300) % 2
    monkeypatch.setattr(sp.csr_matrix, "toarray", refuse)
    autolog(client)
    SGDClassifier(random_state=0).fit(data, labels)
    (run,) = runs()
    assert run.datasets["train"]["shape"] == [300, 20_000]
    assert run.metrics["training_accuracy"] > 0.5
    assert run.notes == ()


def test_long_values_are_never_cut(client: Any, runs: Any):
    X, y = load_iris(return_X_y=True)
    weights = {label: 1.0 + label for label in range(3)} | {-label: 1.0 for label in range(1, 3001)}
    autolog(client, log_models=False)

    class Weighted(ClassifierMixin, BaseEstimator):
        def __init__(self, class_weight: Any = None) -> None:
            self.class_weight = class_weight

        def fit(self, X: Any, y: Any) -> Any:
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), dtype=int)

    Weighted(weights).fit(X, y)
    found = client.get_run(runs()[0].run_id).hyperparameters["class_weight"]
    assert found == {str(label): weight for label, weight in weights.items()}


def test_tables_texts_and_lists_are_taken_as_data(client: Any, runs: Any):
    from sklearn.feature_extraction.text import TfidfVectorizer

    autolog(client)
    make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        ["one two", "three", "two", "three one"], ["a", "b", "a", "b"]
    )
    digits = load_digits(as_frame=True)
    LogisticRegression(max_iter=2000).fit(digits.data[:200], digits.target[:200])
    LogisticRegression().fit(X.tolist(), pd.Series(Y))
    texts, table, lists = runs()
    assert texts.datasets["train"]["kind"] == "labelled"
    assert texts.metrics["training_accuracy"] == 1.0
    assert table.datasets["train"]["shape"] == [200, 64]
    assert lists.datasets["train"]["shape"] == [569, 30]
    assert all(run.status == "finished" and not run.notes for run in (texts, table, lists))
