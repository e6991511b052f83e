"""Switches an integration on and off: by a call, for the time of a function, or for a ``with`` block."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeGuard, TypeVar

from modeldb_core.autologging.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

OptionsT = TypeVar("OptionsT")
P = ParamSpec("P")
R = TypeVar("R")


class Integration(Generic[OptionsT]):
    """Whether an integration logs, and with which options. Safe for any number of threads.

    There is one setting for the whole program, made by a call, and any number of blocks that are under way; the
    innermost block counts, in all threads. Patches are in place while any of them logs, and undone when none does.

    Args:
        install: puts the patches in place.
        uninstall: called before they are undone.
    """

    def __init__(self, install: Callable[[Patches], None], uninstall: Callable[[], None]) -> None:
        self._install = install
        self._uninstall = uninstall
        self.patches = Patches()
        self._lock = threading.RLock()
        self._base: Switch[OptionsT] | None = None
        self._blocks: list[Switch[OptionsT]] = []
        self._installed = False
        self._is_kept = False

    def options(self) -> OptionsT | None:
        """Return the options in force, ``None`` while the integration is off."""
        blocks = self._blocks
        try:
            switch = blocks[-1] if blocks else self._base
        except IndexError:  # another thread just left the last block
            switch = self._base
        return None if switch is None else switch.options

    def switch(self, options: OptionsT | None) -> Switch[OptionsT]:
        """Switch on with ``options``, or off with ``None``, for the whole program; the result can limit it to a block."""
        with self._lock:
            switch = Switch(self, options, self._base, tuple(self._blocks))
            self._base = switch
            if options is None:
                self._base = None
                self._blocks.clear()
            self._update()
            return switch

    def keep_installed(self) -> None:
        """Put the patches in place for the rest of the process, without switching anything on: for worker processes."""
        with self._lock:
            self._is_kept = True
            self._update()

    def _take_back(self, switch: Switch[OptionsT]) -> None:
        """Undo the effect on the whole program that making ``switch`` had: it is used for a block."""
        with self._lock:
            if switch.options is None:
                if self._base is None and not self._blocks:
                    self._base, self._blocks = switch.previous, list(switch.blocks)
            elif self._base is switch:
                self._base = switch.previous
            else:  # another one was made since
                newer = self._base
                while newer is not None and newer.previous is not switch:
                    newer = newer.previous
                if newer is not None:
                    newer.previous = switch.previous

    def _enter(self, switch: Switch[OptionsT]) -> None:
        with self._lock:
            self._blocks.append(switch)
            self._update()

    def _leave(self, switch: Switch[OptionsT]) -> None:
        with self._lock:
            for index in reversed(range(len(self._blocks))):
                if self._blocks[index] is switch:
                    del self._blocks[index]
                    break
            self._update()

    def _update(self) -> None:
        wanted = self._is_kept or any(
            switch is not None and switch.options is not None for switch in (self._base, *self._blocks)
        )
        if wanted and not self._installed:
            self._installed = True
            self._install(self.patches)
        elif not wanted and self._installed:
            self._installed = False
            self._uninstall()
            self.patches.undo()


def is_to_be_decorated(given: object) -> TypeGuard[Callable[..., object]]:
    """Return whether the first argument of an ``autolog`` function is what ``@autolog`` without parentheses stands before.

    That is anything that can be called; a class can be as well, but is not replaced by a function.
    """
    return callable(given) and not isinstance(given, type)


def during(block: AbstractContextManager[object], function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` such that it runs within ``block``, which is entered with each call; also a coroutine function."""
    if any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None)))):  # noqa: B004 - not whether

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            called: Any = function
            with block:
                return await called(*args, **kwargs)

        return run_async  # type: ignore[return-value]

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with block:
            return function(*args, **kwargs)

    return run


class Switch(Generic[OptionsT]):
    """What ``autolog(...)`` returns: it is in force already; as a decorator or with ``with`` it is so only in there."""

    def __init__(
        self,
        integration: Integration[OptionsT],
        options: OptionsT | None,
        previous: Switch[OptionsT] | None,
        blocks: tuple[Switch[OptionsT], ...],
    ) -> None:
        self._integration = integration
        self.options = options
        self.previous = previous
        self.blocks = blocks
        self._limited = False

    def __enter__(self) -> Self:
        self._limit()
        self._integration._enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._integration._leave(self)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function`` such that autologging is in force while it runs; also for coroutine functions."""
        self._limit()
        return during(self, function)

    def _limit(self) -> None:
        if not self._limited:
            self._limited = True
            self._integration._take_back(self)
            with self._integration._lock:
                self._integration._update()
