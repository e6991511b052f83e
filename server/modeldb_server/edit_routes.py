"""The routes by which people change what is stored: comments, names, descriptions, tags, deleting and restoring."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modeldb_server.entity_routes import PREFIX, a_kind, kinds_parameter, served_kinds
from modeldb_server.handlers import edits
from modeldb_server.routes import MAX_EXPRESSION, MAX_MESSAGE, Parameter, Policy, Route

if TYPE_CHECKING:
    from modeldb_core.model.schema import KindDeclaration

_ERRORS = (400, 403, 404, 409, 413, 415)
_edit = partial(Route, policy=Policy.WRITE, errors=_ERRORS, tag="edits", once=True)
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
        _edit(
            "PATCH",
            path,
            edits.edit_entity,
            f"Rename or describe {words}",
            name=f"edit_{kind}",
            body=(
                Parameter(name="name", type="text", description="the new name"),
                Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="the new description"),
            ),
            answer=schema,
            fixed=fixed,
        ),
        _edit(
            "POST",
            f"{path}/tags",
            edits.change_tags,
            f"Add and remove tags of {words}",
            name=f"change_{kind}_tags",
            body=(
                Parameter(name="add", type="texts", default=(), max_items=100, description="tags to add"),
                Parameter(name="remove", type="texts", default=(), max_items=100, description="tags to remove"),
            ),
            answer=schema,
            fixed=fixed,
        ),
    )


def _removals_of(declaration: KindDeclaration) -> tuple[Route, ...]:
    kind = declaration.kind
    path, fixed = f"{PREFIX}/{declaration.path}/<entity_id>", {"kind": kind}
    words = a_kind(declaration)
    return (
        _edit(
            "DELETE",
            path,
            edits.delete_entity,
            f"Delete {words}, so that it can be restored",
            name=f"delete_{kind}",
            parameters=(_RECURSIVE,),
            answer="Changed",
            fixed=fixed,
        ),
        _edit(
            "POST",
            f"{path}/restore",
            edits.restore_entity,
            f"Restore a deleted {declaration.words}, with what was deleted with it",
            name=f"restore_{kind}",
            answer="Changed",
            fixed=fixed,
        ),
    )


def _comment_route() -> Route:
    return _edit(
        "POST",
        f"{PREFIX}/comments",
        edits.create_comment,
        "Comment on an entity",
        body=(
            kinds_parameter("parent_kind", "kind of the entity", remarks=False),
            Parameter(name="parent_id", type="text", required=True, max_length=256, description="of the entity"),
            Parameter(
                name="message", type="text", required=True, max_length=MAX_MESSAGE, description="what is to be said"
            ),
        ),
        answer="Comment",
        status=201,
    )


_MANY = _edit(
    "POST",
    f"{PREFIX}/runs/edit",
    edits.edit_runs,
    "Change many runs: all together, or none",
    description=f"Those of run_ids, or all of a project or experiment that match a filter, up to {edits.MAX_EDITED:,}. The answer"
    " names the runs, so that what was done can be undone.",
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
)


def edit_routes() -> tuple[Route, ...]:
    """Return the routes by which people change what is stored."""
    edited = (declaration for declaration in served_kinds().values() if not declaration.remark)
    return (_comment_route(), _MANY, *(route for declaration in edited for route in _edits_of(declaration)))
