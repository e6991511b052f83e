"""A store with real runs, and the command line in this process: arguments in, exit code and output out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.cli import program


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``modeldb`` with arguments, on a terminal of 200 columns unless the output is captured."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = program.run(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class Scene:
    """What the store in the working folder holds."""

    folder: Path
    first: str
    second: str
    other: str


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Three runs in two projects, in a store in the working folder."""
    monkeypatch.chdir(tmp_path)
    with modeldb.connect(capture_enabled=False) as client:
        with client.start_run("churn", "forest", "first", tags=["baseline"], description="the one to beat") as first:
            first.log_hyperparameters({"max_depth": 8, "class_weight": {"0": 1.0, "1": 9.5}, "same": 1})
            first.log_metric("auc", 0.91)
            for step in range(100):
                first.log_metrics({"loss": math.exp(-step / 20), "val loss": 1.0}, step=step)
            first.log_artifact(b"hello\n", name="notes/a.txt")
            first.log_artifact(b"\x00\x01", name="notes/b.bin")
            first.set_attributes({"nan": math.nan, "big": 2**70})
        with client.start_run("churn", "forest", "second", tags=["baseline", "best"]) as second:
            second.log_hyperparameters({"max_depth": 12, "same": 1})
            second.log_metric("auc", 0.95)
        with client.start_run("prices", "linear", "evil \x1b[31m\nname") as other:
            other.log_metric("rmse", 3.5)
    return Scene(tmp_path, first.run_id, second.run_id, other.run_id)
