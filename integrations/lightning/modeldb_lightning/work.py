"""What a callback does for one trainer: several may be at work at once, in threads or one within another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_lightning.logger import logger_of
from modeldb_lightning.measures import Measures
from modeldb_lightning.trainers import count_evaluations, lend_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_lightning.measuring import SystemMetrics
    from modeldb_lightning.recording import Recording
    from modeldb_lightning.recordings import Recordings


class Work:
    """What a callback does for one trainer; nothing where it was not asked.

    Args:
        followed: whose recordings it records to, the first one everything.
    """

    def __init__(self, followed: Sequence[Recordings] = ()) -> None:
        self.followed = followed
        self.recordings: list[Recording] = []
        self.recording: Recording | None = None
        """The first of them."""
        self.measures = Measures()
        self.system: SystemMetrics | None = None
        self.has_saved = self.is_alone = False
        self._undo: list[Callable[[], None]] = []

    @property
    def is_training(self) -> bool:
        """Whether the trainer fits."""
        return self.recording is not None and self.recording.is_training

    def record_to(self, recordings: list[Recording], trainer: Any, callback: object) -> None:  # noqa: ANN401
        """Let what the trainer logs go there."""
        self._give_back()
        self.recordings, self.recording = recordings, recordings[0]
        self.is_alone = logger_of(trainer) is None
        if self.recording.logs:
            if self.is_alone:
                self._undo.append(lend_logger(trainer, callback, self.recording))
            self._undo.append(count_evaluations(trainer, callback, recordings))

    def begin(self) -> None:
        """The trainer begins its work: record what was kept back."""
        for recording in self.recordings:
            recording.begin()

    def let_go(self) -> None:
        """Give back what was taken."""
        self._give_back()
        system, self.system = self.system, None
        if system is not None:
            system.stop()

    def _give_back(self) -> None:
        while self._undo:
            self._undo.pop()()
