"""The stores answer like the reference, whatever happens to them."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.plugins import open_store
from modeldb_core.testing import machine
from modeldb_core.testing.machine import StoreMachine
from tests.backends import broken_stores
from tests.services.postgres import Postgres
from tests.services.server import serving

SETTINGS = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class MemoryMachine(StoreMachine):
    """The reference against itself: the machine's own questions and batches must be sound."""

    def make_store(self):
        return MemoryStore()


class SQLiteMachine(StoreMachine):
    def make_store(self):
        self.folder = tempfile.mkdtemp(prefix="modeldb-machine-")
        return open_store(f"sqlite:///{self.folder}/modeldb.db")

    def teardown(self):
        try:
            super().teardown()
            if hasattr(self, "folder"):
                with open_store(f"sqlite:///{self.folder}/modeldb.db") as store:
                    assert verify(store).findings == []
        finally:
            shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


class RemoteMachine(SQLiteMachine):
    """The store on a server, which has its own on SQLite."""

    def make_store(self):
        behind = super().make_store()
        self.stack = ExitStack()
        self.stack.enter_context(behind)
        artifacts = FsspecArtifactStore(f"file://{self.folder}/blobs")
        return RemoteMetadataStore(self.stack.enter_context(serving(behind, artifacts)))

    def teardown(self):
        try:
            super().teardown()
        finally:
            if hasattr(self, "stack"):
                self.stack.close()


class PostgresMachine(StoreMachine):
    server: ClassVar[Postgres]

    def make_store(self):
        self.url = self.server.new_database()
        return open_store(self.url)

    def teardown(self):
        try:
            super().teardown()
            if hasattr(self, "url"):
                with open_store(self.url) as store:
                    assert verify(store).findings == []
        finally:
            if hasattr(self, "url"):
                self.server.give_back(self.url)


class FolderMachine(StoreMachine):
    """The store in a bucket, on a folder. In the end a new replica must tell the same."""

    def make_store(self):
        self.folder = tempfile.mkdtemp(prefix="modeldb-machine-")
        return self.open("cache")

    def open(self, cache):
        return ObjectMetadataStore(
            f"file://{self.folder}/bucket", cache_dir=f"{self.folder}/{cache}", max_staleness_s=0
        )

    def teardown(self):
        try:
            super().teardown()
            if hasattr(self, "folder"):
                with self.open("another cache") as store:
                    assert verify(store).findings == []
        finally:
            shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


class S3Machine(FolderMachine):
    bucket: ClassVar[str]

    def url(self):
        return f"s3://{self.bucket}/{Path(self.folder).name}"


class TestMemory(MemoryMachine.TestCase):
    settings = SETTINGS


class TestSQLite(SQLiteMachine.TestCase):
    settings = SETTINGS


@pytest.mark.thorough
class TestRemote(RemoteMachine.TestCase):
    settings = settings(SETTINGS, max_examples=5)  # what is behind it is tested above


@pytest.mark.thorough  # its statements are those of SQLite but for a few, which have tests of their own
class TestPostgres(PostgresMachine.TestCase):
    settings = settings(SETTINGS, max_examples=8)  # each has a database of its own

    @pytest.fixture(autouse=True)
    def _server(self, postgres):
        PostgresMachine.server = postgres


class TestFolder(FolderMachine.TestCase):
    settings = settings(SETTINGS, max_examples=5)


@pytest.mark.thorough
class TestS3(S3Machine.TestCase):
    settings = settings(SETTINGS, max_examples=2)

    @pytest.fixture(autouse=True)
    def _server(self, s3):
        S3Machine.bucket, S3Machine.options = s3.new_bucket(), s3.options


class Forgetful(MemoryStore):
    """A store with a mistake: it forgets the last one of what it finds."""

    def find(self, query):
        page = super().find(query)
        return dataclasses.replace(page, entities=page.entities[:-1])


@pytest.mark.parametrize(
    "make_store",
    [
        Forgetful,
        broken_stores.ShowsTheDeleted,
        broken_stores.KeepsWhatAnErasedChangeSaid,
        broken_stores.ForgetsErasuresThatComeFirst,
        broken_stores.ErasesWhateverItIsTold,
        broken_stores.ErasesWhatWasDeletedAMomentAgo,
    ],
)
def test_a_store_with_a_mistake_is_caught(make_store):
    class Machine(StoreMachine):
        def make_store(self):
            return make_store()

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Machine,
            settings=settings(
                SETTINGS, derandomize=True, max_examples=200, phases=[Phase.generate], report_multiple_bugs=False
            ),
        )


def test_a_machine_whose_changes_are_all_refused_does_not_pass(monkeypatch):
    class Refuses(MemoryStore):
        def apply(self, changes):
            raise InvalidArgumentError("nothing fits")

    class Machine(StoreMachine):
        def make_store(self):
            return Refuses()

    monkeypatch.setattr(machine, "MemoryStore", Refuses)  # the reference
    with pytest.raises(AssertionError, match="nothing be tested"):
        run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=1, phases=[Phase.generate]))
