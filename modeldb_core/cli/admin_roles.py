"""``modeldb admin workspace``, ``team`` and ``role``: who may do what on workspaces and projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modeldb_core.cli.administration import PLACE, USER, WORKSPACE, administers, report
from modeldb_core.cli.session import examples
from modeldb_core.cli.tables import print_json, print_table
from modeldb_core.commands import containers, people
from modeldb_core.model.access import ROLES, VISIBILITIES

if TYPE_CHECKING:
    from modeldb_core.cli.administration import Administration


@click.group(epilog=examples("modeldb admin workspace create research"))
def workspace() -> None:
    """Make workspaces, and say who may see them and their projects."""


@workspace.command("create", epilog=examples("modeldb admin workspace create research"))
@WORKSPACE
@administers
def create_workspace(administration: Administration, *, workspace: str, as_json: bool) -> None:
    """Make a workspace, of an organization."""
    (workspace_id,) = administration.store.identify(("workspace", workspace))
    made = containers.create(administration.store, "workspace", {"name": workspace}, entity_id=workspace_id)
    administration.execute(made)
    report(as_json, f"There is a workspace {workspace!r} now.", workspace_id=workspace_id, name=workspace)


@workspace.command("visibility", epilog=examples("modeldb admin workspace visibility research/churn organization"))
@PLACE
@click.argument("visibility", type=click.Choice(VISIBILITIES))
@administers
def set_visibility(administration: Administration, *, place: str, visibility: str, as_json: bool) -> None:
    """Say who may read a workspace or project beside those with a role: nobody, its people, every user."""
    kind, entity_id = administration.place(place)
    administration.execute(people.set_visibility(administration.store, kind, entity_id, visibility))
    report(as_json, f"{place} is {visibility}.", kind=kind, entity_id=entity_id, visibility=visibility)


@click.group(epilog=examples("modeldb admin team create research vision", "modeldb admin team add research vision bob"))
def team() -> None:
    """Make teams, and say who is in them."""


_TEAM = click.argument("team_name", metavar="TEAM")


@team.command("create", epilog=examples("modeldb admin team create research vision"))
@WORKSPACE
@_TEAM
@administers
def create_team(administration: Administration, *, workspace: str, team_name: str, as_json: bool) -> None:
    """Make a team in a workspace."""
    workspace_id = administration.workspace_id(workspace)
    team_id = administration.execute(people.create_team(administration.store, workspace_id, team_name))
    report(as_json, f"There is a team {team_name!r} now.", team_id=team_id, name=team_name)


@team.command("delete", epilog=examples("modeldb admin team delete research vision"))
@WORKSPACE
@_TEAM
@administers
def delete_team(administration: Administration, *, workspace: str, team_name: str, as_json: bool) -> None:
    """Delete a team; nobody has a role through it any more."""
    found = administration.team(workspace, team_name)
    administration.execute(people.delete_team(administration.store, found.entity_id))
    report(as_json, f"The team {team_name!r} is deleted.", team_id=found.entity_id, deleted=True)


@team.command("add", epilog=examples("modeldb admin team add research vision bob"))
@WORKSPACE
@_TEAM
@USER
@administers
def join_team(administration: Administration, *, workspace: str, team_name: str, name: str, as_json: bool) -> None:
    """Put a user into a team."""
    found, member = administration.team(workspace, team_name), administration.user(name)
    administration.execute(people.join_team(administration.store, found.entity_id, member.entity_id))
    report(as_json, f"{member.name} is in {team_name!r}.", team_id=found.entity_id, user_id=member.entity_id)


@team.command("remove", epilog=examples("modeldb admin team remove research vision bob"))
@WORKSPACE
@_TEAM
@USER
@administers
def leave_team(administration: Administration, *, workspace: str, team_name: str, name: str, as_json: bool) -> None:
    """Take a user out of a team."""
    found, member = administration.team(workspace, team_name), administration.user(name)
    administration.execute(people.leave_team(administration.store, found.entity_id, member.entity_id))
    report(
        as_json, f"{member.name} is not in {team_name!r} any more.", team_id=found.entity_id, user_id=member.entity_id
    )


@team.command("list", epilog=examples("modeldb admin team list research"))
@WORKSPACE
@administers
def list_teams(administration: Administration, *, workspace: str, as_json: bool) -> None:
    """List the teams of a workspace with their members."""
    workspace_id, directory = administration.workspace_id(workspace), administration.accounts.directory()
    found = sorted(
        (each for each in directory.teams.values() if each.organization_id == workspace_id), key=lambda each: each.name
    )
    members = {
        each.entity_id: sorted(directory.users[one].name for one in each.members if one in directory.users)
        for each in found
    }
    if as_json:
        print_json(
            [{"team_id": each.entity_id, "name": each.name, "members": members[each.entity_id]} for each in found]
        )
        return
    print_table(("team", "members"), [(each.name, ", ".join(members[each.entity_id])) for each in found])


@click.group(epilog=examples("modeldb admin role give bob contributor research", "modeldb admin role list research"))
def role() -> None:
    """Say who may do what on a workspace or project."""


_HOLDER = click.argument("holder", metavar="USER|TEAM")
_OF_TEAM = click.option("--team", "is_team", is_flag=True, help="A team of the workspace, in place of a user.")


@role.command(
    "give",
    epilog=examples(
        "modeldb admin role give bob contributor research",
        "modeldb admin role give vision reader research/churn --team",
    ),
)
@_HOLDER
@click.argument("role", type=click.Choice(ROLES))
@PLACE
@_OF_TEAM
@administers
def give_role(
    administration: Administration, *, holder: str, role: str, place: str, is_team: bool, as_json: bool
) -> None:
    """Give a user or team a role on a workspace or project, in place of the one that they have there."""
    kind, entity_id = administration.place(place)
    holder_id = _holder(administration, holder, place, is_team)
    holder_kind = "team" if is_team else "user"
    administration.execute(people.give_role(administration.store, holder_kind, holder_id, kind, entity_id, role))
    report(as_json, f"{holder} is {role} on {place}.", holder_id=holder_id, place_id=entity_id, role=role)


@role.command("take", epilog=examples("modeldb admin role take bob research"))
@_HOLDER
@PLACE
@_OF_TEAM
@administers
def take_role(administration: Administration, *, holder: str, place: str, is_team: bool, as_json: bool) -> None:
    """Take the role of a user or team on a workspace or project away."""
    _, entity_id = administration.place(place)
    holder_id = _holder(administration, holder, place, is_team)
    administration.execute(people.take_role(administration.store, holder_id, entity_id))
    report(as_json, f"{holder} has no role on {place} any more.", holder_id=holder_id, place_id=entity_id, role="")


@role.command("list", epilog=examples("modeldb admin role list research/churn"))
@PLACE
@administers
def list_roles(administration: Administration, *, place: str, as_json: bool) -> None:
    """List who has a role on a workspace or project itself."""
    _, entity_id = administration.place(place)
    listed = sorted(
        (
            {
                "kind": each.holder_kind,
                "name": administration.name_of(each),
                "holder_id": each.holder_id,
                "role": each.role,
            }
            for each in administration.accounts.directory().grants_on(entity_id)
        ),
        key=lambda each: (each["kind"], each["name"]),
    )
    if as_json:
        print_json(listed)
        return
    print_table(("kind", "name", "role"), [(each["kind"], each["name"], each["role"]) for each in listed])


def _holder(administration: Administration, holder: str, place: str, is_team: bool) -> str:
    if is_team:
        return administration.team(place.partition("/")[0], holder).entity_id
    return administration.user(holder).entity_id
