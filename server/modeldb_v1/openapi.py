"""The OpenAPI 3.1 document of the v1 API, worked out from the descriptors and the table of calls.

It has the paths of the original proxy (``/api/v1/...``); each is answered below ``/v1/`` as well.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from modeldb_core.runtime import __version__
from modeldb_server.responses import JSON
from modeldb_v1.calls import policy_of
from modeldb_v1.schema import CALLS, POOL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor

    from modeldb_server.routes import Schema
    from modeldb_v1.schema import Binding, CallDeclaration

PATH = "/api/v1/openapi.json"
_VARIABLE = re.compile(r"\{[^}]*\}")
_DEEPEST_QUERY = 3
_ERROR = "Error"
_MEANINGS = {
    400: "an argument cannot be accepted (code 3), or the entity is in a state that does not allow it (9)",
    401: "nobody has said who asks, or nobody whom this server knows (16)",
    403: "who asks may not do this, or may not see it (7)",
    404: "there is nothing of that name (5)",
    409: "something has the name or key already (6), or it was changed meanwhile (10)",
    413: "the body is too long",
    415: "the body is of another type",
    429: "too much is asked for at once; try again after Retry-After seconds (8)",
    501: "this server does not answer that (12)",
    503: "the server or its store cannot answer now; try again (14)",
}
_TRUTH: Schema = {"type": "boolean"}
_NUMBER: Schema = {
    "oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
    "description": "numbers that JSON has not are texts",
}
_INT32: Schema = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_OF_TYPES: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: _TRUTH,
    FieldDescriptor.CPPTYPE_INT32: _INT32,
    FieldDescriptor.CPPTYPE_UINT32: {**_INT32, "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,19}$"},
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBER,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBER,
}
"""As the JSON form of protobuf has them; numbers of 64 bits are texts, since JavaScript would round them."""
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Value": {"description": "any JSON value"},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Struct": {"type": "object"},
}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    calls = [call for call in CALLS.values() if not call.service.startswith("ai.verta.artifactstore.")]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ModelDB v1",
            "version": __version__,
            "description": "The API of ModelDB's original clients. The same calls are answered by gRPC; docs/v1.md explains both.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(call) for call in calls)],
        "paths": _paths(calls),
        "components": {"schemas": {**_schemas(calls), _ERROR: _error_schema()}},
    }


def _paths(calls: Iterable[CallDeclaration]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    templates: dict[str, str] = {}
    for call in calls:
        for number, binding in enumerate(call.bindings):
            path = binding.paths[0]
            named = _VARIABLE.sub(
                lambda found: found[0].replace(".", "_"), path
            )  # tools format paths, where dots mean something
            template = templates.setdefault(_VARIABLE.sub("{}", path), named)  # one name for what stands in one place
            operation = _operation(call, binding, number, [name[1:-1] for name in _VARIABLE.findall(template)])
            paths.setdefault(template, {})[binding.verb.lower()] = operation
    return paths


def _tag(call: CallDeclaration) -> str:
    return call.service.rpartition(".")[2]


def _operation(call: CallDeclaration, binding: Binding, number: int, names: list[str]) -> dict[str, Any]:
    request, variables = POOL.FindMessageTypeByName(call.request_name), binding.variables
    operation: dict[str, Any] = {
        "operationId": call.name + (f".{number}" if number else ""),
        "summary": _summary(call.method),
        "tags": [_tag(call)],
        "parameters": [_path_parameter(request, field, name) for field, name in zip(variables, names, strict=True)],
        "responses": _responses(call),
        "x-modeldb-policy": policy_of(call).value,
    }
    if binding.body:
        schema = _reference(request) if binding.body == "*" else _schema(request.fields_by_name[binding.body])
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    else:
        operation["parameters"] += _query(request, "", variables, _DEEPEST_QUERY)
    return operation


def _summary(method: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", method).lower()
    return words[:1].upper() + words[1:]


def _path_parameter(request: Any, field: str, name: str) -> dict[str, Any]:  # noqa: ANN401 - a descriptor
    *above, last = field.split(".")
    for part in above:
        request = request.fields_by_name[part].message_type
    schema = dict(_schema(request.fields_by_name[last]))
    if schema.get("type") == "string" and "pattern" not in schema:
        schema["minLength"] = 1
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(message: Descriptor, above: str, bound: tuple[str, ...], depth: int) -> Iterator[dict[str, Any]]:
    """Iterate over the parameters that a query string has for the fields of a message; lists of messages have none."""
    for field in message.fields:
        name = f"{above}{field.name}"
        if name in bound:
            continue
        if field.message_type is None:
            schema = {"type": "array", "items": _schema_of_one(field)} if field.is_repeated else _schema(field)
            yield {"name": name, "in": "query", "required": False, "schema": schema}
        elif not field.is_repeated and depth and field.message_type.full_name not in _WELL_KNOWN:
            yield from _query(field.message_type, f"{name}.", bound, depth - 1)


def _responses(call: CallDeclaration) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}}}
    responses: dict[str, Any] = {
        "200": {
            "description": "the answer",
            "content": {JSON: {"schema": _reference(POOL.FindMessageTypeByName(call.response_name))}},
        }
    }
    for status, meaning in _MEANINGS.items():
        responses[str(status)] = {"description": meaning, "content": error}
    return responses


def _schemas(calls: Iterable[CallDeclaration]) -> dict[str, Schema]:
    """Return the schemas of all messages that calls take or answer, and of those within them."""
    found: dict[str, Schema] = {}
    todo = [POOL.FindMessageTypeByName(name) for call in calls for name in (call.request_name, call.response_name)]
    while todo:
        message = todo.pop()
        if message.full_name in found or message.full_name in _WELL_KNOWN or message.GetOptions().map_entry:
            continue
        found[message.full_name] = {
            "type": "object",
            "properties": {field.name: _schema(field) for field in message.fields},
            "additionalProperties": False,
        }
        for field in message.fields:
            inner = field.message_type
            if inner is not None and inner.GetOptions().map_entry:
                inner = inner.fields_by_name["value"].message_type
            if inner is not None:
                todo.append(inner)
    return dict(sorted(found.items()))


def _schema(field: FieldDescriptor) -> Schema:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _schema(field.message_type.fields_by_name["value"])}
    schema = _schema_of_one(field)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _schema_of_one(field: FieldDescriptor) -> Schema:
    if field.message_type is not None:
        return _reference(field.message_type)
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        return {
            "enum": [*names, *(value.number for value in field.enum_type.values)],
            "description": "answered by name",
        }
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return dict(_OF_TYPES[field.cpp_type])


def _reference(message: Descriptor) -> Schema:
    known = _WELL_KNOWN.get(message.full_name)
    return dict(known) if known is not None else {"$ref": f"#/components/schemas/{message.full_name}"}


def _error_schema() -> Schema:
    return {
        "type": "object",
        "required": ["error", "code", "message"],
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "integer", "description": "of gRPC"},
            "message": {"type": "string"},
            "details": {"type": "array", "items": {"type": "object"}},
        },
    }
