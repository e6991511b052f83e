"""The environment that a run is repeated in: the present one where it is the same, else one that uv builds.

uv is given names and exact versions only, each checked (``record.py``), without their dependencies: the record lists all
packages. It installs wheels, which run nothing; what would have to be built, or comes from a URL, is installed where the
user has asked for that alone.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from modeldb_core.context.deadline import Deadline, run_program
from modeldb_core.context.environment import describe_installed
from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.command import shown
from modeldb_core.runtime.redaction import redact_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modeldb_core.context.deadline import Output
    from modeldb_core.reproduction.record import Recording

Mode: TypeAlias = Literal["auto", "here", "new"]

BUILD_TIMEOUT_S = 3600.0
_SCHEMES = ("https://", "file://", "git+https://", "git+ssh://")
_NOT_FOR_PROGRAMS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables of this process that would lead the interpreter of another environment astray."""
_DESCRIBE = """
import sys
print(*sys.version_info[:3], sep=".")
print(sys.implementation.name)
print(*sys.path, sep="\\n")
"""
_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentPlan:
    """Which environment a run is to be repeated in.

    Attributes:
        is_here: the one that this process runs in.
        differences: how the one that this process runs in differs from the recorded one.
        python: name and version of the interpreter.
        requirements: packages of an index.
        urls: requirements that come from elsewhere.
        options: where uv looks for packages.
        builds: whether packages may be built, which runs their code.
    """

    is_here: bool
    differences: tuple[str, ...]
    python: str
    requirements: tuple[str, ...]
    urls: tuple[str, ...]
    options: tuple[str, ...]
    builds: bool

    def lines(self) -> list[str]:
        """Return what is to be done, for people; every package is named."""
        if self.is_here:
            if not self.differences:
                return ["this one: the same Python and every recorded package in its recorded version"]
            return ["this one, as asked for, although it differs:", *(f"  {each}" for each in self.differences)]
        where = " ".join(redact_arguments(self.options)) or "the index that uv is configured for"
        how = "archives are built, which runs their code" if self.builds else "wheels only, which run nothing"
        lines = [
            f"a new one, built by uv with {self.python} and {len(self.requirements):,} packages from {where} ({how}):"
        ]
        lines += [f"  {each}" for each in self.requirements]
        lines += [f"  {shown(each)} (not from an index: built there, which runs its code)" for each in self.urls]
        return lines


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that programs can be run in.

    Attributes:
        python: its interpreter.
        differences: how it differs from the recorded one.
        is_here: it is the one of this process.
    """

    python: str
    differences: tuple[str, ...]
    is_here: bool


def plan_environment(
    recording: Recording,
    mode: Mode,
    *,
    options: Sequence[str] = (),
    allow_urls: bool = False,
    allow_builds: bool = False,
) -> EnvironmentPlan:
    """Decide on an environment.

    Args:
        recording: what the run recorded.
        mode: ``auto`` takes the present one where it is the same, ``here`` in any case, ``new`` never.
        options: for uv, such as ``--find-links FOLDER``.
        allow_urls: packages that came from no index may be installed from where they came from.
        allow_builds: packages without a wheel may be built.

    Raises:
        ReproductionError: a package came from no index, and that is not allowed, or cannot be.
    """
    differences = _differences_of(Path(sys.executable), recording)
    is_here = mode == "here" or (mode == "auto" and not differences)
    if not is_here:
        _check_sources(recording.sources, differences, allow_urls=allow_urls)
    pinned = [f"{name}=={number}" for name, number in recording.packages.items() if name not in recording.sources]
    urls = [
        source if source.startswith("-e ") else f"{name} @ {source}"
        for name, source in recording.sources.items()
        if name in recording.packages
    ]
    return EnvironmentPlan(
        is_here=is_here,
        differences=tuple(differences),
        python=f"{recording.implementation} {recording.python}",
        requirements=tuple(pinned),
        urls=tuple(urls),
        options=tuple(options),
        builds=allow_builds,
    )


def _python_for(recording: Recording, version: str) -> str:
    """Return what uv is asked for: the interpreter of this process where it has the version, so that none is looked for."""
    here = f"{platform.python_version()}."
    is_this = recording.implementation == sys.implementation.name and here.startswith(f"{version}.")
    return sys.executable if is_this else f"{recording.implementation}@{version}"


def _check_sources(sources: Mapping[str, str], differences: Sequence[str], *, allow_urls: bool) -> None:
    if not sources:
        return
    named = ", ".join(f"{name} from {shown(source)}" for name, source in list(sources.items())[:_SHOWN])
    if not allow_urls:
        msg = (
            f"{len(sources)} packages came from no index, and nothing is installed from elsewhere unasked: {named}. --allow-urls installs "
            f"them from there, which runs their code; --environment here takes the present environment, which differs in: "
            f"{_some(differences)}"
        )
        raise ReproductionError(msg)
    for name, source in sources.items():
        if not source.removeprefix("-e ").startswith(_SCHEMES) or "$" in source:
            msg = f"{name} came from {shown(source)}; only {', '.join(_SCHEMES)} are installed from"
            raise ReproductionError(msg)


def _package_differences(recording: Recording, packages: Mapping[str, str], sources: Mapping[str, str]) -> list[str]:
    found = []
    for name, version in recording.packages.items():
        source = recording.sources.get(name, "")
        if packages.get(name) != version:
            found.append(f"{name} {version} (here {packages.get(name, 'not installed')})")
        elif sources.get(name, "") != source:
            found.append(
                f"{name} {version} from {shown(source or 'an index')} (here from {sources.get(name) or 'an index'})"
            )
    return found


def build(plan: EnvironmentPlan, recording: Recording, folder: Path) -> Environment:
    """Make the environment of a plan; a new one lies in ``folder / "environment"``.

    Raises:
        ReproductionError: uv is not here, or could not build it; the message says what is missing.
    """
    if plan.is_here:
        return Environment(sys.executable, plan.differences, is_here=True)
    uv, target = _find_uv(), folder / "environment"
    for version in (recording.python, recording.python.rpartition(".")[0]):  # or the nearest one of the same language
        made = _uv(uv, folder, ["venv", "--no-project", "--python", _python_for(recording, version), str(target)])
        if made.exit_code == 0:
            break
    else:
        raise _not_built(plan, f"there is no {plan.python}", made)
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{line}\n" for line in (*plan.requirements, *plan.urls)), "utf-8")
    wheels = [] if plan.builds else [f"--only-binary={name.partition('==')[0]}" for name in plan.requirements]
    asked = ["pip", "install", "--no-deps", "--python", str(python), *wheels, *plan.options, "-r", str(listed)]
    done = _uv(uv, folder, asked)
    if done.exit_code != 0:
        raise _not_built(plan, "not every recorded package can be installed", done)
    return Environment(str(python), tuple(_differences_of(python, recording)), is_here=False)


def _differences_of(python: Path, recording: Recording) -> list[str]:
    """Return how what an interpreter sees differs from the recorded environment."""
    asked = run_program([str(python), "-P", "-c", _DESCRIBE], Deadline(60), environ=program_environment())
    version, implementation, *path = asked.text.decode("utf-8", "replace").splitlines()
    here, then = f"{implementation} {version}", f"{recording.implementation} {recording.python}"
    return [
        *([] if here == then else [f"{then} (here {here})"]),
        *_package_differences(recording, *describe_installed(path)),
    ]


def _find_uv() -> str:
    beside = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
    found = shutil.which("uv", path=beside)
    if found is None:
        msg = "uv builds environments and is not installed: pip install uv; or --environment here takes the present one"
        raise ReproductionError(msg)
    return found


def _uv(uv: str, folder: Path, arguments: Sequence[str]) -> Output:
    """Run uv; it reads no configuration file, since one that lies above ``folder`` may be a stranger's."""
    command = [uv, "--no-config", "--no-progress", "--color", "never", *arguments]
    return run_program(command, Deadline(BUILD_TIMEOUT_S), directory=folder, environ=program_environment())


def program_environment(**more: str) -> dict[str, str]:
    """Return the variables for a program of another environment: those of this process, without ModelDB's own.

    Nothing in them comes from a record.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MODELDB_") and name not in _NOT_FOR_PROGRAMS
    }
    return {**kept, **more}


def _not_built(plan: EnvironmentPlan, what: str, output: Output) -> ReproductionError:
    said = " ".join(line.strip() for line in output.errors.splitlines() if line.strip())
    reason = said if output.is_complete else f"it took more than {BUILD_TIMEOUT_S:.0f} s"
    return ReproductionError(
        f"the environment cannot be built: {what}. uv says: {reason[:1000]}. What the record has and this environment has not: "
        f"{_some(plan.differences) or 'nothing'}. --find-links FOLDER names a folder of wheels, --index-url another index; "
        f"--environment here takes the present environment"
    )


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
