"""Fetching a blob from where it lies, by a URL that a server answered with.

The server may be hostile, so its answer must not make this machine ask for what the server could not ask for itself: only
HTTP, never less secure than the way to the server, and only hosts that are as public as the server is. The name is looked
up once, and that address is the one that is connected to; redirects are not followed. The client logs no URLs: anyone who has one
of these is let in.
"""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from modeldb_core.backends.remote.pool import BoundedResponse, trust

if TYPE_CHECKING:
    from modeldb_core.backends.remote.address import Address

_LOOPBACK, _PRIVATE, _PUBLIC = 0, 1, 2


def open_direct(url: str, address: Address, start: int) -> HTTPResponse:
    """Return the answer to a GET of ``url``, from byte ``start`` on, its body still to be read. No token is sent.

    Raises:
        HTTPException: the URL is not one to follow, or is not answered with the bytes.
        OSError: the host is unknown or cannot be reached.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    if parts.scheme not in ("http", "https") or (address.scheme == "https" and parts.scheme != "https"):
        raise HTTPException
    if not host or not url.isascii() or not url.isprintable() or " " in url or "@" in parts.netloc:
        raise HTTPException
    if getproxies().get(parts.scheme) and not proxy_bypass(host):
        raise HTTPException  # the proxy would look the name up, and who knows where it may connect to
    headers = {"Range": f"bytes={start}-"} if start else {}
    connection = HTTPConnection(parts.netloc, timeout=address.timeout_s)
    connection.response_class = BoundedResponse
    connection.sock = socket.create_connection(
        (_place_to_connect_to(host, port, address), port), address.connect_timeout_s
    )
    try:
        if parts.scheme == "https":
            connection.sock = trust(address).wrap_socket(connection.sock, server_hostname=host)
        connection.sock.settimeout(address.timeout_s)
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", headers=headers)
        response = connection.getresponse()
    except BaseException:
        connection.close()
        raise
    if connection.sock is not None:
        connection.sock.close()  # for good once the answer is closed, which reads from it
    if response.status != (206 if start else 200):
        response.close()
        raise HTTPException
    return response


def _place_to_connect_to(host: str, port: int, address: Address) -> str:
    """Return an address of ``host`` that a server at ``address`` may send this machine to.

    Raises:
        HTTPException: there is none.
        OSError: a name is unknown.
    """
    limit = max(_LOOPBACK, min(_reach(one) for one in _look_up(address.host, address.port)))
    for one in _look_up(host, port):
        if _reach(one) >= limit:
            return str(one)
    raise HTTPException


def _look_up(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = (ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return [place.ipv4_mapped or place if isinstance(place, IPv6Address) else place for place in places]


def _reach(place: IPv4Address | IPv6Address) -> int:
    """Return how public an address is; ``-1`` for one that nothing is to be fetched from, such as a link-local one."""
    if place.is_loopback:
        return _LOOPBACK
    if place.is_link_local or place.is_multicast or place.is_unspecified:
        return -1
    return _PUBLIC if place.is_global else _PRIVATE
