"""What the fuzzers found: each input made a decoder raise an error of Python, or take gigabytes or minutes."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest

from modeldb_core.errors import MAX_MESSAGE, ModelDBError, ModelDBWarning, QuerySyntaxError
from modeldb_core.log.batches import encode_changes
from modeldb_core.log.packing import pack, unpack_ints
from modeldb_core.plugins import load_settings
from modeldb_core.queries import parse_order
from modeldb_core.testing import StreamWriter
from tests.fuzz.bounds import check
from tests.fuzz.decoders import DECODERS, Decoder, zipped_schema
from tests.fuzz.versioned import VERSIONED
from tests.fuzz.wholes import WHOLES

BY_NAME: dict[str, Decoder] = {decoder.name: decoder for decoder in (*DECODERS, *VERSIONED, *WHOLES)}
_BATCH = encode_changes([StreamWriter("s", at=5).create_run(name="a")])


def _object(head: bytes) -> bytes:
    packed = zlib.compress(head)
    return b"PCK1" + struct.pack("<I", len(packed)) + packed + _BATCH


FOUND: dict[str, tuple[str, Any]] = {
    "a column of 21 bytes that says it is 32 GiB": ("column 0", b"\1" + struct.pack("<Iqq", 2**32 - 1, 0, 1)),
    "a packed column that becomes ten times its bound": ("column 1", pack(np.arange(1 << 20) % 2)),
    "a head of an object with an infinite stamp": ("object of a bucket", _object(b"[[1e999, 1]]")),
    "a head of an object that is 20,000 lists deep": ("object of a bucket", _object(b"[" * 20_000)),
    "a head of an object of 64 MiB": ("object of a bucket", _object(b" " * (64 << 20))),
    "an object whose name has a number of 5,000 digits": ("name of an object", f"packs/{'0' * 16}.{'0' * 32}.store-{'9' * 5_000}"),
    "a document that is a number": ("document of a row", '{"$int": "1"}'),
    "a document that is 20,000 lists deep": ("document of a row", "[" * 20_000),
    "a manifest that is a number": ("manifest", b"1e999"),
    "a checkpoint that is 20,000 maps deep": ("checkpoint", b'{"a":' * 20_000),
    "a store in the home of nobody": ("environment", {"MODELDB_URL": "sqlite:///~nobody-at-all/x.db"}),
    "files in the home of nobody": ("environment", {"MODELDB_ARTIFACT_URL": "~nobody-at-all/x"}),
    "a configuration whose name no file can have": ("environment", {"MODELDB_CONFIG": "x" * 5_000}),
    "a URL that nobody can parse": ("URL of a store", "s3://b[c"),
    "a signature that is a number": ("signature of a model", b"1e999"),
    "a signature whose columns are a number": ("signature of a model", b'{"inputs": {"columns": 5}}'),
    "an artifact that is a number": ("artifacts of a run", b'{"a.txt": 5}'),
    "an artifact without a digest": ("artifacts of a run", b'{"a.txt": {"size_bytes": 5}}'),
    "an order with half of a surrogate pair": ("order", "name \ud800"),
    "points of a stream": ("payload of a change", ("append", "stream", b"1e999")),
    "a condition on a kind that is a list": (
        "conditions of a batch",
        b"EXP1" + struct.pack("<I", 53) + b'[{"condition":"absent","kind":["x"],"entity_id":"e"}]',
    ),
    "a file of skops that unpacks to 64 MiB": ("model of skops", zipped_schema(b" " * (64 << 20))),
    "data at a URL that nobody can parse": ("URL of data", "https://[x/y.csv"),
    "a configuration with an integer of 5,000 digits": ("configuration", b"lease_s = " + b"9" * 5_000),
    "a diff of 20,000 blank lines": ("redaction", "diff --git a/x.env b/x.env\n" + "\n" * 20_000),
    "a row of a series of which a part is missing": ("SQLite file with other values", [("metrics", "exact", b"\xa8")]),
    "a row of a series with a time that is none": ("SQLite file with other values", [("metrics", "first_at", b"\xb4")]),
    "an object of a bucket with the highest stamp": ("bucket", [("streams/s/1-1-ffffffffffffffff-0.chg", b"")]),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_found(what: str) -> None:
    name, data = FOUND[what]
    decoder = BY_NAME[name]
    with warnings.catch_warnings(action="ignore", category=ModelDBWarning):
        decoder.decode(decoder.sample)  # what is imported for it is no cost of the input
    check(decoder.decode, data)


def test_an_error_can_always_be_shown_and_is_not_endless() -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        parse_order("name \ud800")
    str(caught.value).encode()
    error = ModelDBError("x" * 100_000 + "the end")
    assert len(str(error)) <= MAX_MESSAGE
    assert str(error).endswith("the end")


def test_a_column_within_its_bound_is_read() -> None:
    column = unpack_ints(pack(unpack_ints(b"\1" + struct.pack("<Iqq", 70_000, 0, 1))))
    assert column.tolist() == list(range(70_000))


def test_a_home_that_nobody_has_is_a_folder_of_that_name(tmp_path: Any) -> None:
    settings = load_settings(directory=tmp_path, environ={"MODELDB_ARTIFACT_URL": "~nobody-at-all/x"})
    assert settings.artifact_url == f"file://{tmp_path}/~nobody-at-all/x"
    assert json.dumps(settings.url)
