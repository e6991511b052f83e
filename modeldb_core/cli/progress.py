"""Progress bars: on standard error, only on a terminal, and only for what takes longer than a second."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modeldb_core.cli.terminal import cut
from modeldb_core.cli.text import clean

_PATIENCE_S = 1.0
_AGAIN_S = 0.1
_BAR = 30  # characters


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
    """A line of progress: shown once the work has taken a second, kept up to date, and cleared at the end."""

    def __init__(self) -> None:
        self._next_at = time.monotonic() + _PATIENCE_S
        self._is_shown = False

    def show(self, label: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + _AGAIN_S
        line = clean(label)
        if total:
            part = min(1.0, done / total)
            full = round(part * _BAR)
            line = f"{line} [{'#' * full}{'.' * (_BAR - full)}] {part:4.0%}"
        self._write(cut(line, shutil.get_terminal_size().columns - 1))
        self._is_shown = True

    def close(self) -> None:
        if self._is_shown:
            self._write("")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}")  # the rest of the line before goes
        sys.stderr.flush()
