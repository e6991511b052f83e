"""Times that who logs reports, in place of those that are measured here."""

from __future__ import annotations

from datetime import datetime

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.entities import from_datetime, now_us, to_datetime

CLOCK_TOLERANCE_US = 300_000_000
"""How far a reported time may lie in the future of this machine's clock: clocks differ."""


def to_us(time: object, name: str) -> int:
    """Return a reported time in microseconds since 1970-01-01 UTC.

    Raises:
        InvalidTypeError: it is not a datetime.
        InvalidArgumentError: it has no time zone, or is before 1970.
    """
    if not isinstance(time, datetime):
        msg = (
            f"{name} {time!r:.200} is of type {type(time).__name__}; expected a datetime with its time zone, such as"
            f" datetime(2026, 1, 31, 12, 0, tzinfo=UTC)"
        )
        raise InvalidTypeError(msg)
    check_zone(time, name)
    if (time_us := from_datetime(time)) < 0:
        msg = f"{name} {time.isoformat()} is before 1970; expected a time since 1970-01-01 UTC"
        raise InvalidArgumentError(msg)
    return time_us


def check_zone(time: datetime, name: str) -> None:
    """See that a time says where on earth it is meant.

    Raises:
        InvalidArgumentError: it has no time zone.
    """
    if time.utcoffset() is None:
        msg = f"{name} {time.isoformat()} has no time zone; give one: tzinfo=UTC, or .astimezone() for local time"
        raise InvalidArgumentError(msg)


def check_reported(time_us: int, name: str) -> int:
    """Return a reported time if it is not in the future.

    Raises:
        InvalidArgumentError: it lies further in the future than clocks differ.
    """
    ahead = time_us - now_us()
    if ahead > CLOCK_TOLERANCE_US:
        msg = (
            f"{name} {_text(time_us)} lies {ahead / 1e6:,.0f} s in the future; expected a time that has passed"
            f" (up to {CLOCK_TOLERANCE_US / 1e6:g} s are taken for a difference of clocks)"
        )
        raise InvalidArgumentError(msg)
    return time_us


def check_order(started_at: int | None, finished_at: int) -> None:
    """See that a run does not end before it began.

    Raises:
        InvalidArgumentError: it does.
    """
    if started_at is not None and finished_at < started_at:
        msg = (
            f"finished_at {_text(finished_at)} is before started_at {_text(started_at)}; expected a time that is not"
            f" before the start of the run"
        )
        raise InvalidArgumentError(msg)


def _text(time_us: int) -> str:
    time = to_datetime(time_us)
    return f"{time_us} µs" if time is None else time.isoformat()
