"""How long what is being answered may take: said where a request comes in, heeded where a store asks its database.

The limit is that of a thread (of a context, in the words of :mod:`contextvars`): who sets none has none.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from modeldb_core.errors import TimeLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

_until: ContextVar[float | None] = ContextVar("modeldb_until", default=None)


@contextmanager
def no_limit() -> Iterator[None]:
    """Enter a block that begins without a limit; what is set in it ends with it."""
    token = _until.set(None)
    try:
        yield
    finally:
        _until.reset(token)


def set_limit(seconds: float) -> None:
    """Let what is asked of stores from now on, in this thread, take so long together."""
    _until.set(time.monotonic() + seconds)


def until() -> float | None:
    """Return when the time is up, as :func:`time.monotonic` says it; ``None``: there is no limit."""
    return _until.get()


def check_time() -> None:
    """See that there is time left.

    Raises:
        TimeLimitError: there is none.
    """
    if is_over():
        raise time_is_up()


def is_over() -> bool:
    """Return whether there was a limit, and the time is up."""
    end = _until.get()
    return end is not None and time.monotonic() >= end


def time_is_up() -> TimeLimitError:
    """Return the error that says so."""
    return TimeLimitError(
        "the answer takes longer than a request may; ask for less: a narrower filter, one project, fewer fields, a smaller page"
    )
