"""The callback: ``Trainer(callbacks=[ModelDBCallback()])``.

It works beside a ``ModelDBLogger`` of the same trainer, and then both log to one run, or alone: then it gives the trainer
such a logger for the length of each call that logs metrics, so that the list of loggers, and with it the folder of the
checkpoints and what the program's own code finds, stays what it is.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from modeldb_core.tracking import endings
from modeldb_lightning import facts
from modeldb_lightning.datasets import loaders_of
from modeldb_lightning.frameworks import loaded_packages
from modeldb_lightning.logger import logger_of, loggers_of
from modeldb_lightning.measuring import Pace, SystemMetrics, gradient_norm, memory_metrics
from modeldb_lightning.options import GUARD, Options, checked_options
from modeldb_lightning.recording import Recording
from modeldb_lightning.recordings import Recordings
from modeldb_lightning.trainers import (
    batches_stepped,
    has_rate_monitor,
    keep_folder,
    lend_logger,
    position_of,
    watch_to_the_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client

CHECKPOINT_KEY = "modeldb_run"
"""Under this key a checkpoint says which run wrote it."""


class _Hooks:
    """Stands before the ``Callback`` classes of Lightning, which :meth:`ModelDBCallback.adopt` adds as bases."""


class ModelDBCallback(_Hooks):
    """Records what a ``Trainer`` does.

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration. Or a function
            that returns one.
        project: of the run; default: the setting ``project``.
        experiment: of the run; default: the setting ``experiment``.
        name: of the run; default: a readable random one.
        tags: of the run.
        run_id: a run that is to be continued.
        resume: whether ``fit(ckpt_path=...)`` continues the run that wrote the checkpoint.
        log_checkpoints: store the checkpoints that Lightning keeps.
        log_datasets: describe the data sets.
        log_gradient_norms: record the norm of all gradients at each logged step.
        log_system_metrics: record processor time and memory of each process every few seconds.

    Raises:
        InvalidTypeError: an argument is of a wrong type.
        InvalidArgumentError: a name, a tag or ``run_id`` is empty, too long or holds what no store keeps. After that
            nothing raises: what cannot be recorded is noted.
    """

    def __new__(cls, *args: object, **kwargs: object) -> ModelDBCallback:
        """Make one that the imported packages of Lightning take for one of their callbacks."""
        del args, kwargs
        cls.adopt()
        return super().__new__(cls)

    def __init__(
        self,
        client: Client | Callable[[], Client] | None = None,
        project: str | None = None,
        experiment: str | None = None,
        *,
        name: str = "",
        tags: tuple[str, ...] | list[str] = (),
        run_id: str | None = None,
        resume: bool = True,
        log_checkpoints: bool = True,
        log_datasets: bool = True,
        log_gradient_norms: bool = False,
        log_system_metrics: bool = False,
    ) -> None:
        options = checked_options(
            client=client,
            project=project,
            experiment=experiment,
            name=name,
            tags=tags,
            run_id=run_id,
            resume=resume,
            log_checkpoints=log_checkpoints,
            log_datasets=log_datasets,
            log_gradient_norms=log_gradient_norms,
            log_system_metrics=log_system_metrics,
        )
        self._prepare(options, lambda: options)

    @classmethod
    def following(cls, options: Callable[[], Options | None]) -> ModelDBCallback:
        """Return a callback that records while ``options`` gives any, or where the trainer has a logger of ours."""
        callback = cls.__new__(cls)
        callback._prepare(None, options)
        return callback

    def _prepare(self, own: Options | None, options: Callable[[], Options | None]) -> None:
        self._own_options = own
        self._options = options
        self._own_recordings: Recordings | None = None
        self._recording: Recording | None = None
        self._recordings: list[Recording] = []
        """That one, and those of further loggers of the trainer."""
        self._undo: Callable[[], None] | None = None
        self._pace = Pace()
        self._norm: Any = None
        self._rates: list[tuple[str, Any]] = []
        self._system: SystemMetrics | None = None
        self._started: dict[str, float] = {}
        self._has_saved = False

    @classmethod
    def adopt(cls) -> None:
        """Derive this class from the ``Callback`` of those packages of Lightning that are imported.

        There are two, and only when a callback is made it is known which of them the program uses.
        """
        for package in loaded_packages():
            if not issubclass(ModelDBCallback, package.Callback):
                ModelDBCallback.__bases__ = (*ModelDBCallback.__bases__, package.Callback)

    @property
    def run(self) -> Any:  # noqa: ANN401 - a RunHandle
        """The run; ``None`` before it has begun, and in other processes than the first."""
        own = None if self._own_recordings is None else self._own_recordings.current
        recording = self._recording or own
        return None if recording is None else recording.run

    # -- the course of a training -------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ANN401
        """Lightning begins a ``fit``, ``validate``, ``test`` or ``predict``, in every process."""
        with GUARD.step("follow the trainer"):
            self._let_go()
            found = self._find_recordings(trainer)
            self._recordings = [each.turn_to(trainer, pl_module, stage) for each in found]
            self._recording = recording = next(iter(self._recordings), None)
            if recording is None:
                return
            for each in self._recordings:
                each.is_first_process = bool(trainer.is_global_zero)
                each.hold()
            endings.leave_sigterm()
            if recording.logs and logger_of(trainer) is None:
                self._undo = lend_logger(trainer, self, recording)

    def _find_recordings(self, trainer: Any) -> list[Recordings]:  # noqa: ANN401
        """Return what to record to, the first one everything: none where another callback of ours does, or nobody asked."""
        if trainer.fast_dev_run:  # a rehearsal: Lightning silences its loggers too
            return []
        first = next((each for each in trainer.callbacks if isinstance(each, ModelDBCallback)), self)
        if first is not self:
            return []
        loggers = loggers_of(trainer)
        for logger in loggers:
            logger.default_root_dir = str(trainer.default_root_dir)
        if loggers:
            return [logger.recordings for logger in loggers]
        options = self._options()
        if options is None:
            return []
        if self._own_recordings is None or self._own_recordings.options is not options:
            self._own_recordings = Recordings(Recording(options))
        return [self._own_recordings]

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The model is where it will be trained; a checkpoint, if any, is mostly loaded."""
        self._describe(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ANN401
        """A checkpoint was loaded: go on with the run that wrote it."""
        del pl_module
        recording, found = self._recording, checkpoint.get(CHECKPOINT_KEY)
        if recording is None or not isinstance(found, dict):
            return
        with GUARD.step("continue the run of the checkpoint"):
            run_id = str(found["run_id"])
            recording.continue_run(run_id, str(found.get("store_url", "")), position_of(checkpoint))
            if recording.options.resume:
                keep_folder(trainer, checkpoint, run_id)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ANN401
        """A checkpoint is about to be written: let it say which run wrote it."""
        del trainer, pl_module
        recording = self._recording
        if recording is None or not recording.logs:
            return
        with GUARD.step("write the run into the checkpoint"):
            self._has_saved = True
            recording.checkpoints.position = {key: checkpoint[key] for key in ("epoch", "global_step")}
            mark = recording.mark()
            if mark is not None:
                checkpoint[CHECKPOINT_KEY] = mark

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """All is loaded."""
        del trainer, pl_module
        self._begin()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The training begins."""
        del pl_module
        self._begin()
        recording = self._recording
        if recording is None:
            return
        self._start_system_metrics(trainer, recording)
        if not recording.logs:
            return
        with GUARD.step("record the settings of the training"):
            recording.set_attributes({**facts.trainer_facts(trainer), **facts.optimizer_facts(trainer)})
        with GUARD.step("find the learning rates"):
            self._rates = [] if has_rate_monitor(trainer) else facts.learning_rate_names(trainer)
        with GUARD.step("measure the pace"):
            self._pace.start(trainer, batches_stepped(trainer))
        self._log_datasets("train", trainer.train_dataloader)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """An epoch begins."""
        del pl_module
        self._started["epoch"] = perf_counter()
        self._pace.go_on()
        if self._has_saved:
            self._see_checkpoints(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """A batch begins: what was saved after the one before is written now."""
        del pl_module, batch, batch_idx
        if self._has_saved:
            self._see_checkpoints(trainer)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401
        """The gradients are complete."""
        del optimizer
        recording = self._recording
        if recording is not None and self._is_asked_for("log_gradient_norms") and self._is_logged(trainer):
            with GUARD.step("measure the gradients"):
                self._norm = gradient_norm(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """A batch is done."""
        del pl_module, outputs, batch, batch_idx
        recording = self._recording
        if recording is None or recording.run is None or not self._is_logged(trainer):
            return
        try:
            step = batches_stepped(trainer)
            metrics = {name: float(group["lr"]) for name, group in self._rates}
            self._pace.add(metrics, step)
            if self._norm is not None:
                metrics["gradient_norm"] = float(self._norm)
                self._norm = None
        except Exception:
            with GUARD.step("measure a step"):
                raise
        else:
            if metrics:
                recording.log_metrics(metrics, step)

    def _is_logged(self, trainer: Any) -> bool:  # noqa: ANN401
        every = trainer.log_every_n_steps
        return bool(every) and (batches_stepped(trainer) + 1) % every == 0

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """An epoch is done."""
        del pl_module
        recording = self._recording
        if recording is None or not recording.logs:
            return
        self._pace.pause()
        with GUARD.step("measure an epoch"):
            metrics = memory_metrics(trainer.strategy.root_device)
            if "epoch" in self._started:
                metrics["epoch_seconds"] = perf_counter() - self._started.pop("epoch")
            recording.log_metrics(metrics, batches_stepped(trainer) - 1)  # as Lightning does at the end of an epoch

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A validation begins, of its own or within a training."""
        if trainer.sanity_checking:
            return
        if self._recording is not None and not self._recording.is_training:
            self._describe(trainer, pl_module)
        self._begin()
        self._pace.pause()
        self._started["validation"] = perf_counter()
        self._log_datasets("validation", trainer.val_dataloaders)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A validation is done."""
        del pl_module
        if not trainer.sanity_checking:
            self._log_seconds(trainer, "validation")
            self._pace.go_on()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A test begins."""
        self._describe(trainer, pl_module)
        self._begin()
        self._started["test"] = perf_counter()
        self._log_datasets("test", trainer.test_dataloaders)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A test is done."""
        del pl_module
        self._log_seconds(trainer, "test")

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A prediction begins."""
        self._describe(trainer, pl_module)
        self._begin()
        self._started["predict"] = perf_counter()
        self._log_datasets("predict", trainer.predict_dataloaders)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A prediction is done."""
        del pl_module
        self._log_seconds(trainer, "predict")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ANN401
        """Something was raised, also KeyboardInterrupt."""
        del pl_module
        is_alone = self._undo is not None
        self._end(trainer, exception)
        if is_alone:
            with GUARD.step("look for a last checkpoint"):
                watch_to_the_end(trainer, self._recording)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ANN401
        """Lightning is done with a ``fit``, ``validate``, ``test`` or ``predict``."""
        del pl_module, stage
        self._end(trainer, None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _all_options(self) -> list[Options]:
        """Return what this callback, and the logger beside it, were asked for."""
        shared = None if self._recording is None else self._recording.options
        return [options for options in (self._own_options, shared) if options is not None]

    def _is_asked_for(self, option: str) -> bool:
        return any(getattr(options, option) for options in self._all_options())

    def _describe(self, trainer: Any, module: Any) -> None:  # noqa: ANN401
        """Record the model and its hyperparameters, which Lightning gives to loggers only."""
        recording = self._recording
        if recording is None or not recording.logs or logger_of(trainer) is not None:
            return
        with GUARD.step("record the hyperparameters"):
            for holder in (module, trainer.datamodule):
                if getattr(holder, "_log_hyperparams", False):
                    given = {key: item for key, item in holder.hparams_initial.items() if key != "_class_path"}
                    recording.log_hyperparameters(given)
        recording.describe_model(module)

    def _begin(self) -> None:
        for recording in self._recordings:
            recording.begin()

    def _end(self, trainer: Any, error: BaseException | None) -> None:  # noqa: ANN401
        recording = self._recording
        if recording is None:
            return
        with GUARD.step("end the run"):
            self._let_go()
            if recording.logs:
                self._see_checkpoints(trainer)
                recording.finish(error)
            endings.take_sigterm()

    def _let_go(self) -> None:
        """Give back what was taken at the setup."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()
        system, self._system = self._system, None
        if system is not None:
            system.stop()

    def _see_checkpoints(self, trainer: Any) -> None:  # noqa: ANN401
        """Look at what was saved; a logger that is the trainer's own is told of it by Lightning."""
        self._has_saved = False
        recording = self._recording
        if recording is not None and recording.run is not None and logger_of(trainer) is None:
            for callback in trainer.checkpoint_callbacks:
                recording.checkpoints.saved(callback)

    def _log_datasets(self, name: str, loaders: Any) -> None:  # noqa: ANN401
        recording = self._recording
        if recording is None or not all(options.log_datasets for options in self._all_options()):
            return
        with GUARD.step("find the data sets"):
            found = loaders_of(loaders)
            for number, loader in enumerate(found):
                recording.describe_dataset(f"{name}/{number}" if len(found) > 1 else name, loader)

    def _log_seconds(self, trainer: Any, what: str) -> None:  # noqa: ANN401
        recording, started = self._recording, self._started.pop(what, None)
        if recording is not None and recording.run is not None and started is not None:
            recording.log_metrics({f"{what}_seconds": perf_counter() - started}, batches_stepped(trainer))

    def _start_system_metrics(self, trainer: Any, recording: Recording) -> None:  # noqa: ANN401
        """Let every process record its own; all of them come here, so that none waits for another for nothing."""
        if not self._is_asked_for("log_system_metrics"):
            return
        handle = None
        with GUARD.step("tell the other processes which run it is"):
            handle = recording.describe_run()
        if trainer.world_size > 1:
            handle = trainer.strategy.broadcast(handle)
        with GUARD.step("watch the system"):
            run = recording.run if recording.logs else None
            self._system = SystemMetrics(run, handle, int(trainer.global_rank), trainer.strategy.root_device)

    def __getstate__(self) -> dict[str, Any]:
        """For the processes that Lightning starts with ``ddp_spawn``, and for copies of a trainer."""
        options = self._own_options or self._options()
        recording = None if self._own_recordings is None else self._own_recordings.current
        return {"options": options, "is_own": self._own_options is not None, "recording": recording}

    def __setstate__(self, state: dict[str, Any]) -> None:
        options = state["options"]
        self._prepare(options if state["is_own"] else None, lambda: options)
        if state["recording"] is not None:
            self._own_recordings = Recordings(state["recording"])
            self._own_recordings.options = options
