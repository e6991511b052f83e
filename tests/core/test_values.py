"""Values: what is accepted, and that everything accepted comes back in every bit."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.numbers import to_float
from modeldb_core.model.values import (
    MAX_DEPTH,
    BlobReference,
    check_key,
    decode,
    encode,
    from_json,
    normalize,
    to_json,
)
from modeldb_core.testing.entities import VALUES, exactly

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**53 - 2, 2**53 + 2),
    st.floats(),
    TEXT,
    st.builds(BlobReference, st.just("ab" * 32), st.integers(0, 2**50)),
)
MAP_KEYS = TEXT | st.sampled_from(["$float", "$int", "$blob", "$", "$$float", ""])
ANY_VALUE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MAP_KEYS, inner, max_size=3), max_leaves=10
)


@given(ANY_VALUE)
def test_values_come_back_in_every_bit(value):
    assert exactly(decode(encode(value))) == exactly(value)


@given(ANY_VALUE)
def test_the_written_form_is_strict_json(value):
    def refuse(text):
        pytest.fail(f"{text} is not JSON")

    data = json.loads(encode(value), parse_constant=refuse)
    assert exactly(from_json(data)) == exactly(value)


@given(ANY_VALUE)
def test_javascript_keeps_every_number(value):
    def check(data):
        if isinstance(data, dict):
            for item in data.values():
                check(item)
        elif isinstance(data, list):
            for item in data:
                check(item)
        elif isinstance(data, int) and not isinstance(data, bool):
            assert int(float(data)) == data

    check(to_json(value))


@given(ANY_VALUE)
def test_normalizing_alters_nothing_that_is_plain(value):
    assert exactly(normalize(value, "here")) == exactly(value)


@pytest.mark.parametrize("name", VALUES)
def test_the_values_of_the_suite_come_back(name):
    assert exactly(decode(encode(normalize(VALUES[name], name)))) == exactly(VALUES[name])


def test_integers_of_any_size_come_back():
    digits = sys.get_int_max_str_digits()
    for value in (10**digits + 1, -(10 ** (digits + 500)), 1 << 100_000):
        assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(-5), -5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(2.5), 2.5),
        (np.array(7), 7),
        (np.longdouble(0.5), 0.5),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": (np.int8(1),)}, {"a": [1]}),
    ],
)
def test_scalars_of_numpy_and_tuples_are_taken_as_what_they_hold(value, expected):
    assert exactly(normalize(value, "here")) == exactly(expected)


def test_subclasses_are_taken_as_what_they_are():
    from enum import IntEnum, StrEnum

    class Color(StrEnum):
        RED = "red"

    class Level(IntEnum):
        LOW = 1

    assert exactly(normalize([Color.RED, Level.LOW], "here")) == exactly(["red", 1])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "object"),
        (b"bytes", "artifact"),
        ({1, 2}, "sorted list"),
        (np.zeros(3), "tolist"),
        (1j, "complex"),
        (Fraction(1, 3), "Fraction"),
        (print, "builtin_function_or_method"),
        ([1, {"a": b"x"}], r"here\[1\]\.a"),
        ({(1, 2): "a"}, r"'\(1, 2\)'"),
        (np.datetime64("2026-01-01", "ns"), "datetime64"),
        (np.timedelta64(5, "ns"), "timedelta64"),
        (np.longdouble("0.1"), "longdouble"),
    ],
)
def test_what_cannot_be_stored_raises_and_says_where_and_what(value, words):
    with pytest.raises(InvalidTypeError, match=words) as caught:
        normalize(value, "here")
    assert isinstance(caught.value, TypeError)
    assert "here" in str(caught.value)


def test_deep_nesting_raises_and_does_not_overflow():
    value = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert decode(encode(normalize(value, "here"))) == value
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidArgumentError, match="nested deeper"):
        normalize(value, "here")


def test_what_everything_shares_is_refused_and_not_gone_through_for_ever() -> None:
    plain: object = {"a": 1}
    other: object = [1, ("é",)]
    for _ in range(18):
        plain, other = {"a": plain, "b": plain}, [other, (other, "é")]
    for value in (plain, other):
        with pytest.raises(InvalidArgumentError, match="more than 200,000 maps and lists"):
            normalize({"config": value}, "hyperparameters")


def test_a_cycle_raises():
    value = []
    value.append(value)
    with pytest.raises(InvalidArgumentError, match="nested deeper"):
        normalize(value, "here")


@pytest.mark.parametrize("value", ["a\ud800", ["\udfff"], {"a": "\ud800"}, {"\ud800": 1}])
def test_lone_surrogates_raise(value):
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        normalize(value, "here")


@pytest.mark.parametrize("key", ["a", "val loss", "日本", "x" * 1024, "a.b/c", "$", " "])
def test_keys_that_name_something(key):
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        ("", InvalidArgumentError, "empty"),
        ("x" * 1025, InvalidArgumentError, "1,025"),
        ("a\0b", InvalidArgumentError, "NUL"),
        ("\ud800", InvalidArgumentError, "surrogate"),
        (5, InvalidTypeError, "int"),
        (None, InvalidTypeError, "NoneType"),
        (b"a", InvalidTypeError, "bytes"),
    ],
)
def test_keys_that_name_nothing(key, error, words):
    with pytest.raises(error, match=words):
        check_key(key, "the key of a metric")


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1.0), (True, 1.0), (2**53, 2.0**53), (np.float32(0.5), 0.5), (-0.0, -0.0)]
)
def test_points_are_floats(value, expected):
    found = to_float(value, "loss")
    assert (type(found), found.hex()) == (float, expected.hex())


def test_nan_is_a_point():
    assert math.isnan(to_float(np.array(math.nan), "loss"))


@pytest.mark.parametrize("value", [2**53 + 1, 10**400])
def test_integers_that_no_float_equals_are_no_points(value):
    with pytest.raises(InvalidArgumentError, match="not exactly representable"):
        to_float(value, "loss")


@pytest.mark.parametrize("value", ["0.5", None, [1.0], np.zeros(2), 1j])
def test_what_is_no_number_is_no_point(value):
    with pytest.raises(InvalidTypeError, match="loss"):
        to_float(value, "loss")


KEYS = {
    0: "zero",
    -3: "negative",
    2**70: "big",
    -(10**5000): "long",
    0.5: "half",
    -0.25: 1,
    1e300: 2,
    math.inf: 3,
    True: "yes",
    None: "nothing",
    "1": "text",
    "true": "word",
    "$1": "dollar",
    "$": "$",
    "": "empty",
}


@pytest.mark.parametrize(
    "key", KEYS, ids=lambda key: str(key)[:20] if isinstance(key, (str, float)) else type(key).__name__
)
def test_keys_that_are_numbers_booleans_or_none_come_back_as_they_were(key):
    value = {"deep": [{key: {key: KEYS[key]}}]}
    back = decode(encode(normalize(value, "here")))
    (found,) = back["deep"][0]
    assert (found, type(found) if abs(key if isinstance(key, int) else 0) < 10**100 else int) == (key, type(key))
    assert back == value


def test_keys_that_differ_in_type_only_stay_apart():
    value = {1: "a", "1": "b", None: "c", "null": "d", "None": "e", 0: "f", "false": "g", "$0": "h", "$$0": "i"}
    assert decode(encode(normalize(value, "here"))) == value
    assert decode('{"$what": 1}') == {"what": 1}, "of another program"


def test_nan_is_a_key():
    (key,) = decode(encode(normalize({np.float32(math.nan): 1}, "here")))
    assert math.isnan(key)


def test_integers_that_python_does_not_write_show_themselves_all_the_same():
    for value in (10**5000, -(10**5000)):
        back = decode(encode(value))
        assert back == value
        assert [str(back), repr(back), f"{back}", f"{back:,}"] == [hex(value)] * 4
        assert f"{back:>6000}".strip() == hex(value)
        assert encode(back) == encode(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$blob": "ab" * 32, "size": 1, "more": 2},
        {"$blob": "ab" * 32},
        {"$blob": "AB" * 32, "size": 1},
        {"$blob": "ab" * 32, "size": -1},
        {"$blob": "ab" * 32, "size": True},
        {"$float": "NaN", "more": 1},
        {"$float": "1.5"},
        {"$int": "7", "more": 1},
        {"$int": 7},
        {"$int": "7.0"},
    ],
)
def test_a_tag_that_says_anything_else_stands_for_no_value(data):
    with pytest.raises(InvalidArgumentError):
        from_json(data)
