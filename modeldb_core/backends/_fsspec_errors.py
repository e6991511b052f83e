"""What the drivers of object storage raise, in sentences and as errors of the contract."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Literal

from modeldb_core.errors import (
    ConfigurationError,
    ModelDBError,
    NotFoundError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.runtime.redaction import redact_message
from modeldb_core.runtime.retry_after import seconds_to_wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Doing = Literal["read", "write"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_WRONG_CREDENTIALS = (
    "the credentials are wrong or have expired ({code}); check the options key and secret, the profile, or the AWS "
    "variables of the environment"
)
_MESSAGES: Mapping[str, tuple[type[ModelDBError], str]] = {
    **dict.fromkeys(
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "TokenRefreshRequired",
            "InvalidSecurity",
            "ExpiredTokenException",
            "UnrecognizedClientException",
            "CredentialRetrievalError",
            "TokenRetrievalError",
            "SSOTokenLoadError",
            "UnauthorizedSSOTokenError",
        ),
        (PermissionDeniedError, _WRONG_CREDENTIALS),
    ),
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError"),
        (
            PermissionDeniedError,
            "no credentials were found; set the options key and secret, a profile, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY",
        ),
    ),
    "NoSuchBucket": (ConfigurationError, "the bucket {bucket!r} does not exist there; create it, or correct the URL"),
    **dict.fromkeys(
        ("InvalidBucketName", "ParamValidationError"),
        (ConfigurationError, "{bucket!r} is not a name that a bucket can have; correct the URL"),
    ),
    **dict.fromkeys(
        ("RequestTimeTooSkewed", "RequestExpired"),
        (
            StoreUnavailableError,
            "the clock of this machine differs too much from the server's ({code}); set it right, for example with NTP",
        ),
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "Redirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301"),
        (ConfigurationError, "the bucket lies in another region ({code}); set the option region"),
    ),
    **dict.fromkeys(
        ("InvalidRegionError", "NoRegionError"),
        (ConfigurationError, "the region is missing or is none; set the option region"),
    ),
    "ProfileNotFound": (ConfigurationError, "the AWS profile that was asked for does not exist; see ~/.aws/config"),
    "InvalidEndpoint": (ConfigurationError, "the endpoint is not a URL; correct the option endpoint_url"),
    **dict.fromkeys(
        ("SSLError", "SSLCertVerificationError", "ClientConnectorCertificateError", "ClientConnectorSSLError"),
        (
            StoreUnavailableError,
            "its certificate cannot be verified; set the option ca_bundle to the file of the authority that signed it",
        ),
    ),
    **dict.fromkeys(
        ("ReadTimeoutError", "ConnectTimeoutError", "FSTimeoutError", "TimeoutError", "RequestTimeout"),
        (StoreUnavailableError, "it does not answer in time; check the network, or raise read_timeout_s"),
    ),
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectionRefusedError", "ClientConnectorError", "ClientConnectorDNSError"),
        (StoreUnavailableError, "it cannot be reached; check the network, the URL and the option endpoint_url"),
    ),
    **dict.fromkeys(
        ("ConnectionClosedError", "ConnectionResetError", "ClientPayloadError", "IncompleteRead", "HTTPClientError"),
        (StoreUnavailableError, "the connection broke; the same call may succeed later"),
    ),
    **dict.fromkeys(
        (
            "SlowDown",
            "TooManyRequests",
            "ServiceUnavailable",
            "InternalError",
            "503",
            "500",
            "429",
            "OperationAborted",
            "409",
        ),
        (StoreUnavailableError, "it is overloaded or out of order ({code}); the same call may succeed later"),
    ),
    **dict.fromkeys(
        ("NoSuchKey", "404", "FileNotFoundError", "ResourceNotFoundError", "BlobNotFound"),
        (NotFoundError, "something that must be there is not"),
    ),
}
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "MethodNotAllowed", "405"})


def translate(error: BaseException, url: str, doing: Doing) -> ModelDBError:
    """Return the error of ModelDB for one of a driver: one sentence that says what to do, without secrets.

    Args:
        error: what a file system of fsspec raised.
        url: of the store, as it may be shown.
        doing: what was tried: where writing is refused, reading may still be allowed.
    """
    causes = list(_causes(error))
    codes = _codes(causes)
    if any(code in _DENIED for code in codes):
        return _denied(url, doing)
    bucket = url.partition("://")[2].partition("/")[0]
    for code in codes:
        if code in _MESSAGES:
            cls, text = _MESSAGES[code]
            return _asking_for_time(cls(f"{url} cannot be used: {text.format(code=code, bucket=bucket)}"), causes)
    for cause in causes:
        number = getattr(cause, "errno", None)
        if number in _FULL:
            return StoreUnavailableError(f"{url} cannot be written: the disk is full; free space, and send again")
        if number in _FORBIDDEN or isinstance(cause, PermissionError):
            return _denied(url, doing)
    lines = str(error).strip().splitlines()
    words = redact_message(lines[0])[:300] if lines else type(error).__name__
    if isinstance(error, ValueError) and "://" not in words:
        return ConfigurationError(f"{url} cannot be used: {words}; check its URL and options")
    return _asking_for_time(
        StoreUnavailableError(f"{url} cannot be used now: {words}; the same call may succeed later"), causes
    )


def _asking_for_time(error: ModelDBError, causes: list[BaseException]) -> ModelDBError:
    """Note for how long the server wants to be left alone, where it says so."""
    if isinstance(error, StoreUnavailableError):
        answers = (getattr(cause, "response", None) for cause in causes)
        said = (answer.get("ResponseMetadata", {}).get("HTTPHeaders") for answer in answers if isinstance(answer, dict))
        waits = (seconds_to_wait(headers) for headers in said if headers)
        error.retry_after_s = max(waits, default=0.0)
    return error


def _denied(url: str, doing: Doing) -> ModelDBError:
    if doing == "write":
        return StoreReadOnlyError(
            f"this process may not write {url}; check its permissions or the rights of its credentials"
        )
    return PermissionDeniedError(
        f"this process may not read {url}; check its permissions or the rights of its credentials"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _codes(errors: list[BaseException]) -> list[str]:
    """Return the words by which errors can be known: the codes of a server first, then the names of their classes."""
    responses = [getattr(error, "response", None) for error in errors]
    said = [item["Error"] for item in responses if isinstance(item, dict) and isinstance(item.get("Error"), dict)]
    known = (PermissionError, OSError, ValueError)
    classes = [cls for error in errors for cls in type(error).__mro__ if cls not in known]
    return [*(str(item.get("Code", "")) for item in said), *(cls.__name__ for cls in classes)]
