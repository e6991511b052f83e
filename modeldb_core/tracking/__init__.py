"""What users call: connect to a store, log runs, find and read them."""

from __future__ import annotations

from modeldb_core.tracking.client import Client
from modeldb_core.tracking.connections import connect, current_run, flush, get_run, search_runs, start_run
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.runs import Runs

__all__ = [
    "Client",
    "RunHandle",
    "Runs",
    "connect",
    "current_run",
    "flush",
    "get_run",
    "search_runs",
    "start_run",
]
