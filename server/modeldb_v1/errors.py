"""Errors as the v1 API tells them: a code of gRPC, the HTTP status that the original proxy made of it, and a message."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.exceptions import HTTPException

from modeldb_core.errors import ModelDBError
from modeldb_server.errors import HTTP_CODES, error_body, http_message, kept_headers, neutral_message
from modeldb_server.limits import BusyError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Code(IntEnum):
    """The codes of gRPC that calls answer with."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.UNAUTHENTICATED: 401,
    }
)
"""The status of each, as the original proxy had it."""
_OF_ERRORS: Mapping[str, Code] = MappingProxyType(
    {
        "invalid_argument": Code.INVALID_ARGUMENT,
        "invalid_type": Code.INVALID_ARGUMENT,
        "query_syntax": Code.INVALID_ARGUMENT,
        "permission_denied": Code.PERMISSION_DENIED,
        "store_read_only": Code.PERMISSION_DENIED,
        "untrusted_model": Code.PERMISSION_DENIED,
        "not_found": Code.NOT_FOUND,
        "erased": Code.NOT_FOUND,
        "no_run": Code.NOT_FOUND,
        "already_exists": Code.ALREADY_EXISTS,
        "conflict": Code.FAILED_PRECONDITION,
        "cycle": Code.FAILED_PRECONDITION,
        "run_finished": Code.FAILED_PRECONDITION,
        "folder_changed": Code.FAILED_PRECONDITION,
        "merge_conflict": Code.FAILED_PRECONDITION,
        "branch_moved": Code.ABORTED,
        "precondition": Code.ABORTED,
        "stream_gap": Code.ABORTED,
        "conditions_unsupported": Code.UNIMPLEMENTED,
        "query_unsupported": Code.UNIMPLEMENTED,
        "unimplemented": Code.UNIMPLEMENTED,
        "store_unavailable": Code.UNAVAILABLE,
        "time_limit": Code.DEADLINE_EXCEEDED,
    }
)
"""The code of what :mod:`modeldb_core.errors` has; everything else is the server's fault."""
_OF_HTTP: Mapping[int, Code] = MappingProxyType(
    {
        401: Code.UNAUTHENTICATED,
        403: Code.PERMISSION_DENIED,
        404: Code.NOT_FOUND,
        405: Code.UNIMPLEMENTED,
        429: Code.RESOURCE_EXHAUSTED,
        503: Code.UNAVAILABLE,
    }
)


DOMAIN = "modeldb"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


class UnimplementedError(ModelDBError):
    """The v1 API has the call or the argument, and this server does not answer it."""

    code = "unimplemented"


class Status(NamedTuple):
    """What a caller is told of an error."""

    code: Code
    http: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    reason: str = "ERROR"
    """The stable code of the error, as docs/api.md lists them, in capitals."""


def status_of(error: Exception) -> Status:
    """Return what the caller is told of an error: of a fault of the server's nothing but a number in its log."""
    if isinstance(error, UnimplementedError):
        return Status(Code.UNIMPLEMENTED, 501, str(error), reason=reason_of(error.code))
    if isinstance(error, ModelDBError):
        code = _OF_ERRORS.get(error.code, Code.INTERNAL)
        headers = (("Retry-After", "2"),) if code is Code.UNAVAILABLE else ()
        return Status(code, HTTP_STATUS[code], str(error_body(error)["message"]), headers, reason_of(error.code))
    if isinstance(error, BusyError):
        code = Code.RESOURCE_EXHAUSTED if error.status == 429 else Code.UNAVAILABLE
        return Status(code, error.status, str(error), (("Retry-After", "10"),), reason_of("busy"))
    if isinstance(error, HTTPException):
        status = error.code or 500
        code = _OF_HTTP.get(status, Code.INVALID_ARGUMENT if status < 500 else Code.INTERNAL)
        return Status(
            code, status, http_message(error), tuple(kept_headers(error)), reason_of(HTTP_CODES.get(status, "error"))
        )
    return Status(Code.INTERNAL, 500, neutral_message("Internal server error.", error))


def reason_of(code: str) -> str:
    """Return the stable code of an error as ``google.rpc.ErrorInfo`` has it."""
    return code.upper()
