"""What ModelDB says to people: warnings at the line of their program that led to them, and commands to type."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBWarning

if TYPE_CHECKING:
    from types import FrameType

_INSIDE = frozenset({"modeldb_core", "modeldb_sklearn", "modeldb_lightning", "modeldb_server", "pluggy", "contextlib"})


def warn(message: str) -> None:
    """Emit a :class:`~modeldb_core.errors.ModelDBWarning` at the innermost caller that is not part of ModelDB."""
    level = 2  # the caller of this function
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        level += 1
        frame = frame.f_back
    warnings.warn(as_typed(message), ModelDBWarning, stacklevel=level)


def command_line(*arguments: str) -> str:
    """Return how to call ``modeldb`` with arguments in a shell: as it is, or by its path where that would not find it."""
    if not sys.executable:  # Python is a part of another program
        return shlex.join(["modeldb", *arguments])
    found = shutil.which("modeldb")
    beside = Path(sys.executable).parent
    if found is not None and os.path.samefile(Path(found).parent, beside):
        return shlex.join(["modeldb", *arguments])
    return shlex.join([sys.executable, "-m", "modeldb_core", *arguments])


def listing(command: str, url: str, what: str = "there is") -> str:
    """Return the hint at a command that lists what a store has; it works as printed in any folder."""
    return f"`{shlex.join(['modeldb', *command.split(), '--url', url])}` lists what {what}"


def as_typed(text: str) -> str:
    """Return what is said to people, with the commands that it names as they are typed here."""
    return re.sub(r"(?<![\w/.'\"])modeldb(?= [a-z])", lambda _: command_line(), text)
