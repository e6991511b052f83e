"""Journals whose process died between sealing and sending: each record becomes one change, whatever the store has seen."""

from __future__ import annotations

import json
import logging
import os
import shutil
import struct
import tempfile
import uuid
from pathlib import Path
from zlib import adler32

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal.journal import RESERVE_BYTES, Journal, RowPlan
from modeldb_core.journal.records import CHECK_BYTES, ROW_AT, ROW_HEAD, Chain, Draft, Plan, Seal
from modeldb_core.journal.recovery import orphans, recover
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_core.journal.sealing import build
from modeldb_core.log.changes import CREATE, GENESIS, OPEN, STREAM, UPDATE, Change
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.values import MAX_NAME_LENGTH
from tests.backends.writers import in_children

URL = "memory://here"


def plan(number: int, run_id: str, *keys: str) -> RowPlan:
    packing = struct.Struct(f"{ROW_HEAD.format}{len(keys)}d")
    return RowPlan(packing.pack, number, packing.size + CHECK_BYTES, None, Plan(run_id, keys).record(number))


class Dead:
    """A process that logs drafts into one segment, seals as it is told, and is then no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stream_id, self.run_id = str(uuid.uuid4()), str(uuid.uuid4())
        header = {"store_url": URL, "actor": "ann", "is_actor_known": False}
        self.journal = Journal(folder, self.stream_id, header)
        self.plans: dict[int, Plan] = {}
        self.rows = plan(1, self.run_id, "loss")
        self.chain, self.at = Chain(0, GENESIS), 0
        self.count = 0
        self.actor = "bob"  # the store has said so by the time of the first seal
        self._draft(OPEN, STREAM, self.stream_id, {"pid": 1, "lease_s": 30})
        self._draft(CREATE, "run", self.run_id, {"status": "running", "stream_id": self.stream_id})

    def log(self, count: int = 2) -> None:
        """Log some values, each under a number of its own, and a point with each."""
        for _ in range(count):
            record = self.rows.pack(self.rows.size, ROW_AT, 1, self.count, self.count * 1000, 0.5 * self.count)
            self.journal.append(record + adler32(record).to_bytes(4, "little"), self.rows)
            self.rows = self.rows._replace(memory=self.journal.memory)  # defined once in the segment
            self._draft(UPDATE, "run", self.run_id, {"put": {"metrics": {f"m{self.count}": float(self.count)}}})
            self.count += 1

    def seal(self, end: int | None = None) -> list[Change]:
        """Seal what is not sealed yet, or up to a position, as the thread does before it sends; return what it would send."""
        segment = self.journal.snapshot()[-1]
        salt = os.urandom(16)
        start, end = self.at, segment.used if end is None else end
        changes, chain = build(
            segment,
            start,
            end,
            stream_id=self.stream_id,
            actor=self.actor,
            first=self.chain,
            sealed_at=7,
            salt=salt,
            plans=self.plans,
        )
        mark = Seal(start, end, self.chain, 7, salt, chain.seq, chain.hash, self.actor)
        self.journal.append_seal(segment, mark.record())
        self.chain, self.at = chain, end
        return changes

    def die(self) -> None:
        """Leave the journal to whoever comes."""
        self.journal.abandon()

    def lose_from_memory(self, count: int) -> list[Change]:
        """Send changes that no journal holds: the disk was full then, and they lived in memory."""
        stream = StreamWriter(self.stream_id, self.actor, self.chain.seq, self.chain.hash)
        update = {"put": {"attributes": {"volatile": True}}}
        changes = [stream.write(Entry(UPDATE, "run", self.run_id, update), 7) for _ in range(count)]
        self.chain = Chain(stream.seq, stream.previous_hash)
        return changes

    def _draft(self, action: str, kind: str, entity_id: str, payload: dict[str, object]) -> None:
        self.journal.append(Draft(action, kind, entity_id, 5, json.dumps(payload).encode()).record())


@pytest.fixture
def dead(tmp_path: Path) -> Dead:
    (tmp_path / "journals").mkdir(mode=0o700)
    return Dead(tmp_path / "journals")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(URL)


class KilledError(BaseException):
    """The process that recovers is killed."""


def recovered(dead: Dead, store: MemoryStore) -> list[Change]:
    """Recover what a process left; return the changes of its stream, without the end that recovery puts to it."""
    done = recover(dead.folder, URL, store, lambda: FsspecArtifactStore(f"file://{dead.folder.parent}/artifacts"))
    assert done.streams == [dead.stream_id], done
    assert [path.name for path in dead.folder.iterdir() if not path.name.startswith(".")] == []
    changes = list(store.read_changes(stream_id=dead.stream_id, limit=100_000).changes)
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    run = store.get("run", dead.run_id)
    assert run.document["metrics"] == {f"m{number}": float(number) for number in range(dead.count)}
    assert store.read_series(dead.run_id, "loss").steps.tolist() == list(range(dead.count))
    assert run.document["status"] == "killed"
    return changes[:-2]  # the run is killed, and the stream closed


def hashes(changes: list[Change]) -> list[bytes]:
    return [change.hash for change in changes]


def said(changes: list[Change]) -> list[bytes | None]:
    """Return the payloads, but those of points, which may be put together otherwise."""
    return [change.payload for change in changes if change.action == UPDATE]


@pytest.mark.parametrize("seen", [0, 1, 2, 3])
def test_several_seals_of_one_segment_are_sent_once_each_and_the_rest_is_sealed(
    dead: Dead, store: MemoryStore, seen: int
) -> None:
    sealed = []
    for _ in range(3):
        dead.log()
        sealed.append(dead.seal())
    dead.log()  # never sealed
    dead.die()
    for changes in sealed[:seen]:
        store.apply(changes)
    found = recovered(dead, store)
    before = [change for changes in sealed for change in changes]
    assert hashes(found)[: len(before)] == hashes(before), "bit for bit"
    assert len(found) == len(before) + 3
    assert {change.actor for change in found} == {"bob"}


def test_a_store_that_stands_in_the_middle_of_what_was_sealed_gets_the_rest_of_it(
    dead: Dead, store: MemoryStore
) -> None:
    """As one does that was restored from a copy."""
    dead.log()
    first = dead.seal()
    dead.log()
    second = dead.seal()
    dead.die()
    store.apply(first)
    store.apply(second[:1])
    assert hashes(recovered(dead, store)) == hashes(first + second)


@pytest.mark.parametrize("seen", [0, 1])
@pytest.mark.parametrize("killed", [False, True], ids=["", "a first recovery is killed"])
def test_what_was_sealed_after_records_that_died_with_memory_is_numbered_again(
    dead: Dead, store: MemoryStore, seen: int, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has seen neither them nor what was sealed after them: two seals lead on from numbers that are no more."""
    dead.log()
    first = dead.seal()
    dead.lose_from_memory(3)
    dead.log()
    second = dead.seal()
    dead.log(3)
    third = dead.seal()
    dead.log(1)
    dead.die()
    if seen:
        store.apply(first)
    if killed:
        real = store.apply

        def apply(changes: list[Change]) -> None:
            real(changes)
            if changes[-1].entity_id == dead.run_id and changes[-1].hash != first[-1].hash:
                raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(store, "apply", apply)
            with pytest.raises(KilledError):
                recovered(dead, store)
    found = recovered(dead, store)
    assert hashes(found)[: len(first)] == hashes(first)
    assert said(found[len(first) :])[:5] == said([*second, *third])
    assert len(said(found)) == dead.count


def test_what_was_sealed_and_sent_after_records_that_lived_in_memory_keeps_its_numbers(
    dead: Dead, store: MemoryStore
) -> None:
    dead.log()
    store.apply(dead.seal())
    store.apply(dead.lose_from_memory(3))
    dead.log()
    last = dead.seal()
    dead.log()
    dead.die()
    found = recovered(dead, store)
    assert hashes(found)[-3 - len(last) : -3] == hashes(last)


def test_what_was_sealed_after_numbers_that_others_have_in_the_store_is_numbered_again(
    dead: Dead, store: MemoryStore
) -> None:
    dead.log()
    store.apply(first := dead.seal())
    chain = dead.chain
    dead.lose_from_memory(2)
    dead.log()
    dead.seal()
    dead.die()
    dead.chain = chain
    store.apply(others := dead.lose_from_memory(2))  # as many, but not the same
    found = recovered(dead, store)
    assert hashes(found)[: len(first) + 2] == hashes([*first, *others])


@pytest.mark.parametrize("method", ["apply", "head", "find"])
def test_a_store_of_somebody_else_that_fails_as_none_should_is_told_and_the_journal_stays(
    dead: Dead, store: MemoryStore, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        return None if method != "apply" else {}["no such key"]  # type: ignore[index]

    dead.log()
    dead.die()
    with monkeypatch.context() as patched:
        patched.setattr(store, method, fails)
        with pytest.raises(StoreUnavailableError, match=r"as no store should \((KeyError|AttributeError): .*stays in"):
            recover(dead.folder, URL, store, lambda: FsspecArtifactStore("memory://blobs"))
    assert len(recovered(dead, store)) == 5


def test_a_process_that_died_before_it_sealed_anything_loses_nothing(dead: Dead, store: MemoryStore) -> None:
    dead.log(5)
    dead.die()
    found = recovered(dead, store)
    assert len(found) == 2 + 5 + 1
    assert {change.actor for change in found} == {"ann"}


def test_a_recovery_has_room_for_a_seal_of_its_own_in_a_segment_that_is_full(
    dead: Dead, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what it sent before it was killed could not be told by the next one from what was never sent."""
    dead.actor = "\N{GRINNING FACE}" * MAX_NAME_LENGTH
    dead.log()
    store.apply(dead.seal())
    dead.lose_from_memory(3)  # so nothing that is sealed from now on goes on from where the store stands
    before = dead.journal.position
    dead.log(1)
    size = dead.journal.position - before + 8
    limit = dead.journal.segments[0].size - RESERVE_BYTES
    while dead.journal.position + 2 * size < limit:
        dead.log(1)
    end = dead.journal.position
    dead.log(1)  # while the thread builds what it seals
    dead.seal(end)
    dead.seal()
    (segment,) = dead.journal.snapshot()
    assert limit < segment.used <= segment.size
    dead.die()
    real = store.apply

    def apply(changes: list[Change]) -> None:
        real(changes)
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(store, "apply", apply)
        with pytest.raises(KilledError):
            recovered(dead, store)
    sent = list(store.read_changes(stream_id=dead.stream_id, limit=100_000).changes)
    assert hashes(recovered(dead, store))[: len(sent)] == hashes(sent)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root may write everywhere, and becomes others"
)
def test_a_journal_that_may_not_be_written_is_said_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(tempfile.mkdtemp(prefix="modeldb-test-"))
    os.chown(folder, 65534, 65534)

    def die() -> None:
        os.setuid(65534)
        Dead(folder).log()

    def read() -> None:
        os.setuid(65534)
        assert len(list(orphans(folder, URL))) == 1
        store = MemoryStore(URL)
        with caplog.at_level(logging.WARNING, "modeldb"):
            BackgroundRecovery(folder, URL, lambda: FsspecArtifactStore("memory://blobs")).before_reading(store)
        assert "it cannot be shipped (Permission denied)" in caplog.text
        assert "The journals of 1 dead process are not in the store" in caplog.text
        assert store.heads() == {}

    try:
        in_children(1, die)
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        in_children(1, read)
    finally:
        shutil.rmtree(folder)
