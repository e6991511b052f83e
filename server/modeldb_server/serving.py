"""The server as a process: waitress, an address, and a clean end.

Slow clients. Requests are read by waitress's one loop (:mod:`~modeldb_server.connections`), so a client that sends
slowly holds no thread. An answer is handed to that loop in pieces; a client that takes nothing of it for ``send_timeout_s`` is cut off by the kernel
(``TCP_USER_TIMEOUT``), which frees the thread that waits for it.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.task import ThreadedTaskDispatcher

from modeldb_core.config import Settings
from modeldb_core.errors import ConfigurationError
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_server.admission import BodyRoom, Front
from modeldb_server.app import create_app
from modeldb_server.beside import servers_beside
from modeldb_server.checkpoints import CheckpointSchedule
from modeldb_server.connections import CLEANUP_INTERVAL_S, Listener
from modeldb_server.context import EXTENSION, ServerContext
from modeldb_server.logs import configure_logs
from modeldb_server.proxies import TrustedProxy
from modeldb_server.settings import MIB, is_loopback, listen_address, server_settings
from modeldb_server.short_way import SHORT_WAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_server.settings import ServerSettings

LOOP_INTERVAL_S = 0.5
MAX_HEADER_BYTES = 64 * 1024
BODIES = 16
"""So many bodies of the greatest length may be in memory at once, those of requests that wait for a thread included."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})
_LOGIN = (
    "It asks for a token: programs take theirs from MODELDB_TOKEN; a browser asks for a name, which may be anything, and"
    " a password, which is the token."
)
_SIGN_IN = (
    "It asks who you are: sign in on its pages; programs take their tokens from MODELDB_TOKEN. The first administrator is"
    " made by `modeldb admin create NAME`."
)
_CLEAR_TEXT = (
    "Passwords, tokens and data cross the network in clear text: put a reverse proxy with TLS before it, unless the network is yours"
    " alone."
)


class Server:
    """One listening server. It is bound, and its URL known, as soon as it exists.

    Args:
        app: an application of :func:`~modeldb_server.app.create_app`.

    Raises:
        ConfigurationError: others could reach the address, and no token is asked for; or the port is taken.
    """

    def __init__(self, app: Flask) -> None:
        context = app.extensions[EXTENSION]
        assert isinstance(context, ServerContext)
        self.app = app
        self.context = context
        self.host = listen_address(context.settings, is_open=context.gatekeeper.is_open)
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.RLock()  # a signal handler may come while its thread has it
        self._is_open = True
        self.beside = servers_beside(app)
        if context.settings.grpc_port is not None and not self.beside:
            msg = "nothing here answers gRPC: the plugin modeldb_v1 is switched off, or could not be loaded"
            raise ConfigurationError(msg)
        try:
            self._server = None if context.settings.grpc_only else self._listen()
        except BaseException:
            for server in self.beside:
                server.stop(0)
            raise
        self.port = 0 if self._server is None else int(self._server.effective_port)  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """Where a browser finds the server; where it answers no HTTP, a client of gRPC."""
        if self._server is None:
            return self.beside[0].url
        host = self.host
        if host in _EVERYWHERE:
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.context.settings.base_path}"

    def greeting(self) -> list[str]:
        """Return what anyone who starts the server should know, in lines."""
        lines = [f"ModelDB serves {self.context.whole_store.url} at {self.url} (Ctrl-C stops it)"]
        for server in self.beside:
            lines += server.greeting()
        if not self.context.gatekeeper.is_open:
            lines.append(_LOGIN if self.context.accounts is None else _SIGN_IN)
            if not is_loopback(self.host):
                lines.append(_CLEAR_TEXT)
        return lines

    def run(self) -> None:
        """Answer requests until :meth:`stop` is called, then finish those that have begun, and close."""
        try:
            for server in self.beside:
                server.start()
            while not self._stopping.is_set():
                self._turn(LOOP_INTERVAL_S)
            self._finish()
        finally:
            self.close()

    def stop(self) -> None:
        """Let :meth:`run` come to its end. May be called from any thread, and from a signal handler."""
        self._stopping.set()
        with self._lock:
            if self._is_open and self._server is not None:  # the loop may have seen it, and be at its end already
                self._server.pull_trigger()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the server is closed; returns whether it is."""
        return self._stopped.wait(timeout_s)

    def close(self) -> None:
        """Close everything but the stores. Calling it twice is not an error."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        for server in self.beside:
            server.stop(0)
        self.context.close()
        if self._server is not None:
            self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._sockets)
        self._stopped.set()

    def _turn(self, timeout_s: float) -> None:
        if self._server is None:
            time.sleep(timeout_s)  # not a wait for an event: a signal handler that sets it could find its lock taken
            return
        wasyncore.loop(timeout=timeout_s, use_poll=hasattr(select, "poll"), map=self._sockets, count=1)

    def _finish(self) -> None:
        """Take no more connections, end the event streams, and let requests that have begun be answered."""
        self.context.readiness.stop()
        timeout_s = self.context.settings.stop_timeout_s
        end = time.monotonic() + timeout_s
        for server in self.beside:
            server.stop(timeout_s)
        if self._server is not None:
            self._server.drain()
        self.context.events.close()
        while time.monotonic() < end and self._server is not None and self._server.is_busy:
            self._turn(0.05)
        for server in self.beside:
            server.wait(max(0.0, end - time.monotonic()))

    def _listen(self) -> Listener:
        settings = self.context.settings
        in_memory = max(8 * settings.max_body_bytes, 8 * MIB)  # app.py refuses what its route does not take
        listener = _bound_socket(self.host, settings.port, settings.send_timeout_s)
        dispatcher = _Dispatcher()
        dispatcher.set_thread_count(settings.threads + settings.max_event_streams)
        adjustments = Adjustments(
            sockets=[listener],
            ident="ModelDB",
            expose_tracebacks=False,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,  # tasks.py has done so
            url_prefix=settings.base_path,
            connection_limit=_connection_limit(settings.max_connections),
            channel_timeout=60,
            cleanup_interval=CLEANUP_INTERVAL_S,
            channel_request_lookahead=1,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=max(in_memory, settings.max_upload_bytes) + 1,
            inbuf_overflow=in_memory,
            outbuf_overflow=32 * MIB,
            outbuf_high_watermark=MIB,
        )
        metrics = self.context.metrics
        server = Listener(
            self.app,
            map=self._sockets,
            _sock=listener,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            front=Front(
                longest_body=self.app.extensions[SHORT_WAY].longest_body,
                room=BodyRoom(BODIES * in_memory),
                metrics=metrics,
                proxy=TrustedProxy(settings.trusted_proxy),
                max_waiting=settings.max_waiting,
            ),
        )
        metrics.connections.set_function(lambda: len(server.active_channels))
        metrics.requests_waiting.set_function(lambda: server.waiting)
        return server


class _Dispatcher(ThreadedTaskDispatcher):
    """Threads for requests, without a warning for each that waits.

    waitress counts a thread that has not begun yet as one at work, and warns of a request that comes meanwhile.
    How many wait is the metric ``modeldb_requests_waiting``.
    """

    queue_logger = logging.Logger("modeldb_server.queue", logging.ERROR)


def _connection_limit(wanted: int) -> int:
    """Return how many connections may be open: half of the open files of the process stay for the stores."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return wanted
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if limit == resource.RLIM_INFINITY else max(8, min(wanted, limit // 2))


def serve(
    store: MetadataStore,
    artifacts: ArtifactStore,
    settings: Settings | ServerSettings | None = None,
    *,
    ready: Callable[[Server], None] | None = None,
) -> None:
    """Serve two stores until SIGINT or SIGTERM.

    Args:
        store: where runs are kept.
        artifacts: where files are kept.
        settings: those of ModelDB, or of the server alone.
        ready: called with the listening server; by default its greeting is printed.

    Raises:
        ConfigurationError: others could reach the address, and no token is asked for; or the port is taken.
    """
    configure_logs(server_settings(settings).log)
    app = create_app(store, artifacts, settings)
    try:
        server = Server(app)
    except BaseException:
        app.extensions[EXTENSION].close()
        raise
    with _signals(server.stop), _recovering(store, artifacts, settings), _checkpointing(store, settings):
        (ready or _print_greeting)(server)
        server.run()


@contextmanager
def _recovering(
    store: MetadataStore, artifacts: ArtifactStore, settings: Settings | ServerSettings | None
) -> Iterator[None]:
    """Ship meanwhile what processes of this user that died on this machine have left for the store."""
    if not isinstance(settings, Settings) or server_settings(settings).read_only:
        yield
        return
    recovery = BackgroundRecovery(settings.journal_dir, store.url, lambda: artifacts)
    recovery.keep(store)
    try:
        yield
    finally:
        recovery.stop(0.0)


@contextmanager
def _checkpointing(store: MetadataStore, settings: Settings | ServerSettings | None) -> Iterator[None]:
    """Write checkpoints meanwhile, where the settings say so."""
    if not isinstance(settings, Settings) or not settings.audit_checkpoint_url:
        yield
        return
    schedule = CheckpointSchedule(store, settings)
    schedule.start()
    try:
        yield
    finally:
        schedule.stop()


def _print_greeting(server: Server) -> None:
    sys.stdout.write("\n".join(server.greeting()) + "\n")
    sys.stdout.flush()


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at SIGINT and SIGTERM; only a main thread can be told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bound_socket(host: str, port: int, send_timeout_s: float) -> socket.socket:
    """Return a socket that is bound and not yet listening. The sockets that it accepts inherit its time limit.

    The limit is Linux's: elsewhere a client that takes nothing keeps a thread until it goes.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(send_timeout_s * 1000)))
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    return listener


def _bind_error(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(f"port {port} of {host} is in use; choose another one, or 0 for any that is free")
    if error.errno == errno.EACCES:
        return ConfigurationError(f"port {port} of {host} may not be opened by this user; choose one above 1023")
    return ConfigurationError(f"the server cannot listen on {host}:{port}: {error.strerror or error}")
