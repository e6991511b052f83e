"""What the event loop of fsspec's asynchronous file systems lacks for being used by threads that outlast the program."""

from __future__ import annotations

import concurrent.futures
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime.workers import Workers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_THREADS = 8
_prepared: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Let a loop go on working while the program ends, and say nothing of connections that broke under a request."""
    if loop in _prepared:
        return
    _prepared.add(loop)
    loop.call_soon_threadsafe(loop.set_default_executor, _executor())
    _expect_lost_connections(loop)


def _executor() -> Any:  # noqa: ANN401 - a class that is only there when it is needed
    """Return an executor whose threads are there until the very end.

    A loop has names of hosts looked up by its executor. Those of the standard library take nothing any more once the main
    thread has come to its end, and that is when a program ships the rest of what it logged.
    """
    # Named only here: it is imported when it is, which Python refuses at the end of a program, and a folder needs none.

    class Executor(concurrent.futures.ThreadPoolExecutor):
        workers = Workers(_THREADS, "modeldb-fsspec")

        def submit(self, fn: Callable[..., Any], /, *args: object, **kwargs: object) -> concurrent.futures.Future[Any]:
            return self.workers.submit(partial(fn, *args, **kwargs))

    return Executor()


def _expect_lost_connections(loop: asyncio.AbstractEventLoop) -> None:
    """Drop the second report of a failure.

    The request fails and is translated; but the task that was sending its body fails as well, nobody waits for that one,
    and asyncio would print its traceback into the user's terminal.
    """
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError) and "future" in context:
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)
