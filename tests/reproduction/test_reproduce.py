"""``modeldb reproduce`` with real programs: the same results, changed data, other environments, refusals."""

from __future__ import annotations

import json
import shutil
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
    run.log_dataset(modeldb.path("../data/kept", keep=True), "kept")
    run.log_hyperparameters({"shift": len(Path("../data/kept/a.txt").read_text()), "table": data.tolist() * 10_000})
    run.set_attributes({"prompt": "x" * 100_000})
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
    kept = data.with_name("kept")
    kept.mkdir()
    for name in ("a.txt", "b.txt"):
        (kept / name).write_text(name)
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
    subprocess.run([sys.executable, *words], cwd=folder, check=True, timeout=1200, stdin=subprocess.DEVNULL)


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


def test_a_run_is_repeated_once_that_was_agreed_to_and_the_record_stays_clean(
    recorded: Recorded, reproduce: Reproduce, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    shutil.rmtree(recorded.data.with_name("kept"))
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
    (recorded.data.with_name("kept") / "b.txt").write_text("other")
    code, found, _ = reproduce(recorded.run.entity_id, "--yes", "--changed-data", "--record", "--json")
    assert code == program.FOUND
    assert recorded.ran()
    results = {each["key"]: each for each in found["results"]}
    assert results["mean"]["verdict"] == "differs"
    assert results["mean"]["difference"] == pytest.approx(1 / 3)
    assert results["loss"]["different_points"] == 3
    assert found["data"]["changes"][0]["key"] == "train"
    assert "data set kept has changed in b.txt:" in found["gaps"][-1]
    again = modeldb.get_run(found["recorded_as"])
    assert again.entity.repeats_id == recorded.run.entity_id
    assert again.attributes["outcome"] == "differs"
    assert again.series["loss"].count == 3
    assert again.hyperparameters["table"] == [1.0, 2.0, 5.0] * 10_000, (
        "it is kept after the folder of the repetition has gone"
    )
    recorded.data.unlink()
    code, _, said = reproduce(recorded.run.entity_id, "--yes")
    assert (code, recorded.ran()) == (program.NOT_REPEATED, False)
    assert "data set train is missing" in said


SKLEARN = """
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

import modeldb_core as modeldb
import modeldb_sklearn

modeldb_sklearn.autolog(project="flowers", experiment="models")
rows = np.loadtxt("rows.csv", delimiter=",")
X, y = rows[:, :2], rows[:, 2].astype(int)
for name, C in (("weak", 0.01), ("strong", float(sys.argv[1]))):
    with modeldb.start_run("flowers", "models", name) as run:
        run.log_dataset("rows.csv", "rows")
        run.log_metric("accuracy", LogisticRegression(C=C).fit(X, y).score(X, y))
"""


def test_an_autologged_script_outside_of_version_control_is_repeated(
    client: Client, environment: dict[str, str], tmp_path: Path, reproduce: Reproduce
) -> None:
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "fit.py").write_text(SKLEARN)
    (folder / "rows.csv").write_text("".join(f"{n % 7},{n % 5},{int(n % 7 > n % 5)}\n" for n in range(60)))
    record([str(folder / "fit.py"), "10.0"], folder)
    run = modeldb.get_run("strong").entity
    (folder / "fit.py").unlink()
    code, found, said = reproduce(run.entity_id, "--yes", "--json")
    assert code == 0, said
    assert "accuracy" in {each["key"] for each in found["results"]}
    assert {each["verdict"] for each in found["results"]} == {"same"}
    assert any("not what it imports" in gap for gap in found["gaps"])
    code, found, said = reproduce(run.entity_id, "--yes", "--json", "--", "fit.py", "0.00001")
    assert code == program.FOUND, said
    (folder / "rows.csv").rename(tmp_path / "rows.csv")
    code, _, said = reproduce(run.entity_id, "--yes", "--data", str(tmp_path), "--copy", "no/such.txt")
    assert (code, "no/such.txt to copy" in said) == (program.NOT_REPEATED, True)
    (tmp_path / "rows.csv").rename(folder / "rows.csv")
    (folder / "rows.csv").write_bytes((folder / "rows.csv").read_bytes()[:-2] + b"9\n")
    code, _, said = reproduce(run.entity_id, "--yes", "--json")
    assert (code, "data set rows has changed" in said) == (program.NOT_REPEATED, True)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_the_example_for_scikit_learn_gives_identical_metrics(
    client: Client, environment: dict[str, str], reproduce: Reproduce
) -> None:
    root = Path(__file__).parents[2]
    record(["examples/sklearn_quickstart.py"], root)
    code, found, said = reproduce("SGD, rate 0.03", "--yes", "--json")
    assert code == 0, (found, said)
    assert {"loss", "accuracy", "validation_loss"} <= {each["key"] for each in found["results"]}


@pytest.mark.thorough
def test_an_environment_from_the_index_repeats_a_run(
    client: Client, environment: dict[str, str], repository: Path, reproduce: Reproduce, tmp_path: Path
) -> None:
    (repository / "train.py").write_text(
        "import modeldb_core as modeldb\nmodeldb.start_run('x').log_metric('y', 1.5)\n"
    )
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    uv, python = shutil.which("uv", path=str(Path(sys.executable).parent)), tmp_path / "theirs" / "bin" / "python"
    assert uv
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(python.parents[1])], check=True, timeout=240)
    root = str(Path(__file__).parents[2])
    subprocess.run([uv, "pip", "install", "-q", "--python", str(python), "-e", root], check=True, timeout=240)
    subprocess.run([str(python), "train.py"], cwd=repository, check=True, timeout=240)
    (run,) = modeldb.search_runs()
    code, _, said = reproduce(run.run_id, "--yes", "--environment", "new")
    assert (code, "nothing is installed from elsewhere unasked: modeldb-core" in said) == (program.NOT_REPEATED, True)
    code, found, said = reproduce(run.run_id, "--yes", "--json", "--environment", "new", "--allow-urls")
    assert code == 0, said
    assert found["environment"] == []
