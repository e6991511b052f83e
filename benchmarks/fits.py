"""What autologging adds to ``fit`` of scikit-learn."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.bench import timed
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench

_PEERS = {False: "MLflow 515 to 684 ms", True: "MLflow 3,200 ms"}


def autolog(bench: Bench) -> Iterator[Result]:
    """Fit in turns without and with autologging: without its model, then with it."""
    from sklearn.base import clone
    from sklearn.datasets import load_digits

    from modeldb_sklearn import autolog as switch

    X, y = load_digits(return_X_y=True)
    X, y = X[: bench.sizes.fit_rows], y[: bench.sizes.fit_rows]
    with bench.folder("fits") as folder, bench.client(folder) as client:
        for name, make in _estimators().items():
            for log_models in (False, True):
                waits: list[float] = []

                def logged(
                    make: Callable[[], Any] = make, waits: list[float] = waits, *, models: bool = log_models
                ) -> float:
                    estimator = make()
                    with switch(client, log_models=models):
                        took = timed(lambda: estimator.fit(X, y))()
                        waits.append(timed(client.flush)())
                    return took

                def plain(make: Callable[[], Any] = make) -> float:
                    estimator = make()
                    return timed(lambda: estimator.fit(X, y))()

                logged()
                waits.clear()
                bare, ours = bench.take_turns(plain, logged, bench.sizes.fit_repeats)
                added = [mine - other for mine, other in zip(ours, bare, strict=True)]
                dumps = _dump_times(clone(make()).fit(X, y), len(added)) if log_models else []
                yield Result(
                    benchmark="autolog",
                    work=f"autologged fit of {name}, added{' with its model' if log_models else ''}",
                    unit="ms",
                    ours=added,
                    limit=dumps,
                    limit_is="skops.io.dumps of the fitted model" if log_models else "",
                    budget=Budget(5, "excess" if log_models else "value"),
                    note=f"the fit alone {median(bare):.0f} ms; the fastest fits differ by {min(ours) - min(bare):.1f} ms; "
                    f"what is left for flush() takes {median(waits):.0f} ms",
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

    measure = timed(lambda: skops.io.dumps(model))
    measure()
    return [measure() for _ in range(count)]
