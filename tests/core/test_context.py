"""The circumstances of a run: code, command line, environment, machine. Bounded in time, and it never raises."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.config import Settings
from modeldb_core.context import code, environment, host, modeldb_run_context
from modeldb_core.context.deadline import Deadline, run_program
from modeldb_core.model.values import normalize
from modeldb_core.plugins import load_settings

GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, which is the working folder; pytest itself is an installed program."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init")
    (folder / "train.py").write_text("lr = 0.1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def described(**overrides: Any) -> dict[str, Any]:
    return code.describe_git(load_settings(**overrides), Deadline(20))


def test_everything_recorded_can_be_stored() -> None:
    sections = modeldb_run_context(load_settings(capture_timeout_s=30.0))
    assert set(sections) == {"code", "environment", "context"}
    for name, values in sections.items():
        assert normalize(values, name) == values
    assert sections["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sections["context"]["process_id"] == os.getpid()
    assert sections["context"]["cpu_count"] == os.cpu_count()
    assert sections["context"]["memory_bytes"] > 0
    assert "capture_errors" not in sections["context"]


def test_nothing_is_recorded_where_it_is_switched_off() -> None:
    assert not any(modeldb_run_context(load_settings(capture_enabled=False)).values())


@pytest.mark.parametrize(
    ("switch", "section", "gone"),
    [
        ("capture_git", "code", "commit"),
        ("capture_command", "context", "command"),
        ("capture_packages", "environment", "packages"),
        ("capture_host", "context", "hostname"),
    ],
)
def test_each_part_can_be_switched_off(repository: Path, switch: str, section: str, gone: str) -> None:
    with_it = modeldb_run_context(load_settings(capture_timeout_s=30.0))
    without = modeldb_run_context(load_settings(capture_timeout_s=30.0, **{switch: False}))
    assert gone in with_it[section]
    assert gone not in without[section]


def test_a_clean_repository_gives_commit_and_branch(repository: Path) -> None:
    found = described()
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    assert found == {"repository": str(repository), "dirty": False, "commit": head, "branch": "main"}


def test_uncommitted_changes_and_untracked_files_are_recorded(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 0.2\n")
    (repository / "größe neu.txt").write_text("x")
    found = described()
    assert found["dirty"] is True
    assert "-lr = 0.1\n+lr = 0.2\n" in found["diff"]
    assert found["diff_bytes"] == len(found["diff"].encode())
    assert found["untracked"] == ["größe neu.txt"]
    assert "diff" not in described(capture_diff=False)


def test_a_script_that_git_does_not_hold_is_recorded_itself(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (repository / "new folder", tmp_path / "outside"):
        folder.mkdir()
        script = folder / "try.py"
        script.write_text("API_TOKEN = 'hush-hush-hush'\nlr = 0.1\n")
        monkeypatch.setattr(code, "MAIN_FILE", str(script))
        found = described()
        assert found["source"] == "API_TOKEN = '***'\nlr = 0.1\n"
        assert found["source_redacted"] == 1
        assert found["source_digest"] == hashlib.sha256(script.read_bytes()).hexdigest()
        assert "source" not in described(capture_diff=False)
        assert "source" not in described(capture_diff_limit_bytes=10)
    monkeypatch.setattr(code, "MAIN_FILE", str(repository / "train.py"))
    assert "source" not in described(), "the commit holds it"


def test_packages_that_no_index_has_are_recorded_with_what_they_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    told = {
        "linked": {"url": "file:///src/linked", "dir_info": {"editable": True}},
        "fetched": {"url": "https://me:hush@git.example.org/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
        "wheel": {"url": "https://example.org/wheel-1.0-py3-none-any.whl", "archive_info": {}},
        "strange": ["no map"],
        "plain": None,
    }
    for name, content in told.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        if content is not None:
            (folder / "direct_url.json").write_text(json.dumps(content))
    found = environment.describe_packages(load_settings(), Deadline(5))
    assert found["packages"] == dict.fromkeys(sorted(told), "1.0")
    assert found["package_sources"] == {
        "fetched": "git+https://git.example.org/x@abc",
        "linked": "-e file:///src/linked",
        "strange": "unknown",
        "wheel": "https://example.org/wheel-1.0-py3-none-any.whl",
    }


def test_staged_changes_are_part_of_the_diff(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 0.3\n")
    git(repository, "add", ".")
    assert "+lr = 0.3" in described()["diff"]


def test_a_long_diff_is_cut_at_a_line_and_that_is_said(repository: Path) -> None:
    (repository / "train.py").write_text("".join(f"line = {number}\n" for number in range(10_000)))
    found = described(capture_diff_limit_bytes=1000)
    assert found["diff_truncated"] is True
    assert len(found["diff"].encode()) <= 1000
    assert found["diff"].endswith("\n")
    assert found["diff_bytes"] > 100_000


def test_a_binary_change_does_not_break_the_diff(repository: Path) -> None:
    (repository / "train.py").write_bytes(bytes(range(256)) * 10)
    assert "Binary files" in described()["diff"]


def test_secrets_in_remote_and_diff_are_hidden(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://me:hush@git.example.org/team/project.git?token=hush")
    (repository / "train.py").write_text("db = 'postgresql://me:hush@host/db'\n")
    found = described()
    assert found["remote"] == "https://git.example.org/team/project.git?token=***"
    assert "hush" not in json.dumps(found)
    assert found["diff_redacted"] == 1


def test_a_detached_head_has_no_branch_and_a_fresh_repository_no_commit(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "--detach")
    assert "branch" not in described()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init")
    os.chdir(fresh)
    assert described() == {"repository": str(fresh), "dirty": False, "branch": "main"}


def test_outside_a_repository_nothing_is_said_about_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert described() == {}


def test_a_broken_repository_is_an_entry_and_no_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    monkeypatch.chdir(tmp_path)
    assert "git_error" in described()


def test_a_git_that_hangs_is_given_up(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    child = tmp_path / "child"
    (bin_folder / "git").write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {child}\nwait\n")
    (bin_folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    sections = modeldb_run_context(load_settings(capture_timeout_s=0.5))
    assert "did not answer in time" in sections["code"]["git_error"]
    assert sections["environment"]["packages"]
    with contextlib.suppress(ProcessLookupError):  # what it had started is gone as well, or about to go
        assert select.select([os.pidfd_open(int(child.read_text()))], [], [], 20)[0]


def test_without_git_nothing_breaks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "git_error" in described()


def test_settings_of_a_repository_start_no_program(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "pager.status", "pager.diff", "core.sshCommand"):
        git(repository, "config", key, str(script))
    for key in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv"):
        git(repository, "config", key, f"{script} %f")
    git(repository, "config", "diff.evil.command", str(script))
    git(repository, "config", "filter.evil.required", "true")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (repository / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (repository / ".git" / "hooks" / hook).chmod(0o755)
    (repository / "train.py").write_text("lr = 5\n")
    mark.unlink(missing_ok=True)
    found = described()
    assert found["dirty"] is True
    assert "+lr = 5" in found["diff"]
    assert found["filters_not_run"] == ["evil"]
    assert not mark.exists()


def test_filters_that_a_file_beside_the_configuration_defines_are_not_run_either(
    repository: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "more").write_text(f'[filter "a b.c"]\n\tclean = "touch {mark}; cat"\n')
    git(repository, "config", "include.path", str(tmp_path / "more"))
    (repository / ".gitattributes").write_text("*.py filter=x\n")
    git(repository, "config", "filter.x.process", f"touch {mark}")
    (repository / "train.py").write_text("lr = 5\n")
    assert described()["filters_not_run"] == ["a b.c", "x"]
    assert not mark.exists()


def test_a_filter_that_cannot_be_switched_off_stops_git_from_being_asked(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    git(repository, "config", "filter.x=y.clean", f"touch {mark}; cat")
    (repository / ".gitattributes").write_text("*.py filter=x=y\n")
    (repository / "train.py").write_text("lr = 5\n")
    assert "'x=y'" in described()["git_error"]
    assert not mark.exists()


def test_a_filter_of_the_users_own_is_used(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text('[filter "own"]\n\tclean = sed s/5/clean/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (repository / ".gitattributes").write_text("*.py filter=own\n")
    (repository / "train.py").write_text("lr = 5\n")
    found = described()
    assert "+lr = clean" in found["diff"]
    assert "filters_not_run" not in found


def test_filters_of_a_submodule_are_not_run(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    (other / "a.py").write_text("1\n")
    git(other, "add", ".")
    git(other, "commit", "-m", "first")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", str(other), "sub")
    git(repository, "commit", "-m", "submodule")
    git(repository / "sub", "config", "filter.evil.clean", f"touch {mark}; cat")
    (repository / ".git" / "modules" / "sub" / "info" / "attributes").write_text("* filter=evil\n")
    (repository / "sub" / "a.py").write_text("2\n")
    mark.unlink(missing_ok=True)
    (repository / "train.py").write_text("lr = 5\n")
    assert "+lr = 5" in described()["diff"]
    assert not mark.exists()


def test_a_working_tree_elsewhere_is_not_looked_into(repository: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "diary.txt").write_text("dear diary\n")
    git(repository, "config", "core.worktree", str(private))
    assert "untracked" not in described()


def test_missing_objects_are_not_fetched_by_a_command_of_the_repository(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    blob = subprocess.check_output(["git", "rev-parse", "HEAD:train.py"], cwd=repository, text=True).strip()
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", f"ext::touch {mark}"),
        ("remote.origin.promisor", "true"),
        ("protocol.ext.allow", "always"),
    ):
        git(repository, "config", key, value)
    (repository / "train.py").write_text("lr = 5\n")
    described()
    assert not mark.exists()


def test_the_repository_of_a_hook_that_starts_training_is_not_taken_for_the_scripts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert described()["branch"] == "main"


def test_secrets_in_the_diff_are_hidden_and_the_run_says_how_many(repository: Path) -> None:
    (repository / "train.py").write_text('password = "hush"\nAPI_KEY = "hush"\n')
    found = described()
    assert "hush" not in found["diff"]
    assert found["diff_redacted"] == 2
    assert "diff" not in described(capture_diff=False)


def test_a_part_that_fails_is_noted_and_the_others_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings, deadline: Deadline) -> dict[str, Any]:
        raise OSError("no such thing")

    monkeypatch.setattr(host, "describe_host", broken)
    sections = modeldb_run_context(load_settings(capture_timeout_s=30.0))
    assert sections["context"]["capture_errors"] == ["host: OSError: no such thing"]
    assert sections["environment"]["packages"]


def run_script(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    script = tmp_path / "train.py"
    script.write_text(
        "import json\n"
        "from modeldb_core.plugins import load_settings\n"
        "from modeldb_core.context import modeldb_run_context\n"
        "print(json.dumps(modeldb_run_context(load_settings(capture_timeout_s=30.0))))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_script_and_command_line_are_recorded_without_secrets(tmp_path: Path) -> None:
    arguments = (
        "--lr",
        "0.1",
        "--password=hush1",
        "--api-key",
        "hush2",
        "postgresql://me:hush3@host/db",
        "TOKEN=hush4",
    )
    found = run_script(tmp_path, *arguments)
    assert found["code"]["script"] == str(tmp_path / "train.py")
    assert found["context"]["working_directory"] == str(tmp_path)
    command = found["context"]["command"]
    assert command[2:4] == ["--lr", "0.1"]
    assert command[4:] == ["--password=***", "--api-key", "***", "postgresql://me:***@host/db", "TOKEN=***"]
    assert found["context"]["command_redacted"] == 4


def test_a_script_that_has_come_to_its_end_is_still_known(tmp_path: Path) -> None:
    script = tmp_path / "short.py"
    script.write_text(
        "import atexit, json, os\n"
        "from modeldb_core.plugins import load_settings\n"
        "from modeldb_core.context import modeldb_run_context\n"
        "def late():\n"
        "    print(json.dumps(modeldb_run_context(load_settings(capture_timeout_s=30.0))['code']))\n"
        "atexit.register(late)\n"
        "os.chdir('/')\n"
    )
    done = subprocess.run(
        [sys.executable, "short.py"], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    assert json.loads(done.stdout)["script"] == str(script)


def test_the_repository_of_the_script_counts_not_that_of_the_working_folder(tmp_path: Path, repository: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = run_script(elsewhere)
    assert "commit" not in found["code"]


def test_installed_packages_are_those_that_the_metadata_says() -> None:
    from importlib.metadata import distributions

    found = environment.describe_packages(load_settings(), Deadline(5))["packages"]
    assert found["modeldb-core"]
    for distribution in distributions():
        name = distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        assert name in found
        if name != "modeldb-core":  # there may be two of it: the installed one, and the sources
            assert found[name] == distribution.version


def test_a_package_that_is_installed_later_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert "late-package" not in environment.describe_packages(load_settings(), Deadline(5))["packages"]
    (tmp_path / "late_package-2.0.dist-info").mkdir()
    (tmp_path / "old.egg-info").write_text("Metadata-Version: 1.0\nName: Old.Thing\nVersion: 0.9")  # no empty line
    found = environment.describe_packages(load_settings(), Deadline(5))["packages"]
    assert found["late-package"] == "2.0"
    assert found["old-thing"] == "0.9"


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 40960, 550.54'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host, "_known_gpus", None)
    found = host.describe_gpus(load_settings(), Deadline(20))
    assert found == {"gpus": [{"name": "NVIDIA A100-SXM4-40GB", "memory_bytes": 40960 * 2**20, "driver": "550.54"}]}


def test_a_program_is_read_up_to_the_limit_and_counted_to_the_end() -> None:
    output = run_program([sys.executable, "-c", "print('x' * 300_000)"], Deadline(30), limit_bytes=1000)
    assert output.text == b"x" * 1000
    assert output.size_bytes == 300_001
    assert output.is_complete
    assert output.exit_code == 0


def test_a_program_that_fails_tells_its_errors() -> None:
    output = run_program([sys.executable, "-c", "import sys; sys.exit('went wrong')"], Deadline(30))
    assert (output.exit_code, output.errors) == (1, "went wrong")
