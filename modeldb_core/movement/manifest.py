"""What is where in a bundle, and what it says of itself. ``docs/format.md`` gives the bytes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import IntegrityError
from modeldb_core.log.changes import MAX_LEASE_S, Head

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "modeldb-bundle-1"
MAX_MANIFEST_BYTES = 256 << 20
FREE_BYTES, BYTES_FOR_BYTE = 1 << 20, 4
FORMAT_NAME, MANIFEST_NAME, BLOBS, CHANGES = "format", "manifest.json", "blobs/", "changes/"
CRATE_NAME = "ro-crate-metadata.json"

BLOB_NAME = re.compile(r"blobs/([0-9a-f]{64})")
BATCH_NAME = re.compile(r"changes/([0-9]{12})\.chg")


def manifest_limit(batch_bytes: int) -> int:
    """Return how long the manifest of so many bytes of batches may be: parsed, it takes many times its length.

    Each stream and blob that it names stands for at least a hash in the batches, which no packing makes shorter.
    """
    return min(MAX_MANIFEST_BYTES, FREE_BYTES + BYTES_FOR_BYTE * batch_bytes)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says that it holds.

    Attributes:
        heads: how far each stream goes.
        changes, changes_sha256: how many there are; SHA-256 of all batches, one after the other.
        blobs, blob_bytes, blobs_sha256: likewise; SHA-256 of their digests, one after the other, as 32 bytes each.
        has_artifacts: whether blobs were to be in it at all.
        absent_blobs: those that changes in it need and that are not in it.
        selection: the identifiers of the projects and runs whose streams it holds; empty for a whole store.
        withheld: how many of the changes have no payload here because it was kept back.
        crate_sha256: of the RO-Crate metadata in it; empty where there is none.
    """

    heads: Mapping[str, Head]
    changes: int
    changes_sha256: str
    blobs: int
    blob_bytes: int
    blobs_sha256: str
    has_artifacts: bool = True
    absent_blobs: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()
    withheld: int = 0
    crate_sha256: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of what it says: it covers all of the bundle, and is short enough to be printed or signed."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def encode(self) -> bytes:
        """Return it as it stands in a bundle."""
        return (json.dumps({**self._content(), "digest": self.digest}, sort_keys=True) + "\n").encode()

    def _content(self) -> dict[str, Any]:
        heads = {
            name: [head.seq, head.hash.hex(), head.recorded_at, head.lease_s, head.closed]
            for name, head in self.heads.items()
        }
        return {
            "format": FORMAT,
            "heads": heads,
            "changes": self.changes,
            "changes_sha256": self.changes_sha256,
            "blobs": self.blobs,
            "blob_bytes": self.blob_bytes,
            "blobs_sha256": self.blobs_sha256,
            "has_artifacts": self.has_artifacts,
            "absent_blobs": sorted(self.absent_blobs),
            "selection": sorted(self.selection),
            "withheld": self.withheld,
            "crate_sha256": self.crate_sha256,
        }

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """Return what stands in a bundle.

        Raises:
            IntegrityError: it is not a manifest, or was altered.
        """
        try:
            return cls._decoded(text)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            msg = f"the manifest cannot be read: {error}"
            raise IntegrityError(msg) from error

    @classmethod
    def _decoded(cls, text: bytes) -> Manifest:
        data: dict[str, Any] = json.loads(text)
        if len(data["heads"]) > _count(data["changes"]):  # before each is looked at
            msg = f"it names {len(data['heads']):,} streams, and holds {data['changes']:,} changes"
            raise ValueError(msg)
        heads = {
            str(name): Head(_count(seq), bytes.fromhex(value), _count(recorded_at), _lease(lease_s), bool(closed))
            for name, (seq, value, recorded_at, lease_s, closed) in data["heads"].items()
        }
        found = cls(
            heads,
            _count(data["changes"]),
            str(data["changes_sha256"]),
            _count(data["blobs"]),
            _count(data["blob_bytes"]),
            str(data["blobs_sha256"]),
            bool(data["has_artifacts"]),
            tuple(map(str, data["absent_blobs"])),
            tuple(map(str, data["selection"])),
            _count(data["withheld"]),
            str(data["crate_sha256"]),
        )
        if found.encode() != text:
            msg = "it does not match its digest: it was altered"
            raise ValueError(msg)
        return found


def _lease(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_LEASE_S:  # type: ignore[operator]  # a number by then
        msg = f"{value!r} is not a lease: expected seconds from 0 to {MAX_LEASE_S:.0f}"
        raise ValueError(msg)
    return float(value)  # type: ignore[arg-type]


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        msg = f"{value!r} is not a count"
        raise ValueError(msg)
    return value
