"""Changes: sealing, verifying, and heads of streams."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.errors import IntegrityError, InvalidArgumentError, InvalidTypeError
from modeldb_core.log.changes import (
    DEFAULT_LEASE_S,
    EMPTY_HEAD,
    GENESIS,
    Change,
    Head,
    advance,
    by_stream,
    payload_of,
    seal,
    verify_change,
)
from modeldb_core.testing import StreamWriter

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
SEALED = st.builds(
    seal,
    TEXT,
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    recorded_at=st.integers(0, 253_402_300_799_999_999),
    actor=TEXT,
    action=TEXT,
    kind=TEXT,
    entity_id=TEXT,
    payload=st.binary(max_size=20),
    salt=st.binary(min_size=16, max_size=16),
)


@given(SEALED)
def test_a_sealed_change_verifies(change):
    verify_change(change, change.previous_hash)


@given(SEALED)
def test_an_erased_change_still_verifies(change):
    erased = change.erased()
    assert (erased.payload, erased.salt, erased.hash) == (None, None, change.hash)
    verify_change(erased, change.previous_hash)


@given(SEALED, st.data())
def test_any_altered_field_shows(change, data):
    name = data.draw(st.sampled_from([field.name for field in fields(Change) if field.name != "withheld"]))
    value = getattr(change, name)
    if isinstance(value, bytes):
        at = data.draw(st.integers(0, len(value)))
        altered = value[:at] + b"\1" + value[at:]
    elif isinstance(value, int):
        altered = value - 1 if value else 1
    else:
        altered = value + data.draw(TEXT.filter(bool))
    with pytest.raises(IntegrityError):
        verify_change(replace(change, **{name: altered}), change.previous_hash)


@given(SEALED, TEXT, TEXT)
def test_fields_cannot_run_into_one_another(change, first, second):
    moved = replace(change, actor=first + second, action=change.action)
    other = replace(change, actor=first, action=second + change.action)
    if moved != other and second:
        with pytest.raises(IntegrityError):
            verify_change(replace(other, hash=_seal_again(moved).hash), change.previous_hash)


def _seal_again(change):
    return seal(
        change.stream_id,
        change.seq,
        change.previous_hash,
        recorded_at=change.recorded_at,
        actor=change.actor,
        action=change.action,
        kind=change.kind,
        entity_id=change.entity_id,
        payload=change.payload,
        salt=change.salt,
    )


def test_the_hash_is_the_documented_one():
    payload, salt = b'{"name":"a"}', bytes(range(16))
    change = seal(
        "stream",
        7,
        b"\x11" * 32,
        recorded_at=123,
        actor="me",
        action="create",
        kind="run",
        entity_id="é",
        payload=payload,
        salt=salt,
    )
    texts = b"".join(
        struct.pack(">I", len(text)) + text for text in (b"stream", b"me", b"create", b"run", "é".encode())
    )
    digest = hashlib.sha256(salt + payload).digest()
    expected = b"modeldb-change-1\n" + struct.pack(">QQ", 7, 123) + texts + digest + b"\x11" * 32
    assert change.payload_digest == digest
    assert change.hash == hashlib.sha256(expected).digest()


def test_a_chain_breaks_where_a_change_is_missing_or_moved():
    writer = StreamWriter()
    for _ in range(3):
        writer.create("run")
    first, second, third = writer.changes
    verify_change(first, GENESIS)
    verify_change(second, first.hash)
    for change, previous in ((third, first.hash), (second, GENESIS), (first, third.hash)):
        with pytest.raises(IntegrityError, match=f"change {change.seq} of stream {writer.stream_id}"):
            verify_change(change, previous)


def test_a_payload_without_its_salt_is_altered():
    change = StreamWriter().create("run")
    with pytest.raises(IntegrityError, match="payload"):
        verify_change(replace(change, salt=None), GENESIS)


def test_equal_payloads_have_unlike_digests():
    first, second = StreamWriter().create("run", "id", name="a"), StreamWriter().create("run", "id", name="a")
    assert first.payload == second.payload
    assert first.payload_digest != second.payload_digest


def test_data_is_the_payload_as_values():
    writer = StreamWriter()
    change = writer.create("run", attributes={"n": float("inf"), "i": 2**70})
    assert change.data() == {"attributes": {"n": float("inf"), "i": 2**70}}
    assert change.erased().data() == {}
    assert writer.append("run", {"loss": [1.0]}).data() == {}
    listed = writer.write("update", "run", "id", b"[1]")
    with pytest.raises(InvalidArgumentError, match=r"change 3 of stream .* of type list; expected a map"):
        listed.data()


def test_a_payload_takes_only_what_can_be_stored():
    with pytest.raises(InvalidTypeError, match=r"payload\.x"):
        payload_of({"x": object()})


def test_heads_follow_their_stream():
    writer = StreamWriter(at=1_000_000)
    head = advance(EMPTY_HEAD, writer.create("run"))
    assert head == Head(1, writer.changes[0].hash, 1_000_000, DEFAULT_LEASE_S, closed=False)
    head = advance(head, writer.open(lease_s=2.5))
    assert (head.lease_s, head.lease_until) == (2.5, 1_000_001 + 2_500_000)
    head = advance(head, writer.beat())
    assert head.lease_s == 2.5
    head = advance(head, writer.close())
    assert head.closed
    assert not advance(head, writer.beat()).closed


def test_a_lease_of_another_entity_is_no_lease():
    writer = StreamWriter()
    head = advance(EMPTY_HEAD, writer.create("run", lease_s=5))
    assert head.lease_s == DEFAULT_LEASE_S


def test_changes_are_told_apart_by_stream():
    one, other = StreamWriter(), StreamWriter()
    changes = [one.create("run"), other.create("run"), one.beat()]
    assert by_stream(changes) == {one.stream_id: [changes[0], changes[2]], other.stream_id: [changes[1]]}


def test_the_time_of_a_change_is_utc():
    assert StreamWriter(at=1_500_000).create("run").time.isoformat() == "1970-01-01T00:00:01.500000+00:00"
