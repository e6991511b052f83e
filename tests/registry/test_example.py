"""The example goes from versioned data to the champion, and every step can be followed back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.queries import Linked, Query

EXAMPLE = Path(__file__).parents[2] / "examples" / "model_registry.py"


@pytest.mark.slow
def test_the_example_leads_from_data_to_the_champion_and_back(tmp_path: Path) -> None:
    variables = {"MODELDB_URL": f"sqlite:///{tmp_path}/modeldb.db", "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        env={**os.environ, **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "churn@v2" in done.stdout
    assert "v1 was in production" in done.stdout
    with modeldb.connect(variables["MODELDB_URL"], journal_dir=variables["MODELDB_JOURNAL_DIR"]) as client:
        champion = modeldb.registered_model("churn").version("champion").entity
        used = Linked("run", champion.run_id, "from", "datasets")
        (data,) = client.store.find(Query("dataset_version", linked=used)).entities
        assert data.document["version"] == champion.version == 2
        users = client.store.find(Query("run", linked=Linked("model_version", champion.entity_id))).entities
        assert [run.document["metrics"]["leaving"] for run in users] == [1]
