"""PyTorch Lightning for ModelDB: a callback, a logger, and automatic logging for every ``Trainer``.

    from modeldb_lightning import ModelDBCallback
    trainer = Trainer(callbacks=[ModelDBCallback(project="digits")])

    from modeldb_lightning import ModelDBLogger
    trainer = Trainer(logger=ModelDBLogger(project="digits"))

    import modeldb_lightning
    modeldb_lightning.autolog(project="digits")

All three serve ``pytorch_lightning`` and ``lightning.pytorch``. ``docs/lightning.md`` says what is recorded. Importing this
module imports neither Lightning nor torch.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.tracking import RunHandle
    from modeldb_lightning.autologging import autolog
    from modeldb_lightning.callback import ModelDBCallback
    from modeldb_lightning.checkpoints import download_checkpoint, find_checkpoint
    from modeldb_lightning.logger import ModelDBLogger

__all__ = ["ModelDBCallback", "ModelDBLogger", "autolog", "download_checkpoint", "find_checkpoint"]

_PLACES = {
    "ModelDBCallback": "callback",
    "ModelDBLogger": "logger",
    "autolog": "autologging",
    "download_checkpoint": "checkpoints",
    "find_checkpoint": "checkpoints",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a function
    if name in _PLACES:
        from importlib import import_module

        found: Any = getattr(import_module(f"modeldb_lightning.{_PLACES[name]}"), name)
        # A package of Lightning may have been imported since: LightningCLI wants subclasses of its own classes.
        return found.for_lightning() if hasattr(found, "for_lightning") else found
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _switch(**options: Any) -> Any:  # noqa: ANN401 - a switch
    """Call :func:`modeldb_lightning.autologging.autolog`, which imports Lightning."""
    from modeldb_lightning.autologging import autolog as switch_on

    return switch_on(**options)


def callbacks_factory() -> list[Any]:
    """Return the callbacks that a new ``Trainer`` gets: none unless autologging is on or a logger of ours exists.

    Both packages of Lightning call it, through the entry point groups ``pytorch_lightning.callbacks_factory`` and
    ``lightning.pytorch.callbacks_factory``.
    """
    if "modeldb_lightning.autologging" not in sys.modules and "modeldb_lightning.logger" not in sys.modules:
        return []
    from modeldb_lightning.autologging import new_callbacks

    return new_callbacks()


@hookimpl
def modeldb_register_autologgers() -> Mapping[str, Callable[..., object]]:
    """Offer ``autolog``."""
    return {"lightning": _switch, "pytorch_lightning": _switch}


@hookimpl
def modeldb_describe_object(obj: object) -> dict[str, Any] | None:
    """Describe torch's data sets and data loaders."""
    if "torch" not in sys.modules:
        return None
    from modeldb_lightning.datasets import describe

    return describe(obj)


@hookimpl
def modeldb_run_finished(run: RunHandle, status: str) -> None:
    """Wait for the checkpoints of the run that are still on their way."""
    del status
    claims = sys.modules.get("modeldb_lightning.claims")
    if claims is not None:
        claims.release(run)
