"""The routes of content trees: for every kind that names one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modeldb_server.entity_routes import PREFIX, a_kind, limit_of, served_kinds
from modeldb_server.handlers import trees
from modeldb_server.routes import Parameter, Policy, Route

if TYPE_CHECKING:
    from modeldb_core.model.schema import KindDeclaration

MAX_LOCATION = 4096
MAX_INSIDE = 16

_read = partial(Route, policy=Policy.READ, tag="trees")
_FOLDER = Parameter(
    name="folder",
    type="text",
    max_length=MAX_LOCATION,
    description="only what lies immediately in this folder, empty for the top, with its folders as items without an entry",
)
_PREFIX = Parameter(
    name="prefix", type="text", default="", max_length=MAX_LOCATION, description="only locations that begin so"
)
_AFTER = Parameter(
    name="after", type="text", default="", max_length=MAX_LOCATION, description="cursor of the page before"
)
_INSIDE = Parameter(
    name="inside",
    type="texts",
    default=(),
    max_length=MAX_LOCATION,
    max_items=MAX_INSIDE,
    description="in the tree that the entry at this location names, and so on",
)
_PATH = Parameter(
    name="path", type="text", required=True, max_length=MAX_LOCATION, description="the location of the entry"
)
_DOWNLOAD = Parameter(name="download", type="flag", default=False, description="whether a browser is to save it")


def tree_routes() -> tuple[Route, ...]:
    """Return the routes of the kinds that there are."""
    return tuple(
        route for declaration in served_kinds().values() if declaration.trees for route in _routes(declaration)
    )


def _routes(declaration: KindDeclaration) -> tuple[Route, ...]:
    field = Parameter(
        name="field",
        type="text",
        default=declaration.trees[0],
        choices=declaration.trees,
        description="the field that names the tree",
    )
    path, fixed = f"{PREFIX}/{declaration.path}/<entity_id>/tree", {"kind": declaration.kind}
    return (
        _read(
            "GET",
            path,
            trees.list_tree,
            f"List what is in the content tree of {a_kind(declaration)}",
            name=f"list_{declaration.kind}_tree",
            parameters=(field, _INSIDE, _FOLDER, _PREFIX, _AFTER, limit_of("items", 100)),
            answer="TreePage",
            errors=(400, 404, 503),
            fixed=fixed,
        ),
        _read(
            "GET",
            f"{path}/file",
            trees.read_tree_file,
            f"Read the file that an entry in the content tree of {a_kind(declaration)} names, or a range of it",
            name=f"read_{declaration.kind}_tree_file",
            parameters=(field, _INSIDE, _PATH, _DOWNLOAD),
            errors=(206, 304, 400, 404, 416, 503),
            fixed=fixed,
        ),
    )
