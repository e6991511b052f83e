"""Records one fit: what is known before it, and what its result is.

As little as possible happens in the thread that trains: what could change afterwards (hyperparameters, the data's
digest, the model) is taken there, everything else is worked out beside it.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.autologging import entered, rolled_back
from modeldb_core.datasets import Described, describe
from modeldb_core.failures import interruption_of
from modeldb_sklearn import pictures
from modeldb_sklearn.callbacks import TaskTimes, timed_tasks
from modeldb_sklearn.data import DATASET, MAX_COPY_BYTES, DataDigest, labelled, private_copy, sample_of, size_of
from modeldb_sklearn.evaluation import Chain
from modeldb_sklearn.formats import dump_now
from modeldb_sklearn.hyperparameters import Settings, public_name, settings_of, structure_of, typed
from modeldb_sklearn.options import BACKGROUND, GUARD, PATIENCE_S, Options, upload
from modeldb_sklearn.outcomes import Outcome, array_mark, fitted_part, log_curves, outcome_of
from modeldb_sklearn.parallel import INNER, WATCH
from modeldb_sklearn.placement import Placement, late, place
from modeldb_sklearn.scores import has_own_score, training_scores
from modeldb_sklearn.search import SearchWatch, is_search, results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.models import DumpedModel
    from modeldb_sklearn.evaluation import Evaluations
    from modeldb_sklearn.pictures import Judged
    from modeldb_sklearn.search import Results

_COUNTING = ("sklearn.neighbors", "sklearn.semi_supervised", "sklearn.manifold")
ScoresJob: TypeAlias = "Callable[[], tuple[dict[str, float], Judged | None]]"


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
        self._left_out: list[str] = []
        self._number = 0
        self._start = 0.0

    # -- in the training thread ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the run and take what the fit may change."""
        before = self._evaluations.forget(self.estimator)
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
        if self.settings.values.get("warm_start") is True:
            self._chain = self._continued(before)
        BACKGROUND.wait(*self._keys(), timeout_s=PATIENCE_S)  # results of an earlier fit
        if self.options.log_datasets or self.options.log_training_metrics:
            with GUARD.step("describe the data", self.note):
                at_once = self.settings.changes_data or self.settings.has_foreign_code
                self._digest = DataDigest(self.arguments.X, self.arguments.y, at_once=at_once)
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
            return Chain(late(self.placement.run))
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
        with GUARD.step("record a failed fit"):
            name = type(self.estimator).__name__
            ending = interruption_of(error)
            self.placement.run.note(f"The fit of {name} raised {type(error).__name__}: {str(error)[:500]}")
            if self._watch is not None:
                self._watch.abort(ending.status)
            if self.placement.is_ours:
                self.placement.run.finish(ending)

    def succeed(self) -> None:
        """The fit is done: take what may change from now on, and leave the rest to the background."""
        if self.placement is None:
            return
        fit_s = perf_counter() - self._start
        result = FitResult(Outcome())
        with GUARD.step("describe the data", self.note):
            result.description = self._digest.result() if self._digest is not None else None
        with GUARD.step("read the fitted attributes", self.note):
            result.outcome = outcome_of(self.estimator)
        result.outcome.metrics["fit_seconds"] = fit_s
        result.outcome.metrics.update(self._times.metrics([name for name, *_ in _steps(self.estimator)]))
        result.outcome.curves.update(self._times.curves())
        if self.options.log_models:
            with GUARD.step("store the model", self.note):
                result.model = dump_now(self._model(), self._signature(result.description))
        with GUARD.step("record the candidates of the search", self.note):
            result.search = results_of(fitted_search(self.estimator))
        if self.options.log_evaluations:
            with GUARD.step("remember the model", self.note):
                self._remember(result.description)
        scores = self._scores_job(result.description, fit_s)
        BACKGROUND.submit(lambda: self._record(result, scores), self._keys())

    def note(self, text: str) -> None:
        """Write on the run."""
        if self.placement is not None:
            self.placement.run.note(text)

    # -- beside it ----------------------------------------------------------------------------------------------------

    def _record(self, result: FitResult, scores: ScoresJob) -> None:
        assert self.placement is not None
        run = self.placement.run
        metrics: dict[str, Any] = dict(result.outcome.metrics)
        if self.options.log_pictures and pictures.is_possible():
            with GUARD.step(
                "prepare pictures", self.note
            ):  # a forest works its importances out when they are asked for
                result.drawings.extend(pictures.of_importances(fitted_part(self.estimator)))
        with GUARD.step("work out metrics on the training data", self.note):
            found, judged = scores()
            metrics.update({f"training_{name}": value for name, value in found.items()})
            if self.options.log_pictures and pictures.is_possible():
                result.drawings.extend(pictures.of_predictions(judged, "training"))
        with GUARD.step("record the metrics", self.note):
            run.log_metrics(metrics)
            if self._chain is not None:
                numbers = {f"warm_start/{name}": float(value) for name, value in metrics.items()}
                self._chain.first.log_metrics(numbers, self._number)
            if result.outcome.attributes:
                run.set_attributes({key: typed(value) for key, value in result.outcome.attributes.items()})
            log_curves(run, result.outcome.curves)
        if result.description is not None and self.options.log_datasets:
            with GUARD.step("record the data set", self.note):
                run.log_dataset(Described(result.description), DATASET)
        if result.search is not None:
            with GUARD.step("record the candidates of the search", self.note):
                run.log_metrics({"n_candidates": len(result.search.params)})
                run.set_attributes(result.search.best)
                if self._watch is not None:
                    self._watch.complete(result.search)
        self._store(result)
        with GUARD.step("end the run"):
            if self._left_out:
                run.note(f"Not recorded: {'; '.join(self._left_out)}.")
            if self.placement.is_ours:
                run.finish()
        with GUARD.step("draw pictures"):
            pictures.offer(late(run), result.drawings)

    def _store(self, result: FitResult) -> None:
        """Store what goes into files; the run may have ended when it is there."""
        assert self.placement is not None
        run, sample, model = late(self.placement.run), self._sample, result.model
        if sample is not None:
            rows = [typed(row) for row in sample]
            upload("a sample of the data", run, lambda: run.log_artifact(rows, "data/sample.json"))
        if model is not None:
            upload("the model", run, lambda: run.log_model(model))

    def _scores_job(self, description: dict[str, Any] | None, fit_s: float) -> ScoresJob:
        """Return what gives the training metrics: where the estimator is scikit-learn's alone, later and beside.

        A stranger's ``predict`` may change the estimator, the data or a random state: it is called at once, on a copy
        of the data, and what it changed in the estimator is put back.
        """
        if not self.options.log_training_metrics or self.task in ("transformer", "clusterer"):
            return _nothing
        X, y = self.arguments.X, self.arguments.y
        if self.settings.changes_data:
            self._left_out.append("metrics on the training data, which the estimator was told to change in place")
            return _nothing
        if hasattr(X, "compute"):
            self._left_out.append("metrics on the training data, which would have to be computed again")
            return _nothing
        estimators = self.settings.estimators
        if not self.settings.has_foreign_code:
            frozen = self._frozen(X)
            if frozen is None:
                return _nothing
            part = fitted_part(frozen)
            mark = array_mark([*estimators, part])

            def later() -> tuple[dict[str, float], Judged | None]:
                found = self._scores(frozen, part, X, y, fit_s)
                changed = array_mark([*estimators, part]) != mark
                if description is not None and not changed:
                    changed = describe(labelled(X, y))["digest"] != description["digest"]
                if changed:
                    self._left_out.append("metrics on the training data: model or data changed right after the fit")
                    return _nothing()
                return found

            return later
        found = _nothing()
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

    def _scores(
        self,
        estimator: Any,  # noqa: ANN401
        part: Any,  # noqa: ANN401
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        fit_s: float,
    ) -> tuple[dict[str, float], Judged | None]:
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
        if len(self.settings.estimators) > 1:
            attributes["structure"] = structure_of(self.estimator)
        inner = INNER.get()
        return attributes if inner is None else attributes | inner[1]

    def _remember(self, description: dict[str, Any] | None) -> None:
        """Let scores that the program works out later find the run: of the model, and of what it passes on to."""
        assert self.placement is not None
        models = {id(item): item for item in (self.estimator, fitted_search(self.estimator), self._model())}
        known = "" if description is None else description.get("features_digest", description["digest"])
        self._evaluations.add(
            list(models.values()), self.placement.run, self.options, self.arguments.X, known, self._chain
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

    outcome: Outcome
    description: dict[str, Any] | None = None
    model: DumpedModel | None = None
    search: Results | None = None
    drawings: list[Any] = field(default_factory=list)


def _nothing() -> tuple[dict[str, float], Judged | None]:
    return {}, None


def watch_of(placement: Placement, settings: Settings) -> SearchWatch | None:
    """Return what follows the search among the estimators that are fitted, if there is one."""
    searches = [estimator for estimator in settings.estimators if is_search(estimator)]
    return SearchWatch(placement.run, searches, is_nested=len(searches) > 1) if searches else None


def fitted_search(estimator: Any) -> Any:  # noqa: ANN401
    """Return the search that the program fitted: the estimator itself, or the last step of a pipeline."""
    while not is_search(estimator) and (steps := _steps(estimator)):
        estimator = steps[-1][1]
        if not hasattr(estimator, "__dict__"):
            break
    return estimator


def _steps(estimator: Any) -> list[Any]:  # noqa: ANN401
    steps = vars(estimator).get("steps")
    return steps if isinstance(steps, list) else []


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
