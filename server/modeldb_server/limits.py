"""What the server says when it has no room for more."""

from __future__ import annotations

import math


class BusyError(Exception):
    """The server has no room for one more of what was asked for.

    Args:
        status: 503, or 429 where the callers ask for too much at once.
        retry_after_s: when to ask again.
    """

    def __init__(self, message: str, status: int = 503, *, retry_after_s: float = 10.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = max(1, math.ceil(retry_after_s))
