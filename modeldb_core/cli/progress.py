"""Progress bars: on standard error, only on a terminal, and only for what takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE_S = 1.0


@contextmanager
def progress_bar(label: str, total: float) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how much more is done; ``total`` is in the same unit."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    bar = _Bar(label, total)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """A bar of rich's that appears once the work has taken a second."""

    def __init__(self, label: str, total: float) -> None:
        self._label, self._total = label, total
        self._done = 0
        self._appears_at = time.monotonic() + _PATIENCE_S
        self._close: Callable[[], None] | None = None
        self._update: Callable[[int], None] | None = None

    def advance(self, amount: int) -> None:
        self._done += amount
        if self._update is None and time.monotonic() >= self._appears_at:
            self._appear()
        if self._update is not None:
            self._update(self._done)

    def close(self) -> None:
        if self._close is not None:
            self._close()

    def _appear(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        task = progress.add_task(self._label, total=self._total or None)
        progress.start()
        self._close = progress.stop
        self._update = lambda done: progress.update(task, completed=done)
