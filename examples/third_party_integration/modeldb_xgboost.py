"""XGBoost for ModelDB: every ``xgboost.train`` of the program becomes a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modeldb_core import current_run, hookimpl, start_run
from modeldb_core.autologging import Guard, Integration, Patches, entered, intercept
from modeldb_core.model.scalars import scalar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from modeldb_core.tracking import RunHandle

GUARD = Guard("XGBoost")
MODEL_FILE = "model.ubj"


def autolog(project: str | None = None, *, disable: bool = False, log_models: bool = True) -> Any:
    """Let every ``xgboost.train`` record itself; a call, a decorator, or in ``with``.

    Args:
        project: of runs that a training starts; in a run of the program it becomes a child of that.
        disable: switch off instead.
        log_models: store the booster.
    """
    return _integration.switch(None if disable else {"project": project, "log_models": log_models})


def _install(patches: Patches) -> None:
    import xgboost

    intercept("xgboost.train", _on_train)
    patches.wrap_function(xgboost.train, "xgboost.train")


_integration: Integration[dict[str, Any]] = Integration(_install, lambda: intercept("xgboost.train", None))


def _on_train(original: Callable[..., Any], _: None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Stand in for ``xgboost.train``: whatever ModelDB does is a step of its own that cannot stop the training."""
    options, run = _integration.options(), None
    if options is not None:
        with GUARD.step("start a run"):
            run = _start(options["project"], *args[:3], **kwargs)
        with GUARD.step("follow the rounds"):
            if run is not None:
                kwargs = {**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), _follower(run)]}
    try:
        with entered():
            booster = original(*args, **kwargs)
    except BaseException as error:
        if run is not None:
            with GUARD.step("end the run"):
                run.finish(error=error)
        raise
    if run is not None and options is not None:
        with GUARD.step("record the result", run.note):
            _record(run, booster)
        if options["log_models"]:
            with GUARD.step("store the model", run.note):
                run.log_model(booster)
        with GUARD.step("end the run"):
            run.finish()
    return booster


def _start(project: str | None, params: Mapping[str, Any], dtrain: Any, num_boost_round: int = 10, **rest: Any) -> Any:
    """Start the run of one training: a child of the program's run, where there is one."""
    hyperparameters = {str(name): _plain(value) for name, value in dict(params).items()}
    hyperparameters["num_boost_round"] = num_boost_round
    if rest.get("early_stopping_rounds") is not None:
        hyperparameters["early_stopping_rounds"] = rest["early_stopping_rounds"]
    rows, columns = int(dtrain.num_row()), int(dtrain.num_col())
    attributes = {"training_data": {"shape": [rows, columns], "features": list(dtrain.feature_names or ())}}
    parent = current_run()
    if parent is not None:
        run = parent.start_child("xgboost.train", hyperparameters=hyperparameters, attributes=attributes)
    else:
        told = {"hyperparameters": hyperparameters, "attributes": attributes}
        run = start_run(project, name="xgboost.train", make_current=False, **told)
    run.add_tags("xgboost")
    run.note("Not recorded: the digest of the training data, which a DMatrix does not give back.")
    return run


def _follower(run: RunHandle) -> Any:
    """Return a callback of XGBoost that logs each round's metrics when it is done."""
    from xgboost.callback import TrainingCallback

    class Follower(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
            with GUARD.step("record a round", run.note):
                last = {
                    f"{data}/{metric}": values[-1][0] if isinstance(values[-1], tuple) else values[-1]
                    for data, metrics in evals_log.items()
                    for metric, values in metrics.items()
                }
                run.log_metrics(last, epoch)
            return False  # go on

    return Follower()


def _record(run: RunHandle, booster: Any) -> None:
    run.log_metrics({"rounds": booster.num_boosted_rounds()})
    for name in ("best_iteration", "best_score"):
        value = booster.attr(name)
        if value is not None:
            run.log_metric(name, float(value))
    gains = booster.get_score(importance_type="gain")
    run.set_attributes({"feature_gain": {name: float(gain) for name, gain in gains.items()}})


def _plain(value: Any) -> Any:
    """Return a parameter as a value that can be stored."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    scalar = scalar_of(value)
    return repr(value) if scalar is None else scalar


# -- hooks ---------------------------------------------------------------------------------------------------------


@hookimpl
def modeldb_register_autologgers() -> Mapping[str, Callable[..., object]]:
    """Offer :func:`autolog`."""
    return {"xgboost": autolog}


@hookimpl
def modeldb_dump_model(model: object, path: Path) -> dict[str, Any] | None:
    """Write a booster in XGBoost's own format."""
    xgboost = sys.modules.get("xgboost")
    if xgboost is None or not isinstance(model, xgboost.Booster):
        return None
    model.save_model(path / MODEL_FILE)
    return {
        "format": "xgboost",
        "file": MODEL_FILE,
        "packages": {"xgboost": xgboost.__version__},
        "signature": {"inputs": {"shape": [None, model.num_features()]}},
    }


@hookimpl
def modeldb_load_model(path: Path, model_format: str) -> object | None:
    """Read a booster; the format holds trees and numbers, and no code."""
    if model_format != "xgboost":
        return None
    import xgboost

    return xgboost.Booster(model_file=path / MODEL_FILE)
