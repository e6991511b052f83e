"""Users, as ``UACService`` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import people
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_v1.access.people import alter, directory_of, fill_user, myself, require_admin, user_of
from modeldb_v1.calls import read, write

if TYPE_CHECKING:
    from modeldb_core.model.access import User
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


@read("UACService.getCurrentUser")
def get_current_user(context: ServerContext, request: Fields, response: Fields) -> None:
    """Say who asks."""
    del request
    fill_user(response, myself(context, directory_of(context)))


@read("UACService.getUser")
def get_user(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the user of an identifier, an address or a name."""
    named = request.user_id or request.email or request.username
    if not named:
        msg = "user_id, email and username are all missing; one says which user is meant"
        raise InvalidArgumentError(msg)
    fill_user(response, user_of(context, directory_of(context), named, by_email=bool(request.email)))


@read("UACService.getUsers")
def get_users(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the users of identifiers, addresses and names; those whom there are not are left out."""
    named = (*request.user_ids, *request.emails, *request.usernames)
    if not named:
        msg = "user_ids, emails and usernames are all empty; name at least one user"
        raise InvalidArgumentError(msg)
    directory, seen = directory_of(context), set[str]()
    for one in named:
        try:
            user = user_of(context, directory, one, by_email=one in request.emails)
        except NotFoundError:
            continue
        if user.entity_id not in seen:
            seen.add(user.entity_id)
            fill_user(response.user_infos.add(), user)


@write("UACService.createUser")
def create_user(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make a user, with a workspace of their own."""
    require_admin(context)
    info = request.info
    name = info.verta_info.username or info.email
    if not name:
        msg = "info.verta_info.username and info.email are missing; one of them names the user"
        raise InvalidArgumentError(msg)
    _check_password(context, request.password)
    operation = people.create_user(context.whole_store, name, email=info.email, full_name=_full_name(info))
    alter(context, operation)
    _answer(context, request, response, operation.entity_id)


@write("UACService.updateUser")
def update_user(context: ServerContext, request: Fields, response: Fields) -> None:
    """Alter address, name and password of a user."""
    require_admin(context)
    user = _account(context, request.info.user_id or request.info.verta_info.user_id)
    _check_password(context, request.password)
    said = {"email": request.info.email, "full_name": _full_name(request.info)}
    if fields := {name: text for name, text in said.items() if text}:
        alter(context, people.update_user(context.whole_store, user.entity_id, **fields))
    _answer(context, request, response, user.entity_id)


@write("UACService.deleteUser")
def delete_user(context: ServerContext, request: Fields, response: Fields) -> None:
    """Let a user in no longer. What they did stays theirs, and nobody else ever gets their name."""
    require_admin(context)
    user = _account(context, request.user_id)
    if context.accounts is None:
        alter(context, people.update_user(context.whole_store, user.entity_id, is_disabled=True))
    else:
        context.accounts.disable(user, context.actor)
    response.status = True


def _account(context: ServerContext, user_id: str) -> User:
    if not user_id:
        msg = "user_id not found in request"
        raise InvalidArgumentError(msg)
    directory = directory_of(context)
    user = directory.users.get(user_id) or directory.named(user_id)
    if user is None:
        msg = f"User not found: {user_id[:80]}"
        raise NotFoundError(msg)
    return user


def _full_name(info: Fields) -> str:
    return str(info.full_name or f"{info.first_name} {info.last_name}".strip())


def _check_password(context: ServerContext, password: str) -> None:
    if password and context.accounts is None:
        msg = "this server keeps no passwords: it has no accounts; leave password out"
        raise InvalidArgumentError(msg)


def _answer(context: ServerContext, request: Fields, response: Fields, user_id: str) -> None:
    user = directory_of(context).users[user_id]
    if request.password and context.accounts is not None:
        context.accounts.set_password(user, request.password)
    fill_user(response.info, user)
