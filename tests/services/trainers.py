"""Processes that train: each logs one run, as fast as a short loop does, until it is told to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.stores import MetadataStore

PATIENCE_S = 120.0
_SCRIPT = textwrap.dedent(
    """
    import mmap, os, sys, time
    import modeldb_core as modeldb
    folder, number = sys.argv[1:]
    steps = memoryview(mmap.mmap(os.open(f"{folder}/steps-{number}", os.O_RDWR), 8)).cast("q")
    with modeldb.start_run(project="outage", name=f"trainer {number}", capture=False) as run:
        step = 0
        while not os.path.exists(f"{folder}/stop"):
            run.log_metrics({"loss": step * 0.5, "step": -step}, step=step)
            step += 1
            steps[0] = step
            time.sleep(0.005)
    client = modeldb.connect()
    print(run.run_id, step)
    """
)


class Trainers:
    """Trainers in processes of their own.

    Args:
        folder: for their journals and what they say of themselves.
        environment: the settings of ModelDB, as variables.
        count: how many there are.
    """

    def __init__(self, folder: Path, environment: dict[str, str], count: int = 8) -> None:
        self._folder = folder
        self._counters = [folder / f"steps-{number}" for number in range(count)]
        variables = {"MODELDB_JOURNAL_DIR": str(folder / "journals"), "MODELDB_FLUSH_INTERVAL_S": "0.1", **environment}
        self._processes = []
        for number, counter in enumerate(self._counters):
            counter.write_bytes(bytes(8))
            command = [sys.executable, "-W", "error", "-c", _SCRIPT, str(folder), str(number)]
            self._processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **variables},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def steps(self) -> list[int]:
        """Return how many steps each of them has logged."""
        return [int.from_bytes(counter.read_bytes(), "little") for counter in self._counters]

    def go_on(self, steps: int = 50) -> None:
        """Wait until each of them has logged so many steps more: it must, whatever is broken."""
        wanted = [done + steps for done in self.steps()]
        self.wait_until(lambda: all(done >= least for done, least in zip(self.steps(), wanted, strict=True)))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something while they train; none of them may end meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            ended = [process for process in self._processes if process.poll() is not None]
            assert not ended, f"training stopped: {ended[0].communicate()[1]}"
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.05)

    def finish(self) -> dict[str, int]:
        """Let them come to their end; returns how many steps each run has, by its identifier."""
        (self._folder / "stop").touch()
        logged = {}
        for process in self._processes:
            output, errors = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors, errors
            run_id, steps = output.split()
            logged[run_id] = int(steps)
        return logged

    def kill(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def assert_exactly_once(store: MetadataStore, logged: dict[str, int]) -> None:
    """Check that a store has every run, ended well, and every value of it once and in order."""
    from modeldb_core.audit import verify

    for run_id, steps in logged.items():
        run = store.get("run", run_id)
        assert run.status == "finished", run  # type: ignore[attr-defined]
        for key, factor in (("loss", 0.5), ("step", -1.0)):
            series = store.read_series(run_id, key)
            assert series.steps.tolist() == list(range(steps))
            assert series.values.tolist() == [step * factor for step in range(steps)]
    assert verify(store).findings == []
