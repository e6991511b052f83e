"""The health service of gRPC (``grpc.health.v1``): whether the server can answer, and word of it when that changes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_WATCHERS = 16
_LOOK_INTERVAL_S = 2.0
"""So often it is asked while somebody watches."""
_STATUS = health_pb2.HealthCheckResponse


class Health(health.HealthServicer):
    """Answers for the whole server, which is the service "", and for each of its services alike.

    Args:
        is_ready: says whether the server can answer; whoever asks often is given the same answer for a while.
        services: the full names of its services.
    """

    def __init__(self, is_ready: Callable[[], bool], services: tuple[str, ...]) -> None:
        super().__init__(experimental_non_blocking=True)  # who watches keeps no thread
        self._is_ready, self._services = is_ready, ("", *services)
        self._told: int | None = None
        self._watchers = 0
        self._state = threading.Condition()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401, N802 - messages; gRPC's name
        """Say whether the server can answer."""
        self._refresh()
        return super().Check(request, context)

    def Watch(  # type: ignore[override]  # noqa: N802 - gRPC's name; it is never called without the callback
        self,
        request: Any,  # noqa: ANN401 - a message
        context: grpc.ServicerContext,
        send_response_callback: Callable[[Any], None] | None = None,
    ) -> None:
        """Say whether the server can answer, now and whenever that changes."""
        assert send_response_callback is not None, "this is not blocking"
        with self._state:
            is_full = self._watchers >= _MOST_WATCHERS
            if not is_full and context.add_callback(self._leave):
                self._watchers += 1
        if is_full:
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details(f"{_MOST_WATCHERS} clients watch already; use Check")
            send_response_callback(None)
            return
        if request.service not in self._services:  # the base class would remember every name that anybody asks for
            send_response_callback(_STATUS(status=_STATUS.SERVICE_UNKNOWN))
            send_response_callback(None)
            return
        self._refresh()
        super().Watch(request, context, send_response_callback)
        with self._state:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="modeldb-grpc-health", daemon=True)
                self._thread.start()
            self._state.notify_all()

    def stop(self) -> None:
        """Say from now on that the server does not answer: clients go elsewhere while it ends."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        self.enter_graceful_shutdown()

    def _leave(self) -> None:
        with self._state:
            self._watchers -= 1

    def _look(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._watchers > 0 or self._is_stopping)
                if self._is_stopping or self._state.wait_for(lambda: self._is_stopping, _LOOK_INTERVAL_S):
                    return
            self._refresh()

    def _refresh(self) -> None:
        status = _STATUS.SERVING if self._is_ready() else _STATUS.NOT_SERVING
        with self._state:
            if status == self._told:
                return  # those who watch are told of changes
            self._told = status
        for service in self._services:
            self.set(service, status)
