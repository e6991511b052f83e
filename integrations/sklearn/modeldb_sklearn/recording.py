"""Records one fit: what is known before it, and what its result is.

As little as possible happens in the thread that trains: what could change afterwards (hyperparameters, the data's
digest, the model) is taken there, everything else is worked out beside it.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from modeldb_core.autolog import rolled_back
from modeldb_core.datasets import Described, Labelled, describe
from modeldb_sklearn import search
from modeldb_sklearn.formats import dump_now
from modeldb_sklearn.hyperparameters import Settings, public_name, settings_of, typed
from modeldb_sklearn.options import BACKGROUND, GUARD, Options
from modeldb_sklearn.outcomes import Outcome, array_mark, fitted_part, outcome_of
from modeldb_sklearn.placement import Placement, place
from modeldb_sklearn.scores import has_own_score, training_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.models import DumpedModel

BESIDE_BYTES = 1 << 22  # the digest of more data than this is worked out while the fit runs
MAX_COPY_BYTES = 1 << 27  # so much data is copied to show it to a predict that is not scikit-learn's
DATASET = "train"
_COUNTING = ("sklearn.neighbors", "sklearn.semi_supervised", "sklearn.manifold")


@dataclass(slots=True)
class FitArguments:
    """What ``fit`` was called with: data, target, and everything else."""

    X: Any
    y: Any
    others: dict[str, Any]


class FitRecorder:
    """Follows one fit. Every public method runs under the guard: it neither raises nor warns.

    Args:
        estimator: what is fitted.
        arguments: what it is fitted with.
        options: what to record.
    """

    def __init__(self, estimator: Any, arguments: FitArguments, options: Options) -> None:  # noqa: ANN401
        self.estimator = estimator
        self.arguments = arguments
        self.options = options
        self.settings = Settings()
        self.placement: Placement | None = None
        self.task = ""
        self._digest: DataDigest | None = None
        self._left_out: list[str] = []
        self._start = 0.0

    # -- in the training thread ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the run and take what the fit may change."""
        with GUARD.step("record the hyperparameters"):
            self.settings = settings_of(self.estimator)
        with GUARD.step("tell what the estimator is for"):
            self.task = task_of(self.estimator)
        with GUARD.step("start a run"):
            self.placement = place(
                self.options,
                type(self.estimator).__name__,
                is_preparation=self.task == "transformer",
                hyperparameters=self.settings.values,
                attributes=self._attributes(),
                tags=["sklearn", self.task, *self.options.tags],
            )
        if self.placement is None:
            return
        BACKGROUND.wait(*self._keys())  # results of an earlier fit of the same object are still worked out
        if self.options.log_datasets or self.options.log_training_metrics:
            with GUARD.step("describe the data", self.note):
                at_once = self.settings.changes_data or self.settings.has_foreign_code
                self._digest = DataDigest(self.arguments.X, self.arguments.y, at_once=at_once)
        self._start = perf_counter()

    def fail(self, error: BaseException) -> None:
        """The fit raised ``error``."""
        if self.placement is None:
            return
        with GUARD.step("record a failed fit"):
            name = type(self.estimator).__name__
            self.placement.run.note(f"The fit of {name} raised {type(error).__name__}: {str(error)[:500]}")
            if self.placement.is_ours:
                self.placement.run.finish("killed" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed")

    def succeed(self) -> None:
        """The fit is done: take what may change from now on, and leave the rest to the background."""
        if self.placement is None:
            return
        fit_s = perf_counter() - self._start
        description, outcome, model, candidates = None, Outcome(), None, None
        with GUARD.step("describe the data", self.note):
            description = self._digest.result() if self._digest is not None else None
        with GUARD.step("read the fitted attributes", self.note):
            outcome = outcome_of(self.estimator)
        outcome.metrics["fit_seconds"] = fit_s
        if self.options.log_models:
            with GUARD.step("store the model", self.note):
                model = dump_now(self._model(), self._signature(description))
        if self.options.log_candidates:
            with GUARD.step("record the candidates of the search", self.note):
                candidates = search.snapshot(self.estimator)
        result = FitResult(outcome, description, model, candidates)
        scores = self._scores_job(description, fit_s)
        BACKGROUND.submit(lambda: self._record(result, scores), self._keys())

    def note(self, text: str) -> None:
        """Write on the run."""
        if self.placement is not None:
            self.placement.run.note(text)

    # -- beside it ----------------------------------------------------------------------------------------------------

    def _record(self, result: FitResult, scores: Callable[[], dict[str, float]]) -> None:
        assert self.placement is not None
        run = self.placement.run
        metrics: dict[str, Any] = dict(result.outcome.metrics)
        with GUARD.step("work out metrics on the training data", self.note):
            metrics.update({f"training_{name}": value for name, value in scores().items()})
        with GUARD.step("record the metrics", self.note):
            run.log_metrics(metrics)
            if result.outcome.attributes:
                run.set_attributes({key: typed(value) for key, value in result.outcome.attributes.items()})
            log_curves(run, result.outcome.curves)
        if result.description is not None and self.options.log_datasets:
            with GUARD.step("record the data set", self.note):
                run.log_dataset(Described(result.description), DATASET)
        if result.model is not None:
            with GUARD.step("store the model", self.note):
                run.log_model(result.model)
        if result.candidates is not None:
            with GUARD.step("record the candidates of the search", self.note):
                search.record(run, result.candidates)
        with GUARD.step("end the run"):
            if self._left_out:
                run.note(f"Not recorded: {'; '.join(self._left_out)}.")
            if self.placement.is_ours:
                run.finish()

    def _scores_job(self, description: dict[str, Any] | None, fit_s: float) -> Callable[[], dict[str, float]]:
        """Return what gives the training metrics: where the estimator is scikit-learn's alone, later and beside.

        A stranger's ``predict`` may change the estimator, the data or a random state: it is called at once, on a copy
        of the data, and what it changed in the estimator is put back.
        """
        if not self.options.log_training_metrics or self.task in ("transformer", "clusterer"):
            return dict
        X, y = self.arguments.X, self.arguments.y
        if self.settings.changes_data:
            self._left_out.append("metrics on the training data, which the estimator was told to change in place")
            return dict
        estimators = self.settings.estimators
        if not self.settings.has_foreign_code:
            frozen = self._frozen(X)
            if frozen is None:
                return dict
            part = fitted_part(frozen)
            mark = array_mark([*estimators, part])

            def later() -> dict[str, float]:
                found = self._scores(frozen, part, X, y, fit_s)
                changed = array_mark([*estimators, part]) != mark
                if description is not None and not changed:
                    changed = describe(labelled(X, y))["digest"] != description["digest"]
                if changed:
                    self._left_out.append("metrics on the training data: model or data changed right after the fit")
                    return {}
                return found

            return later
        found: dict[str, float] = {}
        with GUARD.step("work out metrics on the training data", self.note):
            data = private_copy(X)
            part = fitted_part(self.estimator)
            if data is None:
                self._left_out.append(
                    f"metrics on the training data, which a predict of {public_name(type(part))} sees"
                )
            elif self.task or has_own_score(part):
                with rolled_back(self.estimator, part, *estimators):
                    found = self._scores(self.estimator, part, data, y, fit_s)
        return lambda: found

    def _frozen(self, X: Any) -> Any:  # noqa: ANN401
        """Return the fitted estimator such that neither the program nor we change it while it predicts.

        The search trees of nearest neighbours count their queries, and the counts are part of their pickles: there, it
        has to be a whole copy.
        """
        if not any(type(item).__module__.startswith(_COUNTING) for item in self.settings.estimators):
            return shallow_copy(self.estimator)
        if size_of(X) > MAX_COPY_BYTES:
            self._left_out.append("metrics on the training data, for which a large search tree would have to be copied")
            return None
        return copy.deepcopy(self.estimator)

    def _scores(self, estimator: Any, part: Any, X: Any, y: Any, fit_s: float) -> dict[str, float]:  # noqa: ANN401
        return training_scores(estimator, part, X, y, task=self.task, fit_s=fit_s, note=self._left_out.append)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _keys(self) -> list[object]:
        assert self.placement is not None
        return [self.placement.run.run_id, *map(id, self.settings.estimators)]

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "estimator_class": public_name(type(self.estimator)),
            "estimator_type": self.task or "estimator",
        }
        if self.arguments.others:
            attributes["fit_parameters"] = {name: typed(value) for name, value in self.arguments.others.items()}
        return attributes

    def _model(self) -> Any:  # noqa: ANN401
        return vars(self.estimator).get("best_estimator_", self.estimator)

    def _signature(self, description: dict[str, Any] | None) -> dict[str, Any]:
        if description is None:
            return {}
        shape = description.get("shape") or []
        inputs = {"shape": [None, *shape[1:]], **(description.get("schema") or {})}
        target = description.get("target")
        if target is None:
            return {"inputs": inputs}
        return {"inputs": inputs, "target": {"shape": [None, *(target["shape"] or [])[1:]], **target["schema"]}}


@dataclass(slots=True)
class FitResult:
    """What was taken right after a fit."""

    outcome: Outcome
    description: dict[str, Any] | None
    model: DumpedModel | None
    candidates: search.Candidates | None


class DataDigest:
    """The description of the training data: worked out at once where it is small, else while the fit runs."""

    def __init__(self, X: Any, y: Any, *, at_once: bool) -> None:  # noqa: ANN401
        self._data = labelled(X, y)
        self._description: dict[str, Any] | None = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        if at_once or size_of(X) <= BESIDE_BYTES:
            self._work()
        else:
            self._thread = threading.Thread(target=self._work, name="modeldb-digest", daemon=True)
            self._thread.start()

    def result(self) -> dict[str, Any]:
        """Return the description; raises what describing raised."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._description is not None
        return self._description

    def _work(self) -> None:
        try:
            self._description = describe(self._data, DATASET)
        except Exception as error:  # it is raised again where the result is asked for
            self._error = error


def labelled(X: Any, y: Any) -> Any:  # noqa: ANN401
    """Return features and target as one data set."""
    return X if y is None else Labelled(X, y)


def size_of(data: Any) -> int:  # noqa: ANN401
    """Return about how many bytes data holds; for tables as if all columns were numbers."""
    size = getattr(data, "nbytes", None)
    if isinstance(size, int):
        return size
    if hasattr(data, "nnz"):
        return int(data.nnz) * 12
    shape = getattr(data, "shape", None)
    if shape:
        cells = 8
        for length in shape:
            cells *= int(length)
        return cells
    return len(data) * 64 if hasattr(data, "__len__") else 0


def private_copy(data: Any) -> Any:  # noqa: ANN401
    """Return a copy that may be changed; ``None`` where it would be too large, or there is no way to copy it."""
    if size_of(data) > MAX_COPY_BYTES:
        return None
    return copy.deepcopy(data)


def shallow_copy(estimator: Any) -> Any:  # noqa: ANN401
    """Return an estimator with the same attributes, which a later fit of the original does not replace."""
    copied = object.__new__(type(estimator))
    vars(copied).update(vars(estimator))
    return copied


def task_of(estimator: Any) -> str:  # noqa: ANN401
    """Return what an estimator is for: classifier, regressor, clusterer, outlier_detector, transformer, or ""."""
    from sklearn.utils import get_tags

    kind = get_tags(estimator).estimator_type
    if kind:
        return str(kind)
    return "transformer" if hasattr(estimator, "transform") and not hasattr(estimator, "predict") else ""


def log_curves(run: Any, curves: dict[str, list[float]]) -> None:  # noqa: ANN401
    """Log each iteration's values as points, the curves of one length together."""
    by_length: dict[int, list[str]] = {}
    for name, values in curves.items():
        by_length.setdefault(len(values), []).append(name)
    for length, names in by_length.items():
        columns = [curves[name] for name in names]
        for step in range(length):
            run.log_metrics({name: column[step] for name, column in zip(names, columns, strict=True)}, step)
