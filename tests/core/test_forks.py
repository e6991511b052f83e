"""What a fork waits for, and what it does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldb_core.runtime import forks

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

SLOW_MODULE = """
import os, time
open(os.environ["STARTED"], "w").close()
while not os.path.exists(os.environ["GO_ON"]):
    time.sleep(0.001)
value = 5
"""

PROGRAM = """
import os, sys, threading, time
from modeldb_core.runtime import forks

def go_on():
    time.sleep(0.2)
    open(os.environ["GO_ON"], "w").close()

def work():
    import slow_to_import

threading.Thread(target=work, name=sys.argv[1], daemon=True).start()
while not os.path.exists(os.environ["STARTED"]):
    time.sleep(0.001)
threading.Thread(target=go_on).start()
child = os.fork()
if child == 0:
    found = getattr(sys.modules["slow_to_import"], "value", None)
    os.write(1, f"{found}".encode())
    os._exit(0)
os.waitpid(child, 0)
"""


def found_in_child(folder: Path, thread_name: str) -> str:
    (folder / "slow_to_import.py").write_text(SLOW_MODULE)
    variables = {"PYTHONPATH": str(folder), "STARTED": str(folder / "started"), "GO_ON": str(folder / "go-on")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, thread_name],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_a_fork_waits_while_a_thread_of_modeldb_imports(tmp_path: Path) -> None:
    assert found_in_child(tmp_path, "modeldb-writer") == "5"


def test_a_fork_does_not_wait_for_what_threads_of_others_import(tmp_path: Path) -> None:
    assert found_in_child(tmp_path, "somebody's") == "None"


class Gated:
    def __init__(self) -> None:
        self.gate = forks.Gate()

    def before_fork(self) -> None:
        self.gate.shut()

    def after_fork(self, *, in_child: bool) -> None:
        self.gate.open()


@pytest.fixture
def hanging() -> Iterator[list[Gated]]:
    """Return three databases, with an operation under way in each that does not end before the test does."""
    items, inside, over = [Gated() for _ in range(3)], threading.Semaphore(0), threading.Event()

    def operate(item: Gated) -> None:
        with item.gate.inside():
            inside.release()
            over.wait(60)

    threads = [threading.Thread(target=operate, args=(item,)) for item in items]
    for item, thread in zip(items, threads, strict=True):
        forks.register(item)
        thread.start()
        inside.acquire()
    yield items
    over.set()
    for item, thread in zip(items, threads, strict=True):
        thread.join()
        forks.forget(item)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads, which is what is tested
def test_the_patience_of_a_fork_is_for_all_that_it_waits_for_together(
    hanging: list[Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(forks, "PATIENCE_S", 0.2)

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return super().wait(timeout)

    for item in hanging:
        item.gate._condition = Condition(item.gate._condition._lock)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert 0 < sum(waited) <= 0.2
