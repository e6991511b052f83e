"""The benchmark of a logged step runs, and has a line for each logger. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_logger_is_measured_in_one_run(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--repeat", "1", "--only", "steps"]
    places = ["--json", str(report), "--workdir", str(tmp_path)]
    done = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    work = " ".join(result["work"] for result in json.loads(report.read_text("utf-8"))["results"])
    for name in ("ModelDBLogger", "ModelDBCallback", "CSVLogger", "TensorBoardLogger"):
        assert name in work
