"""What a terminal shows: colours, how many columns a text takes, and texts cut or folded to a width."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.output import can_show, is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "…"
"""Stands where the rest of a text was cut off."""
_GUIDES = ("├── ", "│   ", "└── ", "    ")
_PLAIN_GUIDES = ("+-- ", "|   ", "`-- ", "    ")


def room() -> int | None:
    """Return how many columns the terminal has; ``None``: the output is none, and nothing is cut."""
    return shutil.get_terminal_size().columns if is_terminal() else None


def print_line(line: str = "") -> None:
    """Print a line whose texts were made harmless; what :func:`styled` added is left out where it is not a terminal."""
    click.echo(line, file=sys.stdout)


def styled(text: str, *, bold: bool | None = None, dim: bool | None = None, fg: str | None = None) -> str:
    """Return ``text`` in a style; as it is where the user wants none (``NO_COLOR``)."""
    if not text or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, bold=bold, dim=dim, fg=fg)


def width_of(text: str) -> int:
    """Return how many columns ``text`` takes: wide characters two, marks that combine with others none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, with a mark where something is missing."""
    return text if width_of(text) <= width else _beginning(text, width - 1) + MARK


def padded(text: str, width: int, *, to_the_right: bool = False) -> str:
    """Return ``text`` with as many spaces as it takes less than ``width`` columns."""
    spaces = " " * max(0, width - width_of(text))
    return spaces + text if to_the_right else text + spaces


def fold(text: str, width: int) -> list[str]:
    """Return ``text`` as lines of at most ``width`` columns, broken between words where that is possible."""
    lines = []
    while width_of(text) > width:
        line = _beginning(text, width) or text[0]
        space = line.rfind(" ")
        if space > 0 and not text.startswith(" ", len(line)):
            line = line[: space + 1]
        lines.append(line.rstrip(" "))
        text = text[len(line) :].lstrip(" ")
    return [*lines, text] if text or not lines else lines


def _beginning(text: str, width: int) -> str:
    used = 0
    for at, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:at]
    return text


class Tree:
    """A label, and what hangs below it."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.children: list[Tree] = []

    def add(self, label: str) -> Tree:
        """Return a new branch."""
        branch = Tree(label)
        self.children.append(branch)
        return branch

    def lines(self) -> Iterator[str]:
        """Iterate over the lines of the tree."""
        yield self.label
        guides = _GUIDES if can_show("".join(_GUIDES)) else _PLAIN_GUIDES
        for child in self.children:
            first, rest = guides[2:] if child is self.children[-1] else guides[:2]
            for number, line in enumerate(child.lines()):
                yield (rest if number else first) + line
