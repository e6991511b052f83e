"""The functions of ``modeldb_core`` that log to the current run: the methods of its handle, without the handle."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from modeldb_core.errors import NoRunError
from modeldb_core.tracking import inheritance
from modeldb_core.tracking.run import RunHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")


def _run(asked: str) -> RunHandle:
    run = inheritance.current()
    if run is None:
        msg = f"{asked}: there is no current run; start one with start_run(...), best in a with block"
        raise NoRunError(msg)
    return run


def _of_current_run(method: Callable[Concatenate[RunHandle, P], R]) -> Callable[P, R]:
    """Return a function that calls a method of the current run; it raises NoRunError where there is none."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(_run(method.__name__), *args, **kwargs)

    signature = inspect.signature(method)
    call.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return call


log_metric = _of_current_run(RunHandle.log_metric)
log_metrics = _of_current_run(RunHandle.log_metrics)
log_hyperparameters = _of_current_run(RunHandle.log_hyperparameters)
log_params = _of_current_run(RunHandle.log_params)
log_artifact = _of_current_run(RunHandle.log_artifact)
log_text = _of_current_run(RunHandle.log_text)
log_dataset = _of_current_run(RunHandle.log_dataset)
set_attributes = _of_current_run(RunHandle.set_attributes)
set_tags = _of_current_run(RunHandle.set_tags)
add_tags = _of_current_run(RunHandle.add_tags)
set_description = _of_current_run(RunHandle.set_description)
use_artifact = _of_current_run(RunHandle.use_artifact)
use_model = _of_current_run(RunHandle.use_model)


def log_model(
    model: object, name: str = "model", *, model_format: str = "", signature: Mapping[str, Any] | None = None
) -> None:
    """Store a model with the current run; see :meth:`RunHandle.log_model`."""
    _run("log_model").log_model(model, name, model_format=model_format, signature=signature)
