"""Checkpoints: how far every stream had come at a time, kept where anyone who can alter the store cannot.

A chain cannot show that its own end is missing, nor that a whole stream is, nor that changes of different streams were
exchanged. A checkpoint outside of the store can.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.audit.order import digest_of_order
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.model.entities import now_us, to_datetime
from modeldb_core.provenance.envelope import sign_payload, verify_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from modeldb_core.audit.contract import ChangeLog

FORMAT = "modeldb-checkpoint-1"
PAYLOAD_TYPE = "application/vnd.modeldb.checkpoint+json"
_LEAF, _INNER = b"\0", b"\1"
MAX_BYTES = 256 << 20
"""Of a file that is read: 2 million streams."""


@dataclass(frozen=True)
class Checkpoint:
    """The heads of all streams of a store, and the order in which their changes count.

    Attributes:
        made_at: microseconds since 1970-01-01 UTC.
        streams: by stream, the number and the hash of its last change.
        order: SHA-256 of the hashes of all these changes, in the order in which they count; empty where that is of no
            interest.
        signatures: on all of this, each with ``keyid`` and ``sig`` as in an envelope of DSSE.
        anchors: what others said of :attr:`root` and :attr:`digest`, each with ``by``: the plugin that knows what it means.
    """

    made_at: int
    streams: Mapping[str, tuple[int, bytes]]
    order: bytes = b""
    signatures: tuple[Mapping[str, str], ...] = ()
    anchors: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, store: ChangeLog) -> Checkpoint:
        """Return the checkpoint of what a store holds now."""
        heads = store.heads()
        # Of a log that is narrowed the order is that of reading, which need not be the one that counts.
        upto = {name: head.seq for name, head in heads.items()}
        order = b"" if store.is_partial else digest_of_order(store, upto)
        return cls(now_us(), {name: (head.seq, head.hash) for name, head in heads.items()}, order)

    @property
    def upto(self) -> dict[str, int]:
        """By stream, the number of its last change."""
        return {name: seq for name, (seq, _) in self.streams.items()}

    @property
    def time(self) -> str:
        """When it was made, in ISO 8601."""
        time = to_datetime(self.made_at)
        return time.isoformat() if time else ""

    @property
    def digest(self) -> str:
        """SHA-256 of its content: short enough to be printed, signed, or published."""
        return hashlib.sha256(self.signed_bytes).hexdigest()

    @property
    def signed_bytes(self) -> bytes:
        """What digest and signatures are made of."""
        return json.dumps(self._content(), sort_keys=True).encode()

    @cached_property
    def root(self) -> bytes:
        """The root of the Merkle tree (RFC 9162) over the ends of all streams, in the order of their identifiers."""
        return merkle_root(
            _LEAF + name + b"\0" + seq.to_bytes(8, "big") + value
            for name, (seq, value) in sorted((name.encode(), end) for name, end in self.streams.items())
        )

    def signed_by(self, key: Ed25519PrivateKey) -> Checkpoint:
        """Return it with one signature more."""
        return replace(self, signatures=(*self.signatures, sign_payload(PAYLOAD_TYPE, self.signed_bytes, key)))

    def check_signature(self, key: Ed25519PublicKey) -> None:
        """Check that the owner of a key has signed it.

        Raises:
            IntegrityError: they have not.
        """
        try:
            verify_payload(PAYLOAD_TYPE, self.signed_bytes, self.signatures, key)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            msg = f"the checkpoint of {self.time} holds what is not a signature: {error!r:.200}"
            raise IntegrityError(msg) from error

    def encode(self) -> str:
        """Return it as it is written: JSON."""
        data = {**self._content(), "digest": self.digest}
        data |= {"signatures": [dict(each) for each in self.signatures]} if self.signatures else {}
        data |= {"anchors": [dict(each) for each in self.anchors]} if self.anchors else {}
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    def write(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is left alone, because a checkpoint is not to be replaced.

        Raises:
            InvalidArgumentError: there is such a file, or none can be made there.
        """
        try:
            file = Path(path).open("x", encoding="utf-8")  # noqa: SIM115 - what cannot be written whole is to go
        except FileExistsError as error:
            msg = f"{path} exists; give the checkpoint a name of its own, and keep the old one"
            raise InvalidArgumentError(msg) from error
        except OSError as error:
            msg = f"{path} cannot be written: {error.strerror or error}"
            raise InvalidArgumentError(msg) from error
        try:
            with file:
                file.write(self.encode())
        except OSError as error:
            Path(path).unlink()
            msg = f"{path} cannot be written: {error.strerror or error}"
            raise InvalidArgumentError(msg) from error

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """Return the checkpoint in a file.

        Raises:
            InvalidArgumentError: it is not one, or one of a newer version.
            IntegrityError: it was altered.
        """
        try:
            with open(path, "rb") as file:
                known = os.fstat(file.fileno())
                # Memory for all that may come is taken beforehand: of a file no more than it has.
                expected = known.st_size if stat.S_ISREG(known.st_mode) else MAX_BYTES
                text = file.read(min(expected, MAX_BYTES) + 1)
        except OSError as error:
            msg = f"{path} is not a checkpoint: {error}; make one with: modeldb audit checkpoint FILE"
            raise InvalidArgumentError(msg) from error
        if len(text) > MAX_BYTES:
            msg = f"{path} is not a checkpoint: it has more than {MAX_BYTES:,} bytes"
            raise InvalidArgumentError(msg)
        return cls.decode(text, str(path))

    @classmethod
    def decode(cls, text: bytes, path: str) -> Checkpoint:
        """Return the checkpoint in a text that comes from ``path``; raises what :meth:`read` raises."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                msg = f"{path} has the format {data['format']!r}; this version reads {FORMAT}"
                raise InvalidArgumentError(msg)
            streams = {name: (int(seq), bytes.fromhex(value)) for name, (seq, value) in data["streams"].items()}
            signatures = tuple(
                {str(key): str(value) for key, value in each.items()} for each in data.get("signatures", ())
            )
            anchors = tuple(dict(each) for each in data.get("anchors", ()))
            found = cls(int(data["made_at"]), streams, bytes.fromhex(data["order"]), signatures, anchors)
            is_whole = (data["digest"], data["root"]) == (found.digest, found.root.hex())
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            if isinstance(error, InvalidArgumentError):
                raise
            msg = f"{path} is not a checkpoint: {error}; make one with: modeldb audit checkpoint FILE"
            raise InvalidArgumentError(msg) from error
        if not is_whole:
            msg = f"the checkpoint {path} was altered: its content does not match its digest"
            raise IntegrityError(msg)
        return found

    def _content(self) -> dict[str, Any]:
        streams = {name: [seq, value.hex()] for name, (seq, value) in self.streams.items()}
        return {
            "format": FORMAT,
            "made_at": self.made_at,
            "order": self.order.hex(),
            "root": self.root.hex(),
            "streams": streams,
        }


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root of the Merkle tree of RFC 9162 over leaves, each with the byte before it that marks it as one."""
    level = [hashlib.sha256(leaf).digest() for leaf in leaves]
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:  # pairs from the left; one that is left over goes up as it is
        pairs = zip(level[::2], level[1::2], strict=False)
        left_over = level[-1:] if len(level) % 2 else []
        level = [hashlib.sha256(_INNER + one + other).digest() for one, other in pairs] + left_over
    return level[0]
