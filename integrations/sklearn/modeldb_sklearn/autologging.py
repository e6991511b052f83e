"""Switches autologging of scikit-learn on and off.

Every class derived from ``BaseEstimator`` has the methods that train it and that predict wrapped where it defines them:
the classes that exist are found by walking the subclasses, those defined or imported later through
``BaseEstimator.__init_subclass__``. Public functions are wrapped inside of the decorator that all of them have. So it
works for users' own estimators and whatever the order of imports. Recorded are the calls that the program makes; those
that scikit-learn makes itself, inside another fit or inside ``cross_validate`` or a metric, are told by the caller and
left alone, also in threads of joblib.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from modeldb_core.autologging import Integration, Patches, Switch, entered, intercept, is_to_be_decorated
from modeldb_core.autologging.imports import forget, when_imported
from modeldb_sklearn.calls import is_part_of_another
from modeldb_sklearn.evaluation import Evaluations
from modeldb_sklearn.incremental import Streams
from modeldb_sklearn.options import BACKGROUND, GUARD, PATIENCE_S, Options, checked_options
from modeldb_sklearn.parallel import AFTER_TASK, CARRIED, INNER, on_joblib_parallel, on_sklearn_parallel
from modeldb_sklearn.placement import release
from modeldb_sklearn.recording import FitArguments, FitRecorder
from modeldb_sklearn.search import is_search
from modeldb_sklearn.validation import FUNCTIONS, on_importance, on_validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.tracking import Client, RunHandle

P = ParamSpec("P")
R = TypeVar("R")

EVALUATIONS = Evaluations()
STREAMS = Streams(EVALUATIONS)
AFTER_TASK.append(STREAMS.end_all)


@overload
def autolog(client: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def autolog(
    client: Client | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    disable: bool = False,
    log_models: bool = True,
    log_datasets: bool = True,
    log_training_metrics: bool = True,
    log_evaluations: bool = True,
    log_candidates: bool = True,
    log_pictures: bool = True,
    log_sample: int = 0,
    estimators: Mapping[type | str, bool | Mapping[str, Any]] | None = None,
    tags: tuple[str, ...] | list[str] = (),
) -> Switch[Options]: ...


def autolog(
    client: Client | Callable[..., object] | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    disable: bool = False,
    log_models: bool = True,
    log_datasets: bool = True,
    log_training_metrics: bool = True,
    log_evaluations: bool = True,
    log_candidates: bool = True,
    log_pictures: bool = True,
    log_sample: int = 0,
    estimators: Mapping[type | str, bool | Mapping[str, Any]] | None = None,
    tags: tuple[str, ...] | list[str] = (),
) -> Switch[Options] | Callable[..., object]:
    """Let every fit of a scikit-learn estimator record itself.

    It is in force from the call on; as a decorator or in a ``with`` statement, like :func:`modeldb_core.autolog`, only there.

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration.
        project: the project of runs that a fit starts; default: the setting ``project``.
        experiment: likewise.
        disable: switch off instead, and undo every patch.
        log_models: store the fitted model, with skops.
        log_datasets: record digest, shape and schema of the training data.
        log_training_metrics: predict the training data and record the metrics that fit the task; not with estimators
            that are not part of a library known to ModelDB, since no code of the program is called.
        log_evaluations: record scores that the program works out later with the run of their model.
        log_candidates: a child run for each candidate of a search.
        log_pictures: store what pictures of the model show, as data that ModelDB's pages draw.
        log_sample: store so many rows of the training data.
        estimators: for a class, or its name, and those derived from it: ``False``, they are not recorded, or a map of
            the options above that differ for them, such as ``{KNeighborsClassifier: {"log_models": False}}``.
        tags: of runs that a fit starts.

    Raises:
        InvalidTypeError: an argument has a wrong type.
        InvalidArgumentError: there is no such option for a class.
    """
    if is_to_be_decorated(client):
        return autolog()(client)
    options = checked_options(
        client=client,
        project=project,
        experiment=experiment,
        log_models=log_models,
        log_datasets=log_datasets,
        log_training_metrics=log_training_metrics,
        log_evaluations=log_evaluations,
        log_candidates=log_candidates,
        log_pictures=log_pictures,
        log_sample=log_sample,
        estimators={} if estimators is None else estimators,
        tags=tags,
    )
    return _integration.switch(None if disable else options)


def run_finished(run: RunHandle) -> None:
    """Before a run ends: wait for what is still worked out for it, and let the estimators go that learn in it."""
    STREAMS.end_run(run.run_id)
    BACKGROUND.wait(run.run_id)
    release(run.run_id)


# -- patches -------------------------------------------------------------------------------------------------------


def _fit_method(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    options = _options_for(estimator)
    if options is None:
        return original(estimator, *args, **kwargs)
    recorder: FitRecorder | None = None
    with GUARD.step("begin to record a fit"):
        STREAMS.end(estimator)
        recorder = FitRecorder(estimator, _arguments(original, args, kwargs), options, EVALUATIONS)
    if recorder is None:
        with entered():
            return original(estimator, *args, **kwargs)
    try:
        with GUARD.step("begin to record a fit"):
            recorder.begin()
        with recorder.fitting():
            result = original(estimator, *args, **kwargs)
    except BaseException as error:
        recorder.fail(error)
        raise
    with GUARD.step("record a fit", recorder.note):
        recorder.succeed()
    return result


def _partial_fit_method(
    original: Callable[..., Any],
    estimator: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    options = _options_for(estimator)
    if options is None:
        return original(estimator, *args, **kwargs)
    stream = None
    with GUARD.step("record partial_fit"):
        BACKGROUND.wait(id(estimator), timeout_s=PATIENCE_S)
        stream = STREAMS.before(estimator, options)
    try:
        with entered():
            result = original(estimator, *args, **kwargs)
    except BaseException as error:
        if stream is not None:
            STREAMS.fail(stream, error)
        raise
    if stream is not None:
        with GUARD.step("record partial_fit"):
            STREAMS.after(stream, _rows(_arguments(original, args, kwargs).X))
    return result


def _validation_function(original: Callable[..., Any], _: None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    return on_validation(_options(), EVALUATIONS, original, args, kwargs)


def _importance_function(original: Callable[..., Any], _: None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    return on_importance(EVALUATIONS, original, args, kwargs)


def _sklearn_parallel(
    original: Callable[..., Any],
    parallel: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:  # noqa: ANN401
    return on_sklearn_parallel(_options(), keep_installed, original, parallel, args, kwargs)


def _joblib_parallel(original: Callable[..., Any], parallel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    return on_joblib_parallel(_options(), keep_installed, original, parallel, args, kwargs)


_METHODS = {
    "fit": "fit",
    "fit_transform": "fit",
    "fit_predict": "fit",
    "partial_fit": "partial_fit",
    "predict": "predict",
    "predict_proba": "predict",
    "predict_log_proba": "predict",
    "decision_function": "predict",
    "score": "score",
}
_INTERCEPTORS: dict[str, Callable[..., Any]] = {
    "fit": _fit_method,
    "partial_fit": _partial_fit_method,
    "predict": EVALUATIONS.on_predict,
    "score": EVALUATIONS.on_score,
    "scorer": EVALUATIONS.on_scorer,
    "metric": EVALUATIONS.on_metric,
    "validation": _validation_function,
    "importance": _importance_function,
    "sklearn parallel": _sklearn_parallel,
    "joblib parallel": _joblib_parallel,
}
_PREFIX = "sklearn."


def _install(patches: Patches) -> None:
    from sklearn.base import BaseEstimator

    GUARD.forget()
    for name, interceptor in _INTERCEPTORS.items():
        intercept(_PREFIX + name, interceptor)
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            _patch(name)
        else:
            then = _pending[name] = functools.partial(_patch, name)
            when_imported(name, then)
    roots = (BaseEstimator, *_mixins())
    for cls in _all_subclasses(roots):
        _wrap(patches, cls)
    inherited: Any = BaseEstimator.__init_subclass__.__func__

    @functools.wraps(inherited)
    def init_subclass(cls: type, **kwargs: Any) -> None:  # noqa: ANN401
        inherited(cls, **kwargs)
        for base in cls.__mro__:  # what brings it its methods may be no estimator, and as new as it is
            if issubclass(base, roots):
                _wrap(patches, base)

    patches.replace(BaseEstimator, "__init_subclass__", classmethod(init_subclass))  # type: ignore[arg-type]


_pending: dict[str, Callable[[], None]] = {}


def _patch(name: str) -> None:
    """Wrap what a module has, which the program may have imported a while after it switched autologging on."""
    with GUARD.step("follow a module"):
        _MODULES[name](_integration.patches, sys.modules[name])


def _wrap_parallel(patches: Patches, module: Any) -> None:  # noqa: ANN401
    name = "sklearn" if module.__name__.startswith("sklearn") else "joblib"
    patches.wrap_method(module.Parallel, "__call__", f"sklearn.{name} parallel", always=True)


def _wrap_scorers(patches: Patches, module: Any) -> None:  # noqa: ANN401
    for cls in (module._BaseScorer, module._MultimetricScorer):
        patches.wrap_method(cls, "__call__", "sklearn.scorer")


def _wrap_metrics(patches: Patches, module: Any) -> None:  # noqa: ANN401
    for name in module.__all__:
        patches.wrap_function(getattr(module, name), "sklearn.metric")


def _wrap_validation(patches: Patches, module: Any) -> None:  # noqa: ANN401
    for name in FUNCTIONS:
        patches.wrap_function(getattr(module, name), "sklearn.validation")


def _wrap_importance(patches: Patches, module: Any) -> None:  # noqa: ANN401
    patches.wrap_function(module.permutation_importance, "sklearn.importance")


_MODULES: dict[str, Callable[[Patches, Any], None]] = {
    "joblib": _wrap_parallel,
    "sklearn.utils.parallel": _wrap_parallel,
    "sklearn.metrics": _wrap_metrics,
    "sklearn.metrics._scorer": _wrap_scorers,
    "sklearn.model_selection": _wrap_validation,
    "sklearn.inspection": _wrap_importance,
}
"""What is wrapped besides methods of estimators, by the module that has it: none of them is imported for it."""


def _uninstall() -> None:
    STREAMS.end_all()
    EVALUATIONS.clear()
    while _pending:
        forget(_pending.popitem()[1])
    for name in _INTERCEPTORS:
        intercept(_PREFIX + name, None)


def _wrap(patches: Patches, cls: type) -> None:
    for method, name in _METHODS.items():
        if method in cls.__dict__:
            patches.wrap_method(cls, method, _PREFIX + name)


def _all_subclasses(roots: tuple[type, ...]) -> list[type]:
    found: dict[type, None] = {}
    waiting = list(roots)
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found[cls] = None
            waiting.extend(type.__subclasses__(cls))
    return list(found)


def _mixins() -> list[type]:
    """Return the classes that are not estimators and bring methods to them, such as ``score``."""
    import sklearn.base

    return [cls for name, cls in vars(sklearn.base).items() if isinstance(cls, type) and name.endswith("Mixin")]


_integration: Integration[Options] = Integration(_install, _uninstall)


def keep_installed() -> None:
    """Put the patches in place in a worker process; what is recorded is up to its tasks."""
    _integration.keep_installed()


# -- calls ---------------------------------------------------------------------------------------------------------


def _options() -> Options | None:
    return CARRIED.get() or _integration.options()


def _options_for(estimator: Any) -> Options | None:  # noqa: ANN401
    """Return how a fit of ``estimator`` is recorded; ``None``: it is not, as one that is part of something else."""
    options = _options()
    if options is None:
        return None
    if is_part_of_another(estimator):
        if INNER.get() is None or not is_search(estimator):
            return None
        return options.inner()
    with GUARD.step("choose the options of a fit"):
        return options.of(estimator)
    return None


@functools.lru_cache(maxsize=2048)
def _parameter_names(method: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(method).parameters)[1:]


def _arguments(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> FitArguments:
    """Return what a fit was called with; the first two arguments are data and target, whatever they are called."""
    names = _parameter_names(original)
    given = dict(zip(names, args, strict=False)) | kwargs
    target_name = "y" if "y" in names or "y" in given else ("Y" if "Y" in names else "")
    X = given.pop(names[0], None) if names else None
    y = given.pop(target_name, None) if target_name else None
    return FitArguments(X, y, given)


def _rows(data: Any) -> int:  # noqa: ANN401
    shape = getattr(data, "shape", None)
    if shape:
        return int(shape[0])
    return len(data) if hasattr(data, "__len__") else 0
