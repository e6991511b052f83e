"""Keeps ModelDB's data in a folder: changes in one append-only file, blobs in a file each."""

from __future__ import annotations

from modeldb_core import hookimpl
from modeldb_core.stores import Backend


@hookimpl
def modeldb_register_backends() -> list[Backend]:
    """Describe the stores; nothing of them is imported before a URL with their scheme is opened."""
    return [
        Backend("ledger", "metadata", "modeldb_ledger.metadata:LedgerStore", description="one append-only file"),
        Backend("ledger", "artifacts", "modeldb_ledger.artifacts:LedgerArtifacts", description="a file for each blob"),
    ]
