"""What a request shows of who makes it: found in its headers, or in the metadata of a gRPC call."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

COOKIE = "modeldb_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Its name where the connection is encrypted and the server has a host for itself: no other host and no other path can set it."""
_V1_EMAIL = ("grpc-metadata-email", "email")
_V1_KEY = ("grpc-metadata-developer-key", "developer-key")


class Means(StrEnum):
    """By what somebody says who they are."""

    TOKEN = "token"
    PASSWORD = "password"
    SESSION = "session"
    PROXY = "proxy"


class Shown(NamedTuple):
    """What a request shows.

    Attributes:
        means: what it is.
        secret: the token, the password or the content of the cookie; of a proxy nothing.
        name: of the user, where the request names one beside it: their name or address.
        is_basic: whether a browser asked its user for it: a token is then in the place of the password.
    """

    means: Means
    secret: str
    name: str = ""
    is_basic: bool = False


def shown_in(headers: Iterable[tuple[str, str]], *, session: str = "", proxy_header: str = "") -> Shown | None:
    """Return what the headers of a request show; ``None`` where they show nothing.

    ``Authorization`` counts before the headers of version 1 of the API, those before what a proxy says, and that before a
    cookie: a program that shows a token does not act for the one whose browser it runs in.

    Args:
        headers: names and values; of gRPC its metadata, whose names may have underscores.
        session: the content of the cookie; gRPC has none.
        proxy_header: the header that names the user, where the request comes from the proxy that is believed.
    """
    given = {name.lower().replace("_", "-"): value for name, value in headers}
    if (found := _authorization(given.get("authorization", ""))) is not None:
        return found
    if key := next((given[name] for name in _V1_KEY if given.get(name)), ""):
        return Shown(Means.TOKEN, key.strip(), next((given[name] for name in _V1_EMAIL if given.get(name)), ""))
    if proxy_header and (name := given.get(proxy_header.lower().replace("_", "-"), "").strip()):
        return Shown(Means.PROXY, "", name)
    return Shown(Means.SESSION, session) if session else None


def _authorization(value: str) -> Shown | None:
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if not rest:
        return None
    if scheme.lower() == "bearer":
        return Shown(Means.TOKEN, rest)
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(rest, validate=True).decode("utf-8", "surrogateescape").partition(":")
        except (binascii.Error, ValueError):
            name = secret = ""
        return Shown(Means.PASSWORD, secret, name, is_basic=True)
    return None
