"""Rate limits: how many requests a user, or an address of which nobody knows whose it is, may make.

A bucket for each holds :data:`BURST_S` seconds' worth of requests and is filled again at the rate of the setting. The
buckets are those of one process: behind a balancer with N servers a user may have up to N times as much
(``docs/decisions/0168-limits-are-those-of-a-process.md``).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_S = 10.0
"""So many seconds' worth of requests may come at once."""
MAX_BUCKETS = 10_000


class Rates:
    """Buckets of requests. Thread-safe; the memory is bounded.

    Args:
        per_s: requests a second that each may make; 0: any number.
        clock: seconds that never go back.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * BURST_S)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was so

    def take(self, name: str) -> float:
        """Take one request out of a bucket; return 0, or the seconds until there is one in it."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(name, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_s)
            wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
            self._buckets[name] = (left if wait_s else left - 1, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return wait_s
