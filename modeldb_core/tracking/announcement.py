"""One line that says where runs can be seen, when a program starts its first run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.plugins import places_for
from modeldb_core.runtime.exits import is_worker
from modeldb_core.runtime.notices import command_line

if TYPE_CHECKING:
    from modeldb_core.tracking.reader import RunReader

_said_in: int | None = None
"""The process that said it."""


def announce(run: RunReader) -> None:
    """Say where the first run of this process can be seen, on stderr, where a person reads it.

    That is a terminal or a notebook: what a program writes into files and pipes may be parsed. The setting ``announce``
    switches it off. Never raises.
    """
    global _said_in
    if _said_in == os.getpid():
        return
    _said_in = os.getpid()
    with suppress(Exception):  # a stream of a stranger
        if not run.client.settings.announce or run.is_silent or is_worker() or not _is_read(sys.stderr):
            return
        settings = run.client.settings
        is_served = bool(settings.ui_url) or places_for(settings).is_server(settings.url)
        command = command_line("ui", "--url", run.client.writer.store_url)
        start = "" if is_served else f" (start the pages with: {command})"
        sys.stderr.write(f"modeldb: run {run.name} at {run.url}{start}\n")


def _is_read(stream: object) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)()) or type(stream).__module__.startswith("ipykernel")
