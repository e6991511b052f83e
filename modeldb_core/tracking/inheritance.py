"""The run that the caller belongs to, also where another process started it, and handles that travel between processes."""

from __future__ import annotations

import copyreg
import logging
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.tracking import blocks, endings
from modeldb_core.tracking.blocks import describe, describe_client
from modeldb_core.tracking.connections import client_for
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.silent import SilentRun

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attach", "current", "describe", "describe_client"]

logger = logging.getLogger("modeldb")


def current() -> RunHandle | None:
    """Return the run that the caller belongs to, if there is one.

    That is the run of the innermost ``with`` block of this thread or task, or the run that was started here without a
    block and has not ended; in a thread or a process that was started inside of a block, that of the block.
    """
    run = blocks.current()
    return _inherited() if run is None else cast("RunHandle", run)


def _inherited() -> RunHandle | None:
    """Return the run that the process which started this one is in now; its handle logs through a journal of our own."""
    told = blocks.inherited()
    if told is None:
        return None
    try:
        return attach(told)
    except Exception as error:  # as where the store of the other process cannot be reached from here
        logger.debug("the run of the process that started this one is out of reach: %s", error)
        return None


def attach(told: dict[str, Any]) -> RunHandle:
    """Return a handle that logs to a run of another process, through a journal of this one's own."""
    client = client_for(**told["settings"])
    client.known_names |= told["names"]
    if told.get("is_silent"):
        return SilentRun(client, told["run_id"], told["fields"])
    endings.close_at_exit(client)
    handle = RunHandle(client, told["run_id"], {**told["fields"], "status": "running"})
    handle._process_id = -1  # the process that started the run ends it
    return handle


def _reduce(run: RunHandle) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return attach, (describe(run),)


# A pickled handle is connected again where it arrives, which the class cannot do: it stands below the clients.
copyreg.pickle(RunHandle, _reduce)
copyreg.pickle(SilentRun, _reduce)
