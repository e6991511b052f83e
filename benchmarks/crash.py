"""How many of the calls that had returned can be read after SIGKILL."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

_PROGRAM = """
import mmap, os, struct, sys, time
import modeldb_core as modeldb
folder, pause_s = sys.argv[1], float(sys.argv[2])
counter = mmap.mmap(os.open(f"{folder}/counter", os.O_RDWR), 8)
modeldb.connect(f"sqlite:///{folder}/modeldb.db", artifact_url=f"file://{folder}/files", journal_dir=f"{folder}/journals")
run = modeldb.start_run(capture=False)
print(run.run_id, flush=True)
step = 0
while os.getppid() == int(sys.argv[3]):  # a benchmark that is interrupted leaves nobody behind
    run.log_metrics({"a": step, "b": 0.5, "c": -1.5, "d": 2.0, "e": 1e-3}, step)
    step += 1
    struct.pack_into("<q", counter, 0, step)
    if pause_s:
        time.sleep(pause_s)
"""


def kill(bench: Bench) -> Iterator[Result]:
    """Kill processes that log, at random moments, and recover what they left as any later process would."""
    generator = random.Random(5)
    for label, pause_s in (("without a pause", 0.0), ("1,000 a second", 0.001)):
        shares, calls = [], []
        for _ in range(bench.sizes.repeats):
            with bench.folder("kill") as folder:
                returned, readable = _trial(folder, pause_s, bench.sizes.kill_s * generator.uniform(0.1, 1))
            shares.append(100 * readable / max(returned, 1))
            calls.append(returned)
        yield Result(
            benchmark="kill",
            work=f"calls readable after kill -9, logged {label}",
            unit="%",
            ours=[min(share, 100.0) for share in shares],
            budget=Budget(100, at_least=True),
            note=f"{sum(calls):,} calls in {len(calls)} kills, the worst {min(shares):.4f} %",
            peers="tensorboard 100 % without the state of the run; MLflow 100 % at 82 calls a second, 5 % asynchronously",
        )


def _trial(folder: Path, pause_s: float, life_s: float) -> tuple[int, int]:
    """Return how many calls had returned when the process was killed, and how many can be read."""
    from modeldb_core.journal.recovery import recover
    from modeldb_core.plugins import open_artifacts, open_store

    (folder / "counter").write_bytes(bytes(8))
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(pause_s), str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        if not run_id:
            msg = "the program that is to be killed ended by itself"
            raise RuntimeError(msg)
        time.sleep(life_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    with (folder / "counter").open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        (returned,) = struct.unpack_from("<q", memory, 0)
    with open_store(f"sqlite:///{folder}/modeldb.db") as store:
        recover(folder / "journals", store.url, store, lambda: open_artifacts(f"file://{folder}/files"))
        readable = len(store.read_series(run_id, "a")) if returned else 0
    return returned, readable
