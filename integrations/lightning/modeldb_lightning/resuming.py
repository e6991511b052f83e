"""What the store has of a run that is to be continued."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.entities import FINISHED, Run
from modeldb_core.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.tracking import Client

logger = logging.getLogger("modeldb")

WAIT_S = 0.9
"""So long the training waits, once, for the store to say what a run holds that is to be continued."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a run that is continued.

    Attributes:
        is_elsewhere: the store does not have it: the checkpoint comes from another store.
        is_finished: it had come to a good end.
        last_steps: by series, the last step that was logged: what is trained again is not logged again.
        artifacts: of the run, by path.
        note: what a reader of the run should know.
    """

    is_elsewhere: bool = False
    is_finished: bool = False
    last_steps: Mapping[str, int] = field(default_factory=dict)
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def last_step(self) -> int:
        """The last step of all series."""
        return max(self.last_steps.values(), default=-1)

    def went_on_after(self, step: int) -> bool:
        """Whether the run came to a good end after ``step``: going back is another training then."""
        return self.is_finished and self.last_step > step


def past_of(client: Client, run_id: str, store_url: str) -> Past:
    """Ask the store about a run, after what dead processes left in their journals has arrived there.

    A store that does not answer in time is not waited for: then the run is continued without knowing what it holds.
    """
    answers: list[Past] = []
    is_same_store = store_url == client.writer.store_url

    def ask() -> None:
        try:
            client.writer.ensure_stream()
            client.writer.flush(WAIT_S)
            client.writer.submit(lambda: None)  # journals of the dead are shipped at the end of a cycle
            client.writer.flush(WAIT_S)
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
    return Past(
        note="The store did not answer when the run was continued: steps that were trained again may stand twice."
    )


def _past(run: Any) -> Past:  # noqa: ANN401 - an Entity
    assert isinstance(run, Run)
    # The epoch is logged with everything, so its last step says nothing about other series; it is one of them.
    steps = {key: summary.last_step for key, summary in run.series.items() if not key.startswith("system/")}
    return Past(is_finished=run.status == FINISHED, last_steps=steps, artifacts=dict(run.artifacts))
