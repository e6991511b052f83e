"""Decoders of what versioning reads: files of commits, checkouts, kept data, signed statements, keys."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scipy import sparse

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.cli.committing import _blob_in
from modeldb_core.cli.models import _time
from modeldb_core.context.environment import _source_of
from modeldb_core.model.entities import Repository
from modeldb_core.plugins import open_artifacts
from modeldb_core.provenance import envelope
from modeldb_core.provenance.bom import _url
from modeldb_core.repositories.checkout import MARK, _tree_of
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_core.tracking.data.kept import dump, load
from tests.fuzz.decoders import Decoder, in_file
from tests.fuzz.mutations import damaged, other_json, texts

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PRIVATE = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
_PUBLIC = _KEY.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
_SIGNED = envelope.sign({"_type": "https://in-toto.io/Statement/v1", "subject": []}, _KEY)
_BLOB = {"kind": "config", "hyperparameters": {"lr": 0.01, "layers": [1, 2]}}
_MARK = {"repository_id": "r", "tree": "0" * 64}
_ORIGIN = {
    "url": "https://u:p@h/x.git",
    "vcs_info": {"vcs": "git", "commit_id": "0" * 40},
    "dir_info": {"editable": True},
}
_TOML = b'[hyperparameters]\nlr = 0.01\nname = "x"\n'


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _opened(path: Path) -> object:
    return envelope.verify(envelope.read_envelope(path), _KEY.public_key())


def _signed_anything(payload: bytes) -> object:
    """Open an envelope of which the signature is right, whatever was signed."""
    signature = _KEY.sign(envelope._encoded(envelope.PAYLOAD_TYPE, payload))
    text, proof = (base64.b64encode(each).decode() for each in (payload, signature))
    said = {"payloadType": envelope.PAYLOAD_TYPE, "payload": text, "signatures": [{"sig": proof}]}
    return envelope.verify(said, _KEY.public_key())


def _checked_out(path: Path) -> object:
    repository = Repository(entity_id="r", name="r")
    found = _tree_of(path.parent, RepositoryReader(MemoryStore(), open_artifacts("memory://marks"), repository))
    assert found.tree.count == 0
    return found


def _kept(data: Any) -> Any:
    name, content = dump(data)

    def again(content: bytes) -> object:
        return load(name, io.BytesIO(content), "x")

    return name, content, again


_KEPT = [_kept(each) for each in (np.arange(6.0).reshape(2, 3), sparse.csr_matrix(np.eye(3)), {"a": [1, 2.5, None]})]

VERSIONED: tuple[Decoder, ...] = (
    Decoder("file of a commit", _dumped(_BLOB), other_json(_BLOB) | damaged(_dumped(_BLOB)), in_file(_blob_in, "config.json")),
    Decoder("settings of a commit", _TOML, damaged(_TOML), in_file(_blob_in, "config.toml")),
    Decoder("time of a question", "2026-11-01T12:00:00", texts("2026-11-01T12:00:00Z", "0001-01-01", "now"), _time),
    Decoder("origin of a package", _dumped(_ORIGIN), other_json(_ORIGIN) | damaged(_dumped(_ORIGIN)), in_file(lambda path: _source_of(str(path.parent)), "direct_url.json")),
    Decoder("remote of a repository", "https://h/x.git", texts("git@h:x/y.git", "https://u@[::1]:5/x.git", "ssh://h/x"), _url),
    Decoder("signed envelope", _dumped(_SIGNED), other_json(_SIGNED) | damaged(_dumped(_SIGNED)), in_file(_opened)),
    Decoder("signed statement", b"{}", damaged(b'{"_type": "x", "subject": [1]}'), _signed_anything),
    Decoder("private key", _PRIVATE, damaged(_PRIVATE), in_file(envelope.private_key)),
    Decoder("public key", _PUBLIC, damaged(_PUBLIC) | damaged(_PRIVATE), in_file(envelope.public_key)),
    Decoder("mark of a checkout", _dumped(_MARK), other_json(_MARK) | damaged(_dumped(_MARK)), in_file(_checked_out, MARK)),
    *(Decoder(f"kept {name}", content, damaged(content), again) for name, content, again in _KEPT),
)  # fmt: skip
