"""Projects: what only they have. What they share with experiments and runs is in ``tables.py``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modeldb_core.commands import containers, edits
from modeldb_core.commands.operation import together
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.conditions import Unique
from modeldb_core.queries import condition
from modeldb_server.routes import Policy
from modeldb_v1.calls import declare, read, write
from modeldb_v1.finding import brief, search, show_all, show_named
from modeldb_v1.kinds import PROJECT, found, name_of, required
from modeldb_v1.messages import VISIBILITIES, fill, short_name
from modeldb_v1.sections import described, editing, reading
from modeldb_v1.workspaces import declare_workspace, workspace_id_of

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.kinds import V1Kind
    from modeldb_v1.schema import Fields
    from modeldb_v1.sections import Edit

_VISIBILITY_NAMES = {number: name for name, number in VISIBILITIES.items()}
_PUBLIC = "public"


@read("ProjectService.verifyConnection")
def verify_connection(context: ServerContext, request: Fields, response: Fields) -> None:
    """Say that the server is there, and that who asks may come in."""
    del context, request
    response.status = True


@write("ProjectService.createProject")
def create_project(context: ServerContext, request: Fields, response: Fields) -> None:
    """Create a project; another one of the name in the workspace is a conflict."""
    workspace_id, declared = declare_workspace(context, request.workspace_name)
    fields = {
        **described(context, request),
        "name": name_of(request),
        "workspace_id": workspace_id,
        "readme": request.readme_text or None,
        "visibility": visibility_of(request.project_visibility) or None,
    }
    project_id = context.new_id("project")
    created = containers.create(context.store, "project", fields, entity_id=project_id, declared_id=workspace_id)
    context.execute(together((declared, created)))
    fill(context, response.project, found(context, "project", project_id))


def setting_visibility(kind: V1Kind) -> Edit:
    """Return the edit that says who may see an entity of a kind."""

    def edit(context: ServerContext, request: Fields, entity: Entity) -> Operation:
        del context
        visibility = visibility_of(getattr(request, f"{kind.kind}_visibility")) or "private"
        return edits.update(entity.KIND, entity.entity_id, {"set": {"visibility": visibility}})

    return edit


def move(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    """Move an entity to another workspace, where no other one of its kind has its name."""
    workspace_id, declared = declare_workspace(context, required(request, "workspace_name"))
    moved = edits.update(entity.KIND, entity.entity_id, {"set": {"workspace_id": workspace_id}})
    free = Unique(entity.KIND, workspace_id, "name", entity.name, entity.entity_id)
    return together((declared, replace(moved, expect=(free,))))


def visibility_of(number: int) -> str:
    """Return what an entity says of its visibility; nothing for the default.

    Raises:
        InvalidArgumentError: there is no such visibility.
    """
    if number not in _VISIBILITY_NAMES:
        known = ", ".join(f"{n} ({name})" for n, name in _VISIBILITY_NAMES.items())
        msg = f"project_visibility is {number}; expected {known}"
        raise InvalidArgumentError(msg)
    return _VISIBILITY_NAMES[number] if number else ""


# -- finding ----------------------------------------------------------------------------------------------------------


@read("ProjectService.getProjectByName")
def get_project_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the project of a name in a workspace, and those of the name in others that who asks may see."""
    show_named(context, PROJECT, request, response, fill)


@read("ProjectService.getProjects", "ProjectService.findProjects")
def find_projects(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the projects of a workspace, or all that who asks may see; those that predicates match."""
    within = workspace_id_of(context, request.workspace_name) if request.workspace_name else None
    ids = request.project_ids if "project_ids" in request.DESCRIPTOR.fields_by_name else ()
    page = search(context, "project", request, within=within, ids=ids)
    show_all(context, PROJECT, request, response, page, brief)


@read("ProjectService.getPublicProjects")
def get_public_projects(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the projects that everybody may see; those of a user, where one is named."""
    within = workspace_id_of(context, request.workspace_name) if request.workspace_name else None
    filters = [condition("visibility = ?", _PUBLIC)]
    if request.user_id:
        filters.append(condition("owner = ?", request.user_id))
    page = search(context, "project", request, within=within, filters=filters)
    show_all(context, PROJECT, request, response, page, brief)


# -- fields -----------------------------------------------------------------------------------------------------------


def _set_readme(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    del context
    return edits.update("project", entity.entity_id, {"set": {"readme": request.readme_text}})


def _set_short_name(context: ServerContext, request: Fields, entity: Entity) -> Operation:
    del context
    given = required(request, "short_name")
    if short_name(given) != given:
        msg = f"the short name {given[:60]!r} cannot be; expected at most 40 letters, digits, dots, dashes and underscores"
        raise InvalidArgumentError(msg)
    return edits.update("project", entity.entity_id, {"set": {"short_name": given}})


def _show_readme(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    response.readme_text = str(entity.document.get("readme") or "")


def _show_short_name(context: ServerContext, request: Fields, response: Fields, entity: Entity) -> None:
    del context, request
    response.short_name = str(entity.document.get("short_name") or short_name(entity.name))


declare("ProjectService.setProjectReadme", Policy.WRITE, editing(PROJECT, _set_readme))
declare("ProjectService.setProjectVisibility", Policy.WRITE, editing(PROJECT, setting_visibility(PROJECT)))
declare("ProjectService.setProjectShortName", Policy.WRITE, editing(PROJECT, _set_short_name))
declare("ProjectService.setProjectWorkspace", Policy.WRITE, editing(PROJECT, move))
declare("ProjectService.getProjectReadme", Policy.READ, reading(PROJECT, _show_readme))
declare("ProjectService.getProjectShortName", Policy.READ, reading(PROJECT, _show_short_name))
