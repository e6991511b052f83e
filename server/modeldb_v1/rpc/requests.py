"""A gRPC call as a request of the application: its metadata as headers, its message as the body."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson
from flask import Response

from modeldb_core.stores.protocol import WRITE_HEADER
from modeldb_server.proxies import TrustedProxy
from modeldb_server.security import CLIENT_WAITS_S
from modeldb_v1.errors import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Flask

GRPC = "application/grpc"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
MARK = "modeldb.grpc"
"""In the WSGI environment of what came by gRPC. No header can put it there."""

_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "authorization": "HTTP_AUTHORIZATION",
        "developer_key": "HTTP_GRPC_METADATA_DEVELOPER_KEY",
        "email": "HTTP_GRPC_METADATA_EMAIL",
        "grpc-metadata-developer_key": "HTTP_GRPC_METADATA_DEVELOPER_KEY",
        "grpc-metadata-email": "HTTP_GRPC_METADATA_EMAIL",
        "grpc-metadata-scheme": "HTTP_GRPC_METADATA_SCHEME",
        "grpc-metadata-source": "HTTP_GRPC_METADATA_SOURCE",
        "grpcgateway-authorization": "HTTP_AUTHORIZATION",
        "scheme": "HTTP_GRPC_METADATA_SCHEME",
        "source": "HTTP_GRPC_METADATA_SOURCE",
        "user-agent": "HTTP_USER_AGENT",
        "x-request-id": "HTTP_X_REQUEST_ID",
    }
)
"""The metadata that is passed on: as a client sends it, and as the original proxy passes on what came by HTTP."""

_CODES: Mapping[int, int] = MappingProxyType(
    {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 412: 9, 413: 8, 415: 3, 429: 8, 501: 12, 503: 14, 504: 4}
)
_INTERNAL = 13
_TRAILING = ("Retry-After", "X-Request-Id")
"""Headers of an answer that a client of gRPC reads in the trailing metadata."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered.

    Attributes:
        payload: the message; ``None`` where the call failed.
        code: of gRPC; 0 where it did not fail.
        message: says why it failed.
        reason: the stable code of the error, in capitals.
        trailing: metadata that goes with it.
    """

    payload: bytes | None
    code: int = 0
    message: str = ""
    reason: str = ""
    trailing: tuple[tuple[str, str], ...] = ()


def ask(
    app: Flask,
    path: str,
    payload: bytes,
    metadata: Iterable[tuple[str, str | bytes]],
    peer: str,
    *,
    proxy: str = "",
    waits_s: float | None = None,
) -> Answer:
    """Have the application answer a gRPC call.

    Args:
        app: the application.
        path: ``/<service>/<method>``.
        payload: the message as it came.
        metadata: as the client sent it.
        peer: who asks, as gRPC names it.
        proxy: the address or network of the reverse proxy that is believed.
        waits_s: until the client's deadline; ``None``: it has none.
    """
    environment = _environment(path, payload, metadata, peer, proxy)
    if waits_s is not None:
        environment[CLIENT_WAITS_S] = waits_s
    response = Response.from_app(app.wsgi_app, environment, buffered=True)
    trailing = tuple((name.lower(), response.headers[name]) for name in _TRAILING if name in response.headers)
    body = response.get_data()
    if response.status_code == 200 and response.mimetype == GRPC:
        return Answer(body, trailing=trailing)
    return Answer(None, *_problem(response.status_code, body), trailing)


def _problem(status: int, body: bytes) -> tuple[int, str, str]:
    """Return code, message and reason of an error, of the v1 API or of the server."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _CODES.get(status, _INTERNAL), body.decode(errors="replace").strip(), "ERROR"
    inner = said.get("error")
    if isinstance(inner, dict):  # of a hook that stands before all routes
        code = _CODES.get(status, _INTERNAL)
        return code, str(inner.get("message", "")), reason_of(str(inner.get("code", "error")))
    reason = next((str(each.get("reason", "")) for each in said.get("details", ())), "ERROR")
    return int(said.get("code", _INTERNAL)), str(said.get("message", "")), reason


def _environment(
    path: str, payload: bytes, metadata: Iterable[tuple[str, str | bytes]], peer: str, proxy: str
) -> dict[str, Any]:
    address = _address(peer)
    environment: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/2",
        "REMOTE_ADDR": address,
        "CONTENT_TYPE": GRPC,
        "CONTENT_LENGTH": str(len(payload)),
        "HTTP_HOST": "localhost",  # a page that is told a wrong address reaches no port of gRPC, so it is not asked for
        f"HTTP_{WRITE_HEADER.upper().replace('-', '_')}": "1",  # nor can a page send what gRPC takes
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(payload),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        MARK: True,
    }
    for name, value in metadata:
        if name == "x-forwarded-for" and TrustedProxy(proxy).trusts(address):
            environment["REMOTE_ADDR"] = str(value).rpartition(",")[2].strip()
        elif name in _HEADERS and isinstance(value, str):
            environment.setdefault(_HEADERS[name], value)
    return environment


def _address(peer: str) -> str:
    """Return the address of a peer such as ``ipv4:127.0.0.1:50312`` or ``ipv6:%5B::1%5D:50312``."""
    family, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""
