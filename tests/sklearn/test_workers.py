"""Fits that the program sends to threads and processes are recorded there, in the run that they belong to."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.svm import SVC

import modeldb_core as modeldb
from modeldb_core.errors import ModelDBWarning
from modeldb_sklearn import autolog
from tests.waiting import PATIENCE_S, wait_until

X, Y = load_iris(return_X_y=True)
MODEL = "model/model.skops"
BACKENDS = ["sequential", "threading", "loky", "multiprocessing"]


def fit(C: float) -> Any:
    return SVC(C=C).fit(X, Y)


def note_current(value: float) -> str:
    run = modeldb.current_run()
    assert run is not None
    run.log_metric("seen", value, step=int(value))
    return run.run_id


def in_parallel(backend: str, function: Any, values: Any) -> list[Any]:
    with joblib.parallel_config(backend):
        return joblib.Parallel(n_jobs=1 if backend == "sequential" else 2)(joblib.delayed(function)(v) for v in values)


def arrived(runs: Any, count: int) -> list[Any]:
    wait_until(
        lambda: (
            len(found := runs()) >= count
            and all(MODEL in run.artifacts and run.status != "running" for run in found if run.parent_id)
        ),
        lambda: [(run.name, run.status, sorted(run.artifacts), run.notes) for run in runs()],
    )
    return list(runs())


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_fit_is_a_whole_child_of_the_run_around(client: Any, runs: Any, backend: str):
    expected = [fit(C) for C in (0.1, 1.0, 10.0)]
    autolog(client, tags=["nightly"])
    with modeldb.start_run(client=client) as run:
        models = in_parallel(backend, fit, (0.1, 1.0, 10.0))
    if backend == "sequential":  # the first one is the run's own
        assert [child.hyperparameters["C"] for child in arrived(runs, 3)] == [0.1, 1.0, 10.0]
        return
    parent, *children = sorted(
        arrived(runs, 4 if backend != "threading" else 3), key=lambda child: bool(child.parent_id)
    )
    assert parent.entity_id == run.run_id
    for child in children:
        assert child.parent_id == run.run_id
        assert child.status == "finished"
        assert "nightly" in child.tags
        assert child.metrics["training_accuracy"] > 0.9
    assert all(np.array_equal(a.predict(X), b.predict(X)) for a, b in zip(models, expected, strict=True))


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_what_was_chosen_for_a_class_holds_in_workers_too(client: Any, runs: Any, backend: str):
    autolog(client, log_models=False, estimators={SVC: {"tags": ["chosen"]}})
    in_parallel(backend, fit, (0.1, 1.0))
    wait_until(lambda: len(runs()) >= 2)
    assert ["chosen" in run.tags for run in runs()] == [True, True]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_outside_of_any_run_each_fit_in_a_worker_is_a_run(client: Any, runs: Any, backend: str):
    autolog(client, project="churn", log_models=False)
    in_parallel(backend, fit, (0.1, 1.0))
    wait_until(lambda: len(runs()) >= 2)
    assert sorted(run.hyperparameters["C"] for run in runs()) == [0.1, 1.0]
    assert client.search_runs(project="churn", count=True).total == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_tasks_know_their_run_also_in_workers_that_are_used_again(client: Any, backend: str):
    autolog(client)
    for _ in range(2):
        with modeldb.start_run(client=client) as run:
            assert set(in_parallel(backend, note_current, (1.0, 2.0))) == {run.run_id}


SLOW_STORING = """
from modeldb_core.tracking.run import RunHandle

log_model = RunHandle.log_model

def slow(*args, **kwargs):
    time.sleep(1)
    return log_model(*args, **kwargs)

RunHandle.log_model = slow
log_dataset = RunHandle.log_dataset

def slow_too(*args, **kwargs):
    time.sleep(1)
    return log_dataset(*args, **kwargs)

RunHandle.log_dataset = slow_too
"""
"""Storing a model begins slowly, as on a busy machine or a slow disk."""

A_WORKER_THAT_IS_ENDED_ONCE_ITS_TASK_IS_DONE = f"""
import multiprocessing, os, signal, sys, time
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_validate
from sklearn.svm import SVC
import modeldb_core as modeldb
{SLOW_STORING}
X, y = load_iris(return_X_y=True)

@modeldb.autolog
def work():
    tasks = [lambda: cross_validate(SVC(), X, y), lambda: SVC(C=2.0).fit(X, y)]
    for task in tasks if os.environ["LAST"] == "fit" else reversed(tasks):
        task()
    os.kill(os.getpid(), signal.SIGKILL)  # sooner than any pool can do it

if __name__ == "__main__" and sys.argv[1] == "os.fork":
    if os.fork() == 0:
        work()
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
elif __name__ == "__main__":
    worker = multiprocessing.get_context(sys.argv[1]).Process(target=work)
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
elif __name__ == "forked":
    work()
"""

FORKED_BEFORE_IT_IS_IMPORTED = """
import os, runpy, signal, sys
if os.fork() == 0:
    runpy.run_path(sys.argv[1], run_name="forked")
assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
"""


@pytest.mark.parametrize(
    ("method", "last"),
    [
        ("fork", "fit"),
        ("spawn", "fit"),
        ("os.fork", "fit"),
        ("os.fork before the imports", "fit"),
        ("fork", "cross-validation"),
    ],
)
def test_all_of_a_fit_is_kept_although_its_worker_is_ended_as_soon_as_it_has_returned(
    client: Any, runs: Any, tmp_path: Path, method: str, last: str
):
    program = tmp_path / "program.py"
    program.write_text(A_WORKER_THAT_IS_ENDED_ONCE_ITS_TASK_IS_DONE)
    places = {"URL": client.settings.url, "ARTIFACT_URL": client.settings.artifact_url}
    variables = {f"MODELDB_{name}": value for name, value in places.items()}
    variables |= {"MODELDB_JOURNAL_DIR": str(client.settings.journal_dir), "LAST": last}
    arguments = ["-c", FORKED_BEFORE_IT_IS_IMPORTED, program] if "imports" in method else [program, method]
    subprocess.run([sys.executable, *arguments], check=True, timeout=280, env=os.environ | variables)
    wait_until(lambda: len(runs()) == 2)
    fitted, validated = sorted(runs(), key=lambda run: "mean_test_score" in run.metrics)
    assert (validated.status, fitted.status) == ("finished", "finished")
    assert validated.metrics["mean_test_score"] > 0.9
    assert fitted.metrics["training_accuracy"] > 0.9
    assert {MODEL, "figures/training_confusion_matrix.json"} <= fitted.artifacts.keys()


class Deadly:
    """Ends the worker that is about to send it, once its task is done: as a pool does, and sooner."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def partly_fitted_by_a_worker_that_dies(seed: int) -> Any:
    return Deadly(partly_fitted(seed))


@pytest.mark.usefixtures("new_workers")
def test_what_a_task_has_fitted_batch_by_batch_is_kept_although_its_worker_is_ended_with_it(client: Any, runs: Any):
    autolog(client)
    with pytest.raises(TerminatedWorkerError):
        in_parallel("loky", partly_fitted_by_a_worker_that_dies, (1,))
    (run,) = arrived(runs, 1)
    assert (run.status, MODEL in run.artifacts) == ("finished", True)


def partly_fitted(seed: int) -> Any:
    exec(SLOW_STORING, {"time": time})
    model = SGDClassifier(random_state=seed)
    for _ in range(2):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    return model


@pytest.mark.usefixtures("new_workers")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_what_a_task_has_fitted_batch_by_batch_is_done_with_the_task(client: Any, runs: Any, backend: str):
    autolog(client)
    in_parallel(backend, partly_fitted, (1, 2))
    found = arrived(runs, 2)
    assert [run.status for run in found] == ["finished", "finished"]
    assert all(run.attributes["partial_fit_calls"] == 2 for run in found)


def fit_at(now_s: float, patience_s: float) -> tuple[int, int]:
    """Fit at a time of the worker's clock; return the process, and how often it has tried to ship what earlier tasks logged."""
    from modeldb_sklearn import parallel

    flush: Any = modeldb.Client.flush
    if not hasattr(flush, "tries"):

        def counted(*args: Any) -> Any:
            counted.tries += 1  # type: ignore[attr-defined]
            return flush(*args)

        counted.tries = 0  # type: ignore[attr-defined]
        modeldb.Client.flush = counted  # type: ignore[method-assign]
    tries = modeldb.Client.flush.tries  # type: ignore[attr-defined]
    parallel.monotonic, parallel.PATIENCE_S = lambda: now_s, patience_s
    fit(1.0)
    return os.getpid(), tries


def tries_at(now_s: float, patience_s: float) -> dict[int, list[int]]:
    """Return of each worker how often it had tried before each of its tasks."""
    found: dict[int, list[int]] = {}
    for process_id, tries in in_parallel("loky", partial(fit_at, patience_s=patience_s), [now_s] * 6):
        found.setdefault(process_id, []).append(tries)
    return found


@pytest.fixture
def new_workers() -> Iterator[None]:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("new_workers")
def test_a_worker_waits_for_a_store_that_is_away_once_and_not_with_every_task(client: Any, runs: Any, tmp_path: Path):
    autolog(client, log_models=False)
    with client.start_run() as run:
        assert client.flush(100)
        with closing(sqlite3.connect(tmp_path / "modeldb.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody else can write
            away = tries_at(0.0, 0.1)
            other.rollback()
        back = tries_at(3600.0, PATIENCE_S)
    assert max(map(len, away.values())) >= 3
    for tries in away.values():
        assert tries == [0, *[1] * (len(tries) - 1)]
    for tries in back.values():
        assert tries == list(range(tries[0], tries[0] + len(tries)))
    wait_until(lambda: len([child for child in runs() if child.parent_id == run.run_id]) == 12)


def test_what_scikit_learn_sends_to_threads_is_no_run(client: Any, runs: Any):
    autolog(client, log_models=False)
    forest = RandomForestClassifier(8, n_jobs=2).fit(X, Y)
    forest.predict(X)
    assert [run.name for run in runs()] == ["RandomForestClassifier"]


def test_off_is_off_in_workers_that_have_logged(client: Any, runs: Any):
    with autolog(client, log_models=False):
        in_parallel("loky", fit, (0.1, 1.0))
    in_parallel("loky", fit, (0.1, 1.0))
    wait_until(lambda: len(runs()) >= 2)
    assert len(runs()) == 2


def test_tasks_for_other_machines_go_as_they_are(client: Any):
    sent: list[Any] = []

    class Elsewhere(joblib.parallel.ThreadingBackend):  # as that of dask
        def submit(self, func: Any, callback: Any = None) -> Any:
            sent.extend(function for function, *_ in func.items)
            return super().submit(func, callback)

    joblib.register_parallel_backend("elsewhere", Elsewhere)
    autolog(client)
    assert in_parallel("elsewhere", abs, (-1, -2)) == [1, 2]
    assert sent == [abs, abs], "there may be no ModelDB to unpickle more"


def test_a_generator_of_results_stays_one(client: Any):
    autolog(client, log_models=False)
    found = joblib.Parallel(2, prefer="threads", return_as="generator")(joblib.delayed(fit)(C) for C in (0.1, 1.0))
    assert [model.C for model in found] == [0.1, 1.0]


def test_an_error_in_a_worker_is_the_programs_own(client: Any, runs: Any):
    autolog(client, log_models=False)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        joblib.Parallel(2)(joblib.delayed(LogisticRegression().fit)(X * np.nan, Y) for _ in range(2))


def test_a_run_that_cannot_be_handed_over_costs_a_warning(client: Any, monkeypatch: pytest.MonkeyPatch):
    from modeldb_sklearn import parallel

    def refuse(*_: Any) -> Any:
        raise RuntimeError("no")

    autolog(client, log_models=False)
    monkeypatch.setattr(parallel, "_program_task", refuse)
    with pytest.warns(ModelDBWarning, match="could not hand a run to workers"):
        models = joblib.Parallel(2, prefer="threads")(joblib.delayed(fit)(C) for C in (0.1, 1.0))
    assert len(models) == 2


A_THREAD_ASKS_WHILE_ANOTHER_IMPORTS = """
import sys, threading, time
from modeldb_sklearn.skops_import import import_skops

class Slow:
    def find_spec(self, name, path=None, target=None):
        if "skops.io._trusted_types" in sys.modules and not has_begun.is_set():
            has_begun.set()
            may_go_on.wait(240)

has_begun, may_go_on, found = threading.Event(), threading.Event(), []
sys.meta_path.insert(0, Slow())
importing = threading.Thread(target=import_skops)
importing.start()
assert has_begun.wait(240)
asking = threading.Thread(target=lambda: found.append(hasattr(import_skops(), "dumps")))
asking.start()
asking.join(0.5)  # it waits, or has the half of a module
may_go_on.set()
importing.join()
asking.join()
assert found == [True], found
"""


def test_a_model_is_not_lost_because_another_thread_has_only_begun_to_import_skops():
    subprocess.run([sys.executable, "-c", A_THREAD_ASKS_WHILE_ANOTHER_IMPORTS], check=True, timeout=280)
