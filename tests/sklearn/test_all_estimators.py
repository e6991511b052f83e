"""All of scikit-learn's estimators are trained the same with and without autologging."""

from __future__ import annotations

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
from modeldb_core.errors import ModelDBWarning
from modeldb_sklearn import autolog

pytestmark = pytest.mark.slow

ESTIMATORS = {
    name: cls for name, cls in all_estimators() if name != "FrozenEstimator"
}  # that one has no fit of its own
NOT_IN_SKOPS = {"Birch"}
TIMES = {"refit_time_", "cv_results_"}  # hold durations


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("all")
    with modeldb.connect(
        f"sqlite:///{path}/modeldb.db", journal_dir=str(path / "journals"), capture_enabled=False
    ) as connected:
        yield connected


def train(estimator: Any, X: Any, y: Any) -> dict[str, Any]:
    data, target = X.copy(), y.copy()
    np.random.seed(7)
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(data, target)
        except Exception as raised:
            error = repr(raised)
        modeldb.flush()
    state = {name: joblib.hash(value) for name, value in vars(estimator).items() if name not in TIMES}
    told = [warning.category.__name__ for warning in caught]
    return {
        "error": error,
        "state": state,
        "warnings": [name for name in told if name != ModelDBWarning.__name__],
        "ours": len(told) - len([name for name in told if name != ModelDBWarning.__name__]),
        "random": np.random.random(),
        "data": joblib.hash((data, target)),
    }


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of classes that are going away
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_trained_the_same(client: Any, name: str):
    estimator = next(iter(_construct_instances(ESTIMATORS[name])))
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    samples = np.random.RandomState(0).normal(size=(40, 4))
    X = _enforce_estimator_tags_X(estimator, samples)
    y = _enforce_estimator_tags_y(estimator, (samples[:, 0] > 0).astype(int))
    expected = train(clone(estimator), X, y)
    with autolog(client, project=name):
        found = train(clone(estimator), X, y)
    assert found.pop("ours") == (1 if name in NOT_IN_SKOPS else 0)
    expected.pop("ours")
    assert found == expected
    (run, *_) = (run.entity for run in client.search_runs(project=name) if run.entity.parent_id is None)
    assert run.status == ("failed" if expected["error"] else "finished")
    assert bool(run.artifacts) == (not expected["error"] and name not in NOT_IN_SKOPS)
