"""A training script for tests of outages: it logs a point as often as it can without wearing the machine out.

It keeps count in the file ``COUNTER`` of the calls that have returned, and of the longest that one of them took, until
the file ``STOP`` is there. Then it ends like any script.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import modeldb_core as modeldb

PAUSE_S = 0.002

if __name__ == "__main__":
    stop = Path(os.environ["STOP"])
    shared = memoryview(mmap.mmap(os.open(os.environ["COUNTER"], os.O_RDWR), 16))
    calls, slowest = shared[:8].cast("q"), shared[8:].cast("d")  # neither is ever read half written
    with modeldb.start_run(project="outage", name=os.environ["NAME"], capture=False) as run:
        run.log_hyperparameters({"number": int(os.environ["NAME"])})
        print(run.run_id, flush=True)
        step, longest = 0, 0.0
        while step % 50 or not stop.exists():
            before = time.perf_counter()
            run.log_metrics({"loss": step * 0.5, "accuracy": -step}, step=step)
            longest = max(longest, time.perf_counter() - before)
            step += 1
            calls[0], slowest[0] = step, longest
            time.sleep(PAUSE_S)
        run.log_metric("steps", step)
