"""A test waits for the event that it needs; the limit is for what never comes, also on a busy machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
PATIENCE_S = 240.0  # less than the 300 seconds after which pytest-timeout ends a test, and says less about it


def wait_until(condition: Callable[[], T], state: Callable[[], object] | None = None, limit_s: float = PATIENCE_S) -> T:
    """Wait until a condition is true, and return what it gave; ``state`` says what there was where it never is."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, state() if state else f"it was still {found!r} after {limit_s} s"
        time.sleep(0.01)
    return found
