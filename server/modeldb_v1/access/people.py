"""Who is who, for the calls that tell and alter it: users as clients name them, and who may alter what is said of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from modeldb_core.model.access import User
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_server.accounts.directory import Directory, read_directory
from modeldb_v1.kinds import found
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.access import Team
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_FLAGS = enum_values("ai.verta.uac.FlagEnum")


def directory_of(context: ServerContext) -> Directory:
    """Return who is who; where nobody has an account, as far as the log says it."""
    return read_directory(context.whole_store) if context.accounts is None else context.accounts.directory()


def myself(context: ServerContext, directory: Directory) -> User:
    """Return who asks: a user, or a name where there is no account of it."""
    visitor = context.visitor
    user = directory.users.get(visitor.user_id) if visitor is not None and visitor.user_id else None
    return user or directory.named(context.actor) or User(entity_id=context.actor, name=context.actor)


def user_of(context: ServerContext, directory: Directory, named: str, *, by_email: bool = True) -> User:
    """Return the user whom a client names: by identifier, name or address.

    A server that asks nobody who they are has one user, whom any address means: clients send one that they need nowhere else.

    Raises:
        NotFoundError: there is none.
    """
    if (user := directory.users.get(named) or directory.named(named)) is not None:
        return user
    me = myself(context, directory)
    if named in (me.entity_id, me.name) or (by_email and "@" in named and context.gatekeeper.is_open):
        return me
    msg = f"User not found: {named[:80]}"
    raise NotFoundError(msg)


def fill_user(message: Fields, user: User) -> None:
    """Write a user into a ``UserInfo``. Keys are never told."""
    message.user_id, message.full_name, message.email = user.entity_id, user.full_name or user.name, user.email
    first, _, last = (user.full_name or "").rpartition(" ")
    message.first_name, message.last_name = (first, last) if first else (last, "")
    message.verta_info.individual_user = not user.is_service
    message.verta_info.username, message.verta_info.user_id = user.name, user.entity_id
    message.verta_info.publicProfile = _FLAGS["FALSE"]


def team_of(context: ServerContext, directory: Directory, team_id: str) -> Team:
    """Return a team of an organization that who asks may see.

    Raises:
        NotFoundError: there is none.
    """
    team = directory.teams.get(team_id)
    if team is not None and may_see(context, "workspace", team.organization_id):
        return team
    msg = f"Team not found: {team_id[:80]}"
    raise NotFoundError(msg)


def may_see(context: ServerContext, kind: str, entity_id: str) -> bool:
    """Return whether who asks may see a workspace or project."""
    try:
        found(context, kind, entity_id)
    except (NotFoundError, InvalidArgumentError):
        return False
    return True


def organizations(context: ServerContext, directory: Directory) -> Iterator[Entity]:
    """Iterate over the workspaces that the caller may see and that are not the personal workspace of a user."""
    for each in pages(context.store, Query("workspace")):
        if directory.named(each.name) is None:
            yield each


def organization_of(context: ServerContext, directory: Directory, org_id: str) -> Entity:
    """Return an organization that who asks may see.

    Raises:
        NotFoundError: there is none, or it is somebody's own workspace.
    """
    workspace = found(context, "workspace", org_id)
    if directory.named(workspace.name) is None:
        return workspace
    msg = f"Organization not found: {org_id[:80]}"
    raise NotFoundError(msg)


def alter(context: ServerContext, operation: Operation) -> None:
    """Carry out an operation on people; it counts at once, in all processes."""
    if context.accounts is None:
        context.writers.execute(operation, context.actor)
    else:
        context.accounts.execute(operation, context.actor)


def require_admin(context: ServerContext) -> None:
    """See that who asks administers the server.

    Raises:
        PermissionDeniedError: they do not.
    """
    visitor = context.visitor
    if visitor is None or visitor.is_admin or (not visitor.user_id and context.scope is None):
        return
    msg = "this is for those who administer the server"
    raise PermissionDeniedError(msg)


def require_governing(context: ServerContext, workspace_id: str, project_id: str = "") -> None:
    """See that who asks may say who may do what on a workspace, or on a project that lies in it.

    Raises:
        PermissionDeniedError: they may not.
    """
    if may_govern(context, workspace_id, project_id):
        return
    msg = "this is for those who administer the workspace or project"
    raise PermissionDeniedError(msg)


def may_govern(context: ServerContext, workspace_id: str, project_id: str = "") -> bool:
    """Return whether who asks may say who may do what there."""
    visitor, scope = context.visitor, context.scope
    if visitor is None or scope is None:
        return True
    if visitor.user_id and context.accounts is not None:
        return context.accounts.may_administer(visitor, workspace_id, project_id)
    return bool({workspace_id, project_id} & {*scope.to_govern.workspaces, *scope.to_govern.projects})
