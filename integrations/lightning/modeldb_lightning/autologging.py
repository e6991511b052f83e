"""Switches automatic logging of Lightning on and off.

A new ``Trainer`` asks the entry point of this package for callbacks, and gets one while autologging is on. A trainer that
was there before gets it when it begins something.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from modeldb_core.autologging import Integration, Patches, Switch, intercept, is_to_be_decorated
from modeldb_lightning.frameworks import PACKAGES
from modeldb_lightning.options import GUARD, Options, checked_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client

P = ParamSpec("P")
R = TypeVar("R")

RUN = "lightning.run"
_METHODS = ("fit", "validate", "test", "predict")


@overload
def autolog(client: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def autolog(
    client: Client | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    disable: bool = False,
    name: str = "",
    tags: tuple[str, ...] | list[str] = (),
    resume: bool = True,
    log_checkpoints: bool = True,
    log_datasets: bool = True,
    log_gradient_norms: bool = False,
    log_system_metrics: bool = False,
) -> Switch[Options]: ...


def autolog(
    client: Client | Callable[..., object] | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    disable: bool = False,
    name: str = "",
    tags: tuple[str, ...] | list[str] = (),
    resume: bool = True,
    log_checkpoints: bool = True,
    log_datasets: bool = True,
    log_gradient_norms: bool = False,
    log_system_metrics: bool = False,
) -> Switch[Options] | Callable[..., object]:
    """Let every ``Trainer`` record what it does.

    It is in force from the call on; as a decorator or in a ``with`` statement, like :func:`modeldb_core.autolog`, only there.

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration.
        project: of runs that are started; default: the setting ``project``.
        experiment: likewise.
        disable: switch off, and undo everything.
        name: of runs; default: a readable random one.
        tags: of runs.
        resume: whether ``fit(ckpt_path=...)`` continues the run that wrote the checkpoint.
        log_checkpoints: store the checkpoints that Lightning keeps.
        log_datasets: describe the data sets.
        log_gradient_norms: record the norm of all gradients at each logged step.
        log_system_metrics: record processor time and memory of each process every few seconds.

    Raises:
        InvalidTypeError: an argument is of a wrong type.
        InvalidArgumentError: a name or a tag is empty, too long or holds what no store keeps. After that autologging never
            raises.
    """
    if is_to_be_decorated(client):
        return autolog()(client)
    options = checked_options(
        client=client,
        project=project,
        experiment=experiment,
        name=name,
        tags=tags,
        resume=resume,
        log_checkpoints=log_checkpoints,
        log_datasets=log_datasets,
        log_gradient_norms=log_gradient_norms,
        log_system_metrics=log_system_metrics,
    )
    GUARD.forget()
    return _integration.switch(None if disable else options)


def new_callbacks() -> list[Any]:
    """Return the callbacks for a new trainer: one that follows autologging, where it is on or a logger of ours exists."""
    loggers = sys.modules.get("modeldb_lightning.logger")
    if _integration.options() is None and (loggers is None or not loggers.is_any_alive()):
        return []
    callbacks: list[Any] = []
    with GUARD.step("follow a trainer"):
        from modeldb_lightning.callback import ModelDBCallback

        callbacks.append(ModelDBCallback.following(_integration.options))
    return callbacks


def _on_run(original: Callable[..., Any], trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """A trainer begins something: it may be older than autologging."""
    if _integration.options() is not None:
        with GUARD.step("follow a trainer"):
            from modeldb_lightning.callback import ModelDBCallback

            if not any(isinstance(each, ModelDBCallback) for each in trainer.callbacks):
                trainer.callbacks.insert(0, ModelDBCallback.following(_integration.options))
    return original(trainer, *args, **kwargs)


def _install(patches: Patches) -> None:
    intercept(RUN, _on_run)
    for name in PACKAGES:
        trainer = getattr(sys.modules.get(name), "Trainer", None)
        if isinstance(trainer, type):
            for method in _METHODS:
                patches.wrap_method(trainer, method, RUN)


_integration: Integration[Options] = Integration(_install, lambda: intercept(RUN, None))
