"""Progress bars: on standard error, only on a terminal, and only for what takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE_S = 1.0


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how much more is done; ``total`` is in the same unit."""
    done = 0
    with stages_bar() as show:

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            show(label, done, total)

        yield advance


@contextmanager
def stages_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a function that is told what is being done, how much of it is, and of how much in all if that is known."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    bar = _Bar()
    try:
        yield bar.show
    finally:
        bar.close()


class _Bar:
    """A bar of rich's that appears once the work has taken a second."""

    def __init__(self) -> None:
        self._appears_at = time.monotonic() + _PATIENCE_S
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""

    def show(self, label: str, done: int, total: int | None) -> None:
        if self._progress is None:
            if time.monotonic() < self._appears_at:
                return
            self._progress = _start()
        if self._task is None or label != self._label:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(label, total=total)
            self._label = label
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _start() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    progress.start()
    return progress
