"""What proves a store: conformance suites for the two contracts, and a writer of streams for tests.

Subclass :class:`MetadataStoreTests` or :class:`ArtifactStoreTests` in your tests, or run them against a URL::

    modeldb conformance 'sqlite:///{tmp_path}/modeldb.db' --artifacts 'file://{tmp_path}/blobs'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modeldb_core.testing.streams import StreamWriter

if TYPE_CHECKING:
    from modeldb_core.testing.artifacts import ArtifactStoreTests
    from modeldb_core.testing.metadata import MetadataStoreTests

__all__ = ["ArtifactStoreTests", "MetadataStoreTests", "StreamWriter"]

_SUITES = {"MetadataStoreTests": "metadata", "ArtifactStoreTests": "artifacts"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class
    # The suites need pytest, which a program that only writes streams need not have.
    if name in _SUITES:
        return getattr(import_module(f"modeldb_core.testing.{_SUITES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
