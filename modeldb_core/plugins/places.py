"""Where stores are: the settings with absolute URLs, the artifacts beside a store, and what a store is called there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from modeldb_core.config.settings import Settings, read_settings
from modeldb_core.config.sources import FOLDER_PREFIX
from modeldb_core.plugins.manager import plugin_manager
from modeldb_core.stores.places import Address, Files, Place, Server, folder_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from modeldb_core.config.named import NamedSettings
    from modeldb_core.stores.backend import Backend, StoreKind


def load_settings(
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    url: str | os.PathLike[str] | None = None,
    artifact_url: str | os.PathLike[str] | None = None,
    **overrides: Unpack[NamedSettings],
) -> Settings:
    """Return the settings in force.

    Args:
        directory: where the search for ``modeldb.toml`` begins, and what relative paths of arguments and variables are
            relative to; default: the current folder. (Paths in a file are relative to the file.)
        environ: the environment; default: that of this process.
        url, artifact_url: where runs, and where files and models are kept.
        overrides: any other setting by name, such as ``server_port``; ``None`` means not given.

    Raises:
        ConfigurationError: a key is unknown, or a value has the wrong type or is out of its range.
    """
    urls = {"url": url, "artifact_url": artifact_url}
    return read_settings(Places, directory=directory, environ=environ, **urls, **overrides)


class Places:
    """The places of stores, as the backends declare them that are known.

    Args:
        disabled: plugins whose backends are not asked.
    """

    def __init__(self, disabled: Iterable[str] = ()) -> None:
        self._backends = plugin_manager(disabled=disabled).backends()

    def place_of(self, url: str, kind: StoreKind = "metadata") -> Place:
        """Return how the URLs of the backend of ``url`` say where a store is; of an unknown one, an address."""
        backend = self._backend(url, kind)
        return Address() if backend is None else backend.place

    def absolute(self, url: str, base: Path, kind: StoreKind = "metadata") -> str:
        """Return ``url``; a relative path in it is taken from ``base``."""
        return self.place_of(url, kind).absolute(url, base)

    def path_in(self, url: str, kind: StoreKind = "metadata") -> Path | None:
        """Return the file or folder of this machine that is the store at ``url``; ``None`` where it is not one."""
        return self.place_of(url, kind).path_in(url)

    def is_server(self, url: str) -> bool:
        """Whether the store at ``url`` is a server of ModelDB, which shows the pages at the same address."""
        return isinstance(self.place_of(url), Server)

    def artifacts_of(self, url: str) -> str:
        """Return where the store at ``url`` keeps its artifacts unless something else is said.

        That is with it, where there is an artifact store of its scheme, else in a folder beside it.
        """
        path = None if self._backend(url, "artifacts") else self.path_in(url)
        return url if path is None else f"{FOLDER_PREFIX}{folder_beside(str(path))}"

    def files_of(self, settings: Settings) -> frozenset[str]:
        """Return the real paths of all files and folders that are the stores of these settings."""
        found: set[str] = set()
        for url, place in (
            (settings.url, self.place_of(settings.url)),
            (settings.artifact_url, self.place_of(settings.artifact_url, "artifacts")),
        ):
            if isinstance(place, Files) and (path := place.path_in(url)) is not None:
                real = os.path.realpath(path)
                found.update((real, *(f"{real}{ending}" for ending in place.companions)))
        return frozenset(found)

    def owner_name(self, url: str, artifact_url: str, options: Mapping[str, Mapping[str, object]] | None = None) -> str:
        """Return the name that the store at ``url`` leaves in its artifact store; empty where it needs none there.

        Args:
            options: of stores, by scheme, where they are not in the URL.

        Raises:
            ConfigurationError: the URL is not valid.
        """
        if self.is_server(url) and url == artifact_url:
            return ""  # it has its own name there
        backend = self._backend(url, "metadata")
        written = url.partition("://")[0]
        scheme = written if backend is None else backend.table or backend.scheme
        given = {**(options or {}).get(scheme, {}), **(options or {}).get(written, {})}
        return self.place_of(url).owner_name(scheme, url, self.path_in(artifact_url, "artifacts"), given)

    def _backend(self, url: str, kind: StoreKind) -> Backend | None:
        found = self._backends.get((kind, url.partition("://")[0].lower()))
        return None if found is None else found[0]


def places_for(settings: Settings) -> Places:
    """Return the places of stores, without the plugins that the settings leave out."""
    return Places(settings.disable_plugins)
