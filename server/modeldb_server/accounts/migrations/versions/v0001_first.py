"""The first version of the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    text, time, digest = sa.String, sa.BigInteger, sa.LargeBinary(32)
    op.create_table(
        "passwords",
        sa.Column("user_id", text(36), primary_key=True),
        sa.Column("hash", text(512), nullable=False),
        sa.Column("changed_at", time, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", text(36), primary_key=True),
        sa.Column("digest", digest, nullable=False, unique=True),
        sa.Column("user_id", text(36), nullable=False),
        sa.Column("name", text(256), nullable=False),
        sa.Column("allows", text(16), nullable=False),
        sa.Column("place_kind", text(16), nullable=False),
        sa.Column("place_id", text(36), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("created_by", text(256), nullable=False),
        sa.Column("expires_at", time),
        sa.Column("revoked_at", time),
        sa.Column("last_used_at", time),
    )
    op.create_index("tokens_by_user", "tokens", ["user_id"])
    op.create_table(
        "sessions",
        sa.Column("digest", digest, primary_key=True),
        sa.Column("user_id", text(36), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("expires_at", time, nullable=False),
    )
    op.create_index("sessions_by_user", "sessions", ["user_id"])
    op.create_table(
        "identities",
        sa.Column("issuer", text(512), primary_key=True),
        sa.Column("subject", text(256), primary_key=True),
        sa.Column("user_id", text(36), nullable=False),
    )
    op.create_table(
        "sign_ins",
        sa.Column("digest", digest, primary_key=True),
        sa.Column("nonce", text(64), nullable=False),
        sa.Column("verifier", text(128), nullable=False),
        sa.Column("target", text(2048), nullable=False),
        sa.Column("expires_at", time, nullable=False),
    )
    revisions = op.create_table(
        "revisions",
        sa.Column("name", text(16), primary_key=True),
        sa.Column("number", time, nullable=False),
    )
    op.bulk_insert(revisions, [{"name": "people", "number": 0}])
