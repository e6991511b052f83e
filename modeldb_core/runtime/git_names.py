"""Names that git takes for its own folder: what stands there may be run by the next ``git`` command."""

from __future__ import annotations

import unicodedata

GITS = "git's own"
"""Why something of such a name is left out."""


def is_git_name(part: str) -> bool:
    """Return whether a part of a path is git's folder on some machine: in any case, as the short name, or as Windows and macOS read it."""
    if "git" not in part.casefold() and part.isascii():
        return False
    seen = "".join(letter for letter in part if unicodedata.category(letter) != "Cf")
    return seen.casefold().partition(":")[0].rstrip(" .") in (".git", "git~1")
