"""Standard output and standard error, whatever they lead to: any encoding, a full disk, a pipe that nobody reads."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from pathlib import Path
from typing import TextIO

import click

from modeldb_core.cli.text import clean_lines

_ESCAPING = "modeldb.escape"


def prepare() -> None:
    """Make both streams take every character: one that their encoding lacks is written as an escape.

    A stream that was closed before the program started (``>&-``) leads to nowhere from here on.
    """
    codecs.register_error(_ESCAPING, _escaped)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPING)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text to standard output or standard error; control characters in it are replaced."""
    click.echo(clean_lines(text), file=sys.stderr if err else sys.stdout, nl=nl)


def is_terminal() -> bool:
    """Return whether people look at the output, a screen at a time, and not a file or another program."""
    return sys.stdout.isatty()


def can_show(text: str) -> bool:
    """Return whether the encoding of standard output has all characters of ``text``."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def as_shown(text: str) -> str:
    """Return ``text`` as standard output will show it, so that its width can be measured."""
    if can_show(text):
        return text
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, _ESCAPING).decode(encoding)


def discard() -> None:
    """Let what is still to be written go nowhere, so that the end of the process does not fail once more."""
    for stream in (sys.stdout, sys.stderr):
        if not _flushes(stream):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def has_no_reader(error: BaseException | None) -> bool:
    """Return whether an error says that the other end of a pipe, such as ``head``, has had enough."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def sentence(error: OSError) -> str:
    """Return what an error of the operating system means to who typed the command."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    if error.errno == errno.ENOENT and not _has_working_folder():
        return "the working folder does not exist any more; change to another one with cd"
    return f"the output cannot be written: {reason}"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Encode what an encoding lacks (the error handler): as Python escapes, and the mark of a cut cell by one sign."""
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end].replace("…", "~")
    return missing.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _flushes(stream: TextIO) -> bool:
    try:
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
