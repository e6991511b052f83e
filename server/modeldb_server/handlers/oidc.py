"""Signing in through an OpenID provider: there, and back."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Response, redirect, request, url_for

from modeldb_core.errors import PermissionDeniedError
from modeldb_server.accounts.credentials import Means
from modeldb_server.accounts.visitor import Visitor
from modeldb_server.handlers.accounts import begin_session
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from modeldb_server.accounts.oidc import OpenID
    from modeldb_server.context import ServerContext

_COOKIE = "modeldb_sign_in"
_LIFETIME_S = 600


def begin(context: ServerContext, *, next: str) -> Response:  # noqa: A002 - its name in the address
    """Send a browser to the provider."""
    address, state = _provider(context).begin(_back(), _own_path(next))
    response = Response(status=302, headers={"Location": address})
    # Lax, not Strict: the browser comes back from another site. It binds the state to this browser.
    response.set_cookie(
        _COOKIE,
        state,
        max_age=_LIFETIME_S,
        httponly=True,
        secure=request.is_secure,
        samesite="Lax",
        path=request.script_root or "/",
    )
    return response


def finish(context: ServerContext, *, state: str, code: str, error: str, **others: str) -> Response:
    """Let a browser in that comes back from the provider."""
    del others  # what providers send beside that
    provider = _provider(context)
    if error or not code:
        msg = "the provider let nobody in: begin again"
        raise PermissionDeniedError(msg)
    if not state or not hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), state.encode()):
        msg = "this sign-in was begun by another browser: begin again"
        raise PermissionDeniedError(msg)
    user, target = provider.finish(_back(), state, code)
    response = redirect((request.script_root or "") + target)
    assert isinstance(response, Response)
    response.delete_cookie(_COOKIE, path=request.script_root or "/")
    begin_session(context, Visitor(user.name, Policy.READ, user.entity_id, means=Means.SESSION), response)
    return response


def _provider(context: ServerContext) -> OpenID:
    assert context.openid is not None  # it has no such route without
    return context.openid


def _back() -> str:
    return url_for("api.finish_oidc", _external=True)


def _own_path(target: str) -> str:
    """Return a path of this server, whatever somebody has put into the address."""
    parts = urlsplit(target)
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if is_own and target.isprintable() and "\\" not in target and len(target) < 2000 else "/"
