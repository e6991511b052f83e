"""The pool of connections to one server, and how long an answer may take to come in.

A server may be broken or hostile: what comes a byte at a time never times out by itself. So every answer has a time that
it may take, from its first line on, which grows with what has come.
"""

from __future__ import annotations

import http.client
import io
import os
import ssl
import time
from queue import Empty
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import make_headers

from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.redaction import redact_url

if TYPE_CHECKING:
    import socket

    from modeldb_core.backends.remote.address import Address

KEPT_CONNECTIONS = 16
GRACE_TIMES = 10
"""So many times the time limit of a connection an answer may take in any case."""
_TOGETHER_BYTES = 1 << 16
SLOWEST_BYTES_A_SECOND = 1024
"""Beyond that it has to come at least as fast as this."""


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until the answer has taken too long."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._socket = raw, sock
        limit = sock.gettimeout()
        self._limit_s = 1e9 if limit is None else limit
        self._deadline = time.monotonic() + GRACE_TIMES * self._limit_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - anything with a buffer
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            msg = "the answer comes too slowly"
            raise TimeoutError(msg)
        self._socket.settimeout(min(self._limit_s, remaining_s))
        count = self._raw.readinto(buffer)
        self._deadline += (count or 0) / SLOWEST_BYTES_A_SECOND
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """An answer that may not take for ever."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *arguments, **options)
        buffered = self.fp
        self.fp = io.BufferedReader(_BoundedReader(buffered.detach(), sock))

    def begin(self) -> None:
        """Read the headers; lengths that contradict each other end the connection here, where it can be closed."""
        super().begin()
        said = ",".join(self.headers.get_all("Content-Length", ()))
        if len({length.strip() for length in said.split(",")}) > 1:
            self.close()
            msg = "the answer has several lengths"
            raise http.client.HTTPException(msg)


class _BoundedConnection(HTTPConnection):
    """A connection that sends a short body together with the headers before it, so that the server wakes up once."""

    response_class = BoundedResponse
    _waits = False
    _head = b""

    def request(self, method: str, url: str, body: Any = None, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as urllib3 takes them
        """Send a request."""
        self._waits, self._head = isinstance(body, bytes) and 0 < len(body) <= _TOGETHER_BYTES, b""
        super().request(method, url, body, *arguments, **options)

    def send(self, data: Any) -> None:  # noqa: ANN401 - as http.client takes it
        """Send some of a request; its headers come first."""
        if self._waits:
            self._waits, self._head = False, data
            return
        head, self._head = self._head, b""
        super().send(head + data if head else data)


class _BoundedSecureConnection(_BoundedConnection, HTTPSConnection):
    pass


class KeptConnections:
    """The idle connections of a pool: what urllib3 wants of a queue, without its locks, which a fork could leave held."""

    def __init__(self, maxsize: int = 0) -> None:
        self._connections: list[Any] = []
        self._maxsize = maxsize

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401 - a connection
        del block, timeout
        try:
            return self._connections.pop()
        except IndexError:
            raise Empty from None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ANN401 - a connection
        del block, timeout
        if item is None:
            return  # a place that is free
        if len(self._connections) < self._maxsize:
            self._connections.append(item)
        else:
            item.close()

    def qsize(self) -> int:
        return len(self._connections)

    def forget(self) -> None:
        """Close this process's copies of the sockets; the connections themselves go on."""
        for connection in self._connections:
            if connection.sock is not None:
                os.close(connection.sock.detach())
        self._connections.clear()


class BoundedPool(urllib3.HTTPConnectionPool):
    """Connections whose answers may not take for ever."""

    ConnectionCls = _BoundedConnection
    QueueCls = KeptConnections  # type: ignore[assignment]


class BoundedSecurePool(urllib3.HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _BoundedSecureConnection
    QueueCls = KeptConnections  # type: ignore[assignment]

    def _validate_conn(self, conn: Any) -> None:  # noqa: ANN401 - a connection
        """Connect; that a certificate is not checked was said once already, where the option was given."""
        if conn.is_closed:
            conn.connect()


def netloc(address: Address) -> str:
    """Return host and port as they stand in a URL."""
    return f"{f'[{address.host}]' if ':' in address.host else address.host}:{address.port}"


def make_pool(address: Address) -> urllib3.HTTPConnectionPool:
    """Return a pool without connections, by way of the proxy that the environment names.

    Raises:
        ConfigurationError: the proxy or the certificates cannot be used.
    """
    proxy = None if address.is_loopback or proxy_bypass(address.host) else getproxies().get(address.scheme)
    if proxy:
        return _proxied(address, proxy)
    if address.scheme == "http":
        return BoundedPool(address.host, address.port, maxsize=KEPT_CONNECTIONS)
    return BoundedSecurePool(address.host, address.port, maxsize=KEPT_CONNECTIONS, ssl_context=trust(address))


def _proxied(address: Address, proxy: str) -> urllib3.HTTPConnectionPool:
    try:
        parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = make_headers(proxy_basic_auth=parts.auth) if parts.auth else None
        context = trust(address) if address.scheme == "https" else None
        manager = urllib3.ProxyManager(
            parts._replace(auth=None).url, proxy_headers=headers, maxsize=KEPT_CONNECTIONS, ssl_context=context
        )
    except (exceptions.HTTPError, ValueError) as error:
        msg = f"the proxy {redact_url(proxy)!r}, which the environment names for {address.url}, is not a URL of one"
        raise ConfigurationError(msg) from error
    manager.pool_classes_by_scheme = {"http": BoundedPool, "https": BoundedSecurePool}
    return manager.connection_from_host(address.host, address.port, address.scheme)


def trust(address: Address) -> ssl.SSLContext:
    """Return what certificates to accept: the system's authorities unless something else is said."""
    try:
        context = ssl.create_default_context(cafile=address.ca_bundle or None)
    except (OSError, ssl.SSLError) as error:
        msg = f"ca_bundle {address.ca_bundle!r} is not a file of certificates: {getattr(error, 'strerror', None) or error}"
        raise ConfigurationError(msg) from error
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
