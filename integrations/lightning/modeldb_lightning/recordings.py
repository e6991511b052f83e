"""One logger or callback may serve several trainings, one after another or in turn: each has a run of its own."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

from modeldb_lightning.recording import Recording


class Recordings:
    """The recordings of one logger or callback: one for each training.

    A training is what one trainer does with one model. Another trainer or another model that is fitted is another
    training, as in a loop over folds; what evaluates goes to the training whose trainer or model it has.

    Args:
        current: where what is logged goes until a trainer begins.
    """

    def __init__(self, current: Recording) -> None:
        self.current = current
        self.options = current.options
        self._by_trainer: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()
        self._by_model: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()

    def turn_to(self, trainer: Any, model: Any, stage: str) -> Recording:  # noqa: ANN401
        """A trainer begins something: return its recording, which is the current one from now on."""
        found = self._for_fit(trainer, model) if stage == "fit" else self._for_evaluation(trainer, model)
        if stage == "fit":
            self._by_trainer[trainer] = found
        self._by_model[model] = self.current = found
        found.is_training = stage == "fit"
        return found

    def _for_fit(self, trainer: Any, model: Any) -> Recording:  # noqa: ANN401
        known = self._by_model.get(model)
        if known is not None and (not known.has_trained or known is self._by_trainer.get(trainer)):
            return known
        return self._next() if self.current.has_worked else self.current

    def _for_evaluation(self, trainer: Any, model: Any) -> Recording:  # noqa: ANN401
        known = self._by_model.get(model) or self._by_trainer.get(trainer)
        if known is not None:
            return known
        # A model of its own may be the one that was trained, loaded from a checkpoint; else it is another one.
        return self._next() if self.current.has_worked and not self.current.has_trained else self.current

    def _next(self) -> Recording:
        return Recording(replace(self.options, run_id=None), previous=self.current)
