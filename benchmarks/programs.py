"""Whole programs from start to exit: wall and processor time of all their threads and processes, the first run included.

What is measured inside of a program looks at the thread that calls. A user waits for the imports, for threads that take the
interpreter's lock, and for the end of the program as well. So each program is started beside the same one without ModelDB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.bench import Taken, in_turns
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

_FITS = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
{before}
X, y = load_iris(return_X_y=True)
for number in range({count}):
    model = LogisticRegression(C=0.01 * (number + 1), max_iter=30, tol=0.1).fit(X, y)
    {after}
"""
_AUTOLOG = "from modeldb_sklearn import autolog; autolog(log_models={log_models})"
_LOOP = """
{before}
for step in range({count}):
    {call}
{after}
"""
_START = "import modeldb_core as modeldb; run = modeldb.start_run(capture=False)"


def programs(bench: Bench) -> Iterator[Result]:
    """Run programs without and with ModelDB in turns."""
    count = bench.sizes.program_fits
    bare = _FITS.format(before="", after="pass", count=count)
    dumps = _FITS.format(before="import skops.io", after="skops.io.dumps(model)", count=count)
    for log_models, limit in ((False, bare), (True, dumps)):
        ours = _FITS.format(before=_AUTOLOG.format(log_models=log_models), after="pass", count=count)
        work = f"a program of {count} autologged fits{', with their models' if log_models else ''}"
        is_that = "the program without ModelDB" + (", which calls skops.io.dumps" if log_models else "")
        yield from _compared(bench, work, limit, ours, is_that, runs=count, budget_s=0.6)
    steps = bench.sizes.hot_calls
    without = _LOOP.format(before="", call="0.5 + step", after="", count=steps)
    logged = _LOOP.format(before=_START, call="run.log_metrics({'loss': 0.5}, step)", after="run.finish()", count=steps)
    yield from _compared(bench, f"a program that logs {steps:,} steps", without, logged, "an empty loop", runs=1)


def _compared(
    bench: Bench, work: str, limit: str, ours: str, limit_is: str, *, runs: int, budget_s: float | None = None
) -> Iterator[Result]:
    for source in (limit, ours):
        _taken(bench, source, runs=None)  # compiles it
    without, logged = bench.take_turns(
        lambda: _taken(bench, limit, runs=None), lambda: _taken(bench, ours, runs=runs), bench.sizes.repeats
    )
    measured = in_turns(without, logged)
    used = median(mine - least for mine, least in measured["processor"])
    yield Result(
        benchmark="programs",
        work=f"{work}, start to exit",
        unit="s",
        **measured,
        limit_is=limit_is,
        budget=None if budget_s is None else Budget(budget_s, "excess"),
        note=f"processor time of all threads and processes {median(mine for mine, _ in measured['processor']):.2f} s, "
        f"{used:.2f} s more than without",
    )


def _taken(bench: Bench, source: str, *, runs: int | None) -> Taken:
    """Run a program in a folder of its own; return what it took in seconds, its child processes included.

    Args:
        bench: has the folder.
        source: of the program.
        runs: how many finished runs it must have left; ``None``: nobody looks.
    """
    with bench.folder("program") as folder:
        # Use the compiled Python that is installed: without it, compiling scikit-learn takes longer than the program.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
        environment = {
            **inherited,
            "MODELDB_URL": f"sqlite:///{folder / 'modeldb.db'}",
            "MODELDB_JOURNAL_DIR": str(folder / "journals"),
            # Two threads of a linear algebra library wait for each other on a busy machine.
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", source],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            said = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if process.returncode:
            msg = f"a measured program failed:\n{said}"
            raise RuntimeError(msg)
        if runs is not None and (found := _finished(folder / "modeldb.db")) != runs:
            msg = f"a measured program was to leave {runs} finished runs, and left {found}:\n{said}"
            raise RuntimeError(msg)
        return Taken(wall, usage.ru_utime + usage.ru_stime)


def _finished(path: Path) -> int:
    """Return how many finished runs a store has."""
    from modeldb_core.plugins import open_store
    from modeldb_core.queries import Query

    with open_store(f"sqlite:///{path}") as store:
        return store.find(Query(filter="status = 'finished'", limit=0, count=True)).total or 0
