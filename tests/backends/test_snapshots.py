"""A bucket that was compacted is opened from a snapshot by a machine that sees it for the first time, and never trusts it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.objects import ObjectMetadataStore, inbox, layout, snapshots
from modeldb_core.backends.objects.bucket import Bucket
from modeldb_core.errors import IntegrityError
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter

RUNS = 6


@pytest.fixture(autouse=True)
def small_snapshots(monkeypatch):
    """Let a few changes be worth a snapshot."""
    monkeypatch.setattr(snapshots, "ENOUGH_CHANGES", 10)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "bucket"


@pytest.fixture
def opened(tmp_path, root):
    """Open the bucket as a machine of its own for each name."""
    stores = []

    def opened(cache):
        store = ObjectMetadataStore(f"file://{root}", cache_dir=tmp_path / cache, max_staleness_s=0, compact=False)
        stores.append(store)
        return store

    yield opened
    for store in stores:
        store.close()


def ended_run(name):
    writer = StreamWriter()
    writer.open()
    ids = writer.create_containers("project", "experiment")
    run_id = writer.create_run(name=name, **ids).entity_id
    writer.append(run_id, {"loss": [1.0, 0.5]})
    writer.update("run", run_id, set={"status": "finished"}, put={"attributes": {"word": f"secret of {name}"}})
    writer.close()
    return writer


def fill(store, first=0):
    runs = [ended_run(f"run {number}") for number in range(first, first + RUNS)]
    for run in runs:
        store.apply(run.changes)
    return runs


@pytest.fixture
def runs(opened):
    store = opened("first")
    runs = fill(store)
    store.compact()
    return runs


@pytest.fixture
def work(monkeypatch):
    """The names of the objects that are read, of the folders that are listed, and of what is decoded."""
    done = {"read": [], "listing": [], "decoded": []}
    for method in ("read", "listing"):
        original = getattr(Bucket, method)

        def counted(self, name, *, original=original, method=method):
            done[method].append(name)
            return original(self, name)

        monkeypatch.setattr(Bucket, method, counted)
    for module in (inbox, layout):
        original = module.decode_changes

        def decoding(content, *, original=original, **limits):
            changes = original(content, **limits)
            done["decoded"] += changes
            return changes

        monkeypatch.setattr(module, "decode_changes", decoding)
    return done


def everything(store):
    entities = [entity for kind in ("run", "project", "experiment") for entity in store.find(Query(kind)).entities]
    points = [store.read_series(run.entity_id, "loss").values.tolist() for run in store.find(Query("run")).entities]
    return entities, points, dict(store.heads()), sorted(change.hash for change in store.read_changes().changes)


def erase_secret(store, run):
    (change,) = (change for change in run.changes if b"secret" in (change.payload or b""))
    eraser = StreamWriter()
    eraser.erase(change)
    store.apply(eraser.changes)


def snapshot_of(root):
    (found,) = (root / "snapshots").rglob("*.db.z")
    return found


def rewritten(root, alter):
    """Replace the snapshot by one that somebody else made of it, with a name that fits."""
    path = snapshot_of(root)
    database = root.parent / "altered.db"
    database.write_bytes(zlib.decompress(path.read_bytes()))
    with closing(sqlite3.connect(database)) as connection:
        alter(connection)
        connection.commit()
    renamed(path, zlib.compress(database.read_bytes()))


def renamed(path, content):
    parts = path.name.split(".")
    parts[3] = hashlib.sha256(content).hexdigest()
    path.unlink()
    path.with_name(".".join(parts)).write_bytes(content)


def test_a_compacted_bucket_is_opened_without_decoding_a_change(opened, runs, work):
    answers = everything(opened("first"))
    work["read"].clear()
    work["listing"].clear()
    work["decoded"].clear()
    store = opened("new machine")
    store.refresh()
    assert work["decoded"] == []
    assert [name.partition("/")[0] for name in work["read"]] == ["snapshots"]
    assert [name.partition("/")[0] for name in work["listing"]] == ["snapshots", "streams", "packs"]
    assert everything(store) == answers
    assert verify(store).findings == []
    assert [run.name for run in store.find(Query("run", order_by="name")).entities] == [f"run {n}" for n in range(RUNS)]


def test_what_came_after_a_snapshot_is_all_that_is_read_beside_it(opened, runs, work):
    fill(opened("first"), first=RUNS)
    work["decoded"].clear()
    work["read"].clear()
    store = opened("new machine")
    assert len(store.find(Query("run")).entities) == 2 * RUNS
    assert len(work["read"]) == 1 + RUNS
    assert {change.stream_id for change in work["decoded"]}.isdisjoint(run.stream_id for run in runs)
    assert verify(store).findings == []


def test_a_bucket_without_a_snapshot_and_one_with_it_read_alike(opened, root, runs):
    with_it = everything(opened("with"))
    shutil.rmtree(root / "snapshots")
    assert everything(opened("without")) == with_it


def test_compacting_again_keeps_one_snapshot_and_writes_none_for_nothing(opened, root, runs):
    before = snapshot_of(root)
    opened("first").compact()
    assert snapshot_of(root) == before
    fill(opened("first"), first=RUNS)
    opened("first").compact()
    assert snapshot_of(root) != before


def test_cursors_of_the_machine_that_made_a_snapshot_are_of_no_other(opened, runs):
    first = opened("first")
    cursor = first.read_changes(limit=5).cursor
    assert len(opened("new machine").read_changes(after=cursor).changes) == len(first.read_changes().changes)


def test_an_erased_payload_leaves_the_bucket_with_the_snapshot_that_held_it(opened, root, runs):
    store = opened("first")
    erase_secret(store, runs[0])
    store.compact()
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"secret of run 0" not in (zlib.decompress(content) if path.suffix == ".z" else content)
    assert verify(opened("new machine")).findings == []


@pytest.mark.parametrize("full", [True, False])
def test_tidying_up_deletes_snapshots_that_may_hold_what_was_erased_of_any_code(opened, root, runs, full):
    of_other_code = root / "snapshots" / ("0" * 24) / snapshot_of(root).name
    of_other_code.parent.mkdir()
    of_other_code.write_bytes(b"by other code")
    store = opened("first")
    erase_secret(store, runs[0])
    if full:
        store.compact()
    else:
        with ObjectMetadataStore(f"file://{root}", cache_dir=root.parent / "tidy") as tidy:
            tidy.refresh()
    assert not of_other_code.exists()


def spoilt(content):
    return content[: len(content) // 2] + b"x" + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(spoilt(path.read_bytes())),
        lambda path: renamed(path, path.read_bytes()[:-5]),
        lambda path: renamed(path, b"not a snapshot"),
        lambda path: renamed(path, zlib.compress(b"not a database" * 1000)),
    ],
    ids=["altered", "cut", "strange", "no database"],
)
def test_a_damaged_snapshot_is_left_out_and_the_bucket_is_read(opened, root, runs, harm, caplog):
    answers = everything(opened("first"))
    harm(snapshot_of(root))
    assert everything(opened("new machine")) == answers
    assert "is left out" in caplog.text
    assert not list((root.parent / "new machine").rglob("*.new"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER theirs AFTER INSERT ON streams BEGIN DELETE FROM changes; END",
        "CREATE VIEW theirs AS SELECT 1",
        "DROP INDEX bucket_parts_by_name",
        "DELETE FROM bucket_state",
    ],
)
def test_a_snapshot_with_other_tables_than_ours_is_left_out(opened, root, runs, statement, caplog):
    answers = everything(opened("first"))
    rewritten(root, lambda connection: connection.execute(statement))
    assert everything(opened("new machine")) == answers
    assert "is left out" in caplog.text


def test_a_snapshot_longer_than_it_may_be_is_left_out(opened, root, runs, monkeypatch, caplog):
    monkeypatch.setattr(snapshots, "_MAX_BYTES", 1 << 16)
    assert len(opened("new machine").find(Query("run")).entities) == RUNS
    assert "holds more than" in caplog.text


def test_changes_that_a_snapshot_holds_and_no_object_are_not_shown(opened, root, runs, caplog):
    for pack in (root / "packs").glob("*.pck"):
        pack.unlink()
    store = opened("new machine")
    assert store.find(Query("run")).entities == ()
    assert "in no object" in caplog.text


def test_an_answer_that_was_altered_in_a_snapshot_is_found_by_an_audit(opened, root, runs):
    rewritten(
        root,
        lambda connection: connection.execute("UPDATE documents SET document = replace(document, 'secret', 'public')"),
    )
    assert verify(opened("new machine")).findings


def test_a_change_that_was_altered_in_a_snapshot_is_found_by_an_audit(opened, root, runs):
    rewritten(
        root, lambda connection: connection.execute("UPDATE changes SET recorded_at = recorded_at + 1 WHERE seq = 2")
    )
    assert verify(opened("new machine")).findings


def test_a_snapshot_of_another_store_in_the_same_place_is_not_taken(opened, root, runs):
    kept = snapshot_of(root)
    content = kept.read_bytes()
    shutil.rmtree(root)
    other = opened("other")
    fill(other, first=50)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    names = [run.name for run in opened("new machine").find(Query("run", order_by="name")).entities]
    assert names == [f"run {number}" for number in range(50, 50 + RUNS)]


def test_a_snapshot_of_many_pieces_is_unpacked_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_PIECE", 1000)
    content, path = os.urandom(5_000) + bytes(100_000) + os.urandom(3_000), tmp_path / "unpacked"
    packed = zlib.compress(content)
    snapshots._unpack(packed + b"something behind it" * 1000, path)
    assert path.read_bytes() == content
    with pytest.raises(IntegrityError, match="cut off"):
        snapshots._unpack(packed[:-1], path)
    monkeypatch.setattr(snapshots, "_MAX_BYTES", len(content) - 1)
    with pytest.raises(IntegrityError, match="more than 107,999 bytes"):
        snapshots._unpack(packed, path)
