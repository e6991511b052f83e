"""How a run ends by the exception that ended it: its status, and for a failed one what went wrong.

An exception that is a way of ending, and no failure, is registered with :func:`register_ending`. Those of well-known
libraries are known by name, so that none of them has to be imported.
"""

from __future__ import annotations

import re
import signal
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldb_core.commands.runs import check_end
from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.entities import EMPTY, FAILED, FINISHED, KILLED, PRUNED
from modeldb_core.runtime.redaction import redact_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_SUMMARY = 500
MAX_MESSAGE = 4_000
MAX_TRACEBACK = 40_000
"""Characters that are kept of a message in a note, of a message, and of a traceback; what is left out is in the middle, and said."""

_registered: dict[type[BaseException], str] = {
    KeyboardInterrupt: KILLED,
    GeneratorExit: FINISHED,  # a generator with a block in it is not read to its end
}
_KNOWN_NAMES = {
    "asyncio.exceptions.CancelledError": KILLED,  # Ctrl-C reaches a task of asyncio as its cancellation
    "optuna.exceptions.TrialPruned": PRUNED,
    "lightning.pytorch.utilities.exceptions.SIGTERMException": KILLED,
    "pytorch_lightning.utilities.exceptions.SIGTERMException": KILLED,
    "click.exceptions.Abort": KILLED,
    "bdb.BdbQuit": KILLED,
    "trio.Cancelled": KILLED,
}
_EXIT_NAMES = frozenset({"click.exceptions.Exit"})  # exceptions with an ``exit_code``
_KILLED_CODES = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})  # by which a shell says that a signal did it
_GRAVITY = {status: rank for rank, status in enumerate((FINISHED, PRUNED, KILLED, FAILED))}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends.

    Attributes:
        status: finished, failed, killed or pruned.
        failure: of a failed run, ``type``, ``message`` and ``traceback`` of the exception, without secrets.
    """

    status: str = FINISHED
    failure: Mapping[str, str] = field(default_factory=lambda: EMPTY)


def register_ending(exception: type[BaseException], status: str = FINISHED) -> None:
    """Say that an exception which leaves the block of a run is a way of ending it, and no failure.

    It holds for the whole process, for subclasses of ``exception`` too, and for what the integrations record. Optuna's
    ``TrialPruned`` is registered as pruned from the beginning.

    Args:
        exception: a class of exceptions.
        status: of a run that it ends: finished, failed, killed or pruned.

    Raises:
        InvalidTypeError: ``exception`` is not a class of exceptions.
        InvalidArgumentError: ``status`` is not an end.
    """
    given: object = exception
    if not (isinstance(given, type) and issubclass(given, BaseException)):
        msg = f"{exception!r} is not a class of exceptions; pass one, such as optuna.TrialPruned"
        raise InvalidTypeError(msg)
    _registered[exception] = check_end(status)


def ending_of(error: BaseException | None) -> Ending:
    """Return how a run ends that ``error`` ended, or nothing did; never raises."""
    status = _status_of(error)
    return Ending(status, describe_failure(error) if error is not None and status == FAILED else EMPTY)


def interruption_of(error: BaseException) -> Ending:
    """Return how a run ends whose work ``error`` interrupted, such as a fit: ``sys.exit()`` does not finish that."""
    ending = ending_of(error)
    if ending.status == FINISHED and isinstance(error, (SystemExit, GeneratorExit)):
        return Ending(KILLED)
    return ending


def summary_of(error: BaseException) -> str:
    """Return type and message of an exception in one short text without secrets, as notes quote it; never raises."""
    message = _shown(_message_of(error), MAX_SUMMARY)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def describe_failure(error: BaseException) -> dict[str, str]:
    """Return type, message and traceback of an exception as texts without secrets; never raises."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception:
        lines = ""
    return {
        "type": name,
        "message": _shown(_message_of(error), MAX_MESSAGE),
        "traceback": _shown(lines, MAX_TRACEBACK),
    }


def _status_of(error: BaseException | None) -> str:
    if error is None:
        return FINISHED
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            return KILLED  # the others are what came of it
        return max((_status_of(leaf) for leaf in leaves), key=_GRAVITY.__getitem__)
    for cls in type(error).__mro__:
        name = f"{cls.__module__}.{cls.__qualname__}"
        status = _registered.get(cls) or _KNOWN_NAMES.get(name)
        if status is not None:
            return status
        if cls is SystemExit or name in _EXIT_NAMES:
            if _comes_of_an_interrupt(error):
                return KILLED
            return _status_of_exit(error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1))
    return FAILED


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _comes_of_an_interrupt(error: BaseException) -> bool:
    """Whether an exit was asked for because of Ctrl-C, as Lightning does, whatever its code."""
    seen: set[int] = set()
    before: BaseException | None = error
    while before is not None and id(before) not in seen:
        seen.add(id(before))
        before = before.__cause__ or before.__context__
        if isinstance(before, KeyboardInterrupt):
            return True
    return False


def _status_of_exit(code: object) -> str:
    if code is None or (isinstance(code, int) and code == 0):
        return FINISHED
    return KILLED if isinstance(code, int) and code in _KILLED_CODES else FAILED


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # whatever a stranger's __str__ does
        return "(its message cannot be read)"


def _shown(text: str, limit: int) -> str:
    """Return ``text`` without secrets, escape sequences of terminals and what is not Unicode; the middle of a long one left out."""
    text = redact_message(_ESCAPES.sub("", text)).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
