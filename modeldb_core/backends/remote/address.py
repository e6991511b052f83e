"""Where the server is and how to speak to it: the URL of a remote store and its options."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from modeldb_core.backends._urls import split_options
from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.notices import warn
from modeldb_core.runtime.redaction import strip_userinfo

_KINDS: dict[str, type] = {
    "connect_timeout_s": float,
    "timeout_s": float,
    "retry_s": float,
    "ca_bundle": str,
    "verify": bool,
}
"""The options that a URL may carry."""

_warned: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server, and the options of the connections to it.

    Attributes:
        url: without token and options: how the store is called everywhere.
        scheme: http or https.
        host: a name or an address, IPv6 without brackets.
        port: of the server.
        path: what comes before the paths of the server, such as ``/modeldb`` behind a reverse proxy.
        token: what is shown to be let in.
        connect_timeout_s: how long to wait for a connection.
        timeout_s: how long to wait for an answer, or for more of it.
        retry_s: how long a request that failed is tried again.
        ca_bundle: a file of the certificates to trust, in place of the system's.
        verify: whether the server's certificate is checked.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str = ""
    token: str = field(default="", repr=False)
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0
    retry_s: float = 5.0
    ca_bundle: str = ""
    verify: bool = True

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self.host)


def read_address(url: str, *, token: str, **options: Any) -> Address:  # noqa: ANN401 - options by name
    """Return what ``url`` and the options of a store say; those in the URL win.

    Raises:
        ConfigurationError: the URL names no server, an option is unknown, or has a value that cannot be used.
    """
    bare, found = split_options(url, _KINDS)
    shown = strip_userinfo(bare)
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        msg = f"{shown!r} is not the URL of a server ({error}); expected one such as 'https://models.example.org'"
        raise ConfigurationError(msg) from None
    if parts.scheme not in ("http", "https") or not host or parts.fragment or not host.isascii():
        msg = f"{shown!r} is not the URL of a server; expected one such as 'https://models.example.org'"
        raise ConfigurationError(msg)
    chosen = {**options, **found}
    for name in ("connect_timeout_s", "timeout_s", "retry_s"):
        _check_seconds(name, chosen[name], minimum=0.0 if name == "retry_s" else 0.001)
    for name in ("ca_bundle", "verify"):
        if not isinstance(chosen[name], _KINDS[name]):
            msg = (
                f"{name} is {chosen[name]!r}; expected {'true or false' if name == 'verify' else 'the path of a file'}"
            )
            raise ConfigurationError(msg)
    if chosen["ca_bundle"]:
        chosen["ca_bundle"] = os.path.abspath(os.path.expanduser(chosen["ca_bundle"]))
    path = parts.path.rstrip("/")
    port = port if port is not None else {"http": 80, "https": 443}[parts.scheme]
    is_usual = port == {"http": 80, "https": 443}[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    address = Address(
        url=f"{parts.scheme}://{name}{'' if is_usual else f':{port}'}{path}",
        scheme=parts.scheme,
        host=host,
        port=port,
        path=path,
        token=_checked_token(unquote(parts.password or parts.username or "") or token, shown),
        **chosen,
    )
    _warn(address)
    return address


def is_loopback(host: str) -> bool:
    """Say whether ``host`` names this machine without asking anyone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _checked_token(token: str, url: str) -> str:
    if not token or (token.isascii() and token.isprintable() and " " not in token):
        return token
    msg = f"the token for {url} holds a character that no token has, such as a space or a line end; set it again"
    raise ConfigurationError(msg)


def _check_seconds(name: str, value: object, *, minimum: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value < 1e6:
        msg = f"{name} is {value!r}; expected a number of seconds of at least {minimum:g}"
        raise ConfigurationError(msg)


def _warn(address: Address) -> None:
    """Say once for each server what is not safe about the way to it."""
    if address.url in _warned:
        return
    if address.scheme == "http" and address.token and not address.is_loopback:
        _warned.add(address.url)
        warn(f"the token goes to {address.url} in clear text, readable by anyone on the way; use https://")
    if address.scheme == "https" and not address.verify:
        _warned.add(address.url)
        warn(f"the certificate of {address.url} is not checked (verify = false): anyone on the way can be that server")
