"""What integrations need of runs beyond their handles: clients, endings, handles for other processes, checked names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from modeldb_core.commands.names import check_name, check_tags, fitting_name
from modeldb_core.commands.values import SPILL_BYTES
from modeldb_core.log.display import OWN_PREFIX
from modeldb_core.runtime.exits import start_thread
from modeldb_core.tracking.blocks import CURRENT
from modeldb_core.tracking.connections import client_for, default_client
from modeldb_core.tracking.endings import leave_sigterm, take_sigterm
from modeldb_core.tracking.failures import Ending, interruption_of, summary_of
from modeldb_core.tracking.inheritance import attach, describe, describe_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.tracking import RunHandle

__all__ = [
    "OWN_PREFIX",
    "SPILL_BYTES",
    "Ending",
    "attach",
    "check_name",
    "check_tags",
    "client_for",
    "default_client",
    "describe",
    "describe_client",
    "fitting_name",
    "interruption_of",
    "leave_sigterm",
    "start_thread",
    "summary_of",
    "take_sigterm",
    "within",
]


@contextmanager
def within(run: RunHandle) -> Iterator[None]:
    """Make ``run`` the current run of what is called in the block, which neither starts nor ends it."""
    token = CURRENT.set(run)
    try:
        yield
    finally:
        CURRENT.reset(token)
