"""Texts that others wrote, without the characters that a terminal could obey, or that make a line read as another."""

from __future__ import annotations

import re

HARMFUL = (
    r"\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, with the escape that sequences begin with
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    r"\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line ends, what is unseen
    r"\ud800-\udfff"  # halves of characters
)
"""Characters that are not shown as they are, as the inside of a class of a regular expression."""
_ANY = re.compile(f"[{HARMFUL}]")
_SPACES = frozenset("\n\t\r")


def clean(text: str) -> str:
    """Return ``text`` on one line and without control characters."""
    return _ANY.sub(lambda match: " " if match[0] in _SPACES else "\N{REPLACEMENT CHARACTER}", text)
