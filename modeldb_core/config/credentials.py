"""Tokens that the user stored, each for the address of one server: ``modeldb login`` writes them.

They lie in the system's keyring where the package ``keyring`` is installed and finds one, else in a file of the user's
configuration folder that nobody else may read.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.notices import warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SERVICE = "modeldb"
_MAX_BYTES = 1 << 20


def credentials_file() -> Path:
    """Return the path of the file of tokens, which need not exist."""
    from platformdirs import user_config_path

    return user_config_path("modeldb", appauthor=False) / "credentials.json"


def stored_token(address: str) -> str:
    """Return the token that was stored for a server; empty where there is none.

    Args:
        address: of the server, as ``trust.address_of`` writes it.
    """
    if keyring := _keyring():
        found = _quietly(lambda: keyring.get_password(_SERVICE, address))
        if isinstance(found, str) and found:
            return found
    return _read().get(address, "")


def store_token(address: str, token: str) -> str:
    """Store the token of a server in place of the one before, and return where.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    keyring = _keyring()
    if keyring and _quietly(lambda: keyring.set_password(_SERVICE, address, token) or True):
        return "the keyring of this system"
    _write({**_read(), address: token})
    return str(credentials_file())


def forget_token(address: str) -> bool:
    """Remove the token of a server; return whether there was one.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    found = False
    if keyring := _keyring():
        found = bool(_quietly(lambda: keyring.delete_password(_SERVICE, address) or True))
    tokens = _read()
    if tokens.pop(address, None) is not None:
        _write(tokens)
        found = True
    return found


def _keyring() -> Any:  # noqa: ANN401 - a module that need not be installed
    """Return the package ``keyring`` where it has a place to keep secrets in; nothing else imports it."""
    try:
        import keyring
        from keyring.backends.fail import Keyring as NoKeyring
    except ImportError:
        return None
    found = _quietly(keyring.get_keyring)
    return None if found is None or isinstance(found, NoKeyring) else keyring


def _quietly(action: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return what ``action`` returns; ``None`` where the keyring cannot be used, as in a session without a desktop."""
    try:
        return action()
    except Exception:  # keyrings of systems raise errors of their own
        return None


def _read() -> dict[str, str]:
    path = credentials_file()
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return {}
    except OSError as error:
        warn(f"the tokens in {path} cannot be read: {error.strerror}")
        return {}
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            warn(f"{path} is not a regular file; the tokens in it are not used")
            return {}
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            warn(f"the tokens in {path} are not used, since others can access them; chmod 600 {path}, and own it")
            return {}
        try:
            data = json.loads(file.read(_MAX_BYTES))
        except (ValueError, RecursionError):
            data = None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        warn(f"{path} does not hold what `modeldb login` writes; remove it, and log in again")
        return {}
    return data


def _write(tokens: dict[str, str]) -> None:
    path = credentials_file()
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tokens, file, indent=1, sort_keys=True)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        msg = f"the token cannot be stored in {path}: {error.strerror}"
        raise ConfigurationError(msg) from error
