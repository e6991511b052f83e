"""Roles and who has them, as ``RoleService`` has them: the three roles are fixed, and a binding is a role that somebody has somewhere."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.commands import people
from modeldb_core.errors import ConflictError, InvalidArgumentError, NotFoundError
from modeldb_core.model.access import ADMIN, CONTRIBUTOR, READER, ROLES
from modeldb_v1.access.people import alter, directory_of, may_govern, myself, require_governing, user_of
from modeldb_v1.calls import read, write
from modeldb_v1.errors import UnimplementedError
from modeldb_v1.kinds import found, required
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.access import Grant
    from modeldb_server.accounts.directory import Directory
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

SERVICE = enum_values("ai.verta.uac.ServiceEnum.Service")["MODELDB_SERVICE"]
ACTIONS = enum_values("ai.verta.uac.ModelDBActionEnum.ModelDBServiceActions")
RESOURCES = enum_values("ai.verta.uac.ModelResourceEnum.ModelDBServiceResourceTypes")
ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (),
        READER: ("READ", "PUBLIC_READ"),
        CONTRIBUTOR: ("CREATE", "READ", "UPDATE", "DELETE", "DEPLOY", "PUBLIC_READ"),
        ADMIN: ("ALL", "CREATE", "READ", "UPDATE", "DELETE", "DEPLOY", "PUBLIC_READ"),
    }
)
"""The actions of each role, in the words of the v1 API."""


def add_actions(actions: Fields, role: str) -> None:
    """Add a message for each action that a role allows."""
    for name in ALLOWED[role]:
        actions.add(service=SERVICE, modeldb_service_action=ACTIONS[name])


# -- roles ------------------------------------------------------------------------------------------------------------


def _fill_role(message: Fields, role: str) -> None:
    message.id = message.name = role
    group = message.resource_action_groups.add()
    group.resources.add(service=SERVICE, modeldb_service_resource_type=RESOURCES["ALL"])
    add_actions(group.actions, role)


def _role(name: str) -> str:
    if name in ROLES:
        return name
    msg = f"Role not found: {name[:80]}; there are {', '.join(ROLES)}"
    raise NotFoundError(msg)


@read("RoleService.getRoleById")
def get_role(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a role."""
    del context
    _fill_role(response.role, _role(required(request, "id")))


@read("RoleService.getRoleByName")
def get_role_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the role of a name; roles are the same everywhere."""
    del context
    _fill_role(response.role, _role(required(request, "name")))


@read("RoleService.listRoles")
def list_roles(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return all roles."""
    del context, request
    for role in ROLES:
        _fill_role(response.roles.add(), role)


@write("RoleService.setRole")
def set_role(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the role, where it is one of the three; there are no others."""
    del context
    name = required(request.role, "name")
    if name not in ROLES:
        msg = f"the roles are {', '.join(ROLES)}, and none can be added: {name[:80]}; give one of them on a project or an organization (setRoleBinding), or a token that may do less"
        raise UnimplementedError(msg)
    _fill_role(response.role, name)


@write("RoleService.deleteRole")
def delete_role(context: ServerContext, request: Fields, response: Fields) -> None:
    """Refuse: the roles are fixed."""
    del context, response
    msg = f"the role {_role(required(request, 'id'))} cannot be deleted; delete the bindings by which somebody has it"
    raise ConflictError(msg)


# -- bindings ---------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A workspace or project."""

    kind: str
    entity_id: str
    workspace_id: str

    @property
    def project_id(self) -> str:
        """Its identifier, where it is a project."""
        return self.entity_id if self.kind == "project" else ""


def place_of(context: ServerContext, kind: str, entity_id: str) -> Place:
    """Return a workspace or project that who asks may see.

    Raises:
        NotFoundError: there is none.
    """
    entity = found(context, kind, entity_id)
    return Place(kind, entity_id, entity_id if kind == "workspace" else entity.workspace_id)


def _binding_name(grant: Grant) -> str:
    return f"{grant.role}:{grant.holder_id}:{grant.place_id}"


def _fill_binding(message: Fields, grant: Grant) -> None:
    message.id, message.name, message.role_id = grant.entity_id, _binding_name(grant), grant.role
    entities = message.entities.add()
    (entities.team_ids if grant.holder_kind == "team" else entities.user_ids).append(grant.holder_id)
    if grant.place_kind == "workspace":
        message.scope.org_id = grant.place_id
        return
    resources = message.resources.add(service=SERVICE, modeldb_service_resource_type=RESOURCES["PROJECT"])
    resources.resource_ids.append(grant.place_id)


def _is_shown(context: ServerContext, directory: Directory, grant: Grant) -> bool:
    """Return whether who asks may know of a role: of one of their own, and where they say who has which."""
    try:
        place = place_of(context, grant.place_kind, grant.place_id)
    except NotFoundError:
        return False
    me = myself(context, directory).entity_id
    own = {me, *(team.entity_id for team in directory.teams_of(me))}
    return grant.holder_id in own or may_govern(context, place.workspace_id, place.project_id)


def _binding(context: ServerContext, wanted: str, *, by_name: bool = False) -> Grant:
    directory = directory_of(context)
    for grant in directory.grants:
        if wanted == (_binding_name(grant) if by_name else grant.entity_id) and _is_shown(context, directory, grant):
            return grant
    msg = f"Role binding not found: {wanted[:160]}"
    raise NotFoundError(msg)


@read("RoleService.getBindingRoleById")
def get_binding(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a role that somebody has."""
    _fill_binding(response.role_binding, _binding(context, required(request, "id")))


@read("RoleService.getRoleBindingByName")
def get_binding_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return a role that somebody has, by the name that the others call it: role, holder and place."""
    _fill_binding(response.role_binding, _binding(context, required(request, "name"), by_name=True))


@read("RoleService.listRoleBindings")
def list_bindings(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the roles that a user or team has, or that are given on a project or in an organization."""
    wanted = {request.entity_id, request.scope.org_id, request.scope.team_id} - {""}
    if not wanted:
        msg = "entity_id and scope are missing; one of them says whose roles are meant"
        raise InvalidArgumentError(msg)
    directory = directory_of(context)
    for grant in directory.grants:
        if wanted <= {grant.holder_id, grant.place_id} and _is_shown(context, directory, grant):
            _fill_binding(response.role_bindings.add(), grant)


@write("RoleService.setRoleBinding")
def set_binding(context: ServerContext, request: Fields, response: Fields) -> None:
    """Give one user or team a role on one project, or on all of an organization."""
    said = request.role_binding
    role = _role(required(said, "role_id"))
    holders = [("user", each) for one in said.entities for each in one.user_ids]
    holders += [("team", each) for one in said.entities for each in one.team_ids]
    places = [("project", each) for one in said.resources for each in one.resource_ids]
    if any(each.modeldb_service_resource_type != RESOURCES["PROJECT"] for each in said.resources):
        msg = "resources are of another type than PROJECT; roles are given on projects, and by scope.org_id on organizations"
        raise InvalidArgumentError(msg)
    if said.scope.org_id and not places:
        places = [("workspace", said.scope.org_id)]
    if len(holders) != 1 or len(places) != 1:
        msg = f"the binding has {len(holders)} users and teams and {len(places)} projects and organizations; expected one of each"
        raise InvalidArgumentError(msg)
    ((holder_kind, holder_id),), ((place_kind, place_id),) = holders, places
    place = place_of(context, place_kind, place_id)
    require_governing(context, place.workspace_id, place.project_id)
    directory = directory_of(context)
    if holder_kind == "user":
        holder_id = user_of(context, directory, holder_id, by_email=False).entity_id
    given = people.give_role(context.whole_store, holder_kind, holder_id, place_kind, place_id, role)
    alter(context, given)
    _fill_binding(response.role_binding, _binding(context, given.entity_id))


@write("RoleService.deleteRoleBinding")
def delete_binding(context: ServerContext, request: Fields, response: Fields) -> None:
    """Take a role away."""
    grant = _binding(context, required(request, "id"))
    place = place_of(context, grant.place_kind, grant.place_id)
    require_governing(context, place.workspace_id, place.project_id)
    alter(context, people.take_role(context.whole_store, grant.holder_id, grant.place_id))
    response.status = True
