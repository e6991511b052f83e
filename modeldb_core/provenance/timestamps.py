"""Time-stamps of RFC 3161: an authority that others trust says that a checkpoint was there at a time.

A plugin like any other (``docs/plugins.md``). Needs ``rfc3161-client`` (``pip install 'modeldb-core[anchor]'``). The authority
is sent a SHA-256 and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ConfigurationError, IntegrityError, MissingDependencyError, StoreUnavailableError
from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modeldb_core.config import Settings

NAME = "modeldb_core.provenance.timestamps"
_MAX_BYTES = 1 << 20
_TIMEOUT_S = 30.0


@hookimpl
def modeldb_anchor_checkpoint(content: bytes, settings: Settings) -> dict[str, Any] | None:
    """Ask the authority of the settings for a time-stamp.

    Raises:
        StoreUnavailableError: it cannot be reached, or gives none.
        IntegrityError: it gave one for something else.
    """
    url = settings.audit_timestamp_url
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        msg = f"audit.timestamp_url is {url!r:.80}; expected the address of a time-stamp authority, http:// or https://"
        raise ConfigurationError(msg)
    client = _client()
    builder = client.TimestampRequestBuilder(content, client.HashAlgorithm.SHA256, nonce=True, cert_req=True)
    request = builder.build()
    anchor = {"by": NAME, "response": base64.b64encode(_ask(url, request.as_bytes())).decode()}
    time, response = _time_of(anchor, content)
    if response.tst_info.nonce != request.nonce:
        msg = f"the time-stamp of {time} from {url} is an answer to another question"
        raise IntegrityError(msg)
    return anchor


@hookimpl
def modeldb_verify_anchor(anchor: Mapping[str, Any], content: bytes, settings: Settings) -> str | None:
    """Verify a time-stamp, with the certificates of the settings.

    Raises:
        IntegrityError: it is one of something else, or was not made by such an authority.
    """
    if anchor.get("by") != NAME:
        return None
    time, response = _time_of(anchor, content)
    if settings.audit_timestamp_roots is None:
        return (
            f"a time-stamp says {time}; who made it was not verified: name the certificates of the authority in"
            " audit.timestamp_roots"
        )
    client = _client()
    builder = client.VerifierBuilder()
    for certificate in _certificates(settings.audit_timestamp_roots):
        builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify_message(response, content)
    except (client.VerificationError, ValueError) as error:
        msg = f"the time-stamp of {time} was not made by an authority of {settings.audit_timestamp_roots}: {error}"
        raise IntegrityError(msg) from error
    return f"a time-stamp authority saw it at {time}"


def _time_of(anchor: Mapping[str, Any], content: bytes) -> tuple[str, Any]:
    """Return the time that a time-stamp of the content says, and the time-stamp.

    Raises:
        IntegrityError: it is not one, or of something else.
    """
    client = _client()
    try:
        response = client.decode_timestamp_response(base64.b64decode(str(anchor["response"]), validate=True))
        status, texts = client.PKIStatus(response.status), response.status_string
        if status not in (client.PKIStatus.GRANTED, client.PKIStatus.GRANTED_WITH_MODS):
            msg = f"the time-stamp authority refused ({status.name.lower()}): {', '.join(texts):.200}"
            raise StoreUnavailableError(msg)
        imprint, time = response.tst_info.message_imprint, response.tst_info.gen_time
    except (LookupError, ValueError) as error:
        msg = f"this is not a time-stamp of RFC 3161: {error!r:.200}"
        raise IntegrityError(msg) from error
    if imprint.message != hashlib.sha256(content).digest():
        msg = f"the time-stamp of {time.isoformat()} is of something else: it does not fit the checkpoint"
        raise IntegrityError(msg)
    return time.isoformat(), response


def _ask(url: str, request: bytes) -> bytes:
    import urllib3

    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                "POST",
                url,
                body=request,
                headers=headers,
                timeout=_TIMEOUT_S,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            data = answer.read(_MAX_BYTES + 1)
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        msg = f"the time-stamp authority {url} cannot be reached: {error}"
        raise StoreUnavailableError(msg) from error
    if answer.status != 200 or len(data) > _MAX_BYTES:
        msg = f"the time-stamp authority {url} answered {answer.status} with {len(data):,} bytes; expected a time-stamp"
        raise StoreUnavailableError(msg)
    return bytes(data)


def _certificates(path: Path) -> list[Any]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"audit.timestamp_roots is {path}, which holds no certificates in PEM: {error}"
        raise ConfigurationError(msg) from error
    return list(found)


def _client() -> Any:  # noqa: ANN401 - a module that need not be installed
    try:
        import rfc3161_client
    except ImportError as error:
        msg = "time-stamps need the package rfc3161-client: pip install 'modeldb-core[anchor]'"
        raise MissingDependencyError(msg) from error
    return rfc3161_client
