"""Which run threads and processes belong to that were started inside the ``with`` block of one.

A context variable holds the run of a block, but new threads start with an empty context and new processes with none.
So every open block is listed here, with the threads that are older than it: a thread that is not among them was started
inside. For processes the environment variable ``MODELDB_RUN`` names a file of this process that always says which run
that is. A file, since a pool outlives blocks: its workers ask again whenever it matters, and never log to a run that is
over because it happened to be open when they were started.

Where blocks of several threads are open at once, what they have in common counts: nothing, or the block around them all.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from modeldb_core.runtime import forks
from modeldb_core.tracking import process_files
from modeldb_core.tracking.process_files import ProcessFile
from modeldb_core.tracking.ranks import is_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modeldb_core.tracking.reader import RunReader
    from modeldb_core.tracking.session import Session

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("modeldb")

CURRENT: ContextVar[RunReader | None] = ContextVar("modeldb_current_run", default=None)

VARIABLE = "MODELDB_RUN"


@dataclass(eq=False, slots=True)
class Block:
    """An open ``with`` block of a run."""

    run: RunReader
    outer: Block | None
    older_threads: weakref.WeakSet[threading.Thread] = field(default_factory=weakref.WeakSet)


_lock = threading.RLock()
_blocks: list[Block] = []
_inherited_path = os.environ.get(VARIABLE)
_own: ProcessFile | None = None


def current() -> RunReader | None:
    """Return the run of this process that the caller belongs to, if there is one."""
    run = CURRENT.get()
    while run is not None:
        if not run.has_ended and not _is_over(run):
            return run
        run = run._outer  # of a run without a block nobody resets the variable
    thread = threading.current_thread()
    return _common(block for block in list(_blocks) if thread not in block.older_threads)


def inherited() -> dict[str, Any] | None:
    """Return what is told of the run that the process which started this one is in now, for ``inheritance.attach``."""
    told = _told().get("run")
    return told if told is None or is_first() else {**told, "is_silent": True}


def inherited_id() -> str | None:
    """Return the identifier of that run."""
    told = inherited()
    return None if told is None else str(told["run_id"])


def enter(run: RunReader, *, of_thread: bool = True) -> Block:
    """The block of ``run`` begins in this thread; not ``of_thread``: the whole thread is inside, whatever the context."""
    with _lock:
        outer = next((block for block in reversed(_blocks) if block.run is current()), None)
        block = Block(run, outer)
        block.older_threads.update(threading.enumerate())
        if not of_thread:
            block.older_threads.discard(threading.current_thread())
        _blocks.append(block)
        _publish()
    return block


def leave(block: Block) -> None:
    """The block is over."""
    with _lock:
        if block in _blocks:  # it is not in a forked child
            _blocks.remove(block)
            _publish()


def _common(blocks: Iterable[Block]) -> RunReader | None:
    """Return the run of the innermost block that is, or is around, all innermost ones."""
    candidates = [block for block in blocks if not block.run.has_ended]
    around = {id(block.outer) for block in candidates}
    chains = [_chain(block) for block in candidates if id(block) not in around]
    if not chains:
        return None
    shared = [block for block in chains[0] if all(block in chain for chain in chains)]
    return shared[0].run if shared else None


def _chain(block: Block | None) -> list[Block]:
    chain = []
    while block is not None:
        chain.append(block)
        block = block.outer
    return chain


class Bound(Generic[P, R]):
    """A function that is called as in the block of a run; see :meth:`RunHandle.bind`."""

    def __init__(self, function: Callable[P, R], run: RunReader) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._run = run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        token = CURRENT.set(self._run)
        try:
            return self._function(*args, **kwargs)
        finally:
            CURRENT.reset(token)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bound, (self._function, self._run)


# -- between processes ---------------------------------------------------------------------------------------------


def _publish() -> None:
    """Tell processes started from now on, and those that run already, which run they belong to."""
    global _own
    try:
        if _own is None:
            _own = ProcessFile(_blocks[-1].run.client.settings.journal_dir)
        run = _common(_blocks)
        _own.write(
            {
                "pid": os.getpid(),
                "open": [block.run.run_id for block in _blocks],
                "run": inherited() if run is None else describe(run),
            }
        )
        path = str(_own.path)
        if os.environ.get(VARIABLE) != path:
            os.environ[VARIABLE] = path
    except Exception:  # whatever it is: only processes that are started meanwhile lack it
        logger.debug("the run could not be told to child processes", exc_info=True)


def describe(run: RunReader) -> dict[str, Any]:
    """Return what another process needs to log to ``run``; it may hold secrets, so keep it private."""
    fields = {name: run._fields[name] for name in ("project_id", "experiment_id", "name") if name in run._fields}
    known = run.client.known_names
    names = {each: known[each] for each in fields.values() if each in known}
    told = {"run_id": run.run_id, "fields": fields, "names": names, "settings": describe_client(run.client)}
    return {**told, "is_silent": True} if run.is_silent else told


def describe_client(client: Session) -> dict[str, Any]:
    """Return what another process needs to connect as ``client`` did; it may hold secrets."""
    settings = client.settings
    given = {name: getattr(settings, name) for name, origin in settings.origins.items() if origin == "argument"}
    where = {"url": settings.url, "artifact_url": settings.artifact_url, "journal_dir": str(settings.journal_dir)}
    if settings.project_urls:
        where["project_urls"] = " ".join(sorted(settings.project_urls))
    return {name: value for name, value in given.items() if isinstance(value, (str, int, float, bool))} | where


def _told() -> dict[str, Any]:
    """Return what the process that started this one says at this moment."""
    if _inherited_path is None:
        return {}
    try:
        told = process_files.read(Path(_inherited_path))
    except (OSError, ValueError, RecursionError):  # that process has ended, or closed its client; or it is another's
        return {}
    return told if _is_sound(told) and told["pid"] != os.getpid() else {}


def _is_sound(told: object) -> bool:
    """Return whether a file says what :func:`_publish` writes."""
    if not isinstance(told, dict) or not isinstance(told.get("pid"), int) or not isinstance(told.get("open"), list):
        return False
    run = told.get("run")
    if run is None:
        return True
    return (
        isinstance(run, dict)
        and isinstance(run.get("run_id"), str)
        and all(isinstance(run.get(part), dict) for part in ("fields", "names", "settings"))
    )


def _is_over(run: RunReader) -> bool:
    """Return whether ``run`` came into this process by a fork, and its process has left it since."""
    if run._process_id in (os.getpid(), -1):
        return False
    told = _told()
    return bool(told) and run.run_id not in told.get("open", ())


def _after_fork_in_child() -> None:
    global _lock, _own, _inherited_path
    _lock = threading.RLock()
    _blocks.clear()
    if _own is not None:
        _inherited_path = str(_own.path)
        _own.forget()
        _own = None


forks.after_in_child(_after_fork_in_child)
