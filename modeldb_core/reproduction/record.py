"""What a run recorded, as far as repeating it goes: read from a document that anybody may have written, and checked.

Of the record come the words of a command, names and versions of packages, a commit, a patch, and where data lay. No
environment variable is ever taken from it, nor anything that a shell would see.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.command import Command, literal, parse_command, shown
from modeldb_core.reproduction.repository import is_commit
from modeldb_core.runtime.redaction import HIDDEN

if TYPE_CHECKING:
    from modeldb_core.model.entities import Run
    from modeldb_core.reproduction.values import Resolve

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.+!_-]{0,126}[A-Za-z0-9])?")
_PYTHON = re.compile(r"\d{1,2}\.\d{1,3}\.\d{1,3}")
_IMPLEMENTATION = re.compile(r"[a-z]{2,20}")
_SOURCE = re.compile(r"(?:-e )?[a-z][a-z0-9+.-]*://[!-~]+|unknown")


@dataclass(frozen=True, slots=True)
class Place:
    """Where code lay.

    Attributes:
        root: the folder of the repository, or of the script; absolute.
        folder: the working folder, relative to it; "." for itself.
    """

    root: str
    folder: str

    def inside(self, path: str) -> str | None:
        """Return an absolute path, or one relative to the working folder, as relative to the root; ``None`` if outside."""
        whole = posixpath.normpath(posixpath.join(self.root, self.folder, path))
        for root in dict.fromkeys((self.root, os.path.realpath(self.root))):
            if whole == root or whole.startswith(f"{root.rstrip('/')}/"):
                return posixpath.relpath(whole, root)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is needed to repeat a run.

    Attributes:
        command: what is run; a path in it is relative to the working folder.
        is_given: the command is not the recorded one but was given by the user.
        place: where the code lay.
        executable_folder: where the interpreter and the programs of its environment lay; "" where that is not known.
        commit: of the code; "" where it was in no repository.
        remote: where the repository came from; "" where that is not known.
        patch: the uncommitted changes.
        source: the text of the script, where no commit holds it.
        script: where that lay, relative to the root; "" where there is none.
        python, implementation: version and name of the interpreter.
        packages: versions by name.
        sources: of packages that came from no index, what they came from.
        datasets: by role, what is known of the data.
        gaps: why the repetition cannot be exact, for people.
    """

    command: Command
    is_given: bool
    place: Place
    executable_folder: str
    commit: str
    remote: str
    patch: str
    source: str | None
    script: str
    python: str
    implementation: str
    packages: Mapping[str, str]
    sources: Mapping[str, str]
    datasets: Mapping[str, Mapping[str, Any]]
    gaps: tuple[str, ...]


def read_record(run: Run, resolve: Resolve, command: Sequence[str] = ()) -> Recording:
    """Read what is needed to repeat a run.

    Args:
        run: the run.
        resolve: reads values that were moved to the artifact store.
        command: the script or options and arguments to run in place of the recorded command.

    Raises:
        ReproductionError: something is missing, or is not what it would have to be; the message says what.
    """
    code, context, environment = (
        {key: resolve(value) for key, value in part.items()} for part in (run.code, run.context, run.environment)
    )
    recorded = context.get("command")
    words = ["python", *command] if command else recorded
    if not command:
        _check_recorded(code, context)
    parsed = parse_command(words if isinstance(words, Sequence) and not isinstance(words, str) else ())
    place = _place(code, context, recorded)
    python = _text(environment, "python", _PYTHON)
    if not python:
        msg = "the run did not record its environment (capture.enabled), so it cannot be repeated"
        raise ReproductionError(msg)
    source = code["source"] if isinstance(code.get("source"), str) else None
    path = _path(code, "script")
    script = place.inside(path) if path and source is not None else None
    recording = Recording(
        command=parsed,
        is_given=bool(command),
        place=place,
        executable_folder=posixpath.dirname(_text(environment, "executable")),
        commit=_commit(code),
        remote=_text(code, "remote"),
        patch=_patch(code),
        source=source if script else None,
        script=script or "",
        python=python,
        implementation=_text(environment, "implementation", _IMPLEMENTATION) or "cpython",
        packages=_packages(environment),
        sources=_sources(environment),
        datasets={role: entry for role, entry in run.datasets.items() if isinstance(entry, Mapping)},
        gaps=tuple(_gaps(code)),
    )
    return replace(recording, command=_located(recording))


def _check_recorded(code: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    """See that the recorded command can be repeated at all."""
    after = "give the command yourself after --, such as: modeldb reproduce RUN --"
    if notebook := code.get("notebook"):
        name = shown(posixpath.basename(str(notebook)))
        msg = (
            f"the run was logged from the notebook {shown(str(notebook))}, which is run by hand: its cells have no command. Where the "
            f"notebook is in the repository, {after} -m jupyter execute {name}"
        )
        raise ReproductionError(msg)
    if context.get("command_redacted"):
        msg = f"{_count(context, 'command_redacted')} secrets of the recorded command are hidden ({HIDDEN}), so it cannot be repeated as it is; {after} train.py --token ..."
        raise ReproductionError(msg)


def _place(code: Mapping[str, Any], context: Mapping[str, Any], recorded: object) -> Place:
    """Work out where the code lay and from which folder it was started.

    A script may have changed the folder before the run began: a relative path in the command tells where it began itself.
    """
    folder, script = _path(context, "working_directory"), _path(code, "script")
    if script and isinstance(recorded, Sequence):
        for word in recorded[1:]:
            given = posixpath.normpath(word) if isinstance(word, str) else ""
            if given.endswith(".py") and not given.startswith(("/", "..")) and script.endswith(f"/{given}"):
                folder = script.removesuffix(f"/{given}") or "/"
    root = _path(code, "repository")
    if not root:
        root = folder if folder and (not script or script.startswith(f"{folder}/")) else posixpath.dirname(script)
    if not root:
        msg = "the run recorded neither a working folder nor a script (capture.command), so it is not known what to run"
        raise ReproductionError(msg)
    inside = Place(root, ".").inside(folder) if folder else None
    return Place(root, inside or ".")


def _located(recording: Recording) -> Command:
    """Return the command with paths that are relative to the working folder, where they lie in the recorded code.

    Raises:
        ReproductionError: the script lies elsewhere.
    """
    command, place = recording.command, recording.place
    arguments = tuple(_moved(argument, place) for argument in command.arguments)
    if command.target != "script":
        return replace(command, arguments=arguments)
    folder = recording.executable_folder
    if folder and posixpath.isabs(command.name) and posixpath.dirname(command.name) == folder:
        return replace(command, arguments=arguments)  # a program of the environment, such as torchrun
    if place.inside(command.name) is None:
        msg = (
            f"the script {shown(command.name)} lies outside of {shown(place.root)}, of which the code was recorded; give the command "
            "yourself after --, if you have the script"
        )
        raise ReproductionError(msg)
    return replace(command, name=_moved(command.name, place), arguments=arguments)


def _moved(argument: str, place: Place) -> str:
    """Return an absolute path within the recorded code as relative to the working folder; anything else as it is."""
    inside = place.inside(argument) if posixpath.isabs(argument) else None
    return argument if inside is None else posixpath.relpath(inside, place.folder)


def _text(values: Mapping[str, Any], key: str, pattern: re.Pattern[str] | None = None) -> str:
    value = values.get(key, "")
    if not isinstance(value, str) or (value and pattern is not None and pattern.fullmatch(value) is None):
        msg = f"the record is not one that ModelDB makes: {key} is {literal(repr(value))[:200]}"
        raise ReproductionError(msg)
    return value


def _path(values: Mapping[str, Any], key: str) -> str:
    value = _text(values, key)
    if value and (not posixpath.isabs(value) or "\0" in value):
        msg = f"{key} of the record is {shown(value)}; expected an absolute path of a POSIX system"
        raise ReproductionError(msg)
    return posixpath.normpath(value) if value else ""


def _commit(code: Mapping[str, Any]) -> str:
    commit = code.get("commit", "")
    if commit and not is_commit(commit):
        msg = f"the recorded commit is {literal(repr(commit))[:100]}; expected 40 or 64 hexadecimal digits"
        raise ReproductionError(msg)
    return str(commit)


def _patch(code: Mapping[str, Any]) -> str:
    patch = code.get("diff", "")
    if code.get("diff_truncated"):
        msg = (
            f"the uncommitted changes were too long and are recorded in part ({_count(code, 'diff_bytes')} bytes in all), so the code "
            "cannot be made again; commit before a run, or raise capture.diff_limit_bytes"
        )
        raise ReproductionError(msg)
    if code.get("dirty") and "diff" not in code:
        msg = "the code had uncommitted changes that were not recorded (capture.diff), so it cannot be made again"
        raise ReproductionError(msg)
    if not isinstance(patch, str):
        msg = "the uncommitted changes cannot be read from the artifact store"
        raise ReproductionError(msg)
    return patch


def _packages(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = environment.get("packages")
    if not isinstance(packages, Mapping) or not packages:
        msg = "the run did not record its packages (capture.packages), or they cannot be read from the artifact store"
        raise ReproductionError(msg)
    for name, version in packages.items():
        if not _NAME.fullmatch(name) or not isinstance(version, str) or not _VERSION.fullmatch(version):
            msg = f"the record names the package {shown(str(name))} in version {shown(str(version))}; no package is called or numbered so"
            raise ReproductionError(msg)
    return dict(packages)


def _sources(environment: Mapping[str, Any]) -> dict[str, str]:
    sources = environment.get("package_sources", {})
    if not isinstance(sources, Mapping):
        msg = f"package_sources of the record is {literal(repr(sources))[:200]}; expected a URL for each package"
        raise ReproductionError(msg)
    for name, source in sources.items():
        if not _NAME.fullmatch(name) or not isinstance(source, str) or not _SOURCE.fullmatch(source):
            msg = f"the record says that {shown(str(name))} came from {shown(str(source))}, which is no URL"
            raise ReproductionError(msg)
    return dict(sources)


def _gaps(code: Mapping[str, Any]) -> list[str]:
    gaps = []
    for key, where in (("diff_redacted", "the uncommitted changes"), ("source_redacted", "the script")):
        if code.get(key):
            gaps.append(f"{_count(code, key)} secrets are hidden ({HIDDEN}) in {where}, which is not exactly what ran")
    if "commit" not in code:
        gaps.append("no commit was recorded: only the script itself, and not what it imports from its folder")
    if code.get("untracked_count"):
        count = _count(code, "untracked_count")
        gaps.append(f"{count} files that were not under version control are not part of the record")
    return gaps


def _count(values: Mapping[str, Any], key: str) -> str:
    return f"{values[key]:,}" if isinstance(values.get(key), int) else "some"
