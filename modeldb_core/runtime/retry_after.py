"""For how long a server wants to be left alone: the header ``Retry-After`` of RFC 9110, section 10.2.3."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WAIT_S = 600.0
"""Nobody is left alone for longer: what a server says may be wrong."""


def seconds_to_wait(headers: Mapping[str, str]) -> float:
    """Return for how many seconds a server wants to be left alone; 0 where it says nothing that can be understood.

    A date is compared with the server's own clock, which ``Date`` tells: the one of this machine may be wrong.

    Args:
        headers: of its answer, whatever the case of their names.
    """
    said = {name.lower(): value for name, value in headers.items()}
    text = said.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_WAIT_S)
    until = _seconds(text)
    if until is None:
        return 0.0
    now = _seconds(said.get("date", ""))
    return min(max(0.0, until - (time.time() if now is None else now)), MAX_WAIT_S)


def _seconds(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
