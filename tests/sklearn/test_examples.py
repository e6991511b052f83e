"""The examples run as a stranger runs them, without a warning, and leave a record worth looking at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modeldb_core as modeldb

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, tmp_path: Path) -> str:
    variables = {"MODELDB_URL": f"sqlite:///{tmp_path}/modeldb.db", "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")}
    command = [sys.executable, "-W", "error::UserWarning", str(EXAMPLES / name)]
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_the_quickstart_leaves_curves_pictures_models_and_a_search(tmp_path: Path):
    assert " ui --url sqlite:///" in run_example("sklearn_quickstart.py", tmp_path)
    with modeldb.connect(f"sqlite:///{tmp_path}/modeldb.db", journal_dir=str(tmp_path / "journals")) as client:
        runs = [run.entity for run in client.search_runs(limit=100)]
    named = {run.name: run for run in runs}
    assert all(run.status == "finished" and not any("could not" in note for note in run.notes) for run in runs)
    loop = named["SGD, rate 0.03"]
    assert loop.series["validation_loss"].count == 30
    assert {"confusion.json", "confusion.png", "model/model.skops"} <= loop.artifacts.keys()
    assert {"train", "validation"} <= loop.datasets.keys()
    assert named["two hidden layers"].series["loss"].count == 40
    assert named["random forest"].metrics["roc_auc"] > 0.9
    search = named["grid search"]
    assert sum(run.parent_id == search.run_id for run in runs) == search.metrics["n_candidates"] == 12
    assert named["GradientBoostingRegressor"].series["train_score"].count == 150


def test_the_grid_search_finds_its_best_candidates_again(tmp_path: Path):
    output = run_example("sklearn_grid_search.py", tmp_path)
    assert output.count(" ± ") == 5
    assert "The best model, from its file: Pipeline with 3 steps" in output
