"""Eight processes train against a server that is killed, or over a network that fails, and nothing of it stops them."""

from __future__ import annotations

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.plugins import PluginManager, open_artifacts, open_store
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from modeldb_server import Server, ServerSettings, create_app
from tests.services.proxy import Proxy
from tests.services.server import TOKEN, ModelDBServer
from tests.services.trainers import Trainers, assert_exactly_once
from tests.waiting import wait_until


@pytest.fixture
def server():
    process = ModelDBServer()
    yield process
    process.stop()


@pytest.fixture
def train(tmp_path):
    """Start trainers that log to a URL."""
    started = []

    def start(url):
        environment = {"MODELDB_URL": f"{url}?timeout_s=2&retry_s=1", "MODELDB_TOKEN": TOKEN}
        started.append(Trainers(tmp_path, environment))
        return started[-1]

    yield start
    for trainers in started:
        trainers.kill()


def all_have_arrived(server, at_least=1):
    """Return a condition: the store behind the server has points of all eight runs."""

    def condition():
        with open_store(server.store_url) as store:
            runs = store.find(Query(filter="metrics.loss exists")).entities
        return len(runs) == 8 and all(run.series["loss"].count >= at_least for run in runs)

    return condition


def test_a_server_killed_and_started_again_costs_nothing(server, train):
    trainers = train(server.url)
    trainers.wait_until(all_have_arrived(server))
    server.kill()
    trainers.go_on()
    server.start()
    trainers.wait_until(all_have_arrived(server, at_least=max(trainers.steps())))
    server.kill()
    trainers.go_on(5)
    server.start()
    logged = trainers.finish()
    with RemoteMetadataStore(server.url, token=TOKEN) as store:
        assert_exactly_once(store, logged)
    assert "Traceback" not in server.log


@pytest.mark.thorough  # the server of tests/stores/test_outages.py
def test_a_network_that_hangs_cuts_or_refuses_costs_nothing(server, train):
    proxy = Proxy(server.port, cut_after=3000)
    trainers = train(f"http://127.0.0.1:{proxy.port}")
    trainers.wait_until(all_have_arrived(server))
    for mode in ("hang", "cut", "refuse"):
        proxy.mode = mode
        trainers.go_on()
        if mode == "cut":
            trainers.wait_until(lambda: proxy.cuts >= 8)
        proxy.mode = "pass"
        trainers.wait_until(all_have_arrived(server, at_least=max(trainers.steps())))
    logged = trainers.finish()
    proxy.close()
    with RemoteMetadataStore(server.url, token=TOKEN) as store:
        assert_exactly_once(store, logged)


def test_what_could_not_be_shipped_waits_in_the_journal_for_the_next_process(server, tmp_path, monkeypatch):
    import modeldb_core as modeldb

    monkeypatch.setenv("MODELDB_TOKEN", TOKEN)
    monkeypatch.setenv("MODELDB_JOURNAL_DIR", str(tmp_path / "journals"))
    note = tmp_path / "note.txt"
    note.write_text("kept beside the journal")
    server.kill()
    with (
        modeldb.connect(f"{server.url}?retry_s=0", exit_timeout_s=0.2, flush_interval_s=0.05) as client,
        client.start_run(project="outage", capture=False) as run,
    ):
        run.log_metrics({"loss": 1.0}, step=0)
        run.log_artifact(note)
    server.start()
    with modeldb.connect(server.url) as client:
        with client.start_run(project="outage", capture=False):
            pass
        client.flush(240)
        wait_until(lambda: client.search_runs("metrics.loss exists") and list(client.artifacts.list()))
        found = client.get_run(run.run_id)
        assert found.history("loss").values.tolist() == [1.0]
        assert client.artifacts.open(found.entity.artifacts["note.txt"]["digest"]).read() == note.read_bytes()


def test_a_server_that_is_asked_to_end_finishes_what_is_being_applied(tmp_path):
    writer = StreamWriter()
    run_id = writer.create_run(name="in time").entity_id
    begun, may_end = threading.Event(), threading.Event()
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        apply = store.apply

        def apply_slowly(changes, **options):
            begun.set()
            assert may_end.wait(240)
            apply(changes, **options)

        store.apply = apply_slowly
        server = Server(
            create_app(store, artifacts, ServerSettings(port=0, stop_timeout_s=30), plugins=PluginManager())
        )
        running = threading.Thread(target=server.run)
        running.start()
        with RemoteMetadataStore(server.url, retry_s=0) as remote, ThreadPoolExecutor(1) as pool:
            done = pool.submit(remote.apply, writer.changes)
            assert begun.wait(240)
            server.stop()  # what SIGTERM does
            assert not server.wait(0.1)
            may_end.set()
            done.result(30)
        assert server.wait(240)
        running.join(240)
        assert store.get("run", run_id).name == "in time"


def test_a_server_ends_well_when_it_is_asked_to(server):
    with RemoteMetadataStore(server.url, token=TOKEN) as store:
        store.heads()
    assert server.terminate() == 0
    assert "Traceback" not in server.log


def test_an_upload_survives_a_server_that_is_killed_half_way(server):
    content = os.urandom(40 << 20)
    artifacts = RemoteArtifactStore(server.url, token=TOKEN, retry_s=60)
    stream, reads = io.BytesIO(content), []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            reads.append(size)
            if len(reads) == 45:  # the first pass, of a MiB a time, only hashes
                server.kill()
                threading.Timer(0.5, server.start).start()
            return super().read(size)

    info = artifacts.put(Watched(content))
    assert len(reads) > 45
    with artifacts.open(info.digest) as blob:
        assert blob.read() == stream.getvalue()
    assert [item.digest for item in artifacts.list()] == [info.digest]


def test_what_a_killed_server_acknowledged_is_there_and_nothing_is_half_there(server):
    writers, acknowledged, blobs = [StreamWriter() for _ in range(3)], [0] * 3, []

    def write(number):
        writer = writers[number]
        run_id = writer.create_run(name=f"run {number}").entity_id
        with RemoteMetadataStore(server.url, token=TOKEN, retry_s=0) as store, suppress(StoreUnavailableError):
            while True:
                for _ in range(50):
                    writer.append(run_id, {"loss": [1.0]})
                store.apply(writer.take(acknowledged[number]))
                acknowledged[number] = writer.changes[-1].seq

    def upload():
        artifacts = RemoteArtifactStore(server.url, token=TOKEN, retry_s=0)
        with suppress(StoreUnavailableError):
            while True:
                blobs.append(artifacts.put(io.BytesIO(os.urandom(9 << 20))).digest)  # in two parts

    with ThreadPoolExecutor(4) as pool:
        running = [*(pool.submit(write, number) for number in range(3)), pool.submit(upload)]
        deadline = time.monotonic() + 240
        while not (all(acknowledged) and blobs) and time.monotonic() < deadline:
            time.sleep(0.01)
        server.kill()
        for future in running:
            future.result(240)
    assert all(acknowledged)
    assert blobs
    with open_store(server.store_url) as store, closing(open_artifacts(server.artifact_url)) as artifacts:
        heads = store.heads()
        for writer, seq in zip(writers, acknowledged, strict=True):
            assert heads[writer.stream_id].seq in {seq, writer.changes[-1].seq}  # all of a batch, or nothing of it
        assert verify(store).ok
        assert set(blobs) <= {info.digest for info in artifacts.list()}
        for info in artifacts.list():  # checked while it is read
            with artifacts.open(info.digest) as blob:
                while blob.read(1 << 20):
                    pass
    server.start()
    with RemoteMetadataStore(server.url, token=TOKEN) as store:
        for writer in writers:
            store.apply(writer.changes)
            assert store.heads()[writer.stream_id].seq == writer.changes[-1].seq
