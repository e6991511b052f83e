"""The callback: ``Trainer(callbacks=[ModelDBCallback()])``.

It works beside a ``ModelDBLogger`` of the same trainer, and then both log to one run, or alone: then it gives the trainer
such a logger for the length of each call that logs metrics, so that the list of loggers, and with it the folder of the
checkpoints and what the program's own code finds, stays what it is.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import leave_sigterm, take_sigterm
from modeldb_lightning import facts
from modeldb_lightning.describing import describe, describe_changes, describe_datasets
from modeldb_lightning.frameworks import callback_classes, with_callbacks, written
from modeldb_lightning.logger import loggers_of
from modeldb_lightning.measuring import watch_system
from modeldb_lightning.options import GUARD, Options, checked_options
from modeldb_lightning.recording import Recording
from modeldb_lightning.recordings import Recordings
from modeldb_lightning.trainers import (
    CHECKPOINT_KEY,
    count_skipped,
    is_validation_due,
    keep_folder,
    position_of,
    watch_to_the_end,
)
from modeldb_lightning.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client

_lock = threading.Lock()


class ModelDBCallback(*callback_classes()):  # type: ignore[misc]  # which ones, the program's imports decide
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
        """Make one that is a callback of a package of Lightning, too, that was imported after this module."""
        del args, kwargs
        return super().__new__(cls.for_lightning())  # type: ignore[no-any-return]

    @classmethod
    def for_lightning(cls) -> type:
        """Return this class, or one derived from it, that derives from the ``Callback`` of each imported package."""
        return with_callbacks(cls)

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
        self._works: weakref.WeakKeyDictionary[Any, Work] = weakref.WeakKeyDictionary()
        self._idle = self._latest = Work()

    @property
    def run(self) -> Any:  # noqa: ANN401 - a RunHandle
        """The run; ``None`` before it has begun, and in other processes than the first."""
        own = self._own_recordings
        recording = self._latest.recording if own is None else own.current
        return recording.run if recording else None

    # -- the course of a training -------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ANN401
        """Lightning begins a ``fit``, ``validate``, ``test`` or ``predict``, in every process."""
        with GUARD.step("follow the trainer"):
            self._of(trainer).let_go()
            self._works[trainer] = work = Work(self._find_recordings(trainer))
            if work.followed:
                self._latest = work
                work.record_to([each.turn_to(trainer, pl_module, stage) for each in work.followed], trainer, self)
                leave_sigterm()

    def _of(self, trainer: Any) -> Work:  # noqa: ANN401
        return self._works.get(trainer, self._idle)

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
        with _lock:  # trainers in several threads may have this callback
            if self._own_recordings is None or self._own_recordings.options is not options:
                self._own_recordings = Recordings(Recording(options))
            return [self._own_recordings]

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The model is where it will be trained; a checkpoint, if any, is mostly loaded."""
        describe(self._of(trainer).recording, trainer, pl_module)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ANN401
        """A checkpoint was loaded: go on with the run that wrote it."""
        work, found = self._of(trainer), checkpoint.get(CHECKPOINT_KEY)
        if work.recording is None or not isinstance(found, dict):
            return
        with GUARD.step("continue the run of the checkpoint"):
            marks = [found, *found.get("others", ())]
            turned = [
                each.continue_run(trainer, pl_module, mark, position_of(checkpoint, mark))
                for each, mark in zip(work.followed, marks, strict=False)
            ]
            work.record_to([*turned, *work.recordings[len(turned) :]], trainer, self)
            if work.recording.options.resume:
                keep_folder(trainer, checkpoint, str(found["run_id"]))

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ANN401
        """A checkpoint is about to be written: let it say which run wrote it."""
        del pl_module
        work = self._of(trainer)
        if work.recording is None or not work.recording.logs:
            return
        with GUARD.step("write the run into the checkpoint"):
            work.has_saved = True
            work.recording.checkpoints.position = {key: checkpoint[key] for key in ("epoch", "global_step")}
            marks = [recording.mark() for recording in work.recordings]
            if marks[0] is not None:
                others = {"others": marks[1:]} if marks[1:] else {}
                checkpoint[CHECKPOINT_KEY] = {**marks[0], **others, "is_validation_due": is_validation_due(trainer)}
        with GUARD.step("look at the weights of the model"):
            for followed, recording in zip(work.followed, work.recordings, strict=True):
                followed.remember(checkpoint.get("state_dict") or {}, recording)

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """All is loaded."""
        del pl_module
        work = self._of(trainer)
        work.begin()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The training begins."""
        work = self._of(trainer)
        work.begin()
        recording = work.recording
        if recording is None:
            return
        if self._is_asked_for(work, "log_system_metrics"):
            work.system = watch_system(trainer, recording)
        if not recording.logs:
            return
        with GUARD.step("record the settings of the training"):
            recording.set_attributes({**facts.trainer_facts(trainer), **facts.optimizer_facts(trainer)})
        describe_changes(recording, trainer, pl_module)
        work.measures.start(trainer)
        self._log_datasets(work, "train", trainer.train_dataloader)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """An epoch begins."""
        del pl_module
        work = self._of(trainer)
        work.measures.begin("epoch")
        work.measures.pace.go_on()
        if work.has_saved:
            self._see_checkpoints(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """A batch begins: what was saved after the one before is written now."""
        del pl_module, batch, batch_idx
        work = self._of(trainer)
        if work.has_saved:
            self._see_checkpoints(trainer)
        if work.recording is not None and work.recording.logs:
            work.measures.look_at_rates(trainer)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401
        """The gradients are complete."""
        work = self._of(trainer)
        recording = work.recording
        if recording is None or not recording.logs:
            return
        work.measures.look_at_rates(trainer, optimizer)
        if self._is_asked_for(work, "log_gradient_norms"):
            work.measures.look_at_gradients(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """A batch is done."""
        del outputs, batch, batch_idx
        work = self._of(trainer)
        recording = work.recording
        if recording is not None and recording.run is not None:
            work.measures.end_batch(recording, trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """An epoch is done."""
        del pl_module
        work = self._of(trainer)
        recording = work.recording
        if recording is not None and recording.logs:
            work.measures.end_epoch(recording, trainer)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A validation begins, of its own or within a training."""
        work = self._of(trainer)
        if trainer.sanity_checking:
            return
        if not work.is_training:
            describe(work.recording, trainer, pl_module)
        work.begin()
        count_skipped(trainer, work.recordings)
        work.measures.pace.pause()
        work.measures.begin("validation")

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The first batch is next: what a batch-size finder changes is changed."""
        if not trainer.sanity_checking:
            self._describe_evaluation(trainer, pl_module, "validation", trainer.val_dataloaders)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A validation is done."""
        del pl_module
        work = self._of(trainer)
        if not trainer.sanity_checking:
            work.measures.end(work.recording, trainer, "validation")
            work.measures.pace.go_on()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A test begins."""
        work = self._of(trainer)
        describe(work.recording, trainer, pl_module)
        work.begin()
        work.measures.begin("test")

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The first batch is next."""
        self._describe_evaluation(trainer, pl_module, "test", trainer.test_dataloaders)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A test is done."""
        del pl_module
        work = self._of(trainer)
        work.measures.end(work.recording, trainer, "test")

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A prediction begins."""
        work = self._of(trainer)
        describe(work.recording, trainer, pl_module)
        work.begin()
        work.measures.begin("predict")

    def on_predict_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """The first batch is next."""
        self._describe_evaluation(trainer, pl_module, "predict", trainer.predict_dataloaders)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401
        """A prediction is done."""
        del pl_module
        work = self._of(trainer)
        work.measures.end(work.recording, trainer, "predict")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ANN401
        """Something was raised, also KeyboardInterrupt."""
        del pl_module
        work = self._of(trainer)
        self._end(trainer, exception)
        if work.is_alone:
            with GUARD.step("look for a last checkpoint"):
                watch_to_the_end(trainer, work.recording)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ANN401
        """Lightning is done with a ``fit``, ``validate``, ``test`` or ``predict``."""
        del pl_module, stage
        self._end(trainer, None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _all_options(self, work: Work) -> list[Options]:
        """Return what this callback, and the logger beside it, were asked for."""
        shared = None if work.recording is None else work.recording.options
        return [options for options in (self._own_options, shared) if options is not None]

    def _is_asked_for(self, work: Work, option: str) -> bool:
        return any(getattr(options, option) for options in self._all_options(work))

    def _describe_evaluation(self, trainer: Any, module: Any, name: str, loaders: Any) -> None:  # noqa: ANN401
        work = self._of(trainer)
        if not work.is_training:
            describe_changes(work.recording, trainer, module)
        self._log_datasets(work, name, loaders)

    def _end(self, trainer: Any, error: BaseException | None) -> None:  # noqa: ANN401
        work = self._of(trainer)
        if work.recording is None:
            return
        with GUARD.step("end the run"):
            work.let_go()
            if work.recording.logs:
                self._see_checkpoints(trainer)
            work.recording.finish(error)
            if work.is_alone:
                work.followed[0].turn_back()
            take_sigterm()

    def _see_checkpoints(self, trainer: Any) -> None:  # noqa: ANN401
        """Look at what was saved; a logger that is the trainer's own is told of it by Lightning."""
        work = self._of(trainer)
        work.has_saved = False
        if work.recording is not None and work.recording.run is not None and work.is_alone:
            for callback in trainer.checkpoint_callbacks:
                if getattr(callback, "_last_checkpoint_saved", True):  # else it has forgotten what it kept
                    work.recording.checkpoints.saved(callback)

    def _log_datasets(self, work: Work, name: str, loaders: Any) -> None:  # noqa: ANN401
        if work.recording is not None and all(options.log_datasets for options in self._all_options(work)):
            describe_datasets(work.recording, name, loaders)

    def __reduce__(self) -> tuple[object, ...]:
        """Name the class that stands in a module, which in the other process fits what is imported there."""
        cls = written(type(self))
        return cls.__new__, (cls,), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """For the processes that Lightning starts with ``ddp_spawn``, and for copies of a trainer."""
        options = self._own_options or self._options()
        recording = self._own_recordings and self._own_recordings.current
        return {"options": options, "is_own": self._own_options is not None, "recording": recording}

    def __setstate__(self, state: dict[str, Any]) -> None:
        options = state["options"]
        self._prepare(options if state["is_own"] else None, lambda: options)
        if state["recording"] is not None:
            self._own_recordings = Recordings(state["recording"])
            self._own_recordings.options = options
