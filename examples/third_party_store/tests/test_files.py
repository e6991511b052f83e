"""What is particular to the ledger: it survives what happens to files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from modeldb_ledger.artifacts import LedgerArtifacts
from modeldb_ledger.metadata import LedgerStore

from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.testing import StreamWriter


@pytest.fixture
def url(tmp_path):
    return f"ledger://{tmp_path}/store"


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "store" / "ledger"


@pytest.fixture
def writer():
    """A stream of one run, called "kept"."""
    writer = StreamWriter()
    writer.create_run(name="kept")
    return writer


def run_ids(url):
    with LedgerStore(url) as store:
        return [change.entity_id for change in store.read_changes().changes]


def test_its_urls_open_both_stores(url):
    with open_store(url) as store:
        assert isinstance(store, LedgerStore)
    assert isinstance(open_artifacts(url), LedgerArtifacts)


@pytest.mark.parametrize("length", [1, 19, 20, 50])
def test_what_a_writer_left_half_done_is_cut_by_the_next_one(url, ledger, writer, length):
    with LedgerStore(url) as store:
        store.apply(writer.changes)
        whole = ledger.read_bytes()
        writer.create_run(name="never acknowledged")
        store.apply(writer.changes)
        ledger.write_bytes(ledger.read_bytes()[: len(whole) + length])
    assert run_ids(url) == [writer.changes[0].entity_id]
    with LedgerStore(url) as store:
        store.apply(writer.changes)
    assert run_ids(url) == [change.entity_id for change in writer.changes]


def test_no_altered_byte_passes_for_the_end_of_the_file(url, ledger, writer):
    with LedgerStore(url) as store:
        store.apply(writer.changes)
        writer.create_run()
        store.apply(writer.changes)
    whole = ledger.read_bytes()
    for at in range(0, len(whole), 7):
        ledger.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with LedgerStore(url) as store, pytest.raises((IntegrityError, StoreVersionError), match="at byte"):
            store.apply(writer.changes)
        assert len(ledger.read_bytes()) == len(whole)


def test_what_was_erased_is_in_no_file(url, ledger, writer):
    with LedgerStore(url) as store, LedgerStore(url) as other:
        secret = writer.update("run", writer.changes[0].entity_id, set={"description": "s3cr3t " * 3})
        store.apply(writer.changes)
        position = other.read_changes().cursor
        writer.erase(secret)
        store.apply(writer.changes)
        assert other.get("run", writer.changes[0].entity_id).description == ""
        assert [change.seq for change in other.read_changes(after=position).changes] == [3]
    for path in ledger.parent.iterdir():
        assert b"s3cr3t" not in path.read_bytes()


def test_a_full_disk_is_said_and_leaves_what_there_was(url, ledger, writer, monkeypatch):
    def full(descriptor, data, at):
        pwrite(descriptor, bytes(data)[:10], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pwrite = os.pwrite
    with LedgerStore(url) as store:
        store.apply(writer.changes)
        before = ledger.read_bytes()
        writer.create_run()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StoreUnavailableError, match="is full; free space"):
                store.apply(writer.changes)
        assert ledger.read_bytes() == before
        assert len(store.read_changes().changes) == 1
        store.apply(writer.changes)
        assert len(store.read_changes().changes) == 2


def test_a_ledger_of_a_newer_version_is_refused(url, ledger):
    LedgerStore(url).close()
    ledger.write_bytes(b"LGR2" + bytes(100))
    with LedgerStore(url) as store, pytest.raises(StoreVersionError, match="update modeldb-ledger"):
        store.heads()


def test_another_file_is_refused(url, ledger):
    LedgerStore(url).close()
    ledger.write_bytes(b"a letter to my mother, of some length")
    with LedgerStore(url) as store, pytest.raises(IntegrityError, match="no ledger"):
        store.heads()


@pytest.mark.parametrize("url", ["ledger://", "ledger://relative/path", "ledger:///x?fsync=1", "ledger:///a%00b"])
def test_a_url_that_names_no_folder_says_how_to_write_one(url):
    for opened in (LedgerStore, LedgerArtifacts):
        with pytest.raises(ConfigurationError, match="ledger:///absolute/path"):
            opened(url)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for opened in (LedgerStore, LedgerArtifacts):
        with pytest.raises(ConfigurationError, match=r"tmp.*file"):
            opened(f"ledger://{tmp_path}/file/below")


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for opened in (LedgerStore, LedgerArtifacts):
        with pytest.raises(StoreReadOnlyError, match="may not be written"):
            opened(f"ledger://{tmp_path}/new")


def test_a_forked_child_goes_on_with_the_store_of_its_parent(url, writer):
    with LedgerStore(url) as store:
        store.apply(writer.changes)
        child = os.fork()
        if child == 0:
            other = StreamWriter()
            other.create_run(name="of the child")
            try:
                store.apply(other.changes)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(store.read_changes().changes) == 2
