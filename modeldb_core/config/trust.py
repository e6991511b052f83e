"""What a configuration file may decide, by whose it is.

A ``modeldb.toml`` in or above the working folder comes with the project: with a clone, an archive, a shared folder. It says
where this project's runs go. What concerns the user beyond that (who is let in, what is deleted, where the server
listens, folders elsewhere, how an address is checked) it does not decide. ``docs/security.md`` has the whole table.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_NAME = "modeldb.toml"
MAX_FILE_BYTES = 1 << 20

USER = "user"
"""Of a setting: a project's file does not decide it."""
LESS = "less"
"""Of a switch: a project's file may switch it off; on only where nothing else was said."""

_WHERE_ELSE = "set it in your own modeldb.toml, in the environment or as an argument"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that a file says and that is not obeyed.

    Attributes:
        file: the path of the file.
        key: what it sets; empty where the whole file is left out.
        reason: why it is not obeyed, and what to do.
    """

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{f': {self.key}' if self.key else ''} is not obeyed: {self.reason}"


def user_config_file() -> Path:
    """Return the path of the user's own ``modeldb.toml``, which need not exist."""
    from platformdirs import user_config_path

    return user_config_path("modeldb", appauthor=False) / FILE_NAME


def doubt_about(path: Path) -> str:
    """Return why a file is not to be believed, whatever it says; empty where nothing speaks against it."""
    try:
        found = path.stat()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_size > MAX_FILE_BYTES:
        return f"it has {found.st_size:,} bytes, more than the {MAX_FILE_BYTES:,} of any configuration"
    if not hasattr(os, "getuid"):
        return ""
    if found.st_uid not in (os.getuid(), 0):
        return "it belongs to another user; name its folder in MODELDB_TRUSTED_FOLDERS, or the file in MODELDB_CONFIG"
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_private_group(found.st_gid)):
        return f"other users may write it (mode {stat.S_IMODE(found.st_mode):o}); chmod go-w {path}"
    return ""


def is_trusted_folder(folder: Path, trusted: Iterable[str | Path]) -> bool:
    """Whether ``folder`` is one that the user trusts, or lies in one."""
    real = folder.resolve()
    return any(real.is_relative_to(Path(os.path.expanduser(one)).resolve()) for one in trusted)


def address_of(url: str) -> str:
    """Return scheme, host and port of an HTTP URL, to which a secret may belong; empty for other URLs."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.lower()
    return f"{parts.scheme}://{host}:{port}"


def options_in(url: str) -> list[str]:
    """Return the names of the options that a URL carries."""
    return [name for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)]


def refuse_setting(trust: str, value: object, before: object) -> str:
    """Return why a project's file may not give a setting this value; empty where it may.

    Args:
        trust: what the setting says of itself: ``USER``, ``LESS`` or nothing.
        before: what was said before by somebody who is trusted; ``None`` where nobody said anything.
    """
    if trust == USER:
        return f"a project's file does not decide this; {_WHERE_ELSE}"
    if trust == LESS and before is False and value is True:
        return "you have switched it off"
    return ""


def _is_private_group(group_id: int) -> bool:
    """Whether a group has one member, as distributions make one for each user."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(group_id), pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return group_id == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
