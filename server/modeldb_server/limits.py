"""What the server says when it has no room for more."""

from __future__ import annotations


class BusyError(Exception):
    """The server has no room for one more of what was asked for.

    Args:
        status: 503, or 429 where the callers ask for too much at once.
    """

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.status = status
