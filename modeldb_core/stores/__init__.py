"""The two store contracts: what every store of metadata and every store of artifacts promises.

May import: ``queries``, ``log`` and below. Begin with ``contract.py`` and ``artifacts.py``; their names,
and those of ``backend.py`` and ``places.py``, can be imported from here; ``protocol.py`` is the same contract over HTTP, and
``scoped`` narrows a store to what somebody may see.
"""

from __future__ import annotations

from modeldb_core.stores.artifacts import (
    REFRESH_S,
    ArtifactStore,
    BlobInfo,
    Uploads,
    can_seek,
    check_stored,
    put_together,
)
from modeldb_core.stores.backend import Backend
from modeldb_core.stores.contract import PARTS_ADDED_TO_QUERY, MetadataStore
from modeldb_core.stores.pages import ChangePage, KeyInfo, Page, Touch, TouchPage
from modeldb_core.stores.places import Address, Files, Place, Process, Server

__all__ = [
    "PARTS_ADDED_TO_QUERY",
    "REFRESH_S",
    "Address",
    "ArtifactStore",
    "Backend",
    "BlobInfo",
    "ChangePage",
    "Files",
    "KeyInfo",
    "MetadataStore",
    "Page",
    "Place",
    "Process",
    "Server",
    "Touch",
    "TouchPage",
    "Uploads",
    "can_seek",
    "check_stored",
    "put_together",
]
