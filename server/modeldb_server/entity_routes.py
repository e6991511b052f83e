"""The routes that every kind of entity has: find some, get one, and find the keys that they carry."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from modeldb_core.entities import KINDS
from modeldb_server.documents import SECRET_KINDS
from modeldb_server.handlers import entities, spilled
from modeldb_server.routes import MAX_EXPRESSION, Parameter, Policy, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "/api/v2"
MAX_LIMIT = 1000
MAX_KEYS = 20_000  # a table may have twelve thousand columns to choose from


def _plural(kind: str) -> str:
    return kind.replace("_", "-").removesuffix("y") + ("ies" if kind.endswith("y") else "s")


SERVED_KINDS: Mapping[str, str] = MappingProxyType({_plural(kind): kind for kind in KINDS if kind not in SECRET_KINDS})
"""Kinds by their name in a path. Users and tokens are not served."""

_FILTER = Parameter(
    name="filter",
    type="text",
    default="",
    max_length=MAX_EXPRESSION,
    description="which of them, in the filter language, for example: metrics.auc > 0.9 and tags contains 'best'",
)
_WITHIN = Parameter(
    name="within", type="text", description="identifier of a container: only what is in it, such as a project's runs"
)


def limit_of(what: str, default: int, maximum: int = MAX_LIMIT) -> Parameter:
    """Return the parameter that bounds a page."""
    return Parameter(
        name="limit",
        type="integer",
        default=default,
        minimum=1,
        maximum=maximum,
        description=f"at most so many {what}",
    )


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
    Parameter(name="count", type="flag", default=False, description="whether to count how many match in all"),
    Parameter(name="include_deleted", type="flag", default=False, description="whether deleted ones match too"),
)


def entity_routes() -> tuple[Route, ...]:
    """Return the routes of every kind, and that of the keys."""
    routes = []
    for plural, kind in SERVED_KINDS.items():
        words, schema = kind.replace("_", " "), KINDS[kind].__name__
        routes.append(
            Route(
                method="GET",
                path=f"{PREFIX}/{plural}",
                name=f"find_{plural.replace('-', '_')}",
                handler=entities.find_entities,
                policy=Policy.READ,
                summary=f"Find {plural.replace('-', ' ')}",
                parameters=_FIND,
                answer=f"{schema}Page",
                errors=(400,),
                fixed={"kind": kind},
            )
        )
        routes.append(
            Route(
                method="GET",
                path=f"{PREFIX}/{plural}/<entity_id>",
                name=f"get_{kind}",
                handler=entities.get_entity,
                policy=Policy.READ,
                summary=f"Get a {words} by its identifier, a deleted one too",
                answer=schema,
                errors=(404,),
                fixed={"kind": kind},
            )
        )
    return (*routes, *_VALUES, _KEYS)


_VALUES = tuple(
    Route(
        method="GET",
        path=f"{PREFIX}/{kind.replace('_', '-')}s/<entity_id>/values",
        name=f"read_{kind}_value",
        handler=spilled.read_value,
        policy=Policy.READ,
        summary=f"Read one value of a {kind.replace('_', ' ')}, however large",
        description='Where an entity shows {"$blob": ...}, the value was too large for the record: here it is.',
        parameters=(
            Parameter(name="section", type="text", required=True, choices=sections, description="the map it is in"),
            Parameter(name="key", type="text", required=True, description="its name in that map"),
        ),
        answer="Value",
        errors=(400, 404),
        fixed={"kind": kind},
    )
    for kind, sections in spilled.SECTIONS.items()
)

_KEYS = Route(
    method="GET",
    path=f"{PREFIX}/keys",
    name="find_keys",
    handler=entities.find_keys,
    policy=Policy.READ,
    summary="Find the keys that entities carry",
    description="For offering columns and completing a filter: metrics, hyperparameters, attributes, tags and so on.",
    parameters=(
        Parameter(
            name="kind",
            type="text",
            default="run",
            choices=tuple(SERVED_KINDS.values()),
            description="of the entities",
        ),
        _FILTER,
        _WITHIN,
        limit_of("keys of each section", 100, MAX_KEYS),
    ),
    answer="Keys",
    errors=(400,),
)
