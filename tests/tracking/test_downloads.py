"""Files come back from a server in few requests, each of them checked, and none half written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.remote.connection import Connection
from modeldb_core.errors import IntegrityError, StoreUnavailableError
from modeldb_core.journal import uploads
from modeldb_core.model.values import is_digest
from modeldb_core.stores.reading import SMALL_BYTES, Wanted, contents, groups
from modeldb_core.tracking import Client, artifacts
from tests.services.server import serving_folder

SMALL = 150


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Return a client of a server whose store lies below ``served``."""
    (tmp_path / "served").mkdir()
    with (
        serving_folder(tmp_path / "served") as url,
        modeldb.connect(url, journal_dir=str(tmp_path / "journals"), flush_interval_s=0.05) as connected,
    ):
        yield connected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of many small files and a long one."""
    made = tmp_path / "data"
    made.mkdir()
    for number in range(SMALL):
        (made / f"{number:03}.txt").write_text(f"content {number}")
    (made / "long.bin").write_bytes(os.urandom(SMALL_BYTES + 1))
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is sent to a server about blobs: the method and the path of each request."""
    requests: list[str] = []
    attempt = Connection._attempt_all

    def noted(self: Connection, method: str, target: str, *arguments: Any, **options: Any) -> Any:
        if "/blob" in target:
            requests.append(f"{method} {target}")
        return attempt(self, method, target, *arguments, **options)

    monkeypatch.setattr(Connection, "_attempt_all", noted)
    return requests


def logged(client: Client, folder: Path) -> modeldb.Run:
    with client.start_run(capture=False) as run:
        run.log_artifact(folder, "data")
    assert client.flush(240)
    return client.get_run(run.run_id)


def assert_same(left: Path, right: Path) -> None:
    assert {path.name: path.read_bytes() for path in left.iterdir()} == {
        path.name: path.read_bytes() for path in right.iterdir()
    }


def blob_file(tmp_path: Path, content: bytes) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    return next((tmp_path / "served" / "blobs").rglob(digest))


def test_a_folder_of_small_files_comes_back_in_few_requests(
    client: Client, folder: Path, asked: list[str], tmp_path: Path
) -> None:
    run = logged(client, folder)
    asked.clear()
    run.download_artifact("data", tmp_path / "fetched")
    assert_same(tmp_path / "fetched", folder)
    together = [request for request in asked if request.startswith("POST")]
    assert (len(together), len(asked)) == (2, 4), "and for the long one: whether it has an address, and its content"


def test_one_file_is_one_request(client: Client, folder: Path, asked: list[str]) -> None:
    run = logged(client, folder)
    run.read_artifact("data/000.txt")  # this one also finds out whether blobs have addresses of their own
    asked.clear()
    assert run.read_artifact("data/001.txt") == b"content 1"
    assert run.read_artifact("data/long.bin") == (folder / "long.bin").read_bytes()
    assert [request.split()[0] for request in asked] == ["GET", "GET"]


@pytest.mark.parametrize("header", [("Content-Length", None), ("Content-Encoding", "identity")])
def test_a_file_comes_through_what_alters_the_answer(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch, header: tuple[str, str | None]
) -> None:
    run, (name, value), open_one = logged(client, folder), header, Connection.open

    def altered(self: Connection, *arguments: Any, **options: Any) -> Any:
        answer = open_one(self, *arguments, **options)
        answer.headers.pop(name, None)
        if value is not None:
            answer.headers[name] = value
        return answer

    monkeypatch.setattr(Connection, "open", altered)
    assert run.read_artifact("data/001.txt") == b"content 1"
    assert run.read_artifact("data/long.bin") == (folder / "long.bin").read_bytes()


def test_an_empty_file_is_read(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_artifact(b"", "empty.txt")
    assert client.flush(240)
    assert [client.get_run(run.run_id).read_artifact("empty.txt") for _ in range(3)] == [b"", b"", b""]


def test_one_file_is_found_without_looking_at_the_others(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = logged(client, folder)
    looked_at: list[object] = []
    monkeypatch.setattr(artifacts, "is_digest", lambda digest: looked_at.append(digest) or is_digest(digest))
    assert run.read_artifact("data/001.txt") == b"content 1"
    assert looked_at == [hashlib.sha256(b"content 1").hexdigest()]


def test_a_damaged_file_is_named_and_those_before_it_are_there(client: Client, folder: Path, tmp_path: Path) -> None:
    run = logged(client, folder)
    damaged = blob_file(tmp_path, b"content 7")
    damaged.write_bytes(b"CONTENT 7")
    with pytest.raises(IntegrityError, match=damaged.name):
        run.download_artifact("data", tmp_path / "fetched")
    assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == [f"{number:03}.txt" for number in range(7)]
    assert run.read_artifact("data/008.txt") == b"content 8"


def test_a_lost_file_is_named_and_those_before_it_are_there(client: Client, folder: Path, tmp_path: Path) -> None:
    run = logged(client, folder)
    lost = blob_file(tmp_path, b"content 3")
    lost.unlink()
    with pytest.raises(LookupError, match=lost.name):
        run.download_artifact("data", tmp_path / "fetched")
    assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == [f"{number:03}.txt" for number in range(3)]


def test_what_is_longer_than_it_says_comes_all_the_same(client: Client, tmp_path: Path) -> None:
    both = [os.urandom(SMALL_BYTES + 1), b"short"]
    digests = [hashlib.sha256(content).hexdigest() for content in both]
    with client.start_run(capture=False) as run:
        for content in both:
            run.log_artifact(content, f"{len(content)}.bin")
    assert client.flush(240)
    (group,) = groups(Wanted(at, digest, 0) for at, digest in enumerate(digests))
    for blobs in (client.blobs, FsspecArtifactStore(f"file://{tmp_path}/served/blobs")):
        for at, stream in contents(blobs, group):
            with stream:
                assert stream.read() == both[at]


def test_files_that_were_not_sent_yet_are_read_with_those_that_were(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = logged(client, folder)

    def refused(*_: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(uploads, "send", refused)
    monkeypatch.setattr(uploads, "send_together", refused)
    with client.start_run(capture=False) as later:
        later.log_artifact(b"waits", "waits.txt")
        waits, sent = hashlib.sha256(b"waits").hexdigest(), run.artifacts["data/000.txt"]["digest"]
        assert client.blobs.read_many([waits, sent], 100) == [b"waits", b"content 0"]
        monkeypatch.undo()


def test_a_version_of_data_is_checked_out_in_few_requests(
    client: Client, folder: Path, asked: list[str], tmp_path: Path
) -> None:
    version = modeldb.log_dataset_version("numbers", folder, keep=True, client=client)
    asked.clear()
    counted: list[tuple[int, int]] = []
    version.checkout(tmp_path / "fetched", progress=lambda *both: counted.append(both))
    assert_same(tmp_path / "fetched", folder)
    assert counted[-1] == (SMALL + 1, SMALL + 1)
    assert len(asked) <= 8, "two groups, the long one, whether it has an address, and the tree"
