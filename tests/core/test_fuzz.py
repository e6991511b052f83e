"""Decoders of bytes that anybody may have made return or raise an error of ModelDB, whatever they are given.

Half of the cases are damaged pieces of what is really written: random bytes alone do not come far.
"""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.backends.objects.layout import Part, object_of, pack_of, parts_of
from modeldb_core.errors import ModelDBError
from modeldb_core.log.batches import decode_changes, encode_changes
from modeldb_core.log.changes import EMPTY_HEAD, advance, seal, verify_change
from modeldb_core.log.points import decode_points
from modeldb_core.log.replay import Record, erased_by
from modeldb_core.model.values import decode, encode, normalize
from modeldb_core.movement.manifest import Manifest
from modeldb_core.queries import Query, decode_cursor
from modeldb_core.queries.parse import parse_filter
from modeldb_core.stores import protocol
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.hostile import HOSTILE

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["$int", "$float", "$blob", "size", "set", "put", "add", "remove", "tags", "name",
                                       "metrics", "lease_s", "stream_id", "seq", "created_at", "$1"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
_TEXTS = _JSON.map(lambda value: json.dumps(value).encode())


def _changes():
    writer = StreamWriter("s", at=1_000)
    writer.open()
    run_id = writer.create_run(name="a", attributes={"a": [1, {"b": 2.5}]}).entity_id
    writer.append(run_id, {"loss": [1.0, 2.0], "acc": [0.5, 0.25]})
    writer.close()
    return writer.changes


_CHANGES = _changes()
_BATCH = encode_changes(_CHANGES, compress=False)
_PACK = pack_of([Part(7, tuple(_CHANGES))], 9)
_OBJECT = object_of(Part(7, tuple(_CHANGES)))
_POINTS = next(change.payload for change in _CHANGES if change.action == "append")
_MANIFEST = Manifest({"s": EMPTY_HEAD}, 4, "0" * 64, 0, 0, "0" * 64).encode()


@st.composite
def damaged(draw, whole):
    """Return a piece of what is really written with some bytes put in the place of others."""
    at = draw(st.integers(0, len(whole)))
    until = draw(st.integers(at, min(len(whole), at + 12)))
    return whole[:at] + draw(st.binary(max_size=12)) + whole[until:]


def _passes_or_says_why(work, *others):
    try:
        return work()
    except (ModelDBError, *others):
        return None


@given(st.binary(max_size=200) | damaged(_BATCH))
def test_batches(data):
    _passes_or_says_why(lambda: decode_changes(data))


@given(st.binary(max_size=200) | damaged(_PACK[1]))
def test_packs(data):
    _passes_or_says_why(lambda: parts_of(_PACK[0], data))


@given(st.binary(max_size=200) | damaged(_OBJECT[1]))
def test_objects_of_streams(data):
    _passes_or_says_why(lambda: parts_of(_OBJECT[0], data))


@given(st.binary(max_size=200) | damaged(_POINTS))
def test_points(data):
    _passes_or_says_why(lambda: decode_points(data))


@given(st.binary(max_size=200) | damaged(_MANIFEST))
def test_manifests(data):
    # What a bundle turns into a sentence of its own.
    _passes_or_says_why(lambda: Manifest.decode(data), ValueError, KeyError, TypeError, AttributeError, RecursionError)


@given(st.binary(max_size=100) | _TEXTS)
def test_values(data):
    value = _passes_or_says_why(lambda: decode(data))
    normalize(value, "value")  # what was read can be written, and read again
    assert encode(decode(encode(value))) == encode(value)


@given(
    st.sampled_from(["create", "update", "delete", "restore", "append", "open", "beat", "close", "erase", "fly"]),
    st.sampled_from(["run", "project", "commit", "stream", "castle"]),
    st.binary(max_size=60) | _TEXTS | damaged(_POINTS),
)
def test_changes(action, kind, payload):
    head = {"recorded_at": 1, "actor": "", "action": action, "kind": kind, "entity_id": "e", "salt": bytes(16)}
    change = seal("s", 1, bytes(32), payload=payload, **head)

    def work():
        verify_change(change, bytes(32))
        advance(EMPTY_HEAD, change)
        erased_by([change])
        record = Record(kind, "e").after(change)
        return record.entity({}, 1)

    _passes_or_says_why(work)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_payloads_as_batches(what):
    action, kind, payload = HOSTILE[what]
    head = {"recorded_at": 1, "actor": "", "action": action, "kind": kind, "entity_id": "e", "salt": bytes(16)}
    change = seal("s", 1, bytes(32), payload=payload, **head)
    assert decode_changes(encode_changes([change])) == (change,)


@given(st.text(max_size=60) | _TEXTS.map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")))
def test_cursors(text):
    _passes_or_says_why(lambda: decode_cursor(Query(cursor=text)))


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(["metrics.a", ">", "=", "1", '"x"', "(", ")", "and", "or", "not", "in", "[", "]", ",", "exists"]),
        max_size=12,
    ).map(" ".join)
)  # fmt: skip
def test_filters(text):
    _passes_or_says_why(lambda: parse_filter(text, "run"))


@given(_JSON)
def test_answers_of_servers(data):
    # What the one door for answers turns into a sentence of its own.
    others = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
    for load in (protocol.load_heads, protocol.load_blob, protocol.load_acknowledgement, protocol.load_owners):
        _passes_or_says_why(lambda load=load: load(data), *others)
