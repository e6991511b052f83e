"""What a route is: path, who may call it, what it takes, what it answers. The API is one table of these.

From the table come the Flask rules, the checking of arguments, the policy of who may call, and the OpenAPI document;
so none of the four can disagree with another. ``docs/server.md`` says what the policies mean.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modeldb_server.responses import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Response

MAX_NAME = 1024
MAX_EXPRESSION = 20_000
MAX_MESSAGE = 100_000

ParameterType: TypeAlias = Literal[
    "text", "integer", "flag", "texts", "objects", "object", "number", "numbers", "integers", "time"
]
Schema: TypeAlias = dict[str, Any]


_SCHEMAS: Mapping[str, Schema] = {
    "object": {"type": "object"},
    "number": {"oneOf": [{"type": "number"}, {"$ref": "#/components/schemas/TaggedFloat"}]},
    "numbers": {"oneOf": [{"type": "number"}, {"$ref": "#/components/schemas/TaggedFloat"}]},
    "integers": {"oneOf": [{"type": "integer"}, {"$ref": "#/components/schemas/TaggedInteger"}]},
    "time": {"type": "string", "format": "date-time"},
}
"""Of a value, or of each in a list."""


class Policy(StrEnum):
    """Who may call a route: who is granted one may do what those before it allow."""

    PUBLIC = "public"
    """Anyone who reaches the port: says nothing about what is stored."""
    READ = "read"
    """Who may see what is stored."""
    WRITE = "write"
    """Who may change what is stored; needs the header ``X-ModelDB`` and is refused by a read-only server."""
    ERASE = "erase"
    """Who may apply ``erase`` changes as well; no route's, but that of a token."""

    def allows(self, policy: Policy) -> bool:
        """Return whether who is granted this may call a route of ``policy``."""
        order = list(Policy)
        return order.index(policy) <= order.index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of a request that a route takes; a plugin's view function states it in its attribute ``modeldb_form``.

    Attributes:
        body_type: the media type of the body; empty: any.
        max_body_bytes: how long the body may be, where that is more than the settings say.
        is_upload: the body is a file, which may be longer than memory.
        needs_header: whether a request that changes something needs the header ``X-ModelDB``. Clients that do not know that
            header send what no page of another origin can send unasked (:func:`modeldb_server.security.is_of_a_program`).
    """

    body_type: str = JSON
    max_body_bytes: int | None = None
    is_upload: bool = False
    needs_header: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument of a route: in the query string, or a field of the JSON body.

    Attributes:
        type: ``texts``, ``objects``, ``numbers`` and ``integers`` are lists; in a query string ``texts`` is separated by
            commas. An ``object`` is a map from names to values, with tagged numbers. A ``time`` is a date and time as in
            ISO 8601, with its offset from UTC; the handler is given microseconds since 1970-01-01 UTC.
        minimum: of an integer.
        maximum: of an integer.
        max_length: of a text in characters, and of each of ``texts``.
        max_items: of a list.
        items: the fields of each of ``objects``.
        is_raw: a text is taken as it comes, an empty one and one with NUL characters too: a store judges it.
    """

    name: str
    type: ParameterType
    description: str
    required: bool = False
    default: Any = None
    minimum: int = -(2**63)
    maximum: int = 2**63 - 1
    max_length: int = MAX_NAME
    max_items: int = 500
    choices: tuple[str, ...] = ()
    items: tuple[Parameter, ...] = ()
    is_raw: bool = False

    def schema(self) -> Schema:
        """Return it as a JSON Schema."""
        schema: Schema
        if self.type == "integer":
            schema = {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}
        elif self.type == "flag":
            schema = {"type": "string", "enum": ["0", "1", "false", "true"]}
        elif self.type == "texts":
            item = {"type": "string", "maxLength": self.max_length}
            schema = {"type": "array", "items": item, "maxItems": self.max_items}
        elif self.type == "objects":
            schema = {"type": "array", "items": object_schema(self.items), "maxItems": self.max_items}
        elif self.type in ("numbers", "integers"):
            schema = {"type": "array", "items": dict(_SCHEMAS[self.type]), "maxItems": self.max_items}
        elif self.type in _SCHEMAS:
            schema = dict(_SCHEMAS[self.type])
        else:
            schema = {"type": "string", "maxLength": self.max_length}
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.default is not None:
            schema["default"] = list(self.default) if isinstance(self.default, tuple) else self.default
        return schema


def object_schema(fields: tuple[Parameter, ...]) -> Schema:
    """Return the JSON Schema of an object with ``fields`` and no others."""
    schema: Schema = {
        "type": "object",
        "properties": {
            field.name: {
                **({"type": "boolean"} if field.type == "flag" else field.schema()),
                "description": field.description,
            }
            for field in fields
        },
        "additionalProperties": False,
    }
    if required := [field.name for field in fields if field.required]:
        schema["required"] = required
    return schema


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the server.

    Attributes:
        method: GET, POST, PATCH, PUT or DELETE.
        path: as a Flask rule, such as ``/api/v2/runs/<run_id>/series``.
        handler: called with the server's context and every argument by name.
        summary: a line for the documentation.
        policy: who may call it.
        name: unique; the Flask endpoint and the operationId; that of the handler where none is given.
        description: more, where a line is not enough.
        parameters: what the query string may hold.
        body: the fields of the JSON body; none for a GET.
        body_type: the media type of the body. What is not JSON is passed to the handler as the stream ``content``.
        max_body_bytes: how long the body may be, where that is more than the settings say.
        answer: the name of the schema of a successful JSON answer, or a media type.
        status: of a successful answer.
        errors: further statuses that it answers with.
        fixed: arguments of the handler that come from the table.
        once: whether a client may send an ``Idempotency-Key``, by which the request is done once however often it comes.
        is_upload: the body is a file, which may be longer than memory.
        whole: whether it is for those only who may see the whole store.
        tag: the group it is shown in.
    """

    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    handler: Callable[..., Response]
    summary: str
    _: KW_ONLY
    policy: Policy
    name: str = ""
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: tuple[Parameter, ...] = ()
    body_type: str = JSON
    max_body_bytes: int | None = None
    answer: str = "application/octet-stream"
    status: int = 200
    errors: tuple[int, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False
    is_upload: bool = False
    whole: bool = False
    tag: str = "entities"

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.handler.__name__)

    @property
    def form(self) -> Form:
        """The form of its requests."""
        return Form(body_type=self.body_type, max_body_bytes=self.max_body_bytes, is_upload=self.is_upload)
