"""What is read from a trainer, and the little that is done to it."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from modeldb_lightning.logger import ModelDBLogger, logger_of
from modeldb_lightning.resuming import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_lightning.recording import Recording


CHECKPOINT_KEY = "modeldb_run"
"""Under this key a checkpoint says which run wrote it."""


def lend_logger(trainer: Any, callback: object, recording: Recording) -> Callable[[], None]:  # noqa: ANN401
    """Let a trainer log to ``recording`` too, without being one of its loggers; returns what undoes it.

    While Lightning turns metrics into numbers and hands them to its loggers, one more is among them: so it is given the
    same numbers under the same steps. The trainer's own list is as it was before and after each such call.
    """
    connector = trainer._logger_connector
    original = connector.log_metrics
    logger: Any = ModelDBLogger.of(recording)

    def log_metrics(metrics: Any, step: int | None = None) -> None:  # noqa: ANN401
        if not any(each is callback for each in trainer.callbacks):  # Lightning's Tuner is at work
            original(metrics, step)
            return
        before = trainer.loggers
        trainer.loggers = [*before, logger]
        try:
            original(metrics, step)
        finally:
            trainer.loggers = before

    return _replace(connector, "log_metrics", log_metrics)


def count_evaluations(trainer: Any, callback: object, recordings: Sequence[Recording]) -> Callable[[], None]:  # noqa: ANN401
    """Let what is logged in each step of an evaluation have steps that go on; returns what undoes it.

    Lightning counts the batches of an evaluation from 0 whenever it has loaded the data, so after a resume, with
    ``reload_dataloaders_every_n_epochs``, and in each ``validate``.
    """
    connector = trainer._logger_connector
    original = connector.update_eval_step_metrics

    def update_eval_step_metrics(step: int) -> None:
        if not any(each is callback for each in trainer.callbacks):  # Lightning's Tuner is at work
            original(step)
            return
        loader = getattr(trainer._results, "dataloader_idx", None) or 0
        batch_of = f"{trainer.state.stage.value}/{loader}"
        for recording in recordings:
            recording.evaluates = batch_of
            recording.evaluated[batch_of] += 1
        try:
            original(step)
        finally:
            for recording in recordings:
                recording.evaluates = None

    return _replace(connector, "update_eval_step_metrics", update_eval_step_metrics)


def is_validation_due(trainer: Any) -> bool:  # noqa: ANN401
    """Return whether a batch has just ended after which there is a validation.

    From a checkpoint that is saved in between Lightning goes on behind that validation, without making it.
    """
    loop = trainer.fit_loop.epoch_loop
    try:
        batches = loop.batch_progress.total
        return bool(batches.processed > batches.completed and loop._should_check_val_fx(trainer.fit_loop._data_fetcher))
    except AttributeError:  # a private name; see below
        return False


def count_skipped(trainer: Any, recordings: Sequence[Recording]) -> None:  # noqa: ANN401
    """Let the batches count of a validation that Lightning did not make again, before the next one begins."""
    sizes = enumerate(trainer.fit_loop.epoch_loop.val_loop.max_batches)
    skipped = {f"validate/{loader}": int(size) for loader, size in sizes if size != math.inf}
    for recording in recordings:
        if recording.has_skipped:
            recording.has_skipped = False
            recording.evaluated.update(skipped)


def _replace(owner: object, name: str, function: Callable[..., None]) -> Callable[[], None]:
    """Put ``function`` in the place of a method of one object; returns what undoes it."""
    setattr(owner, name, function)

    def undo() -> None:
        if vars(owner).get(name) is function:
            delattr(owner, name)

    return undo


class _LastLogger(ModelDBLogger):
    """Hears of the checkpoint that a ``ModelCheckpoint`` may save because of an exception, and goes."""

    trainer: Any

    def finalize(self, status: str) -> None:
        """Lightning is done: be none of its loggers any more."""
        del status
        self.trainer.loggers = [each for each in self.trainer.loggers if each is not self]


def watch_to_the_end(trainer: Any, recording: Recording | None) -> None:  # noqa: ANN401
    """After an exception no hook of a callback comes any more, but loggers are told of checkpoints and of the end."""
    if recording is not None and recording.logs and recording.run is not None:
        logger: Any = _LastLogger.of(recording)
        logger.trainer = trainer
        trainer.loggers = [*trainer.loggers, logger]


def batches_stepped(trainer: Any) -> int:  # noqa: ANN401
    """Return the step that Lightning logs under at this moment."""
    try:
        return int(trainer.fit_loop.epoch_loop._batches_that_stepped)
    except AttributeError:  # a private name, as Lightning's own callbacks use it; other versions may call it otherwise
        return int(trainer.global_step)


def has_stepped(trainer: Any, module: Any) -> bool:  # noqa: ANN401
    """Return whether the batch that has just ended was a step, and not only one of several whose gradients are summed up."""
    try:
        return not (trainer.fit_loop._should_accumulate() and module.automatic_optimization)
    except AttributeError:  # a private name; see above
        return True


def position_of(checkpoint: dict[str, Any], mark: dict[str, Any]) -> Position:
    """Return where a training goes on that begins with a checkpoint, which has this mark of a run."""
    global_step = int(checkpoint.get("global_step", 0))
    loop = (checkpoint.get("loops") or {}).get("fit_loop") or {}
    steps = (loop.get("epoch_loop.state_dict") or {}).get("_batches_that_stepped", global_step)
    batches = (loop.get("epoch_loop.batch_progress") or {}).get("total") or {}
    is_counted = batches.get("completed", 0) >= batches.get("processed", 0)  # not at the end of a batch
    next_step = int(steps) if is_counted else int(steps) + 1
    is_due = bool(checkpoint[CHECKPOINT_KEY].get("is_validation_due"))
    return Position(global_step, next_step, mark.get("evaluated", {}), is_due)


def keep_folder(trainer: Any, checkpoint: dict[str, Any], run_id: str) -> None:  # noqa: ANN401
    """Let each ``ModelCheckpoint`` go on in the folder of the run that is continued.

    Lightning has asked for it before the checkpoint was read; in another folder it would not know its best ones any
    more. This happens in every process, and before a ``ModelCheckpoint`` takes over its state from the checkpoint.
    """
    if not trainer.loggers or not isinstance(trainer.loggers[0], ModelDBLogger):
        return
    for callback in trainer.checkpoint_callbacks:
        state = (checkpoint.get("callbacks") or {}).get(callback.state_key) or {}
        before, now = str(state.get("dirpath") or ""), str(callback.dirpath or "")
        is_ours = len(os.path.basename(os.path.dirname(now))) == len(run_id)  # and not one that the user named
        if is_ours and before.endswith(f"/{run_id}/checkpoints") and now.endswith("/checkpoints"):
            callback.dirpath = os.path.join(os.path.dirname(os.path.dirname(now)), run_id, "checkpoints")


def has_rate_monitor(trainer: Any) -> bool:  # noqa: ANN401
    """Return whether Lightning's own callback logs the learning rates to a logger of ours."""
    if logger_of(trainer) is None:
        return False
    return any(type(each).__name__ == "LearningRateMonitor" for each in trainer.callbacks)
