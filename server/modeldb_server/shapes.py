"""The parts that JSON Schemas of answers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_server.routes import Schema

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {}
OBJECT: Schema = {"type": "object"}
FLOAT: Schema = {"oneOf": [NUMBER, {"$ref": "#/components/schemas/TaggedFloat"}]}
INTEGER: Schema = {"oneOf": [{"type": "integer"}, {"$ref": "#/components/schemas/TaggedInteger"}]}


def reference(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


def nullable(schema: Schema) -> Schema:
    """Return the schema of something that may be null."""
    return {"oneOf": [schema, {"type": "null"}]}


def record(properties: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object, all of whose properties come but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}
