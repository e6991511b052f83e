"""Several servers on one database and bucket behind a balancer, and many clients at once.

One server is killed while clients upload, write and promote: they notice nothing but time, what was confirmed is there,
and of what was not confirmed there is all or nothing.
"""

from __future__ import annotations

import hashlib
import io
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.commands.operation import execute
from modeldb_core.commands.registry import history, promotion, references
from modeldb_core.model.entities import DEFAULT_WORKSPACE
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing import StreamWriter
from tests.backends.writers import in_children
from tests.registry.test_at_once import register
from tests.services.balancer import Balancer
from tests.services.s3 import SeaweedFS
from tests.services.server import ModelDBServer
from tests.waiting import wait_until

LIMIT_S = 120
BLOB_BYTES = 5_000_000  # more than one part
BATCH = 5
LEAD = 5
"""So many steps a client may be ahead of the slowest one: else the test proves the same thousands of times."""
BEFORE, AFTER = 2, 3
PROCESSES, RUNS_EACH = 36, 4


@dataclass
class Confirmed:
    """What clients were told is done, and what befell them."""

    blobs: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    promotions: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def keep_pace(self, mine: list[Any], stop: threading.Event) -> None:
        """Wait for the slower clients."""
        while len(mine) > LEAD + min(map(len, (self.blobs, self.batches, self.promotions))) and not stop.wait(0.01):
            pass

    def wait_for(self, more: int) -> None:
        """Wait until each client has done some more."""
        kinds = (self.blobs, self.batches, self.promotions)
        wanted = [len(kind) + more for kind in kinds]
        wait_until(
            lambda: self.errors or all(len(kind) >= count for kind, count in zip(kinds, wanted, strict=True)),
            lambda: (wanted, list(map(len, kinds))),
        )
        assert not self.errors, self.errors


@pytest.fixture
def two_servers(postgres_url: str, s3: SeaweedFS) -> Iterator[tuple[ModelDBServer, ModelDBServer, Balancer]]:
    bucket = f"s3://{s3.new_bucket()}"
    with ExitStack() as stack:
        servers = []
        for _ in range(2):
            server = ModelDBServer(postgres_url, bucket, environment=s3.environment)
            stack.callback(server.stop)
            servers.append(server)
        balancer = Balancer([server.port for server in servers])
        stack.callback(balancer.close)
        yield servers[0], servers[1], balancer


def upload(url: str, confirmed: Confirmed, stop: threading.Event) -> None:
    numbers = random.Random(7)
    with closing(open_artifacts(url)) as artifacts:
        while not stop.is_set():
            content = numbers.randbytes(BLOB_BYTES)
            info = artifacts.put(io.BytesIO(content))
            assert info.digest == hashlib.sha256(content).hexdigest()
            confirmed.blobs.append(info.digest)
            confirmed.keep_pace(confirmed.blobs, stop)


def write_batches(url: str, writer: StreamWriter, confirmed: Confirmed, stop: threading.Event) -> None:
    with open_store(url) as store:
        writer.open(lease_s=3600)
        ids = writer.create_containers("churn", "forest")
        store.apply(batch := writer.take(0))
        while not stop.is_set():
            for _ in range(BATCH):
                writer.create_run(**ids)
            store.apply(batch := writer.take(batch[-1].seq))
            confirmed.batches.append(batch[-1].seq)
            confirmed.keep_pace(confirmed.batches, stop)


def promote(url: str, confirmed: Confirmed, stop: threading.Event) -> None:
    with open_store(url) as store, DirectWriter(store, "ada") as writer:
        register(store, writer)
        register(store, writer)
        (workspace_id,) = store.identify(("workspace", DEFAULT_WORKSPACE))
        while not stop.is_set():
            count = len(confirmed.promotions)
            model = references.find_model(store, workspace_id, "churn")
            version = references.find_version(store, model, count % 2 + 1)
            reason = f"reason {count}"
            execute(writer, promotion.promote(store, model, version, alias="champion", reason=reason))
            confirmed.promotions.append(reason)
            confirmed.keep_pace(confirmed.promotions, stop)


@pytest.mark.slow
def test_clients_of_two_servers_notice_nothing_but_time_when_one_is_killed(
    two_servers: tuple[ModelDBServer, ModelDBServer, Balancer], postgres_url: str, s3: SeaweedFS
) -> None:
    first, _, balancer = two_servers
    url = balancer.url.replace("http://", f"http://{first.token}@") if first.token else balancer.url
    confirmed, stop, writer = Confirmed(), threading.Event(), StreamWriter(actor="ada")

    def guard(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                confirmed.errors.append(error)

        return run

    works: list[Callable[[], None]] = [
        lambda: upload(url, confirmed, stop),
        lambda: write_batches(url, writer, confirmed, stop),
        lambda: promote(url, confirmed, stop),
    ]
    threads = [threading.Thread(target=guard(work)) for work in works]
    for thread in threads:
        thread.start()
    try:
        confirmed.wait_for(BEFORE)
        first.kill()
        confirmed.wait_for(AFTER)
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
    assert confirmed.errors == []
    assert all(count > 1 for count in balancer.passed.values()), "one server did everything: this shows nothing"

    artifacts = FsspecArtifactStore(first.artifact_url, **s3.options)
    with open_store(postgres_url) as store:
        check(store, writer, confirmed)
        stored = [info.digest for info in artifacts.list()]
        assert set(confirmed.blobs) <= set(stored)
        for digest in stored:  # also what was not confirmed is whole, or is not there
            with artifacts.open(digest) as blob:
                assert hashlib.sha256(blob.read()).hexdigest() == digest
    artifacts.close()


def check(store: MetadataStore, writer: StreamWriter, confirmed: Confirmed) -> None:
    """See that everything that was confirmed is there, and of everything else all or nothing."""
    head = store.heads()[writer.stream_id].seq
    assert head == confirmed.batches[-1]
    assert store.find(Query("run", limit=1, count=True)).total == len(confirmed.batches) * BATCH
    model = references.find_model(store, store.identify(("workspace", DEFAULT_WORKSPACE))[0], "churn")
    moves = list(history.history(store, model.entity_id))
    assert sorted((move.reason for move in moves), key=lambda reason: int(reason.split()[1])) == confirmed.promotions
    assert verify(store).ok


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.slow
@pytest.mark.thorough
def test_36_processes_create_144_runs_at_once(database: str, request: pytest.FixtureRequest) -> None:
    store_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    server = ModelDBServer(store_url)
    try:

        def work() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                client = modeldb.connect(server.url, token=server.token, experiment="at once")
                try:
                    for number in range(RUNS_EACH):
                        with client.start_run(name=f"run {number}") as run:
                            run.log_metrics({"loss": float(number)})
                finally:
                    client.close()

        in_children(PROCESSES, work)
        with open_store(server.store_url) as store:
            found = store.find(Query("run", limit=1000)).entities
            assert len(found) == len({run.entity_id for run in found}) == PROCESSES * RUNS_EACH
            assert {run.status for run in found} == {"finished"}
            assert {run.metrics["loss"] for run in found} == set(map(float, range(RUNS_EACH)))
            assert verify(store).ok
            for kind in ("project", "experiment"):
                assert store.find(Query(kind, limit=1, count=True)).total == 1
    finally:
        server.stop()
