"""Which code ran: the script, its arguments, and the state of the git repository it lies in."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.context.git import Repository, UnsafeRepositoryError, open_repository
from modeldb_core.context.script import MAIN_FILE
from modeldb_core.runtime.redaction import (
    count_hidden,
    redact_arguments,
    redact_diff,
    redact_message,
    redact_text,
    strip_userinfo,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.config import Settings
    from modeldb_core.context.deadline import Deadline

MAX_UNTRACKED = 1000
"""So many untracked files are listed by name; of more the number is recorded."""


def describe_command(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the command line, without secrets, and the working folder."""
    del settings, deadline
    arguments = list(getattr(sys, "orig_argv", None) or sys.argv)
    shown = redact_arguments(arguments)
    result = {"command": shown, "working_directory": str(Path.cwd()), "process_id": os.getpid()}
    if hidden := count_hidden(arguments, shown):
        result["command_redacted"] = hidden
    return result


def describe_script(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the path of the script or notebook that runs, where there is one."""
    del settings, deadline
    if notebook := _notebook():
        return {"notebook": notebook}
    script = _script()
    return {"script": str(script)} if script else {}


def describe_git(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return commit, branch, remote and uncommitted changes of the repository that holds the script.

    A script that git does not hold is recorded itself: without it nobody could repeat the run. For an interactive session and for a program that is installed, that of the working folder is taken. Nothing is
    returned outside a repository. No program that the repository's configuration names is run (``git.py``).
    """
    root = repository_root(_code_directory())
    if root is None:
        return _source(settings)
    try:
        repository = open_repository(root, deadline)
        status = repository.ask(
            ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty"],
            deadline,
        )
    except OSError:
        return {"git_error": "git is not installed, or cannot be started"}
    except UnsafeRepositoryError as error:
        return {"git_error": redact_message(str(error))}
    if status.exit_code != 0 and status.is_complete:
        return {"git_error": redact_message(status.errors.partition("\n")[0])}
    result = {"repository": str(root), **_parse_status(status.text.decode("utf-8", "replace"))}
    if not status.is_complete:
        result["git_error"] = "git status did not end in time: the list of changes is not complete"
        return result
    if repository.filters:
        result["filters_not_run"] = list(repository.filters)
    if remote := _remote(repository):
        result["remote"] = remote
    if _is_untracked(_script(), root, result.get("untracked", ())):
        result.update(_source(settings))
    if result["dirty"] and settings.capture_diff and settings.capture_diff_limit_bytes and "commit" in result:
        result.update(_diff(repository, settings.capture_diff_limit_bytes, deadline))
    return result


def _script() -> Path | None:
    """Return the file that Python was started with, unless it belongs to the installation, as ``pytest`` does."""
    script = Path(MAIN_FILE)
    if not MAIN_FILE or not script.is_file():  # an interactive session, or a script read from a pipe
        return None
    installed = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    return None if any(script.is_relative_to(prefix) for prefix in installed) else script


def _notebook() -> str | None:
    main = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    name = main.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return str(name) if name and "ipykernel" in sys.modules else None


def _code_directory() -> Path:
    script = _script()
    return script.parent if script and script.parent.is_dir() else Path.cwd()


def repository_root(directory: Path) -> Path | None:
    """Return the folder that holds ``.git``; starting git only to hear that there is no repository costs too much."""
    return next((folder for folder in (directory, *directory.parents) if (folder / ".git").exists()), None)


def _is_untracked(script: Path | None, root: Path, untracked: Sequence[str]) -> bool:
    """Return whether git lists a script, or a folder that it lies in, among what it does not know."""
    if script is None or not script.is_relative_to(root):
        return False
    path = script.relative_to(root).as_posix()
    return any(path == name or (name.endswith("/") and path.startswith(name)) for name in untracked)


def _source(settings: Settings) -> dict[str, Any]:
    """Return the text of the script without secrets, and the digest of the file; nothing of one that is too long."""
    script, limit_bytes = _script(), settings.capture_diff_limit_bytes
    if script is None or not settings.capture_diff or script.stat().st_size > limit_bytes:
        return {}
    content = script.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    shown = redact_text(text)
    result: dict[str, Any] = {"source": shown, "source_digest": hashlib.sha256(content).hexdigest()}
    if hidden := count_hidden([text], [shown]):
        result["source_redacted"] = hidden
    return result


def _parse_status(text: str) -> dict[str, Any]:
    """Return what ``git status --porcelain=v2 --branch -z`` says."""
    result: dict[str, Any] = {"dirty": False}
    untracked: list[str] = []
    for line in text.split("\0"):
        if line.startswith("# branch.oid ") and not line.endswith("(initial)"):
            result["commit"] = line.removeprefix("# branch.oid ")
        elif line.startswith("# branch.head "):
            branch = line.removeprefix("# branch.head ")
            if branch != "(detached)":
                result["branch"] = branch
        elif line.startswith("? "):
            untracked.append(line.removeprefix("? "))
        elif line[:2] in ("1 ", "2 ", "u "):
            result["dirty"] = True
    if untracked:
        result["untracked"] = untracked[:MAX_UNTRACKED]
        result["untracked_count"] = len(untracked)
    return result


def _remote(repository: Repository) -> str | None:
    """Return the URL of ``origin``, or else of the first remote, without credentials."""
    url = repository.remotes.get("origin") or next(iter(repository.remotes.values()), None)
    return strip_userinfo(url) if url else None


def _diff(repository: Repository, limit_bytes: int, deadline: Deadline) -> dict[str, Any]:
    """Return the uncommitted changes as text: at most ``limit_bytes``, whole lines, and how much there is in all."""
    options = ["--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=dirty"]
    output = repository.ask(["diff", "HEAD", *options], deadline, limit_bytes)
    if output.is_complete and output.exit_code != 0:
        return {"diff_error": redact_message(output.errors.partition("\n")[0])}
    is_cut = output.size_bytes > len(output.text) or not output.is_complete
    data = output.text[: output.text.rfind(b"\n") + 1] if is_cut else output.text
    text, hidden = redact_diff(data.decode("utf-8", "replace"))
    result: dict[str, Any] = {"diff": text, "diff_bytes": output.size_bytes}
    if is_cut:
        result["diff_truncated"] = True
    if hidden:
        result["diff_redacted"] = hidden
    return result
