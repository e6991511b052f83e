"""What the loop that reads requests asks others: whether there is room for one more, and what is counted."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waitress.utilities import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_server.metrics import ServerMetrics
    from modeldb_server.proxies import TrustedProxy


class BodyRoom:
    """How many bytes of bodies may be in memory at once. Thread-safe."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take room, where there is enough."""
        with self._lock:
            if size_bytes > self._left:
                return False
            self._left -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size_bytes


@dataclass(frozen=True, slots=True)
class Front:
    """What the loop asks others.

    Attributes:
        longest_body: says of the WSGI environment of a request how long its body may be; ``None``: it is not read.
        room: of all bodies.
        metrics: what is counted.
        proxy: who is believed in what they say about who asks.
        max_waiting: requests that may wait for a thread.
    """

    longest_body: Callable[[dict[str, Any]], int | None]
    room: BodyRoom
    metrics: ServerMetrics
    proxy: TrustedProxy
    max_waiting: int


class BusyError(Error):
    """The answer to a body that there is no room for, and to a request that too many others wait before."""

    code = 429
    reason = "Too Many Requests"
    retry_after_s = 2

    @classmethod
    def for_queue(cls) -> BusyError:
        """Return the answer where the server is behind: not the caller's fault, so another status."""
        error = cls("more requests wait than the server can answer soon; try again")
        error.code, error.reason, error.retry_after_s = 503, "Service Unavailable", 1
        return error

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], Any]:
        """Return status, headers and body."""
        del ident
        body = json.dumps({"error": {"code": "busy", "message": self.body}}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Retry-After", str(self.retry_after_s)),
            ("Connection", "close"),
        ]
        return f"{self.code} {self.reason}", headers, body
