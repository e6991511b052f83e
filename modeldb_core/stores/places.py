"""Where a store is, by its URL: what a backend declares so that nobody else needs to know its scheme."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

ARTIFACT_SUFFIX = "-artifacts"


class Place:
    """How the URLs of a backend say where its stores are."""

    __slots__ = ()

    def path_in(self, url: str) -> Path | None:
        """Return the file or folder of this machine that is the store; ``None`` where it is not one."""
        del url
        return None

    def absolute(self, url: str, base: Path) -> str:
        """Return ``url``; a relative path in it is taken from ``base``."""
        del base
        return url

    def owner_name(self, scheme: str, url: str, artifacts: Path | None, options: Mapping[str, object]) -> str:
        """Return the name that the store leaves in its artifact store; empty where it needs none there.

        Args:
            scheme: of the store; one name where several mean the same.
            url: of the store.
            artifacts: the folder of the artifact store, where it is on this machine.
            options: of the store, where they are not in its URL.

        Raises:
            ConfigurationError: the URL is not valid.
        """
        del scheme, url, artifacts, options
        return ""


def split_url(scheme: str, url: str) -> SplitResult:
    """Return the parts of the URL of a store.

    Raises:
        ConfigurationError: it is not valid.
    """
    try:
        return urlsplit(url)
    except ValueError:
        msg = f"the URL of the store is not valid: expected {scheme}:// and an address"  # not shown: a password
        raise ConfigurationError(msg) from None


@dataclass(frozen=True, slots=True)
class Address(Place):
    """A database, a bucket or anything else that is reached by an address.

    Attributes:
        port: the one used where the URL names none.
        options: those that choose one of several stores at an address, with the value that each has by default.
    """

    port: int = 0
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def owner_name(self, scheme: str, url: str, artifacts: Path | None, options: Mapping[str, object]) -> str:
        """Return the URL, without user, password and options but those that choose a store."""
        del artifacts
        parts = split_url(scheme, url)
        try:
            port = parts.port or self.port
        except ValueError:
            port = 0
        given = parse_qs(parts.query)
        chosen = {name: given.get(name, [str(options.get(name, ""))])[0] for name in self.options}
        query = "&".join(f"{name}={value}" for name, value in chosen.items() if value not in ("", self.options[name]))
        address = f"{parts.hostname or ''}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
        return f"{scheme}://{address}{f'?{query}' if query else ''}"


@dataclass(frozen=True, slots=True)
class Server(Address):
    """A server of ModelDB: it shows the pages too, and has a name of its own in its artifact store."""


class Process(Place):
    """The memory of this process: what is there ends with it, and needs no name elsewhere."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Files(Place):
    """A file or folder of this machine, whose URL is ``prefix`` and the path.

    A relative path is taken from the folder of the configuration file that holds the URL. Files and models are kept in a
    folder beside the store, unless there is an artifact store of the same scheme.

    Attributes:
        prefix: what precedes the path. With ``duck:///`` the file ``x.db`` has the URL ``duck:///x.db``, and
            ``/data/x.db`` has ``duck:////data/x.db``; with ``duck://`` they have ``duck://x.db`` and ``duck:///data/x.db``.
        is_quoted: whether the path is percent-encoded.
        companions: the endings of other files that belong to the store, such as ``-wal``.
        may_be_remote: whether the store works on a network file system; it does not where processes lock files.
    """

    prefix: str
    is_quoted: bool = True
    companions: tuple[str, ...] = ()
    may_be_remote: bool = False

    def path_in(self, url: str) -> Path | None:
        """Return the path behind the prefix; none begins with a colon, as in ``:memory:``."""
        path = url.removeprefix(self.prefix).partition("?")[0]
        path = unquote(path) if self.is_quoted else path
        names_one = url.startswith(self.prefix) and path and not path.startswith(":") and "\0" not in path
        return Path(path) if names_one else None

    def absolute(self, url: str, base: Path) -> str:
        """Return ``url`` with an absolute path; ``~`` stands for the home folder."""
        path = self.path_in(url)
        if path is None or path.is_absolute() or path.drive:
            return url
        _, question, options = url.partition("?")
        whole = str((base / os.path.expanduser(path)).absolute())
        return f"{self.prefix}{quote(whole) if self.is_quoted else whole}{question}{options}"

    def owner_name(self, scheme: str, url: str, artifacts: Path | None, options: Mapping[str, object]) -> str:
        """Return the path, from the folder of the artifacts if that is on this machine too.

        So both can be moved together.
        """
        del options
        if (path := self.path_in(url)) is None:
            return ""
        if artifacts is not None:
            return f"{scheme}:{os.path.relpath(os.path.realpath(path), os.path.realpath(artifacts))}"
        return f"{scheme}:{platform.node()}:{os.path.realpath(path)}"


def folder_beside(path: str) -> str:
    """Return the folder for the files of a store at ``path``, which no other store beside it has.

    ``churn.db`` has ``churn-artifacts``; another ending stays, so that ``churn.sqlite`` has ``churn.sqlite.artifacts``.
    """
    return f"{path[:-3]}{ARTIFACT_SUFFIX}" if path.endswith(".db") else f"{path}.artifacts"
