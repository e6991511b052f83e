"""Counts and durations in the format of Prometheus, and a line per request in the log.

Everything is kept per process and per application: two servers in one process do not mix.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flask import g, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from modeldb_core.runtime import __version__
from modeldb_server.logs import with_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.wrappers import Response

    from modeldb_server.accounts.visitor import Visitor

access_logger = logging.getLogger("modeldb_server.access")

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
TOKEN_REFUSALS = ("missing", "wrong", "too_many")
"""Why a request was refused: it showed no token, a wrong one, or any after too many wrong ones from its address."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class ServerMetrics:
    """The metrics of one application. Labels are route names, never paths: their number stays bounded."""

    def __init__(self, count_streams: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "modeldb_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.durations = Histogram(
            "modeldb_http_request_duration_seconds",
            "From the request's arrival to the start of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "modeldb_http_requests_in_progress", "Requests that are being answered.", registry=self.registry
        )
        self.writes = Counter("modeldb_changes_written", "Changes made through the API.", registry=self.registry)
        self.token_refusals = Counter(
            "modeldb_token_refusals", "Requests without a token of this server.", ["reason"], registry=self.registry
        )
        for reason in TOKEN_REFUSALS:
            self.token_refusals.labels(reason)
        self.connections = Gauge("modeldb_connections", "Open connections.", registry=self.registry)
        self.connections_dropped = Counter(
            "modeldb_connections_dropped", "Idle connections that were closed to make room.", registry=self.registry
        )
        self.requests_refused = Counter(
            "modeldb_requests_refused",
            "Requests answered before they reached the application.",
            ["status"],
            registry=self.registry,
        )
        self.access_entries_lost = Counter(
            "modeldb_access_entries_lost", "Entries of the access log that could not be kept.", registry=self.registry
        )
        self.requests_waiting = Gauge(
            "modeldb_requests_waiting", "Requests that wait for a thread.", registry=self.registry
        )
        self.received = Counter("modeldb_received_bytes", "Bytes that came from clients.", registry=self.registry)
        self.sent = Counter("modeldb_sent_bytes", "Bytes that went to clients.", registry=self.registry)
        self.ready = Gauge("modeldb_ready", "Whether the server is ready for requests.", registry=self.registry)
        streams = Gauge("modeldb_event_streams", "Open event streams.", registry=self.registry)
        streams.set_function(count_streams)
        version = Gauge("modeldb_server_info", "The version of the server.", ["version"], registry=self.registry)
        version.labels(__version__).set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def register(self, app: Flask) -> None:
        """Count the requests of ``app``. Call it before other hooks are registered, so that it sees what they refuse."""
        app.before_request(self._begin)
        app.after_request(self._end)
        app.teardown_request(self._forget)

    def _begin(self) -> None:
        g.modeldb_started = time.perf_counter()
        self.in_progress.inc()

    def _end(self, response: Response) -> Response:
        seconds = time.perf_counter() - g.modeldb_started
        method = request.method if request.method in _METHODS else "other"
        route = request.endpoint or "unmatched"
        self.requests.labels(method, route, str(response.status_code)).inc()
        self.durations.labels(route).observe(seconds)
        visitor = g.get("modeldb_visitor")
        self.log(method, request.path, route, response.status_code, seconds, visitor, request.remote_addr)
        return response

    @staticmethod
    def log(
        method: str, path: str, route: str, status: int, seconds: float, visitor: Visitor | None, address: str | None
    ) -> None:
        """Write the line of a request, where somebody wants it."""
        if not access_logger.isEnabledFor(logging.INFO):
            return
        fields = with_fields(
            method=method,
            path=path,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 3),
            user=None if visitor is None else visitor.user,
            address=address,
        )
        access_logger.info("%s %r %d %.1f ms", method, path, status, seconds * 1000, extra=fields)

    def _forget(self, error: BaseException | None) -> None:
        del error
        if "modeldb_started" in g:
            self.in_progress.dec()
