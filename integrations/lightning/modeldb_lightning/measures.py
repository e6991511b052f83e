"""What is measured of the course of a training: rates, pace, gradients, times, memory."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import OWN_PREFIX
from modeldb_lightning.measuring import Pace, Rates, gradient_norm, memory_metrics
from modeldb_lightning.options import GUARD
from modeldb_lightning.trainers import batches_stepped, has_stepped

if TYPE_CHECKING:
    from modeldb_lightning.recording import Recording


class Measures:
    """What a callback measures. No method raises."""

    def __init__(self) -> None:
        self.pace = Pace()
        self._rates = Rates()
        self._norm: Any = None
        self._started: dict[str, float] = {}

    def start(self, trainer: Any) -> None:  # noqa: ANN401
        """A training begins."""
        self._rates = Rates()
        with GUARD.step("measure the pace"):
            self.pace.start(trainer, batches_stepped(trainer))

    def begin(self, what: str) -> None:
        """An epoch, a validation, a test or a prediction begins."""
        self._started[what] = perf_counter()

    def end(self, recording: Recording | None, trainer: Any, what: str) -> None:  # noqa: ANN401
        """It is done."""
        started = self._started.pop(what, None)
        if recording is not None and recording.run is not None and started is not None:
            recording.log_metrics({f"{OWN_PREFIX}{what}_seconds": perf_counter() - started}, batches_stepped(trainer))

    def end_epoch(self, recording: Recording, trainer: Any) -> None:  # noqa: ANN401
        """An epoch of the training is done."""
        self.pace.pause()
        with GUARD.step("measure an epoch"):
            metrics = memory_metrics(trainer.strategy.root_device)
            if "epoch" in self._started:
                metrics[f"{OWN_PREFIX}epoch_seconds"] = perf_counter() - self._started.pop("epoch")
            recording.log_metrics(metrics, batches_stepped(trainer) - 1)  # as Lightning does at the end of an epoch

    def look_at_rates(self, trainer: Any, optimizer: Any = None) -> None:  # noqa: ANN401
        """A batch begins, or ``optimizer`` is about to take a step."""
        if _is_logged(trainer):
            with GUARD.step("look at the learning rates"):
                self._rates.look(trainer, optimizer)

    def look_at_gradients(self, trainer: Any, module: Any) -> None:  # noqa: ANN401
        """The gradients are complete."""
        if _is_logged(trainer):
            with GUARD.step("measure the gradients"):
                self._norm = gradient_norm(module)

    def end_batch(self, recording: Recording, trainer: Any, module: Any) -> None:  # noqa: ANN401
        """A batch is done."""
        if not _is_logged(trainer):
            return
        try:
            if not has_stepped(trainer, module):
                return
            step = batches_stepped(trainer)
            metrics: dict[str, float] = {}
            self._rates.add(metrics)
            self.pace.add(metrics, step)
            if self._norm is not None:
                metrics[f"{OWN_PREFIX}gradient_norm"] = float(self._norm)
                self._norm = None
        except Exception:
            with GUARD.step("measure a step"):
                raise
        else:
            if metrics:
                recording.log_metrics(metrics, step)


def _is_logged(trainer: Any) -> bool:  # noqa: ANN401
    every = trainer.log_every_n_steps
    return bool(every) and (batches_stepped(trainer) + 1) % every == 0
