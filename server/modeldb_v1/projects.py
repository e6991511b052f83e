"""Projects: what only they have. What they share with experiments and runs is in ``sections.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import containers
from modeldb_core.commands.operation import together
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.queries import Query, condition
from modeldb_v1.calls import read, write
from modeldb_v1.kinds import found, name_of, required
from modeldb_v1.messages import VISIBILITIES, fill
from modeldb_v1.sections import described
from modeldb_v1.workspaces import declare_workspace, workspace_id_of

if TYPE_CHECKING:
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

_VISIBILITY_NAMES = {number: name for name, number in VISIBILITIES.items()}


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
        "visibility": visibility_of(request.project_visibility),
    }
    project_id = context.new_id("project")
    created = containers.create(context.store, "project", fields, entity_id=project_id, declared_id=workspace_id)
    context.execute(together((declared, created)))
    fill(context, response.project, found(context, "project", project_id))


def visibility_of(number: int) -> str | None:
    """Return what an entity says of its visibility; nothing for the default.

    Raises:
        InvalidArgumentError: there is no such visibility.
    """
    if number not in _VISIBILITY_NAMES:
        msg = f"project_visibility is {number}; expected {', '.join(f'{n} ({name})' for n, name in _VISIBILITY_NAMES.items())}"
        raise InvalidArgumentError(msg)
    return _VISIBILITY_NAMES[number] if number else None


@read("ProjectService.getProjectByName")
def get_project_by_name(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the project of a name in a workspace, and those of the name in others that who asks may see."""
    name = required(request, "name")
    page = context.store.find(Query("project", condition("name = ?", name), order_by="created_at"))
    workspace_id = workspace_id_of(context, request.workspace_name)
    for project in page.entities:
        is_own = project.workspace_id == workspace_id
        if is_own or not request.workspace_name:
            fill(context, response.project_by_user if is_own else response.shared_projects.add(), project)
    if not response.HasField("project_by_user") and not response.shared_projects:
        msg = f"Project not found: {name[:80]}"
        raise NotFoundError(msg)
