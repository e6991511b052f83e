"""What went wrong, in a sentence: answers that are errors, and exceptions of the HTTP client."""

from __future__ import annotations

import json
import re
import ssl
import struct
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3 import exceptions

from modeldb_core.errors import (
    ConfigurationError,
    ModelDBError,
    PermissionDeniedError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.runtime import __version__
from modeldb_core.stores import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.backends.remote.address import Address
    from modeldb_core.stores import BlobInfo

R = TypeVar("R")

_MAX_MESSAGE = 1000
_UNFIT = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, struct.error)
"""What taking apart an answer raises where it has another form."""

BROKEN = (exceptions.HTTPError, HTTPException, OSError, ValueError)
"""What the HTTP client raises where the way to a server is broken, or what comes is not HTTP: sizes of chunks below 0."""

TRY_AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""


def error_of_answer(status: int, headers: Mapping[str, str], body: bytes, address: Address) -> ModelDBError:
    """Return the error that an answer tells of."""
    data = _error_data(body)
    if data is None:
        return _foreign_error(status, headers, address)
    code, message = data.get("code"), clean(data.get("message", ""))
    if status == 401:
        return _unauthorized(address)
    if code == "busy" or status in TRY_AGAIN:
        return StoreUnavailableError(f"{address.url} cannot answer now ({message}); the same call may succeed later")
    if code in ("method_not_allowed", "too_large", "unsupported_media_type"):
        return StoreVersionError(
            f"{address.url} does not take what this version of ModelDB ({__version__}) sends: {message}; see that the"
            f" server has the same version, and that no proxy before it limits requests"
        )
    if status >= 500 and code == "error":
        return StoreUnavailableError(f"{address.url} failed: {message}")
    return understood(address, lambda: protocol.load_error({**data, "message": message}))


def check_protocol(data: object, address: Address) -> dict[str, Any]:
    """See that both sides speak the same version, and return what the server says of itself.

    Raises:
        ConfigurationError: what answered is not a server of ModelDB.
        StoreVersionError: it is one, of a version too far from this one.
    """
    if not isinstance(data, dict) or data.get("name") != "ModelDB":
        raise _no_modeldb(address, "it gave another answer")
    spoken = data.get("protocols")
    spoken = spoken if isinstance(spoken, list) else []
    if protocol.VERSION in spoken:
        return data
    older = "the server" if all(isinstance(item, int) and item < protocol.VERSION for item in spoken) else "this one"
    listed = clean(", ".join(map(str, spoken))) or "none"
    msg = (
        f"{address.url} has ModelDB {clean(data.get('version'))} and speaks version {listed} of the protocol of stores, this"
        f" one has {__version__} and speaks {protocol.VERSION}; update {older}"
    )
    raise StoreVersionError(msg)


def load_blob(body: bytes | str, address: Address) -> BlobInfo:
    """Return the description of a blob that a server answered with.

    Raises:
        StoreUnavailableError: the answer is none, so that something else must have given it, such as a sign-in page.
    """
    info = understood(address, lambda: protocol.load_blob(json.loads(body)))
    if not re.fullmatch(r"[0-9a-f]{64}", info.digest) or info.size_bytes < 0:
        raise foreign_answer(address)
    return info


def load_digests(data: dict[str, list[str]]) -> list[str]:
    """Return the digests of blobs that a server has put."""
    return [str(digest) for digest in data["digests"]]


def understood(address: Address, load: Callable[[], R]) -> R:
    """Return what ``load`` makes of an answer: the one place where answers of a server are taken apart.

    Raises:
        StoreUnavailableError: the answer has not the form that it must have, so that something else must have given it.
        ModelDBError: ``load`` found that it arrived damaged.
    """
    try:
        return load()
    except ModelDBError:
        raise
    except _UNFIT as error:
        raise foreign_answer(address, f"{type(error).__name__}: {clean(str(error))}") from error


def foreign_answer(address: Address, why: str = "a sign-in page, a proxy?") -> StoreUnavailableError:
    """Return the error for an answer that no server of ModelDB gives."""
    return StoreUnavailableError(
        f"what answers at {address.url} did not answer as a server of ModelDB does ({why}); the same call may succeed"
        " later"
    )


def clean(text: object) -> str:
    """Return what a server says as it may be shown: one line of visible characters, not endless."""
    shown = "".join(char if char.isprintable() else " " for char in str(text)[:_MAX_MESSAGE])
    return " ".join(shown.split())


def error_of_failure(error: Exception, address: Address) -> StoreUnavailableError | ConfigurationError:
    """Return what an exception of the HTTP client means."""
    reason = _reason(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"the certificate of {address.url} is not to be trusted: {reason.verify_message}; name the file with the"
            f" certificate of its authority in the option ca_bundle ([stores.https] in modeldb.toml)"
        )
    if isinstance(reason, ssl.SSLError):
        why = f"TLS failed ({reason.reason or reason}); is it http:// or another port?"
        return StoreUnavailableError(f"{address.url} cannot be reached: {why}")
    return StoreUnavailableError(f"{address.url} cannot be reached: {_cause(error, reason, address)}")


def _cause(error: Exception, reason: BaseException, address: Address) -> str:
    if isinstance(error, exceptions.ProxyError):
        return f"the proxy that HTTPS_PROXY or HTTP_PROXY names does not let it through ({_text(reason)})"
    if isinstance(error, exceptions.NameResolutionError):
        return f"the host {address.host!r} is unknown; check the URL"
    if isinstance(reason, ConnectionRefusedError):
        return f"nothing listens on port {address.port} of {address.host}; is the server started?"
    if isinstance(error, exceptions.NewConnectionError):
        return _text(reason)
    if isinstance(error, exceptions.ConnectTimeoutError):
        return f"no connection within {address.connect_timeout_s:g} s; check host and port, and firewalls on the way"
    if isinstance(error, exceptions.TimeoutError):
        return f"no answer within {address.timeout_s:g} s"
    return f"the connection broke ({_text(reason)})"


def _reason(error: BaseException) -> BaseException:
    """Return the exception that another one was raised for."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        for item in (getattr(error, "reason", None), getattr(error, "original_error", None), *error.args):
            if isinstance(item, BaseException):
                error = item
                break
        else:
            if isinstance(error.__cause__, OSError) and not isinstance(error, OSError):
                error = error.__cause__
    return error


def _text(error: BaseException) -> str:
    """Return what an exception says, without the addresses and objects that the HTTP client puts into it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def _error_data(body: bytes) -> dict[str, Any] | None:
    """Return what a server of ModelDB says of an error; ``None`` where the body is not from one."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = data.get("error") if isinstance(data, dict) else None
    return error if isinstance(error, dict) and "code" in error else None


def _foreign_error(status: int, headers: Mapping[str, str], address: Address) -> ModelDBError:
    """Return the error for an answer that did not come from a server of ModelDB, but from something before it."""
    if status in TRY_AGAIN or status >= 500:
        return StoreUnavailableError(
            f"{address.url} cannot be reached: a proxy before it answers with status {status}; the same call may"
            f" succeed later"
        )
    if status == 401:
        return _unauthorized(address)
    if status == 403:
        return PermissionDeniedError(f"a proxy before {address.url} does not let this program through (status 403)")
    if status == 413:
        return StoreUnavailableError(
            f"a proxy before {address.url} takes no requests of {protocol.PART_BYTES >> 20} MiB (status 413); raise its"
            f" limit (nginx: client_max_body_size 8m)"
        )
    if 300 <= status < 400:
        place = clean(headers.get("Location", "").partition("?")[0].partition(protocol.PREFIX)[0])
        if not place:
            return _no_modeldb(address, f"it answered with status {status}, a redirection to itself or to nowhere")
        return ConfigurationError(f"{address.url} sends elsewhere, to {place}; use that URL")
    return _no_modeldb(address, f"it answered with status {status}")


def _unauthorized(address: Address) -> PermissionDeniedError:
    if address.token:
        return PermissionDeniedError(f"{address.url} does not know the token that was shown; ask for the current one")
    return PermissionDeniedError(
        f"{address.url} asks for a token: `modeldb login {address.url}` stores one for this address, or set MODELDB_TOKEN"
        " together with MODELDB_URL"
    )


def _no_modeldb(address: Address, why: str) -> ConfigurationError:
    return ConfigurationError(f"what answers at {address.url} is not a server of ModelDB ({why}); check the URL")
