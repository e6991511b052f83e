"""Switches autologging of scikit-learn on and off.

Every class derived from ``BaseEstimator`` has the methods that train it wrapped where it defines them: the classes that
exist are found by walking the subclasses, those defined or imported later through ``BaseEstimator.__init_subclass__``.
So it works for users' own estimators and whatever the order of imports. Recorded are the calls that the program makes;
those that scikit-learn makes itself, inside another fit or inside ``cross_validate`` or a metric, are told by the
caller and left alone, also in threads of joblib. In worker processes nothing is switched on.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from modeldb_core.autolog import Integration, Patches, Switch, entered, intercept
from modeldb_sklearn.formats import prepare
from modeldb_sklearn.incremental import Streams
from modeldb_sklearn.options import BACKGROUND, GUARD, Options, checked_options
from modeldb_sklearn.placement import release
from modeldb_sklearn.recording import FitArguments, FitRecorder
from modeldb_sklearn.validation import on_parallel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from modeldb_core.tracking import Client, RunHandle

FIT, PARTIAL_FIT, PARALLEL = "sklearn.fit", "sklearn.partial_fit", "sklearn.parallel"
_METHODS = {"fit": FIT, "fit_transform": FIT, "fit_predict": FIT, "partial_fit": PARTIAL_FIT}

STREAMS = Streams()


def autolog(
    client: Client | Callable[..., Any] | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    disable: bool = False,
    log_models: bool = True,
    log_datasets: bool = True,
    log_training_metrics: bool = True,
    log_candidates: bool = True,
    tags: tuple[str, ...] | list[str] = (),
) -> Any:  # noqa: ANN401 - a Switch, or the decorated function
    """Let every fit of a scikit-learn estimator record itself.

    It is in force from the call on. Used as a decorator or in a ``with`` statement it is in force only there::

        autolog(project="churn")            # the rest of the program

        @autolog(project="churn")           # while train() runs
        def train(): ...

        with autolog(project="churn"):      # in the block
            ...

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration.
        project: the project of runs that a fit starts; default: the setting ``project``.
        experiment: likewise.
        disable: switch off instead, and undo every patch.
        log_models: store the fitted model, with skops.
        log_datasets: record digest, shape and schema of the training data.
        log_training_metrics: predict the training data and record the metrics that fit the task.
        log_candidates: a child run for each candidate of a search.
        tags: of runs that a fit starts.

    Raises:
        InvalidTypeError: an argument has a wrong type.
    """
    if inspect.isroutine(client):  # @autolog without parentheses
        return _integration.switch(Options())(client)
    options = checked_options(
        client=client,
        project=project,
        experiment=experiment,
        log_models=log_models,
        log_datasets=log_datasets,
        log_training_metrics=log_training_metrics,
        log_candidates=log_candidates,
        tags=tags,
    )
    switch: Switch[Options] = _integration.switch(None if disable else options)
    if log_models and not disable:
        BACKGROUND.submit(prepare)
    return switch


def run_finished(run: RunHandle) -> None:
    """Before a run ends: wait for what is still worked out for it, and let the estimators go that learn in it."""
    STREAMS.end_run(run.run_id)
    BACKGROUND.wait(run.run_id)
    release(run.run_id)


# -- patches -------------------------------------------------------------------------------------------------------


def _install(patches: Patches) -> None:
    from sklearn.base import BaseEstimator
    from sklearn.utils.parallel import Parallel

    GUARD.forget()
    intercept(FIT, _on_fit)
    intercept(PARTIAL_FIT, _on_partial_fit)
    intercept(PARALLEL, _on_parallel)
    patches.wrap_method(Parallel, "__call__", PARALLEL)
    for cls in _all_subclasses(BaseEstimator):
        _wrap(patches, cls)
    inherited: Any = BaseEstimator.__init_subclass__.__func__

    @functools.wraps(inherited)
    def init_subclass(cls: type, **kwargs: Any) -> None:  # noqa: ANN401
        inherited(cls, **kwargs)
        _wrap(patches, cls)

    patches.replace(BaseEstimator, "__init_subclass__", classmethod(init_subclass))  # type: ignore[arg-type]


def _uninstall() -> None:
    STREAMS.end_all()
    for name in (FIT, PARTIAL_FIT, PARALLEL):
        intercept(name, None)


def _wrap(patches: Patches, cls: type) -> None:
    for method, name in _METHODS.items():
        if method in cls.__dict__:
            patches.wrap_method(cls, method, name)


def _all_subclasses(root: type) -> list[type]:
    found: dict[type, None] = {}
    waiting = [root]
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found[cls] = None
            waiting.extend(type.__subclasses__(cls))
    return list(found)


_integration: Integration[Options] = Integration(_install, _uninstall)


# -- calls ---------------------------------------------------------------------------------------------------------


def _on_fit(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    options = _integration.options()
    if options is None or _is_called_by_sklearn(estimator):
        return original(estimator, *args, **kwargs)
    recorder: FitRecorder | None = None
    with GUARD.step("begin to record a fit"):
        STREAMS.end(estimator)
        recorder = FitRecorder(estimator, _arguments(original, args, kwargs), options)
        recorder.begin()
    try:
        with entered():
            result = original(estimator, *args, **kwargs)
    except BaseException as error:
        if recorder is not None:
            recorder.fail(error)
        raise
    if recorder is not None:
        with GUARD.step("record a fit", recorder.note):
            recorder.succeed()
    return result


def _on_partial_fit(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    options = _integration.options()
    if options is None or _is_called_by_sklearn(estimator):
        return original(estimator, *args, **kwargs)
    stream = None
    with GUARD.step("record partial_fit"):
        BACKGROUND.wait(id(estimator))
        stream = STREAMS.before(estimator, options)
    with entered():
        result = original(estimator, *args, **kwargs)
    if stream is not None:
        with GUARD.step("record partial_fit"):
            STREAMS.after(stream, _rows(_arguments(original, args, kwargs).X))
    return result


def _on_parallel(original: Callable[..., Any], parallel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    options = _integration.options()
    if options is None:
        return original(parallel, *args, **kwargs)
    return on_parallel(options, original, parallel, args, kwargs)


def _is_called_by_sklearn(estimator: object) -> bool:
    """Return whether scikit-learn itself makes the call: then it is part of something else that the program called.

    Methods of the estimator's own that only pass on, such as the ``fit_transform`` that calls ``fit``, do not count.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("modeldb_core.autolog", "modeldb_sklearn")):
            pass
        elif not module.startswith("sklearn."):
            return False
        else:
            names = frame.f_locals
            is_wrapper = module == "sklearn.base" and names.get("estimator") is estimator
            if names.get("self") is not estimator and not is_wrapper:
                return True
        frame = frame.f_back
    return False


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
