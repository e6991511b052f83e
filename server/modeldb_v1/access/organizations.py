"""Organizations and teams, as ``OrganizationService`` and ``TeamService`` have them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers, edits, people, removal
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.access import CONTRIBUTOR
from modeldb_core.queries import Query, condition
from modeldb_server.routes import Policy
from modeldb_v1.access.people import (
    alter,
    directory_of,
    myself,
    organization_of,
    organizations,
    require_admin,
    require_governing,
    team_of,
    user_of,
)
from modeldb_v1.calls import declare, read, write
from modeldb_v1.kinds import milliseconds, required
from modeldb_v1.messages import short_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.model.access import Team
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


def fill_organization(message: Fields, workspace: Entity) -> None:
    """Write a workspace into an ``Organization``."""
    _fill(message, workspace)


def fill_team(message: Fields, team: Team) -> None:
    """Write a team into a ``Team``."""
    _fill(message, team)
    message.org_id = team.organization_id


def _fill(message: Fields, entity: Entity) -> None:
    message.id, message.name, message.description = entity.entity_id, entity.name, entity.description
    message.short_name, message.owner_id = short_name(entity.name), entity.owner
    message.created_timestamp = milliseconds(entity.document.get("created_at"))
    message.updated_timestamp = milliseconds(entity.document.get("updated_at"))


# -- organizations ----------------------------------------------------------------------------------------------------


@read("OrganizationService.getOrganizationById")
def get_organization(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return an organization."""
    found = organization_of(context, directory_of(context), required(request, "org_id"))
    fill_organization(response.organization, found)


@read("OrganizationService.getOrganizationByName")
def get_organization_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the organization of a name."""
    name = required(request, "org_name")
    page = context.store.find(Query("workspace", condition("name = ?", name), limit=1))
    if not page.entities or directory_of(context).named(name) is not None:
        raise _not_found("Organization", name)
    fill_organization(response.organization, page.entities[0])


@read("OrganizationService.getOrganizationByShortName")
def get_organization_by_short_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the organization whose name in letters, digits, dots and dashes is that."""
    wanted = required(request, "short_name")
    for each in organizations(context, directory_of(context)):
        if short_name(each.name) == wanted:
            fill_organization(response.organization, each)
            return
    raise _not_found("Organization", wanted)


@read("OrganizationService.listMyOrganizations")
def list_my_organizations(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the organizations that who asks may see."""
    del request
    for each in organizations(context, directory_of(context)):
        fill_organization(response.organizations.add(), each)


@write("OrganizationService.setOrganization")
def set_organization(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make an organization, or alter the name and the description of the one whose identifier is given."""
    said = request.organization
    name = required(said, "name")
    if said.id:
        there = organization_of(context, directory_of(context), said.id)
        require_governing(context, there.entity_id)
        if there.name != name:
            context.execute(edits.rename(there, name))
        if there.description != said.description:
            context.execute(edits.describe("workspace", there.entity_id, said.description))
        entity_id = there.entity_id
    else:
        require_admin(context)
        fields = {"name": name, "description": said.description or None}
        (entity_id,) = context.store.identify(("workspace", name))  # as those have it who log to it by its name
        alter(context, containers.create(context.whole_store, "workspace", fields, entity_id=entity_id))
    fill_organization(response.organization, context.whole_store.get("workspace", entity_id))


@write("OrganizationService.deleteOrganization")
def delete_organization(context: ServerContext, request: Fields, response: Fields) -> None:
    """Delete an organization that is empty."""
    there = organization_of(context, directory_of(context), required(request, "org_id"))
    require_governing(context, there.entity_id)
    window_days = context.settings.restore_window_days
    context.execute(removal.delete(context.store, [("workspace", there.entity_id)], window_days=window_days))
    response.status = True


@read("OrganizationService.listTeams")
def list_teams(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the teams of an organization."""
    directory = directory_of(context)
    there = organization_of(context, directory, required(request, "org_id"))
    response.team_ids.extend(
        each.entity_id for each in directory.teams.values() if each.organization_id == there.entity_id
    )


@read("OrganizationService.listUsers")
def list_organization_users(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return those who have a role in an organization, or are in a team of it."""
    directory = directory_of(context)
    there = organization_of(context, directory, required(request, "org_id"))
    ids = [each.holder_id for each in directory.grants_on(there.entity_id) if each.holder_kind == "user"]
    for team in directory.teams.values():
        if team.organization_id == there.entity_id:
            ids += team.members
    response.user_ids.extend(dict.fromkeys(ids))


def _set_role(context: ServerContext, request: Fields, response: Fields, *, gives: bool) -> None:
    directory = directory_of(context)
    there = organization_of(context, directory, required(request, "org_id"))
    user = user_of(context, directory, required(request, "share_with"))
    require_governing(context, there.entity_id)
    store = context.whole_store
    if not gives:
        alter(context, people.take_role(store, user.entity_id, there.entity_id))
    elif not any(each.holder_id == user.entity_id for each in directory.grants_on(there.entity_id)):
        alter(context, people.give_role(store, "user", user.entity_id, "workspace", there.entity_id, CONTRIBUTOR))
    response.status = True


declare("OrganizationService.addUser", Policy.WRITE, partial(_set_role, gives=True))
declare("OrganizationService.removeUser", Policy.WRITE, partial(_set_role, gives=False))


# -- teams ------------------------------------------------------------------------------------------------------------


@read("TeamService.getTeamById")
def get_team(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a team."""
    fill_team(response.team, team_of(context, directory_of(context), required(request, "team_id")))


def _named(
    context: ServerContext, request: Fields, response: Fields, *, field: str, name_of: Callable[[str], str]
) -> None:
    wanted, directory = required(request, field), directory_of(context)
    there = organization_of(context, directory, required(request, "org_id"))
    for team in directory.teams.values():
        if team.organization_id == there.entity_id and name_of(team.name) == wanted:
            fill_team(response.team, team)
            return
    raise _not_found("Team", wanted)


declare("TeamService.getTeamByName", Policy.READ, partial(_named, field="team_name", name_of=str))
declare("TeamService.getTeamByShortName", Policy.READ, partial(_named, field="short_name", name_of=short_name))


@read("TeamService.listMyTeams")
def list_my_teams(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the teams that who asks is in."""
    del request
    directory = directory_of(context)
    for team in directory.teams_of(myself(context, directory).entity_id):
        fill_team(response.teams.add(), team)


@write("TeamService.setTeam")
def set_team(context: ServerContext, request: Fields, response: Fields) -> None:
    """Make a team of an organization, or describe the one whose identifier is given; its name stays."""
    said, directory = request.team, directory_of(context)
    name = required(said, "name")
    if said.id:
        there = team_of(context, directory, said.id)
        require_governing(context, there.organization_id)
        if there.name != name:
            msg = f"the name of a team stays what it is ({there.name!r:.80}); make another one, named {name!r:.80}"
            raise InvalidArgumentError(msg)
        team_id = there.entity_id
    else:
        organization = organization_of(context, directory, required(said, "org_id"))
        require_governing(context, organization.entity_id)
        made = people.create_team(context.whole_store, organization.entity_id, name)
        alter(context, made)
        team_id = made.entity_id
    if said.description:
        alter(context, edits.describe("team", team_id, said.description))
    fill_team(response.team, directory_of(context).teams[team_id])


@write("TeamService.deleteTeam")
def delete_team(context: ServerContext, request: Fields, response: Fields) -> None:
    """Delete a team: nobody has a role through it any more."""
    team = _governed_team(context, request)
    alter(context, people.delete_team(context.whole_store, team.entity_id))
    response.status = True


@read("TeamService.listUsers")
def list_team_users(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return who is in a team."""
    response.user_ids.extend(team_of(context, directory_of(context), required(request, "team_id")).members)


def _set_member(context: ServerContext, request: Fields, response: Fields, *, alters: Callable[..., Any]) -> None:
    team = _governed_team(context, request)
    user = user_of(context, directory_of(context), required(request, "share_with"))
    alter(context, alters(context.whole_store, team.entity_id, user.entity_id))
    response.status = True


declare("TeamService.addUser", Policy.WRITE, partial(_set_member, alters=people.join_team))
declare("TeamService.removeUser", Policy.WRITE, partial(_set_member, alters=people.leave_team))


def _governed_team(context: ServerContext, request: Fields) -> Team:
    team = team_of(context, directory_of(context), required(request, "team_id"))
    require_governing(context, team.organization_id)
    return team


def _not_found(what: str, name: str) -> NotFoundError:
    return NotFoundError(f"{what} not found: {name[:80]}")
