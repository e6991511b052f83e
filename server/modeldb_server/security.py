"""What every request must pass, and what every answer carries.

A server on loopback is not out of reach: every page that a browser shows can send requests to it. So a request must be
addressed to a known host name (against DNS rebinding), must not come from another origin, and one that changes
something must be of a form that a page of another origin cannot send. Answers forbid framing, sniffing and scripts
that are not the server's own files.
"""

from __future__ import annotations

import ipaddress
import math
import socket
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from flask import abort, current_app, g, request
from werkzeug.exceptions import UnsupportedMediaType

from modeldb_core.errors import ConfigurationError, PermissionDeniedError, StoreReadOnlyError
from modeldb_core.runtime.time_limits import set_limit
from modeldb_core.stores.protocol import WRITE_HEADER
from modeldb_server.accounts.credentials import COOKIE, SECURE_COOKIE, Means, shown_in
from modeldb_server.context import server_context
from modeldb_server.guesses import address_group
from modeldb_server.limits import BusyError
from modeldb_server.origins import TABLE, is_allowed_origin, mark, preflight
from modeldb_server.proxies import THROUGH_PROXY
from modeldb_server.responses import JSON
from modeldb_server.routes import Form, Policy
from modeldb_server.tasks import IS_ADMITTED, REFUSAL
from modeldb_server.tokens import NotGrantedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask, Request, Response
    from werkzeug.routing import Rule

    from modeldb_server.accounts.credentials import Shown
    from modeldb_server.accounts.visitor import Visitor
    from modeldb_server.context import ServerContext
    from modeldb_server.routes import Route
    from modeldb_server.settings import ServerSettings

_JSON_FORM = Form()
_V1_HEADERS = "grpc-metadata-"
"""What the headers of clients of the v1 API begin with."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CLIENT_WAITS_S = "modeldb.client_waits_s"
"""In the WSGI environment: how long the client waits for the answer, where it has said so."""
POLICIES = "modeldb_policies"
Policies: TypeAlias = "dict[str, Policy | Callable[[Request], Policy]]"
"""Who may call each endpoint."""
VISITOR = "modeldb.visitor"
"""Where the WSGI environment has who makes a request, or why nobody may, where that was looked at before."""
MOST_UNSEEN_BYTES = 1 << 20
"""So much of a body is read beside a password that was not looked at yet: that takes too long for the loop that reads."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Set on every answer, whatever made it."""

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of pages: nothing inline, nothing from elsewhere."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The Content-Security-Policy of everything that is not a page."""


def register_guards(app: Flask, policies: Policies, table: dict[str, Route]) -> None:
    """Check every request of ``app`` and mark every answer.

    Args:
        policies: say who may call each endpoint.
        table: what the endpoints of the API take; all others take JSON.
    """
    app.extensions[POLICIES] = policies
    app.extensions[TABLE] = table
    app.before_request(check_request)
    app.after_request(protect_response)


def complete_policies(app: Flask, policies: Policies) -> None:
    """Give the routes of plugins a policy: what only reads may be read; a function that changes something must say so.

    A plugin's view function states another policy in its attribute ``modeldb_policy``: a name, or for one that does many
    things a function that returns the policy of a request.

    Raises:
        ConfigurationError: a route takes other methods than GET and has no policy.
    """
    for rule in app.url_map.iter_rules():
        if rule.endpoint in policies:
            continue
        stated = getattr(app.view_functions.get(rule.endpoint), "modeldb_policy", None)
        if stated is not None:
            policies[rule.endpoint] = stated if callable(stated) else Policy(stated)
        elif methods_of(rule) <= SAFE_METHODS:
            policies[rule.endpoint] = Policy.READ
        else:
            msg = (
                f"the route {rule.rule} ({rule.endpoint}) takes {', '.join(sorted(methods_of(rule) - SAFE_METHODS))} and"
                f" has no policy; set modeldb_policy = 'write' on its view function"
            )
            raise ConfigurationError(msg)


def methods_of(rule: Rule) -> set[str]:
    """Return the methods of a Flask rule."""
    return set(rule.methods or ())


def longest_body(app: Flask, environ: dict[str, Any]) -> int | None:
    """Return how long the body of a request may be; ``None`` where it is not read: the request is refused, or needs none.

    Asked when the headers have arrived; what the request is answered is decided when it is its turn.
    """
    with app.request_context(environ):
        if request.endpoint is None or request.method in SAFE_METHODS:
            return None
        try:
            check_request(is_trial=True)
        except Exception as error:
            environ[REFUSAL] = error
            return None
        visitor: Visitor | None = g.modeldb_visitor
        limit = request.max_content_length or 0
        return min(limit, MOST_UNSEEN_BYTES) if visitor is not None and visitor.is_provisional else limit


def check_request(*, is_trial: bool = False) -> Response | None:
    """Refuse a request that is not addressed to this server, comes from elsewhere, or may not do what it wants.

    Args:
        is_trial: the request will be checked again, so wrong tokens are not counted.

    Returns:
        The answer to a browser's question before a request of another origin; ``None``: the request goes on.
    """
    context = server_context()
    settings = context.settings
    hosts, any_address = hosts_of(context)
    if not is_known_host(request.headers.getlist("Host"), hosts, any_address=any_address):
        msg = (
            f"the request is addressed to {request.headers.get('Host', '')[:80]!r}, which this server does not answer"
            f" for; use 127.0.0.1 or localhost, or start it with that name in server.allowed_hosts (--allow-host)"
        )
        raise PermissionDeniedError(msg)
    if (answer := preflight()) is not None:
        return answer
    if not is_same_origin(request) and not is_allowed_origin():
        msg = "the request comes from a page of another origin; only the server's own pages may ask, and those of server.allowed_origins"
        raise PermissionDeniedError(msg)
    policy = None if request.endpoint is None else request_policy(request)
    address = request.remote_addr or ""
    try:
        g.modeldb_visitor = _visitor(context, policy, address, is_trial=is_trial)
    except NotGrantedError as error:
        g.modeldb_visitor = error.visitor  # whom the access log names
        raise
    if policy is not Policy.PUBLIC:
        check_rate(context, request.environ, context.visitor, address, is_trial=is_trial)
    if policy is Policy.READ and not is_trial:
        _limit_time(settings.request_timeout_s)
    if policy is None:
        return None  # no such route: Flask answers 404 or 405
    _check_scope()
    _check_body(settings)
    if policy is Policy.WRITE:
        check_unforged()
        _check_write(settings.read_only)
    return None


def hosts_of(context: ServerContext) -> tuple[tuple[str, ...], bool]:
    """Return to which hosts a request may be addressed, and whether to any address; see :func:`is_known_host`."""
    asks, allowed = not context.gatekeeper.is_open, context.settings.allowed_hosts
    return (*allowed, *own_names()) if asks else allowed, asks


def _visitor(context: ServerContext, policy: Policy | None, address: str, *, is_trial: bool) -> Visitor | None:
    """Return who makes the current request; what is wrong with that is raised."""
    if VISITOR not in request.environ:
        return context.gatekeeper.check(shown_by(request), policy, address, is_trial=is_trial)
    found: Visitor | Exception | None = request.environ[VISITOR]
    if isinstance(found, Exception):
        raise found
    return found


def _limit_time(most_s: float) -> None:
    """Say how long what the request reads may take: no longer than its client waits. What it changes is finished."""
    seconds = min(most_s or math.inf, request.environ.get(CLIENT_WAITS_S, math.inf))
    if seconds < math.inf:
        set_limit(seconds)


def _form() -> Form:
    """Return the form that the current route takes."""
    route: Route | None = current_app.extensions[TABLE].get(request.endpoint)
    if route is not None:
        return route.form
    stated = getattr(current_app.view_functions.get(request.endpoint or ""), "modeldb_form", None)
    return stated if isinstance(stated, Form) else _JSON_FORM


def shown_by(request: Request) -> Shown | None:
    """Return what a request shows of who makes it."""
    settings = server_context().settings
    is_of_proxy = bool(settings.proxy_user_header) and bool(request.environ.get(THROUGH_PROXY))
    session = request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE) or ""
    proxy_header = settings.proxy_user_header if is_of_proxy else ""
    return shown_in(request.headers.items(), session=session, proxy_header=proxy_header)


def check_unforged() -> None:
    """See that a request which a browser signs by itself was made by a page of this server (against forged requests).

    Raises:
        PermissionDeniedError: it could come from elsewhere.
    """
    visitor = server_context().visitor
    if visitor is not None and visitor.means in (Means.SESSION, Means.PROXY):
        check_signed()


def check_signed() -> None:
    """See that a request has what only a page of this server, or a program, can send.

    Raises:
        PermissionDeniedError: it has not.
    """
    if request.headers.get(WRITE_HEADER) != "1" or "Origin" not in request.headers:  # which origin was looked at before
        msg = f"a request that a browser signs by itself needs the header {WRITE_HEADER}: 1, and an Origin"
        raise PermissionDeniedError(msg)


def _check_body(settings: ServerSettings) -> None:
    """Refuse a body that is not of the type that the route takes, or too long; no other page can send such types."""
    form = _form()
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    is_bare = request.method == "DELETE" and not has_body  # a page of another origin cannot send that unasked either
    if request.method not in SAFE_METHODS and form.body_type and request.mimetype != form.body_type and not is_bare:
        name = "JSON" if form.body_type == JSON else f"of type {form.body_type}"
        raise UnsupportedMediaType(description=f"the body must be {name}: send it with Content-Type: {form.body_type}")
    longest = max(settings.max_body_bytes, form.max_body_bytes or 0)
    limit = settings.max_upload_bytes if form.is_upload else longest
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        abort(413, f"the body is longer than {limit:,} bytes")


def check_rate(
    context: ServerContext, environ: dict[str, Any], visitor: Visitor | None, address: str, *, is_trial: bool = False
) -> None:
    """Refuse one request too many of a user, or of an address. A request is counted once, as soon as its headers are there.

    Raises:
        BusyError: there are too many.
    """
    if environ.get(IS_ADMITTED):
        return
    refusal = environ.get(REFUSAL)
    if refusal is not None and not is_trial:
        raise refusal  # its body was not read, so it is refused also where it would not be any more
    wait_s = context.rates.take(f"user:{visitor.user}" if visitor else address_group(address))
    if wait_s:
        msg = f"these are more than {context.settings.rate_limit:g} requests a second; ask again later"
        raise BusyError(msg, 429, retry_after_s=wait_s)


def _check_scope() -> None:
    """Refuse a route that is for those who may see the whole store to anyone who may see a part of it."""
    route: Route | None = current_app.extensions[TABLE].get(request.endpoint)
    if route is not None and route.whole and server_context().scope is not None:
        msg = (
            f"{request.path[:80]} shows all that is stored, and this token is for some workspaces or projects; use the JSON API"
            " (docs/api.md), or a token of a user who may see everything"
        )
        raise PermissionDeniedError(msg)


def request_policy(request: Request) -> Policy:
    """Return who may make ``request``; a route without a policy is nobody's."""
    policy = current_app.extensions[POLICIES].get(request.endpoint)
    if callable(policy):
        policy = policy(request)
    if isinstance(policy, Policy):
        return policy
    msg = "this route has no policy and is closed"
    raise PermissionDeniedError(msg)


def is_of_a_program(request: Request) -> bool:
    """Say whether a request has what no page of another origin can send unasked: a form has none of it, nor has a link."""
    return (
        request.method not in (*SAFE_METHODS, "POST")
        or request.mimetype == JSON
        or (request.headers.get("Authorization") or "").lower().startswith("bearer ")
        or any(name.lower().startswith(_V1_HEADERS) for name, _ in request.headers)
    )


def _check_write(read_only: bool) -> None:
    if request.headers.get(WRITE_HEADER) != "1" and (_form().needs_header or not is_of_a_program(request)):
        instead = "" if _form().needs_header else f", or a body that is sent with Content-Type: {JSON}"
        msg = f"a request that changes something needs the header {WRITE_HEADER}: 1{instead}"
        raise PermissionDeniedError(msg)
    if read_only:
        msg = "this server changes nothing: it was started read-only"
        raise StoreReadOnlyError(msg)


@cache
def own_names() -> tuple[str, ...]:
    """Return what this machine calls itself."""
    name = socket.gethostname()
    return (name, name.partition(".")[0])


def is_known_host(values: list[str], allowed: Iterable[str], *, any_address: bool = False) -> bool:
    """Say whether the Host header names this machine's loopback or an allowed host; the port does not matter.

    It does not, because an SSH tunnel ends at another port, and a foreign page cannot choose the name. For the same
    reason ``any_address``, of a server that other machines may ask, is safe: rebinding needs a name.
    """
    if len(values) != 1:
        return False
    name = _host_name(values[0])
    if name is None:
        return False
    if name == "localhost" or name in {host.lower().strip("[]") for host in allowed}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback or any_address
    except ValueError:
        return False


def _host_name(value: str) -> str | None:
    """Return the host of ``host[:port]`` in lower case, ``None`` where it is malformed."""
    if value.startswith("["):
        name, bracket, rest = value[1:].partition("]")
        if not bracket or ":" not in name:
            return None
    else:
        name, colon, port = value.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        return None
    name = name.lower()
    return name if name and name.isascii() and all(char.isalnum() or char in ".-:" for char in name) else None


def is_same_origin(request: Request) -> bool:
    """Say whether a request comes from one of the server's own pages, from the address bar, or from no browser.

    Another port of the same machine is another origin. A link from elsewhere to a page may be followed: its answer is
    shown, and not seen by the page with the link.
    """
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "").lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return False
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return True
    return (
        request.method in ("GET", "HEAD")
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )


def protect_response(response: Response) -> Response:
    """Set the headers that tell a browser what it must not do with the answer."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    policy = PAGE_POLICY if response.mimetype == "text/html" else DATA_POLICY
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Cache-Control", "no-store")
    mark(response)
    return response
