"""Batches of changes come back bit for bit, and what is damaged is refused."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.batches import HEAD_BYTES, MAGIC, MAX_BATCH_CHANGES, decode_changes, encode_changes, measure
from modeldb_core.log.changes import GENESIS, verify_change
from modeldb_core.testing import StreamWriter


def some_changes():
    writers = [StreamWriter(), StreamWriter()]
    for writer in writers:
        writer.open()
        run_id = writer.create_run(name="é", hyperparameters={"lr": float("nan")}).entity_id
        writer.append(run_id, {"loss": [1.0, 0.5]}, steps=[0, 1])
    first, second = (writer.changes for writer in writers)
    return [first[0], second[0], *second[1:], *first[1:]]


@pytest.mark.parametrize("compress", [True, False])
def test_changes_come_back_as_they_were(compress):
    changes = some_changes()
    assert list(decode_changes(encode_changes(changes, compress=compress))) == changes


def test_an_empty_batch_is_one():
    assert decode_changes(encode_changes([])) == ()


def test_erased_changes_keep_their_digest():
    changes = some_changes()
    erased = [changes[0], changes[1].erased(), *changes[2:]]
    assert list(decode_changes(encode_changes(erased))) == erased


def test_a_withheld_change_comes_back_as_one_that_no_store_takes_and_not_as_an_erased_one():
    change = some_changes()[0].without_payload()
    data = encode_changes([change], compress=False)
    (found,) = decode_changes(data)
    assert found == change != change.erased()
    verify_change(found, GENESIS, may_be_withheld=True)
    with pytest.raises(InvalidArgumentError, match="was withheld"):
        verify_change(found, GENESIS)
    whole = bytearray(encode_changes([some_changes()[0]], compress=False))
    whole[HEAD_BYTES] |= data[HEAD_BYTES]
    with pytest.raises(IntegrityError, match="marked as withheld"):
        decode_changes(bytes(whole))


def test_a_batch_may_begin_in_the_middle_of_a_stream():
    tail = StreamWriter()
    tail.open()
    tail.create_run()
    (change,) = decode_changes(encode_changes(tail.changes[1:]))
    assert change == tail.changes[1]
    assert change.previous_hash != GENESIS


def test_an_altered_payload_no_longer_fits_its_hash():
    change = some_changes()[0]
    data = encode_changes([change], compress=False)
    (found,) = decode_changes(data.replace(b"lease_s", b"Lease_s"))
    with pytest.raises(IntegrityError, match="altered"):
        verify_change(found, GENESIS)


@pytest.mark.parametrize("compress", [True, False])
@given(data=st.data())
def test_what_is_cut_off_is_refused(compress, data):
    whole = encode_changes(CHANGES, compress=compress)
    with pytest.raises(IntegrityError):
        decode_changes(whole[: data.draw(st.integers(0, len(whole) - 1))])


CHANGES = some_changes()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_an_integrity_error(data):
    heads = (b"", MAGIC, MAGIC + b"\0", MAGIC + b"\1", encode_changes(CHANGES)[:17])
    for head in heads:
        try:
            decode_changes(head + data)
        except IntegrityError as error:
            assert str(error)


def test_a_batch_that_unpacks_to_too_much_is_refused():
    data = encode_changes(CHANGES)
    with pytest.raises(IntegrityError, match="longer than 100 bytes"):
        decode_changes(data, max_bytes=100)


def test_an_unknown_form_says_to_update():
    with pytest.raises(IntegrityError, match="update ModelDB"):
        decode_changes(MAGIC + b"\7" + encode_changes(CHANGES)[5:])


@pytest.mark.parametrize("at", range(5, 17))
@pytest.mark.parametrize("compress", [True, False])
def test_numbers_that_lie_are_found_out(at, compress):
    data = bytearray(encode_changes(CHANGES, compress=compress))
    data[at] ^= 1
    with pytest.raises(IntegrityError):
        decode_changes(bytes(data))


def test_many_short_changes_are_refused_before_they_are_unpacked():
    data = encode_changes(CHANGES)
    assert measure(data) == (len(CHANGES), len(encode_changes(CHANGES, compress=False)) - 17)
    damaged = data[:17] + b"not even compressed"
    with pytest.raises(IntegrityError, match="at most 3 are read at once"):
        decode_changes(damaged, max_changes=3)


def test_a_hash_of_another_length_is_refused():
    with pytest.raises(InvalidArgumentError, match="length"):
        encode_changes([replace(CHANGES[0], hash=b"short")])


@pytest.mark.parametrize("compress", [False, True])
def test_a_batch_that_goes_on_after_its_end_is_refused(compress: bool) -> None:
    writer = StreamWriter()
    writer.create_run(name="x" * 1000)
    data = encode_changes(writer.changes, compress=compress)
    assert decode_changes(data) == tuple(writer.changes)
    for further in (b"x", bytes(100)):
        with pytest.raises(IntegrityError):
            decode_changes(data + further)


def tiny_changes(count):
    """Return a batch that says with few bytes that it holds many changes."""
    change = some_changes()[0].erased()
    body = encode_changes([change], compress=False)[HEAD_BYTES:] * count
    return struct.pack("<4sBIQ", MAGIC, 1, count, len(body)) + zlib.compress(body, 9)


@pytest.mark.parametrize("count", [1000, MAX_BATCH_CHANGES])
def test_few_bytes_that_unpack_to_many_changes_are_refused_before_they_are_unpacked(count, monkeypatch):
    bomb = tiny_changes(count)
    assert len(bomb) < count * 5
    monkeypatch.setattr("modeldb_core.log.batches._unpacked", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(IntegrityError, match=rf"cannot hold the {count:,} changes"):
        decode_changes(bomb)


def test_the_shortest_changes_there_can_be_are_not_too_many_for_their_bytes():
    writer = StreamWriter()
    for number in range(2000):
        writer.create("run", str(number))
    erased = [change.erased() for change in writer.changes]
    assert list(decode_changes(encode_changes(erased))) == erased
