"""The routes that every kind of entity has: find some, get one, and find the keys that they carry."""

from __future__ import annotations

from functools import partial

from modeldb_core.model.entities import Run
from modeldb_core.model.schema import KindDeclaration, shown_kinds
from modeldb_core.queries import MAX_CONTAINERS, MAX_DEPTH, MAX_MEASURES, MAX_OFFSET
from modeldb_server.handlers import changed, entities, spilled
from modeldb_server.routes import MAX_EXPRESSION, Parameter, Policy, Route

PREFIX = "/api/v2"
MAX_LIMIT = 1000
MAX_KEYS = 20_000  # a table may have twelve thousand columns to choose from


_read = partial(Route, policy=Policy.READ)


def served_kinds() -> dict[str, KindDeclaration]:
    """Return the kinds that are served, by their name in a path. Users and tokens, for example, are not."""
    return {declaration.path: declaration for declaration in shown_kinds()}


def a_kind(declaration: KindDeclaration) -> str:
    """Return the name of a kind with its article."""
    return f"{'an' if declaration.words[0] in 'aeiou' else 'a'} {declaration.words}"


_FILTER = Parameter(
    name="filter",
    type="text",
    default="",
    max_length=MAX_EXPRESSION,
    description="which of them, in the filter language, for example: metrics.auc > 0.9 and tags contains 'best'",
)
_WITHIN = Parameter(
    name="within",
    type="texts",
    max_items=MAX_CONTAINERS,
    description="identifiers of containers: only what lies in one of them, such as a project's runs. Everything without it",
)


def limit_of(what: str, default: int, maximum: int = MAX_LIMIT) -> Parameter:
    """Return the parameter that bounds a page."""
    return Parameter(
        name="limit",
        type="integer",
        default=default,
        minimum=1,
        maximum=maximum,
        description=f"at most this many {what}",
    )


def offset_of(description: str) -> Parameter:
    """Return the parameter that says where a page begins."""
    return Parameter(name="offset", type="integer", default=0, minimum=0, maximum=MAX_OFFSET, description=description)


_DELETED = Parameter(name="include_deleted", type="flag", default=False, description="whether deleted ones match too")
_FIND = (
    _FILTER,
    Parameter(
        name="order_by",
        type="text",
        default="",
        max_length=MAX_EXPRESSION,
        description="for example: metrics.auc desc, name. The newest come first where it is empty",
    ),
    Parameter(
        name="fields",
        type="texts",
        max_items=500,
        description="what is needed of them, for example: name,metrics.auc,hyperparameters. Everything without it",
    ),
    _WITHIN,
    limit_of("entities", 100),
    Parameter(name="cursor", type="text", max_length=20_000, description="of the page before, for the next one"),
    offset_of("how many come before the page, in place of a cursor: to turn to a page by its number"),
    Parameter(name="count", type="flag", default=False, description="whether to count how many match in all"),
    _DELETED,
    Parameter(
        name="linked",
        type="text",
        description="kind and identifier of an entity, such as run:0197f3c2-…: only what refers to it",
    ),
    Parameter(
        name="direction",
        type="text",
        default="to",
        choices=("to", "from"),
        description="from: what the entity of linked refers to, instead of what refers to it",
    ),
    Parameter(name="link_field", type="text", default="", description="only by links of this field, such as datasets"),
    Parameter(
        name="depth",
        type="integer",
        default=1,
        minimum=1,
        maximum=MAX_DEPTH,
        description="through at most this many links, one after another",
    ),
)


def entity_routes() -> tuple[Route, ...]:
    """Return the routes of every kind, and those of keys and groups."""
    routes = []
    for plural, declaration in served_kinds().items():
        kind, words, schema = declaration.kind, declaration.words, declaration.schema
        routes.append(
            _read(
                "GET",
                f"{PREFIX}/{plural}",
                entities.find_entities,
                f"Find {plural.replace('-', ' ')}",
                name=f"find_{plural.replace('-', '_')}",
                parameters=_FIND,
                answer=f"{schema}Page",
                errors=(400,),
                fixed={"kind": kind},
            )
        )
        routes.append(
            _read(
                "GET",
                f"{PREFIX}/{plural}/<entity_id>",
                entities.get_entity,
                f"Get a {words} by its identifier, a deleted one too",
                name=f"get_{kind}",
                answer=schema,
                errors=(404,),
                fixed={"kind": kind},
            )
        )
        routes += [_changed_route(declaration), _value_route(declaration)]
    return (*routes, _keys_route(), _groups_route())


def _changed_route(declaration: KindDeclaration) -> Route:
    return _read(
        "GET",
        f"{PREFIX}/{declaration.path}/<entity_id>/changed",
        changed.read_changed,
        f"Read what has changed of a {declaration.words}, a deleted one too",
        name=f"read_changed_{declaration.kind}",
        description="keys names what has changed in each map: what is in the entity has that value now, what is not is gone. The"
        " fields that are no maps come always. Without keys the entity is there as a whole, as it is to those who are far behind.",
        parameters=(
            Parameter(
                name="after", type="integer", minimum=0, description="the cursor of the answer before; all without it"
            ),
        ),
        answer=f"Changed{declaration.schema}",
        errors=(404,),
        fixed={"kind": declaration.kind},
    )


def _value_route(declaration: KindDeclaration) -> Route:
    return _read(
        "GET",
        f"{PREFIX}/{declaration.path}/<entity_id>/values",
        spilled.read_value,
        f"Read one value of a {declaration.words}, however large",
        name=f"read_{declaration.kind}_value",
        description='Where an entity shows {"$blob": ...}, the value was too large for the record: here it is.',
        parameters=(
            Parameter(
                name="section", type="text", required=True, choices=declaration.maps, description="the map it is in"
            ),
            Parameter(name="key", type="text", required=True, description="its name in that map"),
        ),
        answer="Value",
        errors=(400, 404),
        fixed={"kind": declaration.kind},
    )


def kinds_parameter(name: str, description: str, *, remarks: bool = True) -> Parameter:
    """Return the parameter that names a kind that is served."""
    kinds = (each.kind for each in served_kinds().values() if remarks or not each.remark)
    return Parameter(name=name, type="text", default=Run.KIND, choices=tuple(kinds), description=description)


def _keys_route() -> Route:
    return _read(
        "GET",
        f"{PREFIX}/keys",
        entities.find_keys,
        "Find the keys that entities carry",
        description="For offering columns and completing a filter: metrics, hyperparameters, attributes, tags and so on.",
        parameters=(
            kinds_parameter("kind", "of the entities"),
            _FILTER,
            _WITHIN,
            limit_of("keys of each section", 100, MAX_KEYS),
        ),
        answer="Keys",
        errors=(400,),
    )


def _groups_route() -> Route:
    return _read(
        "GET",
        f"{PREFIX}/groups",
        entities.find_groups,
        "Group entities by the value of a field",
        description="The largest groups come first; total is how many there are. Each has the spread of every measure in it.",
        parameters=(
            kinds_parameter("kind", "of the entities"),
            Parameter(
                name="by",
                type="text",
                required=True,
                max_length=MAX_EXPRESSION,
                description="the field, for example hyperparameters.depth, metrics.auc.max or status",
            ),
            Parameter(
                name="measures",
                type="texts",
                max_items=MAX_MEASURES,
                description="fields whose numbers are summed up in each group, for example: metrics.auc,metrics.loss.min",
            ),
            _FILTER,
            _WITHIN,
            limit_of("groups", 100),
            offset_of("how many groups come before the page"),
            _DELETED,
        ),
        answer="Groups",
        errors=(400,),
    )
