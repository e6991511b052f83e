"""The suites over the stores that the command line names.

Run: ``modeldb conformance URL --artifacts URL``, or
``pytest --pyargs modeldb_core.testing --modeldb-store URL --modeldb-artifacts URL``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import pytest

from modeldb_core.testing.artifacts import ArtifactStoreTests, MakeArtifacts
from modeldb_core.testing.metadata import MetadataStoreTests

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore
    from modeldb_core.testing.scene import MakeStore

_STEPS = 20  # of each random history


class _NextStore(Protocol):
    is_empty: bool

    def __call__(self) -> MetadataStore: ...


class TestMetadataStore(MetadataStoreTests):
    """The store at ``--modeldb-store``."""

    is_shared: ClassVar[bool] = True

    @pytest.fixture
    def make_store(self, modeldb_make_store: MakeStore, request: pytest.FixtureRequest) -> MakeStore:
        type(self).is_shared = not request.config.getoption("modeldb_store").startswith("memory:")
        return modeldb_make_store

    @pytest.fixture
    def process_url(self, modeldb_store_url: str) -> str | None:
        return modeldb_store_url if self.is_shared else None


class TestAgainstTheReference:
    """The store at ``--modeldb-store``, beside the reference."""

    def test_random_changes_and_questions_give_equal_answers(
        self, modeldb_next_store: _NextStore, request: pytest.FixtureRequest
    ) -> None:
        """On a difference, hypothesis shows the shortest way to it."""
        pytest.importorskip("hypothesis", reason="this needs hypothesis: pip install hypothesis")
        from hypothesis import HealthCheck, settings
        from hypothesis.stateful import run_state_machine_as_test

        from modeldb_core.testing.machine import StoreMachine

        class Machine(StoreMachine):
            is_empty = modeldb_next_store.is_empty

            def make_store(self) -> MetadataStore:
                return modeldb_next_store()

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=request.config.getoption("modeldb_examples"),
                stateful_step_count=_STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class TestArtifactStore(ArtifactStoreTests):
    """The store at ``--modeldb-artifacts``."""

    @pytest.fixture
    def make_artifacts(self, modeldb_make_artifacts: MakeArtifacts) -> MakeArtifacts:
        return modeldb_make_artifacts


def test_a_store_was_named(request: pytest.FixtureRequest) -> None:
    """A run that tests nothing must not pass."""
    named = [request.config.getoption(name) for name in ("modeldb_store", "modeldb_artifacts")]
    assert any(named), "name a store: pytest --pyargs modeldb_core.testing --modeldb-store URL"
