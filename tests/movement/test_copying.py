"""A copy brings over what lacks and nothing else, wherever it was interrupted, and says what it cannot bring."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.movement import copying
from modeldb_core.movement.copying import copy
from modeldb_core.testing import StreamWriter


class Watched(MemoryStore):
    """Counts what is read and applied; fails once so many changes have come."""

    def __init__(self, fail_after: int | None = None) -> None:
        super().__init__()
        self.read = self.applied = 0
        self.batches: list[int] = []
        self.fail_after = fail_after

    def read_changes(self, **options: Any) -> Any:
        page = super().read_changes(**options)
        self.read += len(page.changes)
        return page

    def apply(self, changes: Any) -> None:
        if self.fail_after is not None and self.applied + len(changes) > self.fail_after:
            raise StoreUnavailableError("away")
        super().apply(changes)
        self.applied += len(changes)
        self.batches.append(len(changes))


def log(store: Any) -> list[bytes]:
    return [change.hash for change in store.read_changes(limit=100_000).changes]


def writers(count: int = 3) -> list[StreamWriter]:
    made = [StreamWriter(actor=f"writer {number}") for number in range(count)]
    for writer in made:
        writer.open()
    return made


def filled(store: Any, changes: int = 200) -> list[StreamWriter]:
    """Fill a store from three streams that take turns and alter one another's runs."""
    made = writers()
    runs = [writer.create_run(name=f"run {number}").entity_id for number, writer in enumerate(made)]
    for writer in made:
        store.apply(writer.changes)
    for number in range(changes):
        writer = made[number % 3]
        if number % 4:
            change = writer.update("run", runs[number % 2], put={"attributes": {f"k{number % 7}": number}})
        else:
            change = writer.append(runs[number % 3], {"loss": [float(number)]}, steps=[number])
        store.apply([change])
    return made


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BATCH_CHANGES", 10)
    monkeypatch.setattr(copying, "_PAGE", 7)


def test_a_copy_has_the_same_log_in_the_same_order_and_verifies(tmp_path: Any) -> None:
    source = MemoryStore()
    filled(source)
    with SQLiteStore(f"sqlite:///{tmp_path}/copy.db") as target:
        done = copy(source, target)
        assert (done.ok, done.changes, done.streams, done.present) == (True, 206, 3, 0)
        assert log(target) == log(source)
        assert dict(target.heads()) == dict(source.heads())
        assert verify(target).ok


def test_a_second_copy_sends_nothing() -> None:
    source, target = Watched(), Watched()
    filled(source)
    copy(source, target)
    target.applied = source.read = 0
    done = copy(source, target)
    assert (done.ok, done.changes, done.present, target.applied, source.read) == (True, 0, 206, 0, 0)


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 55, 100, 205])
def test_a_copy_that_was_broken_off_goes_on_where_it_was(cut: int) -> None:
    source, target = Watched(), Watched(fail_after=cut)
    filled(source)
    if cut < 206:
        with pytest.raises(StoreUnavailableError):
            copy(source, target)
    done_before, target.fail_after, source.read = target.applied, None, 0
    done = copy(source, target)
    assert done.changes == 206 - done_before
    assert target.applied == 206
    assert source.read <= 206 - done_before + 30  # a few looks to find the place, and no second reading
    assert log(target) == log(source)


def test_dry_run_counts_and_alters_nothing() -> None:
    source, target = MemoryStore(), Watched()
    filled(source)
    target.apply(source.read_changes(limit=50).changes)
    before = log(target)
    done = copy(source, target, dry_run=True)
    assert (done.changes, done.present) == (156, 50)
    assert log(target) == before


def test_only_what_was_there_at_the_beginning_is_copied() -> None:
    class Growing(Watched):
        def read_changes(self, **options: Any) -> Any:
            page = super().read_changes(**options)
            if page.changes and options.get("limit") != 1:
                self.apply([self.writer.update("run", self.run, put={"attributes": {"later": 1}})])
            return page

    source, target = Growing(), MemoryStore()
    made = filled(source)
    source.writer, source.run = made[0], made[0].changes[1].entity_id
    goal = dict(source.heads())
    assert copy(source, target).changes == 206
    assert dict(target.heads()) == goal
    assert copy(source, target).ok


def test_a_stream_that_differs_is_named_and_the_others_are_copied() -> None:
    source, target = MemoryStore(), MemoryStore()
    made = filled(source)
    rival = StreamWriter(made[1].stream_id)
    rival.open(lease_s=99)
    target.apply(rival.changes)
    done = copy(source, target)
    assert list(done.refused) == [made[1].stream_id]
    assert "two writers" in done.refused[made[1].stream_id]
    assert not done.ok
    for writer in (made[0], made[2]):
        assert target.heads()[writer.stream_id] == source.heads()[writer.stream_id]
    assert target.heads()[rival.stream_id].seq == 1
    assert done.changes == sum(len(made[number].changes) for number in (0, 2))


@pytest.mark.parametrize("ahead", [0, 1])
def test_streams_that_ended_alike_or_went_on_in_the_target_are_compared(ahead: int) -> None:
    source, target = MemoryStore(), MemoryStore()
    one = StreamWriter()
    one.open()
    other = StreamWriter(one.stream_id)
    other.open(lease_s=5)
    for _ in range(ahead):
        other.beat()
    source.apply(one.changes)
    target.apply(other.changes)
    assert list(copy(source, target).refused) == [one.stream_id]
    assert list(copy(source, target, dry_run=True).refused) == [one.stream_id]


def test_a_target_that_is_ahead_is_left_alone() -> None:
    source, target = MemoryStore(), Watched()
    writer = filled(source)[0]
    copy(source, target)
    writer.beat()
    target.apply(writer.changes[-1:])
    target.applied = 0
    done = copy(source, target)
    assert (done.ok, target.applied) == (True, 0)


def test_a_stream_that_the_target_does_not_take_is_named_and_the_others_are_copied() -> None:
    class Picky(MemoryStore):
        def apply(self, changes: Any) -> None:
            from modeldb_core.errors import InvalidArgumentError

            if any(change.stream_id == self.disliked and change.seq > 5 for change in changes):
                raise InvalidArgumentError("a payload of another world")
            super().apply(changes)

    source, target = MemoryStore(), Picky()
    made = filled(source)
    target.disliked = made[2].stream_id
    done = copy(source, target)
    assert done.refused == {made[2].stream_id: "a payload of another world"}
    assert target.heads()[made[0].stream_id] == source.heads()[made[0].stream_id]
    has = target.heads()[made[2].stream_id].seq
    assert done.changes == len(made[0].changes) + len(made[1].changes) + has


def test_a_source_that_lacks_a_change_of_its_own_is_told() -> None:
    class Holey(MemoryStore):
        def read_changes(self, **options: Any) -> Any:
            page = super().read_changes(**options)
            kept = tuple(c for c in page.changes if (c.stream_id, c.seq) != self.hole)
            return replace(page, changes=kept)

    source, target = Holey(), MemoryStore()
    made = filled(source)
    source.hole = (made[0].stream_id, 20)
    done = copy(source, target)
    assert list(done.refused) == [made[0].stream_id]
    assert "20" in done.refused[made[0].stream_id]
    assert target.heads()[made[0].stream_id].seq == 19
    assert target.heads()[made[1].stream_id] == source.heads()[made[1].stream_id]


def test_a_target_that_was_filled_otherwise_gets_all_the_same() -> None:
    source, target = MemoryStore(), MemoryStore()
    made = filled(source)
    target.apply(made[2].changes)
    target.apply(made[1].changes[:30])
    done = copy(source, target)
    assert (done.ok, done.changes) == (True, 206 - len(made[2].changes) - 30)
    assert dict(target.heads()) == dict(source.heads())


def test_large_changes_travel_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BATCH_BYTES", 50_000)
    monkeypatch.setattr(copying, "_PAGE_BYTES", 100_000)
    source, target = Watched(), Watched()
    writer = StreamWriter()
    run_id = writer.create_run(name="large").entity_id
    for number in range(60):
        writer.update("run", run_id, set={"description": "x" * 20_000, "readme": str(number)})
    source.apply(writer.changes)
    assert copy(source, target).ok
    assert max(target.batches) <= 4


@given(data=st.data())
def test_any_interleaving_and_any_kill_end_equal(data: st.DataObject) -> None:
    source = MemoryStore()
    made = writers(data.draw(st.integers(1, 4)))
    runs = [made[0].create_run(name="shared").entity_id]
    for _ in range(data.draw(st.integers(0, 40))):
        writer = data.draw(st.sampled_from(made))
        action = data.draw(st.sampled_from(["create", "update", "append", "erase", "delete", "ship", "beat"]))
        if action == "create":
            runs.append(writer.create_run(name="run").entity_id)
        elif action == "update":
            writer.update("run", data.draw(st.sampled_from(runs)), put={"attributes": {"a": len(runs)}})
        elif action == "append":
            writer.append(data.draw(st.sampled_from(runs)), {"loss": [1.0, 2.0]})
        elif action == "erase":
            writer.erase(data.draw(st.sampled_from(data.draw(st.sampled_from(made)).changes)))
        elif action == "delete":
            writer.delete("run", data.draw(st.sampled_from(runs)))
        elif action == "beat":
            writer.beat()
        else:
            source.apply(writer.changes)
    for writer in data.draw(st.permutations(made)):
        source.apply(writer.changes)
    target = Watched()
    for kill in data.draw(st.lists(st.integers(0, 60), max_size=4)):
        target.fail_after = target.applied + kill
        with suppress(StoreUnavailableError):
            copy(source, target)
    target.fail_after = None
    done = copy(source, target)
    assert done.ok
    assert log(target) == log(source)
    assert dict(target.heads()) == dict(source.heads())
    assert {name: repr(record) for name, record in target._records.items()} == {
        name: repr(record) for name, record in source._records.items()
    }


# -- blobs ------------------------------------------------------------------------------------------------------------


def put(store: FsspecArtifactStore, content: bytes) -> str:
    return store.put(io.BytesIO(content)).digest


def blobs_of(store: FsspecArtifactStore) -> set[str]:
    return {info.digest for info in store.list()}


@pytest.fixture
def folders(tmp_path: Any) -> tuple[FsspecArtifactStore, FsspecArtifactStore]:
    return FsspecArtifactStore(f"file://{tmp_path}/from"), FsspecArtifactStore(f"file://{tmp_path}/to")


def with_artifacts(store: MemoryStore, *digests: str) -> StreamWriter:
    writer = StreamWriter()
    writer.open()
    run_id = writer.create_run(name="run").entity_id
    for number, digest in enumerate(digests):
        writer.update("run", run_id, put={"artifacts": {f"a{number}": {"digest": digest, "size_bytes": 1}}})
    store.apply(writer.changes)
    return writer


def test_blobs_that_records_name_are_copied_and_no_others(folders: Any) -> None:
    source = MemoryStore()
    digests = [put(folders[0], bytes([number]) * 1000) for number in range(30)]
    stray = put(folders[0], b"stray")
    with_artifacts(source, *digests)
    done = copy(source, MemoryStore(), artifacts=folders)
    assert (done.ok, done.blobs, done.blob_bytes) == (True, 30, 30_000)
    assert blobs_of(folders[1]) == set(digests)
    assert stray not in blobs_of(folders[1])


def test_values_that_were_moved_out_are_copied(folders: Any) -> None:
    from modeldb_core.model.values import BlobReference

    source = MemoryStore()
    digest = put(folders[0], b'"a long text"')
    writer = StreamWriter()
    writer.create_run(name="run", hyperparameters={"deep": {"list": [BlobReference(digest, 13)]}})
    source.apply(writer.changes)
    assert copy(source, MemoryStore(), artifacts=folders).blobs == 1


def test_no_change_arrives_before_the_blobs_that_it_names(folders: Any) -> None:
    class Checking(MemoryStore):
        def apply(self, changes: Any) -> None:
            from modeldb_core.movement.references import needed_by

            for change in changes:
                for digest in needed_by(change):
                    folders[1].stat(digest)
            super().apply(changes)

    source = MemoryStore()
    with_artifacts(source, *(put(folders[0], bytes([number]) * 10) for number in range(50)))
    assert copy(source, Checking(), artifacts=folders).blobs == 50


def test_a_blob_that_is_missing_at_the_source_is_named_and_the_rest_copied(folders: Any) -> None:
    source, target = MemoryStore(), MemoryStore()
    there, missing = put(folders[0], b"there"), hashlib.sha256(b"missing").hexdigest()
    writer = with_artifacts(source, there, missing)
    done = copy(source, target, artifacts=folders)
    assert done.missing == {missing: f"run {writer.changes[1].entity_id}"}
    assert not done.ok
    assert dict(target.heads()) == dict(source.heads())
    assert blobs_of(folders[1]) == {there}
    folders[0].put(io.BytesIO(b"missing"))
    assert copy(source, target, artifacts=folders).blobs == 0  # its change is there
    done = copy(source, target, artifacts=folders, every_blob=True)
    assert (done.ok, done.blobs) == (True, 1)


def test_a_blob_that_something_else_replaced_need_not_be_there(folders: Any) -> None:
    source = MemoryStore()
    writer = with_artifacts(source, hashlib.sha256(b"old").hexdigest())
    entry = {"digest": put(folders[0], b"new"), "size_bytes": 3}
    writer.update("run", writer.changes[1].entity_id, put={"artifacts": {"a0": entry}})
    source.apply(writer.changes)
    done = copy(source, MemoryStore(), artifacts=folders)
    assert (done.ok, len(done.absent), done.blobs) == (True, 1, 1)


def test_a_damaged_blob_is_named_and_not_copied(folders: Any, tmp_path: Any) -> None:
    source = MemoryStore()
    digest = put(folders[0], b"content" * 100)
    path = tmp_path / "from" / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(b"altered" * 100)
    with_artifacts(source, digest)
    done = copy(source, MemoryStore(), artifacts=folders)
    assert list(done.damaged) == [digest]
    assert blobs_of(folders[1]) == set()


def test_dry_run_counts_blobs_and_copies_none(folders: Any) -> None:
    source = MemoryStore()
    with_artifacts(source, put(folders[0], b"a" * 10), put(folders[0], b"b" * 10))
    done = copy(source, MemoryStore(), artifacts=folders, dry_run=True)
    assert (done.blobs, done.blob_bytes, blobs_of(folders[1])) == (2, 20, set())


def test_blobs_of_erased_changes_stay_behind(folders: Any) -> None:
    source = MemoryStore()
    writer = with_artifacts(source, put(folders[0], b"secret"))
    writer.erase(writer.changes[-1])
    source.apply(writer.changes)
    done = copy(source, MemoryStore(), artifacts=folders)
    assert (done.ok, done.blobs) == (True, 0)
