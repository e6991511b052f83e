"""Reading the uncommitted changes that a run recorded: the output of ``git diff``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import ReproductionError
from modeldb_core.runtime.redaction import HIDDEN

if TYPE_CHECKING:
    from pathlib import Path

_SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HEADER = re.compile(
    r"diff --git |index |(?:old|new|new file|deleted file) mode |(?:dis)?similarity index |(?:rename|copy) (?:from|to) "
    r"|--- |\+\+\+ |Binary files "
)


@dataclass(frozen=True, slots=True)
class FilePatch:
    """The changes of one file.

    Attributes:
        path: of the file, in the repository.
        text: the lines of the patch, with their header.
    """

    path: str
    text: str

    @property
    def is_binary(self) -> bool:
        """Whether the patch only says that a binary file differs."""
        return re.search(r"^Binary files .* differ$", self.text, re.MULTILINE) is not None

    @property
    def summary(self) -> str:
        """How many lines were added and removed, and the beginning of the digest of the patch."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        if self.is_binary:
            return f"binary, patch {digest}"
        body = self.text.partition("\n@@")[2]
        added, removed = (len(re.findall(f"^{sign}", body, re.MULTILINE)) for sign in ("[+]", "-"))
        return f"+{added} -{removed}, patch {digest}"


def split_patch(text: str) -> dict[str, FilePatch]:
    """Return the files that a ``git diff`` changes, by path."""
    parts = [part for part in _SECTION.split(text) if part.startswith("diff --git ")]
    return {patch.path: patch for patch in (FilePatch(_path_of(part), part) for part in parts)}


def check_patch(text: str) -> None:
    """Refuse a patch that would change files that :func:`split_patch` does not name.

    Git also applies what follows the last hunk of a file, and a second patch of the same file: whoever is shown one would
    agree to the other.

    Raises:
        ReproductionError: the message names the file and the line.
    """
    parts = [part for part in _SECTION.split(text) if part.startswith("diff --git ")]
    seen: set[str] = set()
    for part in parts:
        path, strange = _path_of(part), _strange_line(part)
        if strange is None and path in seen:
            strange = "a second patch of it"
        if strange is not None:
            msg = (
                f"the recorded changes of {path!r:.200} are not what git writes ({strange!r:.100}), so what they would "
                "change cannot be shown; they are not applied"
            )
            raise ReproductionError(msg)
        seen.add(path)


def _strange_line(part: str) -> str | None:
    """Return the first line of the patch of one file that is no part of its header or of a hunk."""
    lines = part.removesuffix("\n").split("\n")
    starts = lines[: next((at for at, line in enumerate(lines) if line[:2] == "@@"), len(lines))]
    for mark in ("--- ", "+++ ", "rename to ", "copy to "):
        marked = [line for line in starts if line.startswith(mark)]
        if len(marked) > 1:
            return marked[1]
    old = new = 0
    in_hunks = False
    for line in lines:
        if old > 0 or new > 0:
            if line[:1] not in ("", " ", "+", "-", "\\"):
                return line
            old -= line[:1] in ("", " ", "-")
            new -= line[:1] in ("", " ", "+")
        elif (found := _HUNK.match(line)) is not None:
            in_hunks = True
            old, new = (int(count or 1) for count in found.groups()[1:])
        elif in_hunks:
            if line[:1] != "\\":
                return line
        elif _HEADER.match(line) is None:
            return line
    return None if (old, new) == (0, 0) else "a hunk that ends early"


def _path_of(part: str) -> str:
    head = part.partition("\n@@")[0]
    for mark in ("+++ b/", "rename to ", "--- a/"):
        if (found := re.search(rf"^{re.escape(mark)}(.+?)\t?$", head, re.MULTILINE)) is not None:
            return found[1]
    names = part.partition("\n")[0].removeprefix("diff --git ")
    first, second = names[: len(names) // 2], names[len(names) // 2 + 1 :]
    return second[2:] if first[2:] == second[2:] else names  # what git quotes stays as git writes it


def restore_hidden(patch: FilePatch, code: Path) -> str:
    """Return a patch with the secrets that were hidden in it put back where the file that it changes still has them.

    A secret in a line that the patch adds stays hidden: nothing knows it.
    """
    path = code / patch.path
    if HIDDEN not in patch.text or not path.is_file() or not path.resolve().is_relative_to(code.resolve()):
        return patch.text
    old = path.read_bytes().decode("utf-8", "replace").split("\n")
    lines, number = patch.text.split("\n"), -1
    for index, line in enumerate(lines):
        if (found := _HUNK.match(line)) is not None:
            number = int(found[1]) - 1
        elif number >= 0 and line[:1] in (" ", "-"):
            if HIDDEN in line and number < len(old):
                lines[index] = line[0] + old[number]
            number += 1
    return "\n".join(lines)
