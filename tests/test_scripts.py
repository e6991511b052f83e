"""The scripts of the README: they are sound shell, refuse what they do not know, and are what CI calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("scripts/run", "scripts/test", "scripts/sklearn-tests", ".ci/run")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_posix_shell_is_enough_for_every_script(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    checked = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "-x", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout) == (0, "")


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
    for name in ("dirname", "sh"):
        for folder in ("/bin", "/usr/bin"):
            if Path(folder, name).exists() and not (tools / name).exists():
                (tools / name).symlink_to(Path(folder, name))
    copy = tmp_path / "copy"
    (copy / "scripts").mkdir(parents=True)
    for name in ("run", "environment.sh"):
        (copy / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    done = subprocess.run(
        ["/bin/sh", copy / "scripts/run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": str(tools)},
    )
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


TOX = """#!/bin/sh
printf '%s\\n' "$*" >"$FOLDER/$3"
case $3 in
    $SLOW)
        trap 'kill $!; exit 130' INT # a shell that is about to exec may miss it
        sleep 600 >/dev/null 2>&1 &
        echo $$ >"$FOLDER/pid"
        wait ;;
    check) echo looked at; exit $CHECK ;;
    *) echo "beside it: $3"; exit $OTHERS ;;
esac
"""


@pytest.fixture
def environments(tmp_path: Path) -> Any:
    """Start ``scripts/environments.py`` with a tox that ends as it is told, beside a Python of each version."""
    os.mkfifo(tmp_path / "pid")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    tox = tmp_path / "bin/tox"
    tox.write_text(TOX)
    tox.chmod(0o755)
    for version in ("3.11", "3.12", "3.13"):
        python = tmp_path / f"versions/{version}.1/bin/python{version}"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {version}\n")
        python.chmod(0o755)

    def begin(*arguments: str, check: int = 0, others: int = 0, slow: str = "none") -> subprocess.Popen[str]:
        told = {"CHECK": str(check), "OTHERS": str(others), "SLOW": slow, "FOLDER": str(tmp_path)}
        return subprocess.Popen(
            [tmp_path / "bin/python", ROOT / "scripts/environments.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYENV_ROOT": str(tmp_path), "HOME": str(tmp_path), **told},
        )

    return begin


def others_than_this() -> list[str]:
    own = f"{sys.version_info[0]}{sys.version_info[1]}"
    return ["lightning", *(f"interpreter-py{version}" for version in ("311", "312", "313") if version != own)]


def test_all_environments_run_and_what_they_print_comes_in_order(environments: Any, tmp_path: Path) -> None:
    process = environments("-k", "journal")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (
        0,
        "looked at\n" + "".join(f"beside it: {name}\n" for name in others_than_this()),
    )
    assert "with 3.1" in errors
    assert "Not installed" not in errors
    for name in ("check", *others_than_this()):
        assert (tmp_path / name).read_text() == f"run -e {name} -- -k journal\n"


@pytest.mark.parametrize(
    ("arguments", "check", "others", "expected"),
    [
        ((), 1, 0, 1),
        ((), 0, 2, 2),
        ((), 5, 0, 5),
        (("-k", "x"), 0, 5, 0),
        (("-k", "x"), 5, 0, 0),
        (("-k", "x"), 5, 5, 1),
        (("-k", "x"), 3, 5, 3),
    ],
)
def test_the_test_command_fails_where_an_environment_does(
    environments: Any, arguments: tuple[str, ...], check: int, others: int, expected: int
) -> None:
    process = environments(*arguments, check=check, others=others)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == expected
    assert ("there are no such tests\n" in errors) == (expected == 1 and check == 5)


@pytest.mark.parametrize("slow", ["check", "lightning"])
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_command_leaves_no_environment_running(
    environments: Any, tmp_path: Path, slow: str, ended_by: signal.Signals
) -> None:
    process = environments(slow=slow)
    pid = int((tmp_path / "pid").read_text())  # a pipe: this waits until the environment has begun
    if slow == "check" and ended_by == signal.SIGINT:
        os.kill(pid, ended_by)  # a terminal sends it to both
    process.send_signal(ended_by)
    process.communicate(timeout=60)
    assert process.returncode == 128 + ended_by
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
