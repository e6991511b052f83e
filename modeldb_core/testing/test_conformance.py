"""The suites over the stores that the command line names.

Run: ``pytest --pyargs modeldb_core.testing --modeldb-store URL --modeldb-artifacts URL``
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from modeldb_core.testing.artifacts import ArtifactStoreTests, MakeArtifacts
from modeldb_core.testing.metadata import MetadataStoreTests

if TYPE_CHECKING:
    from modeldb_core.testing.scene import MakeStore


class TestMetadataStore(MetadataStoreTests):
    """The store at ``--modeldb-store``."""

    is_shared: ClassVar[bool] = True

    @pytest.fixture
    def make_store(self, modeldb_make_store: MakeStore, request: pytest.FixtureRequest) -> MakeStore:
        type(self).is_shared = not request.config.getoption("modeldb_store").startswith("memory:")
        return modeldb_make_store


class TestArtifactStore(ArtifactStoreTests):
    """The store at ``--modeldb-artifacts``."""

    @pytest.fixture
    def make_artifacts(self, modeldb_make_artifacts: MakeArtifacts) -> MakeArtifacts:
        return modeldb_make_artifacts


def test_a_store_was_named(request: pytest.FixtureRequest) -> None:
    """A run that tests nothing must not pass."""
    named = [request.config.getoption(name) for name in ("modeldb_store", "modeldb_artifacts")]
    assert any(named), f"name a store: pytest --pyargs modeldb_core.testing --modeldb-store URL (in {Path(__file__)})"
