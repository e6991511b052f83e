"""What the code ran with: Python and the installed packages."""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modeldb_core.config import Settings
    from modeldb_core.context.deadline import Deadline


def describe_python(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the interpreter and its version."""
    del settings, deadline
    version = ".".join(map(str, sys.version_info[:3]))
    return {"python": version, "implementation": sys.implementation.name, "executable": sys.executable}


def describe_packages(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the versions of the packages that can be imported, by their normalized names."""
    del settings, deadline
    folders = tuple((path, _modified(path)) for path in dict.fromkeys(path or "." for path in sys.path))
    return {"packages": _packages(folders)}


@functools.lru_cache(maxsize=2)
def _packages(folders: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Return the packages of the folders, which carry their time of change: an installed package makes a new answer.

    The names of the metadata folders tell name and version (Core metadata, "The .dist-info directory"): reading the
    files would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for folder, modified in folders:
        if modified:
            for name, version in _packages_in(folder):
                found.setdefault(name, version)
    return dict(sorted(found.items()))


def _packages_in(folder: str) -> list[tuple[str, str]]:
    result = []
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # a zip archive, or a folder that went away
        return []
    for entry in names:
        stem, extension = os.path.splitext(entry)
        if extension == ".dist-info":
            name, _, version = stem.partition("-")
        elif extension == ".egg-info":
            name, version = _from_egg(os.path.join(folder, entry), stem)
        else:
            continue
        if name and version:
            result.append((re.sub(r"[-_.]+", "-", name).lower(), version))
    return result


def _from_egg(path: str, stem: str) -> tuple[str, str]:
    """Return name and version of an ``.egg-info`` file or folder, which need not have the version in its name."""
    fields: dict[str, str] = {}
    try:
        with open(os.path.join(path, "PKG-INFO") if os.path.isdir(path) else path, encoding="utf-8") as file:
            for line in file:
                if not line.strip():  # the fields end, a description follows
                    break
                key, _, value = line.partition(": ")
                fields.setdefault(key, value.strip())
    except (OSError, UnicodeDecodeError):
        return stem.partition("-")[0], ""
    return fields.get("Name", ""), fields.get("Version", "")


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
