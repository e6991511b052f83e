"""When a store is asked again after it failed, and what is said of it."""

from __future__ import annotations

import random
import time

from modeldb_core.errors import (
    ConfigurationError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)

MAX_PAUSE_S = 30.0
ASKED_PAUSE_S = 5.0
"""The longest pause while somebody waits."""
REFUSED_PAUSE_S = 600.0
"""After a refusal that no repetition changes: only somebody who repairs the store, or the settings, does."""
REFUSED_ASKED_PAUSE_S = 10.0
"""The same where somebody asks: anyone who has repaired it need not wait, and anyone who has not does no harm."""

REFUSALS = (ConfigurationError, PermissionDeniedError, StoreReadOnlyError, StoreVersionError)
"""What concerns a store as a whole, such as a wrong token or a bucket that is not there."""

_spread = random.Random()  # a generator of our own: the training script's must not notice us


class Retries:
    """Keeps pauses between attempts: growing ones while a store is away, a long one where it refuses.

    Args:
        first_s: the pause after the first failure is between this and twice as long.
    """

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._failures = 0
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._wanted_s = 0.0
        self._told: set[str] = set()
        self.is_refused = False
        """Whether the last attempt ended with an error that another attempt will not change."""

    def is_due(self) -> bool:
        """Return whether the store may be asked now."""
        return time.monotonic() >= self._retry_at

    def is_due_by(self, deadline: float | None) -> bool:
        """Return whether the store may be asked until then, a time of the monotonic clock; ``None``: at any time."""
        return deadline is None or self._retry_at <= max(deadline, time.monotonic())

    def pause_s(self) -> float:
        """Return for how many seconds it may not be asked, as something to wait for: never nothing."""
        return max(0.001, self._retry_at - time.monotonic()) if self._failures else 3600.0

    def ask_again(self) -> None:
        """Somebody waits: ask sooner, but never without a pause, nor before the time that the store itself has named."""
        if self._failures:
            longest_s = REFUSED_ASKED_PAUSE_S if self.is_refused else ASKED_PAUSE_S
            self._retry_at = min(self._retry_at, self._failed_at + max(longest_s, self._wanted_s))

    def note_failure(self, error: Exception) -> bool:
        """Return whether this is the first of its kind since an attempt succeeded, so that it is to be said."""
        self.is_refused = isinstance(error, REFUSALS)
        self._failures += 1
        self._failed_at = time.monotonic()
        pause_s = REFUSED_PAUSE_S if self.is_refused else min(MAX_PAUSE_S, self._first_s * 2 ** min(self._failures, 10))
        self._wanted_s = error.retry_after_s if isinstance(error, StoreUnavailableError) else 0.0
        self._retry_at = self._failed_at + max(self._wanted_s, pause_s * _spread.uniform(0.5, 1.0))
        kind = type(error).__name__
        is_new = kind not in self._told
        self._told.add(kind)
        return is_new

    def note_success(self) -> bool:
        """Return whether attempts had failed before."""
        had_failed = self._failures > 0
        self._failures, self._retry_at, self.is_refused = 0, 0.0, False
        self._told.clear()
        return had_failed
