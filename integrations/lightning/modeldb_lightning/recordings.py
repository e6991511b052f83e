"""One logger or callback may serve several trainings, one after another or at once: each has a run of its own."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_lightning.options import GUARD
from modeldb_lightning.recording import Recording
from modeldb_lightning.weights import signature_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_lightning.resuming import Position

_MAX_SIGNATURES = 10_000
"""Of so many checkpoints it is remembered which training wrote them."""


class Recordings:
    """The recordings of one logger or callback: one for each training.

    A training is what one trainer does with one model. Another trainer or another model that is fitted is another
    training, as in a loop over folds; what evaluates goes to the training that wrote the checkpoint, or whose model it is.
    While a trainer is at work with a recording no other trainer gets it, in whatever thread.

    Args:
        first: where what is logged goes until a trainer begins.
    """

    def __init__(self, first: Recording) -> None:
        self.options = first.options
        self._all = [first]
        self._latest = first
        self._here = threading.local()
        self._lock = threading.RLock()
        self._by_trainer: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()
        self._by_model: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()
        self._run_by_weights: dict[bytes, str | None] = {}
        """``None`` where several trainings wrote the same."""

    @property
    def current(self) -> Recording:
        """That of the trainer that began last: in this thread, or where none did, in any."""
        return getattr(self._here, "current", self._latest)

    def turn_to(self, trainer: Any, model: Any, stage: str) -> Recording:  # noqa: ANN401
        """A trainer begins something: return its recording, which is the current one from now on."""
        is_training = stage == "fit"
        with self._lock:
            found = self._for_fit(trainer, model) if is_training else self._for_evaluation(trainer, model)
            if is_training:
                self._by_trainer[trainer] = found
            found.hold(trainer, is_training=is_training)
            self._follow(model, found)
        return found

    def turn_back(self) -> None:
        """The trainer is done: one that is at work around it, in this thread, goes on."""
        around, self.current.around = self.current.around, None
        if around is not None:
            self._here.current = self._latest = around

    def continue_run(self, trainer: Any, model: Any, mark: Mapping[str, Any], at: Position) -> Recording:  # noqa: ANN401
        """The trainer has loaded a checkpoint: return the recording of the run that wrote it, which is the current one."""
        run_id, now = str(mark["run_id"]), self.current
        with self._lock:
            found = now if now.is_training or now.run_id == run_id else self._for_checkpoint(run_id, trainer)
            if found is not now:
                now.hand_over(found, trainer)
                self._follow(model, found)
        found.continue_run(run_id, str(mark.get("store_url", "")), at)
        return found

    def remember(self, state: Mapping[str, Any], recording: Recording) -> None:
        """The weights of a model are saved in a training: a model that has them later is known by them."""
        signature, run_id = signature_of(state), recording.run_id
        with self._lock:
            if signature is not None and run_id is not None:
                is_known = self._run_by_weights.setdefault(signature, run_id) == run_id
                if not is_known:
                    self._run_by_weights[signature] = None
                if len(self._run_by_weights) > _MAX_SIGNATURES:
                    del self._run_by_weights[next(iter(self._run_by_weights))]

    # -- which one ----------------------------------------------------------------------------------------------------

    def _follow(self, model: Any, found: Recording) -> None:  # noqa: ANN401
        before = getattr(self._here, "current", None)
        if before is not None and before is not found:
            found.around, before.around = (before, before.around) if before.is_taken() else (before.around, None)
        if not found.is_beside:
            self._by_model[model] = found
        self._here.current = self._latest = found

    def _for_fit(self, trainer: Any, model: Any) -> Recording:  # noqa: ANN401
        known = self._by_model.get(model)
        if known is None or known.is_taken(trainer):
            return self._unused(trainer, is_training=True)
        goes_on = known is self._by_trainer.get(trainer) or not (known.has_trained or known.is_older)
        return known if goes_on else self._unused(trainer, is_training=True)

    def _for_evaluation(self, trainer: Any, model: Any) -> Recording:  # noqa: ANN401
        known = self._by_model.get(model) or self._by_weights(model) or self._by_trainer.get(trainer)
        around = getattr(self._here, "current", None)
        if known is None and around is not None and around.is_taken(trainer):
            known = around
        if known is None:
            # A model of its own may be the one that was trained, for example averaged; of several it may be any, or all.
            trained = [each for each in self._all if each.has_trained]
            known = trained[0] if len(trained) == 1 and not trained[0].is_taken(trainer) else None
        return self._unused(trainer, is_training=False) if known is None else self._free(known, trainer)

    def _for_checkpoint(self, run_id: str, trainer: Any) -> Recording:  # noqa: ANN401
        known, now = self._of_run(run_id), self.current
        if known is not None:
            return self._free(known, trainer)
        return now if now.may_continue else self._unused(trainer, is_training=False)

    def _by_weights(self, model: Any) -> Recording | None:  # noqa: ANN401
        signature = None
        if self._run_by_weights:
            with GUARD.step("look at the weights of the model"):
                signature = signature_of(model.state_dict())
        run_id = None if signature is None else self._run_by_weights.get(signature)
        return None if run_id is None else self._of_run(run_id)

    def _of_run(self, run_id: str) -> Recording | None:
        return next((each for each in reversed(self._all) if each.run_id == run_id), None)

    def _free(self, known: Recording, trainer: Any) -> Recording:  # noqa: ANN401
        """Return a recording of the same run that no other trainer is at work with."""
        if not known.is_taken(trainer):
            return known
        return known.beside() if known.run is not None else self._unused(trainer, is_training=False)

    def _unused(self, trainer: Any, *, is_training: bool) -> Recording:  # noqa: ANN401
        """Return a recording whose run has not begun, unless it was named or begun by hand."""
        now = self.current
        if not now.has_worked and not now.is_taken(trainer):
            return now
        previous = now if is_training and not now.is_taken() else None
        made = Recording(replace(self.options, run_id=None), previous=previous)
        self._all.append(made)
        return made
