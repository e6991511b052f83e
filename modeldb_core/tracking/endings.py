"""How runs end when nobody says so: an exception, Ctrl-C, SIGTERM, or simply the end of the script.

What cannot be caught (SIGKILL, a power failure) needs no code here: the run reads as lost when its lease expires, and
the next process recovers its journal.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from modeldb_core.model.entities import KILLED
from modeldb_core.runtime import exits, forks
from modeldb_core.tracking.failures import Ending, ending_of

if TYPE_CHECKING:
    from types import FrameType, TracebackType

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM

GRACE_S = 10.0
"""How long a program may take to leave its blocks and callbacks after SIGTERM, before it is ended all the same."""

CLOSING_S = 20.0
"""How long it may take then to end its runs and ship."""

_LOOK_S = 0.1


class Closable(Protocol):
    """A client."""

    def close(self) -> None:
        """Ship what was logged."""


class Endable(Protocol):
    """A run that is open."""

    run_id: str

    @property
    def client(self) -> Closable:
        """The client that it is logged with."""

    def finish(self, status: Ending, /) -> None:
        """End it."""


_open: dict[str, Endable] = {}
_clients: set[Closable] = set()
_ending: list[Ending] = []
_installed = False
_is_terminated = _ends_by_signal = False


def watch(client: Closable, run: Endable) -> None:
    """See to it that ``run`` gets an end, whatever ends the program."""
    close_at_exit(client)
    _open[run.run_id] = run
    _install_sigterm()


def close_at_exit(client: Closable) -> None:
    """See to it that what ``client`` logs is shipped when the program ends, also where it started no run itself."""
    if not _clients:
        exits.at_exit(_close_clients, priority=10)
    _clients.add(client)
    _install()


def unwatch(run: Endable) -> None:
    """``run`` has ended."""
    _open.pop(run.run_id, None)


def forget(client: Closable) -> None:
    """``client`` is closed."""
    _clients.discard(client)


def finish_runs(client: Closable, ending: Ending | None = None) -> None:
    """End the runs of ``client`` that are open, children first: with ``ending``, else by how the program ends."""
    for run in reversed(list(_open.values())):
        if run.client is client:
            run.finish(ending or (_ending[-1] if _ending else Ending()))


def ending_for(error: BaseException | None) -> Ending:
    """Return how a run ends whose block ended with ``error``: killed on the way out after SIGTERM, whatever is raised."""
    if _ending and _ending[-1].status == KILLED:
        return Ending(KILLED)
    return ending_of(error)


def _install() -> None:
    global _installed
    if _installed:
        return
    _installed = True
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not hasattr(sys, "ps1"):  # at a prompt the program goes on
            _ending.append(ending_for(error))
        previous(kind, error, traceback)

    sys.excepthook = hook


def _install_sigterm() -> None:
    """Turn SIGTERM into an orderly exit, where nobody else handles it.

    Not in workers: pools end them by SIGTERM, and wait for that. A handler of Python is not sure to end a process, since
    it is never called while the main thread waits for a lock, as that of a pool. What a worker leaves in its journal is
    shipped by the process that started it.
    """
    if exits.is_worker() or _is_terminated:
        return
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def leave_sigterm() -> None:
    """Leave SIGTERM to a framework that ends in an orderly way by itself, as Lightning does at the end of a batch."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def take_sigterm() -> None:
    """Handle SIGTERM again, where a run is open and nobody else handles it."""
    if _open:
        _install_sigterm()


def _on_sigterm(number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
    """End through SystemExit: locks that the interrupted code holds are released on the way."""
    global _is_terminated, _ends_by_signal
    del number, frame
    _is_terminated = True  # for good: a program that goes on, and starts further runs, is not to handle the next one
    _ends_by_signal = exits.has_begun()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
    _ending.append(Ending(KILLED))
    try:
        _thread.start_new_thread(_insist, ())
    except RuntimeError:  # some versions of Python start none while they end; then the system is to insist
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, GRACE_S + CLOSING_S)
    sys.exit(TERMINATED_EXIT_CODE)


def _insist() -> None:
    """End the process where SystemExit does not: it is lost in destructors, callbacks, and ``except BaseException``."""
    left_s = GRACE_S
    while left_s > 0:
        time.sleep(_LOOK_S)
        if not exits.is_running():
            left_s -= _LOOK_S
    closing = exits.start_thread(exits.run_all, "modeldb-ending")
    if closing is not None:
        closing.join(CLOSING_S)  # the interrupted code may hold what closing waits for
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(TERMINATED_EXIT_CODE)  # somebody handles the signal otherwise by now, and lives on


def _end_by_signal() -> None:
    """Let a process that SIGTERM reached while it ended tell so by its status: Python would end it with that of success."""
    leave_sigterm()
    if _ends_by_signal:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            exits.guarded(stream.flush)
        os.kill(os.getpid(), signal.SIGTERM)


def _close_clients() -> None:
    for client in list(_clients):
        exits.guarded(client.close)


def _after_fork_in_child() -> None:
    """Leave the runs of the process that forked this one to it, and SIGTERM to the system."""
    global _is_terminated, _ends_by_signal
    leave_sigterm()
    _is_terminated = _ends_by_signal = False
    _clients.clear()
    _open.clear()
    _ending.clear()


forks.after_in_child(_after_fork_in_child)
exits.at_last(_end_by_signal)
