"""The ledger keeps the contracts of ModelDB."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from modeldb_ledger.artifacts import LedgerArtifacts
from modeldb_ledger.metadata import LedgerStore

from modeldb_core.audit import verify
from modeldb_core.testing import ArtifactStoreTests, MetadataStoreTests
from modeldb_core.testing.machine import StoreMachine


class TestLedgerStore(MetadataStoreTests):
    @pytest.fixture
    def process_url(self, tmp_path):
        return f"ledger://{tmp_path}/store"

    @pytest.fixture
    def make_store(self, process_url):
        return lambda: LedgerStore(process_url)


class TestLedgerArtifacts(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, tmp_path):
        return lambda: LedgerArtifacts(f"ledger://{tmp_path}/store")

    def damage(self, store, digest, content):
        place(store, digest).write_bytes(content)

    def age(self, store, digest, seconds):
        then = time.time() - seconds
        os.utime(place(store, digest), (then, then))
        return True


def place(store, digest):
    return Path(store.url.removeprefix("ledger://")) / "blobs" / digest[:2] / digest


def test_random_histories_give_the_answers_of_the_reference(tmp_path_factory):
    class LedgerMachine(StoreMachine):
        def make_store(self):
            return LedgerStore(f"ledger://{tmp_path_factory.mktemp('machine')}")

        def teardown(self):
            if hasattr(self, "store"):
                assert verify(self.store).findings == []  # what `modeldb audit verify` looks at
            super().teardown()

    few = settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(LedgerMachine, settings=few)
