"""Keeps ModelDB's data in a folder: changes in one append-only file, blobs in a file each."""

from __future__ import annotations

from modeldb_core import hookimpl
from modeldb_core.stores import Backend, Files

_FOLDER = Files("ledger://")


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Describe the stores; nothing of them is imported before a URL with their scheme is opened."""
    store, blobs = "modeldb_ledger.metadata:LedgerStore", "modeldb_ledger.artifacts:LedgerArtifacts"
    return [
        Backend("ledger", "metadata", store, description="one append-only file", place=_FOLDER),
        Backend("ledger", "artifacts", blobs, description="a file for each blob", place=_FOLDER),
    ]
