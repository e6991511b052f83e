"""Where the files of replicas lie, and which of them nobody needs any more."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from modeldb_core.runtime.owned import Folder

_KEPT_S = 30 * 86_400.0  # a replica that other code made: it may be in use, or be used again
_FILE_OF_REPLICA = re.compile(r"(?P<stem>[0-9a-f]{24}-[0-9a-f]{24})\.(?:lock|\d+\.db(?:-wal|-shm)?)")


def replica_folder(cache_dir: str | None) -> Path:
    """Return the folder of replicas; by default in the cache folder of the user."""
    if cache_dir:
        return Path(os.path.expanduser(cache_dir)).absolute() / "replicas"
    from platformdirs import user_cache_path

    return user_cache_path("modeldb", appauthor=False) / "replicas"


def forget_outdated(folder_of_replicas: Path, store: str, stem: str) -> None:
    """Delete the replicas of a store that other code made and that nobody has brought up to date for long.

    Args:
        folder_of_replicas: where they lie.
        store: what the names of all replicas of the store begin with.
        stem: what the names of those begin with that this code makes.
    """
    outdated: dict[str, list[str]] = {}
    with Folder.open(folder_of_replicas, is_given=True) as folder:
        for name in folder.names():
            found = _FILE_OF_REPLICA.fullmatch(name)
            if found is not None and name.startswith(f"{store}-") and found["stem"] != stem:
                outdated.setdefault(found["stem"], []).append(name)
        for names in outdated.values():
            with suppress(OSError):
                if max(folder.stat(name).st_mtime for name in names) < time.time() - _KEPT_S:
                    for name in names:
                        folder.unlink(name)
