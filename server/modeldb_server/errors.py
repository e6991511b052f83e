"""Errors as answers: one table from error code to HTTP status, and bodies that give nothing away.

A body is ``{"error": {"code", "message"}}``; a query that does not parse adds ``column``. Where the fault is the
caller's, the message is the one of the exception. Where it is the server's, the message may hold paths or addresses:
the caller gets a neutral sentence and a number under which the server's log has the rest.
"""

from __future__ import annotations

import logging
import secrets
from http.client import responses
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Response, current_app, g, request
from markupsafe import escape
from werkzeug.exceptions import HTTPException

from modeldb_core.errors import ModelDBError
from modeldb_core.stores.protocol import PREFIX, error_fields
from modeldb_server.context import server_context
from modeldb_server.limits import BusyError
from modeldb_server.responses import json_response, text_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask
    from werkzeug.wrappers import Response as AnyResponse

logger = logging.getLogger("modeldb_server")

API_PREFIX = "/api/"

STATUS: Mapping[str, int] = MappingProxyType(
    {
        "invalid_argument": 400,
        "invalid_type": 400,
        "query_syntax": 400,
        "permission_denied": 403,
        "store_read_only": 403,
        "untrusted_model": 403,
        "not_found": 404,
        "erased": 404,
        "no_run": 404,
        "already_exists": 409,
        "run_finished": 409,
        "conflict": 409,
        "cycle": 409,
        "stream_gap": 409,
        "folder_changed": 409,
        "merge_conflict": 409,
        "branch_moved": 412,
        "precondition": 412,
        "error": 500,
        "integrity": 500,
        "corrupt_journal": 500,
        "configuration": 500,
        "unknown_scheme": 500,
        "missing_dependency": 500,
        "store_version": 500,
        "model_load": 500,
        "reproduction": 500,
        "conditions_unsupported": 501,
        "query_unsupported": 501,
        "store_unavailable": 503,
        "time_limit": 504,
    }
)
"""The HTTP status of every code of :mod:`modeldb_core.errors`."""

HTTP_CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid_argument",
        401: "unauthorized",
        403: "permission_denied",
        404: "not_found",
        405: "method_not_allowed",
        409: "conflict",
        411: "invalid_argument",
        413: "too_large",
        414: "too_large",
        415: "unsupported_media_type",
        416: "range_not_satisfiable",
        431: "too_large",
        429: "busy",
        503: "busy",
    }
)
"""The code of answers that come from HTTP itself."""

_NEUTRAL: Mapping[str, str] = MappingProxyType(
    {
        "store_unavailable": "The store cannot be reached now; try again.",
        "store_read_only": "The store does not let this server do that.",
        "integrity": "What is stored does not match its digest; `modeldb audit verify` says what was altered.",
    }
)
_HTTP_MESSAGES: Mapping[int, str] = MappingProxyType(
    {
        404: "There is nothing at this path.",
        405: "This path does not take this method.",
        416: "The range lies outside the content.",
    }
)
_PUBLIC_STATUS = frozenset({400, 403, 404, 409, 412, 501, 504})


def register_error_handlers(app: Flask) -> None:
    """Let ``app`` answer every error: in JSON below ``/api/``, elsewhere in a page to browsers and a line of text to others."""
    app.register_error_handler(ModelDBError, answer_modeldb_error)
    app.register_error_handler(BusyError, _answer_busy)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected)


def error_body(error: ModelDBError) -> dict[str, Any]:
    """Return ``{"code", "message"}`` of an error, with a neutral message where the fault is the server's."""
    status = STATUS.get(error.code, 500)
    if status in _PUBLIC_STATUS and error.code not in _NEUTRAL:
        body: dict[str, Any] = {"code": error.code, "message": without_places(str(error))}
        fields = error_fields(error)
        if not request.path.startswith(PREFIX):
            fields.pop("text", None)  # who asks here knows it
        return {**body, **fields}
    return {
        "code": error.code,
        "message": neutral_message(_NEUTRAL.get(error.code, "The server could not answer."), error),
    }


def without_places(message: str) -> str:
    """Return ``message`` without where the stores are, which a store may well name in it."""
    context = server_context()
    for url in (context.whole_store.url, context.artifacts.url):
        scheme, _, path = url.partition("://")
        for place in (url, "/" + path.strip("/")):
            if len(place) > len("/"):
                message = message.replace(place, f"the {scheme} store")
    return message


def refuse(error: ModelDBError) -> Response:
    """Return the answer to what cannot be accepted where the fault, which elsewhere is the server's, is the caller's."""
    return _answer(422, {"code": error.code, "message": without_places(str(error)), **error_fields(error)})


def answer_modeldb_error(error: ModelDBError) -> Response:
    """Return the answer that tells the caller of ``error``."""
    status = STATUS.get(error.code, 500)
    response = _answer(status, error_body(error))
    if status == 503:
        response.headers["Retry-After"] = "2"
    return response


def _answer_busy(error: BusyError) -> Response:
    response = _answer(error.status, {"code": "busy", "message": str(error)})
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _answer_http_error(error: HTTPException) -> AnyResponse:
    status = error.code or 500
    if status < 400:  # a redirect
        return error.get_response()
    response = _answer(status, {"code": HTTP_CODES.get(status, "error"), "message": http_message(error)})
    for name, value in kept_headers(error):
        response.headers.add(name, value)
    return response


def http_message(error: HTTPException) -> str:
    """Return what a caller is told of an error that comes from HTTP itself."""
    return _HTTP_MESSAGES.get(error.code or 500) or error.description or error.name


def kept_headers(error: HTTPException) -> list[tuple[str, str]]:
    """Return the headers of an error that its answer carries."""
    kept = ("Allow", "Content-Range", "Retry-After", "WWW-Authenticate")
    return [(name, value) for name, value in error.get_headers() if name in kept]


def _answer_unexpected(error: Exception) -> Response:
    return _answer(500, {"code": "error", "message": neutral_message("Something went wrong in the server.", error)})


def neutral_message(sentence: str, error: BaseException) -> str:
    """Return what a caller is told of a fault of the server's: a sentence, and the number under which the log has the rest."""
    number = secrets.token_hex(4)
    logger.error("error %s in %s %r", number, request.method, request.path, exc_info=error)
    return f"{sentence} (The server's log has the details under {number}.)"


SIGN_IN_PAGE = "modeldb_webui.sign_in"
"""The endpoint of the page on which people sign in, where the server has accounts and pages."""


def _answer(status: int, body: dict[str, Any]) -> Response:
    g.modeldb_error_code = body["code"]  # for the access log
    if request.path.startswith(API_PREFIX):
        return json_response({"error": body}, status)
    accepted = request.accept_mimetypes
    if accepted["text/html"] > accepted["text/plain"]:
        if status == 401 and request.method in ("GET", "HEAD") and SIGN_IN_PAGE in current_app.view_functions:
            home = "../" * (request.path.count("/") - 1) or "./"
            target = quote(request.full_path.removesuffix("?"), safe="/")
            return Response(status=302, headers={"Location": f"{home}sign-in?next={target}"})
        return Response(_page(status, str(body["message"])), status, mimetype="text/html")
    return text_response(f"{status}: {body['message']}\n", status)


def _page(status: int, message: str) -> str:
    """Return an error as a page that says what happened and leads on."""
    home = "../" * (request.path.count("/") - 1) or "./"
    title = f"{status} {responses.get(status, '')}".strip()
    advice = (
        "Give your token as the password when the browser asks for it: load this page again." if status == 401 else ""
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title} · ModelDB</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"></head>'
        f"<body><main><h1>{title}</h1><p>{escape(message)} {advice}</p>"
        f'<p><a href="{home}">To the projects</a></p></main></body></html>\n'
    )
