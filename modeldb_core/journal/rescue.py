"""Looks after the journals of dead processes while this one logs."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBError
from modeldb_core.runtime import exits
from modeldb_core.runtime.notices import command_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore, MetadataStore

logger = logging.getLogger("modeldb")

INTERVAL_S = 30.0
READ_INTERVAL_S = 1.0
"""Anyone who reads looks for such journals no more often than that: looking means to list a folder."""
READ_PATIENCE_S = 5.0
"""How long anyone who reads waits for what was found."""
PATIENCE_S = 5.0  # what others left is not worth a longer wait at the end of a process


class BackgroundRecovery:
    """Recovers the journals of dead processes from time to time, in a thread beside the writer's.

    Args:
        journal_dir, store_url, open_artifacts: as of :func:`~modeldb_core.journal.recovery.recover`.
    """

    def __init__(self, journal_dir: Path, store_url: str, open_artifacts: Callable[[], ArtifactStore]) -> None:
        self._journal_dir, self._store_url, self._open_artifacts = journal_dir, store_url, open_artifacts
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended_at: float | None = None
        self._stopped = threading.Event()
        self._looked_at = -READ_INTERVAL_S
        self._given_up: set[str] = set()

    def start(self, store: MetadataStore, *, again: bool = False) -> None:
        """Start recovery unless it is running or, without ``again``, ran less than INTERVAL_S ago."""
        with self._lock:
            is_due = again or self._ended_at is None or time.monotonic() - self._ended_at > INTERVAL_S
            if is_due and not self.is_running:
                # Others may wait for the thread from now on. Where there can be none, the work is done here.
                self._thread = exits.start_thread(partial(self._run, store), "modeldb-recovery")
                if self._thread is None:
                    self._run(store)

    def before_reading(self, store: MetadataStore) -> None:
        """Ship what dead processes of this user left for this store, before somebody reads, and say what still waits.

        It goes on in the background after a few seconds. Nothing is raised.
        """
        now = time.monotonic()
        if now - self._looked_at < READ_INTERVAL_S or not store.url:
            return
        self._looked_at = now
        from modeldb_core.journal.recovery import orphans

        try:
            waiting = {directory.name for directory in orphans(self._journal_dir, store.url)} - self._given_up
            if not waiting:
                return
            self.start(store, again=True)
            self.wait(READ_PATIENCE_S)
            left = len(waiting & {path.name for path in self._journal_dir.iterdir()})
        except OSError as error:  # somebody else's folder, or a disk that is gone
            logger.debug("no look at the journals of dead processes: %s", error)
            return
        if not self.is_running:
            self._given_up |= waiting  # what is left is damaged, or refused, and that was said
        if left:
            logger.warning(
                "The journals of %d dead %s are not in the store%s: what is read lacks what they hold. `%s` ships them.",
                left,
                "process" if left == 1 else "processes",
                " yet" if self.is_running else "",
                command_line("sync"),
            )

    def keep(self, store: MetadataStore) -> None:
        """Look for such journals now and again, until :meth:`stop`."""

        def look() -> None:
            while True:
                self._run(store)
                if self._stopped.wait(INTERVAL_S):
                    return

        self._thread = exits.start_thread(look, "modeldb-recovery")

    @property
    def is_running(self) -> bool:
        """Whether it is shipping something."""
        return self._thread is not None and self._thread.is_alive()

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
        from modeldb_core.journal.recovery import recover

        try:
            recover(self._journal_dir, self._store_url, store, self._open_artifacts, stopped=self._stopped)
        except (ModelDBError, OSError) as error:
            if not self._stopped.is_set():  # a store that was closed meanwhile is not news
                logger.warning("Journals of earlier processes could not all be recovered: %s", error)
        self._ended_at = time.monotonic()
