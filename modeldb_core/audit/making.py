"""Making checkpoints: signed, witnessed by others, and kept where those who can alter the store cannot."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.audit.checkpoints import Checkpoint
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.model.entities import to_datetime
from modeldb_core.plugins import open_artifacts, plugin_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from modeldb_core.audit.contract import ChangeLog
    from modeldb_core.config import Settings


def make_checkpoint(
    log: ChangeLog, settings: Settings, *, key: Ed25519PrivateKey | None = None, is_anchored: bool = True
) -> Checkpoint:
    """Return a checkpoint of what a log holds now, signed with a key and witnessed by all plugins that do so.

    Raises:
        ModelDBError: somebody who is to witness it could not be asked.
    """
    checkpoint = Checkpoint.of(log)
    if key is not None:
        checkpoint = checkpoint.signed_by(key)
    if is_anchored:
        manager = plugin_manager(settings)
        found = manager.call("modeldb_anchor_checkpoint", content=checkpoint.signed_bytes, settings=settings)
        checkpoint = replace(checkpoint, anchors=tuple(anchor for anchor in found if anchor))
    return checkpoint


def check_anchors(checkpoint: Checkpoint, settings: Settings) -> Iterator[str]:
    """Iterate over sentences on what those say who witnessed a checkpoint.

    Raises:
        IntegrityError: one of them witnessed something else, or it was not they.
    """
    manager = plugin_manager(settings)
    for anchor in checkpoint.anchors:
        said = manager.call("modeldb_verify_anchor", anchor=anchor, content=checkpoint.signed_bytes, settings=settings)
        if said is not None and not isinstance(said, str):
            msg = f"what {anchor.get('by')!r:.80} witnessed cannot be verified: its plugin says {said!r:.80}"
            raise IntegrityError(msg)
        yield said or f"what {anchor.get('by')!r:.80} witnessed was not verified: no plugin here knows it"


def keep_checkpoint(checkpoint: Checkpoint, place: str, settings: Settings, *, what: str = "checkpoint") -> str:
    """Write a checkpoint and return where it is.

    Args:
        checkpoint: what is written.
        place: a file, which must not exist; a folder that exists or a path with a slash at its end, in which it gets a name of its
            own; or the URL of an artifact store, such as a bucket, in which it lies under its SHA-256.
        settings: of the store.
        what: the beginning of its name in a folder.

    Raises:
        InvalidArgumentError: there is such a file, or none can be made there.
        ModelDBError: the bucket cannot be written.
    """
    if "://" in place:
        artifacts = open_artifacts(place, settings)
        try:
            info = artifacts.put(io.BytesIO(checkpoint.encode().encode()))
        finally:
            artifacts.close()
        return f"{place.rstrip('/')} (SHA-256 {info.digest})"
    path = Path(place)
    if place.endswith("/") or path.is_dir():
        made_at = to_datetime(checkpoint.made_at)
        assert made_at is not None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{path} is not a folder and cannot be made one: {error.strerror}"
            raise InvalidArgumentError(msg) from error
        path /= f"{what}-{made_at:%Y%m%dT%H%M%SZ}-{checkpoint.digest[:12]}.json"
    checkpoint.write(path)
    return str(path)
