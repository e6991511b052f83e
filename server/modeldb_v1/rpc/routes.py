"""What answers gRPC calls within the application: ``POST /<service>/<method>``, as gRPC itself puts it. Nobody who comes by HTTP is answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request
from google.protobuf.message import DecodeError, Message

from modeldb_core.errors import InvalidArgumentError, MissingDependencyError
from modeldb_server.beside import serve_beside
from modeldb_server.context import EXTENSION, ServerContext, server_context
from modeldb_server.routes import Form, Policy
from modeldb_v1.calls import DECLARED, MESSAGE_BYTES, carry_out, policy_of
from modeldb_v1.http import answer_error
from modeldb_v1.rpc.requests import GRPC, MARK, REFLECTION
from modeldb_v1.schema import CALLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask, Request

    from modeldb_server.beside import Beside
    from modeldb_v1.schema import CallDeclaration

_FORM = Form(body_type=GRPC, max_body_bytes=MESSAGE_BYTES)
_VALUE = "google.protobuf.Value"
_BY_PATH = {f"/{call.service}/{call.method}": call for call in CALLS.values()}


def register(app: Flask) -> None:
    """Let the application answer gRPC calls, and its server run that of gRPC beside it."""
    calls = tuple(call for call in CALLS.values() if call.name in DECLARED)
    blueprint = Blueprint("v1_grpc", __name__)
    blueprint.add_url_rule("/ai.verta.<service>/<method>", "call", _answer_call, methods=["POST"])
    blueprint.add_url_rule(REFLECTION, "describe", _describe, methods=["POST"])
    blueprint.register_error_handler(Exception, answer_error)
    app.register_blueprint(blueprint)
    serve_beside(app, partial(_listen, calls=calls))


def _listen(app: Flask, *, calls: Sequence[CallDeclaration]) -> Beside | None:
    context = app.extensions[EXTENSION]
    assert isinstance(context, ServerContext)
    if context.settings.grpc_port is None:
        return None
    try:
        from modeldb_v1.rpc.server import GrpcServer
    except ImportError as error:
        msg = f"gRPC needs a package that is not installed ({error}); pip install 'modeldb-core[grpc]'"
        raise MissingDependencyError(msg) from error
    return GrpcServer(app, calls)


def _answer_call(service: str, method: str) -> Response:
    """Answer the call that the path names."""
    del service, method
    payload, call = _payload(), _BY_PATH[request.path]
    try:
        message = call.request.FromString(payload)
    except DecodeError:
        msg = f"the body is not a message of the type {call.request_name}"
        raise InvalidArgumentError(msg) from None
    _check(message, "")
    answer = carry_out(server_context(), call, message)
    return Response(answer.SerializeToString(), content_type=GRPC)


def _policy(request: Request) -> Policy:
    """Return who may make the call that a path names."""
    call = _BY_PATH.get(request.path)
    return Policy.READ if call is None else policy_of(call)


def _name(request: Request) -> str:
    """Return the name of the call that a path names, for the access log."""
    call = _BY_PATH.get(request.path)
    return "" if call is None else f"{call.service}/{call.method}"


def _describe() -> Response:
    """Let who may read ask what services there are."""
    _payload()
    return Response(b"", content_type=GRPC)


_answer_call.modeldb_policy = _policy  # type: ignore[attr-defined]
_answer_call.modeldb_call = _name  # type: ignore[attr-defined]
_describe.modeldb_policy = Policy.READ  # type: ignore[attr-defined]
_answer_call.modeldb_form = _describe.modeldb_form = _FORM  # type: ignore[attr-defined]


def _payload() -> bytes:
    """Return the body of what came by gRPC; 404 for what came by HTTP, where these paths lead nowhere."""
    if MARK not in request.environ or (request.path not in _BY_PATH and request.path != REFLECTION):
        abort(404)
    return request.get_data()


def _check(message: Message, path: str) -> None:
    """Refuse what JSON cannot say and protobuf can: a number that its enum has not, and a Value that is nothing.

    Raises:
        InvalidArgumentError: there is such a thing in the message.
    """
    for field, value in message.ListFields():
        where = f"{path}{field.name}"
        if field.enum_type is not None:
            for number in value if field.is_repeated else (value,):
                if number not in field.enum_type.values_by_number:
                    msg = f"{where} is {number}; expected one of {', '.join(field.enum_type.values_by_name)}"
                    raise InvalidArgumentError(msg)
        elif field.message_type is not None:
            is_map = field.message_type.GetOptions().map_entry
            each = value.values() if is_map else value if field.is_repeated else (value,)
            for inner in each:
                if isinstance(inner, Message):
                    _check(inner, f"{where}.")
    if message.DESCRIPTOR.full_name == _VALUE and message.WhichOneof("kind") is None:
        msg = f"{path.rstrip('.')} is a Value without a kind; null_value stands for nothing"
        raise InvalidArgumentError(msg)
