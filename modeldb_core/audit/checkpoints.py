"""Checkpoints: how far every stream had come at a time, kept where anyone who can alter the store cannot.

A chain cannot show that its own end is missing, nor that a whole stream is, nor that changes of different streams were
exchanged. A checkpoint outside of the store can.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.audit.order import digest_of_order
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.model.entities import now_us, to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.stores import MetadataStore

FORMAT = "modeldb-checkpoint-1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The heads of all streams of a store, and the order in which their changes count.

    Attributes:
        made_at: microseconds since 1970-01-01 UTC.
        streams: by stream, the number and the hash of its last change.
        order: SHA-256 of the hashes of all these changes, in the order in which they count; empty where that is of no
            interest.
    """

    made_at: int
    streams: Mapping[str, tuple[int, bytes]]
    order: bytes = b""

    @classmethod
    def of(cls, store: MetadataStore) -> Checkpoint:
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
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

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
                json.dump({**self._content(), "digest": self.digest}, file, indent=1, sort_keys=True)
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
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                msg = f"{path} has the format {data['format']!r}; this version reads {FORMAT}"
                raise InvalidArgumentError(msg)
            streams = {name: (int(seq), bytes.fromhex(value)) for name, (seq, value) in data["streams"].items()}
            found = cls(int(data["made_at"]), streams, bytes.fromhex(data["order"]))
            digest = data["digest"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            if isinstance(error, InvalidArgumentError):
                raise
            msg = f"{path} is not a checkpoint: {error}; make one with: modeldb audit checkpoint FILE"
            raise InvalidArgumentError(msg) from error
        if digest != found.digest:
            msg = f"the checkpoint {path} was altered: its content does not match its digest"
            raise IntegrityError(msg)
        return found

    def _content(self) -> dict[str, Any]:
        streams = {name: [seq, value.hex()] for name, (seq, value) in self.streams.items()}
        return {"format": FORMAT, "made_at": self.made_at, "order": self.order.hex(), "streams": streams}
