"""Whether a server should be sent requests: not what :file:`/health` says, which is whether its process is alive.

A server that is alive and not ready is left alone until it is; one that is not alive is started again. So what a new
process could not mend, such as a database that is away, is here and not there.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBError, StoreVersionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.stores import MetadataStore

logger = logging.getLogger("modeldb_server")

KEPT_S = 1.0
"""So long an answer is given again: anyone may ask, and it costs the store a question."""
LEAST_FREE_BYTES = 64 * 1024 * 1024
"""Bodies that do not fit into memory wait in temporary files."""


class Readiness:
    """Looks at what a server needs. Thread-safe.

    Args:
        store: where runs are kept.
        to_write: whether changes are to be taken.
        clock: seconds that never go back.
    """

    def __init__(self, store: MetadataStore, *, to_write: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._to_write = to_write
        self._clock = clock
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._found: Mapping[str, str] = {}
        self._until = float("-inf")

    def stop(self) -> None:
        """Be ready no more: the server finishes what has begun."""
        self._is_stopping.set()

    def look(self) -> Mapping[str, str]:
        """Return what is the matter with each thing that is needed: "ok", or a few words without details."""
        if self._is_stopping.is_set():
            return {"server": "stopping"}
        with self._lock:  # whoever comes meanwhile waits for the same answer
            if self._clock() >= self._until:
                before = self._found
                self._found = {"server": "ok", **self._store_state(), "disk": _disk_state()}
                self._until = self._clock() + KEPT_S
                if self._found != before and not is_ready(self._found):
                    logger.warning("the server is not ready: %s", dict(self._found))
            return self._found

    def _store_state(self) -> Mapping[str, str]:
        try:
            self._store.check_usable(to_write=self._to_write)
        except StoreVersionError as error:
            logger.warning("the tables of the store do not fit: %s", error)
            return {"store": "ok", "schema": "unfit"}
        except ModelDBError as error:
            logger.warning("the store does not answer: %s", error)
            return {"store": "unavailable", "schema": "unknown"}
        return {"store": "ok", "schema": "ok"}


def is_ready(found: Mapping[str, str]) -> bool:
    """Say whether everything that is needed is there."""
    return all(state == "ok" for state in found.values())


def _disk_state() -> str:
    try:
        return "ok" if shutil.disk_usage(tempfile.gettempdir()).free >= LEAST_FREE_BYTES else "full"
    except OSError:
        return "unavailable"
