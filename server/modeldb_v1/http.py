"""The v1 API over HTTP: the paths of every call, and errors as the original proxy told them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import PathConverter

from modeldb_server.context import server_context
from modeldb_server.responses import JSON, json_response
from modeldb_server.routes import Form, Policy
from modeldb_v1 import openapi, services  # noqa: F401 - services declares the calls
from modeldb_v1.artifact_files import add_artifact_routes
from modeldb_v1.calls import MESSAGE_BYTES, carry_out, policy_of
from modeldb_v1.errors import DOMAIN, ERROR_INFO, status_of
from modeldb_v1.paths import ROOTS, match, methods_of
from modeldb_v1.transcoding import read_message, write_message

if TYPE_CHECKING:
    from flask import Flask, Request

NAME = "v1"
FORM = Form(body_type="", max_body_bytes=MESSAGE_BYTES, needs_header=False)
"""Of every call: its clients know nothing of ``X-ModelDB``."""
_METHODS = ("GET", "POST", "PUT", "DELETE")


class _Anything(PathConverter):
    """The rest of a path, whatever it is: with lines and empty parts too, so that the v1 API says that nothing is there."""

    regex = "(?s:.*)"
    part_isolating = False


def register(app: Flask) -> None:
    """Add every call to ``app``."""
    app.url_map.converters["anything"] = _Anything
    blueprint = Blueprint(NAME, __name__)
    for root in ROOTS:
        blueprint.add_url_rule(f"{root}/<anything:rest>", "call", answer_call, methods=_METHODS)
    add_artifact_routes(blueprint)
    blueprint.add_url_rule(openapi.PATH, "openapi", lambda: json_response(openapi.document()), methods=["GET"])
    blueprint.register_error_handler(Exception, answer_error)
    app.register_blueprint(blueprint)


def answer_call(rest: str) -> Response:
    """Answer the call to which the path leads."""
    del rest
    found = match(request.method, request.path)
    if found is None:
        allowed = methods_of(request.path)
        raise MethodNotAllowed(allowed) if allowed else NotFound
    call, binding, variables = found
    body = request.get_data() if binding.body else b""
    message = read_message(call, binding, variables, request.args.items(multi=True), body)
    return Response(write_message(carry_out(server_context(), call, message)), content_type=JSON)


def policy_of_path(request: Request) -> Policy:
    """Return who may make the call to which a path leads; where there is none, those who may read are told so."""
    found = match(request.method, request.path)
    return Policy.READ if found is None else policy_of(found.call)


def call_of_path(request: Request) -> str:
    """Return the name of the call to which a path leads, for the access log."""
    found = match(request.method, request.path)
    return "" if found is None else f"{found.call.service}/{found.call.method}"


answer_call.modeldb_policy = policy_of_path  # type: ignore[attr-defined]
answer_call.modeldb_call = call_of_path  # type: ignore[attr-defined]
answer_call.modeldb_form = FORM  # type: ignore[attr-defined]


def answer_error(error: Exception) -> Response:
    """Return the answer that tells the caller of an error."""
    status = status_of(error)
    details = [{"@type": ERROR_INFO, "reason": status.reason, "domain": DOMAIN}]
    body = {"error": status.message, "code": int(status.code), "message": status.message, "details": details}
    response = json_response(body, status.http)
    for name, value in status.headers:
        response.headers.add(name, value)
    return response
