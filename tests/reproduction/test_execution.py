"""A repeated program ends with all that it started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from modeldb_core.reproduction.execution import _follow

STARTS_ANOTHER = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, encoding="utf-8"
    )


def is_there(process_id: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(process_id: int) -> bool:
    """Wait until a process that was told to has ended."""
    deadline = time.monotonic() + 60
    while is_there(process_id) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_there(process_id)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("then", ["", "; raise SystemExit(3)"])
def test_what_a_program_leaves_running_ends_with_it(then: str) -> None:
    said: list[str] = []
    process = started(STARTS_ANOTHER + then)
    _follow(process, said.append)  # without an end where the other one holds the output
    assert process.returncode == (3 if then else 0)
    assert ends(int(said[0]))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
def test_an_interrupted_program_ends_with_what_it_started() -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    process = started(STARTS_ANOTHER + "; input()")
    with pytest.raises(KeyboardInterrupt):
        _follow(process, interrupt)
    assert process.returncode is not None
    assert ends(int(said[0]))
