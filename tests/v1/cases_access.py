"""The user-access services, on a server without accounts: who is who is in the log, and who may alter it is who sees everything."""

from __future__ import annotations

from typing import Any

from tests.v1.cases import CASES, OK, UNIMPLEMENTED, Case
from tests.v1.world import UNKNOWN_ID, World

CONFLICT = 9
READ = [{"service": "MODELDB_SERVICE", "modeldb_service_action": "READ"}]


def user(world: World) -> str:
    name = world.name()
    info = {"email": f"{name}@example.org", "full_name": "Ada King", "verta_info": {"username": name}}
    return world.make("UACService.createUser", info=info)["info"]["user_id"]


def organization(world: World) -> str:
    return world.make("OrganizationService.setOrganization", organization={"name": world.name()})["organization"]["id"]


def team(world: World, org_id: str = "") -> str:
    said = {"org_id": org_id or organization(world), "name": world.name()}
    return world.make("TeamService.setTeam", team=said)["team"]["id"]


def name_of(world: World, call: str, field: str, **arguments: Any) -> str:
    return world.make(call, **arguments)[field]["name"]


def binding(world: World) -> dict[str, Any]:
    said = {
        "role_id": "contributor",
        "entities": [{"user_ids": [user(world)]}],
        "resources": [projects(world.project())],
    }
    return world.make("RoleService.setRoleBinding", role_binding=said)["role_binding"]


def projects(*ids: str) -> dict[str, Any]:
    return {"service": "MODELDB_SERVICE", "modeldb_service_resource_type": "PROJECT", "resource_ids": list(ids)}


def collaborator(world: World) -> tuple[str, str]:
    project_id, user_id = world.project(), user(world)
    world.make("CollaboratorService.addOrUpdateProjectCollaborator", entity_ids=[project_id], share_with=user_id)
    return project_id, user_id


def shared(world: World) -> dict[str, Any]:
    project_id, user_id = collaborator(world)
    return {"entity_id": project_id, "share_with": user_id}


def member(world: World) -> dict[str, Any]:
    arguments = {"team_id": team(world), "share_with": user(world)}
    world.make("TeamService.addUser", **arguments)
    return arguments


def of_organization(world: World) -> dict[str, Any]:
    arguments = {"org_id": organization(world), "share_with": user(world)}
    world.make("OrganizationService.addUser", **arguments)
    return arguments


def with_team(world: World) -> dict[str, Any]:
    org_id = organization(world)
    team(world, org_id)
    return {"org_id": org_id}


def shared_dataset(world: World) -> dict[str, Any]:
    org_id = of_organization(world)["org_id"]
    name = name_of(world, "OrganizationService.getOrganizationById", "organization", org_id=org_id)
    return {"entity_id": world.dataset(workspace_name=name)}


def named_team(world: World, field: str) -> dict[str, Any]:
    org_id = organization(world)
    return {"org_id": org_id, field: name_of(world, "TeamService.getTeamById", "team", team_id=team(world, org_id))}


def named_organization(world: World, field: str) -> dict[str, Any]:
    org_id = organization(world)
    return {field: name_of(world, "OrganizationService.getOrganizationById", "organization", org_id=org_id)}


def asking(world: World) -> dict[str, Any]:
    project_id, user_id = collaborator(world)
    return {"entities": [{"user_ids": [user_id]}], "actions": READ, "resources": [projects(project_id)]}


def nothing(world: World) -> dict[str, Any]:
    del world
    return {}


def is_allowed(world: World, answer: dict[str, Any]) -> None:
    del world
    assert answer == {"allowed": True}


UAC, ORGANIZATION, TEAM = "UACService.", "OrganizationService.", "TeamService."
ROLE, COLLABORATOR, AUTHZ = "RoleService.", "CollaboratorService.", "AuthzService."

CASES |= {
    f"{UAC}getCurrentUser": Case(nothing, missing_code=None, bad_code=None),
    f"{UAC}getUser": Case(lambda w: {"user_id": user(w)}, is_for_all=True),
    f"{UAC}getUsers": Case(lambda w: {"user_ids": [user(w)]}, missing_code=OK, is_for_all=True),
    f"{UAC}createUser": Case(lambda w: {"info": {"verta_info": {"username": w.name()}}}, missing_code=None),
    f"{UAC}updateUser": Case(lambda w: {"info": {"user_id": user(w), "full_name": "Ada Lovelace"}}),
    f"{UAC}deleteUser": Case(lambda w: {"user_id": user(w)}),
    f"{ORGANIZATION}getOrganizationById": Case(lambda w: {"org_id": organization(w)}),
    f"{ORGANIZATION}getOrganizationByName": Case(
        lambda w: named_organization(w, "org_name"), missing=lambda w: {"org_name": w.name()}
    ),
    f"{ORGANIZATION}getOrganizationByShortName": Case(
        lambda w: named_organization(w, "short_name"), missing=lambda w: {"short_name": w.name()}
    ),
    f"{ORGANIZATION}listMyOrganizations": Case(nothing, missing_code=None, bad_code=None),
    f"{ORGANIZATION}setOrganization": Case(
        lambda w: {"organization": {"name": w.name()}},
        missing=lambda w: {"organization": {"id": UNKNOWN_ID, "name": w.name()}},
    ),
    f"{ORGANIZATION}deleteOrganization": Case(lambda w: {"org_id": organization(w)}),
    f"{ORGANIZATION}listTeams": Case(with_team),
    f"{ORGANIZATION}listUsers": Case(lambda w: {"org_id": of_organization(w)["org_id"]}),
    f"{ORGANIZATION}addUser": Case(lambda w: {"org_id": organization(w), "share_with": user(w)}),
    f"{ORGANIZATION}removeUser": Case(of_organization),
    f"{TEAM}getTeamById": Case(lambda w: {"team_id": team(w)}),
    f"{TEAM}getTeamByName": Case(lambda w: named_team(w, "team_name")),
    f"{TEAM}getTeamByShortName": Case(lambda w: named_team(w, "short_name")),
    f"{TEAM}listMyTeams": Case(nothing, missing_code=None, bad_code=None, is_empty=True),
    f"{TEAM}setTeam": Case(
        lambda w: {"team": {"org_id": organization(w), "name": w.name(), "description": "all of us"}}
    ),
    f"{TEAM}deleteTeam": Case(lambda w: {"team_id": team(w)}),
    f"{TEAM}listUsers": Case(lambda w: {"team_id": member(w)["team_id"]}),
    f"{TEAM}addUser": Case(lambda w: {"team_id": team(w), "share_with": user(w)}),
    f"{TEAM}removeUser": Case(member),
    f"{ROLE}getRoleById": Case(lambda w: {"id": "reader"}, missing=lambda w: {"id": "king"}),
    f"{ROLE}getRoleByName": Case(lambda w: {"name": "admin"}, missing=lambda w: {"name": "king"}),
    f"{ROLE}listRoles": Case(nothing, missing_code=None, bad_code=None),
    f"{ROLE}setRole": Case(
        lambda w: {"role": {"name": "reader"}}, missing=lambda w: {"role": {"name": "king"}}, missing_code=UNIMPLEMENTED
    ),
    f"{ROLE}deleteRole": Case(lambda w: {"id": "reader"}, success_code=CONFLICT, missing=lambda w: {"id": "king"}),
    f"{ROLE}getBindingRoleById": Case(lambda w: {"id": binding(w)["id"]}),
    f"{ROLE}getRoleBindingByName": Case(lambda w: {"name": binding(w)["name"]}),
    f"{ROLE}listRoleBindings": Case(lambda w: {"entity_id": binding(w)["entities"][0]["user_ids"][0]}, missing_code=OK),
    f"{ROLE}setRoleBinding": Case(
        lambda w: {
            "role_binding": {
                "role_id": "reader",
                "entities": [{"user_ids": [user(w)]}],
                "resources": [projects(w.project())],
            }
        }
    ),
    f"{ROLE}deleteRoleBinding": Case(lambda w: {"id": binding(w)["id"]}),
    f"{COLLABORATOR}addOrUpdateProjectCollaborator": Case(
        lambda w: {"entity_ids": [w.project()], "share_with": user(w), "collaborator_type": "READ_WRITE"}
    ),
    f"{COLLABORATOR}removeProjectCollaborator": Case(shared),
    f"{COLLABORATOR}getProjectCollaborators": Case(lambda w: {"entity_id": collaborator(w)[0]}),
    f"{COLLABORATOR}addOrUpdateDatasetCollaborator": Case(
        lambda w: {"entity_ids": [w.dataset()], "share_with": user(w)}, success_code=UNIMPLEMENTED
    ),
    f"{COLLABORATOR}removeDatasetCollaborator": Case(
        lambda w: {"entity_id": w.dataset(), "share_with": user(w)}, success_code=UNIMPLEMENTED
    ),
    f"{COLLABORATOR}getDatasetCollaborators": Case(shared_dataset),
    f"{AUTHZ}isAllowed": Case(asking, missing_code=OK, check=is_allowed),
    f"{AUTHZ}isSelfAllowed": Case(
        lambda w: {"actions": READ, "resources": [projects(w.project())]}, missing_code=OK, check=is_allowed
    ),
    f"{AUTHZ}getAllowedEntities": Case(
        lambda w: {"actions": READ, "resources": [projects(collaborator(w)[0])]}, missing_code=OK
    ),
    f"{AUTHZ}getAllowedResources": Case(
        lambda w: {"entities": [{"user_ids": [collaborator(w)[1]]}], "actions": READ}, missing_code=OK
    ),
    f"{AUTHZ}getDireclyAllowedResources": Case(
        lambda w: {"entities": [{"user_ids": [collaborator(w)[1]]}], "actions": READ}, missing_code=OK
    ),
    f"{AUTHZ}getSelfAllowedResources": Case(lambda w: {"actions": READ}, missing_code=None),
    f"{AUTHZ}getSelfDirectlyAllowedResources": Case(lambda w: {"actions": READ}, missing_code=None),
    f"{AUTHZ}getSelfAllowedActionsBatch": Case(lambda w: {"resources": projects(w.project())}, missing_code=OK),
    "TelemetryService.collectTelemetry": Case(lambda w: {"id": "x"}, missing_code=None),
}
