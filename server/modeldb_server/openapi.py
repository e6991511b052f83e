"""The OpenAPI 3.1 document, worked out from the table of routes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime import __version__
from modeldb_core.stores.protocol import VERSION, WRITE_HEADER
from modeldb_server.repeats import HEADER, MAX_KEY
from modeldb_server.responses import JSON
from modeldb_server.routes import Policy, object_schema
from modeldb_server.schemas import component_schemas
from modeldb_server.shapes import reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_server.routes import Parameter, Route, Schema

EVENTS = "text/event-stream"
_VARIABLE = re.compile(r"<(\w+)>")

ERROR_MEANINGS = {
    200: "the entity that has the name already",
    206: "the part that was asked for",
    304: "not changed since the copy that the client has",
    400: "an argument cannot be accepted",
    401: "no token of this server was shown",
    403: "the request comes from elsewhere, or may not do this",
    404: "there is nothing of that name",
    409: "the entity is in a state that does not allow it",
    412: "a condition of the batch does not hold; nothing was applied",
    413: "the body is too long",
    429: "too much is asked for at once; try again after Retry-After seconds",
    415: "the body is of another type",
    416: "the range lies outside the artifact",
    422: "what arrived does not match its digest or its hash",
    501: "the store cannot decide conditions",
    504: "the answer takes longer than a request may; ask for less",
    503: "the server or its store cannot answer now; try again",
}

_TAGS = {
    "entities": "Projects, experiments, runs and whatever else is kept",
    "series": "The history of metrics",
    "artifacts": "Files of runs",
    "changes": "The audit log, and live updates",
    "runs": "What programs log while they train; needs the header X-ModelDB: 1",
    "edits": "What may be altered; needs the header X-ModelDB: 1",
    "server": "The server itself",
    "accounts": "Signing in, one's own tokens, and who has a role where; on a server with accounts",
    "store": f"What other processes use the server as a store by: version {VERSION} of the protocol",
}


def describe_api(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of an API that has these routes."""
    paths: dict[str, Any] = {}
    for route in routes:
        path = _VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ModelDB",
            "version": __version__,
            "description": "Track a training, find, read and annotate what was tracked. docs/api.md explains it with examples.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": component_schemas()},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route),
        "x-modeldb-policy": route.policy.value,
    }
    only_whole = "Refused (403) to those who may see a part of the store only." if route.whole else ""
    if text := " ".join(filter(None, (route.description, only_whole))):
        operation["description"] = text
    if route.body_type != JSON:
        operation["requestBody"] = {"required": True, "content": {route.body_type: {"schema": {}}}}
    elif route.body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": object_schema(route.body)}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    described = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": "identifier"}
        for name in _VARIABLE.findall(route.path)
    ]
    described += [_parameter(parameter) for parameter in route.parameters]
    if route.policy is Policy.WRITE:
        description = "says that no foreign page made the request"
        schema = {"const": "1"}
        described.append(
            {"name": WRITE_HEADER, "in": "header", "required": True, "schema": schema, "description": description}
        )
    if route.once:
        description = "by which the request is done once, however often it is sent"
        text: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_KEY}
        described.append(
            {"name": HEADER, "in": "header", "required": False, "schema": text, "description": description}
        )
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.schema()
    if parameter.type == "flag" and parameter.default is not None:
        schema["default"] = "1" if parameter.default else "0"
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": schema,
    }
    if parameter.type == "texts":
        described.update(style="form", explode=False)
    return described


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {str(route.status): {"description": "the answer", "content": _content(route.answer)}}
    unauthorized = () if route.policy is Policy.PUBLIC else (401,)
    for status in (*unauthorized, *route.errors):
        responses[str(status)] = {"description": ERROR_MEANINGS[status]}
        if status in (200, 206) or route.name == "get_readiness":
            responses[str(status)]["content"] = _content(route.answer)
        elif status >= 400:
            responses[str(status)]["content"] = {JSON: {"schema": reference("Error")}}
    responses["default"] = {"description": "an error", "content": {JSON: {"schema": reference("Error")}}}
    return responses


def _content(answer: str) -> dict[str, Any]:
    if "/" not in answer:
        return {JSON: {"schema": reference(answer)}}
    schema: Schema = {"type": "string"} if answer.startswith("text/") and answer != EVENTS else {}  # each is an object
    return {answer: {"schema": schema}}
