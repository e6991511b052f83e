"""What a decoder may do with an input: return, or raise an error of ModelDB, in bounded time and memory."""

from __future__ import annotations

import resource
import signal
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from modeldb_core.errors import ModelDBError, ModelDBWarning

WATCHDOG_S = 60.0
"""Of the processor's time, which a busy machine does not use up: nothing here takes a hundredth of it."""
MOST_ADDRESS_BYTES = 6 << 30
"""More than the process has already: what asks for more fails, and takes nothing else down with it."""
MOST_BYTES = 24 << 20
MOST_TIMES = 200
"""A decoder may take so much memory, and so many times the length of its input: an empty list takes 20 times its text."""
MOST_MESSAGE = 6_000
"""Characters of an error: whatever was wrong, nobody reads more."""


class TookTooLongError(BaseException):
    """It went on and on; not an Exception, which something might catch."""


def _out_of_time(*_: object) -> None:
    raise TookTooLongError


@contextmanager
def bounded(size: int, times: int = MOST_TIMES) -> Iterator[None]:
    """Fail where the body takes more time or memory than an input of ``size`` bytes may cost."""
    before = signal.signal(signal.SIGVTALRM, _out_of_time)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + MOST_ADDRESS_BYTES, hard))
    tracemalloc.start()
    signal.setitimer(signal.ITIMER_VIRTUAL, WATCHDOG_S)
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    except TookTooLongError:
        msg = f"it took more than {WATCHDOG_S:.0f} s of the processor for {size:,} bytes of input"
        raise AssertionError(msg) from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        tracemalloc.stop()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)
    most = MOST_BYTES + times * size
    assert peak <= most, f"{peak:,} bytes of memory for {size:,} bytes of input; at most {most:,} are expected"


def check(decode: Callable[[Any], object], data: Any, times: int = MOST_TIMES) -> None:
    """See that ``decode`` returns, or raises an error of ModelDB with a message that can be shown."""
    with warnings.catch_warnings(), bounded(size_of(data), times), suppress(ModelDBError):
        warnings.simplefilter("ignore", ModelDBWarning)  # that something is not obeyed, or not safe
        try:
            decode(data)
        except ModelDBError as error:
            message = str(error)
            message.encode()  # half of a surrogate pair cannot be printed
            assert len(message) <= MOST_MESSAGE, f"a message of {len(message):,} characters: {message[:200]}"
            raise


def size_of(data: Any) -> int:
    """Return about how many bytes an input has."""
    if isinstance(data, (bytes, str)):
        return len(data)
    if isinstance(data, dict):
        return sum(size_of(key) + size_of(value) for key, value in data.items())
    return sum(map(size_of, data)) if isinstance(data, (list, tuple)) else 8


def _address_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
