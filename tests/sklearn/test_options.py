"""Options for classes of estimators, callbacks of scikit-learn, figures, samples, warm starts, other libraries."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import confusion_matrix, roc_curve
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_sklearn import autolog

X, Y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


# -- options -------------------------------------------------------------------------------------------------------


def test_classes_have_options_of_their_own_by_class_or_name(client: Any, runs: Any):
    chosen = {
        RandomForestClassifier: {"log_models": False, "tags": ["forest"]},
        "StandardScaler": False,
        ClassifierMixin: {"log_training_metrics": False},
    }
    autolog(client, estimators=chosen)
    RandomForestClassifier(3).fit(X, Y)
    StandardScaler().fit(X)
    LogisticRegression(max_iter=5000).fit(X, Y)
    Ridge().fit(X, Y)
    forest, logistic, ridge = runs()
    assert forest.tags[-1] == "forest"
    assert "model/model.skops" not in forest.artifacts
    assert "training_accuracy" in forest.metrics  # its own class counts, not what it is derived from
    assert "training_accuracy" not in logistic.metrics
    assert "model/model.skops" in logistic.artifacts
    assert "training_r2" in ridge.metrics


@pytest.mark.parametrize("name", ["Ridge", "sklearn.linear_model.Ridge", "sklearn.linear_model._ridge.Ridge"])
def test_a_class_is_known_by_every_name_that_it_has(client: Any, runs: Any, name: str):
    autolog(client, estimators={name: {"tags": ["chosen"]}}, log_models=False)
    assert Ridge().fit(X, Y).coef_ is not None
    (run,) = runs()
    assert run.tags[-1] == "chosen"


@pytest.mark.parametrize(
    ("estimators", "error", "message"),
    [
        ({"SVC": {"log_model": False}}, InvalidArgumentError, "log_model"),
        ({"SVC": {"log_models": "no"}}, InvalidTypeError, "log_models = 'no'"),
        ({"SVC": {"tags": ["good", ""]}}, InvalidArgumentError, "tag is empty"),
        ({"SVC": 1}, InvalidTypeError, "expected True, False or options"),
        ({1: False}, InvalidTypeError, "expected classes, or their names"),
        ([LogisticRegression], InvalidTypeError, "a map from classes to options"),
    ],
)
def test_wrong_options_raise_at_the_call(estimators: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        autolog(estimators=estimators)


def test_data_that_a_fit_may_change_is_recorded_as_it_was_and_not_scored_afterwards(client: Any, runs: Any):
    autolog(client, log_models=False)
    data, target = load_diabetes(return_X_y=True)
    LinearRegression(copy_X=False).fit(data.copy(), target)
    LinearRegression().fit(data, target)
    in_place, plain = runs()
    assert in_place.datasets["train"]["digest"] == plain.datasets["train"]["digest"]
    assert "training_r2" in plain.metrics
    assert "training_r2" not in in_place.metrics
    assert any("which the estimator was told to change in place" in note for note in in_place.notes)


def test_a_sample_is_stored_when_asked_for(client: Any, runs: Any):
    autolog(client, log_models=False, log_sample=3)
    data = load_diabetes(as_frame=True)
    Ridge().fit(data.data, data.target)
    Ridge().fit(data.data.to_numpy(), data.target.to_numpy())
    for run in runs():
        rows = client.get_run(run.entity_id).read_artifact("data/sample.json")
        assert str(float(data.target.iloc[2])) in rows.decode()
        assert rows.decode().count('"target"') == 3


# -- callbacks of scikit-learn ---------------------------------------------------------------------------------------


class Counting:
    """A callback of the program's own."""

    def __init__(self) -> None:
        self.ended = 0

    def setup(self, estimator: Any, context: Any) -> None: ...
    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...
    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        self.ended += 1

    def teardown(self, estimator: Any, context: Any) -> None: ...


needs_callbacks = pytest.mark.skipif(not hasattr(Pipeline, "set_callbacks"), reason="scikit-learn has them from 1.9 on")


@needs_callbacks
def test_callbacks_tell_how_long_steps_and_iterations_took_and_leave_no_trace(client: Any, runs: Any):
    autolog(client, log_models=False)
    steps = [("scale", StandardScaler()), ("clf", LogisticRegression())]
    pipeline = Pipeline(steps).fit(X, Y)
    logistic = LogisticRegression(max_iter=30).fit(X[:, :5], Y)
    in_pipeline, alone = runs()
    assert 0 < in_pipeline.metrics["modeldb/fit_seconds/scale"] < in_pipeline.metrics["modeldb/fit_seconds"]
    assert 0 < in_pipeline.metrics["modeldb/fit_seconds/clf"] < in_pipeline.metrics["modeldb/fit_seconds"]
    assert alone.series["modeldb/lbfgs_iter_seconds"].count in (logistic.n_iter_[0], logistic.n_iter_[0] + 1)
    assert not [name for name in {**vars(pipeline), **vars(logistic)} if "callback" in name]


@needs_callbacks
def test_the_programs_own_callbacks_are_called_as_before(client: Any):
    def fit() -> tuple[int, Any]:
        counting = Counting()
        model = LogisticRegression(max_iter=30).set_callbacks(counting)
        model.fit(X[:, :5], Y)
        assert model._skl_callbacks == [counting]
        return counting.ended, model.coef_

    expected = fit()
    autolog(client, log_models=False)
    found = fit()
    assert found[0] == expected[0] > 1
    assert np.array_equal(found[1], expected[1])


@needs_callbacks
def test_a_solver_without_callbacks_warns_of_nothing(client: Any):
    autolog(client, log_models=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression(solver="newton-cholesky").fit(X, Y)


# -- figures -------------------------------------------------------------------------------------------------------


def figure(client: Any, run: Any, name: str) -> dict[str, Any]:
    recorded = client.get_run(run.entity_id).figure(name)
    assert recorded.draw().axes
    return dict(recorded.data)


def test_figures_are_stored_as_data_that_equals_scikit_learns(client: Any, runs: Any):
    autolog(client, log_models=False)
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    data, target = load_diabetes(return_X_y=True)
    Ridge().fit(data, target)
    forest, ridge = runs()
    assert set(forest.artifacts) == {
        f"figures/{name}.json"
        for name in (
            "feature_importances",
            "training_calibration_curve",
            "training_confusion_matrix",
            "training_precision_recall_curve",
            "training_roc_curve",
        )
    }
    assert set(ridge.artifacts) == {"figures/feature_importances.json", "figures/training_residuals.json"}
    entry = forest.artifacts["figures/training_roc_curve.json"]
    assert (entry["type"], entry["media_type"]) == ("figure", "application/vnd.modeldb.figure+json")
    probabilities = model.predict_proba(X)[:, 1]
    x, y, _ = roc_curve(Y, probabilities, drop_intermediate=False)
    roc = figure(client, forest, "training_roc_curve")
    assert (roc["kind"], roc["diagonal"]) == ("lines", True)
    assert (roc["series"][0]["x"], roc["series"][0]["y"]) == (pytest.approx(x), pytest.approx(y))
    matrix = figure(client, forest, "training_confusion_matrix")
    assert matrix["values"] == confusion_matrix(Y, model.predict(X)).tolist()
    assert (matrix["rows"], matrix["x_label"]) == (["0", "1"], "Predicted")
    bars = figure(client, forest, "feature_importances")
    assert dict(zip(bars["labels"], bars["values"], strict=True)) == pytest.approx(
        {str(index): value for index, value in enumerate(model.feature_importances_)}
    )
    fraction, mean = calibration_curve(Y, probabilities, n_bins=10)
    calibration = figure(client, forest, "training_calibration_curve")["series"][0]
    assert (calibration["x"], calibration["y"]) == (pytest.approx(mean), pytest.approx(fraction))
    assert not forest.notes


def test_figures_are_left_out_where_asked(client: Any, runs: Any):
    autolog(client, log_models=False, log_pictures=False)
    Ridge().fit(X, Y)
    assert runs()[0].artifacts == {}


# -- warm starts -----------------------------------------------------------------------------------------------------


def test_warm_starts_are_a_series_on_the_first_run(client: Any, runs: Any):
    autolog(client, log_models=False)
    forest = RandomForestClassifier(2, warm_start=True, random_state=0)
    for count in (2, 4, 6):
        forest.set_params(n_estimators=count).fit(X, Y)
    first, second, third = runs()
    series = client.get_run(first.entity_id).history("warm_start/training_accuracy")
    assert series.steps.tolist() == [0, 1, 2]
    assert series.values.tolist() == [run.metrics["training_accuracy"] for run in (first, second, third)]
    assert second.attributes["warm_start_of"] == third.attributes["warm_start_of"] == first.entity_id
    assert "warm_start_of" not in first.attributes
    clone(forest).fit(X, Y)
    assert "warm_start_of" not in runs()[-1].attributes


# -- other libraries ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
def test_lightgbm_and_xgboost_are_recorded_like_scikit_learns_own(client: Any, runs: Any):
    import lightgbm
    import xgboost

    models = [
        lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1),
        xgboost.XGBClassifier(n_estimators=5, n_jobs=1),
    ]
    plain = [clone(model).fit(X, Y).predict_proba(X) for model in models]
    autolog(client)
    for model, expected in zip(models, plain, strict=True):
        model.fit(X, Y, eval_set=[(X, Y)])
        assert np.array_equal(model.predict_proba(X), expected)
        model.score(X, Y)
    light, extreme = runs()
    assert light.attributes["estimator_class"] == "lightgbm.LGBMClassifier"
    assert extreme.attributes["estimator_class"] == "xgboost.XGBClassifier"
    for run, model in zip((light, extreme), models, strict=True):
        assert run.status == "finished"
        assert run.hyperparameters["n_estimators"] == 5
        assert run.metrics["training_accuracy"] == model.score(X, Y)
        (curve,) = [name for name in run.series if "logloss" in name]
        assert run.series[curve].count == 5
        assert run.artifacts or any("model" in note for note in run.notes)


def test_an_estimator_of_the_program_itself_is_one_like_any_other(client: Any, runs: Any):
    autolog(client, log_models=False)

    class Own(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), dtype=int)

    score = Own().fit(X, Y).score(X, Y)
    assert runs()[0].metrics["training_score"] == score


# -- runs that are continued ---------------------------------------------------------------------------------------


def test_fits_in_a_run_that_is_continued_are_its_children_also_where_the_store_hangs(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch
):
    from modeldb_core.errors import ModelDBWarning
    from modeldb_core.tracking import RunHandle

    with client.start_run(project="churn", capture=False) as first:
        pass
    autolog(client, log_models=False)
    with monkeypatch.context() as patient, client.start_run(run_id=first.run_id):
        patient.setattr("modeldb_sklearn.placement.PATIENCE_S", 60)
        Ridge().fit(X, Y)
        Ridge(alpha=2.0).fit(X, Y)
    parent, child = runs()
    assert (child.parent_id, child.project_id) == (parent.entity_id, parent.project_id)
    monkeypatch.setattr(RunHandle, "_ask_containers", lambda run: None)
    monkeypatch.setattr(type(client), "_ask_soon", lambda client, question: None)
    with client.start_run(run_id=first.run_id), pytest.warns(ModelDBWarning, match="the store does not say"):
        Ridge().fit(X, Y)
        model = Ridge(alpha=2.0).fit(X, Y)
    assert model.coef_.shape == (30,)
