"""Describing what goes into a commit: settings, an environment, the state of the code."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.context.code import describe_git
from modeldb_core.context.deadline import Deadline
from modeldb_core.context.environment import describe_packages, describe_python
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.plugins import load_settings
from modeldb_core.repositories.blobs import CODE, CONFIG, ENVIRONMENT, Blob
from modeldb_core.runtime.redaction import redact_arguments

if TYPE_CHECKING:
    from modeldb_core.config import Settings

_GIT_NAMES = {"remote", "commit", "branch", "dirty", "diff", "diff_truncated", "untracked", "untracked_count"}


def configuration(
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    ranges: Mapping[str, Sequence[float]] | None = None,
    sets: Mapping[str, Sequence[Any]] | None = None,
) -> Blob:
    """Describe settings: values, and for a search what they are chosen from.

    Args:
        hyperparameters: values by name; maps within are compared and merged setting by setting.
        ranges: begin and end of a setting that is chosen, and a step where it goes by steps: ``{"lr": (1e-4, 1e-1)}``.
        sets: the values of a setting that is chosen: ``{"optimizer": ["sgd", "adam"]}``.

    Raises:
        InvalidArgumentError: a name is there twice, or a range is not two or three numbers.
    """
    spans = {name: _range(name, span) for name, span in (ranges or {}).items()}
    content = {
        "hyperparameters": dict(hyperparameters or {}),
        "ranges": spans,
        "sets": {name: list(values) for name, values in (sets or {}).items()},
    }
    return Blob(CONFIG, {name: value for name, value in content.items() if value})


def _range(name: str, span: Sequence[float]) -> dict[str, float]:
    given: object = span
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) not in (2, 3):
        msg = f"the range of {name!r:.80} is {given!r:.80}; expected (begin, end) or (begin, end, step)"
        raise InvalidArgumentError(msg)
    return dict(zip(("begin", "end", "step"), given, strict=False))


def python_environment(
    *,
    requirements: Iterable[str] | None = None,
    constraints: Iterable[str] | None = None,
    variables: Iterable[str] | Mapping[str, str] = (),
    command: bool = False,
) -> Blob:
    """Describe the environment of this process: interpreter, and the versions of all packages that can be imported.

    Args:
        requirements: what is required, as pip takes it: ``["numpy>=2", "scipy"]``.
        constraints: likewise.
        variables: names of environment variables whose values belong to it; or a map. Secrets are hidden.
        command: whether the command line belongs to it, without secrets.
    """
    settings, deadline = load_settings(), Deadline(60.0)
    content: dict[str, Any] = {"type": "python"}
    found = describe_python(settings, deadline)
    content |= {"python": found["python"], "implementation": found["implementation"], "platform": sys.platform}
    content["packages"] = describe_packages(settings, deadline)["packages"]
    for name, given in (("requirements", requirements), ("constraints", constraints)):
        if given is not None:
            content[name] = dict(_requirement(each, name) for each in given)
    return Blob(ENVIRONMENT, {**content, **_running(variables, command=command)})


def docker_environment(
    repository: str,
    *,
    tag: str = "",
    sha: str = "",
    variables: Iterable[str] | Mapping[str, str] = (),
    command: bool = False,
) -> Blob:
    """Describe an environment that is an image: its repository, and a tag or (better, for it stays) a digest.

    Raises:
        InvalidArgumentError: there is neither tag nor digest.
    """
    if not tag and not sha:
        msg = f"the image {repository!r:.80} has neither tag nor sha; name the one that is used"
        raise InvalidArgumentError(msg)
    image = {name: value for name, value in (("repository", repository), ("tag", tag), ("sha", sha)) if value}
    return Blob(ENVIRONMENT, {"type": "docker", **image, **_running(variables, command=command)})


def git_snapshot(
    *, remote: str = "", commit: str = "", branch: str = "", tag: str = "", dirty: bool | None = None
) -> Blob:
    """Describe the state of the code: of the git repository that holds the running script, or the one that is named.

    Args:
        remote, commit, branch, tag, dirty: what is known of another repository; without ``commit`` and ``tag`` git is asked.

    Raises:
        InvalidArgumentError: the script lies in no git repository, or git does not answer.
    """
    content: dict[str, Any] = {}
    if not commit and not tag:
        content = _git(load_settings(), needed=True)
    given = {"remote": remote, "commit": commit, "branch": branch, "tag": tag}
    content |= {name: value for name, value in given.items() if value}
    return Blob(CODE, {"type": "git", **content, **({} if dirty is None else {"dirty": dirty})})


def notebook(path: str | os.PathLike[str]) -> Blob:
    """Describe a notebook: the digest and size of its file, and the state of the git repository of the program.

    Raises:
        NotFoundError: there is no such file.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        msg = f"there is no notebook {str(file)!r}; expected the path of a file"
        raise NotFoundError(msg) from error
    content: dict[str, Any] = {"type": "notebook", "path": file.as_posix(), "size_bytes": len(data)}
    content["sha256"] = hashlib.sha256(data).hexdigest()
    git = _git(load_settings(), needed=False)
    return Blob(CODE, {**content, **({"git": git} if git else {})})


def _git(settings: Settings, *, needed: bool) -> dict[str, Any]:
    found = describe_git(settings, Deadline(settings.capture_timeout_s))
    if needed and "commit" not in found:
        why = found.get("git_error", "the script lies in no git repository that has a commit")
        msg = f"there is no state of the code to record: {why}; name it: git_snapshot(remote=..., commit=...)"
        raise InvalidArgumentError(msg)
    return {name: value for name, value in found.items() if name in _GIT_NAMES}


def _requirement(text: str, what: str) -> tuple[str, str]:
    given: object = text
    if not isinstance(given, str):
        msg = f"{what} holds {given!r:.80}; expected texts such as 'numpy>=2'"
        raise InvalidTypeError(msg)
    end = next((at for at, letter in enumerate(given) if letter in "<>=!~;@ "), len(given))
    name = given[:end].strip()
    if not name:
        msg = f"{what} holds {given!r:.80}; expected the name of a package and what version it may have, such as 'numpy>=2'"
        raise InvalidArgumentError(msg)
    return name, given[end:].strip()


def _running(variables: Iterable[str] | Mapping[str, str], *, command: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(variables, str):
        msg = f"variables is the text {variables!r:.80}; expected a list of names: [{variables!r:.80}]"
        raise InvalidTypeError(msg)
    if isinstance(variables, Mapping):
        found["variables"] = dict(variables)
    elif names := list(variables):
        found["variables"] = {name: os.environ[name] for name in names if name in os.environ}
    if command:
        found["command"] = redact_arguments(list(getattr(sys, "orig_argv", None) or sys.argv))
    return found
