"""Signing in and out, one's own tokens and password, and who has a role on a workspace or project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, g, request
from werkzeug.exceptions import Unauthorized

from modeldb_core.commands import people
from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from modeldb_core.log.json_documents import time_text
from modeldb_core.model.entities import to_datetime
from modeldb_server.accounts.credentials import COOKIE, SECURE_COOKIE, Means, Shown
from modeldb_server.responses import json_response
from modeldb_server.routes import Policy
from modeldb_server.security import check_signed, check_unforged

if TYPE_CHECKING:
    from modeldb_core.model.access import User
    from modeldb_server.accounts.accounts import Accounts
    from modeldb_server.accounts.vault import Token
    from modeldb_server.accounts.visitor import Visitor
    from modeldb_server.context import ServerContext

_MAY_MANAGE = frozenset({Means.SESSION, Means.PASSWORD, Means.PROXY})
"""By what one may make tokens and give a new password: a token that was stolen makes no others."""


def sign_in(context: ServerContext, *, user: str, password: str) -> Response:
    """Begin a session of a browser."""
    check_signed()
    shown = Shown(Means.PASSWORD, password, user)
    visitor = context.gatekeeper.identify(shown, request.remote_addr or "")
    if not visitor.user_id:
        msg = "a token of the settings is no password of a user: sign in with your own"
        raise Unauthorized(msg)
    response = json_response(_visitor_document(visitor))
    begin_session(context, visitor, response)
    return response


def begin_session(context: ServerContext, visitor: Visitor, response: Response) -> None:
    """Give a browser the cookie of a new session; one that it had before ends."""
    vault = _accounts(context).vault
    if before := _session():
        vault.end_session(before)
    lifetime_s = context.settings.session_hours * 3600
    g.modeldb_visitor = visitor  # whom the access log names
    response.set_cookie(
        _cookie_name(), vault.add_session(visitor.user_id, lifetime_s), max_age=int(lifetime_s), **_cookie()
    )


def sign_out(context: ServerContext) -> Response:
    """End the session of the browser that asks."""
    check_unforged()
    if shown := _session():
        _accounts(context).vault.end_session(shown)
    response = json_response({"signed_out": True})
    for name in (COOKIE, SECURE_COOKIE):
        if name in request.cookies:
            response.set_cookie(
                name, "", max_age=0, **{**_cookie(), "secure": request.is_secure or name == SECURE_COOKIE}
            )
    return response


def show_visitor(context: ServerContext) -> Response:
    """Say who asks."""
    visitor = context.visitor
    if visitor is None:
        raise Unauthorized
    return json_response(_visitor_document(visitor))


def change_password(context: ServerContext, *, password: str, new_password: str) -> Response:
    """Give the user who asks a new password; all their sessions end, and a new one begins."""
    check_unforged()
    visitor, user = _own(context)
    shown = Shown(Means.PASSWORD, password, user.name)
    known = context.gatekeeper.identify(
        shown, request.remote_addr or ""
    )  # who sits at an open browser does not know it
    if known.user_id != user.entity_id:
        msg = "the password is not that of this user"
        raise PermissionDeniedError(msg)
    _accounts(context).set_password(user, new_password)
    response = json_response({"changed": True})
    if visitor.means is Means.SESSION:
        begin_session(context, visitor, response)
    return response


# Tokens


def list_own_tokens(context: ServerContext) -> Response:
    """List the tokens of the user who asks."""
    _, user = _own(context)
    return json_response(
        {"items": [_token_document(each) for each in _accounts(context).vault.tokens_of(user.entity_id)]}
    )


def create_own_token(
    context: ServerContext, *, name: str, allows: str, place_kind: str, place_id: str, days: float | None
) -> Response:
    """Make a token of the user who asks."""
    check_unforged()
    _, user = _own(context)
    if bool(place_kind) != bool(place_id):
        msg = "a token for one place needs both place_kind and place_id"
        raise InvalidArgumentError(msg)
    if place_id:
        context.store.get(place_kind, place_id)
    shown, kept = _accounts(context).create_token(
        user,
        name=name,
        allows=Policy(allows),
        place=(place_kind, place_id),
        expires_in_days=days,
        created_by=user.name,
    )
    return json_response({**_token_document(kept), "token": shown}, 201)


def revoke_own_token(context: ServerContext, *, token_id: str) -> Response:
    """End a token of the user who asks."""
    check_unforged()
    _, user = _own(context)
    if not _accounts(context).vault.revoke_token(token_id, user.entity_id):
        msg = f"you have no token {token_id[:60]!r} that is valid"
        raise NotFoundError(msg)
    return json_response({"revoked": True})


# Members


def list_members(context: ServerContext, *, kind: str, entity_id: str) -> Response:
    """List who has a role on a workspace or project itself."""
    context.store.get(kind, entity_id)
    directory = _accounts(context).directory()
    names = {each.entity_id: each.name for each in (*directory.users.values(), *directory.teams.values())}
    items = [
        {"holder_kind": each.holder_kind, "holder_id": each.holder_id, "name": names[each.holder_id], "role": each.role}
        for each in directory.grants_on(entity_id)
        if each.holder_id in names
    ]
    items.sort(key=lambda each: (each["holder_kind"], each["name"]))
    return json_response({"items": items, "may_change": _governs(context, kind, entity_id)})


def set_member(
    context: ServerContext, *, kind: str, entity_id: str, holder_kind: str, name: str, role: str
) -> Response:
    """Give a user or team a role, or take theirs away."""
    check_unforged()
    place = context.store.get(kind, entity_id)
    if not _governs(context, kind, entity_id):
        msg = f"who has a role on this {kind} is said by its admins"
        raise PermissionDeniedError(msg)
    accounts = _accounts(context)
    directory = accounts.directory()
    if holder_kind == "user":
        found = directory.named(name)
        holder_id = "" if found is None else found.entity_id
    else:
        teams = (each for each in directory.teams.values() if each.organization_id == place.workspace_id)
        holder_id = next((each.entity_id for each in teams if each.name == name), "")
    if not holder_id:
        msg = f"there is no {holder_kind} {name!r:.80}"
        raise NotFoundError(msg)
    if role:
        operation = people.give_role(context.whole_store, holder_kind, holder_id, kind, entity_id, role)
    else:
        operation = people.take_role(context.whole_store, holder_id, entity_id)
    accounts.execute(operation, context.actor)
    return json_response({"holder_id": holder_id, "role": role})


# What they share


def _accounts(context: ServerContext) -> Accounts:
    if context.accounts is None:
        msg = "this server has no accounts"
        raise NotFoundError(msg)
    return context.accounts


def _own(context: ServerContext) -> tuple[Visitor, User]:
    """Return who asks for something that is theirs alone: somebody who signed in, not a token of theirs."""
    visitor = context.visitor
    if visitor is None or not visitor.user_id or visitor.means not in _MAY_MANAGE:
        msg = "tokens and passwords are for who signed in by a password; a token cannot manage them"
        raise PermissionDeniedError(msg)
    return visitor, _accounts(context).directory().users[visitor.user_id]


def _governs(context: ServerContext, kind: str, entity_id: str) -> bool:
    visitor = context.visitor
    if visitor is None or not visitor.user_id or not context.may(Policy.WRITE):
        return False
    workspace_id = context.whole_store.get(kind, entity_id).workspace_id
    project_id = entity_id if kind == "project" else ""
    return _accounts(context).may_administer(visitor, workspace_id, project_id)


def _session() -> str:
    return request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE) or ""


def _cookie_name() -> str:
    return SECURE_COOKIE if request.is_secure and not request.script_root else COOKIE


def _cookie() -> dict[str, Any]:
    path = request.script_root or "/"
    return {"httponly": True, "samesite": "Lax", "secure": request.is_secure, "path": path}


def _visitor_document(visitor: Visitor) -> dict[str, Any]:
    said = {"user": visitor.user, "user_id": visitor.user_id, "is_admin": visitor.is_admin, "means": visitor.means}
    return {**said, "allows": visitor.granted, "place_kind": visitor.place_kind, "place_id": visitor.place_id}


def _token_document(token: Token) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    said = {
        name: getattr(token, name) for name in ("token_id", "name", "allows", "place_kind", "place_id", "created_by")
    }
    return {**said, **{name: time_text(to_datetime(getattr(token, name))) for name in times}}
