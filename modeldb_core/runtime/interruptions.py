"""Whose an exception is: one that a signal handler of the program raises comes out of whatever code it interrupted."""

from __future__ import annotations

import functools
import signal
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType


def is_of_a_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler that is installed raised ``error``, such as one that bounds the time of a training.

    It is meant for the program, and no fault of the code that it came out of.
    """
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return bool(codes) and any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _code_of(handler: Any) -> CodeType | None:  # noqa: ANN401 - whatever can be called, a number, or None
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):
        return None
    for function in (handler, type(handler).__call__):
        code: CodeType | None = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None:
            return code
    return None
