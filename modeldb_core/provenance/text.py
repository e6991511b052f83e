"""Texts of a record within URIs. A record may hold any text: half of a surrogate pair too, which is no Unicode."""

from __future__ import annotations

from urllib.parse import quote


def quoted(text: str, safe: str = "") -> str:
    """Return a text percent-encoded, as it stands within a URI; half of a surrogate pair as the bytes that UTF-8 would have."""
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe)
