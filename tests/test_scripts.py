"""The scripts of the README: they are sound shell, refuse what they do not know, and are what CI calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("scripts/run", "scripts/test", "scripts/sklearn-tests", ".ci/run")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_can_be_executed_and_parses(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True, timeout=30)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "exec scripts/test" in (ROOT / ".ci/run").read_text()
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "scripts/test" in readme
    assert "scripts/run" in readme


def test_the_run_script_explains_itself_and_refuses_unknown_options() -> None:
    shown = subprocess.run(
        [ROOT / "scripts/run", "--help"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "--no-browser" in shown
    refused = subprocess.run(
        [ROOT / "scripts/run", "--nonsense"], capture_output=True, text=True, check=False, timeout=30
    )
    assert refused.returncode == 1
    assert "unknown option --nonsense" in refused.stderr


def test_the_tests_of_scikit_learn_want_to_know_which_modules() -> None:
    script = ROOT / "scripts/sklearn-tests"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "scripts/sklearn-tests sklearn.svm" in shown
    for arguments, expected in (([], "name modules"), (["--nonsense"], "unknown option --nonsense")):
        refused = subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert refused.returncode == 2
        assert expected in refused.stderr


def test_without_a_fitting_python_it_is_said_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "env", "id"):
        for folder in ("/bin", "/usr/bin"):
            if Path(folder, name).exists() and not (tools / name).exists():
                (tools / name).symlink_to(Path(folder, name))
    copy = tmp_path / "copy"
    (copy / "scripts").mkdir(parents=True)
    for name in ("run", "environment.sh"):
        (copy / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    done = subprocess.run(
        ["bash", copy / "scripts/run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": str(tools)},
    )
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
