"""What is kept, and compared, of random secrets."""

from __future__ import annotations

import hashlib


def digest_of(secret: str) -> bytes:
    """Return what is kept of a random secret: nobody finds 256 random bits from their digest."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
