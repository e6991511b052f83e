"""An audit passes on what is untouched, and names whatever was altered, in whichever table."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from modeldb_core.audit import Checkpoint, verify
from modeldb_core.backends._sql import items, points, spans
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.model.entities import now_us
from modeldb_core.plugins import open_store
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.entities import VALUES
from modeldb_core.testing.scene import Scene

VERSION_TABLE = "modeldb_version"


def fill(store):
    """Put something of everything into a store: every table gets rows, every column values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "FULL_ROWS", 1024)  # so that a few of them make a span
        patch.setattr(spans, "FAN_IN", 2)
        patch.setattr(items, "LARGE", 256)
        return _fill(store)


def _fill(store):
    scene = Scene(store)
    writer = scene.writer
    run_id = scene.run(
        "rich",
        description="what it is",
        tags=["best", "v1"],
        started_at=1_800_000_000_000_000,
        finished_at=1_800_000_000_500_000,
        parent_id="parent",
        status="finished",
        hyperparameters={"lr": 0.1, "opt": {"name": "adam"}, **VALUES},
        metrics={"auc": 0.9, "nan": math.nan, "n": 2**70},
        artifacts={"model": {"digest": "ab" * 32, "size_bytes": 3}},
        datasets={"train": {"digest": "cd"}},
        code={"git": {"commit": "cafe"}},
    )
    generator = np.random.default_rng(5)
    for part in range(3):
        steps = list(range(part * 1500, part * 1500 + 1500))
        values = generator.normal(size=(2, 1500)).tolist()
        writer.append(run_id, {"loss": values[0], "acc": values[1]}, steps=steps)
        scene.ship()
    writer.append(run_id, {"loss": [math.nan, -0.0, 1.5]})
    writer.append(run_id, {"zero": [-0.0]})
    scene.ship()
    other = StreamWriter(actor="somebody else", at=now_us() - 3_600_000_000)
    other.open(lease_s=10)
    lost = other.create_run(name="lost", **scene.ids, tags=["x"]).entity_id
    other.append(lost, {"loss": [1.0, 2.0]})
    other.append(run_id, {"loss": [7.0]})
    secret = other.update("run", lost, put={"attributes": {"secret": "s3cr3t", "kept": False}})
    points = other.append(lost, {"loss": [9.0], "acc": [1.0]})
    other.create("comment", parent_id=lost, message="look at this", author="me")
    other.create("dataset_version", dataset_id="d", version=3, digest="abc", info={"rows": 5})
    other.erase(secret)
    other.erase(points)
    store.apply(other.changes)
    writer.delete("run", scene.run("deleted"))
    writer.close()
    scene.ship()
    return scene, other


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a store's file with something of everything in it."""
    path = tmp_path_factory.mktemp("original") / "modeldb.db"
    with open_store(f"sqlite:///{path}") as store:
        fill(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def copy(original, tmp_path):
    """Return a function that copies the file and runs SQL on the copy; it returns a report of its audit."""

    def alter(*statements, checkpoint=None):
        path = tmp_path / "altered.db"
        for old in tmp_path.glob("altered.db*"):
            old.unlink()
        shutil.copy(original, path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = off")
            for statement, parameters in statements:
                assert connection.execute(statement, parameters).rowcount == 1
            connection.commit()
        with open_store(f"sqlite:///{path}") as store:
            return verify(store, checkpoint=checkpoint)

    return alter


def tables_of(path):
    connection = sqlite3.connect(path)
    names = connection.execute("select name from sqlite_schema where type = 'table' and name not like 'sqlite%'")
    tables = {}
    for (name,) in names.fetchall():
        columns = [(row[1], bool(row[5])) for row in connection.execute(f"pragma table_info({name})")]
        tables[name] = (columns, connection.execute(f'select * from "{name}"').fetchall())
    connection.close()
    return tables


def another(value):
    """Return values that differ from one by as little as possible, of its type where it has one."""
    match value:
        case None:
            return [1, "x", b"x"]
        case int():
            return [value + 1, value + 1000, value ^ 1]
        case float():
            return [math.nextafter(value, math.inf), value + 0.25, -value - 1]
        case str():
            return [value[:-1] + chr(ord(value[-1]) ^ 1), value + "x"] if value else ["x"]
        case bytes():
            at = len(value) // 2
            return [value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :], value + b"x"] if value else [b"x"]


SURROGATES = {
    ("columns", "column_pk"): "numbers rows, and nothing names it",
    ("modeldb_compatibility", "stamp"): "another one has programs look at the declarations again, and nothing else",
}
ROUNDED = {("metrics", "mean"), ("metrics", "total")}
"""Sums: the order in which batches came decides their last bits, so the smallest change of one is not told from that."""

TABLES = [
    *("streams", "actors", "entities", "documents", "changes", "erased", "keys", "facts", "metrics", "key_lists"),
    *(
        "pending",
        "chunks",
        "columns",
        "outlines",
        "spans",
        "modeldb_compatibility",
        "unique_values",
        "items",
        "links",
        "key_counts",
    ),
]
DECLARED = {"declarations", "outdated"}
"""What a program knew of kinds when it made rows: where that is another than it says, rows are made again."""


def test_the_tables_are_all_looked_at(original):
    tables = tables_of(original)
    assert set(tables) - {VERSION_TABLE} - DECLARED == set(TABLES)
    assert all(tables[name][1] for name in TABLES), "a table without rows proves nothing"


def test_what_is_untouched_verifies(copy):
    report = copy()
    assert report.findings == []
    assert report.ok
    assert report.has_search_rows
    assert (report.streams, report.sealed_streams, len(report.open_streams)) == (2, 1, 1)
    assert report.erased == 2
    assert report.points == 2 * 4500 + 3 + 1 + 2 + 1
    assert "everything verifies" in str(report)


ROWS = (1, pytest.param(6, marks=pytest.mark.thorough))
"""How many rows of a table are tried: the audit takes all of them the same way."""


@pytest.mark.parametrize("count", ROWS)
@pytest.mark.parametrize("table", TABLES)
def test_any_altered_value_shows(original, copy, table, count):
    columns, rows = tables_of(original)[table]
    keys = [name for name, is_key in columns if is_key]
    choose = random.Random(table)
    missed = []
    for place, (column, _) in enumerate(columns):
        if (table, column) in SURROGATES:
            continue
        with_value = [row for row in rows if row[place] is not None] or rows
        for row in choose.sample(with_value, min(count, len(with_value))):
            condition = " and ".join(f'"{key}" is ?' for key in keys)
            names = [name for name, _ in columns]
            identity = [row[names.index(key)] for key in keys]
            candidates = another(row[place])[1 if (table, column) in ROUNDED else 0 :]
            for value in (each for each in candidates if each != row[place]):  # beyond infinity lies nothing
                try:
                    report = copy((f'update "{table}" set "{column}" = ? where {condition}', [value, *identity]))
                except (sqlite3.IntegrityError, OverflowError):
                    continue
                if report.ok:
                    missed.append((column, row[place], value))
                else:
                    assert all(finding.subject and finding.message for finding in report.findings)
                break
            else:
                pytest.fail(f"no other value for {column} {row[place]!r} is possible")
    assert missed == []


@pytest.mark.parametrize("count", ROWS)
@pytest.mark.parametrize("table", TABLES)
def test_any_deleted_row_shows(original, copy, table, count):
    columns, rows = tables_of(original)[table]
    names = [name for name, _ in columns]
    keys = [name for name, is_key in columns if is_key]
    condition = " and ".join(f'"{key}" is ?' for key in keys)
    missed = []
    for row in random.Random(table).sample(rows, min(2 * count, len(rows))):
        report = copy((f'delete from "{table}" where {condition}', [row[names.index(key)] for key in keys]))
        if report.ok:
            missed.append(row)
    assert missed == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("insert into documents select entity_pk + 900, document, apart from documents limit 1", "documents"),
        ("insert into facts select 9999, key_pk, value_type, number, text from facts limit 1", "facts"),
        (
            "insert into key_counts select kind, 'p', workspace_id, key_pk, form, 1 from key_counts limit 1",
            "key_counts",
        ),
        ("insert into erased select stream_pk, 1, 1 from streams limit 1", "erased"),
        (
            "insert into metrics (key_pk, entity_pk, value_type, number, once) select k.key_pk, e.entity_pk, 1, 5.0, 1"
            " from keys k, entities e where k.section = 'metrics' and k.key = 'auc' and e.name = 'lost'",
            "metrics",
        ),
        (
            "insert into metrics (key_pk, entity_pk, value_type, number, once, count) select k.key_pk, e.entity_pk, 1, 5.0,"
            " 0, 1 from keys k, entities e where k.section = 'metrics' and k.key = 'auc' and e.name = 'lost'",
            "metrics",
        ),
        (
            "insert into facts select e.entity_pk, f.key_pk, 1, 5.0, null from entities e, facts f"
            " where e.kind = 'project' limit 1",
            "facts",
        ),
    ],
)
def test_an_added_row_shows(copy, statement, named):
    report = copy((statement, ()))
    assert any(named in str(finding) for finding in report.findings)


def test_an_added_entity_shows(original, copy):
    report = copy(
        ("insert into entities (entity_pk, entity_id, kind, present, name) values (900, 'forged', 'run', 1, 'f')", ()),
        ("""insert into documents values (900, '{"name":"f"}', null)""", ()),
    )
    assert any("forged" in finding.subject and "no change made it" in finding.message for finding in report.findings)


def test_an_altered_change_is_named(original, copy):
    connection = sqlite3.connect(original)
    query = (
        "select c.position, s.stream_id, c.seq from changes c join streams s using (stream_pk) where c.seq = 3 limit 1"
    )
    position, stream_id, seq = connection.execute(query).fetchone()
    connection.close()
    report = copy(("update changes set recorded_at = recorded_at + 1 where position = ?", [position]))
    first = report.findings[0]
    assert first.aspect == "change"
    assert f"change {seq} of stream {stream_id}" in first.subject
    assert "altered" in first.message


def test_an_altered_answer_names_its_entity_and_field(original, copy):
    with closing(sqlite3.connect(original)) as connection:
        pk, entity_id = connection.execute("select entity_pk, entity_id from entities where name = 'rich'").fetchone()
    alter = "update items set item = '\"lr\":0.2' where entity_pk = ? and field = 'hyperparameters' and name = 'lr'"
    report = copy((alter, [pk]))
    assert any(
        finding.aspect == "entity"
        and entity_id in finding.subject
        and "hyperparameters.lr is 0.2; the changes say 0.1" in finding.message
        for finding in report.findings
    )


def test_a_payload_dropped_without_an_erasure_shows(original, copy):
    report = copy(("update changes set payload = null, salt = null where position = 2", ()))
    assert any("no change erased it" in finding.message for finding in report.findings)


def drop_stream(path, which):
    """Delete a stream from every table that shows it, as one who knows the tables would."""
    connection = sqlite3.connect(path)
    ((stream_id, pk, seq),) = connection.execute(
        f"select stream_id, stream_pk, seq from streams order by stream_pk limit 1 offset {which}"
    ).fetchall()
    connection.close()
    return stream_id, pk, seq


def test_a_dropped_end_of_a_stream_shows(original, copy):
    stream_id, pk, seq = drop_stream(original, 0)
    report = copy(("delete from changes where stream_pk = ? and seq = ?", [pk, seq]))
    assert any(
        finding.subject == f"stream {stream_id}" and "its end is gone" in finding.message for finding in report.findings
    )


def make_consistent_loss():
    """Return a store without the end of an open stream and without another stream, and the checkpoint from before."""
    whole = MemoryStore()
    writer, gone = StreamWriter(), StreamWriter()
    for stream in (writer, gone):
        stream.open()
        stream.create_run()
        stream.create_run()
    whole.apply([*writer.changes, *gone.changes])
    cut = MemoryStore()
    cut.apply(writer.changes[:-1])
    return cut, writer, gone, Checkpoint.of(whole)


def test_a_consistent_loss_shows_against_a_checkpoint_only(tmp_path):
    cut, writer, gone, checkpoint = make_consistent_loss()
    report = verify(cut)
    assert report.ok
    assert report.open_streams == [writer.stream_id]
    assert "only against a checkpoint" in str(report)
    path = tmp_path / "checkpoint.json"
    checkpoint.write(path)
    report = verify(cut, checkpoint=Checkpoint.read(path))
    assert {(finding.aspect, finding.subject) for finding in report.findings} == {
        ("checkpoint", f"stream {writer.stream_id}"),
        ("checkpoint", f"stream {gone.stream_id}"),
    }
    assert all("gone" in finding.message for finding in report.findings)


def test_a_stream_written_anew_shows_against_a_checkpoint():
    honest = StreamWriter()
    honest.open()
    honest.create_run(name="as it was")
    forged = StreamWriter(honest.stream_id)
    forged.open()
    forged.create_run(name="as it should have been")
    before, after = MemoryStore(), MemoryStore()
    before.apply(honest.changes)
    after.apply(forged.changes)
    assert verify(after).ok
    report = verify(after, checkpoint=Checkpoint.of(before))
    assert [finding.aspect for finding in report.findings] == ["checkpoint"]
    assert honest.stream_id in report.findings[0].subject


def test_a_store_that_went_on_still_matches_its_checkpoint():
    store, writer = MemoryStore(), StreamWriter()
    writer.open()
    store.apply(writer.changes)
    checkpoint = Checkpoint.of(store)
    writer.create_run()
    store.apply(writer.changes)
    report = verify(store, checkpoint=checkpoint)
    assert report.ok
    assert report.checkpoint_made_at == checkpoint.time


def test_checkpoints_are_files_that_cannot_be_altered_or_replaced(tmp_path):
    checkpoint = make_consistent_loss()[3]
    path = tmp_path / "checkpoint.json"
    checkpoint.write(path)
    assert Checkpoint.read(path) == checkpoint
    with pytest.raises(InvalidArgumentError, match="exists"):
        checkpoint.write(path)
    data = json.loads(path.read_text())
    first = next(iter(data["streams"]))
    data["streams"][first][0] += 1
    path.write_text(json.dumps(data))
    with pytest.raises(IntegrityError, match="altered"):
        Checkpoint.read(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": "modeldb-checkpoint-1"}', '{"format": "other"}'])
def test_what_is_no_checkpoint_is_refused(tmp_path, text):
    path = tmp_path / "checkpoint.json"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=r"checkpoint\.json"):
        Checkpoint.read(path)
    with pytest.raises(InvalidArgumentError):
        Checkpoint.read(tmp_path / "absent.json")


def test_blobs_are_read_when_asked_for(tmp_path):
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    store, writer = MemoryStore(), StreamWriter()
    good = artifacts.put(io.BytesIO(b"good"))
    bad = artifacts.put(io.BytesIO(b"bad"))
    names = {"good": good.digest, "bad": bad.digest, "absent": "0" * 64}
    run_id = writer.create_run(artifacts={name: {"digest": digest} for name, digest in names.items()}).entity_id
    store.apply(writer.changes)
    (tmp_path / "blobs" / bad.digest[:2] / bad.digest).write_bytes(b"bat")
    assert verify(store).ok
    report = verify(store, artifacts)
    assert report.blobs == 3
    assert {finding.subject for finding in report.findings} == {
        f"blob {names[name]} (of run {run_id})" for name in ("bad", "absent")
    }


def test_progress_is_told(tmp_path):
    store = MemoryStore()
    fill(store)
    for _ in range(100):
        writer = StreamWriter()
        for _ in range(10):
            writer.create("comment")
        store.apply(writer.changes)
    told = []
    report = verify(store, progress=lambda *what: told.append(what))
    assert ("changes", 500, report.changes) in told
    assert ("entities", 100, report.entities) in told
    assert told[-1] == ("entities", report.entities, report.entities)


def test_what_is_written_to_all_the_while_is_said_and_not_blamed():
    class Busy(MemoryStore):
        """Gets an update whenever somebody looks."""

        def get(self, kind, entity_id):
            writer.update(kind, entity_id, put={"attributes": {"n": len(writer.changes)}})
            self.apply(writer.changes)
            return super().get(kind, entity_id)

    store, writer = Busy(), StreamWriter()
    run_id = writer.create_run().entity_id
    store.apply(writer.changes)
    report = verify(store)
    assert report.findings == []
    assert report.unsettled == [f"run {run_id}"]
    assert run_id in str(report)


def test_any_store_can_be_audited():
    store = MemoryStore()
    scene, other = fill(store)
    report = verify(store)
    assert report.findings == []
    assert not report.has_search_rows
    assert report.changes == len(scene.writer.changes) + len(other.changes)


def test_an_audit_of_a_store_in_use_finds_nothing_wrong(tmp_path):
    import threading

    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        scene = Scene(store)
        run_id = scene.run()
        scene.ship()
        done = threading.Event()

        def write():
            step = 0
            while not done.is_set() and step < 500:  # each audit looks at all that was written
                scene.writer.append(run_id, {"loss": [float(step)]}, steps=[step])
                scene.writer.update("run", run_id, put={"attributes": {"step": step}})
                scene.ship()
                step += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(3):
                assert verify(store).findings == []
        finally:
            done.set()
            writer.join()


def test_an_empty_store_verifies(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        report = verify(store)
    assert report.ok
    assert (report.changes, report.entities) == (0, 0)
