"""Where files are looked for and kept unless something else is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.config import trust
from modeldb_core.config.sources import CONFIG_VARIABLE
from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


def working_folder() -> Path:
    """Return the current folder; where it was deleted meanwhile, the path that it had."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/", os.environ.get("PWD", ""))


def default_journal_dir() -> Path:
    """Return the folder for journals in the state folder of the user."""
    from platformdirs import user_state_path

    return user_state_path("modeldb", appauthor=False) / "journals"


def default_cache_dir() -> Path:
    """Return the folder in the cache folder of the user for what can be fetched again."""
    from platformdirs import user_cache_path

    return user_cache_path("modeldb", appauthor=False)


def system_config_file() -> Path:
    """Return the path of the ``modeldb.toml`` for all users of this machine, which need not exist."""
    from platformdirs import site_config_path

    return site_config_path("modeldb", appauthor=False) / trust.FILE_NAME


def config_files(directory: Path, environ: Mapping[str, str]) -> list[tuple[Path, bool]]:
    """Return the files that may apply, the first one first, and whether each is a project's.

    These are the nearest one from ``directory`` upwards, the user's own and the system's. ``MODELDB_CONFIG`` names a file
    to use in place of all of them.

    The null device is an empty file: no file is used then.

    Raises:
        ConfigurationError: it names something that is not a file.
    """
    if named := environ.get(CONFIG_VARIABLE):
        path = directory / os.path.expanduser(named)
        if os.devnull in (named, os.path.realpath(path)):
            return []
        if not _is_file(path):
            msg = f"{CONFIG_VARIABLE} names {_what_is_no_file(path)}, or unset the variable"
            raise ConfigurationError(msg)
        return [(path, False)]
    resolved = directory.absolute()
    found = {path: False for path in (trust.user_config_file(), system_config_file()) if _is_file(path)}
    for folder in (resolved, *resolved.parents):
        if _is_file(path := folder / trust.FILE_NAME):
            return [*({path: True} | found).items()] if path not in found else [*found.items()]
    return [*found.items()]


def _what_is_no_file(path: Path) -> str:
    """Return what is wrong with a path, and what to do."""
    if os.path.isdir(path):
        return f"{str(path)!r}, which is a folder; name a file, such as {str(path / trust.FILE_NAME)!r}"
    if os.path.exists(path):
        return f"{str(path)!r}, which is not a regular file and cannot be read again and again; name one"
    return f"the file {str(path)!r}, which does not exist; create it"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder that may not be looked into; a name that no file can have
        return False
