"""Records one fit: what is known before it, and what its result is.

In the thread that trains happens what could change afterwards (hyperparameters, the data's digest, the model), and what
calls scikit-learn (the prediction of the training data), within a budget: another thread must not, since scikit-learn
touches the state of the process. Everything else is done beside it.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging import entered, rolled_back
from modeldb_core.autologging.runs import interruption_of, summary_of
from modeldb_core.tracking.description.datasets import Described
from modeldb_sklearn import figures
from modeldb_sklearn.callbacks import TaskTimes, timed_tasks
from modeldb_sklearn.data import DATASET, MAX_COPY_BYTES, DataDigest, sample_of, size_of
from modeldb_sklearn.evaluation import Chain
from modeldb_sklearn.formats import dump_now
from modeldb_sklearn.hyperparameters import Settings, public_name, settings_of, structure_of, typed
from modeldb_sklearn.options import BACKGROUND, GUARD, PATIENCE_S, Options, secure, upload
from modeldb_sklearn.outcomes import Outcome, fitted_part, is_pipeline, log_curves, outcome_of, steps_of
from modeldb_sklearn.parallel import INNER, WATCH
from modeldb_sklearn.placement import Placement, place
from modeldb_sklearn.predictions import truth_key
from modeldb_sklearn.scores import training_scores
from modeldb_sklearn.search import SearchWatch, is_search, results_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.tracking.description.model_formats import DumpedModel
    from modeldb_sklearn.evaluation import Evaluations
    from modeldb_sklearn.scores import Judged
    from modeldb_sklearn.search import Results

_COUNTING = ("sklearn.neighbors", "sklearn.semi_supervised", "sklearn.manifold")
_MAX_NESTING = 100  # of pipelines: more is one that contains itself
FIT_SECONDS = "modeldb/fit_seconds"


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
        evaluations: told of the model, so that scores find it.
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401
        arguments: FitArguments,
        options: Options,
        evaluations: Evaluations,
    ) -> None:
        self.estimator = estimator
        self.arguments = arguments
        self.options = options
        self.settings = Settings()
        self.placement: Placement | None = None
        self.task = ""
        self._evaluations = evaluations
        self._watch: SearchWatch | None = None
        self._chain: Chain | None = None
        self._times = TaskTimes()
        self._digest: DataDigest | None = None
        self._sample: list[dict[str, Any]] | None = None
        self._truth = ""
        self._left_out: list[str] = []
        self._number = 0
        self._start = 0.0

    # -- in the training thread ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the run and take what the fit may change."""
        self._start = perf_counter()
        before = self._evaluations.forget(self.estimator)
        with GUARD.step("record the hyperparameters"):
            self.settings = settings_of(self.estimator)
        with contextlib.suppress(Exception):  # an estimator that answers wrongly is for nothing in particular
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
        if self.settings.values.get("warm_start") is True:
            self._chain = self._continued(before)
        BACKGROUND.wait(*self._keys(), timeout_s=PATIENCE_S)  # results of an earlier fit
        has_data = self.arguments.X is not None or self.arguments.y is not None
        if has_data and (self.options.log_datasets or self.options.log_evaluations):
            with GUARD.step("describe the data", self.note):
                at_once = self.settings.changes_data or bool(self.settings.foreign_code)
                self._digest = DataDigest(self.arguments.X, self.arguments.y, at_once=at_once)
                self._truth = truth_key(self.arguments.y)
        if self.options.log_sample:
            with GUARD.step("take a sample of the data", self.note):
                self._sample = sample_of(self.arguments.X, self.arguments.y, self.options.log_sample)
        if self.options.log_candidates:
            with GUARD.step("follow the candidates of a search", self.note):
                self._watch = watch_of(self.placement, self.settings)
        self._start = perf_counter()

    def _continued(self, before: Chain | None) -> Chain:
        """Return the fits that this one goes on from, or the first of such."""
        assert self.placement is not None
        if before is None:
            return Chain(self.placement.run.late())
        before.number += 1
        self._number = before.number
        self.placement.run.set_attributes({"warm_start_of": before.first.run_id, "warm_start_number": before.number})
        return before

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Around the fit itself."""
        token = WATCH.set(self._watch)
        try:
            with entered(), timed_tasks(self.estimator, self._times):
                yield
        finally:
            WATCH.reset(token)

    def fail(self, error: BaseException) -> None:
        """The fit raised ``error``."""
        if self.placement is None:
            return
        ending = interruption_of(error)
        self.placement.has_failed = True
        with GUARD.step("record a failed fit"):
            name = type(self.estimator).__name__
            self.placement.run.note(f"The fit of {name} raised {summary_of(error)}")
            self.placement.put_metrics({FIT_SECONDS: perf_counter() - self._start})
        with GUARD.step("end the candidates of a search"):
            if self._watch is not None:
                self._watch.abort(ending.status)
        with GUARD.step("end the run"):
            if self.placement.is_ours:
                self.placement.run.finish(ending)

    def succeed(self) -> None:
        """The fit is done: take what may change from now on, call what has to be called, and leave the rest for later.

        Whatever goes wrong meanwhile, the run gets what was found, and ends.
        """
        if self.placement is None:
            return
        result = FitResult(fit_s=perf_counter() - self._start)
        try:
            self._take(result)
        finally:
            BACKGROUND.submit(lambda: self._record(result), self._keys())
            secure(self.placement.run)

    def note(self, text: str) -> None:
        """Write on the run."""
        if self.placement is not None:
            self.placement.run.note(text)

    def _take(self, result: FitResult) -> None:
        with GUARD.step("describe the data", self.note):
            result.description = self._digest.result() if self._digest is not None else None
        with GUARD.step("read the fitted attributes", self.note):
            result.outcome = outcome_of(self.estimator)
        with GUARD.step("take the times of the fit", self.note):
            result.outcome.metrics.update(self._times.metrics([name for name, *_ in steps_of(self.estimator)]))
            result.outcome.curves.update(self._times.curves())
        if self.options.log_models:
            with GUARD.step("store the model", self.note):
                result.model = dump_now(self._model(), self._signature(result.description))
        with GUARD.step("record the candidates of the search", self.note):
            result.search = results_of(fitted_search(self.estimator))
        with GUARD.step("work out metrics on the training data", self.note):
            scores, result.judged = self._scores(result.fit_s)
            result.scores = {f"training_{name}": value for name, value in scores.items()}
        if self.options.log_pictures and not self.settings.foreign_code:
            with GUARD.step("read the importances of the features", self.note):  # a forest works them out now
                result.figures.extend(figures.of_importances(fitted_part(self.estimator)))
        if self.options.log_evaluations:
            with GUARD.step("remember the model", self.note):
                self._remember(result)

    def _scores(self, fit_s: float) -> tuple[dict[str, float], Judged | None]:
        """Return the training metrics. They are worked out in the thread of the program, which waits no longer than agreed.

        Code of the program itself is not called: it may count its calls, or cost money.
        """
        if not self.options.log_training_metrics or self.task not in ("classifier", "regressor"):
            return {}, None
        X, y = self.arguments.X, self.arguments.y
        reason = ""
        if self.settings.foreign_code:
            reason = f"which {self.settings.foreign_code[0]} would be called for: it is not scikit-learn's"
        elif self.settings.changes_data:
            reason = "which the estimator was told to change in place"
        elif hasattr(X, "compute"):
            reason = "which would have to be computed again"
        elif self._counts_queries() and size_of(X) > MAX_COPY_BYTES:
            reason = "for which a large search tree would have to be copied"
        if reason:
            self._left_out.append(f"metrics on the training data, {reason}")
            return {}, None
        estimator = copy.deepcopy(self.estimator) if self._counts_queries() else shallow_copy(self.estimator)
        with rolled_back():
            return training_scores(
                estimator, fitted_part(estimator), X, y, task=self.task, fit_s=fit_s, note=self._left_out.append
            )

    def _counts_queries(self) -> bool:
        """Return whether predictions leave a trace: search trees count their queries, and pickle the counts."""
        return any(type(item).__module__.startswith(_COUNTING) for item in self.settings.estimators)

    # -- beside it ----------------------------------------------------------------------------------------------------

    def _record(self, result: FitResult) -> None:
        assert self.placement is not None
        run = self.placement.run
        metrics: dict[str, Any] = {FIT_SECONDS: result.fit_s, **result.outcome.metrics, **result.scores}
        curves = result.outcome.curves
        taken = [name for name in (*metrics, *curves) if run.has_metric(name)]
        if taken:
            self._left_out.append(f"{', '.join(dict.fromkeys(taken))}, since the program has logged that itself")
        with GUARD.step("record the metrics", self.note):
            run.log_metrics({name: value for name, value in metrics.items() if name not in taken})
        with GUARD.step("record the fits of a warm start", self.note):
            if self._chain is not None:
                numbers = {f"warm_start/{name}": float(value) for name, value in metrics.items()}
                self._chain.first.log_metrics(numbers, self._number)
        with GUARD.step("record the fitted attributes", self.note):
            if result.outcome.attributes:
                run.set_attributes({key: typed(value) for key, value in result.outcome.attributes.items()})
        with GUARD.step("record the curves of the training", self.note):
            log_curves(run, {name: curve for name, curve in curves.items() if name not in taken})
        with GUARD.step("record the data set", self.note):
            if result.description is not None and self._digest is not None and self.options.log_datasets:
                run.log_dataset(Described(result.description, self._digest.name), DATASET)
        with GUARD.step("record the candidates of the search", self.note):
            if result.search is not None:
                run.log_metrics({"n_candidates": len(result.search.params)})
                run.set_attributes(result.search.best)
                if self._watch is not None:
                    self._watch.complete(result.search)
        with GUARD.step("store files", self.note):
            self._store(result)
        with GUARD.step("say what is missing"):
            if self._left_out:
                run.note(f"Not recorded: {'; '.join(self._left_out)}.")
        with GUARD.step("end the run"):
            if self.placement.is_ours:
                run.finish()

    def _store(self, result: FitResult) -> None:
        """Store what goes into files; the run may have ended when it is there."""
        assert self.placement is not None
        run, sample, model = self.placement.run.late(), self._sample, result.model
        if self.options.log_pictures:
            result.figures.extend(figures.of_predictions(result.judged, "training"))
            figures.store(run, result.figures)
        if sample is not None:
            rows = [typed(row) for row in sample]
            upload("a sample of the data", run, lambda: run.log_artifact(rows, "data/sample.json"))
        if model is not None:
            upload("the model", run, lambda: run.log_model(model))

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
        if len(self.settings.estimators) > 1:
            attributes["structure"] = structure_of(self.estimator)
        inner = INNER.get()
        return attributes if inner is None else attributes | inner[1]

    def _remember(self, result: FitResult) -> None:
        """Let scores that the program works out later find the run: of the model, and of what it passes on to."""
        assert self.placement is not None
        models = {id(item): item for item in (self.estimator, fitted_search(self.estimator), self._model())}
        self._evaluations.add(
            list(models.values()),
            self.placement.run,
            self.options,
            training=result.description,
            truth=self._truth,
            values=result.scores,
            chain=self._chain,
        )

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

    fit_s: float
    outcome: Outcome = field(default_factory=Outcome)
    description: dict[str, Any] | None = None
    model: DumpedModel | None = None
    search: Results | None = None
    scores: dict[str, float] = field(default_factory=dict)
    judged: Judged | None = None
    figures: list[figures.Figure] = field(default_factory=list)


def watch_of(placement: Placement, settings: Settings) -> SearchWatch | None:
    """Return what follows the search among the estimators that are fitted, if there is one."""
    searches = [estimator for estimator in settings.estimators if is_search(estimator)]
    return SearchWatch(placement, searches, is_nested=len(searches) > 1) if searches else None


def fitted_search(estimator: Any) -> Any:  # noqa: ANN401
    """Return the search that the program fitted: the last step of a pipeline may be one; else the estimator itself."""
    found = estimator
    while not is_search(found) and (steps := steps_of(found)):
        found = steps[-1][1]
    return found if is_search(found) else estimator


def shallow_copy(estimator: Any) -> Any:  # noqa: ANN401
    """Return an estimator with the same attributes, which a later fit of the original does not replace."""
    copied = object.__new__(type(estimator))
    vars(copied).update(vars(estimator))
    return copied


def task_of(estimator: Any) -> str:  # noqa: ANN401
    """Return what an estimator is for: classifier, regressor, clusterer, outlier_detector, transformer, or "".

    Searches and pipelines are for what their estimator or last step is for. Their own answer would ask each of their
    steps several times, and so take three times longer for each pipeline within a pipeline.
    """
    from sklearn.utils import get_tags

    part = estimator
    for _ in range(_MAX_NESTING):
        inner = vars(part).get("estimator") if is_search(part) else None
        if inner is None and is_pipeline(part) and (steps := steps_of(part)):
            inner = steps[-1][1]
        if not hasattr(inner, "get_params") or isinstance(inner, type):
            break
        part = inner
    else:
        return ""
    kind = get_tags(part).estimator_type if not is_pipeline(part) else ""
    if kind:
        return str(kind)
    return "transformer" if hasattr(part, "transform") and not hasattr(part, "predict") else ""
