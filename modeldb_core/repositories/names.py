"""What locations, branches and tags may be called, and what names a commit.

For branches and tags the rules are git's (``git check-ref-format``), so that a name here may be one there.
"""

from __future__ import annotations

import re
import unicodedata

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.entities import is_id
from modeldb_core.model.values import check_key, is_digest
from modeldb_core.runtime.git_names import is_git_name

MAX_REFERENCE = 256
"""Characters of the name of a branch or tag."""
MAX_SEGMENT_BYTES = 255
"""Of a part of a location, in UTF-8: what file systems take as a name."""
DEFAULT_BRANCH = "main"

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_STEPS = re.compile(r"(?P<base>.*?)(?P<steps>(?:\^\d*|~\d*)*)", re.DOTALL)
_STEP = re.compile(r"(?P<mark>[\^~])(?P<number>\d*)")
_MAX_STEPS = 100_000


def check_location(location: object) -> str:
    """Return a location: parts joined by "/", normalized (NFC), each of which a file may be called.

    Raises:
        InvalidTypeError: it is not a text.
        InvalidArgumentError: a part is empty, ``.`` or ``..``, too long, or has control characters or a backslash.
    """
    text = unicodedata.normalize("NFC", check_key(location, "location"))
    problem = next(filter(None, map(_problem_of_part, text.split("/"))), "")
    if problem:
        msg = f"location {text[:80]!r} cannot be: {problem}; write it like data/train"
        raise InvalidArgumentError(msg)
    return text


def _problem_of_part(part: str) -> str:
    if not part:
        return "it begins or ends with a slash, or has two in a row"
    if part in (".", ".."):
        return f"{part!r} means another folder"
    if is_git_name(part):
        return f"{part!r:.60} is git's own folder"
    if "\\" in part or any(unicodedata.category(letter) == "Cc" for letter in part):
        return "it has a backslash or control characters"
    if len(part.encode()) > MAX_SEGMENT_BYTES:
        return f"a part of it has {len(part.encode()):,} bytes; at most {MAX_SEGMENT_BYTES} are allowed"
    return ""


def check_reference(name: object, what: str = "branch") -> str:
    """Return the name of a branch or a tag, normalized (NFC).

    Raises:
        InvalidTypeError: it is not a text.
        InvalidArgumentError: git would not take it, it is longer than 256 characters, or it looks like the identifier of a commit.
    """
    text = unicodedata.normalize("NFC", check_key(name, f"name of a {what}"))
    if problem := _problem_of_reference(text):
        msg = f"a {what} cannot be called {text[:80]!r}: {problem}"
        raise InvalidArgumentError(msg)
    return text


def normalized(name: object) -> str:
    """Return the name of a branch or a tag as it is recorded; there need not be one."""
    return unicodedata.normalize("NFC", check_key(name, "name of a branch or tag"))


def _problem_of_reference(text: str) -> str:
    if len(text) > MAX_REFERENCE:
        return f"it has {len(text):,} characters; at most {MAX_REFERENCE} are allowed"
    if found := _FORBIDDEN.search(text):
        return f"{found[0]!r} is not allowed in it"
    if text.startswith(("/", "-")) or text.endswith(("/", ".")):
        return "it begins with a slash or a dash, or ends with a slash or a dot"
    if any(part.startswith(".") or part.endswith(".lock") for part in text.split("/")):
        return "a part of it begins with a dot or ends with .lock"
    if text == "@" or is_id(text) or is_digest(text):
        return "it would be taken for a commit"
    return ""


def split_revision(revision: object) -> tuple[str, list[int]]:
    """Return what a revision begins with, and the steps back from there.

    ``main~2`` is ``("main", [1, 1])``, ``v1^2`` goes to the second parent: ``("v1", [2])``, as in git.

    Raises:
        InvalidTypeError: it is not a text; InvalidArgumentError: it is empty, or goes back too far.
    """
    text = unicodedata.normalize("NFC", check_key(revision, "revision"))
    match = _STEPS.fullmatch(text)
    assert match is not None
    steps: list[int] = []
    for step in _STEP.finditer(match["steps"]):
        number = min(int(step["number"] or 1), _MAX_STEPS + 1)
        steps += [1] * number if step["mark"] == "~" else [number] if number else []
    if not match["base"] or len(steps) > _MAX_STEPS:
        msg = f"revision {text[:80]!r} names no commit; expected a branch, a tag, or a commit, such as main, v1.0, 3f9a1c2e or main~2"
        raise InvalidArgumentError(msg)
    return match["base"], steps
