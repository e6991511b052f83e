"""Looks after the journals of dead processes while this one logs."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from modeldb_core import exits
from modeldb_core.errors import ModelDBError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

INTERVAL_S = 30.0
PATIENCE_S = 5.0  # what others left is not worth a longer wait at the end of a process


class BackgroundRecovery:
    """Recovers the journals of dead processes from time to time, in a thread beside the writer's.

    Args:
        journal_dir, store_url, open_artifacts: as of :func:`~modeldb_core.recovery.recover`.
    """

    def __init__(self, journal_dir: Path, store_url: str, open_artifacts: Callable[[], ArtifactStore]) -> None:
        self._journal_dir, self._store_url, self._open_artifacts = journal_dir, store_url, open_artifacts
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended_at: float | None = None
        self._stopped = threading.Event()

    def start(self, store: MetadataStore, *, again: bool = False) -> None:
        """Begin, unless it is at it or, but for ``again``, was a short while ago."""
        with self._lock:
            is_due = again or self._ended_at is None or time.monotonic() - self._ended_at > INTERVAL_S
            if is_due and (self._thread is None or not self._thread.is_alive()):
                # Others may wait for the thread from now on. Where there can be none, the work is done here.
                self._thread = exits.start_thread(partial(self._run, store), "modeldb-recovery")
                if self._thread is None:
                    self._run(store)

    def wait(self, timeout_s: float) -> None:
        """Let it come to its end, at most for ``timeout_s`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Let it come to its end, and call it off after ``timeout_s`` seconds, which are capped at a few."""
        if self._thread is not None:
            self._thread.join(min(max(timeout_s, 0.0), PATIENCE_S))
        self._stopped.set()

    def _run(self, store: MetadataStore) -> None:
        from modeldb_core.recovery import recover

        try:
            recover(self._journal_dir, self._store_url, store, self._open_artifacts, stopped=self._stopped)
        except (ModelDBError, OSError) as error:
            if not self._stopped.is_set():  # a store that was closed meanwhile is no news
                logger.warning("Journals of earlier processes could not all be recovered: %s", error)
        self._ended_at = time.monotonic()
