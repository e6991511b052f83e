"""A server that says it is one of ModelDB, and then answers as a broken or hostile one would; and a gate to a real one."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from modeldb_core.stores import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

GREETING = json.dumps({"name": "ModelDB", "version": "1", "protocols": [protocol.VERSION]}).encode()
PORTAL = b"<html><body>Welcome to the hotel's network. Sign in!</body></html>"

Behaviour = "Callable[[BaseHTTPRequestHandler], None]"


class Gate:
    """Listens on a port. ``behave`` says how every request is answered; ``None`` passes it on to ``target``."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.behave: Callable[[Any], None] | None = None
        self.misled = 0
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with suppress(OSError):
                    if gate.behave is None:
                        gate._pass_on(self, content)
                    else:
                        gate.misled += 1
                        gate.behave(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def _pass_on(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        connection = HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            headers = {key: value for key, value in request.headers.items() if key.lower() != "connection"}
            connection.request(request.command, request.path, content, headers)
            response = connection.getresponse()
            body = response.read()
            request.send_response(response.status)
            for key, value in response.getheaders():
                if key.lower() not in ("transfer-encoding", "connection", "content-length"):
                    request.send_header(key, value)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        finally:
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def reply(body: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    """Return a behaviour: greet as a server does, and answer everything else with ``body``."""

    def behave(request: Any) -> None:
        content = GREETING if request.path == protocol.PREFIX else body
        request.send_response(status if content is body else 200)
        for name, value in headers.items() if content is body else ():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return behave


def _greets(request: Any) -> bool:
    if request.path == protocol.PREFIX:
        reply(b"")(request)
        return True
    return False


def drip(request: Any) -> None:
    """Send a byte of the answer now and then, for ever."""
    if _greets(request):
        return
    request.send_response(200)
    request.send_header("Content-Length", "1000000000")
    request.end_headers()
    stop = threading.Event()
    while not stop.wait(0.05):
        request.wfile.write(b" ")


def drip_headers(request: Any) -> None:
    """Send a byte of a header now and then, for ever."""
    if _greets(request):
        return
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    stop = threading.Event()
    while not stop.wait(0.05):
        request.wfile.write(b"x")


def endless(request: Any) -> None:
    """Send a body without an end."""
    if _greets(request):
        return
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(b" " * (1 << 20))


def bomb(request: Any) -> None:
    """Send a body that is short and becomes long when it is unpacked."""
    if not _greets(request):
        reply(_BOMB, Content_Encoding="gzip")(request)


def garbage(request: Any) -> None:
    """Speak no HTTP."""
    request.connection.sendall(b"\x00\xff" * 2000)
    request.connection.shutdown(socket.SHUT_RDWR)


_BOMB = gzip.compress(b" " * (700 << 20), 1)
