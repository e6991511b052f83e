"""The end of a process, which is not the same for programs and for the workers of :mod:`multiprocessing`."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def is_worker() -> bool:
    """Return whether :mod:`multiprocessing` started this process."""
    # What it needs for that is imported then; there is no need to import it in all other programs.
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def at_exit(function: Callable[[], object], *, priority: int = 0) -> None:
    """Call ``function`` when this process ends in an orderly way; workers end without :mod:`atexit`.

    Args:
        priority: in a worker, what has more of it is called earlier; in a program, what came last.
    """
    if is_worker():
        from multiprocessing.util import Finalize

        Finalize(None, function, exitpriority=priority)
    else:
        atexit.register(function)
