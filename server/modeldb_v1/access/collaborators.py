"""Collaborators, as ``CollaboratorService`` has them: who has a role on a project. Data sets have those of their workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import people
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.access import ADMIN, CONTRIBUTOR, READER, Team
from modeldb_v1.access.organizations import fill_team
from modeldb_v1.access.people import alter, directory_of, fill_user, may_govern, require_governing, team_of, user_of
from modeldb_v1.access.roles import add_actions, place_of
from modeldb_v1.calls import read, write
from modeldb_v1.errors import UnimplementedError
from modeldb_v1.kinds import all_found, found, required
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from modeldb_core.model.access import Grant, User
    from modeldb_server.accounts.directory import Directory
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_TYPES = enum_values("ai.verta.common.CollaboratorTypeEnum.CollaboratorType")
_ENTITIES = enum_values("ai.verta.uac.EntitiesEnum.EntitiesTypes")
_BY = enum_values("ai.verta.uac.ShareViaEnum")
_NO_ORGANIZATIONS = (
    "a role cannot be given to an organization; give it to a team, or set the visibility to ORGANIZATION_SCOPED_PUBLIC"
)
_NO_DATASETS = "roles are given on workspaces and projects: give one on the workspace of the data set"


@write("CollaboratorService.addOrUpdateProjectCollaborator")
def add_project_collaborator(context: ServerContext, request: Fields, response: Fields) -> None:
    """Give a user or team a role on projects, in place of the one that they have."""
    named, projects = required(request, "share_with"), all_found(context, "project", request.entity_ids)
    for project in projects:
        require_governing(context, project.workspace_id, project.entity_id)
    holder = _holder(context, directory_of(context), request, named)
    role = CONTRIBUTOR if request.collaborator_type == _TYPES["READ_WRITE"] else READER
    for project in projects:
        given = people.give_role(context.whole_store, holder.KIND, holder.entity_id, "project", project.entity_id, role)
        alter(context, given)
    if isinstance(holder, Team):
        fill_team(response.collaborator_team, holder)
    else:
        fill_user(response.collaborator_user_info, holder)
    add_actions(response.self_allowed_actions, ADMIN)
    response.status = True


@write("CollaboratorService.removeProjectCollaborator")
def remove_project_collaborator(context: ServerContext, request: Fields, response: Fields) -> None:
    """Take the role of a user or team on a project away."""
    named, project = required(request, "share_with"), found(context, "project", request.entity_id)
    require_governing(context, project.workspace_id, project.entity_id)
    holder = _holder(context, directory_of(context), request, named)
    alter(context, people.take_role(context.whole_store, holder.entity_id, project.entity_id))
    add_actions(response.self_allowed_actions, ADMIN)
    response.status = True


@read("CollaboratorService.getProjectCollaborators")
def get_project_collaborators(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return who has a role on a project."""
    place = place_of(context, "project", request.entity_id)
    _fill(context, response, place.entity_id)


@read("CollaboratorService.getDatasetCollaborators")
def get_dataset_collaborators(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return who has a role on the workspace of a data set."""
    _fill(context, response, found(context, "dataset", request.entity_id).workspace_id)


@write("CollaboratorService.addOrUpdateDatasetCollaborator")
def add_dataset_collaborator(context: ServerContext, request: Fields, response: Fields) -> None:
    """Refuse: there are no roles on data sets."""
    del response
    required(request, "share_with")
    all_found(context, "dataset", request.entity_ids)
    raise UnimplementedError(_NO_DATASETS)


@write("CollaboratorService.removeDatasetCollaborator")
def remove_dataset_collaborator(context: ServerContext, request: Fields, response: Fields) -> None:
    """Refuse: there are no roles on data sets."""
    del response
    required(request, "share_with")
    found(context, "dataset", request.entity_id)
    raise UnimplementedError(_NO_DATASETS)


def collaborators(context: ServerContext, directory: Directory, project_id: str, workspace_id: str) -> list[Grant]:
    """Return the roles on a project itself, to those who say who has which; nothing to others."""
    return directory.grants_on(project_id) if may_govern(context, workspace_id, project_id) else []


def fill_collaborator(message: Fields, directory: Directory, grant: Grant) -> None:
    """Write who has a role into a ``CollaboratorUserInfo``."""
    message.collaborator_type = _type(grant)
    if grant.holder_kind == "team" and grant.holder_id in directory.teams:
        message.entity_type = _ENTITIES["TEAM"]
        fill_team(message.collaborator_team, directory.teams[grant.holder_id])
    elif grant.holder_id in directory.users:
        message.entity_type = _ENTITIES["USER"]
        fill_user(message.collaborator_user_info, directory.users[grant.holder_id])


def _fill(context: ServerContext, response: Fields, place_id: str) -> None:
    for grant in directory_of(context).grants_on(place_id):
        message = response.shared_users.add()
        message.user_id = message.verta_id = grant.holder_id
        message.collaborator_type, message.share_via_type = _type(grant), _BY["USER_ID"]
        message.authz_entity_type = _ENTITIES["TEAM" if grant.holder_kind == "team" else "USER"]


def _type(grant: Grant) -> int:
    return _TYPES["READ_ONLY" if grant.role == READER else "READ_WRITE"]


def _holder(context: ServerContext, directory: Directory, request: Fields, named: str) -> User | Team:
    """Return who is to have a role.

    Raises:
        NotFoundError: there is nobody of that name.
        InvalidArgumentError: it is an organization.
    """
    if request.authz_entity_type == _ENTITIES["ORGANIZATION"]:
        raise InvalidArgumentError(_NO_ORGANIZATIONS)
    if request.authz_entity_type == _ENTITIES["TEAM"] or named in directory.teams:
        return team_of(context, directory, named)
    user = user_of(context, directory, named)
    if user.entity_id in directory.users:
        return user
    msg = f"User not found: {named[:80]}; a role is that of an account"
    raise NotFoundError(msg)
