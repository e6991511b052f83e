"""Records what is trained, with what and on which data, at the moments when it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_lightning.datasets import loaders_of
from modeldb_lightning.hyperparameters import typed
from modeldb_lightning.logger import logger_of
from modeldb_lightning.options import GUARD, submit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.tracking import RunHandle
    from modeldb_lightning.recording import Recording


def describe(recording: Recording | None, trainer: Any, module: Any) -> None:  # noqa: ANN401
    """Record the model and its hyperparameters, which Lightning gives to loggers only."""
    if recording is None or not recording.logs or logger_of(trainer) is not None:
        return
    with GUARD.step("record the hyperparameters"):
        for holder in _holders(trainer, module):
            given = {key: item for key, item in holder.hparams_initial.items() if key != "_class_path"}
            recording.log_hyperparameters(given)
    recording.describe_model(module)


def describe_changes(recording: Recording | None, trainer: Any, module: Any) -> None:  # noqa: ANN401
    """Record hyperparameters that are others by now: found by a learning-rate or batch-size finder, or set in ``setup``."""
    if recording is None or not recording.logs:
        return
    with GUARD.step("record changed hyperparameters"):
        for holder in _holders(trainer, module):
            before, missing = holder.hparams_initial, object()
            changed = {
                key: item
                for key, item in holder.hparams.items()
                if key != "_class_path" and typed(before.get(key, missing)) != typed(item)
            }
            if changed:
                recording.log_hyperparameters(changed)


def describe_datasets(recording: Recording, name: str, loaders: Any) -> None:  # noqa: ANN401
    """Record what the data sets of the trainer's loaders are."""
    with GUARD.step("find the data sets"):
        found = loaders_of(loaders)
        for number, loader in enumerate(found):
            _describe_dataset(recording, f"{name}/{number}" if len(found) > 1 else name, loader)


def _describe_dataset(recording: Recording, name: str, loader: Any) -> None:  # noqa: ANN401 - a DataLoader, or anything else
    """Record what the data set of a loader is, once, beside the training."""
    if not recording.logs or not recording.is_new(name, getattr(loader, "dataset", loader)):
        return

    def work(run: RunHandle) -> None:
        def describe() -> None:
            with GUARD.step(f"describe the data set {name!r}", run.note):
                run.log_dataset(loader, name)

        submit(describe, run.run_id)

    recording.do("describe the data", work)


def _holders(trainer: Any, module: Any) -> Iterator[Any]:  # noqa: ANN401
    """Iterate over module and data module where their hyperparameters are to be logged."""
    for holder in (module, trainer.datamodule):
        if getattr(holder, "_log_hyperparams", False):
            yield holder
