"""The integration in ``examples/third_party_integration``, installed as what it is: a distribution of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xgboost

import modeldb_core as modeldb

SOURCE = Path(__file__).parents[2] / "examples" / "third_party_integration"

PROGRAM = """
from xgboost import train  # before autologging is on
import numpy as np, pytest, xgboost
import modeldb_core as modeldb
from modeldb_core.errors import ModelDBWarning
import modeldb_xgboost

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3)); y = X[:, 0] * 2 + rng.normal(size=200) * 0.1
data = xgboost.DMatrix(X[:150], y[:150], feature_names=["a", "b", "c"])
held_out = xgboost.DMatrix(X[150:], y[150:], feature_names=["a", "b", "c"])
params = {"max_depth": 2, "eta": np.float64(0.3), "eval_metric": ["rmse", "mae"]}
fit = lambda: train(params, data, 12, evals=[(data, "train"), (held_out, "test")], verbose_eval=False)
plain = fit()

modeldb_xgboost.autolog(project="prices")
booster = fit()
assert booster.save_raw() == plain.save_raw()
with modeldb.start_run(project="prices", name="outer"):
    fit()
    with pytest.raises(xgboost.core.XGBoostError):
        train({"objective": "nonsense"}, data, 2)
run = modeldb.search_runs('name = "xgboost.train" and status = "finished"', order_by="created_at")[0]
loaded = run.load_model()
assert (loaded.predict(held_out) == booster.predict(held_out)).all()

original = modeldb.Client.start_run
def refuse(*_, **__): raise OSError("no")
modeldb.Client.start_run = refuse
with pytest.warns(ModelDBWarning, match="autologging of XGBoost could not start a run"):
    assert fit().save_raw() == plain.save_raw()
modeldb.Client.start_run = original

modeldb_xgboost.autolog(disable=True)
fit()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it, as an installer does; returns the folder."""
    out = tmp_path_factory.mktemp("example")
    source = out / "source"
    source.mkdir()
    for path in SOURCE.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    build = (
        "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); build_meta.build_wheel(sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(source), str(out)],
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "installed")
    return out / "installed"


def test_it_records_what_xgboost_trains_and_harms_nothing(installed: Path, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/modeldb.db"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]),
        "MODELDB_URL": url,
        "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"),
        "MODELDB_CAPTURE_ENABLED": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "modeldb_core.cli", "plugins"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "modeldb_xgboost" in listed.stdout, listed.stderr
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        runs = [run.entity for run in client.search_runs(project="prices", order_by="created_at")]
        first, outer, child, failed = runs
        rounds = client.get_run(first.entity_id).history("test/rmse")
    assert first.hyperparameters["eta"] == 0.3
    assert first.hyperparameters["num_boost_round"] == first.metrics["rounds"] == 12
    assert rounds.steps.tolist() == list(range(12))
    assert np.all(np.diff(rounds.values) < 0)
    assert max(first.attributes["feature_gain"], key=lambda name: first.attributes["feature_gain"][name]) == "a"
    assert child.parent_id == failed.parent_id == outer.entity_id
    assert (child.status, failed.status) == ("finished", "failed")
    assert xgboost.__version__ == first.artifacts["model/model.ubj"]["model"]["packages"]["xgboost"]
