"""The recorded command line of Python: taken apart, so that each word is known for what it is, and nothing is for a shell."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from modeldb_core.errors import ReproductionError

if TYPE_CHECKING:
    from collections.abc import Sequence

Target: TypeAlias = Literal["script", "module", "code"]

_OPTION = re.compile(r"-([bBEIOPqRsSuv]*)(?:([mcWX])(.*))?", re.DOTALL)
"""Options of the interpreter that change how it runs, not what: ``-i``, ``-h`` and others are refused."""
_MODULE = re.compile(r"\w+(\.\w+)*")
_INSTEAD = "give the command yourself after --, such as: modeldb reproduce RUN -- train.py --epochs 3"


@dataclass(frozen=True, slots=True)
class Command:
    """What Python was started with.

    Attributes:
        options: of the interpreter.
        target: what ``name`` is: the path of a script, a module (``-m``), or a program itself (``-c``).
        arguments: of the program.
    """

    options: tuple[str, ...]
    target: Target
    name: str
    arguments: tuple[str, ...]

    def words(self, interpreter: str) -> list[str]:
        """Return the command line for an interpreter."""
        mark = {"script": [], "module": ["-m"], "code": ["-c"]}[self.target]
        return [interpreter, *self.options, *mark, self.name, *self.arguments]


def parse_command(words: Sequence[object]) -> Command:
    """Take a command line apart, the first word of which is the interpreter.

    Raises:
        ReproductionError: it is not one of Python that can be repeated.
    """
    texts = [word for word in words if isinstance(word, str) and "\0" not in word]
    if len(texts) != len(words) or not texts:
        msg = f"the run has no command that can be repeated ({shown_words(texts) or 'none was recorded'}); {_INSTEAD}"
        raise ReproductionError(msg)
    options: list[str] = []
    rest = texts[1:]
    while rest and rest[0].startswith("-") and rest[0] != "-":
        match = _OPTION.fullmatch(rest[0])
        if match is None:
            msg = f"the recorded command begins with the option {shown(rest[0])}, with which no run is repeated; {_INSTEAD}"
            raise ReproductionError(msg)
        letters, last, value = match.groups()
        options += [f"-{letters}"] if letters else []
        rest = rest[1:]
        if last:
            value, rest = (value, rest) if value else (rest[0] if rest else "", rest[1:])
            if last in "mc":
                return _checked(Command(tuple(options), "module" if last == "m" else "code", value, tuple(rest)))
            options += [f"-{last}", value]
    if not rest or rest[0] == "-":
        msg = f"the recorded command ({shown_words(texts)}) is an interactive session, or its program came through a pipe; {_INSTEAD}"
        raise ReproductionError(msg)
    return Command(tuple(options), "script", rest[0], tuple(rest[1:]))


def _checked(command: Command) -> Command:
    if command.target == "module" and _MODULE.fullmatch(command.name) is None:
        msg = f"the recorded command names the module {shown(command.name)}, which no module is called; {_INSTEAD}"
        raise ReproductionError(msg)
    return command


def shown(text: str) -> str:
    """Return a text as a word of a shell would be written, with escapes for what is not to be seen or would hide others."""
    return shlex.quote(literal(text))


def shown_words(words: Sequence[str]) -> str:
    """Return a command line as it would be typed; see :func:`shown`."""
    return " ".join(map(shown, words))


def literal(text: str) -> str:
    """Return a text with escapes for line ends, control characters, and others that cannot be seen."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
