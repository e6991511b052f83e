"""Steps and times of points: what is accepted, and as what it is kept."""

from __future__ import annotations

from datetime import datetime

from modeldb_core.commands.times import check_zone
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.numbers import to_float

_MAX_STEP = 2**63 - 1


def checked_step(step: object) -> int:
    """Return the label of a point: an integer of 64 bits."""
    if isinstance(step, float) and step.is_integer():
        msg = f"step {step!r} is a float; expected an integer: use int(step)"
        raise InvalidTypeError(msg)
    try:
        label = step.__index__()  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        msg = f"step {step!r} is of type {type(step).__name__}; expected an integer"
        raise InvalidTypeError(msg) from None
    if not -_MAX_STEP - 1 <= label <= _MAX_STEP:
        msg = f"step {label} does not fit into 64 bits; expected -2^63 to 2^63 - 1"
        raise InvalidArgumentError(msg)
    return int(label)


def checked_time_ns(timestamp: object) -> int:
    """Return a time in nanoseconds since 1970-01-01 UTC."""
    if isinstance(timestamp, datetime):
        check_zone(timestamp, "timestamp")
    seconds = timestamp.timestamp() if isinstance(timestamp, datetime) else to_float(timestamp, "timestamp")
    if not 0 <= seconds < 2**33:
        msg = f"timestamp {timestamp!r} is not a time between 1970 and 2242 in seconds since 1970-01-01 UTC"
        raise InvalidArgumentError(msg)
    return int(seconds * 1_000_000) * 1000
