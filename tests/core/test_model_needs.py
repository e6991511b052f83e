"""A model that can never be loaded is noticed when it is stored, and a loaded one never predicts on other columns."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import modeldb_core
from modeldb_core.errors import InvalidArgumentError, ModelLoadError, UntrustedModelError
from modeldb_core.tracking.description.model_formats import dump_model, load_model

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"a": RNG.normal(size=60), "b": RNG.normal(size=60) * 10, "c": RNG.normal(size=60)})
TARGET = (TABLE["b"] > 0).astype(int)

PROGRAM = """
import sys
import numpy as np
import modeldb_core
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

class LogT(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return X

X, y = np.eye(4), [0, 1, 0, 1]
with modeldb_core.connect(sys.argv[1], journal_dir=sys.argv[2]) as client:
    with client.start_run(name="lambda", capture=False) as run:
        run.log_model(make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression()).fit(X, y))
    with client.start_run(name="class", capture=False) as run:
        run.log_model(make_pipeline(LogT(), LogisticRegression()).fit(X, y))
    with client.start_run(name="pickled", capture=False) as run:
        run.log_model(make_pipeline(LogT(), LogisticRegression()).fit(X, y), model_format="pickle")
"""


def test_a_model_that_can_never_be_loaded_is_noticed_when_it_is_stored_and_says_why_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    url = f"sqlite:///{tmp_path}/modeldb.db"
    subprocess.run([sys.executable, tmp_path / "train.py", url, tmp_path / "journal"], check=True, timeout=250)
    with modeldb_core.connect(url, journal_dir=tmp_path / "journal") as client:
        runs = {run.name: run for run in client.search_runs()}
        for name, lacking in (("lambda", "<lambda>"), ("class", "__main__.LogT"), ("pickled", "__main__.LogT")):
            run = runs[name]
            assert [note for note in run.notes if lacking in note and "cannot be loaded" in note], run.notes
            with pytest.raises(UntrustedModelError):
                run.load_model()
            trusted = ["pickle", "__main__.<lambda>", "__main__.LogT"]
            with pytest.raises(ModelLoadError, match=lacking):
                run.load_model(trusted=trusted)


def stored(model: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    folder.mkdir()
    description = dump_model(model, folder, **options)
    return load_model(folder, description, trusted=[*description["untrusted_types"], "pickle"]), description


def test_the_packages_of_every_part_of_a_model_are_recorded(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=2, verbose=-1)).fit(TABLE, TARGET)
    _, description = stored(model, tmp_path / "pickle", model_format="pickle")
    assert {"scikit-learn", "lightgbm", "numpy"} <= description["packages"].keys()
    assert "problems" not in description
    _, description = stored(make_pipeline(FunctionTransformer(np.log1p)).fit(TABLE), tmp_path / "skops")
    assert {"scikit-learn", "skops", "numpy"} <= description["packages"].keys()
    assert "problems" not in description


@pytest.mark.parametrize("method", [str.lower, "a".__class__.upper])
def test_a_method_of_a_class_of_python_itself_is_noticed_when_the_model_is_stored(tmp_path: Path, method: Any) -> None:
    texts = ["hello world", "foo bar"] * 4
    model = make_pipeline(CountVectorizer(preprocessor=method), LogisticRegression()).fit(texts, [0, 1] * 4)
    description = dump_model(model, tmp_path)
    assert ["str.lower" in problem for problem in description["problems"]] == [True]
    with pytest.raises(ModelLoadError, match="make it a function of a module"):
        load_model(tmp_path, description, trusted=description["untrusted_types"])


def test_a_pipeline_that_fills_in_what_pandas_calls_missing_comes_back(tmp_path: Path) -> None:
    table = TABLE.convert_dtypes()
    model = make_pipeline(SimpleImputer(missing_values=pd.NA, strategy="constant", fill_value=0), LogisticRegression())
    model.fit(table, TARGET)
    again, description = stored(model, tmp_path / "model")
    assert again[0].missing_values is pd.NA
    assert not [name for name in description["untrusted_types"] if name.startswith("pandas")]
    assert np.array_equal(again.predict(table), model.predict(table))


def test_another_version_is_named_when_a_model_cannot_be_loaded(tmp_path: Path) -> None:
    description = dump_model(LogisticRegression().fit(TABLE, TARGET), tmp_path, model_format="pickle")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x05cnumpy\nnothing_of_this_name\n.")
    description["packages"]["numpy"] = "0.1"
    with pytest.raises(ModelLoadError, match=r"nothing_of_this_name.*numpy 0\.1"):
        load_model(tmp_path, description, trusted=["pickle"])


class ByPosition(LinearRegression):
    """Predicts by position, as many models do."""

    def predict(self, X: Any) -> Any:
        return np.asarray(X) @ np.asarray(self.coef_) + self.intercept_


MODELS = {
    "linear": (LogisticRegression(), {}),
    "by position": (ByPosition(), {}),
    "passed through": (make_pipeline(FunctionTransformer(), LogisticRegression()), {}),
    "LightGBM": (LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=2), {"model_format": "pickle"}),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_in_another_order_are_put_right_and_others_refused(name: str, library: str, tmp_path: Path) -> None:
    model, options = MODELS[name]
    model.fit(TABLE, TARGET)
    names = list(TABLE.columns)
    columns = names if library == "pandas" else [{"name": name, "dtype": "float64"} for name in names]
    signature = {"inputs": {"shape": [None, 3], "columns": columns}}
    loaded, _ = stored(model, tmp_path / "model", signature=signature, **options)
    wanted = loaded.predict(TABLE)
    table = TABLE if library == "pandas" or name == "LightGBM" else pl.DataFrame(TABLE.to_dict("list"))
    assert np.array_equal(loaded.predict(table[["c", "a", "b"]]), wanted)
    assert np.array_equal(loaded.predict(TABLE.to_numpy()) if name == "by position" else wanted, wanted)
    more = TABLE.assign(key=range(60), target=TARGET) if table is TABLE else table.with_columns(key=pl.lit(1))
    assert np.array_equal(loaded.predict(more[["key", "c", "a", "b"]]), wanted), "the model does not know the key"
    with pytest.raises(InvalidArgumentError, match="'b'"):
        loaded.predict(table[["c", "a"]])
    with pytest.raises(InvalidArgumentError, match="'d'"):
        loaded.predict(TABLE.rename(columns={"b": "d"}))


def chosen(*, remainder: str = "drop", columns: Any = ("a", "b")) -> ColumnTransformer:
    return ColumnTransformer([("num", StandardScaler(), list(columns)), ("out", "drop", ["c"])], remainder=remainder)


CHOOSING = {
    "transformer": lambda: chosen(),
    "pipeline": lambda: make_pipeline(chosen(), LogisticRegression()),
    "search": lambda: GridSearchCV(make_pipeline(chosen(), LogisticRegression()), {"logisticregression__C": [1]}, cv=2),
    "target": lambda: TransformedTargetRegressor(make_pipeline(chosen(), LinearRegression())),
}


@pytest.mark.parametrize("name", CHOOSING)
def test_a_loaded_model_takes_tables_without_the_columns_that_it_never_looks_at(name: str, tmp_path: Path) -> None:
    model = CHOOSING[name]().fit(TABLE, TARGET)
    loaded, _ = stored(model, tmp_path / "model", signature={"inputs": {"columns": list(TABLE.columns)}})
    call = "transform" if name == "transformer" else "predict"
    wanted = getattr(model, call)(TABLE)
    for table in (TABLE, TABLE[["b", "a"]], TABLE[["b", "c", "a"]].assign(more=1), TABLE[["a", "b"]].assign(more=1)):
        assert np.array_equal(getattr(model, call)(table), wanted)
        assert np.array_equal(getattr(loaded, call)(table), wanted)
    with pytest.raises(InvalidArgumentError, match=r"missing are \['b'\]"):
        getattr(loaded, call)(TABLE[["c", "a"]])


def test_columns_that_are_chosen_by_position_or_passed_through_are_all_needed(tmp_path: Path) -> None:
    by_position = ColumnTransformer([("num", StandardScaler(), [0, 1])])
    for i, model in enumerate((by_position, chosen(remainder="passthrough", columns=["a"]))):
        signature = {"inputs": {"columns": list(TABLE.columns)}}
        loaded, _ = stored(model.fit(TABLE), tmp_path / str(i), signature=signature)
        assert np.array_equal(loaded.transform(TABLE[["c", "b", "a"]]), model.transform(TABLE))
        with pytest.raises(InvalidArgumentError, match=r"missing are \['b'\]"):
            loaded.transform(TABLE[["c", "a"]])


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    model = ByPosition().fit(TABLE, TARGET)
    loaded, _ = stored(model, tmp_path / "model", signature={"inputs": {"columns": list(TABLE.columns)}})
    with pytest.raises(InvalidArgumentError, match=r"\['a'\] cannot be told apart"):
        loaded.predict(TABLE[["a", "a", "b", "c"]])


def test_a_loaded_model_is_copied_pickled_stored_and_fitted_as_any_other(tmp_path: Path) -> None:
    model = ByPosition().fit(TABLE, TARGET)
    wanted, turned = model.predict(TABLE), TABLE[["c", "b", "a"]]
    loaded, _ = stored(model, tmp_path / "first")
    for again in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded)), stored(loaded, tmp_path / "second")[0]):
        assert np.array_equal(again.predict(turned), wanted)
    assert np.array_equal(loaded.predict(turned), wanted), "storing it changes nothing"
    loaded.fit(TABLE[["a"]], TARGET)
    assert loaded.predict(TABLE[["a"]]).shape == (60,)
    assert vars(loaded).keys() == vars(model).keys()
