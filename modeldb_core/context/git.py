"""Asks git about a repository without running a program that the repository names.

The configuration of a repository comes with the repository, so it may be a stranger's: an unpacked archive is enough.
git itself runs nothing by being asked for a status or a diff, but the configuration can name programs for it: filters,
monitors of the file system, external diffs, text converters, hooks, pagers, commands of transports. Each is switched off here. What
the *user's* configuration names is left alone, such as the filter of Git LFS; git checks the owner (``safe.directory``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from modeldb_core.context.deadline import Deadline, Output, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_OPTIONS = (
    "--no-optional-locks",  # which also runs no hook: the index is not written
    "--no-pager",
    "--literal-pathspecs",
)
_CONFIGURATION = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "credential.helper=",
    "diff.external=",
    "status.submoduleSummary=false",
    "safe.bareRepository=explicit",  # a folder of a working tree that looks like a repository is none
)
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",  # of a partial clone, which would run the commands of a transport
    "GIT_ALLOW_PROTOCOL": "none",  # the same for a git that does not know the variable above
}
_REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
"""Set by git in hooks; they would name another repository than the one of the script."""

_FILTER_COMMANDS = ("clean", "smudge", "process")
_OF_THE_REPOSITORY = ("local", "worktree")


class UnsafeRepositoryError(Exception):
    """The configuration of the repository cannot be made harmless, or not be read."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A working tree that git may be asked about.

    Attributes:
        root: the folder that holds ``.git``.
        filters: names of the filters that are switched off, since the repository's own configuration defines them:
            files that they apply to may read as changed.
        remotes: URLs by name, as configured.
    """

    root: Path
    filters: tuple[str, ...]
    remotes: dict[str, str]

    def ask(self, arguments: list[str], deadline: Deadline, limit_bytes: int = 4_000_000, *, index: str = "") -> Output:
        """Run ``git`` with these arguments.

        Args:
            index: a file to use in place of the repository's index.

        Raises:
            OSError: git cannot be started.
        """
        off = (f"filter.{name}.{key}" for name in self.filters for key in _FILTER_COMMANDS)
        optional = (f"filter.{name}.required=false" for name in self.filters)
        settings = (*(f"{key}=" for key in off), *optional)
        return _run(self.root, arguments, deadline, limit_bytes, settings, {"GIT_INDEX_FILE": index} if index else {})


def open_repository(root: Path, deadline: Deadline) -> Repository:
    """Read the configuration of the repository whose working tree is ``root``.

    Raises:
        OSError: git cannot be started.
        UnsafeRepositoryError: git did not answer, refused, or the configuration cannot be made harmless.
    """
    output = _run(root, ["config", "--list", "--show-scope", "-z"], deadline)
    if not output.is_complete:
        msg = "git did not answer in time"
        raise UnsafeRepositoryError(msg)
    if output.exit_code != 0 or output.size_bytes > len(output.text):
        msg = output.errors.partition("\n")[0] or "the configuration of the repository cannot be read"
        raise UnsafeRepositoryError(msg)
    filters: set[str] = set()
    remotes: dict[str, str] = {}
    for scope, key, value in _entries(output.text.decode("utf-8", "surrogateescape")):
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "remote" and variable == "url":
            remotes.setdefault(name, value)
        if section == "filter" and variable in _FILTER_COMMANDS and scope in _OF_THE_REPOSITORY:
            if "=" in name:  # an option of the command line cannot name it
                msg = f"the repository configures a filter of the name {name!r}, which cannot be switched off"
                raise UnsafeRepositoryError(msg)
            filters.add(name)
    return Repository(root, tuple(sorted(filters)), remotes)


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Iterate over scope, key and value of what ``git config --list --show-scope -z`` printed."""
    parts = text.split("\0")
    for scope, entry in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = entry.partition("\n")
        yield scope, key, value


def _run(
    root: Path,
    arguments: list[str],
    deadline: Deadline,
    limit_bytes: int = 4_000_000,
    settings: tuple[str, ...] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Output:
    given = [part for setting in (*_CONFIGURATION, *settings) for part in ("-c", setting)]
    # The working tree is where .git was found; "core.worktree" could name any folder of this machine.
    command = ["git", *_OPTIONS, f"--work-tree={root}", *given, *arguments]
    environ = {name: value for name, value in os.environ.items() if name not in _REDIRECTIONS}
    environ |= {**_ENVIRONMENT, **variables}
    return run_program(command, deadline, directory=root, environ=environ, limit_bytes=limit_bytes)


def fetch_commit(folder: Path, url: str, commit: str, deadline: Deadline) -> Output:
    """Make a new repository in ``folder``, which exists, and fetch one commit into it, over HTTPS or SSH.

    Stored credentials are not used: the address comes from a record.

    Raises:
        OSError: git cannot be started.
    """
    made = _run_outside(folder, ["init", "--quiet", "--template="], deadline)
    if made.exit_code != 0:
        return made
    asked = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1", "--end-of-options", url, commit]
    ssh = ("core.sshCommand=ssh",)
    return _run(folder, asked, deadline, settings=ssh, variables={"GIT_ALLOW_PROTOCOL": "https:ssh"})


def apply_patch(folder: Path, patch: Path, deadline: Deadline) -> Output:
    """Apply a patch to the files of ``folder``; git refuses one that leads outside of it, also through links.

    Raises:
        OSError: git cannot be started.
    """
    return _run_outside(folder, ["apply", "--whitespace=nowarn", "--", str(patch)], deadline)


def _run_outside(folder: Path, arguments: list[str], deadline: Deadline) -> Output:
    """Run git in a folder that is in no repository, or is not to be taken for a part of one."""
    environ = {name: value for name, value in os.environ.items() if name not in _REDIRECTIONS}
    environ |= {**_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return run_program(["git", *_OPTIONS, *arguments], deadline, directory=folder, environ=environ)
