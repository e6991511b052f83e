"""Files reach a store in a bucket beside the metrics, whatever happens to the process, the network and the store."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
from modeldb_core.backends.blobs.store import FsspecArtifactStore
from modeldb_core.errors import NotFoundError, StoreUnavailableError
from modeldb_core.journal import sending, uploads
from modeldb_core.journal.recovery import orphans
from modeldb_core.plugins import open_artifacts
from modeldb_core.runtime.notices import command_line
from modeldb_core.stores import BlobInfo
from modeldb_core.tracking import Client, blobs
from tests.services.proxy import Proxy
from tests.services.s3 import S3Server
from tests.waiting import wait_until

MIB = 1 << 20


class Away(FsspecArtifactStore):
    """A store that is somewhere else: on a folder, but slow, hanging or failing as a test wants."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_local = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failure: Exception | None = None
        self.putting = self.most_at_once = 0
        self.lock = threading.Lock()

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        with self.lock:
            self.putting += 1
            self.most_at_once = max(self.most_at_once, self.putting)
        try:
            self.may_go_on.wait(240)
            if self.failure is not None:
                raise self.failure
            return super().put(stream, digest=digest)
        finally:
            with self.lock:
                self.putting -= 1


@pytest.fixture
def away(client: Client, tmp_path: Path) -> Iterator[Away]:
    """Return the store that the client's files go to."""
    store = Away(f"file://{tmp_path}/away")
    client._artifacts = store
    yield store
    store.may_go_on.set()
    store.failure = None


def spooled(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "journals").glob("*/spool/*") if not path.name.startswith(".")]


# -- beside training --------------------------------------------------------------------------------------------------


def test_a_file_leaves_the_spool_once_the_store_has_it_and_not_before(tmp_path: Path) -> None:
    away = Away(f"file://{tmp_path}/artifacts")
    info = uploads.spool(io.BytesIO(b"content"), tmp_path / "spool")
    path = tmp_path / "spool" / info.digest
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(uploads.StoppedError):
        sending.ship([path], away, stopped=stopped)
    assert path.read_bytes() == b"content"
    sending.ship([path], FsspecArtifactStore(f"file://{tmp_path}/artifacts"))
    assert list(path.parent.iterdir()) == []
    assert away.stat(info.digest).size_bytes == len(b"content")


class Piecewise(FsspecArtifactStore):
    """One that takes a piece of what it is sent, and notes how many times its length that is in memory."""

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        tracemalloc.start()
        piece = stream.read(4 * MIB)
        self.times = tracemalloc.get_traced_memory()[1] / len(piece)
        tracemalloc.stop()
        stream.seek(0)
        return super().put(stream, digest=digest)


def test_a_piece_of_a_file_is_in_memory_once_when_it_is_sent(tmp_path: Path) -> None:
    artifacts = Piecewise(f"file://{tmp_path}/artifacts")
    info = uploads.spool(io.BytesIO(os.urandom(5 * MIB)), tmp_path / "spool")
    sending.ship([tmp_path / "spool" / info.digest], artifacts)
    assert artifacts.stat(info.digest).size_bytes == 5 * MIB
    assert artifacts.times < 1.5


def test_an_upload_that_hangs_holds_back_no_metric(client: Client, away: Away) -> None:
    away.may_go_on.clear()
    with client.start_run(capture=False) as run:
        run.log_artifact(os.urandom(1000), "file.bin")
        for step in range(10):
            run.log_metric("m", step, step=step)
        wait_until(lambda: away.putting == 1)
        assert client.writer.flush(240, files=False)
        assert len(client.store.read_series(run.run_id, "m").values) == 10
        assert client.search_runs("metrics.m exists")[0].run_id == run.run_id
        assert client.flush(0.2) is False, "a file counts when the store has it"
        away.may_go_on.set()
        assert client.flush(240)
    assert away.stat(client.get_run(run.run_id).artifacts["file.bin"]["digest"]).size_bytes == 1000


def test_small_files_that_are_logged_while_others_are_on_their_way_go_in_the_next_request(
    client: Client, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_many, sent = away.put_many, []

    def counted(contents: Any) -> list[str]:
        sent.append(len(contents))
        return put_many(contents)

    monkeypatch.setattr(away, "put_many", counted)
    away.may_go_on.clear()
    with client.start_run(capture=False) as run:
        run.log_artifact(b"first", "first.bin")
        wait_until(lambda: away.putting == 1)
        for number in range(300):
            run.log_artifact(b"%d" % number, f"{number}.bin")
        away.may_go_on.set()
        assert client.flush(240)
    assert sent == [1, 128, 128, 44]
    assert len(list(away.list())) == 301


def test_a_small_file_that_is_refused_keeps_no_other_waiting(client: Client, away: Away, tmp_path: Path) -> None:
    away.may_go_on.clear()
    with client.start_run(capture=False) as run:
        run.log_artifact(b"first", "first.bin")
        wait_until(lambda: away.putting == 1)
        for number in range(20):
            run.log_artifact(b"%d" % number, f"{number}.bin")
        damaged = hashlib.sha256(b"7").hexdigest()
        (where,) = [path for path in spooled(tmp_path) if path.name == damaged]
        where.write_bytes(b"something else")
        away.may_go_on.set()
        wait_until(lambda: spooled(tmp_path) == [where])
        run.log_artifact(b"later", "later.bin")
        wait_until(lambda: spooled(tmp_path) == [where])
        where.write_bytes(b"7")
        assert client.flush(240)


def test_a_file_can_be_read_before_it_has_arrived(client: Client, away: Away) -> None:
    away.may_go_on.clear()
    with client.start_run(capture=False) as run:
        run.log_artifact(b"content", "file.bin")
        assert run.read_artifact("file.bin") == b"content"
        away.may_go_on.set()
        client.flush(240)
        assert run.read_artifact("file.bin") == b"content"


def test_several_files_are_on_their_way_at_once_and_not_too_many(client: Client, away: Away) -> None:
    away.may_go_on.clear()
    with client.start_run(capture=False) as run:
        for number in range(12):
            run.log_artifact(os.urandom(uploads.SMALL_BYTES + 1), f"{number}.bin")  # small ones may go together
        wait_until(lambda: away.putting == uploads.WIDTH)
        away.may_go_on.set()
        assert client.flush(240)
    assert away.most_at_once == uploads.WIDTH
    assert len(list(away.list())) == 12


def test_what_the_program_writes_into_its_file_later_does_not_show(client: Client, away: Away, tmp_path: Path) -> None:
    away.may_go_on.clear()
    path = tmp_path / "checkpoint.bin"
    first = os.urandom(3 * MIB)
    path.write_bytes(first)
    with client.start_run(capture=False) as run:
        run.log_artifact(path)
        with path.open("r+b") as file:
            file.write(os.urandom(MIB))
        away.may_go_on.set()
        assert client.flush(240)
        assert run.read_artifact("checkpoint.bin") == first


def test_a_file_is_cloned_and_not_copied_where_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(2 * MIB)
    (tmp_path / "file").write_bytes(content)
    cloned = []

    def clone(target: int, request: int, source: int) -> None:
        # What FICLONE does, on a file system that has it not.
        assert request == 0x40049409
        os.pwrite(target, os.pread(source, len(content), 0), 0)
        cloned.append(source)

    monkeypatch.setattr("fcntl.ioctl", clone)
    with (tmp_path / "file").open("rb") as file:
        whole = uploads.spool(file, tmp_path / "spool")
        assert cloned == [file.fileno()]
        assert file.tell() == 0, "nothing was read"
        file.seek(MIB)
        rest = uploads.spool(file, tmp_path / "spool")
    assert whole == BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
    assert (tmp_path / "spool" / whole.digest).read_bytes() == content
    assert (tmp_path / "spool" / rest.digest).read_bytes() == content[MIB:]
    assert len(cloned) == 1
    memory = uploads.spool(io.BytesIO(b"memory"), tmp_path / "spool")
    assert (tmp_path / "spool" / memory.digest).read_bytes() == b"memory"


def test_the_same_content_may_be_logged_again_while_it_is_delivered(client: Client, away: Away) -> None:
    with client.start_run(capture=False) as run:
        for number in range(300):
            run.log_artifact(b"the same content", f"{number}.bin")
        assert client.flush(240)
    assert [info.size_bytes for info in away.list()] == [16]


def test_without_room_beside_the_journal_a_file_is_sent_at_once(client: Client, away: Away, tmp_path: Path) -> None:
    with client.start_run(capture=False) as run:
        client.writer.spool.write_text("a file in place of the folder")
        run.log_artifact(b"content", "file.bin")
        assert [info.size_bytes for info in away.list()] == [7]
        away.failure = StoreUnavailableError("the store is away")
        with pytest.raises(StoreUnavailableError, match="cannot be kept.*the store is away"):
            run.log_artifact(b"more", "more.bin")
        client.writer.spool.unlink()


# -- a store that is away ---------------------------------------------------------------------------------------------


def test_a_store_that_is_away_is_said_once_and_tried_until_it_is_back(
    client: Client, away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    away.failure = StoreUnavailableError("the bucket is away, token=hunter2")
    with client.start_run(capture=False) as run:
        for number in range(6):
            run.log_artifact(os.urandom(100), f"{number}.bin")
        wait_until(lambda: client.writer.uploads._retries._failures > 2)
        assert client.flush() is False, "without a time it does not wait for a store that fails"
        away.failure = None
        assert client.flush(240)
    assert len(list(away.list())) == 6
    (said,) = [record.getMessage() for record in caplog.records if "artifact store" in record.getMessage()]
    assert "the bucket is away" in said


def test_the_end_waits_for_a_while_and_the_next_process_sends_the_rest(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Away(f"file://{tmp_path}/away")
    store.may_go_on.clear()
    with modeldb.connect(exit_timeout_s=0.3) as client:
        client._artifacts = store
        with client.start_run(capture=False) as run:
            run.log_artifact(b"content", "file.bin")
            run.log_metric("m", 1.0)
    assert [path.read_bytes() for path in spooled(tmp_path)] == [b"content"]
    assert any(f"`{command_line('sync')}`" in record.getMessage() for record in caplog.records)
    store.may_go_on.set()
    with modeldb.connect() as other:
        other._artifacts = FsspecArtifactStore(f"file://{tmp_path}/away")
        other.writer.recover(240)
    assert spooled(tmp_path) == []
    assert not list(orphans(tmp_path / "journals"))
    with modeldb.connect() as third:
        assert third.get_run(run.run_id).status == "finished"
        assert third.get_run(run.run_id).metrics["m"] == 1.0


def test_a_file_that_another_thread_logs_while_the_client_is_closed_is_sent_by_the_next_process(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the end has waited for all files, and nothing has been removed yet."""
    store = Away(f"file://{tmp_path}/away")
    is_spooled, may_go_on, logged = threading.Event(), threading.Event(), []

    def slowly(stream: BinaryIO, folder: Path) -> BlobInfo:
        info = uploads.spool(stream, folder)
        is_spooled.set()
        may_go_on.wait(240)
        return info

    monkeypatch.setattr(blobs, "spool", slowly)
    with modeldb.connect() as client:
        client._artifacts = store
        client.start_run(capture=False).finish()
        thread = threading.Thread(target=lambda: logged.append(client.put_blob(io.BytesIO(b"late"))))
        finish = client.writer.uploads.finish

        def finish_first(deadline: float) -> bool:
            is_sent = finish(deadline)
            store.failure = StoreUnavailableError("the bucket is away")
            may_go_on.set()
            thread.join(240)
            return is_sent

        monkeypatch.setattr(client.writer.uploads, "finish", finish_first)
        thread.start()
        assert is_spooled.wait(240)
    assert [info.size_bytes for info in logged] == [4]
    with modeldb.connect() as other:
        other._artifacts = FsspecArtifactStore(f"file://{tmp_path}/away")
        other.writer.recover(240)
        with other.artifacts.open(logged[0].digest) as content:
            assert content.read() == b"late"


def test_files_of_the_dead_hold_back_no_metric_of_the_living(environment: dict[str, str], tmp_path: Path) -> None:
    leave_file_behind(environment, b"left behind", f"file://{tmp_path}/not-a-folder")
    store = Away(f"file://{tmp_path}/away")
    store.may_go_on.clear()
    with modeldb.connect() as client:
        client._artifacts = store
        with client.start_run(capture=False) as run:
            run.log_metric("m", 1.0)
            wait_until(lambda: store.putting == 1)
            run.log_metric("n", 1.0)
            assert client.flush(240)
            assert client.get_run(run.run_id).metrics["n"] == 1.0
        store.may_go_on.set()
    assert [info.size_bytes for info in store.list()] == [11]


def leave_file_behind(environment: dict[str, str], content: bytes, artifact_url: str) -> None:
    """Let a process log a file that its store does not take, and die."""
    script = """
        import os, sys, modeldb_core as modeldb
        from modeldb_core.tracking.blobs import BlobUploader
        run = modeldb.start_run(capture=False)
        door = run.client.blobs
        run.client.writer.uploads.stop()
        door._put_later(__import__("io").BytesIO(sys.argv[1].encode()), 0)
        run.client.writer.flush(240, files=False)
        os.kill(os.getpid(), 9)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), content.decode()],
        env={**os.environ, **environment, "MODELDB_ARTIFACT_URL": artifact_url},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL


def test_a_forked_child_sends_its_own_files(environment: dict[str, str], tmp_path: Path, weak_s3: S3Server) -> None:
    script = """
        import os, modeldb_core as modeldb
        with modeldb.connect() as client, client.start_run(capture=False) as run:
            run.log_artifact(os.urandom(20 << 20), "parent.bin")
            child = os.fork()
            if not child:
                run.log_artifact(b"from the child", "child.bin")
                client.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        print(run.run_id)
    """
    environment |= {**weak_s3.environment, "MODELDB_ARTIFACT_URL": f"s3://{weak_s3.new_bucket()}"}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert spooled(tmp_path) == [], process.stderr
    with modeldb.connect() as client:
        entries = client.get_run(process.stdout.strip()).artifacts
    with open_artifacts_as(environment) as artifacts:
        assert [artifacts.stat(entries[name]["digest"]).size_bytes for name in ("child.bin", "parent.bin")] == [
            14,
            20 * MIB,
        ]
        artifacts.close()


def open_artifacts_as(environment: dict[str, str]) -> Any:
    """Open the artifact store that programs started with ``environment`` use."""
    import contextlib

    @contextlib.contextmanager
    def opened() -> Iterator[Any]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            store = open_artifacts(environment["MODELDB_ARTIFACT_URL"])
            yield store
            store.close()

    return opened()


# -- a real bucket ----------------------------------------------------------------------------------------------------


def test_a_script_killed_in_the_middle_of_an_upload_is_completed_by_sync(
    environment: dict[str, str], tmp_path: Path, s3: S3Server
) -> None:
    script = """
        import os, sys, time, modeldb_core as modeldb
        run = modeldb.start_run(capture=False)
        run.log_metric("m", 1.0)
        run.log_artifact(sys.argv[1])
        print(run.run_id, flush=True)
        time.sleep(100)
    """
    bucket, path = s3.new_bucket(), tmp_path / "large.bin"
    path.write_bytes(content := os.urandom(48 * MIB))
    environment |= {**s3.environment, "MODELDB_ARTIFACT_URL": f"s3://{bucket}?part_mib=5&parallel=2"}
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    proxy = Proxy(s3.port, hang_after=28 * MIB)  # three parts and more, and never the whole
    through = {**os.environ, **environment, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"}
    process = subprocess.Popen(command, env=through, stdout=subprocess.PIPE, text=True)
    client = s3.client()
    try:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        wait_until(lambda: len(parts_of(client, bucket)) > 2)
    finally:
        process.kill()
        process.communicate()
        proxy.close()
    arrived = len(parts_of(client, bucket))
    held = [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert all(key.startswith(".owners/") for key in held), "the file is not whole"
    sync = [sys.executable, "-m", "modeldb_core.cli", "sync"]
    done = subprocess.run(sync, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    assert "1 run corrected" in done.stdout
    assert arrived > 2
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == [], "it went on with the same upload"
    client.close()
    assert spooled(tmp_path) == []
    with open_artifacts_as(environment) as artifacts, modeldb.connect() as reader:
        with artifacts.open(reader.get_run(run_id).artifacts["large.bin"]["digest"]) as stream:
            assert stream.read() == content


def parts_of(client: Any, bucket: str) -> list[Any]:
    """Return the parts of the one upload that is under way."""
    found = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    if not found:
        return []
    place = {"Bucket": bucket, "Key": found[0]["Key"], "UploadId": found[0]["UploadId"]}
    return list(client.list_parts(**place).get("Parts", []))


def test_training_goes_on_while_the_network_to_the_bucket_hangs(
    environment: dict[str, str], tmp_path: Path, weak_s3: S3Server
) -> None:
    proxy = Proxy(weak_s3.port)
    bucket = f"s3://{weak_s3.new_bucket()}"
    url = f"{bucket}?read_timeout_s=1&connect_timeout_s=1&max_attempts=1"
    variables = {**environment, **weak_s3.environment, "MODELDB_ARTIFACT_URL": url}
    variables["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{proxy.port}"
    try:
        proxy.mode = "hang"
        with open_artifacts_as(variables) as artifacts, modeldb.connect() as client:
            client._artifacts = artifacts
            with client.start_run(capture=False) as run:
                run.log_artifact(b"content", "file.bin")
                for step in range(100):
                    run.log_metric("m", step, step=step)
                assert client.writer.flush(240, files=False)
                assert len(run.history("m")) == 100
                wait_until(lambda: client.writer.uploads.failure is not None)
                digest = hashlib.sha256(b"content").hexdigest()
                proxy.mode = "pass"
                assert client.flush(240)
        with closing(S3ArtifactStore(bucket, **weak_s3.options)) as patient:
            assert patient.stat(digest).size_bytes == 7
    finally:
        proxy.close()


def test_what_takes_long_is_said(
    client: Client, away: Away, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SAY_EVERY_S", 0.0)
    monkeypatch.setattr(uploads, "EXIT_PATIENCE_S", 0.05)
    with caplog.at_level(logging.INFO, "modeldb"):
        away.may_go_on.clear()
        with client.start_run(capture=False) as run:
            run.log_artifact(os.urandom(3 * MIB), "file.bin")
        threading.Timer(0.5, away.may_go_on.set).start()
        client.writer.close(30)
    messages = [record.getMessage() for record in caplog.records]
    assert any("waits up to" in message and "1 file (3.1 MB)" in message for message in messages)
    assert any(message.startswith("Sending files to the artifact store: 1 with") for message in messages)


def test_a_blob_that_is_nowhere_is_not_found(client: Client, away: Away) -> None:
    with pytest.raises(NotFoundError):
        client.blobs.open("0" * 64)
