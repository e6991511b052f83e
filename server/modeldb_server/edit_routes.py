"""The routes by which people change what is stored: comments, names, descriptions, tags, deleting and restoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_server.entity_routes import PREFIX, a_kind, kinds_parameter, served_kinds
from modeldb_server.handlers import edits
from modeldb_server.routes import MAX_EXPRESSION, MAX_MESSAGE, Parameter, Policy, Route

if TYPE_CHECKING:
    from modeldb_core.model.schema import KindDeclaration

_ERRORS = (400, 403, 404, 409, 413, 415)
_RECURSIVE = Parameter(
    name="recursive", type="flag", default=False, description="whether all that it contains goes with it"
)


def _edits_of(declaration: KindDeclaration) -> tuple[Route, ...]:
    return (*_changes_of(declaration), *_removals_of(declaration))


def _changes_of(declaration: KindDeclaration) -> tuple[Route, ...]:
    kind, schema = declaration.kind, declaration.schema
    path, fixed = f"{PREFIX}/{declaration.path}/<entity_id>", {"kind": kind}
    words = a_kind(declaration)
    return (
        Route(
            method="PATCH",
            path=path,
            name=f"edit_{kind}",
            handler=edits.edit_entity,
            policy=Policy.WRITE,
            summary=f"Rename or describe {words}",
            body=(
                Parameter(name="name", type="text", description="the new name"),
                Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="the new description"),
            ),
            answer=schema,
            errors=_ERRORS,
            fixed=fixed,
            tag="edits",
            once=True,
        ),
        Route(
            method="POST",
            path=f"{path}/tags",
            name=f"change_{kind}_tags",
            handler=edits.change_tags,
            policy=Policy.WRITE,
            summary=f"Add and remove tags of {words}",
            body=(
                Parameter(name="add", type="texts", default=(), max_items=100, description="tags to add"),
                Parameter(name="remove", type="texts", default=(), max_items=100, description="tags to remove"),
            ),
            answer=schema,
            errors=_ERRORS,
            fixed=fixed,
            tag="edits",
            once=True,
        ),
    )


def _removals_of(declaration: KindDeclaration) -> tuple[Route, ...]:
    kind = declaration.kind
    path, fixed = f"{PREFIX}/{declaration.path}/<entity_id>", {"kind": kind}
    words = a_kind(declaration)
    return (
        Route(
            method="DELETE",
            path=path,
            name=f"delete_{kind}",
            handler=edits.delete_entity,
            policy=Policy.WRITE,
            summary=f"Delete {words}, so that it can be restored",
            parameters=(_RECURSIVE,),
            answer="Changed",
            errors=_ERRORS,
            fixed=fixed,
            tag="edits",
            once=True,
        ),
        Route(
            method="POST",
            path=f"{path}/restore",
            name=f"restore_{kind}",
            handler=edits.restore_entity,
            policy=Policy.WRITE,
            summary=f"Restore a deleted {declaration.words}, with what was deleted with it",
            answer="Changed",
            errors=_ERRORS,
            fixed=fixed,
            tag="edits",
            once=True,
        ),
    )


def _comment_route() -> Route:
    return Route(
        method="POST",
        path=f"{PREFIX}/comments",
        name="create_comment",
        handler=edits.create_comment,
        policy=Policy.WRITE,
        summary="Comment on an entity",
        body=(
            kinds_parameter("parent_kind", "kind of the entity", remarks=False),
            Parameter(name="parent_id", type="text", required=True, max_length=256, description="of the entity"),
            Parameter(
                name="message", type="text", required=True, max_length=MAX_MESSAGE, description="what is to be said"
            ),
        ),
        answer="Comment",
        status=201,
        errors=_ERRORS,
        tag="edits",
        once=True,
    )


_MANY = Route(
    method="POST",
    path=f"{PREFIX}/runs/edit",
    name="edit_runs",
    handler=edits.edit_runs,
    policy=Policy.WRITE,
    summary="Change many runs: all together, or none",
    description=(
        f"Those of run_ids, or all of a project or experiment that match a filter, up to {edits.MAX_EDITED:,}. The answer"
        " names the runs, so that what was done can be undone."
    ),
    body=(
        Parameter(name="action", type="text", required=True, choices=edits.ACTIONS, description="what to do"),
        Parameter(name="run_ids", type="texts", max_items=edits.MAX_EDITED, max_length=256, description="of which"),
        Parameter(name="filter", type="text", max_length=MAX_EXPRESSION, description="or those that match this"),
        Parameter(name="within", type="text", max_length=256, description="the project or experiment of the filter"),
        Parameter(
            name="expect", type="integer", minimum=0, description="refuse if the filter matches another number of runs"
        ),
        Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="the new one, to describe"),
        Parameter(name="tags", type="texts", default=(), max_items=100, description="to tag or untag with"),
        Parameter(name="recursive", type="flag", default=False, description="to delete: child runs go along"),
    ),
    answer="EditedRuns",
    errors=_ERRORS,
    tag="edits",
    once=True,
)


def edit_routes() -> tuple[Route, ...]:
    """Return the routes by which people change what is stored."""
    edited = (declaration for declaration in served_kinds().values() if not declaration.remark)
    return (_comment_route(), _MANY, *(route for declaration in edited for route in _edits_of(declaration)))
