"""``modeldb reproduce`` with real programs: the same results, changed data, other environments, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import modeldb_core as modeldb
from modeldb_core.cli import program
from modeldb_core.model.entities import Run
from modeldb_core.queries import Query
from modeldb_core.tracking import Client
from tests.reproduction.conftest import git

TRAIN = """
import sys
from pathlib import Path

import numpy as np

import modeldb_core as modeldb

Path(sys.argv[1]).write_text("ran")
data = np.loadtxt("../data/x.csv")
with modeldb.connect(url="sqlite:///ELSEWHERE"), modeldb.start_run("prices", "means", "first") as run:
    run.log_dataset("../data/x.csv", "train")
    run.log_hyperparameters({"shift": 1})
    run.log_metrics({"mean": float(data.mean()), "not a number": float("nan")})
    for step in range(3):
        run.log_metrics({"loss": float(data.sum()) / (step + 1)}, step=step)
"""


class Recorded(NamedTuple):
    """A run of a program that lies in a repository, with an uncommitted change, and whose data git ignores."""

    run: Run
    repository: Path
    data: Path
    mark: Path

    def ran(self) -> bool:
        """Return whether the program has run since the last time this was asked."""
        was_there = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return was_there


@pytest.fixture
def recorded(client: Client, repository: Path, tmp_path: Path, environment: dict[str, str]) -> Recorded:
    data, source, mark = repository / "data" / "x.csv", repository / "src", tmp_path / "mark; $(touch evil)"
    data.parent.mkdir()
    source.mkdir()
    data.write_text("1\n2\n4\n")
    script = source / "train.py"
    script.write_text("raise SystemExit('the changes were not applied')\n")
    (repository / ".gitignore").write_text("data\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    script.write_text(TRAIN.replace("ELSEWHERE", str(tmp_path / "store" / "modeldb.db")))
    record(["train.py", str(mark)], source)
    run = modeldb.get_run("first").entity
    found = Recorded(run, repository, data, mark)
    assert found.ran()
    return found


def record(words: list[str], folder: Path) -> None:
    subprocess.run([sys.executable, *words], cwd=folder, check=True, timeout=240, stdin=subprocess.DEVNULL)


Reproduce = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def reproduce(capsys: pytest.CaptureFixture[str]) -> Reproduce:
    """Run the command and return its exit code, JSON, and what it said; without a terminal."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = program.run(["reproduce", *arguments])
        captured = capsys.readouterr()
        is_json = "--json" in arguments and captured.out
        return code, json.loads(captured.out) if is_json else captured.out, captured.err

    return run


def test_a_run_is_repeated_with_identical_metrics_and_the_record_stays_clean(
    recorded: Recorded, reproduce: Reproduce, client: Client, tmp_path: Path
) -> None:
    code, found, said = reproduce(recorded.run.entity_id, "--yes", "--json", "--folder", str(tmp_path / "again"))
    assert code == 0, said
    assert recorded.ran()
    assert not (recorded.repository / "evil").exists()
    assert found["outcome"] == "same"
    verdicts = {each["key"]: (each["verdict"], each.get("points")) for each in found["results"]}
    assert verdicts == {"mean": ("same", None), "not a number": ("same", None), "loss": ("same", 3)}
    assert found["environment"] == []
    assert not found["data"]["changes"]
    assert client.store.find(Query("run", count=True)).total == 1, "although the program names the store itself"
    assert (tmp_path / "again" / "code" / "src" / "train.py").read_text() == (
        recorded.repository / "src/train.py"
    ).read_text()
    assert git(recorded.repository, "worktree", "list").count("\n") == 0


def test_one_changed_byte_of_the_data_is_said_before_anything_runs(recorded: Recorded, reproduce: Reproduce) -> None:
    recorded.data.write_text("1\n2\n5\n")
    code, _, said = reproduce(recorded.run.entity_id, "--yes")
    assert code == program.NOT_REPEATED
    assert "data set train has changed" in said
    assert not recorded.ran()
    code, found, _ = reproduce(recorded.run.entity_id, "--yes", "--changed-data", "--record", "--json")
    assert code == program.FOUND
    assert recorded.ran()
    results = {each["key"]: each for each in found["results"]}
    assert results["mean"]["verdict"] == "differs"
    assert results["mean"]["difference"] == pytest.approx(1 / 3)
    assert results["loss"]["different_points"] == 3
    assert found["data"]["changes"][0]["key"] == "train"
    assert "has changed" in found["gaps"][-1]
    again = modeldb.get_run(found["recorded_as"])
    assert again.entity.repeats_id == recorded.run.entity_id
    assert again.attributes["outcome"] == "differs"
    assert again.series["loss"].count == 3
    recorded.data.unlink()
    code, _, said = reproduce(recorded.run.entity_id, "--yes")
    assert (code, recorded.ran()) == (program.NOT_REPEATED, False)
    assert "data set train is missing" in said


def test_nothing_is_run_unasked(recorded: Recorded, reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown, said = reproduce(recorded.run.entity_id)
    assert code == program.NOT_REPEATED
    assert "no terminal to confirm on" in said
    for text in (
        "uncommitted changes of src/train.py",
        f"commit {recorded.run.code['commit']}",
        "'../../mark; $(touch evil)'",
    ):
        assert text in shown or text.replace("../../mark", str(recorded.mark.parent / "mark")) in shown
    monkeypatch.setattr("modeldb_core.cli.reproduce.is_answered", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    code, _, said = reproduce(recorded.run.entity_id)
    assert (code, "nothing was run" in said) == (program.NOT_REPEATED, True)
    code, shown, _ = reproduce(recorded.run.entity_id, "--dry-run")
    assert code == 0
    assert "this one: the same Python and every recorded package" in shown
    assert not recorded.ran()
