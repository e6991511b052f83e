"""The store in a bucket: the suite on a folder and on S3, and what only a store without a database must bear."""

from __future__ import annotations

import collections
import errno
import fcntl
import io
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

import modeldb_core
from modeldb_core.audit import verify
from modeldb_core.backends._sql import fingerprint
from modeldb_core.backends.objects import ObjectMetadataStore, compaction, deciding, lock, snapshots
from modeldb_core.backends.objects.bucket import Bucket
from modeldb_core.backends.objects.layout import Part, object_of, pack_of, parts_of
from modeldb_core.errors import (
    ConditionsUnsupportedError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    ModelDBWarning,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.log.conditions import Absent
from modeldb_core.plugins import load_settings, open_artifacts, open_store
from modeldb_core.queries import Query
from modeldb_core.testing import MetadataStoreTests, StreamWriter
from tests.backends.writers import in_children
from tests.services.proxy import Proxy


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.new_bucket()


@pytest.fixture
def s3_url(s3, bucket, tmp_path):
    return f"s3://{bucket}/{tmp_path.name}?{urlencode({**s3.options, 'max_staleness_s': 0})}"


class TestFolder(MetadataStoreTests):
    @pytest.fixture
    def process_url(self, tmp_path):
        return f"file://{tmp_path}/bucket?max_staleness_s=0&cache_dir={tmp_path}/cache"

    @pytest.fixture
    def make_store(self, process_url):
        return lambda: ObjectMetadataStore(process_url)


@pytest.mark.thorough
class TestFolderWithReplicasApart(TestFolder):
    """Every handle has a replica of its own, as on machines of their own."""

    @pytest.fixture
    def process_url(self, tmp_path):
        return f"file://{tmp_path}/bucket?max_staleness_s=0"

    @pytest.fixture
    def make_store(self, process_url, tmp_path_factory):
        return lambda: ObjectMetadataStore(process_url, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.mark.thorough  # what differs from a folder is tested below
class TestS3(MetadataStoreTests):
    @pytest.fixture
    def process_url(self, s3_url, tmp_path):
        return f"{s3_url}&{urlencode({'cache_dir': tmp_path / 'cache'})}"

    @pytest.fixture
    def make_store(self, process_url):
        return lambda: ObjectMetadataStore(process_url)


# -- a folder, and streams in it ---------------------------------------------------------------------------------------


class Place:
    """A folder as bucket; every ``cache`` is a machine of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "bucket"
        self._stores: list[ObjectMetadataStore] = []

    def open(self, cache: str = "one", **options) -> ObjectMetadataStore:
        options = {"max_staleness_s": 0, "compact": False, **options}
        store = ObjectMetadataStore(f"file://{self.root}", cache_dir=self.folder / cache, **options)
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def objects(self, suffix: str = "") -> list[Path]:
        found = (path for path in self.root.rglob(f"*{suffix}") if path.is_file() and not path.name.startswith("."))
        return sorted(path for path in found if not path.name.endswith(".store"))

    def put(self, part: Part) -> Path:
        """Write an object past any store."""
        name, content = object_of(part)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


def ended_run(name: str, **attributes) -> StreamWriter:
    """Return a stream that has ended: a run with points, in three batches that :func:`ship` keeps apart."""
    writer = StreamWriter()
    writer.open()
    ids = writer.create_containers("project", "experiment")
    run_id = writer.create_run(name=name, **ids).entity_id
    writer.append(run_id, {"loss": [1.0, 0.5]})
    writer.update("run", run_id, set={"status": "finished"}, put={"attributes": attributes})
    writer.close()
    return writer


def ship(store, writer: StreamWriter) -> None:
    for first, last in ((0, 5), (5, 6), (6, len(writer.changes))):
        store.apply(writer.changes[first:last])


def names(store) -> list[str]:
    return [run.name for run in store.find(Query("run", order_by="name", limit=1000)).entities]


# -- what a reader sees, and when --------------------------------------------------------------------------------------


def test_a_reader_sees_what_is_no_older_than_it_asked_for(place):
    writer, reader = place.open("one"), place.open("two", max_staleness_s=3600)
    ship(writer, ended_run("first"))
    assert names(reader) == ["first"]
    ship(writer, ended_run("second"))
    assert names(reader) == ["first"]
    reader.refresh()
    assert names(reader) == ["first", "second"]


def test_a_finished_run_never_reads_as_running_in_a_store_that_was_opened_afterwards(place):
    """Processes of one machine share a replica: another one's listing may be younger than the limit, and too old."""
    writer, sibling = place.open(max_staleness_s=3600), place.open(max_staleness_s=3600)
    run = ended_run("run")
    writer.apply(run.changes[:6])
    names(sibling)  # which lists, right before the end of the run is written
    writer.apply(run.changes[6:])
    reader = place.open(max_staleness_s=3600)
    assert [entity.status for entity in reader.find(Query("run")).entities] == ["finished"]


def test_who_goes_on_with_a_stream_is_told_where_it_stands_now(place):
    """A journal whose records were sealed after what the store is said to have would be numbered again."""
    writer, reader = place.open("one"), place.open("two", max_staleness_s=3600)
    run = ended_run("run")
    writer.apply(run.changes[:5])
    names(reader)
    writer.apply(run.changes[5:6])
    assert reader.head(run.stream_id).seq == 6
    writer.apply(run.changes[6:])
    assert reader.heads()[run.stream_id].closed


def test_a_handle_sees_its_own_writes_at_once_and_lists_nothing_for_that(place, monkeypatch):
    store = place.open(max_staleness_s=3600)
    names(store)
    ship(store, ended_run("mine"))
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "listing", lambda *_: pytest.fail("listed"))
        assert names(store) == ["mine"]


def test_processes_of_one_machine_share_the_work(place, monkeypatch):
    one, two = place.open(max_staleness_s=3600), place.open(max_staleness_s=3600)
    ship(one, ended_run("run"))
    assert names(one) == ["run"]
    monkeypatch.setattr(Bucket, "listing", lambda *_: pytest.fail("listed"))
    assert names(two) == ["run"]


def test_a_clock_that_is_set_back_costs_one_listing_and_not_one_for_each_answer(place, monkeypatch):
    class Earlier:
        monotonic, sleep = time.monotonic, time.sleep

        def time(self):
            return time.time() - 3600.0

    store, other = place.open(max_staleness_s=600), place.open("two")
    ship(other, ended_run("before"))
    assert names(store) == ["before"]
    ship(other, ended_run("meanwhile"))
    listing, folders = Bucket.listing, []
    monkeypatch.setattr(Bucket, "listing", lambda self, folder: folders.append(folder) or listing(self, folder))
    monkeypatch.setattr("modeldb_core.backends.objects.follower.time", Earlier())
    assert [names(store) for _ in range(5)] == [["before", "meanwhile"]] * 5
    assert sorted(folders) == ["packs/", "streams/"]


def test_a_process_that_only_writes_keeps_no_replica(place):
    ship(place.open(), ended_run("run"))
    assert not (place.folder / "one").exists()


def test_a_listing_that_lags_shows_less_and_never_something_wrong(place, monkeypatch):
    writer, reader = place.open("one"), place.open("two")
    run = ended_run("run")
    listing = Bucket.listing
    hidden: set[str] = set()
    monkeypatch.setattr(
        Bucket, "listing", lambda *args: {k: v for k, v in listing(*args).items() if Path(k).name not in hidden}
    )
    writer.apply(run.changes[:5])
    hidden.update(path.name for path in place.objects())
    writer.apply(run.changes[5:6])
    writer.apply(run.changes[6:])
    hidden.add(place.objects()[-1].name)
    assert names(reader) == []  # the first object is hidden, and those that follow it wait
    assert names(writer) == ["run"]  # but not from who wrote them
    hidden.clear()
    assert names(reader) == ["run"]
    assert reader.read_series(run.changes[4].entity_id, "loss").values.tolist() == [1.0, 0.5]
    assert verify(reader).findings == []


def test_while_the_bucket_is_away_a_reader_raises_or_says_that_its_answer_is_old(place, monkeypatch):
    ship(place.open(), ended_run("run"))
    strict, lenient, cold = place.open(), place.open(allow_stale=True), place.open("cold", allow_stale=True)
    assert names(strict) == ["run"]

    def fail(*_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(Bucket, "listing", fail)
    with pytest.raises(StoreUnavailableError, match="away"):
        names(strict)
    with pytest.warns(ModelDBWarning, match="cannot be reached"):
        assert names(lenient) == ["run"]
    with pytest.raises(StoreUnavailableError, match="away"):
        names(cold)


def test_a_cursor_of_an_older_replica_shows_everything_again(place):
    store = place.open()
    ship(store, ended_run("run"))
    page = store.read_changes()
    assert store.read_changes(after=page.cursor).changes == ()
    other = place.open("two")
    assert other.read_changes(after=page.cursor).changes == page.changes
    assert [change.seq for change in other.read_changes(after=1).changes] == list(range(2, len(page.changes) + 1))


def test_a_cursor_of_a_newer_replica_shows_everything_again(place):
    store = place.open()
    ship(store, ended_run("run"))
    changes = store.read_changes().changes
    cursor = place.open("two").read_changes().cursor
    ship(store, ended_run("another"))
    page = store.read_changes(after=cursor)
    assert page.changes[: len(changes)] == changes
    assert len(page.changes) == 2 * len(changes)
    assert store.read_changes(after=page.cursor).changes == ()


def test_a_cursor_misses_nothing_on_a_machine_whose_cache_folder_was_copied(place):
    first = place.open("one")
    ship(first, ended_run("run"))
    names(first)
    first.close()
    shutil.copytree(place.folder / "one", place.folder / "two")
    one, two = (place.open(machine, max_staleness_s=3600) for machine in ("one", "two"))
    assert names(one) == names(two) == ["run"]
    mine, theirs = ended_run("mine"), ended_run("theirs")
    ship(one, mine)
    ship(two, theirs)
    cursor = one.read_changes().cursor  # each has taken in its own writes first
    assert names(two) == ["run", "theirs"]
    two.refresh()
    found = two.read_changes(after=cursor).changes
    assert {change.stream_id for change in found} >= {theirs.stream_id}
    again = place.open("one")
    assert again.read_changes(after=cursor).changes[0].stream_id == theirs.stream_id, "its own cursor stays"


def test_a_later_change_of_another_writer_wins_on_every_machine(place):
    one, two = place.open("one"), place.open("two")
    first = ended_run("run")
    ship(one, first)
    run_id = first.changes[4].entity_id
    assert names(two) == ["run"]
    # The second writer's clock is an hour behind; what it saw comes before what it writes all the same.
    second = StreamWriter(at=first.at - 3_600_000_000)
    second.update("run", run_id, set={"name": "renamed"})
    two.apply(second.changes)
    for store in (one, two, place.open("three")):
        assert names(store) == ["renamed"]


# -- streams of which something is odd ---------------------------------------------------------------------------------


def test_overlapping_objects_read_as_one_sequence(place):
    run = ended_run("run")
    for stamp, (first, last) in enumerate(((0, 3), (2, 6), (0, 5), (5, 8), (0, 8)), 1):
        place.put(Part(stamp, tuple(run.changes[first:last])))
    store = place.open()
    assert list(store.read_changes().changes) == run.changes
    assert verify(store).findings == []
    store.compact()
    assert list(place.open("two").read_changes().changes) == run.changes


def test_of_twins_that_contradict_each_other_the_first_counts_for_everyone(place):
    one = ended_run("one")
    rival = StreamWriter(one.stream_id)
    rival.open(lease_s=99)
    rival.create_run(name="rival")
    place.put(Part(20, tuple(rival.changes)))
    early = place.open("early")
    assert names(early) == ["rival"]
    place.put(Part(10, tuple(one.changes)))  # arrives later, and was written before
    with pytest.warns(ModelDBWarning, match=f"{one.stream_id}.*left out"):
        assert names(early) == ["one"]
    with pytest.warns(ModelDBWarning, match="two writers used one stream"):
        assert names(place.open("late")) == ["one"]
    assert names(early) == ["one"]
    with pytest.raises(ConflictError):
        early.apply(rival.changes)


def test_a_part_of_several_streams_is_taken_whole_or_not_at_all(place):
    one, two = ended_run("one"), ended_run("two")
    place.put(Part(5, (*one.changes[5:], *two.changes)))
    store = place.open()
    assert store.heads() == {}
    place.put(Part(9, tuple(one.changes[:5])))
    assert names(store) == ["one", "two"]


def test_a_damaged_object_is_named_and_the_rest_is_read(place):
    store = place.open()
    first, second = ended_run("first"), ended_run("second")
    ship(store, first)
    ship(store, second)
    victim = next(path for path in place.objects() if path.parent.name == first.stream_id)
    content = victim.read_bytes()
    victim.write_bytes(content[:-7])
    other = place.open("two")
    with pytest.warns(ModelDBWarning, match=victim.name):
        assert names(other) == ["second"]
    messages = [finding.message for finding in verify(other).findings]
    assert any(victim.name in message and "damaged" in message for message in messages)
    assert any(first.stream_id in message and "missing" in message for message in messages)
    victim.write_bytes(content)  # a backup was restored
    assert names(other) == ["first", "second"]
    assert verify(other).findings == []


def test_an_altered_object_is_found_by_an_audit_that_names_it(place):
    store = place.open()
    run = ended_run("run", loss=1)
    ship(store, run)
    assert verify(store).findings == []
    victim = place.objects()[0]
    (part,) = parts_of(f"streams/{run.stream_id}/{victim.name}", victim.read_bytes())
    forged = StreamWriter(run.stream_id)
    forged.changes = list(part.changes[:4])
    forged.create_run(name="forged")
    place.put(Part(part.stamp, tuple(forged.changes))).rename(victim)
    for cache in ("one", "two"):
        with pytest.warns(ModelDBWarning, match="renamed or altered"):
            findings = verify(place.open(cache)).findings
        assert any(victim.name in finding.message for finding in findings)
    assert names(store) == ["run"]


def test_an_object_that_vanished_is_found_by_an_audit(place):
    store = place.open()
    run = ended_run("run")
    ship(store, run)
    names(store)
    place.objects()[1].unlink()
    assert any(run.stream_id in finding.message and "6" in finding.message for finding in verify(store).findings)


def test_a_bucket_that_was_emptied_and_used_anew_is_another_store(place):
    store = place.open()
    ship(store, ended_run("old"))
    assert names(store) == ["old"]
    for path in sorted(place.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    ship(place.open("two"), ended_run("new"))
    assert names(store) == ["new"]


def test_a_bucket_of_a_newer_version_is_left_alone(place):
    ship(place.open(), ended_run("run"))
    (place.root / "packs" / f"{0:016x}.{1:032x}.store-2").write_text("{}")
    for use in (names, lambda store: ship(store, ended_run("another"))):
        with pytest.raises(StoreVersionError, match="newer"):
            use(place.open("two"))


# -- the replica -------------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)


@pytest.mark.parametrize("harm", [Path.unlink, damage, truncate])
@pytest.mark.parametrize("is_open", [False, True])
def test_a_replica_that_is_missing_or_damaged_is_made_anew(place, harm, is_open):
    first = place.open()
    ship(first, ended_run("run"))
    assert names(first) == ["run"]
    if not is_open:
        first.close()
    for path in (place.folder / "one").rglob("*.db*"):
        path.unlink() if path.suffix != ".db" else harm(path)
    store = first if is_open else place.open()
    ship(store, ended_run("second"))
    assert names(store) == ["run", "second"]
    assert verify(store).findings == []


@pytest.fixture
def held(place, monkeypatch):
    """A store whose replica another process of the machine has locked, and the file that it holds."""
    monkeypatch.setattr(lock, "TIMEOUT_S", 0.3)
    store = place.open()
    ship(store, ended_run("run"))
    names(store)
    (path,) = (place.folder / "one" / "replicas").glob("*.lock")
    with path.open("r+") as file:  # a lock is the open file's, so this one is as good as another process's
        fcntl.flock(file, fcntl.LOCK_EX)
        yield store, file


def test_a_replica_that_is_held_by_who_does_nothing_is_not_waited_for_without_an_end(held):
    store, file = held
    failures: list[BaseException] = []

    def ask():
        try:
            names(store)
        except StoreUnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(error).count(file.name) for error in failures] == [1, 1, 1]
    fcntl.flock(file, fcntl.LOCK_UN)
    assert names(store) == ["run"]


def test_who_fills_a_replica_is_waited_for(held, monkeypatch):
    store, file = held
    looks, look = [], lock.ReplicaLock._signs
    monkeypatch.setattr(lock, "TIMEOUT_S", 0.6)
    monkeypatch.setattr(lock.ReplicaLock, "_signs", lambda self: looks.append(self) or look(self))
    answers: list[list[str]] = []
    thread = threading.Thread(target=lambda: answers.append(names(store)))
    thread.start()
    while len(looks) < 4 and not answers:  # each time the patience of the other has come to its end
        os.utime(file.name)
        time.sleep(0.01)
    fcntl.flock(file, fcntl.LOCK_UN)
    thread.join()
    assert answers == [["run"]]


def test_a_cache_that_cannot_be_written_is_said(place):
    (place.folder / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cache_dir"):
        names(place.open("file"))


# -- compaction --------------------------------------------------------------------------------------------------------


def test_ended_streams_become_one_object_and_answers_stay(place):
    store = place.open()
    runs = [ended_run(f"run {number:03}", number=number) for number in range(30)]
    for run in runs:
        ship(store, run)
    before = store.find(Query("run", order_by="name", limit=100)).entities
    done = store.compact()
    assert (done.packed, done.deleted) == (90, 90)
    assert len(place.objects()) == 1
    for reader in (store, place.open("two")):
        assert reader.find(Query("run", order_by="name", limit=100)).entities == before
        assert verify(reader).findings == []
        for run in runs[:3]:
            assert list(reader.read_changes(stream_id=run.stream_id).changes) == run.changes


def test_a_store_compacts_itself_when_there_is_enough(place):
    writer = place.open()
    for number in range(compaction.ENOUGH_OBJECTS // 3 + 1):
        ship(writer, ended_run(f"run {number}"))
    reader = place.open("two", compact=True)
    for _ in range(3):
        names(reader)
    assert len(place.objects()) == 1


def test_a_growing_stream_is_kept_in_few_objects(place):
    store = place.open()
    writer = StreamWriter()
    writer.open()
    run_id = writer.create_run(name="long").entity_id
    store.apply(writer.changes)
    for number in range(compaction.MANY_OBJECTS + 5):
        store.apply([writer.append(run_id, {"loss": [float(number)]})])
    store.compact()
    store.apply([writer.append(run_id, {"loss": [-1.0]})])
    assert len(place.objects()) == 2
    values = place.open("two").read_series(run_id, "loss").values.tolist()
    assert values == [*map(float, range(compaction.MANY_OBJECTS + 5)), -1.0]


def test_a_writer_that_wakes_up_for_a_compacted_stream_goes_on(place):
    store, asleep = place.open("one"), place.open("two")
    writer = StreamWriter()
    writer.open(lease_s=1e-6)
    writer.at -= 7_200_000_000
    run_id = writer.create_run(name="slow").entity_id
    asleep.apply(writer.changes)
    ship(store, ended_run("other"))
    assert store.compact().packed == 4
    asleep.apply([writer.append(run_id, {"loss": [1.0]})])
    recovered = place.open("three")  # a new process does not know what the one before it wrote
    recovered.apply([*writer.changes, writer.append(run_id, {"loss": [2.0]})])
    for cache in ("one", "four"):
        reader = place.open(cache)
        assert reader.read_series(run_id, "loss").values.tolist() == [1.0, 2.0]
        assert verify(reader).findings == []
    rival = StreamWriter(writer.stream_id)
    rival.open(lease_s=5)
    with pytest.raises(ConflictError):
        place.open("five").apply(rival.changes)


def test_an_erased_payload_leaves_the_bucket_and_never_comes_back(place):
    store = place.open()
    run = ended_run("run", secret="hunter2hunter2")
    ship(store, run)
    ship(store, ended_run("other"))
    store.compact()
    eraser = StreamWriter()
    eraser.erase(run.changes[6])
    store.apply(eraser.changes)
    store.compact()
    held = [change for path in place.objects() for part in _parts(place, path) for change in part.changes]
    (erased,) = (change for change in held if change.hash == run.changes[6].hash)
    assert erased.payload is None
    late = place.put(Part(3, tuple(run.changes[:7])))  # a copy that a writer sent again comes in late
    for cache in ("one", "two"):
        reader = place.open(cache)
        assert "secret" not in reader.get("run", run.changes[4].entity_id).attributes
        assert verify(reader).findings == []
    store.compact()
    assert not late.exists()
    assert all(
        change.payload is None
        for path in place.objects()
        for part in _parts(place, path)
        for change in part.changes
        if change.hash == run.changes[6].hash
    )


def _parts(place, path):
    return parts_of(str(path.relative_to(place.root)), path.read_bytes())


class Crash(BaseException):
    """The compactor dies."""


@pytest.mark.parametrize("step", range(8))
def test_a_compactor_may_die_anywhere(place, monkeypatch, step):
    store = place.open()
    runs = [ended_run(f"run {number}") for number in range(4)]
    for run in runs[:2]:
        ship(store, run)
    store.compact()
    for run in runs[2:]:
        ship(store, run)
    steps = iter(range(100))

    def dying(method, *, after=False):
        original = getattr(Bucket, method)

        def work(self, *args):
            if next(steps) == step:
                if after:
                    original(self, *args)
                elif method == "delete":
                    original(self, args[0][: len(args[0]) // 2])
                raise Crash
            return original(self, *args)

        return work

    with monkeypatch.context() as patch:
        for method in ("write", "read", "delete"):
            patch.setattr(Bucket, method, dying(method))
        try:
            store.compact()
        except Crash:
            pass
        else:
            assert step >= 3
    expected = [change for run in runs for change in run.changes]
    for cache in ("two", "one"):
        reader = place.open(cache)
        found = reader.read_changes(limit=1000).changes
        assert sorted(found, key=lambda c: (c.stream_id, c.seq)) == sorted(expected, key=lambda c: (c.stream_id, c.seq))
    place.open("two").compact()
    assert len(place.objects()) == 1
    assert len(place.open("three").read_changes(limit=1000).changes) == len(expected)


def test_compactors_that_do_the_same_at_once_lose_nothing(place):
    store = place.open()
    for number in range(12):
        ship(store, ended_run(f"run {number:02}"))
    compactors = [place.open(f"machine {number}") for number in range(4)]
    start = threading.Barrier(4)

    def compact(compactor):
        start.wait()
        compactor.compact()

    threads = [threading.Thread(target=compact, args=(compactor,)) for compactor in compactors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.open("last").compact()
    assert len(place.objects()) == 1
    assert len(names(place.open("fresh"))) == 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_many_writers_readers_and_compactors_at_once(place):
    roles = [write_many, write_many, write_many, compact_often, compact_often, read_often]
    numbers = multiprocessing.get_context("fork").Value("i", 0)

    def work():
        with numbers.get_lock():
            number = numbers.value
            numbers.value += 1
        with place.open(f"machine {number % 3}") as store:
            roles[number](store)

    in_children(len(roles), work)
    store = place.open("fresh")
    assert len(names(store)) == 18
    assert verify(store).findings == []
    store.compact()
    assert len(place.objects()) == 1
    assert len(names(place.open("again"))) == 18


def write_many(store):
    for number in range(6):
        ship(store, ended_run(f"{os.getpid()} {number}"))


def compact_often(store):
    for _ in range(6):
        store.compact()


def read_often(store):
    seen = 0
    for _ in range(12):
        runs = store.find(Query("run", limit=1000)).entities
        assert len(runs) >= seen
        assert all(run.status != "finished" or run.series["loss"].count == 2 for run in runs)
        seen = len(runs)


# -- layout ------------------------------------------------------------------------------------------------------------


def test_a_pack_gives_back_its_parts():
    one, two = ended_run("one"), ended_run("two")
    parts = [Part(3, tuple(one.changes)), Part(7, (*two.changes[:2], one.changes[0])), Part(9, tuple(two.changes[2:]))]
    name, content = pack_of(parts, 99)
    assert parts_of(name, content) == parts


@pytest.mark.parametrize("cut", [0, 3, 7, 20, -1])
def test_a_pack_that_is_cut_is_refused(cut):
    name, content = pack_of([Part(3, tuple(ended_run("one").changes))], 99)
    with pytest.raises(IntegrityError):
        parts_of(name, content[:cut])


def test_streams_whose_names_could_leave_the_folder_stay_in_it(place):
    store = place.open()
    for stream_id in ("../../escape", "a/b", ".hidden", "x" * 300, "käse"):
        writer = StreamWriter(stream_id)
        writer.create_run(name=stream_id[:20])
        store.apply(writer.changes)
    assert len(names(place.open("two"))) == 5
    assert all(path.parent.parent == place.root / "streams" for path in place.objects())


# -- S3 ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def requests(monkeypatch):
    """Count the requests to S3 by their names."""
    import s3fs

    counts = collections.Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self, method, *args, **kwargs):
        counts[method] += 1
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    return counts


def test_a_batch_costs_one_request_and_a_warm_open_two(s3_url, tmp_path, requests, monkeypatch):
    run = ended_run("run")
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "one") as store:
        store.apply(run.changes[:5])
        assert requests == {"list_objects_v2": 2, "put_object": 2}  # the first of all also says that there is a store
        requests.clear()
        store.apply(run.changes[5:6])
        store.apply(run.changes[6:])
        assert requests == {"put_object": 2}
        store.apply(ended_run("other").changes)
        requests.clear()
        assert names(store) == ["other", "run"]
        assert requests == {"list_objects_v2": 3}  # the first question of a machine looks for a snapshot
        store.compact()
    requests.clear()
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "one") as store:
        assert names(store) == ["other", "run"]
    assert requests == {"list_objects_v2": 2}
    requests.clear()
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "two") as store:
        assert names(store) == ["other", "run"]
    assert requests == {"list_objects_v2": 3, "get_object": 1}
    monkeypatch.setattr(snapshots, "ENOUGH_CHANGES", 1)
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "two") as store:
        store.compact()
    requests.clear()
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "three") as store:
        assert names(store) == ["other", "run"]
        assert requests == {"list_objects_v2": 3, "get_object": 1}
        assert verify(store).findings == []


def test_compaction_on_s3_leaves_one_object(s3, bucket, s3_url, tmp_path):
    runs = [ended_run(f"run {number}") for number in range(5)]
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "one") as store:
        for run in runs:
            ship(store, run)
        assert store.compact().deleted == 15
        assert verify(store).findings == []
    client = s3.client()
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{tmp_path.name}/")["Contents"]
    client.close()
    assert sorted(item["Key"].rpartition(".")[2] for item in listed) == ["pck", "store"]
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "two") as store:
        assert len(names(store)) == 5


def test_a_weak_server_will_do(weak_s3, tmp_path):
    url = f"s3://{weak_s3.new_bucket()}?{urlencode({**weak_s3.options, 'max_staleness_s': 0})}"
    with ObjectMetadataStore(url, cache_dir=tmp_path / "one") as store:
        for number in range(3):
            ship(store, ended_run(f"run {number}"))
        assert store.compact().deleted == 9
    with ObjectMetadataStore(url, cache_dir=tmp_path / "two") as store:
        assert len(names(store)) == 3
        assert verify(store).findings == []


def test_a_weak_server_decides_nothing_and_says_so(weak_s3, tmp_path):
    url = f"s3://{weak_s3.new_bucket()}?{urlencode({**weak_s3.options, 'max_staleness_s': 0})}"
    with ObjectMetadataStore(url, cache_dir=tmp_path / "one") as store:
        ship(store, ended_run("before"))
        writer = StreamWriter()
        change = writer.create_run(name="decided")
        for _ in range(2):
            with pytest.raises(ConditionsUnsupportedError, match="If-None-Match"):
                store.apply(writer.changes, expect=[Absent("run", change.entity_id)])
        assert not store.decides
        assert names(store) == ["before"]
        assert writer.stream_id not in store.heads()
        assert verify(store).findings == []


def test_a_writer_pauses_while_a_decision_is_missing_and_then_says_so(place, monkeypatch):
    store = place.open()
    for name in ("first", "second"):
        writer = StreamWriter()
        store.apply([writer.create_run(name=name)], expect=[Absent("run", writer.changes[0].entity_id)])
    min(place.root.rglob("-*.chg"), key=lambda path: path.name).unlink()
    late, looks, pauses = place.open("two"), [], []
    fresh, pause = late._follower.fresh, deciding._pause
    monkeypatch.setattr(late._follower, "fresh", lambda **options: (looks.append(options), fresh(**options))[1])
    monkeypatch.setattr(deciding, "_pause", lambda pause_s: (pauses.append(pause_s), pause(pause_s))[1])
    monkeypatch.setattr(deciding, "PATIENCE_S", 0.5)
    other = StreamWriter()
    with pytest.raises(StoreUnavailableError, match="is missing"):
        late.apply([other.create_run(name="third")], expect=[Absent("run", other.changes[0].entity_id)])
    assert len(looks) == len(pauses) > 0


def test_an_erased_payload_leaves_a_decision_too_and_its_number_stays_taken(place):
    store = place.open()
    writer = StreamWriter()
    run = writer.create_run(name="to be erased").entity_id
    store.apply(writer.changes, expect=[Absent("run", run)])
    (decision,) = place.root.rglob("-*.chg")
    writer.delete("run", run, window_s=0)
    writer.erase(writer.changes[0])
    writer.close()
    store.apply(writer.changes)
    assert parts_of(f"packs/{decision.name}", decision.read_bytes())[0].changes[0].payload
    store.compact()
    store.compact()
    assert parts_of(f"packs/{decision.name}", decision.read_bytes()) == []
    held = [part for path in place.objects(".pck") for part in parts_of(f"packs/{path.name}", path.read_bytes())]
    assert [change.payload for part in held for change in part.changes if change.seq == 1] == [None]
    late = place.open("two")
    other = StreamWriter()
    late.apply([other.create_run(name="next")], expect=[Absent("run", other.changes[0].entity_id)])
    assert len(list(place.root.rglob("-*.chg"))) == 2
    for each in (store, late, place.open("three")):
        each.refresh()
        assert verify(each).findings == []
        assert {run.name for run in each.find(Query()).entities} == {"next"}


@pytest.mark.parametrize("late", [0, 1])
def test_every_replica_settles_a_clash_of_names_alike(place, late):
    writers = [StreamWriter(at=1_750_000_000_000_000 + second) for second in range(2)]
    projects = [writer.create("project", workspace_id="w", name="churn").entity_id for writer in writers]
    writers[1].update("project", projects[1], set={"description": "of the later one"})
    for writer in writers:
        writer.close()
    parts = [Part(1_750_000_000_000_000 + number, tuple(writer.changes)) for number, writer in enumerate(writers)]
    stores = [place.open("one")]
    place.put(parts[1 - late])
    assert [project.name for project in stores[0].find(Query("project")).entities] == ["churn"]
    place.put(parts[late])  # where it is the first one, its stamp says that it comes before the one that is there
    stores += [place.open("two"), place.open("three")]
    answers = []
    for store in stores:
        found = {project.entity_id: project.name for project in store.find(Query("project")).entities}
        assert found[projects[0]] == "churn"
        assert found[projects[1]].startswith("churn (")
        answers.append((found, {stream_id: head.hash for stream_id, head in store.heads().items()}))
        assert verify(store).findings == []
    assert answers == [answers[0]] * 3
    assert len(answers[0][1]) == 3
    stores[0].compact()
    fresh = place.open("four")
    assert {project.entity_id: project.name for project in fresh.find(Query("project")).entities} == answers[0][0]
    assert verify(fresh).findings == []


def test_a_program_that_only_logs_keeps_no_replica_until_somebody_renames(place, tmp_path):
    store = place.open("writer")
    path = (("workspace", "default"), ("project", "project"))
    ship(store, ended_run("run"))
    derived = store.identify(*path)
    assert not list((tmp_path / "writer").rglob("*.db"))
    person = StreamWriter()
    person.update("project", derived[1], set={"name": "renamed"})
    place.open("person").apply(person.changes)
    assert store.identify(*path)[1] != derived[1]
    assert store.identify(path[0], ("project", "renamed")) == derived


def test_runs_and_artifacts_share_a_bucket(s3_url, tmp_path):
    artifacts = open_artifacts(s3_url)
    with closing(artifacts), open_store(s3_url) as store:
        info = artifacts.put(io.BytesIO(b"weights"))
        ship(store, ended_run("run"))
        ship(store, ended_run("other"))
        store.compact()
        assert names(store) == ["other", "run"]
        assert [blob.digest for blob in artifacts.list()] == [info.digest]


def test_one_table_of_the_configuration_serves_both_stores_of_a_bucket(s3, bucket, tmp_path):
    table = {**s3.options, "max_staleness_s": 5, "part_mib": 8}
    settings = load_settings(url=f"s3://{bucket}/{tmp_path.name}", stores={"s3": table}, cache_dir=tmp_path)
    artifacts = open_artifacts(settings.artifact_url, settings)
    with closing(artifacts), open_store(settings.url, settings) as store:
        ship(store, ended_run("run"))
        assert names(store) == ["run"]
        assert list(artifacts.list()) == []
    assert (tmp_path / "replicas").is_dir()
    settings = load_settings(url=settings.url, stores={"s3": {"max_stalenes_s": 5}})
    for use, url in ((open_store, settings.url), (open_artifacts, settings.artifact_url)):
        with pytest.raises(ConfigurationError, match="did you mean 'max_staleness_s'"):
            use(url, settings)


def test_a_folder_holds_runs_and_artifacts_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/bucket?max_staleness_s=0"
    artifacts = open_artifacts(url)
    with closing(artifacts), open_store(url) as store:
        info = artifacts.put(io.BytesIO(b"weights"))
        ship(store, ended_run("run"))
        assert names(store) == ["run"]
        assert [blob.digest for blob in artifacts.list()] == [info.digest]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"secret": "hunter2hunter2"}, PermissionDeniedError, "credentials are wrong"),
        ({"key": "AKIAAAAAAAAAAAAAAAAA"}, PermissionDeniedError, "credentials are wrong"),
        ({"endpoint_url": "http://127.0.0.1:9"}, StoreUnavailableError, "cannot be reached"),
        ({"endpoint_url": "nonsense"}, ConfigurationError, "nonsense"),
        ({"profile": "nobody"}, ConfigurationError, "profile"),
        ({"verify": "perhaps"}, ConfigurationError, "true or false"),
        ({"read_timeout_s": 0}, ConfigurationError, "read_timeout_s"),
        ({"addressing_style": "odd"}, ConfigurationError, "addressing_style"),
        ({"ca_bundle": "/nowhere.pem"}, ConfigurationError, "/nowhere.pem"),
        ({"endpont_url": "x"}, ConfigurationError, "did you mean 'endpoint_url'"),
        ({"secret": ""}, ConfigurationError, "key and secret"),
        ({"bucket": "no-such-bucket"}, ConfigurationError, "'no-such-bucket' does not exist"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_with_a_bucket_is_said_in_a_sentence(s3, bucket, tmp_path, options, error, words):
    options = {**s3.options, **options}
    url = f"s3://{options.pop('bucket', bucket)}/prefix?{urlencode(options)}"
    for use in (names, lambda store: store.apply(ended_run("run").changes)):
        with (
            pytest.raises(error, match=words) as caught,
            ObjectMetadataStore(url, cache_dir=tmp_path / "cache") as store,
        ):
            use(store)
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert s3.options["secret"] not in str(caught.value)


def test_credentials_that_may_only_read_are_enough_for_reading(s3_url, bucket, s3, tmp_path):
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "one") as store:
        ship(store, ended_run("run"))
        ship(store, ended_run("second"))
    options = {**s3.options, "key": "reader-key", "secret": "reader-secret", "cache_dir": tmp_path / "two"}
    with ObjectMetadataStore(f"s3://{bucket}/{tmp_path.name}", **options) as store:
        assert names(store) == ["run", "second"]
        for use in (store.compact, lambda: store.apply(ended_run("never").changes)):
            with pytest.raises(StoreReadOnlyError, match="may not write"):
                use()
        assert names(store) == ["run", "second"]


def test_a_clock_that_is_wrong_is_said(s3_url, tmp_path, monkeypatch):
    import datetime

    import botocore.auth

    def late(remove_tzinfo=True):
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
        return now.replace(tzinfo=None) if remove_tzinfo else now

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    with (
        ObjectMetadataStore(s3_url, cache_dir=tmp_path) as store,
        pytest.raises(StoreUnavailableError, match="clock of this machine"),
    ):
        names(store)


@pytest.mark.parametrize("mode", ["hang", "cut"])
def test_a_network_that_fails_is_an_outage_that_passes(s3, s3_url, tmp_path, mode):
    proxy = Proxy(s3.port, cut_after=300)
    run = ended_run("run")
    try:
        options = {"endpoint_url": f"http://127.0.0.1:{proxy.port}", "read_timeout_s": 0.5, "max_attempts": 2}
        url = s3_url.replace(urlencode({"endpoint_url": s3.endpoint_url}), urlencode(options))
        with ObjectMetadataStore(url, cache_dir=tmp_path) as store:
            store.apply(run.changes[:5])
            proxy.mode = mode
            for use in (lambda: store.apply(run.changes[5:]), lambda: names(store)):
                with pytest.raises(StoreUnavailableError):
                    use()
            proxy.mode = "pass"
            with warnings.catch_warnings():
                # A server may keep what it got of an upload that broke off; that is damaged, and said.
                warnings.simplefilter("ignore", ModelDBWarning)
                store.apply(run.changes[5:])
                assert list(store.read_changes(stream_id=run.stream_id).changes) == run.changes
                store.compact()
                assert verify(store).findings == []
    finally:
        proxy.close()


def test_what_is_left_of_an_upload_that_broke_off_goes_when_it_is_not_needed(place):
    store, run = place.open(), ended_run("run")
    store.apply(run.changes[:5])
    path = place.put(Part(99, tuple(run.changes[5:])))
    path.write_bytes(b"")
    with pytest.warns(ModelDBWarning, match=path.name):
        store.apply(run.changes[3:6])
    store.compact()
    assert path.exists()
    store.apply(run.changes[6:])
    store.compact()
    assert not path.exists()
    assert list(place.open("two").read_changes().changes) == run.changes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_store_can_be_used_after_a_fork_by_both(s3_url, tmp_path):
    with ObjectMetadataStore(s3_url, cache_dir=tmp_path / "cache") as store:
        ship(store, ended_run("before"))
        assert names(store) == ["before"]
        in_children(2, lambda: (ship(store, ended_run(f"child {os.getpid()}")), names(store)))
        ship(store, ended_run("after"))
        assert len(names(store)) == 4


def test_a_full_disk_is_an_outage_that_passes(place, monkeypatch):
    store, run = place.open(), ended_run("run")
    store.apply(run.changes[:5])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            store.apply(run.changes[5:])
    store.apply(run.changes[5:])
    assert list(store.read_changes().changes) == run.changes
    assert len([path for path in place.root.rglob("*") if path.is_file()]) == 3


# Replicas of other code


def test_a_replica_that_older_code_made_leaves_nothing_out_after_an_upgrade(place, tmp_path):
    writer = StreamWriter()
    run_id = writer.create_run(name="tagged", tags=["best"]).entity_id
    place.open().apply(writer.changes)
    older = tmp_path / "older"
    shutil.copytree(Path(modeldb_core.__file__).parent, older / "modeldb_core")
    leaves = older / "modeldb_core" / "queries" / "leaves.py"
    code = leaves.read_text()
    assert "for tag in document.get(TAGS, ()):" in code
    leaves.write_text(code.replace("for tag in document.get(TAGS, ()):", "for tag in ():"))  # it knows no tags
    program = f"""
import modeldb_core
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.queries import Query
assert modeldb_core.__file__.startswith({str(older)!r}), modeldb_core.__file__
with ObjectMetadataStore("file://{place.root}", cache_dir={str(place.folder / "one")!r}, max_staleness_s=0) as store:
    assert store.get("run", {run_id!r}).tags == ("best",)
    assert store.find(Query(filter="tags contains 'best'")).entities == ()
"""
    environment = {**os.environ, "PYTHONPATH": str(older)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240, env=environment, cwd=tmp_path)
    (replica,) = (place.folder / "one" / "replicas").glob("*.db")
    store = place.open()
    assert [run.entity_id for run in store.find(Query(filter="tags contains 'best'")).entities] == [run_id]
    assert verify(store).findings == []
    assert replica.exists()  # the older code may be in use still
    for path in replica.parent.glob(f"{replica.name.partition('.')[0]}.*"):
        os.utime(path, (1, 1))
    stranger = replica.with_name("notes.db")
    stranger.touch()
    os.utime(stranger, (1, 1))
    again = place.open()
    assert again.get("run", run_id).name == "tagged"
    assert not replica.exists()
    assert stranger.exists()


def test_the_code_that_a_replica_is_for_is_all_that_decides_about_its_rows():
    """What the code in the fingerprint imports is in it, but for what says how to reach files, servers and users."""
    root = Path(modeldb_core.__file__).parent
    covered = set(fingerprint._files())
    named = re.compile(r"^\s*from modeldb_core\.((?:model|log|queries|stores)[\w.]*) import", re.MULTILINE)
    imported = {name for path in covered if path.suffix == ".py" for name in named.findall(path.read_text())}
    files = {root / f"{name.replace('.', '/')}.py" for name in imported}
    assert {path.relative_to(root).as_posix() for path in files - covered if path.exists()} == set()
