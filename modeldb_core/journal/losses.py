"""What the journal could not take, and saying so on the runs concerned."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.journal.records import Draft
from modeldb_core.log.changes import UPDATE, payload_of
from modeldb_core.model.entities import now_us

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.journal.journal import Journal


@dataclass(slots=True)
class Losses:
    """Remembers which runs have not been told of log calls that found no room."""

    _calls_said: int = 0
    _volatile_said: bool = False
    _runs: set[str] = field(default_factory=set)

    def say(self, journal: Journal, open_runs: Iterable[str]) -> bool:
        """Write a note on the runs concerned; returns whether there was something new, and room to say it."""
        notes = []
        if journal.is_volatile and not self._volatile_said:
            notes.append(
                f"The journal's disk ({journal.directory.parent}) took nothing more at {_clock()}: from then on values "
                "were kept in memory only until they were shipped."
            )
        calls = journal.lost
        if calls > self._calls_said:
            notes.append(
                f"{calls - self._calls_said:,} log calls of this process were lost before {_clock()}: the journal's "
                "disk was full, the store could not be reached, and the room in memory was used up."
            )
        if not notes:
            return False
        self._runs.update(open_runs)
        payload = payload_of({"add": {"notes": notes}})
        drafts = [Draft(UPDATE, "run", run_id, now_us(), payload) for run_id in sorted(self._runs)]
        said = [journal.offer(draft.record()) for draft in drafts]
        if not all(said):
            return False  # not even for this is there room: it is said when there is
        self._volatile_said = journal.is_volatile
        self._calls_said = calls
        self._runs.clear()
        return True


def _clock() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
