"""Every decoder of bytes and texts that somebody else may have made, with a sample of what is really written.

:data:`DECODERS` is the table: a name, a sample that passes, how it is damaged, and the decoder. ``test_decoders.py`` runs
them all, and fails where a function of ModelDB takes bytes apart and no decoder here leads to it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import strategies as st

from modeldb_core.audit import Checkpoint, Report
from modeldb_core.audit.access import AccessReader
from modeldb_core.audit.access.entries import FRAME
from modeldb_core.audit.blobs import Named, verify_blobs
from modeldb_core.backends._sql.chunks import Segments
from modeldb_core.backends._sql.documents import load_document
from modeldb_core.backends._sql.items import load_apart
from modeldb_core.backends._sql.outlines import MIN_ROWS, Placed, load_outlines, pack_outlines, summarize
from modeldb_core.backends._urls import split_options
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import layout
from modeldb_core.backends.remote.address import read_address
from modeldb_core.backends.remote.answers import check_protocol, error_of_answer, load_blob, understood
from modeldb_core.backends.sqlite import path_of as sqlite_path
from modeldb_core.commands.registry.history import history_page
from modeldb_core.config import credentials
from modeldb_core.config.trust import address_of, options_in
from modeldb_core.errors import InvalidArgumentError, ModelDBError, NotFoundError
from modeldb_core.log.batches import MAGIC, decode_changes, encode_changes, measure
from modeldb_core.log.changes import EMPTY_HEAD, Head, advance, seal, verify_change
from modeldb_core.log.conditions import Absent, RevisionIs, Unset, ValueIs
from modeldb_core.log.erasures import follow
from modeldb_core.log.json_documents import change_document, entity_document
from modeldb_core.log.packing import pack, unpack_floats, unpack_ints, unpack_joined
from modeldb_core.log.points import Series, decode_points
from modeldb_core.log.replay import Record, alters_entity, erased_by
from modeldb_core.log.stream import Entry
from modeldb_core.log.stream import StreamWriter as SealingWriter
from modeldb_core.model.entities import Run
from modeldb_core.model.schema import KINDS
from modeldb_core.model.shapes import check_document
from modeldb_core.model.values import BlobReference, decode, encode, is_digest, normalize
from modeldb_core.movement.bundle_store import path_of as bundle_path
from modeldb_core.movement.manifest import Manifest
from modeldb_core.movement.parquet import files_named
from modeldb_core.plugins import Places, load_settings
from modeldb_core.queries import (
    Group,
    GroupPage,
    Query,
    Spread,
    decode_cursor,
    effective_order,
    encode_cursor,
    parse_fields,
)
from modeldb_core.queries.parse import parse_field, parse_filter, parse_order
from modeldb_core.repositories.reading import dump_cursor, load_cursor
from modeldb_core.runtime.redaction import redact_arguments, redact_diff, redact_text, redact_url, redact_value
from modeldb_core.stores import protocol
from modeldb_core.stores.blob_batches import decode_blobs, encode_blobs
from modeldb_core.stores.grouping import dump_groups, load_groups
from modeldb_core.testing import StreamWriter
from modeldb_core.tracking import blocks
from modeldb_core.tracking.artifacts import download
from modeldb_core.tracking.description.datasets import describe
from modeldb_core.tracking.description.figures import read_figure
from modeldb_core.tracking.description.model_formats import load_model
from modeldb_core.tracking.description.model_types import names_in
from modeldb_core.tracking.description.origins import place_of
from modeldb_core.tracking.description.signatures import guard
from modeldb_core.trees import decode_node
from modeldb_core.trees.entries import Record as TreeRecord
from modeldb_core.trees.entries import blobs_in, entry_of, record_of, trees_in
from modeldb_core.trees.nodes import Child, make_node
from modeldb_server.accounts.credentials import shown_in
from modeldb_server.arguments import split_names
from modeldb_server.blobs import Artifact
from modeldb_server.previews import preview
from tests.fuzz.bounds import MOST_TIMES
from tests.fuzz.mutations import damaged, other_json, texts, write_json, zipped

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Decoder:
    """Something that takes apart what others have made.

    Attributes:
        name: of the test.
        sample: an input as it is really written, which passes.
        inputs: damaged ones.
        decode: what is tried.
        examples: how many inputs are tried in the test command.
        times: so many times the length of an input may be taken of memory.
    """

    name: str
    sample: Any
    inputs: st.SearchStrategy[Any]
    decode: Callable[[Any], object]
    examples: int = 25
    times: int = MOST_TIMES


# -- what is really written -------------------------------------------------------------------------------------------


def _written() -> StreamWriter:
    writer = StreamWriter("s", at=1_000)
    writer.open()
    run_id = writer.create_run(name="a", attributes={"a": [1, {"b": 2.5}]}, tags=["x"]).entity_id
    writer.append(run_id, {"loss": [1.0, 2.0], "acc": [0.5, 0.25]})
    writer.update("run", run_id, put={"metrics": {"auc": 0.5}}, add={"notes": ["n"]}, remove={"tags": ["x"]})
    writer.erase(writer.changes[1])
    writer.close()
    return writer


def _joined(column: Any, data: bytes) -> object:
    return unpack_joined([data], [len(column)], column.dtype.type)


def _summary() -> bytes:
    steps = np.arange(MIN_ROWS)
    placed = Placed(steps, steps, np.array([MIN_ROWS]), np.array([1]), np.array([0]))
    (summary,) = summarize(placed, [steps / 3])
    assert summary is not None
    return summary


_CHANGES = tuple(_written().changes)
_BATCH = encode_changes(_CHANGES, compress=False)
_HEAD_BYTES = struct.calcsize("<4sBIQ")
_BODY = _BATCH[_HEAD_BYTES:]
_POINTS = next(change.payload for change in _CHANGES if change.action == "append") or b""
_PART = layout.Part(7, _CHANGES)
_OBJECT = layout.object_of(_PART)
_HEADS = {"s": Head(3, bytes(32), 5)}
_MANIFEST = Manifest(_HEADS, 4, "0" * 64, 1, 5, "0" * 64, absent_blobs=("0" * 64,), withheld=2)
_TABLES = {
    "format": "modeldb-tables",
    "tables": {"runs": {"rows": 1, "files": [{"path": f"runs/project_id=a/part-{'0' * 32}.parquet", "rows": 1}]}},
}
_ADDRESS = read_address(
    "http://127.0.0.1:1", token="", connect_timeout_s=1.0, timeout_s=1.0, retry_s=0.0, ca_bundle="", verify=True
)


def _span() -> bytes:
    return pack_outlines([(number, MIN_ROWS, 0, MIN_ROWS - 1, _summary()) for number in (1, 2)])


_COLUMNS = [np.arange(4) * 3, np.array([5, 1, 9, 2]), np.cumsum(np.arange(100) % 7)]


def _checkpoint() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Checkpoint(5, {"s": (1, bytes(32))}, bytes(32)).write(f"{folder}/x")
        return Path(folder, "x").read_bytes()


_CHECKPOINT = _checkpoint()
_ACCESS_STREAM = "01a2274f-3ab0-7c13-87f8-a9aa97d94e99"


def _access_file() -> bytes:
    writer = SealingWriter(_ACCESS_STREAM, "ada")
    retired = {"removed_up_to": {_ACCESS_STREAM: [1, "00" * 32]}}
    batch = encode_changes([writer.write(Entry("retire", "access_log", _ACCESS_STREAM, retired), 5)])
    return FRAME.pack(len(batch)) + batch


_ACCESS = _access_file()


def _access_log(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _ACCESS_STREAM, "000000000001.access")
        path.parent.mkdir()
        path.write_bytes(data)
        with AccessReader(Path(folder)) as reader:
            return reader.heads(), list(reader), reader.starts, list(reader.retired())


_RUN_DATA: dict[str, Any] = {
    "entity_id": "e",
    "workspace_id": "w",
    "project_id": "p",
    "document": {
        "name": "a",
        "created_at": 5,
        "updated_at": 5,
        "owner": "me",
        "tags": ["x"],
        "started_at": 5,
        "finished_at": 9,
        "attributes": {"a": [1, {"b": {"$int": "9007199254740993"}}]},
        "artifacts": {"a": {"digest": "0" * 64}},
    },
    "status": "running",
    "metrics": {"auc": 0.5},
    "series": {"loss": [2, 0, 1.0, 2.0, 1.0, 2.0, 1.5, 0, 1, 0, 1, 5, 6]},
}
_QUERY = {
    "kind": "run",
    "filter": "metrics.auc > 0",
    "order_by": "name",
    "fields": ["status"],
    "limit": 10,
    "cursor": None,
    "count": True,
    "within": None,
    "include_deleted": False,
}
_SIGNATURE = {"inputs": {"columns": [{"name": "a", "dtype": "float64"}, "b"]}}
_ARTIFACTS = {
    "a.txt": {"digest": "0" * 64, "size_bytes": 4, "media_type": "text/plain", "type": "text"},
    "m/x": {"digest": "1" * 64, "logged_as": "model"},
    "m/y": {"digest": "1" * 64},
}


def _leaf() -> bytes:
    entries = {
        f"a/{number}": {"digest": f"{number:064x}", "size_bytes": 300 * number, "observed": {"at": number}}
        for number in range(4)
    }
    records = [record_of(name.replace("/", "\0").encode(), name, entry) for name, entry in entries.items()]
    return make_node(0, [*records, record_of(b"b", "b", {"tree": "0" * 64, "x": 0.5})])[1]


def _leaf_with(text: bytes) -> bytes:
    return make_node(0, [TreeRecord(b"a", 5, text, text)])[1]


_LEAF = _leaf()
_BRANCH = make_node(
    1, [Child(f"k{number}".encode(), bytes(32), bytes([number]) * 32, 200, 2**40) for number in range(3)]
)[1]


# -- decoders in several steps ----------------------------------------------------------------------------------------


def _reading_objects(name: str) -> list[object]:
    found: list[object] = [layout.is_known(name), layout.is_pack(name), layout.is_marker(name), layout.range_of(name)]
    return [*found, layout.newer_format([name]), layout.pack_time(name), layout.may_hold(name, "s")]


def _tree_node(data: bytes) -> object:
    node = decode_node(data)
    assert make_node(node.level, node.items)[1] == data  # a node has one form
    if node.level:
        return node
    entries = [entry_of(record) for record in node.records]
    for record, entry in zip(node.records, entries, strict=True):
        location = record.key.decode()
        with suppress(InvalidArgumentError):  # what it names need not be a digest
            assert record_of(record.key, location, entry) == record
        assert all(map(is_digest, (*blobs_in(entry), *trees_in(entry))))
    return entries


class _Only:
    """An artifact store in which there is one blob."""

    def __init__(self, content: bytes) -> None:
        self.digest, self._content = hashlib.sha256(content).hexdigest(), content

    def open(self, digest: str) -> io.BytesIO:
        if digest != self.digest:
            raise NotFoundError(digest)
        return io.BytesIO(self._content)


def _audited_tree(data: bytes) -> object:
    blobs, report, named = _Only(data), Report(), Named()
    named.add("commit", "c", {"tree": blobs.digest, "attributes": {"x": BlobReference("1" * 64, 5)}})
    verify_blobs(blobs, report, named, lambda *_: None)  # type: ignore[arg-type]  # it opens them, and no more
    return str(report)


def _value(data: bytes) -> object:
    value = decode(data)
    normalize(value, "value")  # what was read can be written, and read again
    assert encode(decode(encode(value))) == encode(value)
    return value


def _change(arguments: tuple[str, str, bytes]) -> object:
    action, kind, payload = arguments
    head = {"recorded_at": 1, "actor": "", "action": action, "kind": kind, "entity_id": "e", "salt": bytes(16)}
    change = seal("s", 1, bytes(32), payload=payload, **head)  # type: ignore[arg-type]
    verify_change(change, bytes(32))
    change_document(change)
    advance(EMPTY_HEAD, change)
    erased_by([change])
    follow([change])
    if not alters_entity(change) or kind not in KINDS:  # which no store interprets
        return None
    entity = Record(kind, "e").after(change).entity({}, 1)
    return repr(entity), json.dumps(entity_document(entity), allow_nan=False)


def _changes_of(data: bytes) -> object:
    measure(data)
    return [repr(change) for change in decode_changes(data, max_bytes=MAX_BYTES)]


def _compressed(body: bytes) -> bytes:
    return MAGIC + struct.pack("<BIQ", 1, len(_CHANGES), len(body)) + zlib.compress(body)


def _object(head: bytes, body: bytes) -> bytes:
    return b"PCK1" + struct.pack("<I", len(head)) + head + body


def _parts(content: bytes) -> object:
    return [(part.stamp, part.tie, part.ranges()) for part in layout.parts_of("unnamed", content)]


_GROUPS = dump_groups(
    GroupPage(
        (Group([1, 2.5], "json", 3, (Spread(2, 1.0, 0.5, 0.5, 1.5), None)), Group(2**60, "number", 1, (None, None))), 3
    )
)


def _answer(load: Callable[[Any], object]) -> Callable[[bytes], object]:
    return lambda body: understood(_ADDRESS, lambda: load(json.loads(body)))


def _run_of(data: Any) -> object:
    entity = protocol.load_entity("run", data)
    assert isinstance(entity, Run)
    json.dumps(entity_document(entity), allow_nan=False)
    return repr(entity), entity.duration_s, [summary.first_at for summary in entity.series.values()]


def _any_error(arguments: tuple[int, bytes]) -> object:
    return str(error_of_answer(arguments[0], {"Location": "x"}, arguments[1], _ADDRESS))


def _greeting(body: bytes) -> None:
    understood(_ADDRESS, lambda: check_protocol(json.loads(body), _ADDRESS))


def in_file(read: Callable[[Path], object], name: str = "file") -> Callable[[bytes], object]:
    def decoded(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return read(path)

    return decoded


def _settings(path: Path) -> object:
    return repr(load_settings(directory=path.parent, environ={"MODELDB_CONFIG": str(path)}))


def _project_settings(path: Path) -> object:
    return repr(load_settings(directory=path.parent, environ={}))


def _environment(variables: dict[str, str]) -> object:
    settings = load_settings(directory="/tmp", environ=variables)
    return repr(settings), list(settings.describe()), settings.token_for(settings.url)


def _urls(url: str) -> list[object]:
    redact_url(url)
    address_of(url)
    options_in(url)
    Places().owner_name("sqlite:////tmp/a.db", url)
    found = []
    for read in (
        lambda: Places().owner_name(url, "file:///tmp/a"),
        lambda: Places().owner_name(f"postgresql{url[url.find(':') :]}", "file:///tmp/a"),
        lambda: split_options(url, {"schema": str, "timeout_s": float, "parallel": int, "verify": bool}),
        lambda: read_address(
            url, token="", connect_timeout_s=1.0, timeout_s=1.0, retry_s=0.0, ca_bundle="", verify=True
        ),
        lambda: sqlite_path(url),
        lambda: bundle_path(url),
        lambda: load_settings(directory="/tmp", environ={"MODELDB_URL": url, "MODELDB_ARTIFACT_URL": url}),
    ):
        try:
            found.append(read())
        except ModelDBError as error:
            found.append(str(error))
    return found


def _redacted(text: str) -> list[object]:
    words = text.split(" ")
    return [redact_text(text), redact_diff(text), redact_arguments(words), redact_value({text: [text]}, text)]


def _filter(text: str) -> None:
    parse_filter(text, "run")
    with suppress(ModelDBError):
        parse_filter(text, "model_version")


def _signature(data: bytes) -> None:
    class Model:
        def predict(self, table: object) -> object:
            return table

    model = Model()
    signature = decode(data)
    guard(model, signature)  # type: ignore[arg-type]
    model.predict([1])


class _NamesAsContents:
    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(digest.encode())

    def read_many(self, digests: Sequence[str], max_bytes: int) -> list[bytes]:
        return [digest.encode()[:max_bytes] for digest in digests]


def _download(data: bytes) -> None:
    artifacts = decode(data)
    check_document("run", {"artifacts": artifacts})  # as every store does
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.txt", "model", "m", "nothing"):
            try:
                download(artifacts, name, Path(folder), _NamesAsContents())
            except ModelDBError as error:
                str(error).encode()


def _preview(data: bytes) -> object:
    for path in ("a.csv", "b.txt"):
        json.dumps(preview(Artifact(path, "0" * 64, "text/plain", len(data)), data, max_rows=10))


_TOML = """
url = "sqlite:///x.db"
artifact_url = "file:///tmp/artifacts"
project = "churn"
journal_dir = "journals"
lease_s = 30
announce = false
disable_plugins = ["a", "b"]
[capture]
diff = false
diff_limit_bytes = 5
[server]
port = 5000
tokens = ["0123456789abcdef"]
[stores.s3]
region = "eu"
[plugins.x]
a = 1979-05-27T07:32:00Z
b.c.d = [{e = 0x1f}, 1e5, '''x''']
"""
ACTIONS = ["create", "update", "delete", "restore", "append", "open", "beat", "close", "erase", "fly"]
_KINDS = ["run", "project", "commit", "stream", "comment", "token", "castle"]
PAYLOADS = (
    {"name": "a", "status": "running", "tags": ["x"], "metrics": {"auc": 0.5}, "started_at": 5, "stream_id": "s"},
    {"set": {"name": "b", "finished_at": 5}, "put": {"metrics": {"a": 1}}, "add": {"notes": ["n"]}, "remove": {"tags": ["x"]}},
    {"artifacts": {"a": {"digest": "0" * 64, "size_bytes": 1}}, "datasets": {"train": {"digest": "0", "shape": [1, None]}}},
    {"lease_s": 30.0, "stream_id": "s", "seq": 1, "hash": "0" * 64, "window_s": 5},
)  # fmt: skip

_json = [other_json(payload) for payload in PAYLOADS]
_any_payload = st.one_of(*_json)


_EXPECT = (
    Absent("run", "r"),
    RevisionIs("run", "r", 5),
    ValueIs("run", "r", "name", "a"),
    Unset("run", "r", "metrics"),
)
_CONDITIONS = json.loads(protocol.dump_expect(_EXPECT)[8:])
_TOLD = {
    "pid": 1,
    "open": ["r"],
    "run": {"run_id": "r", "fields": {"name": "a"}, "names": {}, "settings": {"url": "memory://"}},
}


def _conditions(text: bytes) -> bytes:
    return protocol.dump_expect(_EXPECT)[:4] + struct.pack("<I", len(text)) + text


def _tokens(path: Path) -> None:
    path.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(path.parent.parent))
        patch.setattr(credentials, "_keyring", lambda: None)  # whose content is the system's
        assert isinstance(credentials.stored_token("https://h:443"), str)


def _checked(text: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(text) + text


def _inherited(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_inherited_path", str(path))
        told = blocks._told()
        assert told == {} or isinstance(told["open"], list)


def zipped_schema(schema: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", schema)
    return file.getvalue()


_bombs = st.sampled_from([zipped_schema(b" " * (64 << 20)), zipped_schema(b"[" * (1 << 20))])


def _model(path: Path) -> None:
    names_in(path)
    with suppress(ModelDBError):
        load_model(path.parent, {"format": "skops"})


def _data(text: str) -> None:
    place_of(describe(text)["origin"])


_FIGURES: tuple[Any, ...] = (
    {"kind": "lines", "title": "ROC", "series": [{"label": "a", "x": [0, 1], "y": [0.5, None]}]},
    {"kind": "matrix", "rows": ["a"], "columns": ["b", "c"], "values": [[1, 2]]},
    {"kind": "bars", "labels": ["a"], "values": [1], "errors": [0.1]},
)


def _dumped(value: Any) -> bytes:
    return write_json(value)


_HISTORY = "5." + base64.urlsafe_b64encode(zlib.compress(b'{"stages":{"a":"b"},"decisions":{}}')).decode()
DECODERS: tuple[Decoder, ...] = (
    Decoder("batch", _BATCH, damaged(_BATCH) | damaged(_compressed(_BODY)) | damaged(_BODY).map(_compressed), _changes_of),
    Decoder(
        "object of a bucket",
        _OBJECT[1],
        damaged(_OBJECT[1])
        | zipped(other_json([[7, len(_CHANGES)]])).map(lambda head: _object(head, _BATCH))
        | zipped(damaged(b"[[7, 6]]")).map(lambda head: _object(head, _BATCH)),
        _parts,
    ),
    Decoder(
        "name of an object",
        _OBJECT[0],
        texts(_OBJECT[0], layout.pack_of([_PART], 9)[0], layout.new_marker(), "packs/0.store-2"),
        _reading_objects,
    ),
    Decoder("several blobs", encode_blobs([b"a", b"", b"bc"]), damaged(encode_blobs([b"a", b"", b"bc"])), decode_blobs),
    Decoder("file of an access log", _ACCESS, damaged(_ACCESS), _access_log),
    Decoder("leaf of a tree", _LEAF, damaged(_LEAF), _tree_node),
    Decoder(
        "entry of a tree",
        _LEAF,
        (other_json({"digest": "0" * 64, "x": {"$int": "5"}}) | other_json({"modified_at": 5})).map(_leaf_with),
        _tree_node,
    ),
    Decoder("tree of an entity", _LEAF, damaged(_LEAF) | damaged(_BRANCH), _audited_tree),
    Decoder("branch of a tree", _BRANCH, damaged(_BRANCH), _tree_node),
    Decoder("points", _POINTS, damaged(_POINTS), decode_points),
    *(
        Decoder(f"column {number}", pack(column), damaged(pack(column)), decode_column)
        for number, (column, decode_column) in enumerate(
            [(column, lambda data: unpack_ints(data, 1 << 16)) for column in _COLUMNS]
            + [(_COLUMNS[2] / 4, lambda data: unpack_floats(data, 1 << 16))]
        )
    ),
    *(
        Decoder(f"column {number}, joined", pack(column), damaged(pack(column)), partial(_joined, column))
        for number, column in enumerate([*_COLUMNS, _COLUMNS[2] / 4])
    ),
    Decoder("summary of a chunk", _summary(), damaged(_summary()), lambda data: pack_outlines([(1, 1, 1, 1, data)])),
    Decoder("span of outlines", _span(), damaged(_span()), lambda data: load_outlines([data])),
    Decoder("segments of a chunk", Segments.of([(1, 0, 5)]).dump(), damaged(Segments.of([(1, 0, 5)]).dump()), Segments.load),
    Decoder(
        "series of a server",
        protocol.dump_series(Series("r", "k", _COLUMNS[0], _COLUMNS[1], _COLUMNS[0] / 3, 9)),
        damaged(protocol.dump_series(Series("r", "k", _COLUMNS[0], _COLUMNS[1], _COLUMNS[0] / 3, 9))),
        lambda data: understood(_ADDRESS, lambda: protocol.load_series("r", "k", data, 1 << 16)),
    ),
    Decoder(
        "figure",
        json.dumps(_FIGURES[0]).encode(),
        st.one_of(*map(other_json, _FIGURES)) | damaged(json.dumps(_FIGURES[0]).encode()),
        lambda data: read_figure("roc", data),
    ),
    Decoder("value", b'{"a":[1,"x"]}', st.binary(max_size=50) | other_json({"a": [1, {"$int": "5"}], "$1": "x"}), _value),
    Decoder("maps apart of a document", '{"artifacts":7}', other_json({"a": 1}).map(lambda data: data.decode()), load_apart),
    Decoder("document of a row", '{"a":{"$1":1}}', other_json({"a": [{"$1": 1}]}).map(lambda data: data.decode()), load_document),
    Decoder(
        "payload of a change",
        ("create", "run", _dumped(PAYLOADS[0])),
        st.tuples(st.sampled_from(ACTIONS), st.sampled_from(_KINDS), _any_payload | damaged(_POINTS)),
        _change,
    ),
    Decoder(
        "cursor",
        encode_cursor(Query(), (5, "x")),
        other_json(json.loads(base64.urlsafe_b64decode(encode_cursor(Query(), (5, "x")) + "==="))).map(
            lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
        )
        | texts(encode_cursor(Query(), (5, "x"))),
        lambda text: decode_cursor(Query(cursor=text)),
    ),
    Decoder("cursor of a log", dump_cursor(["x"]), texts(dump_cursor(["x"]), dump_cursor(["x", "y"])), load_cursor),
    Decoder(
        "cursor of a history",
        _HISTORY,
        texts(_HISTORY, "5!0123456789abcdef"),
        lambda text: history_page(MemoryStore(), "x", text),
    ),
    Decoder(
        "filter",
        'metrics.a > 1 and not (tags contains "x") or created_at >= "2026-11-23"',
        texts(
            'metrics.a > 1.5e3 and not (tags contains "x""y") or created_at >= now - 7d',
            "name like '%a%' and status in ('x', 'y') or metrics.`b c`.min is null",
            'created_at < "2026-11-23T21:00:00+01:00" and duration > 5 and metrics.loss.mean = nan',
            "not not not metrics.a exists and hyperparameters.x not exists",
        ),
        _filter,
        times=2_000,  # a tree of Lark, of at most 100,000 characters
    ),
    Decoder(
        "order",
        "metrics.a desc, name",
        texts("metrics.a desc, name", "metrics.loss.min"),
        parse_order,
        times=2_000,  # likewise, of 10,000
    ),
    Decoder("order of a query", "name", texts("name desc", "a.b"), lambda text: effective_order(Query(order_by=text)), times=2_000),
    Decoder("field", "metrics.a", texts("metrics.'a b'", "metrics.a.min", "status"), parse_field),
    Decoder(
        "fields",
        ("metrics.a", "name"),
        st.lists(texts("metrics.a", "series.x", "attributes.a.b"), max_size=3).map(tuple),
        lambda names: parse_fields(names, "run"),
    ),
    Decoder(
        "query of a client",
        _dumped(_QUERY),
        other_json(_QUERY),
        _answer(lambda data: protocol.load_query(data)),
    ),
    Decoder("manifest", _MANIFEST.encode(), damaged(_MANIFEST.encode()) | other_json(json.loads(_MANIFEST.encode())), Manifest.decode),
    Decoder(
        "manifest of tables",
        _dumped(_TABLES),
        damaged(_dumped(_TABLES)) | other_json(_TABLES),
        lambda content: files_named(content, "tables"),
    ),
    Decoder(
        "checkpoint",
        _CHECKPOINT,
        other_json(json.loads(_CHECKPOINT)) | damaged(_CHECKPOINT),
        in_file(Checkpoint.read),
    ),
    # Answers of servers
    Decoder("entity of a server", _dumped(_RUN_DATA), other_json(_RUN_DATA), _answer(_run_of)),
    Decoder(
        "page of a server",
        _dumped({"entities": [_RUN_DATA], "cursor": "x", "total": 1}),
        other_json({"entities": [_RUN_DATA], "cursor": "x", "total": 1}),
        _answer(lambda data: protocol.load_page("run", data)),
    ),
    Decoder("keys of a server", _dumped({"keys": [["metrics", "a", 1, ["number"], 0]]}), other_json({"keys": [["metrics", "a", 1, ["number"], 0]]}), _answer(protocol.load_keys)),
    Decoder("groups of a server", _dumped(_GROUPS), other_json(_GROUPS), _answer(partial(load_groups, measures=2))),
    Decoder("heads of a server", _dumped(protocol.dump_heads(_HEADS)), other_json(protocol.dump_heads(_HEADS)), _answer(protocol.load_heads)),
    Decoder("acknowledgement", _dumped(protocol.acknowledgement(_CHANGES)), other_json(protocol.acknowledgement(_CHANGES)), _answer(protocol.load_acknowledgement)),
    Decoder("confirmation", b'{"done":true}', other_json({"done": True}), _answer(protocol.load_done)),
    Decoder("owners", b'{"owners":["a"]}', other_json({"owners": ["a"]}), _answer(protocol.load_owners)),
    Decoder(
        "blob of a server",
        _dumped({"digest": "0" * 64, "size_bytes": 5, "modified_at": 5}),
        other_json({"digest": "0" * 64, "size_bytes": 5, "modified_at": 5}),
        lambda body: load_blob(body, _ADDRESS),
    ),
    Decoder(
        "error of a server",
        (404, b'{"error":{"code":"not_found","message":"x"}}'),
        st.tuples(
            st.sampled_from([301, 400, 401, 403, 404, 413, 422, 429, 500, 503, 999]),
            other_json({"error": {"code": "query_syntax", "message": "x", "column": 5, "text": "y"}})
            | other_json({"error": {"code": "stream_gap", "message": "x", "expected": 5}}),
        ),
        _any_error,
    ),
    Decoder(
        "order of a server",
        _dumped(protocol.dump_order(bytes(32))),
        other_json(protocol.dump_order(bytes(32))),
        _answer(protocol.load_order),
    ),
    Decoder(
        "conditions of a batch",
        protocol.dump_expect(_EXPECT),
        damaged(protocol.dump_expect(_EXPECT)) | other_json(_CONDITIONS).map(_conditions),
        lambda data: protocol.load_expect(io.BytesIO(data)),
    ),
    Decoder("greeting", _dumped({"name": "ModelDB", "version": "1", "protocols": [1]}), other_json({"name": "ModelDB", "version": "1", "protocols": [1]}), _greeting),
    # Configuration
    Decoder("configuration", _TOML.encode(), damaged(_TOML.encode()) | texts(_TOML).map(lambda text: text.encode("utf-8", "surrogatepass")), in_file(_settings, "modeldb.toml")),
    Decoder("configuration of a project", _TOML.encode(), damaged(_TOML.encode()) | texts(_TOML).map(lambda text: text.encode("utf-8", "surrogatepass")), in_file(_project_settings, "modeldb.toml")),
    Decoder(
        "environment",
        {"MODELDB_URL": "sqlite:///x.db", "MODELDB_LEASE_S": "5"},
        st.dictionaries(
            st.sampled_from(["URL", "ARTIFACT_URL", "PROJECT", "JOURNAL_DIR", "LEASE_S", "SERVER_PORT", "SERVER_TOKENS",
                             "ANNOUNCE", "DURABILITY", "TRUSTED_FOLDERS", "CAPTURE_DIFF_LIMIT_BYTES", "CONFIG", "NOTHING"]
                            ).map("MODELDB_".__add__),
            texts("sqlite:///~/x.db", "~nobody/x", "5", "1e5", "a,b", "true", "file://x"),
            max_size=3,
        ),
        _environment,
    ),
    Decoder(
        "URL of a store",
        "https://user:secret@models.example.org:5000/x?timeout_s=5",
        texts("https://user:secret@models.example.org:5000/x?timeout_s=5&verify=false", "sqlite:///~/a%20b.db?schema=x",
              "bundle:///a/b.bundle", "postgresql://u:p@[::1]:5432/db?schema=x", "file://~/x", "s3://bucket/prefix?region=eu"),
        _urls,
    ),
    Decoder(
        "stored tokens",
        b'{"https://h:443":"secret"}',
        other_json({"https://h:443": "secret"}) | damaged(b'{"https://h:443":"secret"}'),
        in_file(_tokens, "modeldb/credentials.json"),
    ),
    Decoder(
        "run of another process",
        _checked(_dumped(_TOLD)),
        (other_json(_TOLD) | damaged(_dumped(_TOLD))).map(_checked),
        in_file(_inherited),
    ),
    # What pages and clients show
    Decoder("model of skops", zipped_schema(b'{"__module__":"a"}'), damaged(zipped_schema(b"{}")) | other_json({"a": [1]}).map(zipped_schema) | _bombs, in_file(_model, "x/model.skops")),
    Decoder("URL of data", "https://h/x.csv?a=b", texts("https://user:p@h:5/x.csv?token=b", "s3://bucket/x"), _data),
    Decoder("redaction", 'password = "x"', texts(
        'diff --git a/x.env b/x.env\n+password: abc\n+TOKEN="x" export A=b\n',
        '--token x -pPASS -H "Authorization: Bearer abc" https://u:p@h/?token=x&AccountKey=y',
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", 'config["password"] = "x"'), _redacted),
    Decoder("signature of a model", _dumped(_SIGNATURE), other_json(_SIGNATURE), _signature),
    Decoder("artifacts of a run", _dumped(_ARTIFACTS), other_json(_ARTIFACTS), _download),
    Decoder("preview", b"a,b\n1,2\n", damaged(b'name,auc\nforest,0.91\n"boost, tuned",0.93\n'), _preview),
    Decoder("names of columns", 'a,metrics."x, y",b', texts('a,metrics."x, y",b'), split_names),
    Decoder("authorization", "Basic YTpi", texts("Basic YTpi", "Bearer abc"), lambda value: shown_in([("Authorization", value)])),
)  # fmt: skip
