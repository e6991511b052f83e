"""The store on plain object storage: streams as immutable objects, and a local replica that answers.

``docs/stores/objects.md`` says how it lies in the bucket and what is promised when.
"""

from __future__ import annotations

from modeldb_core.backends.objects.store import ObjectMetadataStore

__all__ = ["ObjectMetadataStore"]
