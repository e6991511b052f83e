"""Checkpoints: signed, witnessed by a time-stamp authority, kept in folders and buckets, and written on a schedule."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modeldb_core.audit import Checkpoint, verify
from modeldb_core.audit.access import Access, AccessLog, access_folder
from modeldb_core.audit.making import check_anchors, keep_checkpoint, make_checkpoint
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.cli import program
from modeldb_core.config import Settings
from modeldb_core.errors import ConfigurationError, IntegrityError, InvalidArgumentError, StoreUnavailableError
from modeldb_core.plugins import load_settings, open_artifacts
from modeldb_core.testing.scene import Scene
from modeldb_server.checkpoints import CheckpointSchedule
from tests.services.s3 import SeaweedFS
from tests.services.timestamps import Authority, authority


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("timestamps") / "authority") as found:
        yield found


@pytest.fixture(autouse=True)
def honest(request: pytest.FixtureRequest) -> None:
    if "witness" in request.fixturenames:
        request.getfixturevalue("witness").answer = None


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for _ in range(5):
        scene = Scene(store)
        scene.run()
        scene.ship()
    return store


def settings_of(witness: Authority, **more: Any) -> Settings:
    return load_settings(audit_timestamp_url=witness.url, audit_timestamp_roots=str(witness.roots), **more)


def key_in(folder: Path) -> tuple[Ed25519PrivateKey, Path]:
    key = Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return key, folder / "key.pem"


def merkle(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 33])
def test_the_root_is_that_of_the_merkle_tree_over_all_ends(count: int) -> None:
    streams = {f"stream {number % 7} {number}": (number, bytes([number] * 32)) for number in range(count)}
    leaves = [name.encode() + b"\0" + struct.pack(">Q", seq) + value for name, (seq, value) in sorted(streams.items())]
    assert Checkpoint(5, streams).root == merkle(leaves)


def test_a_time_stamp_says_when_and_openssl_agrees(store: MemoryStore, witness: Authority, tmp_path: Path) -> None:
    settings = settings_of(witness)
    checkpoint = make_checkpoint(store, settings)
    checkpoint.write(tmp_path / "c.json")
    read = Checkpoint.read(tmp_path / "c.json")
    assert read == checkpoint
    (said,) = check_anchors(read, settings)
    assert said.startswith("a time-stamp authority saw it at 20")
    (tmp_path / "answer.tsr").write_bytes(base64.b64decode(read.anchors[0]["response"]))
    command = ["openssl", "ts", "-verify", "-digest", read.digest, "-in", tmp_path / "answer.tsr"]
    done = subprocess.run([*command, "-CAfile", witness.roots], capture_output=True, check=False, timeout=60)
    assert b"Verification: OK" in done.stdout + done.stderr
    assert verify(store, checkpoint=read).ok
    (unknown,) = check_anchors(read, load_settings())
    assert "was not verified" in unknown


def test_a_time_stamp_that_does_not_fit_is_an_error(store: MemoryStore, witness: Authority, tmp_path: Path) -> None:
    settings = settings_of(witness)
    checkpoint = make_checkpoint(store, settings)
    with pytest.raises(IntegrityError, match="something else"):
        list(check_anchors(replace(checkpoint, made_at=checkpoint.made_at + 1), settings))
    response = bytearray(base64.b64decode(checkpoint.anchors[0]["response"]))
    response[-10] ^= 1  # within the signature
    forged = {**checkpoint.anchors[0], "response": base64.b64encode(response).decode()}
    with pytest.raises(IntegrityError, match="was not made by an authority"):
        list(check_anchors(replace(checkpoint, anchors=(forged,)), settings))
    with authority(tmp_path / "another") as another:
        theirs = load_settings(audit_timestamp_roots=str(another.roots))
        with pytest.raises(IntegrityError, match="was not made by an authority"):
            list(check_anchors(checkpoint, theirs))
    for anchor in ({}, {"response": "!"}, {"response": base64.b64encode(b"x").decode()}):
        broken = {"by": checkpoint.anchors[0]["by"], **anchor}
        with pytest.raises(IntegrityError, match="not a time-stamp"):
            list(check_anchors(replace(checkpoint, anchors=(broken,)), settings))
    (said,) = check_anchors(replace(checkpoint, anchors=({"by": "acme_ledger"},)), settings)
    assert said == "what 'acme_ledger' witnessed was not verified: no plugin here knows it"


def test_an_authority_that_gives_no_time_stamp_is_said(store: MemoryStore, witness: Authority) -> None:
    settings = settings_of(witness)
    earlier = base64.b64decode(make_checkpoint(store, settings).anchors[0]["response"])
    for answer, error in (
        ((500, b""), StoreUnavailableError),
        ((200, b"<html>"), IntegrityError),
        ((302, b""), StoreUnavailableError),
        ((200, earlier), IntegrityError),  # of another checkpoint
    ):
        witness.answer = answer
        with pytest.raises(error):
            make_checkpoint(store, settings)
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        make_checkpoint(store, load_settings(audit_timestamp_url="http://127.0.0.1:9/"))
    with pytest.raises(ConfigurationError, match=r"audit\.timestamp_url"):
        make_checkpoint(store, load_settings(audit_timestamp_url="file:///etc/passwd"))
    with pytest.raises(ConfigurationError, match=r"audit\.timestamp_roots"):
        witness.answer = None
        wrong = replace(settings, audit_timestamp_roots=Path(__file__))
        list(check_anchors(make_checkpoint(store, settings), wrong))


def test_a_checkpoint_is_kept_in_a_file_a_folder_or_a_bucket(store: MemoryStore, tmp_path: Path) -> None:
    settings = load_settings()
    checkpoint = Checkpoint.of(store)
    assert keep_checkpoint(checkpoint, str(tmp_path / "c.json"), settings) == str(tmp_path / "c.json")
    with pytest.raises(InvalidArgumentError, match="exists"):
        keep_checkpoint(checkpoint, str(tmp_path / "c.json"), settings)
    with pytest.raises(InvalidArgumentError, match="not a folder"):
        keep_checkpoint(checkpoint, str(tmp_path / "c.json") + "/", settings)
    path = Path(keep_checkpoint(checkpoint, f"{tmp_path}/new/", settings))
    assert path.parent == tmp_path / "new"
    assert Checkpoint.read(path) == checkpoint
    url = f"file://{tmp_path}/bucket"
    digest = keep_checkpoint(checkpoint, url, settings).rpartition(" ")[2].rstrip(")")
    artifacts = open_artifacts(url, settings)
    with artifacts.open(digest) as stream:
        assert Checkpoint.decode(stream.read(), "bucket") == checkpoint
    artifacts.close()


def test_a_checkpoint_is_kept_in_a_bucket_of_s3_and_read_from_there(
    store: MemoryStore, s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    settings, url = load_settings(), f"s3://{s3.new_bucket()}/checkpoints"
    checkpoint = Checkpoint.of(store)
    places = {keep_checkpoint(checkpoint, url, settings) for _ in range(2)}  # a second time it is there
    (place,) = places
    assert place.startswith(f"{url} (SHA-256 ")
    artifacts = open_artifacts(url, settings)
    with artifacts.open(place.rpartition(" ")[2].rstrip(")")) as stream:
        read = Checkpoint.decode(stream.read(), "bucket")
    artifacts.close()
    assert read == checkpoint
    assert verify(store, checkpoint=read).ok


def test_a_store_that_lost_what_a_signed_checkpoint_saw_is_found_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], witness: Authority
) -> None:
    import modeldb_core as modeldb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELDB_AUDIT_TIMESTAMP_URL", witness.url)
    monkeypatch.setenv("MODELDB_AUDIT_TIMESTAMP_ROOTS", str(witness.roots))
    with modeldb.connect(capture_enabled=False) as client, client.start_run("churn", "forest"):
        pass
    _, path = key_in(tmp_path)
    assert program.run(["audit", "checkpoint", "c.json", "--key", str(path)]) == program.OK
    check = ["audit", "verify", "--checkpoint", "c.json", "--key", str(path)]
    capsys.readouterr()
    assert program.run(check) == program.OK
    assert "a time-stamp authority saw it" in capsys.readouterr().err
    assert program.run(["audit", "checkpoint"]) == program.OK
    assert len(json.loads(capsys.readouterr().out)["root"]) == 64
    assert program.run([*check, "--url", "sqlite:///other.db"]) in (program.FOUND, program.STORE, program.MISSING)
    (tmp_path / "other").mkdir()
    _, other = key_in(tmp_path / "other")
    assert program.run([*check[:-1], str(other)]) != program.OK
    assert "none of the 1 signatures" in capsys.readouterr().err
    data = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({**data, "made_at": 5}))
    assert program.run(check) != program.OK
    assert program.run(["audit", "verify", "--key", str(path)]) == program.USAGE


def test_the_server_writes_checkpoints_of_both_logs_and_goes_on_where_nobody_witnesses_them(
    store: MemoryStore, tmp_path: Path, witness: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    key, path = key_in(tmp_path)
    folder = tmp_path / "checkpoints"
    settings = settings_of(
        witness,
        url=f"sqlite:///{tmp_path}/modeldb.db",
        audit_checkpoint_url=str(folder),
        audit_key=str(path),
        server_access_log_dir=str(tmp_path / "access"),
    )
    log = AccessLog(access_folder(settings.server_access_log_dir, settings.url))
    log.record(Access(5, "", "refuse", "route", "/x", {}))
    log.flush()
    schedule = CheckpointSchedule(store, settings)
    schedule.start()
    schedule.stop()  # it writes once, then waits to be stopped
    schedule._thread.join(60)
    found = {file.name.partition("-")[0]: Checkpoint.read(file) for file in folder.iterdir()}
    assert set(found) == {"checkpoint", "access"}
    for checkpoint in found.values():
        checkpoint.check_signature(key.public_key())
        assert len(list(check_anchors(checkpoint, settings))) == 1
    assert set(found["access"].streams) == {log.stream_id}
    assert verify(store, checkpoint=found["checkpoint"]).ok
    log.close()
    witness.answer = (500, b"")
    for file in folder.iterdir():
        file.unlink()
    for place in CheckpointSchedule(store, settings).write():
        assert Checkpoint.read(place).anchors == ()
    assert "nobody else witnessed a checkpoint" in caplog.text
