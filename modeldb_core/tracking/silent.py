"""The run of a process that trains together with others and is not the first of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.names import check_name, readable_name
from modeldb_core.commands.runs import check_end
from modeldb_core.model.entities import Run, new_id
from modeldb_core.tracking import blocks
from modeldb_core.tracking.failures import Ending, ending_of
from modeldb_core.tracking.run import RunHandle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from modeldb_core.commands.operation import Operation
    from modeldb_core.tracking.run_session import RunSession

logger = logging.getLogger("modeldb")


class SilentRun(RunHandle):
    """Takes everything that a run takes and records nothing, since the first process records it.

    It reads as what was logged to it, without series and files.
    """

    is_silent = True

    def __init__(self, client: RunSession[RunHandle], run_id: str, fields: Mapping[str, Any]) -> None:
        super().__init__(client, run_id, fields)
        self._plans = {}  # so that no call takes the short way into the journal
        self._sections: dict[str, Any] = {}

    @property
    def entity(self) -> Run:
        """What was logged to this handle."""
        fields = ("name", "project_id", "experiment_id", "status")
        known: dict[str, Any] = {key: self._fields[key] for key in fields if key in self._fields}
        return Run(entity_id=self.run_id, **known, **self._sections)

    def refresh(self) -> SilentRun:
        """Do nothing: nothing of it is in the store."""
        return self

    def comment(self, message: str) -> str:
        """Do nothing."""
        del message
        return new_id()

    def log_artifact(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""
        del args, kwargs

    def log_model(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""
        del args, kwargs

    def log_dataset(self, *args: object, **kwargs: object) -> str:
        """Do nothing."""
        del args, kwargs
        return new_id()

    def delete(self, *, recursive: bool = False) -> None:
        """Do nothing."""
        del recursive

    def restore(self) -> None:
        """Do nothing."""

    def late(self) -> RunHandle:
        """Return itself: it records nothing."""
        return self

    def finish(
        self,
        status: str | Ending | None = None,
        *,
        error: BaseException | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """End it for this handle."""
        ending = status if isinstance(status, Ending) else ending_of(error)
        if finished_at is not None:
            self._reported_end(ending, finished_at)
        self._fields["status"] = check_end(status) if isinstance(status, str) else ending.status
        self._ended = True
        self._leave_block()

    def _log_rows(self, metrics: object, step: object, timestamp: object) -> None:
        del step, timestamp
        self._check_open()
        self._sections.setdefault("metrics", {}).update(metrics if isinstance(metrics, Mapping) else {})

    def _record(self, operation: Operation, within: Iterable[Operation] = ()) -> None:
        del within
        for entry in operation.entries:
            for section, values in entry.values.get("put", {}).items():
                self._sections.setdefault(section, {}).update(values)


def silent_run(client: RunSession[RunHandle], name: str, started_at: int | None, **given: object) -> SilentRun:
    """Return a run for a process that records nothing; its identifier is that of the first one's where that is known."""
    logger.info("this process trains together with others, and the first of them records the run; here, nothing is")
    run_id = blocks.inherited_id() or new_id()
    fields: dict[str, Any] = {"name": check_name(name, "run") if name else readable_name(run_id)}
    if started_at is not None:
        fields["started_at"] = started_at
    run = SilentRun(client, run_id, fields)
    for section, values in given.items():
        if values is not None:
            run._put(section, values)
    return run
