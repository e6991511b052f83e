"""What autologging adds to ``fit`` of scikit-learn."""

from __future__ import annotations

import time
from contextlib import nullcontext
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.bench import Taken, timed
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from modeldb_core.tracking import Client

_PEERS = {False: "without the model MLflow 515 to 684 ms", True: "with it MLflow 3,200 ms"}


def autolog(bench: Bench) -> Iterator[Result]:
    """Fit in turns without and with autologging: without its model, then with it."""
    from sklearn.datasets import load_digits

    threadpool_limits: Any = import_module("threadpoolctl").threadpool_limits
    X, y = load_digits(return_X_y=True)
    data = X[: bench.sizes.fit_rows], y[: bench.sizes.fit_rows]
    # Two threads of a linear algebra library wait for each other on a busy machine, for longer than what is measured.
    with threadpool_limits(1), bench.folder("fits") as folder, bench.client(folder) as client:
        for name, make in _estimators().items():
            for log_models in (False, True):
                yield _compared(bench, client, name, make, data, log_models)


def _compared(
    bench: Bench, client: Client, name: str, make: Callable[[], Any], data: tuple[Any, Any], log_models: bool
) -> Result:
    from modeldb_sklearn import autolog as switch

    waits: list[float] = []

    def fit(*, logged: bool) -> Taken:
        estimator = make()
        with switch(client, log_models=log_models) if logged else nullcontext():
            start, start_processor = time.perf_counter(), time.thread_time()
            estimator.fit(*data)
            taken = Taken(time.perf_counter() - start, time.thread_time() - start_processor)
            waits.append(timed(client.flush).wall)
        return Taken(taken.wall * 1e3, taken.processor * 1e3)

    fit(logged=True)
    waits.clear()
    bare, ours = bench.take_turns(lambda: fit(logged=False), lambda: fit(logged=True), bench.sizes.fit_repeats)
    processor = median(mine.processor - other.processor for mine, other in zip(ours, bare, strict=True))
    return Result(
        benchmark="autolog",
        work=f"autologged fit of {name}, added{' with its model' if log_models else ''}",
        unit="ms",
        ours=[mine.wall - other.wall for mine, other in zip(ours, bare, strict=True)],
        limit=_dump_times(make().fit(*data), len(ours)) if log_models else (),
        limit_is="skops.io.dumps of the fitted model" if log_models else "",
        budget=Budget(5, "excess" if log_models else "value"),
        note=f"the fit alone {median(each.wall for each in bare):.1f} ms; added processor time of its thread "
        f"{processor:.1f} ms; what is left for flush() takes {median(waits[1::2]):.0f} ms",
        peers=_PEERS[log_models],
    )


def _estimators() -> dict[str, Callable[[], Any]]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def logistic() -> Any:  # noqa: ANN401 - an estimator
        return LogisticRegression(max_iter=30, tol=0.1)

    return {
        "LogisticRegression": logistic,
        "RandomForest(100)": lambda: RandomForestClassifier(100, random_state=0),
        "Pipeline": lambda: make_pipeline(StandardScaler(), logistic()),
        "GridSearchCV(4 x 3)": lambda: GridSearchCV(logistic(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3),
    }


def _dump_times(model: Any, count: int) -> list[float]:  # noqa: ANN401 - an estimator
    """Return how long skops takes to write a model, in ms; the first time, which imports, is left out."""
    import skops.io

    skops.io.dumps(model)
    return [timed(lambda: skops.io.dumps(model)).wall for _ in range(count)]
