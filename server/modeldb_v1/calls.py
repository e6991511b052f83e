"""The table of calls: what answers each, and who may make it. HTTP and gRPC both come through :func:`carry_out`.

A call is declared once, as a function that is given the context, the request message and the response message, which it
fills::

    @read("ProjectService.getProjectById")
    def get_project(context, request, response): ...

Calls that differ in a field or a kind only are declared in a loop, by :func:`declare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from modeldb_server.routes import Policy
from modeldb_v1.errors import UnimplementedError
from modeldb_v1.schema import CALLS, call_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import CallDeclaration, Fields

MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a request, unless the settings allow more: the limit of gRPC that the original had. A data set of 20,000 files needs as much."""
Answer: TypeAlias = "Callable[[ServerContext, Fields, Fields], object]"
"""Answers a call: context, request, and the response that it fills. The messages have the fields of ``api.json``."""


@dataclass(frozen=True, slots=True)
class DeclaredCall:
    """A call with what answers it."""

    call: CallDeclaration
    policy: Policy
    answer: Answer


_declared: dict[str, DeclaredCall] = {}
DECLARED: Mapping[str, DeclaredCall] = MappingProxyType(_declared)
"""Every call that is answered, by its name."""


def declare(name: str, policy: Policy, answer: Answer) -> None:
    """Let ``answer`` answer a call.

    Args:
        name: such as ``ProjectService.createProject``.
        policy: who may make it.
        answer: fills the response.
    """
    assert name not in _declared, f"{name} is declared twice"
    _declared[name] = DeclaredCall(call_named(name), policy, answer)


def read(*names: str) -> Callable[[Answer], Answer]:
    """Declare calls that change nothing."""
    return _declaring(names, Policy.READ)


def write(*names: str) -> Callable[[Answer], Answer]:
    """Declare calls that change something."""
    return _declaring(names, Policy.WRITE)


def _declaring(names: tuple[str, ...], policy: Policy) -> Callable[[Answer], Answer]:
    def decorate(answer: Answer) -> Answer:
        for name in names:
            declare(name, policy, answer)
        return answer

    return decorate


def policy_of(call: CallDeclaration) -> Policy:
    """Return who may make a call; one that nothing answers says so to those who may read."""
    declared = DECLARED.get(call.name)
    return Policy.READ if declared is None else declared.policy


def missing() -> tuple[str, ...]:
    """Return the calls of ``api.json`` that nothing answers."""
    return tuple(name for name in CALLS if name not in DECLARED)


def carry_out(context: ServerContext, call: CallDeclaration, request: Message) -> Message:
    """Answer a call of somebody who may make it (:func:`policy_of`), within a request of the application.

    Raises:
        UnimplementedError: nothing answers it.
        ModelDBError: it cannot be done; :func:`modeldb_v1.errors.status_of` says what the caller is told.
    """
    declared = DECLARED.get(call.name)
    if declared is None:
        msg = f"this server does not answer {call.name}"
        raise UnimplementedError(msg)
    response = call.response()
    declared.answer(context, request, response)
    return response
