"""``modeldb diff``, ``modeldb.diff`` and their one comparison: code, data, environment, hyperparameters, results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modeldb_core as modeldb
from modeldb_core.cli import program
from modeldb_core.reproduction.differences import TITLES, Difference
from modeldb_core.reproduction.patches import split_patch
from modeldb_core.reproduction.values import ABSENT
from modeldb_core.tracking import Client
from tests.reproduction.conftest import git


def changes(diff: Any, name: str) -> dict[str, tuple[Any, Any]]:
    return {each.key: (each.first, each.second) for each in diff[name].changes}


@pytest.fixture
def two(client: Client, repository: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two runs of two states of a repository, the second one with other data, settings and results."""
    monkeypatch.chdir(repository)
    found = []
    for number in (1, 2):
        (repository / "train.py").write_text(f"lr = {number}\n")
        (repository / f"only_{number}.py").write_text("pass\n")
        git(repository, "add", ".")
        git(repository, "commit", "-m", f"state {number}")
        with client.start_run("churn", "forest", f"number {number}", capture=False) as run:
            run.log_hyperparameters({"lr": 0.1 * number, "same": 1, "net": {"width": 8, "depth": number}})
            run.log_metrics({"auc": 0.5 + number / 4, "nan": math.nan, "same": 1.0, "modeldb/seconds": float(number)})
            for step in range(number):
                run.log_metrics({"loss": 1.0}, step=step)
            run.log_dataset(np.arange(number + 2), "train", name="customers")
            run.log_dataset(np.arange(3), "test", name=f"other name {number}")
            run.log_dataset(repository, "folder", name="folder")
            code = {"commit": git(repository, "rev-parse", "HEAD"), "diff": patch(number), "diff_redacted": number - 1}
            packages = {"numpy": f"{number}.0", "scipy": "1.0", f"only-{number}": "1"}
            run._record(_set(run.run_id, code={**code}, environment={"python": "3.11.7", "packages": packages}))
        found.append(run.run_id)
    assert client.flush(240)
    return found[0], found[1]


def _set(run_id: str, **sections: dict[str, Any]) -> Any:
    from modeldb_core.commands.edits import update

    return update("run", run_id, {"put": sections})


def patch(number: int) -> str:
    return f"diff --git a/in all.py b/in all.py\n--- a/in all.py\t\n+++ b/in all.py\t\n@@ -1 +1 @@\n-x\n+{number}\n"


def test_a_diff_of_two_runs_explains_code_data_environment_hyperparameters_and_results(two: tuple[str, str]) -> None:
    found = modeldb.diff(*two)
    assert found.differs
    assert [section.name for section in found] == list(TITLES)
    assert set(changes(found, "code")) == {"commit", "diff_redacted"}
    files = changes(found, "files")
    assert set(files) == {"train.py", "only_2.py"}
    assert files["only_2.py"][0] is ABSENT
    assert set(changes(found, "uncommitted")) == {"in all.py"}
    assert "secrets are hidden in the changes of number 2" in found["uncommitted"].note
    assert set(changes(found, "data")) == {"train", "folder"}, "the test data has the same content under another name"
    assert changes(found, "data")["train"][0]["name"] == "customers"
    assert [entry["version"] for entry in changes(found, "data")["folder"]] == [1, 2]
    assert {"folder: train.py", "folder: only_2.py"} <= set(changes(found, "data_files"))
    assert changes(found, "packages") == {
        "numpy": ("1.0", "2.0"),
        "only-1": ("1", ABSENT),
        "only-2": (ABSENT, "1"),
    }
    assert found["packages"].same == 1
    assert changes(found, "hyperparameters") == {"lr": (0.1, 0.2), "net.depth": (1, 2)}
    assert changes(found, "results") == {"auc": (0.75, 1.0), "loss.count": (1, 2)}
    assert found["results"].changes[0].difference == 0.25
    assert not changes(found, "environment")


def test_a_run_does_not_differ_from_itself(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert not modeldb.diff(two[0], two[0]).differs
    assert program.run(["diff", two[0], two[0]]) == 0
    assert "do not differ" in capsys.readouterr().err


def test_commits_that_are_not_at_hand_are_said(two: tuple[str, str], tmp_path: Path) -> None:
    found = modeldb.diff(*two, repository=tmp_path)
    assert not found["files"].changes
    assert "not in a repository that is at hand" in found["files"].note


def test_the_command_prints_text_and_json(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["diff", *two]) == 0
    out = capsys.readouterr().out
    for text in ("Packages  1 the same", "net.depth", "customers", "only_2.py", "0.25"):
        assert text in out
    assert program.run(["diff", *two, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == modeldb.diff(*two).document()
    packages = next(section for section in document["sections"] if section["name"] == "packages")
    assert {"key": "only-2", "change": "added", "second": "1"} in packages["changes"]


def test_runs_that_are_not_there_are_named(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.start_run("churn").finish()
    client.flush()
    assert program.run(["diff", "nothing", "nothing"]) == program.MISSING
    assert "there is no run 'nothing'" in capsys.readouterr().err


def test_a_difference_of_what_is_no_number_has_none() -> None:
    assert Difference("a", True, 2).difference is None
    assert Difference("a", math.nan, 2).difference is None
    assert Difference("a", ABSENT, 2).change == "added"


def test_patches_are_read_file_by_file() -> None:
    text = (
        "diff --git a/mode.sh b/mode.sh\nold mode 100644\nnew mode 100755\n"
        "diff --git a/picture.png b/picture.png\nindex 1..2 100644\nBinary files a/picture.png and b/picture.png differ\n"
        "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
        "diff --git a/from b/to\nsimilarity index 100%\nrename from from\nrename to to\n"
    )
    found = split_patch(text)
    assert list(found) == ["mode.sh", "picture.png", "gone", "to"]
    assert found["picture.png"].is_binary
    assert found["gone"].summary.startswith("+0 -2")
    assert "".join(patch.text for patch in found.values()) == text
