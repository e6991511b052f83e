"""The program notices nothing of its recording, and every run ends, whatever happens while it is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import make_multilabel_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict, cross_validate, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import modeldb_core as modeldb
from modeldb_core.errors import ModelDBWarning
from modeldb_core.tracking.run import RunHandle
from modeldb_sklearn import autolog, recording

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)

# -- what is imported ------------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
import sklearn.linear_model, sklearn.datasets
import modeldb_core as modeldb
client = modeldb.connect("sqlite:///" + sys.argv[1] + "/m.db", journal_dir=sys.argv[1] + "/j", capture_enabled=False)
if sys.argv[2] != "by hand":
    import modeldb_sklearn
    modeldb_sklearn.autolog(client, log_models=sys.argv[2] == "models")
X, y = sklearn.datasets.load_iris(return_X_y=True)
with modeldb.start_run(client=client) as run:
    run.log_artifact(b"1", "bytes")
    run.log_dataset(X)
    run.log_metrics({"a": 1.0})
    sklearn.linear_model.LogisticRegression(max_iter=1000).fit(X, y)
client.close()
print(json.dumps(sorted(sys.modules)))
"""


def modules(folder: Path, mode: str) -> set[str]:
    """Return the modules that a program has imported when it ends."""
    path = folder / mode
    path.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), mode], capture_output=True, text=True, check=True, timeout=300
    )
    assert not done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def test_a_program_has_no_module_more_than_before_and_models_bring_skops_alone(tmp_path: Path):
    before = modules(tmp_path, "by hand")
    assert not packages(before) & {"lark", "matplotlib", "PIL", "alembic", "fsspec"}  # nobody asked a question
    assert packages(modules(tmp_path, "no models") - before) <= {"modeldb_core", "modeldb_sklearn"}
    stored = modules(tmp_path, "models") - before
    assert packages(stored) <= {"modeldb_core", "modeldb_sklearn", "skops", "sklearn"}
    assert not [name for name in stored if "externals" in name or "tests" in name]


def test_skops_still_knows_every_estimator_of_scikit_learn():
    from sklearn.utils import all_estimators

    from modeldb_sklearn import skops_import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            f"{cls.__module__}.{cls.__name__}" for _, cls in all_estimators() if cls.__module__[:8] == "sklearn."
        }
        assert set(skops_import.all_estimators()) == expected


# -- the state of the process ----------------------------------------------------------------------------------------


def test_no_thread_of_ours_enters_catch_warnings(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    """The filters of warnings are the process's: a block that ends in another thread puts back its own."""
    threads: set[str] = set()
    enter = warnings.catch_warnings.__enter__

    def seen(self: Any) -> Any:
        threads.add(threading.current_thread().name)
        return enter(self)

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", seen)
    frame = pd.DataFrame(RNG.normal(size=(300_000, 3)), columns=["a", "b", "c"])
    autolog(client)
    make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, frame["a"] > 0)
    RandomForestClassifier(3).fit(X, Y)
    cross_val_predict(KNeighborsClassifier(), X, Y, cv=2)
    learning_curve(Ridge(), X, Y, cv=2)
    assert len(runs()) == 4
    assert threads == {threading.main_thread().name}


def test_warnings_of_the_program_come_through_while_fits_are_recorded(client: Any, runs: Any):
    autolog(client, log_models=False)
    for _ in range(20):
        LogisticRegression().fit(X, Y)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("the program's", UserWarning, stacklevel=1)
        assert [str(warning.message) for warning in caught] == ["the program's"]
    assert len(runs()) == 20


def test_code_of_the_program_is_called_by_nobody_but_the_program(client: Any, runs: Any):
    calls: list[str] = []

    class Own(RegressorMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.mean_ = float(np.mean(y))
            return self

        def predict(self, X: Any) -> Any:
            calls.append("predict")
            return np.full(len(X), self.mean_)

        def score(self, X: Any, y: Any) -> float:
            calls.append("score")
            return 0.5

        @property
        def feature_importances_(self) -> Any:
            calls.append("importances")
            return np.ones(3)

    def counted(values: Any) -> Any:
        calls.append("function")
        return values

    autolog(client)
    Own().fit(X, Y)
    make_pipeline(FunctionTransformer(counted), Ridge()).fit(X, Y)
    assert calls == ["function"]
    first, second = runs()
    assert any("Own would be called" in note for note in first.notes)
    assert any("counted would be called" in note for note in second.notes)


# -- runs that end ---------------------------------------------------------------------------------------------------


class Stepped(ClassifierMixin, BaseEstimator):
    def __init__(self, steps: Any = (1, 2)) -> None:
        self.steps = steps

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self


def test_an_estimator_whose_steps_are_numbers_has_a_run_that_ends(client: Any, runs: Any):
    autolog(client, log_models=False)
    Stepped([1, 2, 3]).fit(X, Y)
    (run,) = runs()
    assert run.status == "finished"
    assert run.hyperparameters["steps"] == [1, 2, 3]
    assert run.metrics["modeldb/fit_seconds"] >= 0


@pytest.mark.parametrize(
    "part",
    ["outcome_of", "steps_of", "dump_now", "results_of", "fitted_search", "training_scores", "log_curves", "late"],
)
@pytest.mark.filterwarnings("ignore::modeldb_core.errors.ModelDBWarning")
def test_a_run_ends_whatever_part_of_its_recording_fails(
    client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch, part: str
):
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    autolog(client, estimators={LogisticRegression: {"log_evaluations": part != "late"}})
    monkeypatch.setattr(RunHandle if part == "late" else recording, part, refuse)
    LogisticRegression().fit(X, Y)
    (run,) = runs()
    assert run.status == "finished"
    assert run.metrics["modeldb/fit_seconds"] > 0
    assert any("RuntimeError: no" in note for note in run.notes)


def test_a_run_whose_recording_is_interrupted_ends(client: Any, runs: Any, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    autolog(client, log_models=False)
    monkeypatch.setattr(recording, "training_scores", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression().fit(X, Y)
    assert runs()[0].status == "finished"


# -- fits that hang --------------------------------------------------------------------------------------------------


class Node(BaseEstimator):
    def __init__(self, left: Any = None, right: Any = None) -> None:
        self.left = left
        self.right = right

    def fit(self, X: Any, y: Any = None) -> Any:
        return self


def test_parameters_that_lead_back_to_their_estimator_are_visited_once(client: Any, runs: Any):
    calls = 0

    class Back(Node):
        def get_params(self, deep: bool = True) -> dict[str, Any]:
            nonlocal calls
            calls += 1
            return {"left": self.left, "right": self.right} if calls < 100 else {}

    back = Back()
    back.left = back.right = back
    shared = Node()
    for _ in range(40):
        shared = Node(shared, [shared, shared])
    autolog(client, log_models=False)
    back.fit(X)
    shared.fit(X)
    assert calls < 10
    assert [run.status for run in runs()] == ["finished", "finished"]


def test_parameters_that_are_made_again_each_time_come_to_an_end(client: Any, runs: Any):
    calls = 0

    class Endless(Node):
        def get_params(self, deep: bool = True) -> dict[str, Any]:
            nonlocal calls
            calls += 1
            return {"left": Endless(), "right": Endless()} if calls < 100_000 else {}

    autolog(client, log_models=False)
    Endless().fit(X)
    assert calls < 50_000
    assert [run.status for run in runs()] == ["finished"]


def test_a_model_whose_parts_share_what_they_hold_does_not_keep_its_fit_waiting(client: Any, runs: Any):
    shared: Any = {"a": 1}
    for _ in range(18):  # skops writes 2^18 maps
        shared = {"left": shared, "right": shared}
    deeper = shared
    for _ in range(200):  # and would never end here
        deeper = [deeper, (deeper, deeper)]
    autolog(client)
    with pytest.warns(ModelDBWarning, match="parts that many others share"):
        Node(shared).fit(X)
    Node(deeper).fit(X)
    assert all("parts that many others share" in " ".join(run.notes) for run in runs())
    assert [run.status for run in runs()] == ["finished", "finished"]


class OfNobody:
    """As the request of Flask outside of a request: it may not be looked into."""

    @property
    def __dict__(self) -> Any:
        msg = "Working outside of request context"
        raise RuntimeError(msg)


OF_NOBODY = OfNobody()


class Held:
    """As the splines of SciPy 1.18: it knows modules and functions, and leaves them out of what is stored."""

    def __init__(self) -> None:
        self.module, self.function, self.request = sys.modules[__name__], np.asarray, OF_NOBODY

    def __getstate__(self) -> dict[str, int]:
        return {"size": 3}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.size = state["size"]


def test_a_model_is_stored_whatever_modules_its_parts_know(client: Any, runs: Any):
    autolog(client)
    Node(Held()).fit(X)
    (run,) = runs()
    assert any(path.startswith("model/") for path in run.artifacts)


def test_pipelines_in_pipelines_cost_a_step_for_each_level(client: Any, runs: Any):
    calls = 0

    class Counted(LinearRegression):
        def __sklearn_tags__(self) -> Any:
            nonlocal calls
            calls += 1
            return super().__sklearn_tags__()

    def cost(depth: int, **options: bool) -> int:
        nonlocal calls
        model: Any = Counted()
        for _ in range(depth):
            model = Pipeline([("inner", model)])
        calls = 0
        with autolog(client, log_models=False, **options):
            model.fit(X, Y)
        return calls

    with autolog(client, disable=True):
        model: Any = Counted()
        for _ in range(8):
            model = Pipeline([("inner", model)])
        calls = 0
        model.fit(X, Y)
        without = calls
    assert cost(8) - without < 20


# -- ordinary fits -----------------------------------------------------------------------------------------------------


def ordinary() -> dict[str, Any]:
    """Return by name a fit, and what its run must have."""
    labels = make_multilabel_classification(60, 3, n_classes=3, random_state=0)[1]
    passed: Any = Pipeline([("scale", StandardScaler()), ("last", "passthrough")])
    two = FunctionTransformer(lambda y: y[:, :1]), FunctionTransformer()
    return {
        "passthrough": lambda: passed.fit(X, Y),
        "none": lambda: Pipeline([("scale", StandardScaler()), ("last", None)]).fit(X, Y),
        "a class": lambda: Node(left=StandardScaler, right=[LogisticRegression]).fit(X),
        "sparse labels": lambda: OneVsRestClassifier(LogisticRegression()).fit(X, sp.csr_matrix(labels)),
        "list of labels": lambda: MultiOutputClassifier(LogisticRegression()).fit(X, labels.tolist()),
        "classes of outputs": lambda: RandomForestClassifier(3).fit(X, labels + np.arange(3)),
        "fewer columns": lambda: TransformedTargetRegressor(Ridge(), transformer=two[0], check_inverse=False).fit(
            X, np.column_stack([Y, Y]).astype(float)
        ),
        "no features": lambda: DummyClassifier().fit(None, Y),
        "neither": lambda: Node().fit(None),
        "texts": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X.tolist(), [str(y) for y in Y]),
    }


@pytest.mark.parametrize("name", ordinary())
def test_an_ordinary_fit_is_recorded_without_a_warning(client: Any, runs: Any, name: str):
    autolog(client, log_models=False)
    fit = ordinary()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("error", ModelDBWarning)
        fit()
    run = runs(top=True)[-1]
    assert run.status == "finished"
    assert "modeldb/fit_seconds" in run.metrics
    assert not [note for note in run.notes if "could not" in note]


# -- models and cross-validation -------------------------------------------------------------------------------------

TABLE = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 2] > 0, "u", "v")})


@pytest.mark.parametrize(
    "columns",
    [
        TABLE.select_dtypes("number").columns,
        TABLE.columns.difference(["c"]),
        TABLE.dtypes == "float64",
        TABLE.columns[:2].values,
        pd.array([True, True, False], dtype="boolean"),
        ["a", "b"],
    ],
    ids=["dtypes", "difference", "mask", "values", "boolean", "list"],
)
def test_columns_chosen_by_pandas_are_stored_without_pickle(client: Any, runs: Any, columns: Any):
    autolog(client)
    parts = [("num", StandardScaler(), columns), ("cat", OneHotEncoder(sparse_output=False), pd.Index(["c"]))]
    chosen = ColumnTransformer(parts, verbose_feature_names_out=False).set_output(transform="pandas")
    model = make_pipeline(chosen, LogisticRegression()).fit(TABLE, Y)
    (run,) = runs()
    assert run.metrics["training_accuracy"] == model.score(TABLE, Y)  # a pandas column is data and not a transformer
    loaded: Any = client.get_run(run.entity_id).load_model(trusted=["numpy.dtype"])
    assert (loaded.predict(TABLE) == model.predict(TABLE)).all()
    kept = loaded[0].transformers[0][2]
    assert type(kept) is type(columns)
    assert list(kept) == list(columns)
    assert isinstance(loaded[0].transform(TABLE), pd.DataFrame)


def test_a_cross_validation_in_a_run_is_the_runs(client: Any, runs: Any):
    autolog(client, log_models=False)
    with modeldb.start_run(client=client, name="cv"):
        found = cross_validate(LogisticRegression(), X, Y, cv=3)
        cross_validate(LogisticRegression(C=0.1), X, Y, cv=3)
    first, second = runs()
    assert first.name == "cv"
    assert first.metrics["mean_test_score"] == pytest.approx(found["test_score"].mean())
    assert first.hyperparameters["C"] == 1.0
    assert (second.parent_id, second.hyperparameters["C"]) == (first.entity_id, 0.1)
    assert (first.status, second.status) == ("finished", "finished")
