"""Signed envelopes: DSSE v1 (https://github.com/secure-systems-lab/dsse) with one ed25519 signature.

Needs the package ``cryptography`` (``pip install 'modeldb-core[attest]'``). Keys are the user's: a file in PEM, or one that
ssh-keygen made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.errors import IntegrityError, InvalidArgumentError, MissingDependencyError, NotFoundError
from modeldb_core.runtime import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 64 << 20
"""Of an envelope that is read."""
_MAX_KEY_BYTES = 1 << 16
_EXPECTED = "expected an ed25519 key in PEM (openssl genpkey -algorithm ed25519) or of ssh-keygen -t ed25519"


def sign(statement: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return a statement in a signed envelope, as JSON data."""
    payload = json.dumps(statement, separators=(",", ":"), sort_keys=True).encode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [sign_payload(PAYLOAD_TYPE, payload, key)],
    }


def sign_payload(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> dict[str, str]:
    """Return a signature as it stands in an envelope, for what is kept beside its signatures and not within them."""
    signature = key.sign(_encoded(payload_type, payload))
    return {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}


def verify(envelope: object, key: Ed25519PublicKey) -> dict[str, Any]:
    """Return the statement in an envelope, which the owner of the key has signed.

    Raises:
        IntegrityError: it is not such an envelope, or none of its signatures is the key's.
    """
    if not isinstance(envelope, dict):
        msg = f"this is not a signed envelope (DSSE), but JSON of type {type(envelope).__name__}"
        raise IntegrityError(msg)
    try:
        payload_type, payload = envelope["payloadType"], _from_base64(envelope["payload"])
        payload_type.encode()
        signatures = envelope["signatures"]
        verify_payload(payload_type, payload, signatures, key)
    except IntegrityError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        msg = f"this is not a signed envelope (DSSE) with a payload and signatures: {error!r:.200}"
        raise IntegrityError(msg) from error
    return _statement(payload_type, payload)


def verify_payload(payload_type: str, payload: bytes, signatures: Any, key: Ed25519PublicKey) -> None:  # noqa: ANN401 - JSON
    """Check that one of the signatures is that of a key on a payload.

    Raises:
        IntegrityError: none is.
        LookupError, TypeError, ValueError, AttributeError: they are not signatures.
    """
    from cryptography.exceptions import InvalidSignature

    signed = _encoded(payload_type, payload)
    for signature in [_from_base64(each["sig"]) for each in signatures]:
        with suppress(InvalidSignature):
            key.verify(signature, signed)
            return
    msg = f"none of the {len(signatures)} signatures was made with the key {key_id(key)[:16]}: altered, or signed by somebody else"
    raise IntegrityError(msg)


def _statement(payload_type: str, payload: bytes) -> dict[str, Any]:
    if payload_type != PAYLOAD_TYPE:
        msg = f"the envelope holds {payload_type[:100]!r}; expected {PAYLOAD_TYPE!r}"
        raise IntegrityError(msg)
    try:
        statement = json.loads(payload)
    except (ValueError, RecursionError) as error:
        msg = f"what was signed is not JSON: {error}"
        raise IntegrityError(msg) from error
    if not isinstance(statement, dict):
        msg = "what was signed is not a statement, but another kind of JSON"
        raise IntegrityError(msg)
    return statement


def read_envelope(path: str | os.PathLike[str]) -> object:
    """Return the JSON data in a file.

    Raises:
        NotFoundError: it is not there; IntegrityError: it is too long, or not JSON.
    """
    try:
        return json.loads(_read(Path(path), MAX_BYTES))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {error}"
        raise IntegrityError(msg) from error


def private_key(path: str | os.PathLike[str], password: Callable[[], str] | None = None) -> Ed25519PrivateKey:
    """Return the private key in a file.

    Args:
        path: of the file.
        password: asks for the password of a file that has one.

    Raises:
        NotFoundError: there is no such file.
        InvalidArgumentError: it holds no such key, or the password does not fit.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    serialization, ed25519 = _modules()
    data = _read(Path(path), _MAX_KEY_BYTES)
    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else serialization.load_pem_private_key
    try:
        try:
            key = load(data, None)
        except TypeError:  # it is encrypted
            if password is None:
                raise
            key = load(data, password().encode())
    except Exception as error:  # whatever the library says of a file that is none
        msg = f"{path} holds no private key that can be read ({type(error).__name__}); {_EXPECTED}"
        raise InvalidArgumentError(msg) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        msg = f"{path} holds a key of another kind; {_EXPECTED}"
        raise InvalidArgumentError(msg)
    return cast("Ed25519PrivateKey", key)


def public_key(path: str | os.PathLike[str]) -> Ed25519PublicKey:
    """Return the public key in a file, or that of the private key in it; raises as :func:`private_key`."""
    serialization, ed25519 = _modules()
    data = _read(Path(path), _MAX_KEY_BYTES)
    if b"PRIVATE KEY" in data:
        return private_key(path).public_key()
    load = serialization.load_ssh_public_key if data.startswith(b"ssh-") else serialization.load_pem_public_key
    try:
        key = load(data)
    except Exception as error:  # likewise
        msg = f"{path} holds no public key that can be read ({type(error).__name__}); {_EXPECTED}"
        raise InvalidArgumentError(msg) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        msg = f"{path} holds a key of another kind; {_EXPECTED}"
        raise InvalidArgumentError(msg)
    return cast("Ed25519PublicKey", key)


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a key: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _encoded(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding of DSSE."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return base64.b64decode(text, altchars=b"-_", validate=True)


def _modules() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        msg = "signing needs the package cryptography: pip install 'modeldb-core[attest]'"
        raise MissingDependencyError(msg) from error
    return serialization, ed25519


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with os.fdopen(disk.open_regular(path, follow=True), "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            data = file.read(min(size_bytes, most_bytes) + 1)  # read() makes room for all that it may read
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise NotFoundError(msg) from error
    if len(data) > most_bytes:
        msg = f"{path} has more than {most_bytes:,} bytes, so it is not what was expected"
        raise IntegrityError(msg)
    return data
