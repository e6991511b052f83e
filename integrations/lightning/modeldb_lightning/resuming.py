"""What the store has of a run that is to be continued."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.entities import Run
from modeldb_core.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.tracking import Client

logger = logging.getLogger("modeldb")

WAIT_S = 0.9
"""So long the training waits, once, for the store to say what a run holds that is to be continued."""


_UNKNOWN = (
    "The store did not answer when the run was continued: steps that were trained again may stand twice, and checkpoints "
    "that were stored before stay when Lightning removes them."
)
RETRAINED = "retrained/"
"""Before the names of metrics at steps that the run has already: those of a training that went back."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a training goes on.

    Attributes:
        global_step: how many steps of the optimizer the checkpoint has seen.
        next_step: under which step, at most, Lightning goes on to log.
    """

    global_step: int
    next_step: int


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a run that is continued.

    Attributes:
        is_elsewhere: the store does not have it: the checkpoint comes from another store.
        last_steps: by series, the last step that was logged.
        artifacts: of the run, by path.
        note: what a reader of the run should know.
    """

    is_elsewhere: bool = False
    last_steps: Mapping[str, int] = field(default_factory=dict)
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def last_step(self) -> int:
        """The last step of all series."""
        return max(self.last_steps.values(), default=-1)

    def before(self, position: Position) -> Past:
        """Return this with a note where the training goes back behind what was logged."""
        if self.last_step <= position.next_step:
            return self
        note = (
            f"The training went back to step {position.next_step}. What was logged up to step {self.last_step} stays; what "
            f"is trained again stands under {RETRAINED}…"
        )
        return replace(self, note=note)


def past_of(client: Client, run_id: str, store_url: str) -> Past:
    """Ask the store about a run, after what dead processes left in their journals has arrived there.

    A store that does not answer in time is not waited for: then the run is continued without knowing what it holds.
    """
    answers: list[Past] = []
    is_same_store = store_url == client.writer.store_url

    def ask() -> None:
        try:
            client.flush(WAIT_S)
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
    steps = {
        key: summary.last_step for key, summary in run.series.items() if not key.startswith(("system/", RETRAINED))
    }
    return Past(last_steps=steps, artifacts=dict(run.artifacts))
