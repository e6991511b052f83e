"""All of scikit-learn's estimators are trained the same with and without autologging, whatever the store and plugins do.

What is recorded of each stands in ``docs/sklearn_estimators.md``; ``MODELDB_TEST_TABLE=1 pytest`` writes the page anew.
"""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.estimator_checks import _enforce_estimator_tags_X, _enforce_estimator_tags_y

import modeldb_core as modeldb
from modeldb_core import hookimpl, plugins
from modeldb_core.errors import ModelDBWarning, StoreUnavailableError
from modeldb_sklearn import autolog
from modeldb_sklearn.options import BACKGROUND, wait_in

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]  # of classes that are going away

ESTIMATORS = {
    name: cls for name, cls in all_estimators() if name != "FrozenEstimator"
}  # that one has no fit of its own
NOT_IN_SKOPS = {"Birch"}
TIMES = {"refit_time_", "cv_results_"}  # hold durations
PAGE = Path(__file__).parents[2] / "docs" / "sklearn_estimators.md"
ROWS = {
    line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
    for line in (PAGE.read_text().splitlines() if PAGE.exists() else ())
    if line.startswith("| ")
}


class Store:
    """A store that does the same in every method that asks it something."""

    is_local = True
    url = "broken://"

    def __init__(self, act: Any) -> None:
        self.act = act

    def close(self) -> None:
        """End of the test."""

    def prepare_to_write(self) -> None:
        """Import nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.act()


class Broken:
    """A plugin of a third party whose hooks all raise."""

    @hookimpl
    def modeldb_configure(self, settings: Any) -> None:
        raise RuntimeError("configure")

    @hookimpl
    def modeldb_run_context(self, settings: Any) -> None:
        raise RuntimeError("context")

    @hookimpl
    def modeldb_run_started(self, run: Any) -> None:
        raise RuntimeError("started")

    @hookimpl
    def modeldb_run_finished(self, run: Any) -> None:
        raise RuntimeError("finished")

    @hookimpl
    def modeldb_describe_object(self, obj: Any) -> None:
        raise RuntimeError("describe")

    @hookimpl
    def modeldb_dump_model(self, model: Any) -> None:
        raise RuntimeError("dump")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("all")
    with modeldb.connect(
        f"sqlite:///{path}/modeldb.db", journal_dir=str(path / "journals"), capture_enabled=False
    ) as connected:
        yield connected


def broken(path: Path, act: Any) -> Any:
    """Return a client all of whose stores do ``act``, and whose third-party plugin raises in every hook."""
    path.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelDBWarning)  # that the plugin fails in modeldb_configure
        client = modeldb.connect(
            f"sqlite:///{path}/modeldb.db",
            journal_dir=str(path / "journals"),
            exit_timeout_s=0.0,
            flush_interval_s=0.05,
            disable_plugins=["of-this-test"],
        )
    manager = plugins.plugin_manager(client.settings)
    if "broken" not in manager.infos:
        manager.add(Broken(), "broken")
    client.store.close()
    client._store = client._artifacts = Store(act)
    return client


def close(client: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelDBWarning)  # of the plugin
        BACKGROUND.wait(timeout_s=60)  # which no store can hold up
        wait_in(client).wait(timeout_s=60)  # what it recorded later would begin a stream that nobody ends
        client.close()


@pytest.fixture
def raising(tmp_path: Path) -> Iterator[Any]:
    def fail() -> None:
        raise StoreUnavailableError("there is no store")

    client = broken(tmp_path / "raising", fail)
    yield client
    close(client)
    shutil.rmtree(tmp_path, ignore_errors=True)  # its journal, which is never shipped


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Any]:
    gate = threading.Event()

    def hang() -> None:
        gate.wait(600)
        raise StoreUnavailableError("there was no answer")

    client = broken(tmp_path / "hanging", hang)
    yield client
    gate.set()
    close(client)
    shutil.rmtree(tmp_path, ignore_errors=True)


def train(estimator: Any, X: Any, y: Any) -> dict[str, Any]:
    """Fit and use an estimator; return all that can be seen of it."""
    data, target = X.copy(), y.copy()
    parameters = repr(estimator.get_params())
    np.random.seed(7)
    error = ""
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(data, target)
        except Exception as raised:
            error = repr(raised)
        found["random"] = np.random.random()
        state = {name: joblib.hash(value) for name, value in vars(estimator).items() if name not in TIMES}
        for method in ("predict", "transform") if not error else ():
            if hasattr(estimator, method):
                try:
                    found[method] = joblib.hash(getattr(estimator, method)(data))
                except Exception as raised:
                    found[method] = repr(raised)
    told = [(warning.category.__name__, str(warning.message)) for warning in caught]
    copied = pickle.loads(pickle.dumps(estimator))
    assert repr(clone(estimator).get_params()) == repr(copied.get_params()) == parameters
    return found | {
        "error": error,
        "state": state,
        "copied": {name: joblib.hash(value) for name, value in vars(copied).items() if name not in TIMES},
        "warnings": [told_one for told_one in told if told_one[0] != ModelDBWarning.__name__],
        "ours": [message for category, message in told if category == ModelDBWarning.__name__],
        "data": joblib.hash((data, target)),
    }


@pytest.fixture(scope="module")
def shown() -> Iterator[dict[str, list[str]]]:
    """Collect the rows of the page, and write it where that is asked for."""
    rows: dict[str, list[str]] = {}
    yield rows
    rows = {name: cells for name, cells in (ROWS | rows).items() if name in ESTIMATORS}
    if os.environ.get("MODELDB_TEST_TABLE"):
        head = PAGE.read_text().partition("\n| estimator")[0]
        lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in sorted(rows.items())]
        titles = (
            "| estimator | task | metrics | series | model | figures | not recorded |\n|---|---|---|---|---|---|---|"
        )
        PAGE.write_text(f"{head}\n{titles}\n" + "\n".join(lines) + "\n")


def has_model(run: Any) -> bool:
    return any(name.startswith("model/") for name in run.artifacts)


def row_of(run: Any) -> list[str]:
    """Return what is recorded of a fit in the words of the page."""
    metrics = sorted(set(run.metrics) - {"modeldb/fit_seconds"} - set(run.series))
    kinds = sorted({"training metrics" if name.startswith("training_") else f"`{name}`" for name in metrics})
    left = [note.removeprefix("Not recorded: ").rstrip(".") for note in run.notes if note.startswith("Not recorded")]
    left += ["the model, which skops cannot write" for note in run.notes if "skops cannot write" in note]
    figures = [name.removeprefix("figures/") for name in sorted(run.artifacts) if name.startswith("figures/")]
    if run.status == "failed":
        left.append("the fit raises on this data")
    return [
        run.attributes["estimator_type"],
        ", ".join(kinds),
        ", ".join(f"`{name}`" for name in sorted(run.series)),
        "skops" if has_model(run) else "",
        ", ".join(name.removesuffix(".json").removeprefix("training_").replace("_", " ") for name in figures),
        "; ".join(left),
    ]


def prepared(name: str) -> tuple[Any, Any, Any]:
    """Return an estimator and data that it takes."""
    estimator = next(iter(_construct_instances(ESTIMATORS[name])))
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    samples = np.random.RandomState(0).normal(size=(40, 4))
    X = _enforce_estimator_tags_X(estimator, samples)
    y = _enforce_estimator_tags_y(estimator, (samples[:, 0] > 0).astype(int))
    return estimator, X, y


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_trained_the_same(client: Any, shown: dict[str, list[str]], name: str):
    estimator, X, y = prepared(name)
    expected = train(clone(estimator), X, y)
    expected.pop("ours")
    with autolog(client, project=name):
        found = train(clone(estimator), X, y)
        assert client.flush(60)
    assert len(found.pop("ours")) <= 1
    assert found == expected
    (run, *_) = (run.entity for run in client.search_runs(project=name) if run.entity.parent_id is None)
    assert run.status == ("failed" if expected["error"] else "finished")
    assert has_model(run) == (not expected["error"] and name not in NOT_IN_SKOPS)
    shown[name] = row_of(run)
    if not os.environ.get("MODELDB_TEST_TABLE"):
        assert ROWS.get(name) == shown[name], "docs/sklearn_estimators.md is out of date; see above how to write it"


FIRST = {cls.__module__.split(".")[1]: name for name, cls in reversed(ESTIMATORS.items())}.values()
"""The first estimator of each module of scikit-learn."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FIRST else pytest.mark.thorough) for name in ESTIMATORS]
)
def test_an_estimator_is_trained_the_same_whatever_the_store_and_plugins_do(raising: Any, hanging: Any, name: str):
    estimator, X, y = prepared(name)
    expected = train(clone(estimator), X, y)
    expected.pop("ours")
    for store in (raising, hanging):
        with autolog(store, project=name):
            found = train(clone(estimator), X, y)
        ours = [message for message in found.pop("ours") if not message.startswith("plugin 'broken'")]
        assert len(ours) <= 1, ours
        assert found == expected
