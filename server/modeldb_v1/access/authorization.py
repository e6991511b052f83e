"""Who may do what, as ``AuthzService`` answers it. What nobody may see, nobody may do anything with: no answer tells whether it is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.access import ADMIN, CONTRIBUTOR, READER, ROLES
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_server.routes import Policy
from modeldb_v1.access.people import directory_of, may_govern, myself, require_admin
from modeldb_v1.access.roles import ACTIONS, ALLOWED, RESOURCES, SERVICE, add_actions
from modeldb_v1.calls import declare, read, write
from modeldb_v1.kinds import found
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_server.accounts.directory import Directory
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_KINDS = {
    RESOURCES["PROJECT"]: "project",
    RESOURCES["EXPERIMENT"]: "experiment",
    RESOURCES["EXPERIMENT_RUN"]: "run",
    RESOURCES["DATASET"]: "dataset",
    RESOURCES["DATASET_VERSION"]: "dataset_version",
}
_NAMES = {number: name for name, number in ACTIONS.items()}
_SERVICES = enum_values("ai.verta.uac.ServiceEnum.Service")


def my_role(context: ServerContext, entity: Entity) -> str:
    """Return the role that who asks has on an entity that they see: what they may do with it."""
    if not context.may(Policy.WRITE):
        return READER
    if _may_govern(context, entity):
        return ADMIN
    scope = context.scope
    within = None if scope is None else {*scope.to_write.workspaces, *scope.to_write.projects}
    return CONTRIBUTOR if within is None or {entity.workspace_id, _project_of(entity)} & within else READER


def role_of(directory: Directory, user_id: str, entity: Entity) -> str:
    """Return the role of a user on an entity; none to one who is let in no longer."""
    user = directory.users.get(user_id)
    if user is not None and user.is_disabled:
        return ""
    if user is not None and user.is_admin:
        return ADMIN
    return directory.role_on(user_id, entity.workspace_id, _project_of(entity))


@read("AuthzService.isSelfAllowed")
def is_self_allowed(context: ServerContext, request: Fields, response: Fields) -> None:
    """Say whether who asks may do all that with all of that."""
    actions = _actions(request.actions)
    response.allowed = all(
        entity is not None and _allows(my_role(context, entity), actions) for entity in _all(context, request.resources)
    )


@read("AuthzService.isAllowed")
def is_allowed(context: ServerContext, request: Fields, response: Fields) -> None:
    """Say whether users and teams may do all that with all of that. Of others than oneself those ask who administer the place."""
    actions, directory = _actions(request.actions), directory_of(context)
    users, teams = _holders(request.entities)
    me = myself(context, directory)
    for entity in _all(context, request.resources):
        if entity is None or not _may_ask(context, entity, me.entity_id, users, teams):
            return
        roles = [
            my_role(context, entity) if each == me.entity_id else role_of(directory, each, entity) for each in users
        ]
        roles += [_team_role(directory, each, entity) for each in teams]
        if not all(_allows(role, actions) for role in roles):
            return
    response.allowed = True


@read("AuthzService.getAllowedEntities")
def get_allowed_entities(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the users who may do all that with all of that, to those who administer the places."""
    actions, directory = _actions(request.actions), directory_of(context)
    entities = list(_all(context, request.resources))
    governed = [each for each in entities if each is not None and _may_govern(context, each)]
    if len(governed) < len(entities):
        return
    allowed = [
        user.entity_id
        for user in directory.users.values()
        if all(_allows(role_of(directory, user.entity_id, each), actions) for each in governed)
    ]
    response.entities.add().user_ids.extend(allowed)


def _get_resources(context: ServerContext, request: Fields, response: Fields, *, direct: bool) -> None:
    actions, directory = _actions(request.actions), directory_of(context)
    users, teams = _holders(request.entities)
    me = myself(context, directory).entity_id
    if users != [me] or teams:
        require_admin(context)
    allowed = []
    for project in pages(context.store, Query("project")):
        roles = [
            _direct(directory, each, project.entity_id) if direct else role_of(directory, each, project)
            for each in users
        ]
        if users == [me] and not direct:
            roles = [my_role(context, project)]
        roles += [_team_role(directory, each, project) for each in teams]
        if all(_allows(role, actions) for role in roles):
            allowed.append(project.entity_id)
    _fill_projects(response, allowed)


declare("AuthzService.getAllowedResources", Policy.READ, partial(_get_resources, direct=False))
declare("AuthzService.getDireclyAllowedResources", Policy.READ, partial(_get_resources, direct=True))


def _get_own_resources(context: ServerContext, request: Fields, response: Fields, *, direct: bool) -> None:
    actions, directory = _actions(request.actions), directory_of(context)
    me = myself(context, directory).entity_id
    _fill_projects(
        response,
        [
            each.entity_id
            for each in pages(context.store, Query("project"))
            if _allows(_direct(directory, me, each.entity_id) if direct else my_role(context, each), actions)
        ],
    )


declare("AuthzService.getSelfAllowedResources", Policy.READ, partial(_get_own_resources, direct=False))
declare("AuthzService.getSelfDirectlyAllowedResources", Policy.READ, partial(_get_own_resources, direct=True))


@read("AuthzService.getSelfAllowedActionsBatch")
def get_self_allowed_actions(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return what who asks may do with each of some entities; those that they do not see are left out."""
    ids = request.resources.resource_ids
    for entity_id, entity in zip(ids, _all(context, [request.resources]), strict=True):
        if entity is not None:
            add_actions(response.actions[entity_id].actions, my_role(context, entity))


@write("TelemetryService.collectTelemetry")
def collect_telemetry(context: ServerContext, request: Fields, response: Fields) -> None:
    """Take what a server or client of the original says of its use; it is kept nowhere."""
    del context
    if not request.id:
        msg = "id not found in CollectTelemetry request"
        raise InvalidArgumentError(msg)
    response.status = True


def _actions(actions: Iterable[Fields]) -> set[str]:
    names = {_NAMES.get(each.modeldb_service_action, "UNKNOWN") for each in actions}
    if not names or "UNKNOWN" in names:
        msg = f"actions name none of {', '.join(name for name in ACTIONS if name != 'UNKNOWN')} as modeldb_service_action; give at least one"
        raise InvalidArgumentError(msg)
    return names


def _allows(role: str, actions: set[str]) -> bool:
    return actions <= set(ALLOWED[role])


def _all(context: ServerContext, resources: Iterable[Fields]) -> Iterator[Entity | None]:
    """Iterate over the entities that resources name; ``None`` for what who asks does not see.

    Raises:
        InvalidArgumentError: no entity is named, or those of a type that there is not.
    """
    is_empty = True
    for group in resources:
        kind = _KINDS.get(group.modeldb_service_resource_type)
        if kind is None or group.service not in (SERVICE, _SERVICES["UNKNOWN"]):
            names = ", ".join(name for name, number in RESOURCES.items() if number in _KINDS)
            msg = f"resources are of another type than {names} of the MODELDB_SERVICE"
            raise InvalidArgumentError(msg)
        for entity_id in group.resource_ids:
            is_empty = False
            try:
                yield found(context, kind, entity_id)
            except NotFoundError:
                yield None
    if is_empty:
        msg = "resources name nothing; give resource_ids"
        raise InvalidArgumentError(msg)


def _holders(entities: Iterable[Fields]) -> tuple[list[str], list[str]]:
    listed = list(entities)
    users, teams = [each for one in listed for each in one.user_ids], [each for one in listed for each in one.team_ids]
    if any(one.org_ids for one in listed) or not (users or teams):
        msg = "entities name no users and teams, or organizations, which have no roles; give user_ids or team_ids"
        raise InvalidArgumentError(msg)
    return users, teams


def _may_ask(context: ServerContext, entity: Entity, me: str, users: list[str], teams: list[str]) -> bool:
    """Return whether who asks may know what users and teams may do with an entity."""
    return (users == [me] and not teams) or _may_govern(context, entity)


def _may_govern(context: ServerContext, entity: Entity) -> bool:
    return may_govern(context, entity.workspace_id, _project_of(entity))


def _project_of(entity: Entity) -> str:
    """Return the identifier of the project that an entity is, or lies in; empty: none."""
    return entity.entity_id if entity.KIND == "project" else str(entity.document.get("project_id") or "")


def _team_role(directory: Directory, team_id: str, entity: Entity) -> str:
    places = {entity.workspace_id, _project_of(entity)} - {""}
    roles = [each.role for place in places for each in directory.grants_on(place) if each.holder_id == team_id]
    return max(roles, key=ROLES.index, default="")


def _direct(directory: Directory, user_id: str, project_id: str) -> str:
    user = directory.users.get(user_id)
    if user is not None and user.is_disabled:
        return ""
    roles = [each.role for each in directory.grants_on(project_id) if each.holder_id == user_id]
    return max(roles, key=ROLES.index, default="")


def _fill_projects(response: Fields, ids: list[str]) -> None:
    response.resources.add(service=SERVICE, modeldb_service_resource_type=RESOURCES["PROJECT"]).resource_ids.extend(ids)
