"""Whole files, folders and stores that somebody else may have made: opened, read to their ends, and verified."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from modeldb_core.audit import verify
from modeldb_core.backends._sql.fingerprint import fingerprint
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import ObjectMetadataStore, layout, snapshots
from modeldb_core.errors import IntegrityError, ModelDBError, StoreReadOnlyError
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.records import Chain, Draft, Plan, Seal, make_record
from modeldb_core.journal.recovery import recover
from modeldb_core.journal.segments import read_records
from modeldb_core.log.batches import encode_changes
from modeldb_core.log.changes import Change
from modeldb_core.log.json_documents import change_document, entity_document
from modeldb_core.movement.archive import end_of_archive, header, padding
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from tests.fuzz.decoders import ACTIONS, PAYLOADS, Decoder
from tests.fuzz.mutations import NUMBERS, RAW_JSON, STRANGE, damaged, other_json, texts

KINDS_TO_ASK = ("run", "project", "comment", "model_version")
STREAM_ID = "01890000-0000-7000-8000-000000000001"
BLOB = b"content"


def ask(store: MetadataStore) -> None:
    """Ask a store everything; each answer, or each error of ModelDB, is one that can be shown."""
    found: list[Any] = []
    for question in (
        store.heads,
        lambda: store.head(STREAM_ID),
        *(partial(store.find, Query(kind=kind, count=True, include_deleted=True)) for kind in KINDS_TO_ASK),
        lambda: store.find(
            Query(filter="metrics.auc > 0 or tags contains 'x'", order_by="metrics.loss.min desc, name")
        ),
        lambda: store.find_keys(Query()),
        lambda: store.find_groups(Query(), "hyperparameters.lr", ["metrics.auc"]),
        store.read_changes,
    ):
        found.append(_asked(question))
    for answer in found:
        for entity in getattr(answer, "entities", ()):
            json.dumps(entity_document(entity), allow_nan=False)
            _asked(partial(store.get, entity.KIND, entity.entity_id))
            for key in getattr(entity, "series", ()):
                _asked(partial(store.read_series, entity.entity_id, key, max_points=10))
        for change in getattr(answer, "changes", ()):
            _asked(partial(change_document, change))


def _asked(question: Callable[[], object]) -> object:
    try:
        answer = question()
        return repr(answer) and answer
    except ModelDBError as error:
        return str(error)


# -- changes ----------------------------------------------------------------------------------------------------------


def written() -> StreamWriter:
    """Return a writer that has made changes of every sort."""
    writer = StreamWriter(STREAM_ID, at=1_000_000)
    writer.open(lease_s=3_600)
    ids = writer.create_containers("churn", "forest")
    blob = {"digest": hashlib.sha256(BLOB).hexdigest(), "size_bytes": len(BLOB)}
    run_id = writer.create_run(**ids, name="a", tags=["x"], metrics={"auc": 0.5}, artifacts={"a": blob}).entity_id
    writer.append(run_id, {"loss": [1.0, 2.0], "acc": [0.5, 0.25]})
    for step in range(40):  # more than wait to be put into chunks
        writer.append(run_id, {"loss": [0.5] * 10}, steps=range(step * 10, step * 10 + 10))
    writer.erase(writer.changes[-1])
    writer.create("comment", "c", parent_id=run_id, message="text")
    writer.update("run", run_id, put={"metrics": {"b": 1}}, add={"notes": ["n"]}, remove={"tags": ["x"]})
    writer.delete("comment", "c", window_s=0)
    return writer


@st.composite
def sealed(draw: st.DrawFn) -> tuple[Change, ...]:
    """Return changes that are sealed as they should be, some of which hold what no writer writes."""
    writer = written()
    payloads = st.one_of(*map(other_json, PAYLOADS)) | damaged(writer.changes[5].payload or b"")
    names = st.sampled_from([change.entity_id for change in writer.changes]) | texts("e")
    for _ in range(draw(st.integers(1, 3))):
        action, kind = (
            draw(st.sampled_from(ACTIONS)),
            draw(st.sampled_from(["run", "project", "stream", "comment", "castle"])),
        )
        entity_id = draw(names)
        writer.at = draw(st.sampled_from([writer.at, 0, 2**62, 253_402_300_799_999_999]))
        with suppress(UnicodeEncodeError):  # half of a surrogate pair, which no bytes hold
            writer.write(action, kind, entity_id, draw(payloads))
    return tuple(writer.changes)


def _applied(changes: tuple[Change, ...], make: Callable[[Path], MetadataStore]) -> None:
    with tempfile.TemporaryDirectory() as folder, make(Path(folder)) as store:
        for change in changes:
            with suppress(ModelDBError):
                store.apply([change])
        ask(store)
        assert not verify(store).findings


# -- bundles ----------------------------------------------------------------------------------------------------------


def _bundle_of(changes: Iterable[Change], folder: Path) -> Path:
    path = folder / "x.bundle"
    with BundleWriter(path) as writer:
        writer.apply([*changes])
        writer.put(io.BytesIO(BLOB), digest=hashlib.sha256(BLOB).hexdigest())
        writer.finish()
    return path


@cache
def _bundle() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _bundle_of(written().changes, Path(folder)).read_bytes()


@cache
def _members() -> list[tuple[str, bytes]]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(_bundle())
        file.flush()
        bundle = Bundle(file.name)
        names = [*bundle._batches]
        content = _bundle()
        bundle.close()
    del names
    found, at = [], 0
    while any(content[at : at + 512]):
        name, size = content[at : at + 100].rstrip(b"\0").decode(), int(content[at + 124 : at + 135], 8)
        found.append((name, content[at + 512 : at + 512 + size]))
        at += 512 + size + -size % 512
    return found


@st.composite
def _rebuilt(draw: st.DrawFn) -> bytes:
    """Return a bundle with members that are damaged, doubled, missing or in another order, each with a right header."""
    members = [*_members()]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(members) - 1))
        name, content = members[at]
        match draw(st.sampled_from(["content", "content", "manifest", "name", "drop", "double"])):
            case "content":
                members[at] = name, draw(damaged(content))
            case "manifest":
                members[-1] = "manifest.json", draw(other_json(json.loads(_members()[-1][1])))
            case "name":
                named = (
                    draw(texts(name, "blobs/..", "changes/999999999999.chg")).encode("ascii", "ignore")[:100].decode()
                )
                members[at] = named, content
            case "drop" if len(members) > 1:
                del members[at]
            case _:
                members.insert(at, members[at])
    return b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in members) + end_of_archive()


def _read_bundle(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.bundle")
        path.write_bytes(content)
        _opened_bundle(path)


def _opened_bundle(path: Path) -> None:
    with Bundle(path) as bundle:
        _asked(bundle.read_changes)
        for info in bundle.list():
            with suppress(ModelDBError), bundle.open(info.digest) as stream:
                stream.read()
        list(map(str, verify_bundle(bundle).findings))
        with MemoryStore() as store:
            with suppress(ModelDBError):
                copy(bundle, store)
            ask(store)


def _bundle_of_changes(changes: tuple[Change, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _opened_bundle(_bundle_of(changes, Path(folder)))


# -- buckets ----------------------------------------------------------------------------------------------------------


def _renamed(name: str, content: bytes) -> str:
    """Return a name with the digest that the content has."""
    head, _, _ = name.rpartition("-")
    return f"{head}-{hashlib.sha256(content).hexdigest()[:16]}.chg"


@cache
def _object() -> tuple[str, bytes]:
    return layout.object_of(layout.Part(1_000_000, tuple(written().changes)))


@st.composite
def _objects(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Return objects of a bucket: damaged ones with names that fit, ones with other names, and hostile changes."""
    name, content = _object()
    made = []
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["content", "name", "changes", "head"])):
            case "content":
                data = draw(damaged(content))
                made.append((_renamed(name, data), data))
            case "name":
                made.append((draw(texts(name, "packs/x.pck", f"packs/{0:016x}.{0:032x}.store-9")), content))
            case "changes":
                stamp = draw(st.sampled_from([number for number in NUMBERS if number >= 0]))
                made.append(layout.object_of(layout.Part(stamp, draw(sealed()))))
            case "head":
                changes = written().changes
                stamps = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=2))
                head = zlib.compress(json.dumps([[stamp, len(changes) // len(stamps)] for stamp in stamps]).encode())
                data = b"PCK1" + len(head).to_bytes(4, "little") + head + encode_changes(changes)
                other = name.replace(f"{1_000_000:016x}", f"{stamps[0] % 2**64:016x}")
                made.append((_renamed(other, data), data))
    return made


def _read_bucket(objects: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in objects:
            path = Path(folder, "bucket", *[part for part in name.split("/") if part not in ("", ".", "..")])
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except (OSError, ValueError):
                return  # no file has such a name
        with ObjectMetadataStore(f"file://{folder}/bucket", cache_dir=f"{folder}/cache") as store:
            ask(store)
            own = StreamWriter("own")
            own.create_run(name="own")
            store.apply(own.changes)  # whatever a stranger put there
            assert store.heads()["own"].seq == 1


# -- journals ---------------------------------------------------------------------------------------------------------


@cache
def _segment() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), STREAM_ID, {"store_url": "memory://", "actor": "me", "host": "h", "pid": 1})
        plan = Plan("r", ("loss", "acc"))
        journal.append(Draft("open", "stream", STREAM_ID, 5, b'{"lease_s": 30}').record())
        journal.append(Draft("create", "run", "r", 5, b'{"name": "a", "status": "running"}').record())
        journal.append(plan.record(1))
        for step in range(3):
            row = b"\x01\0\0\0" + step.to_bytes(8, "little") + (5_000 + step).to_bytes(8, "little")
            journal.append(make_record(3, row + b"\0" * 16))
        journal.append(Draft("update", "run", "r", 6, b'{"set": {"status": "finished"}}', ends_run=True).record())
        journal.append(Seal(0, 0, Chain(0, bytes(32)), 5, bytes(16), 0, bytes(32), "me").record())
        content = bytes(journal.memory[: journal.position + 4_096])
        journal.close(remove=False)
        return content


@cache
def _records() -> list[tuple[int, bytes]]:
    view = memoryview(_segment())
    return [(kind, bytes(body)) for _, kind, body in read_records(view, 0, len(view))]


@st.composite
def _segments(draw: st.DrawFn) -> bytes:
    """Return a segment with records that are damaged and have a right checksum."""
    records = [*_records()]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(records) - 1))
        kind, body = records[at]
        match draw(st.sampled_from(["body", "body", "json", "type", "drop", "double", "seal"])):
            case "body":
                records[at] = kind, draw(damaged(body))
            case "json":
                head, mark, rest = body.partition(b"\n")
                with suppress(ValueError):
                    records[at] = kind, draw(other_json(json.loads(head))) + mark + rest
            case "type":
                records[at] = draw(st.integers(0, 9)), body
            case "drop":
                del records[at]
                if not records:
                    break
            case "seal":
                numbers = [draw(st.sampled_from(NUMBERS)) % 2**63 for _ in range(6)]
                packed = b"".join(number.to_bytes(8, "little") for number in numbers)
                records.insert(at, (6, packed + bytes(80)))
            case _:
                records.insert(at, records[at])
    made = b"".join(make_record(kind, body) for kind, body in records)
    return made + bytes(draw(st.sampled_from([0, 64, 4_096])))


def _recovered(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, MemoryStore() as store:
        own = Path(folder, STREAM_ID)
        own.mkdir(mode=0o700)
        (own / "lock").touch(0o600)
        (own / "00000001.journal").write_bytes(content)
        os.truncate(own / "00000001.journal", max(len(content), 16))
        blobs = FsspecArtifactStore(f"file://{folder}/blobs")
        with closing(blobs):
            done = recover(Path(folder), "memory://", store, lambda: blobs)
        list(map(str, done.left_alone))
        ask(store)


# -- SQLite files -----------------------------------------------------------------------------------------------------


@cache
def _database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with open_store(f"sqlite:///{folder}/x.db") as store:
            store.apply(written().changes)
        with closing(sqlite3.connect(f"{folder}/x.db")) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        return Path(folder, "x.db").read_bytes()


@cache
def _cells() -> list[tuple[str, str, Any]]:
    """Return every column of every table that has rows, with a value of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(_database())
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            tables = [
                row[0]
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            ]
            rows = {table: connection.execute(f'SELECT * FROM "{table}"').fetchone() for table in tables}
            return [(table, name, row[name]) for table, row in rows.items() if row is not None for name in row.keys()]  # noqa: SIM118


@st.composite
def _edits(draw: st.DrawFn) -> list[tuple[str, str, Any]]:
    """Return tables, columns, and what is written into all their rows."""
    values = st.sampled_from(
        [None, *(number for number in NUMBERS if number < 2**63), -1, 1.5, *STRANGE[:10], *RAW_JSON[:20]]
    )
    made = []
    for _ in range(draw(st.integers(1, 2))):
        table, name, sample = draw(st.sampled_from(_cells()))
        like = damaged(sample) if isinstance(sample, bytes) else values
        if isinstance(sample, str) and sample[:1] in ("{", "["):
            like = other_json(json.loads(sample)).map(lambda data: data.decode("utf-8", "replace"))
        made.append((table, name, draw(like | values | st.binary(max_size=20))))
    return made


def _edited(edits: list[tuple[str, str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(_database())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            for table, name, value in edits:
                with suppress(sqlite3.Error):
                    connection.execute(f'UPDATE OR IGNORE "{table}" SET "{name}" = ?', (value,))
            connection.commit()
        _opened_database(path)


def _flipped(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        path.write_bytes(content)
        _opened_database(path)


def _opened_database(path: Path) -> None:
    with open_store(f"sqlite:///{path}") as store:
        ask(store)
        with suppress(ModelDBError):
            list(map(str, verify(store).findings))
        own = StreamWriter("own")
        own.create_run(name="own")
        with suppress(IntegrityError, StoreReadOnlyError, ModelDBError):
            store.apply(own.changes)


@cache
def _snapshot() -> bytes:
    """Return the database in a snapshot of a bucket."""
    with tempfile.TemporaryDirectory() as folder, _bucket(Path(folder)) as store:
        store.apply(written().changes)
        return zlib.decompress(snapshots._content(store._follower.fresh()))


def _bucket(folder: Path) -> ObjectMetadataStore:
    return ObjectMetadataStore(f"file://{folder}/bucket", cache_dir=folder / "cache", max_staleness_s=0, compact=False)


def _opened_snapshot(database: bytes) -> None:
    content = zlib.compress(database, 1)
    digest = hashlib.sha256(content).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bucket", "snapshots", fingerprint(), f"{1:016x}.9.0.{digest}.db.z")
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with _bucket(Path(folder)) as store:
            ask(store)


def _sqlite(folder: Path) -> MetadataStore:
    return open_store(f"sqlite:///{folder}/x.db")


def _memory(_: Path) -> MetadataStore:
    return MemoryStore()


WHOLES: tuple[Decoder, ...] = (
    Decoder("changes in a store in memory", tuple(written().changes), sealed(), partial(_applied, make=_memory), 12),
    Decoder("changes in a SQLite file", tuple(written().changes), sealed(), partial(_applied, make=_sqlite), 5),
    Decoder("bundle", _bundle(), damaged(_bundle()) | _rebuilt(), _read_bundle, 12),
    Decoder("bundle of hostile changes", tuple(written().changes), sealed(), _bundle_of_changes, 6),
    Decoder("bucket", [_object()], _objects(), _read_bucket, 5),
    Decoder("journal", _segment(), damaged(_segment()) | _segments(), _recovered, 12),
    Decoder("SQLite file with other values", [], _edits(), _edited, 10),
    Decoder("snapshot of a bucket", _snapshot(), damaged(_snapshot()), _opened_snapshot, 4),
    Decoder("SQLite file with other bytes", _database(), damaged(_database()), _flipped, 4),
)
