"""What autologging adds to ``fit`` of scikit-learn."""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.bench import timed
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
        for name, make in estimators().items():
            for log_models in (False, True):
                yield _compared(bench, client, name, make, data, log_models)


def search(bench: Bench) -> Iterator[Result]:
    """Search through many candidates that take next to no time, without and with autologging."""
    from sklearn.datasets import load_iris
    from sklearn.dummy import DummyClassifier
    from sklearn.model_selection import GridSearchCV

    from modeldb_sklearn import autolog as switch

    X, y = load_iris(return_X_y=True)
    count = bench.sizes.candidates

    def fit() -> float:
        grid = {"constant": [0, 1, 2], "random_state": list(range(count // 3))}
        searching = GridSearchCV(DummyClassifier(strategy="constant"), grid, cv=2, refit=False)
        return timed(lambda: searching.fit(X, y)).wall / count * 1e3

    with bench.folder("search") as folder, bench.client(folder) as client:
        waits: list[float] = []

        def logged() -> float:
            with switch(client, log_models=False):
                took = fit()
            waits.append(timed(client.flush).wall / count * 1e3)
            return took

        without, ours = bench.take_turns(fit, logged, bench.sizes.search_repeats)
        found = client.search_runs("attributes.candidate >= 0", limit=0, count=True).total
        if found != count // 3 * 3 * len(ours):
            msg = f"{count // 3 * 3 * len(ours)} candidates were tried, and {found} runs were recorded"
            raise RuntimeError(msg)
    yield Result(
        benchmark="search",
        work=f"a candidate of a search through {count:,}, recorded live, added",
        unit="µs",
        ours=[took - bare for took, bare in zip(ours, without, strict=True)],
        note=f"a candidate with two splits takes {median(without):.0f} µs without and {median(ours):.0f} µs with "
        f"autologging; what is left for flush() takes {median(waits):.0f} µs",
        peers="MLflow records 5 candidates, when the search has ended",
    )


def _compared(
    bench: Bench, client: Client, name: str, make: Callable[[], Any], data: tuple[Any, Any], log_models: bool
) -> Result:
    from modeldb_sklearn import autolog as switch

    waits: list[float] = []

    def logged() -> tuple[float, float]:
        """Return what a fit takes in all, and what of it is scikit-learn's, in ms."""
        estimator = make()
        with _own_fits(estimator) as own, switch(client, log_models=log_models):
            taken = timed(lambda: estimator.fit(*data)).wall
            waits.append(timed(client.flush).wall)
        return taken, own[-1]

    def bare() -> tuple[float, float]:
        estimator = make()
        return (timed(lambda: estimator.fit(*data)).wall,) * 2

    logged()
    waits.clear()
    before = _recorded(client)
    without, ours = bench.take_turns(bare, logged, bench.sizes.fit_repeats)
    if _recorded(client) - before < bench.sizes.fit_repeats:
        msg = f"{bench.sizes.fit_repeats} fits of {name} were logged, and fewer runs were recorded"
        raise RuntimeError(msg)
    fits, whole = median(taken for taken, _ in without), median(taken for taken, _ in ours)
    return Result(
        benchmark="autolog",
        work=f"autologged fit of {name}, added{' with its model' if log_models else ''}",
        unit="ms",
        ours=[taken - own for taken, own in ours],
        limit=_dump_times(make().fit(*data), len(ours)) if log_models else (),
        limit_is="skops.io.dumps of the fitted model" if log_models else "",
        budget=Budget(5, "excess" if log_models else "value"),
        note=f"whole fits take {fits:.1f} ms without and {whole:.1f} ms with autologging; what is left for flush() "
        f"takes {median(waits):.0f} ms",
        peers=_PEERS[log_models],
    )


def _recorded(client: Client) -> int:
    """Return how many runs have finished with a metric."""
    return (
        client.search_runs("status = 'finished' and metrics.\"modeldb/fit_seconds\" exists", limit=0, count=True).total
        or 0
    )


@contextmanager
def _own_fits(estimator: Any) -> Iterator[list[float]]:  # noqa: ANN401 - an estimator
    """Yield a list of what the estimator's own ``fit`` takes, in ms.

    The difference of whole fits with and without autologging would say less: they vary by more than what is added.
    """
    owner: Any = next(cls for cls in type(estimator).__mro__ if "fit" in cls.__dict__)
    original = owner.__dict__["fit"]
    spent: list[float] = []

    @functools.wraps(original)
    def fit(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent.append((time.perf_counter() - start) * 1e3)

    owner.fit = fit
    try:
        yield spent
    finally:
        owner.fit = original


def estimators() -> dict[str, Callable[[], Any]]:
    """Return what makes the estimators that are fitted, by name."""
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
