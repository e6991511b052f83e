"""Workspaces as the v1 API names them: by their name, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import g

from modeldb_core.commands.declaring import declare
from modeldb_core.commands.names import check_name
from modeldb_core.model.entities import DEFAULT_WORKSPACE
from modeldb_server.handlers.creating import home_of
from modeldb_v1.kinds import looked_up
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_TYPES = enum_values("WorkspaceTypeEnum.WorkspaceType")


def workspace_id_of(context: ServerContext, name: str) -> str:
    """Return the identifier of the workspace of a name; without a name, of the one where who asks is at home.

    A user's own name means that one too, unless there is a workspace of that name.
    """
    if not name:
        return home_of(context)[0]
    (workspace_id,) = context.store.identify(("workspace", check_name(name, "workspace")))
    if name == context.actor and looked_up(context, "workspace", workspace_id) is None:
        return home_of(context)[0]
    return workspace_id


def declare_workspace(context: ServerContext, name: str) -> tuple[str, Operation]:
    """Return the identifier of the workspace of a name, and what makes it unless it is there."""
    home_id, home_name = home_of(context)
    workspace_id = workspace_id_of(context, name)
    return workspace_id, declare("workspace", workspace_id, home_name if workspace_id == home_id else name)


def fill_workspace(context: ServerContext, message: Fields, workspace_id: str) -> None:
    """Write where an entity lies into its message; nothing for the workspace where everything lies by default.

    A workspace that has a user's name is theirs, and the message names the user, as the original did.
    """
    known: dict[str, tuple[str, int]] = g.setdefault("modeldb_v1_workspaces", {})
    if workspace_id not in known:
        known[workspace_id] = _shown(context, workspace_id)
    message.workspace_id, message.workspace_type = known[workspace_id]


def _shown(context: ServerContext, workspace_id: str) -> tuple[str, int]:
    """Return identifier and type of a workspace as messages have them: found once in a request, however long its list is."""
    if workspace_id in ("", context.store.identify(("workspace", DEFAULT_WORKSPACE))[0]):
        return "", _TYPES["UNKNOWN"]
    workspace = None if context.accounts is None else looked_up(context, "workspace", workspace_id)
    if context.accounts is not None and workspace is not None:
        user = context.accounts.directory().named(workspace.name)
        if user is not None:
            return user.entity_id, _TYPES["USER"]
    return workspace_id, _TYPES["ORGANIZATION"]
