"""What reads data in the name of a client."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core import plugins
from modeldb_core.tracking.artifacts import own_paths
from modeldb_core.tracking.data.cache import HashCache
from modeldb_core.tracking.data.reading import Reader
from modeldb_core.tracking.data.sources import path

if TYPE_CHECKING:
    from modeldb_core.tracking.data.parts import Progress
    from modeldb_core.tracking.session import Session
    from modeldb_core.trees import Blobs


def as_data(data: object) -> object:
    """Return data with paths, which may be given as texts, as such; a text that names no path stays what it is."""
    if isinstance(data, os.PathLike):
        return path(data)
    if isinstance(data, str) and ("://" in data or os.path.lexists(data) or os.sep in data):
        return path(data)
    return data


def reader_of(
    client: Session,
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
