"""What reads data in the name of a client."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from modeldb_core import plugins
from modeldb_core.tracking.artifacts import own_paths
from modeldb_core.tracking.data.cache import HashCache
from modeldb_core.tracking.data.reading import Reader
from modeldb_core.tracking.data.sources import path

if TYPE_CHECKING:
    from modeldb_core.config import Settings
    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_core.tracking.data.parts import Progress
    from modeldb_core.trees import Blobs


class DataClient(Protocol):
    """What data sets need of a client: a :class:`~modeldb_core.tracking.Client`, or the session of a command."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    @property
    def actor(self) -> str:
        """In whose name versions are added."""

    @property
    def store(self) -> MetadataStore:
        """The store."""

    @property
    def artifacts(self) -> ArtifactStore:
        """Where content is kept."""

    @property
    def blobs(self) -> Blobs:
        """Where content is read, also what is on its way to the artifact store."""

    def settle(self) -> None:
        """See that the store has what was logged here."""

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        """Return the identifiers of containers by their names."""

    def resolve(self, value: Any, /) -> Any:  # noqa: ANN401 - any value
        """Return a value with what was moved to the artifact store read back."""


def as_data(data: object) -> object:
    """Return data with paths, which may be given as texts, as such; a text that names no path stays what it is."""
    if isinstance(data, os.PathLike):
        return path(data)
    if isinstance(data, str) and ("://" in data or os.path.lexists(data) or os.sep in data):
        return path(data)
    return data


def reader_of(
    client: DataClient,
    blobs: Blobs | None = None,
    *,
    is_lenient: bool = False,
    progress: Progress | None = None,
) -> Reader:
    """Return what reads data for a client; its cache is closed by the caller."""
    manager = plugins.plugin_manager(client.settings)
    return Reader(
        blobs=client.blobs if blobs is None else blobs,
        cache=HashCache(client.settings.cache_dir),
        own=own_paths(client.settings),
        describe_object=partial(_described, manager),
        is_lenient=is_lenient,
        progress=progress,
    )


def _described(manager: Any, data: object) -> Any:  # noqa: ANN401
    return manager.call("modeldb_describe_object", obj=data)
