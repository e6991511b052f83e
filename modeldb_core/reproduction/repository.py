"""The repository that recorded code is taken from: asked as ``context/git.py`` asks, so that nothing of it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modeldb_core.context.code import repository_root
from modeldb_core.context.deadline import Deadline
from modeldb_core.context.git import Repository, UnsafeRepositoryError, open_repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.reproduction.differences import Files

GIT_TIMEOUT_S = 60.0
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def is_commit(value: object) -> bool:
    """Return whether something is the whole name of a commit, and so nothing that git takes for an option."""
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def find_repository(folder: Path) -> Repository | None:
    """Return the repository that a folder lies in; ``None`` where there is none that can be asked."""
    root = repository_root(folder)
    try:
        return None if root is None else open_repository(root, Deadline(GIT_TIMEOUT_S))
    except (OSError, UnsafeRepositoryError):
        return None


def has_commit(repository: Repository, commit: str) -> bool:
    """Return whether a commit is in a repository."""
    asked = ["cat-file", "-e", f"{commit}^{{commit}}"]
    return is_commit(commit) and repository.ask(asked, Deadline(GIT_TIMEOUT_S)).exit_code == 0


def changed_files(repository: Repository, first: str, second: str) -> Files | None:
    """Return by path how files differ between two commits: git's short digests of both, "" where there is no file.

    ``None`` where the repository does not have both commits, or git does not answer.
    """
    if not (has_commit(repository, first) and has_commit(repository, second)):
        return None
    output = repository.ask(["diff-tree", "-r", "-z", "--no-renames", first, second], Deadline(GIT_TIMEOUT_S))
    if not output.is_complete or output.exit_code != 0 or output.size_bytes > len(output.text):
        return None
    parts = output.text.decode("utf-8", "replace").split("\0")
    found = {}
    for described, path in zip(parts[::2], parts[1::2], strict=False):
        before, after = described.split(" ")[2:4]
        found[path] = ("" if not before.strip("0") else before[:12], "" if not after.strip("0") else after[:12])
    return found


def files_between(folder: Path) -> Callable[[str, str], Files | None]:
    """Return what tells how files differ between two commits, from the repository that ``folder`` lies in."""

    def changed(first: str, second: str) -> Files | None:
        repository = find_repository(folder.absolute())
        return None if repository is None else changed_files(repository, first, second)

    return changed
