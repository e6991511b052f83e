"""Records that a stranger wrote: refused or shown as they are, and never obeyed. Nothing here starts a program of a record."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from modeldb_core.errors import ReproductionError
from modeldb_core.model.entities import Run
from modeldb_core.reproduction.checkout import make_code
from modeldb_core.reproduction.command import parse_command, shown
from modeldb_core.reproduction.data import place_data
from modeldb_core.reproduction.environments import program_environment
from modeldb_core.reproduction.patches import split_patch
from modeldb_core.reproduction.reproduce import Options, Plan, plan
from modeldb_core.reproduction.versions import Versions
from tests.reproduction.conftest import git

NO_VERSIONS = Versions(cast("Any", None), cast("Any", None))  # no entry here names a version, so nothing is asked
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run(root: Path, **sections: Mapping[str, Any]) -> Run:
    """Return the record of a run that could be repeated, with other values in its sections."""
    given: dict[str, dict[str, Any]] = {
        "code": {"script": f"{root}/train.py", "source": "print('hello')\n"},
        "context": {"command": ["python", "train.py"], "working_directory": str(root)},
        "environment": {
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "packages": {"numpy": "1.0"},
        },
        "datasets": {},
    }
    for name, values in sections.items():
        given[name].update(values)
    return Run(entity_id="0197f3c2-0000-7000-8000-000000000001", name="a \x1b[2Jname\n", **given)


def planned(record: Run, **options: Any) -> Plan:
    return plan(record, lambda value: value, Options(environment="here", **options))


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("context", {"command": "python train.py; rm -rf ~"}, "no command that can be repeated"),
        ("context", {"command": ["python", "train.py", 7]}, "no command that can be repeated"),
        ("context", {"command": ["python", "train.py\0"]}, "no command that can be repeated"),
        ("context", {"command": ["python"]}, "interactive"),
        ("context", {"command": ["python", "-i", "train.py"]}, "option -i"),
        ("context", {"command": ["python", "--check-hash-based-pycs", "never"]}, "option --check"),
        ("context", {"command": ["python", "-m", "os; import this"]}, "which no module is called"),
        ("context", {"command": ["python", "/bin/evil.py"]}, "lies outside of"),
        ("context", {"command": ["python", "../../evil.py"]}, "lies outside of"),
        ("context", {"command": ["python", "train.py", "***"], "command_redacted": 1}, "1 secrets .* are hidden"),
        ("context", {"working_directory": "C:\\code"}, "expected an absolute path"),
        ("context", {"working_directory": ["/"]}, "working_directory is"),
        ("code", {"notebook": "/home/ada/try.ipynb"}, "notebook /home/ada/try.ipynb, which is run by hand"),
        ("code", {"commit": "--output=/tmp/x"}, "expected 40 or 64 hexadecimal digits"),
        ("code", {"commit": ["a"]}, "expected 40 or 64 hexadecimal digits"),
        ("code", {"commit": COMMIT}, "name a repository that has it"),
        ("code", {"diff": "x", "diff_truncated": True, "diff_bytes": "\x1b"}, "recorded in part"),
        ("code", {"dirty": True}, "were not recorded"),
        ("code", {"source": None}, "there is no code to run"),
        ("environment", {"python": "3.11; evil"}, "python is"),
        ("environment", {"python": ""}, "did not record its environment"),
        ("environment", {"implementation": "--managed-python"}, "implementation is"),
        ("environment", {"packages": {}}, "did not record its packages"),
        ("environment", {"packages": {"--index-url": "https://evil.example"}}, "no package is called or numbered so"),
        ("environment", {"packages": {"x\n--index-url=https://evil.example": "1"}}, "no package is called"),
        ("environment", {"packages": {"x": "1.0 --hash=sha256:0"}}, "no package is called or numbered so"),
        ("environment", {"packages": {"x @ file:///evil": "1.0"}}, "no package is called or numbered so"),
        ("environment", {"packages": {"x": "1\n-e git+https://evil.example"}}, "no package is called or numbered so"),
        ("environment", {"package_sources": {"numpy": "-e /etc; evil"}}, "which is no URL"),
        ("environment", {"package_sources": "git+https://evil.example"}, "a URL for each package"),
        (
            "datasets",
            {"x": {"origin": {"type": "file", "path": "data.csv"}, "digest": "0"}},
            "expected an absolute path",
        ),
        ("datasets", {"x": {"origin": {"type": "file", "path": "/dev/zero"}, "digest": "0"}}, "and a size"),
        (
            "datasets",
            {"x": {"origin": {"type": "file", "path": "/x.csv"}, "digest": "\x1b[2J", "size_bytes": 1}},
            "a SHA-256 and a size",
        ),
    ],
)
def test_a_record_that_asks_for_what_nobody_should_do_is_refused(
    section: str, values: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReproductionError, match=message) as caught:
        planned(run(tmp_path, **{section: values}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "remote", ["ext::sh -c evil", "file:///etc", "--upload-pack=evil", "ssh://-oProxyCommand=evil/x", ""]
)
def test_no_commit_is_fetched_from_an_address_that_names_a_program(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = run(tmp_path, code={"commit": COMMIT, "remote": remote})
    with pytest.raises(ReproductionError, match="is not fetched from"):
        planned(record, fetch=True)


def test_a_commit_is_fetched_over_ssh_where_that_was_asked_for(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "train.py").write_text("print('hello')\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    ssh = tmp_path / "ssh"  # a host that is this machine: the last argument is what is to be run there
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.chdir(tmp_path)
    code = {
        "commit": git(repository, "rev-parse", "HEAD"),
        "remote": f"ssh://git.example.org{repository}",
        "source": None,
    }
    record = run(tmp_path / "gone", code=code)
    with pytest.raises(ReproductionError, match="--fetch fetches it from ssh://git.example.org"):
        planned(record)
    found = planned(record, fetch=True)
    (tmp_path / "own").mkdir()
    make_code(found.code, found.recording, tmp_path / "own")
    assert (tmp_path / "own" / "code" / "train.py").read_text() == "print('hello')\n"


@pytest.mark.parametrize(
    "source", ["git+ext://x", "http://evil.example/x.whl", "https://evil.example/${HOME}", "unknown"]
)
def test_packages_of_urls_are_refused_unless_asked_for_and_some_always(source: str, tmp_path: Path) -> None:
    record = run(tmp_path, environment={"package_sources": {"numpy": source}})
    with pytest.raises(ReproductionError, match="nothing is installed from elsewhere unasked"):
        plan(record, lambda value: value, Options())
    with pytest.raises(ReproductionError, match="are installed from"):
        plan(record, lambda value: value, Options(allow_urls=True))


def test_what_would_be_run_and_installed_is_shown_to_the_letter(tmp_path: Path) -> None:
    words = [
        "python",
        "-W",
        "error",
        "train.py",
        "; rm -rf ~",
        "$(evil)",
        "a\rhidden",
        "\u202egnp.exe",
        f"{tmp_path}/sub/x",
    ]
    packages = {f"package-{number}": f"{number}.0" for number in range(200)}
    url = {"package-7": "git+https://git.example.org/x@abc"}
    record = run(tmp_path, context={"command": words}, environment={"packages": packages, "package_sources": url})
    found = plan(record, lambda value: value, Options(allow_urls=True))
    lines = "\n".join(found.lines())
    assert all(line.isprintable() for line in found.lines())
    assert "train.py '; rm -rf ~' '$(evil)' 'a\\rhidden' '\\u202egnp.exe' sub/x" in lines
    assert found.recording.command.arguments == ("; rm -rf ~", "$(evil)", "a\rhidden", "\u202egnp.exe", "sub/x")
    assert all(f"  {name}=={version}" in lines for name, version in packages.items() if name not in url)
    assert (
        "'package-7 @ git+https://git.example.org/x@abc' (not from an index: built there, which runs its code)" in lines
    )
    assert "'a \\x1b[2Jname\\n'" in lines


def test_no_variable_of_the_environment_comes_from_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"LD_PRELOAD": "/evil.so", "PYTHONPATH": "/evil", "PATH": "/evil"}
    record = run(tmp_path, context={"environment_variables": variables, "env": variables}, environment=variables)
    assert "evil" not in "\n".join(planned(record).lines())
    monkeypatch.setenv("MODELDB_TOKEN", "hush")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    found = program_environment()
    assert "MODELDB_TOKEN" not in found
    assert "PYTHONPATH" not in found
    assert found["PATH"] == os.environ["PATH"]


PATCH_OUTSIDE = """diff --git a/../outside.py b/../outside.py
new file mode 100644
--- /dev/null
+++ b/../outside.py
@@ -0,0 +1 @@
+evil
"""
PATCH_THROUGH_A_LINK = """diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+..
\\ No newline at end of file
diff --git a/link/outside.py b/link/outside.py
new file mode 100644
--- /dev/null
+++ b/link/outside.py
@@ -0,0 +1 @@
+evil
"""


@pytest.mark.parametrize(
    "patch", [PATCH_OUTSIDE, PATCH_THROUGH_A_LINK, "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -9 +9 @@\n-y\n+z\n"]
)
def test_changes_reach_nothing_outside_of_the_folder(patch: str, tmp_path: Path) -> None:
    found = planned(run(tmp_path, code={"diff": patch}))
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(ReproductionError, match="cannot be applied"):
        make_code(found.code, found.recording, folder)
    assert not list(tmp_path.rglob("outside.py"))


def test_a_link_of_the_code_leads_nothing_outside(repository: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (repository / "data").symlink_to(elsewhere)
    (repository / "x.csv").write_text("1\n")
    (repository / "train.py").symlink_to(tmp_path / "evil.py")
    git(repository, "add", "data", "train.py")
    git(repository, "commit", "-m", "links")
    entry = {"origin": {"type": "file", "path": f"{repository}/data/x.csv"}, "digest": "0" * 64, "size_bytes": 2}
    code = {"commit": git(repository, "rev-parse", "HEAD"), "repository": str(repository)}
    found = planned(run(repository, code=code, datasets={"train": entry}))
    (tmp_path / "own").mkdir()
    with pytest.raises(ReproductionError, match="leads out of the folder of the code"):
        make_code(found.code, found.recording, tmp_path / "own")
    with pytest.raises(ReproductionError, match="leads out of the folder of the code"):
        place_data(found.data, tmp_path / "own" / "code", NO_VERSIONS)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("path", ["/dev/zero", "{folder}/pipe", "{folder}"])
def test_what_is_no_file_is_not_read_as_one(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    entry = {"origin": {"type": "file", "path": path.format(folder=tmp_path)}, "digest": "0" * 64, "size_bytes": 2}
    found = planned(run(tmp_path / "code", datasets={"train": entry}))
    (tmp_path / "own").mkdir()
    with pytest.raises(ReproductionError, match="data set train is missing"):
        place_data(found.data, tmp_path / "own", NO_VERSIONS)


def test_a_repository_runs_no_program_when_its_code_is_taken(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py filter=evil\nskipped.py export-ignore\n")
    for name in ("train.py", "skipped.py"):
        (repository / name).write_text("print('hello')\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    git(repository, "config", "filter.evil.smudge", f"touch {mark}; cat")
    commit = git(repository, "rev-parse", "HEAD")
    found = planned(run(repository, code={"commit": commit, "repository": str(repository), "source": None}))
    (tmp_path / "own").mkdir()
    gaps = make_code(found.code, found.recording, tmp_path / "own")
    assert sorted(path.name for path in (tmp_path / "own" / "code").iterdir()) == [
        ".gitattributes",
        "skipped.py",
        "train.py",
    ]
    assert gaps == ["the filter evil of the repository was not run"]
    assert not mark.exists()
    assert not git(repository, "status", "--porcelain", "--untracked-files=all")


def test_commands_of_python_are_taken_apart_as_python_does() -> None:
    found = parse_command(["python", "-uB", "-Werror", "-X", "dev", "-mpackage.train", "-c", "x"])
    assert (found.options, found.target, found.name, found.arguments) == (
        ("-uB", "-W", "error", "-X", "dev"),
        "module",
        "package.train",
        ("-c", "x"),
    )
    assert parse_command(["python", "-c", "print(1)", "a"]).words("py") == ["py", "-c", "print(1)", "a"]
    assert shown("a b\n") == "'a b\\n'"


def test_secrets_that_were_hidden_are_put_back_where_the_commit_has_them(repository: Path, tmp_path: Path) -> None:
    script = repository / "train.py"
    script.write_text("password = 'hush-hush'\nlr = 1\nkeep = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    script.write_text("password = 'hush-hush'\nlr = 2\nkeep = 1\n")
    text = git(repository, "diff").replace("hush-hush", "***") + "\n"
    assert split_patch(text)["train.py"].summary.startswith("+1 -1")
    code = {
        "commit": git(repository, "rev-parse", "HEAD"),
        "repository": str(repository),
        "diff": text,
        "diff_redacted": 1,
        "source": None,
    }
    found = planned(run(repository, code=code))
    assert any("1 secrets are hidden" in line for line in found.lines())
    (tmp_path / "own").mkdir()
    make_code(found.code, found.recording, tmp_path / "own")
    assert (tmp_path / "own" / "code" / "train.py").read_text() == script.read_text()
