"""Columns survive their packed form in every bit."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.backends._sql.chunks import Segments
from modeldb_core.errors import IntegrityError
from modeldb_core.log.packing import pack, unpack_floats, unpack_ints

INTS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60)
BITS = st.lists(st.integers(0, 2**64 - 1), max_size=60)


@given(INTS)
def test_integers_come_back(numbers):
    column = np.array(numbers, np.int64)
    assert np.array_equal(unpack_ints(pack(column)), column)


@given(BITS)
def test_floats_come_back_with_the_bits_of_their_nans_and_zeros(bits):
    column = np.array(bits, np.uint64).view(np.float64)
    assert np.array_equal(unpack_floats(pack(column)).view(np.uint64), column.view(np.uint64))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(0, 50))
def test_progressions_come_back_where_they_overflow(start, stride, count):
    column = np.array([(start + index * stride + 2**63) % 2**64 - 2**63 for index in range(count)], np.int64)
    assert np.array_equal(unpack_ints(pack(column)), column)


@pytest.mark.parametrize("count", [3, 9, 1000, 100_000])
def test_regular_steps_cost_nothing(count):
    assert len(pack(np.arange(7, 7 + 10 * count, 10))) < 30


def test_a_constant_costs_nothing():
    assert len(pack(np.full(1000, 0.1))) < 30


def test_a_column_that_begins_at_an_odd_address_is_packed():
    data = b"\0" + np.arange(100.0).tobytes()
    column = np.frombuffer(data, "<f8", 100, 1)
    assert np.array_equal(unpack_floats(pack(column)), np.arange(100.0))


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 500])
def test_what_was_cut_is_refused_or_shorter(count):
    data = pack(np.random.default_rng(0).random(count))
    for end in range(len(data)):
        try:
            column = unpack_floats(data[:end])
        except IntegrityError:
            continue
        assert len(column) < count


@pytest.mark.parametrize("data", [b"", b"\3", b"\1", b"\2xx", b"\0xxx"])
def test_bytes_that_are_no_column_are_refused(data):
    with pytest.raises(IntegrityError):
        unpack_ints(data)


def test_a_column_of_the_other_type_is_refused():
    with pytest.raises(IntegrityError):
        unpack_ints(pack(np.random.default_rng(0).random(100)))


SEGMENTS = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=30)


@given(SEGMENTS)
def test_segments_come_back(items):
    segments = Segments.load(Segments.of(items).dump())
    assert list(zip(segments.positions, segments.groups, segments.rows, strict=True)) == items


@given(SEGMENTS, st.data())
def test_segments_that_are_split_and_joined_are_the_same(items, data):
    items = [(position, index, rows) for index, (position, _, rows) in enumerate(items)]
    whole = Segments.of(items)
    at = data.draw(st.integers(0, int(whole.rows.sum())))
    head, tail = whole.split(at)
    assert head.rows.sum() == at
    joined = Segments.concatenate([head, tail])
    assert list(zip(joined.positions, joined.groups, joined.rows, strict=True)) == items


@pytest.mark.parametrize("data", [b"", b"123", struct.pack("<3I", 1, 2, 3), struct.pack("<3I", 0, 0, 4) + b"\0abc"])
def test_damaged_segments_are_refused(data):
    with pytest.raises(IntegrityError):
        Segments.load(data)
