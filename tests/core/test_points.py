"""Points: their plain form, and thinning out without hiding anything."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.log.points import PointGroup, Series, concatenate, decode_points, encode_points, thin_out

INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=64, allow_nan=True) | st.sampled_from([-0.0, float("inf"), float("nan"), 5e-324])
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@st.composite
def groups(draw):
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    count = draw(st.integers(0, 6))
    column = st.lists(INTS, min_size=count, max_size=count)
    values = [draw(st.lists(FLOATS, min_size=count, max_size=count)) for _ in keys]
    return PointGroup(
        tuple(keys),
        np.array(draw(column), np.int64),
        np.array(draw(column), np.int64),
        np.array(values, np.float64).reshape(len(keys), count),
    )


def plain(group):
    return (group.keys, group.steps.tobytes(), group.times.tobytes(), group.values.tobytes(), group.values.shape)


@given(st.lists(groups(), max_size=4))
def test_points_come_back_in_every_bit(written):
    assert [plain(group) for group in decode_points(encode_points(written))] == [plain(group) for group in written]


@given(groups())
def test_the_plain_form_does_not_depend_on_the_layout_in_memory(group):
    other = PointGroup(
        group.keys,
        group.steps.astype(">i8"),
        np.repeat(group.times, 2)[::2],
        np.asfortranarray(group.values).astype(">f8"),
    )
    assert encode_points([other]) == encode_points([group])


def test_the_plain_form_is_the_documented_one():
    group = PointGroup(("ä",), np.array([1, 2]), np.array([3, 4]), np.array([[0.5, -1.0]]))
    expected = b"PTS1" + struct.pack("<III", 1, 1, 2) + "ä".encode() + struct.pack("<I4q2d", 2, 1, 2, 3, 4, 0.5, -1.0)
    assert encode_points([group]) == expected


def test_decoded_arrays_are_read_only_views():
    group = PointGroup(("a",), np.array([1]), np.array([2]), np.array([[3.0]]))
    (found,) = decode_points(encode_points([group]))
    for column in (found.steps, found.times, found.values):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


@given(st.lists(groups(), min_size=1, max_size=3), st.data())
def test_cut_payloads_are_refused(written, data):
    payload = encode_points(written)
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    with pytest.raises(IntegrityError):
        decode_points(cut)


@given(st.binary(max_size=60))
@example(b"PTS1" + b"\xff" * 50)
@example(b"PTS1\x01\0\0\0\xff\xff\xff\xff")
@example(b"PTS1\x01\0\0\0\0\0\0\0\xff\xff\xff\xff")
def test_any_bytes_are_points_or_refused(payload):
    try:
        found = decode_points(payload)
    except IntegrityError:
        return
    assert encode_points(found) == payload


def test_bytes_after_the_last_group_are_refused():
    with pytest.raises(IntegrityError, match="3 bytes follow"):
        decode_points(encode_points([]) + b"abc")


@given(st.lists(groups(), min_size=1, max_size=4))
def test_concatenating_keeps_every_point_in_order(parts):
    parts = [PointGroup(("a",), part.steps, part.times, np.zeros((1, len(part)))) for part in parts]
    whole = concatenate(parts)
    assert whole.steps.tolist() == [step for part in parts for step in part.steps.tolist()]
    assert len(whole) == sum(map(len, parts))


@st.composite
def drawn_series(draw):
    count = draw(st.integers(0, 300))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1, 5, 400, 2**62]))
    steps = generator.integers(-spread, spread, count, dtype=np.int64)
    if draw(st.booleans()):
        steps.sort()
    values = np.round(generator.normal(size=count), draw(st.sampled_from([0, 8])))
    for special in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -0.0]), max_size=6)):
        if count:
            values[generator.integers(0, count, draw(st.sampled_from([1, 3, count])))] = special
    return steps, values


@given(drawn_series(), st.integers(1, 100))
def test_thinning_out_hides_nothing(series, max_points):
    steps, values = series
    chosen = thin_out(steps, values, max_points)
    assert len(chosen) <= max_points
    assert len(set(chosen.tolist())) == len(chosen)
    if len(steps) <= max_points:
        assert sorted(chosen.tolist()) == list(range(len(steps)))
    shown = values[chosen]
    assert np.isnan(shown).any() == np.isnan(values).any() or max_points < 4
    numbers = values[~np.isnan(values)]
    if len(numbers) and max_points >= 4:
        assert np.nanmin(shown) == numbers.min()
        assert np.nanmax(shown) == numbers.max()


@given(drawn_series(), st.integers(1, 100))
def test_thinned_out_points_are_ordered_by_step_and_then_as_logged(series, max_points):
    steps, values = series
    chosen = thin_out(steps, values, max_points).tolist()
    pairs = [(int(steps[index]), index) for index in chosen]
    assert pairs == sorted(pairs)


@given(drawn_series())
def test_the_first_step_and_a_last_one_stay(series):
    steps, values = series
    if len(steps) and not np.isnan(values).any():
        shown = steps[thin_out(steps, values, 40)]
        assert (shown[0], shown[-1]) == (steps.min(), steps.max())


@pytest.mark.parametrize(("max_points", "shown"), [(1, [30]), (2, [10, 30]), (3, [10, 30, 99])])
def test_of_very_few_points_the_extremes_stay(max_points, shown):
    values = np.zeros(100)
    values[10], values[30] = -1.0, 1.0
    assert thin_out(np.arange(100), values, max_points).tolist() == shown


@pytest.mark.parametrize("max_points", [0, -1])
def test_no_points_cannot_be_asked_for(max_points):
    with pytest.raises(InvalidArgumentError, match=str(max_points)):
        thin_out(np.arange(3), np.zeros(3), max_points)


def test_each_column_keeps_its_spike():
    values = np.zeros(100_000)
    spikes = np.arange(50, 100_000, 1000)
    values[spikes] = np.where(np.arange(len(spikes)) % 2, 5.0, -5.0)
    chosen = thin_out(np.arange(100_000), values, 800)
    assert set(spikes.tolist()) <= set(chosen.tolist())


def test_a_gap_shows_where_it_begins():
    values = np.ones(1000)
    values[400:500] = np.nan
    chosen = thin_out(np.arange(1000), values, 40)
    assert 400 in chosen


def test_a_series_becomes_a_table():
    series = Series("run", "loss", np.array([1, 2]), np.array([1_000_000, 2_000_000]), np.array([0.5, 0.25]), 2)
    frame = series.to_pandas()
    assert list(frame.columns) == ["step", "time", "value"]
    assert frame["time"].dt.tz is not None
    assert frame["time"][0].isoformat() == "1970-01-01T00:00:01+00:00"
    assert frame["value"].tolist() == [0.5, 0.25]
