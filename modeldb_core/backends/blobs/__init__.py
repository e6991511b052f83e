"""Artifact stores: on a folder of this machine, on S3, and on whatever else fsspec reaches."""

from __future__ import annotations

from modeldb_core.backends.blobs.store import FsspecArtifactStore

__all__ = ["FsspecArtifactStore"]
