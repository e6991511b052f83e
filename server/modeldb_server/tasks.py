"""Requests as the pool of threads takes them: what the loop found out about each goes on to the application."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from waitress.task import ErrorTask, WSGITask

from modeldb_server.logs import with_fields
from modeldb_server.request_ids import ENVIRON, HEADER, answering

if TYPE_CHECKING:
    from waitress.utilities import Error

    from modeldb_server.admission import Front

access_logger = logging.getLogger("modeldb_server.access")

IS_ADMITTED = "modeldb.is_admitted"
"""Whether the request passed all checks before its body was read."""
REFUSAL = "modeldb.refusal"
"""Why the body of a request was not read: an exception; ``None`` where it was read, or is not needed."""

_TOGETHER_BYTES = 1 << 16
"""An answer that is no longer than this is sent with its headers, at the price of a copy."""


class ArrivedChannel(Protocol):
    """The connection of a request."""

    addr: tuple[str, int]
    front: Front


class ArrivedRequest(Protocol):
    """What the loop knows of a request."""

    request_id: str
    is_admitted: bool
    refusal: Exception | None
    error: Error | None
    channel: ArrivedChannel


class Task(WSGITask):
    """A request that the application answers."""

    request: ArrivedRequest  # type: ignore[assignment]

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment."""
        environ: dict[str, Any] = super().get_environment()
        request = self.request
        environ[ENVIRON] = request.request_id
        environ[IS_ADMITTED], environ[REFUSAL] = request.is_admitted, request.refusal
        request.channel.front.proxy.apply(environ)
        return environ

    def write(self, data: bytes) -> None:
        """Send some of the answer; one that is short goes with its headers, so that its client wakes up once."""
        is_whole = self.complete and self.has_body and self.content_length == len(data) <= _TOGETHER_BYTES
        if self.wrote_header or not is_whole:
            super().write(data)
            return
        self.channel.write_soon(self.build_response_header() + data)
        self.wrote_header, self.content_bytes_written = True, len(data)


class Refusal(ErrorTask):
    """A request that never comes to the application."""

    request: ArrivedRequest  # type: ignore[assignment]

    def execute(self) -> None:
        """Answer it, and say so in the log."""
        request = self.request
        assert request.error is not None
        status = int(request.error.code)
        request.channel.front.metrics.requests_refused.labels(str(status)).inc()
        self.response_headers = [*self.response_headers, (HEADER, request.request_id)]
        with answering(request.request_id):
            access_logger.info(
                "refused with %d before it reached the application",
                status,
                extra=with_fields(status=status, address=request.channel.addr[0]),
            )
        super().execute()
