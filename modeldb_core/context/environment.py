"""What the code ran with: Python and the installed packages."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from modeldb_core.runtime.redaction import strip_userinfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.config import Settings
    from modeldb_core.context.deadline import Deadline


def describe_python(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the interpreter and its version."""
    del settings, deadline
    version = ".".join(map(str, sys.version_info[:3]))
    return {"python": version, "implementation": sys.implementation.name, "executable": sys.executable}


def describe_packages(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the versions of the packages that can be imported, by their normalized names, and what some came from."""
    del settings, deadline
    packages, sources = describe_installed()
    return {"packages": packages, **({"package_sources": sources} if sources else {})}


def describe_installed(path: Sequence[str] | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """Return versions, and what some packages came from, by name: of what ``path`` has, or else this process."""
    given = sys.path if path is None else path
    return _installed(tuple((folder, _modified(folder)) for folder in dict.fromkeys(each or "." for each in given)))


@functools.lru_cache(maxsize=2)
def _installed(folders: tuple[tuple[str, int], ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the packages of the folders, which carry their time of change: an installed package makes a new answer.

    The names of the metadata folders tell name and version (Core metadata, "The .dist-info directory"): reading the
    files would take a hundred times as long. The second map has the URL of each package that was not installed from an
    index: looking for the file that says so is one system call for each package.
    """
    found: dict[str, str] = {}
    sources: dict[str, str] = {}
    for folder, modified in folders:
        for name, version, entry in _packages_in(folder) if modified else ():
            if name not in found:
                found[name] = version
                if entry.endswith(".dist-info") and (source := _source_of(os.path.join(folder, entry))):
                    sources[name] = source
    return dict(sorted(found.items())), dict(sorted(sources.items()))


def _source_of(metadata: str) -> str:
    """Return what a package was installed from, if not from an index (PEP 610); "" where that is not said.

    As in a requirement: ``git+https://…@commit``; a folder that is only linked is ``-e file:///…``.
    """
    path = os.path.join(metadata, "direct_url.json")
    if not os.path.exists(path):
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        url = strip_userinfo(data["url"])
        if "vcs_info" in data:
            return f"{data['vcs_info']['vcs']}+{url}@{data['vcs_info']['commit_id']}"
        return f"-e {url}" if data.get("dir_info", {}).get("editable") else url
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # written by another program
        return "unknown"


def _packages_in(folder: str) -> list[tuple[str, str, str]]:
    """Return name, version and metadata folder of each package that lies in a folder."""
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
            result.append((re.sub(r"[-_.]+", "-", name).lower(), version, entry))
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
