"""By which name a store of runs is known in the artifact store that keeps its files."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

ARTIFACT_SUFFIX = "-artifacts"
_PORTS = {"postgresql": 5432, "http": 80, "https": 443}


def folder_beside(path: str) -> str:
    """Return the folder in which the files of a SQLite store lie by default: no other file of its folder has the same.

    ``churn.db`` has ``churn-artifacts``; another ending stays, so that ``churn.sqlite`` has ``churn.sqlite.artifacts``.
    """
    return f"{path[:-3]}{ARTIFACT_SUFFIX}" if path.endswith(".db") else f"{path}.artifacts"


def owner_name(url: str, artifact_url: str, options: Mapping[str, object] | None = None) -> str:
    """Return the name that the store at ``url`` leaves in its artifact store; "": it needs none there.

    A SQLite file goes by its path, from a folder of files on this machine by the way from there, so that both can be
    moved together. Others go by their URL, without user, password and options but the schema.

    Args:
        options: of the store, where they do not stand in its URL.

    Raises:
        ConfigurationError: the URL is none.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = unquote(rest.removeprefix("/").partition("?")[0])
        if not path or path.startswith(":"):
            return ""
        path = os.path.realpath(path)
        if artifact_url.startswith("file://"):
            folder = os.path.realpath(artifact_url.removeprefix("file://").partition("?")[0])
            return f"sqlite:{os.path.relpath(path, folder)}"
        return f"sqlite:{platform.node()}:{path}"
    if scheme == "memory" or (scheme in ("http", "https") and url == artifact_url):
        return ""  # it ends with this process; the server has its own name there
    try:
        parts = urlsplit(url)
    except ValueError:
        msg = f"what stands behind {scheme}:// in the URL of the store is not the place of one"  # nor shown: a password
        raise ConfigurationError(msg) from None
    try:
        port = parts.port or _PORTS.get(scheme)
    except ValueError:
        port = None
    schema = parse_qs(parts.query).get("schema", [str((options or {}).get("schema", ""))])[0]
    place = f"{parts.hostname or ''}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    return f"{scheme}://{place}{f'?schema={schema}' if schema not in ('', 'public') else ''}"
