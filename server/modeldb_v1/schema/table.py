"""The calls of the v1 API: what each takes and answers, and the paths by which HTTP leads to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from modeldb_core.errors import NotFoundError
from modeldb_v1.schema.descriptors import API, message_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

ORIGINAL, DIRECT = "/api/v1", "/v1"
"""What the paths begin with: as the original proxy had it, and as the services declare it."""
_PROXIED: Mapping[str, str] = MappingProxyType({"ai.verta.uac": "/uac-proxy", "ai.verta.artifactstore": ""})
_VARIABLE = re.compile(r"\{([\w.]+)\}")


@dataclass(frozen=True, slots=True)
class Binding:
    """A path that leads to a call.

    Attributes:
        verb: GET, POST, PUT or DELETE.
        path: below :data:`DIRECT`, with fields in braces: ``/versioning/repositories/{id.repo_id}``.
        body: the field that the body holds; ``*`` for all of the message, empty: the rest is in the query string.
        prefix: between :data:`ORIGINAL` and the path.
    """

    verb: str
    path: str
    body: str
    prefix: str

    @property
    def paths(self) -> tuple[str, str]:
        """The whole paths."""
        return f"{ORIGINAL}{self.prefix}{self.path}", f"{DIRECT}{self.path}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The fields in the path, in order."""
        return tuple(_VARIABLE.findall(self.path))


@dataclass(frozen=True, slots=True)
class CallDeclaration:
    """What ``api.json`` says of a call.

    Attributes:
        service: the full name of its service, such as ``ai.verta.modeldb.ProjectService``.
        method: its name within that.
        bindings: the paths that lead to it.
    """

    service: str
    method: str
    request_name: str
    response_name: str
    bindings: tuple[Binding, ...]

    @property
    def name(self) -> str:
        """Its name with that of its service, such as ``ProjectService.createProject``."""
        return f"{self.service.rpartition('.')[2]}.{self.method}"

    @property
    def request(self) -> type[Message]:
        """The class of what it takes."""
        return message_class(self.request_name)

    @property
    def response(self) -> type[Message]:
        """The class of what it answers."""
        return message_class(self.response_name)


def _calls() -> dict[str, CallDeclaration]:
    found = {}
    for content in API.values():
        package = content["package"]
        prefix = _PROXIED.get(package, "/modeldb")
        for service, methods in content.get("services", {}).items():
            for method, (request, response, *lines) in methods.items():
                bindings = tuple(_binding(line, prefix) for line in lines)
                declared = CallDeclaration(f"{package}.{service}", method, request, response, bindings)
                found[declared.name] = declared
    return found


def _binding(line: str, prefix: str) -> Binding:
    verb, path, *body = line.split(" ")
    return Binding(verb, path.removeprefix(DIRECT), body[0] if body else "", prefix)


CALLS: Mapping[str, CallDeclaration] = MappingProxyType(_calls())
"""Every call by its name."""

SERVICES: Mapping[str, tuple[CallDeclaration, ...]] = MappingProxyType(
    {
        service: tuple(each for each in CALLS.values() if each.service == service)
        for service in dict.fromkeys(each.service for each in CALLS.values())
    }
)
"""The calls of each service by its full name."""


def call_named(name: str) -> CallDeclaration:
    """Return a call by its name.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return CALLS[name]
    except KeyError:
        msg = f"the v1 API has no call {name[:80]!r}; expected for example ProjectService.createProject"
        raise NotFoundError(msg) from None
