"""JSON Schemas worked out from what is declared: kinds, their fields, and classes."""

from __future__ import annotations

import inspect
import re
import types
import typing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from modeldb_core.log.json_documents import TOLD_OF_FIELDS
from modeldb_core.model.schema import ANY, FieldDeclaration, KindDeclaration
from modeldb_server.shapes import (
    FLAG,
    FLOAT,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    list_of,
    nullable,
    record,
    reference,
)

if TYPE_CHECKING:
    from modeldb_server.routes import Schema

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
"""An attribute in the docstring of a class, and what it says."""

_OF_TYPES: dict[str, Schema] = {
    "text": TEXT,
    "time": TIME,
    "integer": INTEGER,
    "number": FLOAT,
    "boolean": FLAG,
    "map": OBJECT,
    "texts": list_of(TEXT),
    "series": {"type": "object", "additionalProperties": reference("SeriesSummary")},
}


def of_kind(declaration: KindDeclaration) -> Schema:
    """Return the schema of the entities of a kind."""
    properties: dict[str, Schema] = {"kind": {"const": declaration.kind}, "entity_id": TEXT}
    properties.update({each.name: _field_schema(each) for each in declaration.fields.values() if not each.secret})
    if declaration.has_points:
        properties["duration_s"] = NUMBER
    return {
        "type": "object",
        "description": declaration.summary,
        "properties": properties,
        "required": ["kind", "entity_id", "name"],
    }


def _field_schema(declared: FieldDeclaration) -> Schema:
    schema = _OF_TYPES[declared.type]
    if declared.default is None and declared.type not in ("map", "series"):
        schema = nullable(schema)
    description = declared.description
    if declared.refers_to not in ("", ANY):
        description = (
            f"{description or 'of what it is part of'}: the identifier of a {declared.refers_to.replace('_', ' ')}"
        )
    return {**schema, **({"description": description} if description else {})}


def field_of_kind() -> Schema:
    """Return the schema of what is told of a field."""
    described = of_class(FieldDeclaration)["properties"]
    said = dict(_ATTRIBUTE.findall(inspect.cleandoc(FieldDeclaration.__doc__ or "")))
    properties = {
        name: {**described[name], "description": " ".join(said.get(name, "").split())} for name in TOLD_OF_FIELDS
    }
    return record({**properties, "common": {**FLAG, "description": "whether entities of every kind have it"}})


def of_class(cls: type) -> Schema:
    """Return the schema of the objects of a dataclass."""
    return record({name: _schema_of(hint) for name, hint in typing.get_type_hints(cls).items()})


def _schema_of(hint: Any) -> Schema:  # noqa: ANN401 - a type
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [item for item in typing.get_args(hint) if item is not type(None)]
        return nullable(_schema_of(inner[0]))
    if origin is tuple:
        return list_of(TEXT)
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    simple = {str: TEXT, int: INTEGER, float: FLOAT, datetime: TIME, bool: FLAG}
    return simple.get(hint, OBJECT)
