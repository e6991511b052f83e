"""What the store has of a run that is to be continued."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import OWN_PREFIX
from modeldb_core.errors import NotFoundError
from modeldb_core.model.entities import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.tracking import Session

logger = logging.getLogger("modeldb")

WAIT_S = 0.9
"""So long the training waits, once, for the store to say what a run holds that is to be continued."""


_UNKNOWN = (
    "The store did not answer when the run was continued: steps that were trained again may stand twice, and checkpoints "
    "that were stored before stay when Lightning removes them."
)
RETRAINED = "retrained/"
"""Before the names of metrics at steps that the run has already: those of a training that went back. What is trained again
another time stands under ``retrained-2/``, and so on."""

_RETRAINED = re.compile(r"(?:modeldb/)?(retrained(?:-\d+)?/)")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a training goes on.

    Attributes:
        global_step: how many steps of the optimizer the checkpoint has seen.
        next_step: under which step, at most, Lightning goes on to log.
        evaluated: how many batches were evaluated until then, by stage and loader: the steps of what is logged in
            ``validation_step``.
        is_validation_due: whether there was a validation after the batch at whose end it was saved: it is not made again.
    """

    global_step: int
    next_step: int
    evaluated: Mapping[str, int] = field(default_factory=dict)
    is_validation_due: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a run that is continued.

    Attributes:
        is_elsewhere: the store does not have it: the checkpoint comes from another store.
        status: as the store has it.
        failure: of a failed run, what went wrong.
        last_steps: by series, the last step that was logged. Each has a past of its own: steps of training, of evaluation
            and of what the program counts itself have nothing to do with each other.
        prefix: for the names of what is trained again.
        artifacts: of the run, by path.
        hyperparameters: of the run.
        note: what a reader of the run should know.
    """

    is_elsewhere: bool = False
    status: str = ""
    failure: Mapping[str, str] = field(default_factory=dict)
    last_steps: Mapping[str, int] = field(default_factory=dict)
    prefix: str = RETRAINED
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def before(self, position: Position) -> Past:
        """Return this with a note where the training goes back behind what was logged."""
        last_step = self.last_steps.get("epoch", -1)  # Lightning logs it with every step of training, and with no other
        if last_step < position.next_step:
            return self
        note = (
            f"The training went back to step {position.next_step}. What was logged up to step {last_step} stays; what is "
            f"trained again stands under {self.prefix}…"
        )
        return replace(self, note=note)

    def renamed(self, metrics: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """Return metrics, those under another name that have this step or a later one already."""
        last = self.last_steps
        return {self._retrained(key) if step <= last.get(key, -1) else key: value for key, value in metrics.items()}

    def free_step(self, metrics: Mapping[str, Any], step: int) -> int:
        """Return ``step``, or the first one after all that these series have."""
        return max([step, *(self.last_steps.get(key, -1) + 1 for key in metrics if key != "epoch")])

    def _retrained(self, key: str) -> str:
        if key.startswith(OWN_PREFIX):
            return f"{OWN_PREFIX}{self.prefix}{key.removeprefix(OWN_PREFIX)}"
        return self.prefix + key


def past_of(client: Session, run_id: str, store_url: str) -> Past:
    """Ask the store about a run, after what dead processes left in their journals has arrived there.

    A store that does not answer in time is not waited for: then the run is continued without knowing what it holds.
    """
    answers: list[Past] = []
    is_same_store = store_url == client.writer.store_url

    def ask() -> None:
        try:
            client.writer.flush(WAIT_S, files=False)  # checkpoints on their way are not waited for
            client.writer.recover(WAIT_S)
            answers.append(_past(client.store.get("run", run_id)))
        except NotFoundError:
            # In the same store it may still lie in a journal; in another one it is not known at all.
            answers.append(Past(is_elsewhere=not is_same_store))
        except Exception as error:
            logger.debug("what run %s holds is not known: %s", run_id, error)

    thread = threading.Thread(target=ask, name="modeldb-past", daemon=True)
    thread.start()
    thread.join(WAIT_S)
    if answers:
        return answers[0]
    return Past(note=_UNKNOWN)


def _past(run: Any) -> Past:  # noqa: ANN401 - an Entity
    assert isinstance(run, Run)
    before = {found[1] for key in run.series if (found := _RETRAINED.match(key))}
    steps = {key: summary.last_step for key, summary in run.series.items()}
    prefix = f"retrained-{len(before) + 1}/" if before else RETRAINED
    return Past(
        status=run.status,
        failure=run.failure,
        last_steps=steps,
        prefix=prefix,
        artifacts=dict(run.artifacts),
        hyperparameters=dict(run.hyperparameters),
    )
