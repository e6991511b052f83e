"""Which recording has which run, in this process."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from modeldb_lightning.options import BACKGROUND

if TYPE_CHECKING:
    from modeldb_core.tracking import RunHandle

_lock = threading.Lock()
_taken: set[str] = set()
holders: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
"""By run, the recording that has opened it last, and so ends it."""


def take(run_id: str) -> bool:
    """Return whether this is the first recording in the run."""
    with _lock:
        if run_id in _taken:
            return False
        _taken.add(run_id)
        return True


def release(run: RunHandle) -> None:
    """The run is about to end: wait for the checkpoints that are on their way; nobody asks for it any more."""
    BACKGROUND.wait(run.run_id, timeout_s=run.client.settings.exit_timeout_s)
    with _lock:
        _taken.discard(run.run_id)
