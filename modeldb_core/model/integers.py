"""Integers of any size as text, within what can be read again in a reasonable time."""

from __future__ import annotations

import math
import re

from modeldb_core.errors import InvalidArgumentError

MAX_INTEGER_BITS = 1 << 20
"""Some 315,000 decimal digits: turning longer ones into decimal text takes minutes."""
MAX_DECIMAL_DIGITS = 4300
"""That every Python reads; longer integers are written in hexadecimal."""

_DECIMAL_BITS = int(MAX_DECIMAL_DIGITS * math.log2(10))
_WRITTEN = re.compile("-?(?:0x[0-9a-f]+|[0-9]+)")


class LongInteger(int):
    """An integer of so many digits that Python refuses to write it in decimal: it shows itself in hexadecimal.

    So one such value does not break whatever prints it: a listing, a table, a message.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return hex(self)

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(hex(self), form if form.rstrip("0123456789") in ("", "<", ">", "^") else "")


def int_text(value: int) -> str:
    """Return ``value`` in decimal; in hexadecimal where it has more digits than every Python reads."""
    if value.bit_length() > _DECIMAL_BITS:
        return hex(value)
    try:
        return int.__repr__(value)
    except ValueError:  # this one was told to write fewer
        return hex(value)


def big_int(text: str) -> int:
    """Return the integer that :func:`int_text` wrote.

    Raises:
        InvalidArgumentError: it wrote no such text.
    """
    digits = len(text)
    if digits > MAX_INTEGER_BITS // 4 + 3 or ("x" not in text and digits > MAX_DECIMAL_DIGITS + 1):
        msg = f"an integer is written with {digits:,} characters; at most {MAX_INTEGER_BITS:,} bits are read"
        raise InvalidArgumentError(msg)
    if not _WRITTEN.fullmatch(text):
        msg = f"{text[:80]!r} is not an integer in decimal or in hexadecimal"
        raise InvalidArgumentError(msg)
    try:
        return LongInteger(text, 16) if "x" in text else int(text)
    except ValueError as error:
        msg = f"this Python is configured to read fewer digits: {error}"
        raise InvalidArgumentError(msg) from error


def check_integer(value: int, where: str) -> int:
    """Return ``value`` if it is one that is kept; ``where`` names it in errors.

    Raises:
        InvalidArgumentError: it has more than 2^20 bits.
    """
    if value.bit_length() > MAX_INTEGER_BITS:
        msg = f"{where} is an integer of {value.bit_length():,} bits; at most {MAX_INTEGER_BITS:,} are kept"
        raise InvalidArgumentError(msg)
    return value
