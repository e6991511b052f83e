"""Numbers: what a metric may be, and the 64-bit float that a point of a series is."""

from __future__ import annotations

import math
import numbers
from typing import Any

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.integers import int_text
from modeldb_core.model.scalars import is_long_double, scalar_of
from modeldb_core.model.values import type_name


def to_number(value: object, where: str) -> int | float:
    """Return ``value`` as the number that a metric is: a bool, an int of any size, or a float.

    A Decimal or a Fraction counts as the nearest float.

    Raises:
        InvalidTypeError: it is not a number.
        InvalidArgumentError: it is a long double that no 64-bit float equals.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    number = scalar_of(value)
    if isinstance(number, (int, float)):
        return number
    item = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    if is_long_double(item):
        msg = f"{where} = {item} is not exactly representable as a 64-bit float; round it: float(...)"
        raise InvalidArgumentError(msg)
    if isinstance(value, numbers.Number) and hasattr(type(value), "__float__") and not hasattr(value, "shape"):
        try:
            return nearest(value)
        except OverflowError:
            msg = f"{where} is beyond the range of 64-bit floats"
            raise InvalidArgumentError(msg) from None
        except (TypeError, ValueError):  # a complex number, a signaling NaN
            pass
    hint = "; a metric is one number: pass .item()" if getattr(value, "shape", ()) != () else ""
    msg = f"{where} is of type {type_name(value)}; expected a number{hint}"
    raise InvalidTypeError(msg)


def nearest(value: Any) -> float:  # noqa: ANN401 - a Decimal or a Fraction
    """Return the nearest float.

    Raises:
        OverflowError: that is an infinity, and the number is none.
        ValueError: it is a signaling NaN.
    """
    number = float(value)
    if math.isinf(number) and number != value:
        raise OverflowError
    return number


def to_float(value: object, where: str) -> float:
    """Return ``value`` as the float that equals it; ``where`` names it in errors.

    Raises:
        InvalidTypeError: it is not a number.
        InvalidArgumentError: it is an integer that no 64-bit float equals.
    """
    number = to_number(value, where)
    if isinstance(number, float):
        return number
    try:
        result = float(number)
    except OverflowError:
        result = math.inf
    if result == number:
        return result
    msg = (
        f"{where} = {int_text(number)} is not exactly representable as a 64-bit float, which a point of a series is; "
        f"log it without a step, or as an attribute"
    )
    raise InvalidArgumentError(msg)
