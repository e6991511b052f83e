"""The tables of what is secret: hashes of passwords, digests of tokens and sessions. Who is who is in the log of the store."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()
"""Times are microseconds since 1970-01-01 UTC."""

passwords = Table(
    "passwords",
    metadata,
    Column("user_id", String(36), primary_key=True),
    Column("hash", String(512), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", String(36), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("user_id", String(36), nullable=False),
    Column("name", String(256), nullable=False),
    Column("allows", String(16), nullable=False),
    Column("place_kind", String(16), nullable=False),
    Column("place_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Index("tokens_by_user", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("sessions_by_user", "user_id"),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(256), primary_key=True),
    Column("user_id", String(36), nullable=False),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("nonce", String(64), nullable=False),
    Column("verifier", String(128), nullable=False),
    Column("target", String(2048), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("number", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
)
"""``people`` rises with each change of who is who, so that no process answers by what it read before."""
