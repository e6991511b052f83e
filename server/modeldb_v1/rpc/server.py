"""The gRPC server: it listens, hands each call to the application, and ends with the server that it stands beside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from modeldb_core.errors import ConfigurationError
from modeldb_server.context import EXTENSION, ServerContext
from modeldb_server.readiness import is_ready
from modeldb_server.settings import is_loopback, listen_address
from modeldb_v1.calls import MESSAGE_BYTES
from modeldb_v1.rpc.certificates import Certificates
from modeldb_v1.rpc.details import METADATA, status_details
from modeldb_v1.rpc.health import Health
from modeldb_v1.rpc.reflection import MOST_STREAMS, NAME, Reflection
from modeldb_v1.rpc.requests import REFLECTION, ask

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from flask import Flask

    from modeldb_server.settings import ServerSettings
    from modeldb_v1.schema import CallDeclaration

_CODES: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})
_MAX_METADATA_BYTES = 16 * 1024
_CLEAR_TEXT = "gRPC without TLS: tokens and data cross the network in clear text; see server.grpc_certificate"


class GrpcServer:
    """A gRPC server beside an application, bound as soon as it exists.

    Args:
        app: answers the calls.
        calls: those that it answers.

    Raises:
        ConfigurationError: the port is taken, others could reach the address and no token is asked for, or the
            certificate cannot be read.
    """

    def __init__(self, app: Flask, calls: Sequence[CallDeclaration]) -> None:
        context = app.extensions[EXTENSION]
        assert isinstance(context, ServerContext)
        self._app, self._settings = app, context.settings
        self._host = listen_address(context.settings, is_open=context.gatekeeper.is_open)
        services = tuple(dict.fromkeys(call.service for call in calls))
        self._health = Health(lambda: is_ready(context.readiness.look()), services)
        self._pool = ThreadPoolExecutor(context.settings.threads + MOST_STREAMS, "modeldb-grpc")
        self._server = grpc.server(
            self._pool, options=_options(context.settings), maximum_concurrent_rpcs=context.settings.max_grpc_calls
        )
        self._server.add_generic_rpc_handlers([self._handlers(service, calls) for service in services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*services, health.SERVICE_NAME, NAME)
        add = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
        add(Reflection(shown, self._admit), self._server)  # type: ignore[no-untyped-call]
        self._ended: threading.Event | None = None
        self.port = self._bind()

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'grpcs' if self._settings.grpc_certificate else 'grpc'}://{host}:{self.port}"

    def greeting(self) -> list[str]:
        """Return what anyone who starts the server should know, in lines."""
        lines = [f"gRPC is answered at {self.url}"]
        if not (self._settings.grpc_certificate or is_loopback(self._host)):
            lines.append(_CLEAR_TEXT)
        return lines

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self, timeout_s: float) -> None:
        """Take no more calls, and give those that have begun so long to end. Returns at once; twice is not an error."""
        self._health.stop()
        self._ended = self._server.stop(timeout_s)
        self._pool.shutdown(wait=False)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all calls have ended after :meth:`stop`; returns whether they have."""
        return self._ended is not None and self._ended.wait(timeout_s)

    def _bind(self) -> int:
        host = f"[{self._host}]" if ":" in self._host else self._host
        settings = self._settings
        address = f"{host}:{settings.grpc_port}"
        try:
            if settings.grpc_certificate is None or settings.grpc_key is None:
                return self._server.add_insecure_port(address)
            certificates = Certificates(settings.grpc_certificate, settings.grpc_key)
            return self._server.add_secure_port(address, certificates.credentials())
        except RuntimeError as error:
            self.stop(0)
            msg = f"gRPC cannot listen on {address}, which is in use or not allowed; choose another port, or 0 for any that is free"
            raise ConfigurationError(msg) from error
        except ConfigurationError:
            self.stop(0)
            raise

    def _handlers(self, service: str, calls: Sequence[CallDeclaration]) -> grpc.GenericRpcHandler:
        """Return what answers the calls of a service. Messages are read where who asks is known, so they come as bytes."""
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            call.method: grpc.unary_unary_rpc_method_handler(partial(self._answer, f"/{service}/{call.method}"))
            for call in calls
            if call.service == service
        }
        return grpc.method_handlers_generic_handler(service, methods)

    def _answer(self, path: str, payload: bytes, call: grpc.ServicerContext) -> bytes:
        remaining_s: float | None = call.time_remaining()
        if not call.is_active() or (remaining_s is not None and remaining_s <= 0):
            call.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the call was not begun before its deadline")
        proxy = self._settings.trusted_proxy
        metadata = call.invocation_metadata() or ()
        answer = ask(self._app, path, payload, metadata, call.peer(), proxy=proxy, waits_s=remaining_s)
        if answer.payload is not None:
            call.set_trailing_metadata(answer.trailing)
        else:
            details = status_details(answer.code, answer.message, answer.reason)
            call.set_trailing_metadata((*answer.trailing, (METADATA, details)))
            call.abort(_CODES.get(answer.code, grpc.StatusCode.UNKNOWN), answer.message)
        return answer.payload

    def _admit(self, call: grpc.ServicerContext) -> None:
        """End a call to the reflection service whose caller may not read."""
        self._answer(REFLECTION, b"", call)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # two servers on a port would share its calls, unnoticed
        ("grpc.max_receive_message_length", max(MESSAGE_BYTES, settings.max_body_bytes)),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.max_connection_idle_ms", 600_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_ping_strikes", 5),
    ]
