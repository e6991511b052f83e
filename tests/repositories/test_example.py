"""The example of a branch and a merge, as a stranger runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "branch_and_merge.py"


def test_the_example_merges_what_two_people_set(tmp_path: Path) -> None:
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
    assert "config (lr): both changed it" in done.stdout
    assert (
        "Merged: {'batch': 256, 'lr': 0.04, 'optimizer': {'momentum': 0.9, 'name': 'sgd'}, 'warmup': 500}"
        in done.stdout
    )
    assert "batch = 256: Ben" in done.stdout
    assert "warmup = 500: Ada" in done.stdout
