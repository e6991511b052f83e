"""The example runs as a stranger runs it, without a warning of ours, and leaves one run without a gap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modeldb_core as modeldb

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_digits_are_learned_in_one_run_that_is_resumed_half_way(tmp_path):
    url = f"sqlite:///{tmp_path}/modeldb.db"
    places = {"MODELDB_URL": url, "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")}
    command = [sys.executable, "-W", "error::modeldb_core.errors.ModelDBWarning", str(EXAMPLES / "lightning_digits.py")]
    done = subprocess.run(
        command, env={**os.environ, **places}, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ModelDB" not in done.stderr.replace("ModelDBCallback", "")
    assert "168 steps in one curve" in done.stdout
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        (handle,) = client.search_runs(project="examples", limit=10)
        run = handle.entity
        for key in ("train/loss", "modeldb/lr-AdamW", "modeldb/gradient_norm", "modeldb/samples_per_second"):
            assert [int(step) for step in handle.history(key).steps] == list(range(168)), key
        assert [int(step) for step in handle.history("validation/accuracy").steps] == list(range(20, 168, 21))
        checkpoints = {name: entry for name, entry in run.artifacts.items() if entry["type"] == "checkpoint"}
    assert run.status == "finished"
    assert run.metrics["test/accuracy"] > 0.9
    assert run.hyperparameters["learning_rate"] == 0.01
    assert run.hyperparameters["batch_size"] == 64
    assert run.datasets.keys() == {"train", "validation", "test"}
    assert run.attributes["reproducibility"]["seed"] == 1
    assert len(checkpoints) == 2
    assert sum("best" in entry["aliases"] for entry in checkpoints.values()) == 1
    assert not any("could not" in note for note in run.notes)
