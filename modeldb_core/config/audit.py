"""The settings of checkpoints: the table ``[audit]`` of ``modeldb.toml``. No project's file may set them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.config import trust
from modeldb_core.config.fields import setting

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditOptions:
    """The part of :class:`~modeldb_core.config.settings.Settings` that checkpoints of the log are made with."""

    audit_checkpoint_url: str = setting(
        "text",
        "",
        "folder or bucket into which the server writes checkpoints, where those who can alter the store cannot write",
        table="audit",
        trust=trust.USER,
    )
    audit_checkpoint_interval_h: float = setting(
        "float", 24.0, "how often it does so, in hours", table="audit", trust=trust.USER, minimum=0.01
    )
    audit_key: Path | None = setting(  # noqa: RUF009
        "path", None, "file of the ed25519 key that signs checkpoints", table="audit", trust=trust.USER
    )
    audit_timestamp_url: str = setting(
        "text", "", "time-stamp authority (RFC 3161) that witnesses checkpoints", table="audit", trust=trust.USER
    )
    audit_timestamp_roots: Path | None = setting(  # noqa: RUF009
        "path", None, "file of the certificates, in PEM, that it is trusted by", table="audit", trust=trust.USER
    )
