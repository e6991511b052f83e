"""What operating systems lack: logging works without it, and what is missing is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modeldb_core.runtime import disk
from tests.tracking.programs import ended

HIDE = """
import os, signal, sys
# Libraries that ask the platform which of their halves to use keep theirs.
import asyncio, concurrent.futures, getpass, multiprocessing, pathlib, random, shutil, subprocess, tempfile, threading
import platformdirs
if {portalocker}:
    import portalocker  # as on Windows: it locks, and the standard library has nothing
else:
    sys.modules["portalocker"] = None
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None
for name in ("posix_fallocate", "getuid", "geteuid", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "fork", "register_at_fork",
             "killpg", "sched_getaffinity", "sysconf"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM"):
    delattr(signal, name)
"""
LOG = """
import modeldb_core as modeldb
with modeldb.start_run(name="elsewhere") as run:
    run.log_metrics({"m": 1.5}, step=3)
    run.log_artifact(b"content", "file.bin")
found = modeldb.get_run(run.run_id)
print(found.status, found.history("m").values.tolist(), found.read_artifact("file.bin"))
"""
DOCTOR = """
from modeldb_core.cli import main
sys.argv = ["modeldb", "doctor", "--json"]
main()
"""

EXPORT = """
import modeldb_core as modeldb
modeldb.start_run(name="elsewhere").finish()
from modeldb_core.cli import main
sys.argv = ["modeldb", "export", {!r}]
main()
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {
        "MODELDB_URL": f"sqlite:///{tmp_path}/modeldb.db",
        "MODELDB_ARTIFACT_URL": f"file://{tmp_path}/artifacts",
        "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"),
        "MODELDB_EXIT_TIMEOUT_S": "240",
        "HOME": str(tmp_path),
        "USER": "somebody",
    }


@pytest.mark.parametrize("portalocker", [True, False])
def test_a_program_logs_where_the_system_calls_of_unix_are_missing(
    variables: dict[str, str], portalocker: bool
) -> None:
    output, errors = ended(HIDE.format(portalocker=portalocker) + LOG, variables)
    assert output == "finished [1.5] b'content'\n"
    if portalocker:
        assert errors == ""
    else:
        assert "files cannot be locked" in errors
        assert "pip install portalocker." in errors
        assert "Free some space" not in errors
        assert "Traceback" not in errors


def test_a_bucket_and_a_bundle_are_locked_where_the_system_calls_of_unix_are_missing(
    variables: dict[str, str], tmp_path: Path
) -> None:
    variables |= {"MODELDB_URL": f"file://{tmp_path}/bucket", "MODELDB_CACHE_DIR": str(tmp_path / "cache")}
    output, errors = ended(HIDE.format(portalocker=True) + LOG, variables)
    assert (output, errors) == ("finished [1.5] b'content'\n", "")


def test_a_bundle_that_cannot_be_locked_is_not_said_to_be_of_another_process(
    variables: dict[str, str], tmp_path: Path
) -> None:
    _, errors = ended(HIDE.format(portalocker=False) + EXPORT.format(str(tmp_path / "all.bundle")), variables, code=3)
    assert "cannot be written now: files cannot be locked" in errors
    assert "another process" not in errors


def test_doctor_says_what_keeps_files_from_being_locked(variables: dict[str, str]) -> None:
    output, _ = ended(HIDE.format(portalocker=False) + DOCTOR, variables, code=1)
    (found,) = [item for item in json.loads(output) if item["subject"] == "file locks"]
    assert found["state"] == "wrong"
    assert "portalocker" in found["advice"]


def test_the_locks_of_both_libraries_keep_each_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = disk.open_private(tmp_path / "lock"), disk.open_private(tmp_path / "lock")
    assert disk.try_lock(first)
    monkeypatch.setattr(disk, "fcntl", None)
    assert not disk.try_lock(second)
    os.close(first)
    assert disk.try_lock(second)
    disk.unlock(second)
    third = disk.open_private(tmp_path / "lock")
    assert disk.try_lock(third)
    for descriptor in (second, third):
        os.close(descriptor)


def test_room_is_reserved_also_where_no_system_call_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    descriptor = disk.open_private(tmp_path / "file", new=True)
    disk.allocate(descriptor, 3 << 20)
    assert os.fstat(descriptor).st_size == 3 << 20
    os.close(descriptor)


def test_where_a_drive_keeps_a_cache_of_its_own_that_is_written_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class OfMacOS:
        F_FULLFSYNC = 51

        @staticmethod
        def fcntl(_descriptor: int, command: int) -> None:
            calls.append(f"fcntl {command}")
            if len(calls) > 1:
                raise OSError("a network file system")

    monkeypatch.setattr(disk, "fcntl", OfMacOS)
    monkeypatch.setattr(disk.os, "fsync", lambda _descriptor: calls.append("fsync"))
    path = tmp_path / "file"
    path.write_bytes(b"1")
    disk.memory_reaches_disk(path)
    assert calls == ["fcntl 51"]
    disk.memory_reaches_disk(path)
    assert calls == ["fcntl 51", "fcntl 51", "fsync"]
