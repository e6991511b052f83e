"""Queries: what parses, what it means, and errors that point at the column."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, QuerySyntaxError
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import (
    COLUMNS,
    MAX_LEAVES,
    MAX_TEXT,
    MISSING,
    And,
    Compare,
    Exists,
    Field,
    In,
    IsNull,
    Leaf,
    Not,
    Or,
    Order,
    Query,
    compare,
    decode_cursor,
    effective_order,
    encode_cursor,
    field_name,
    is_like,
    leaves,
    matches,
    order_value,
    parse_field,
    parse_fields,
    parse_filter,
    parse_order,
    parse_time,
    quote,
    searchable,
    write_filter,
)
from modeldb_core.testing.machine import FILTERS, ORDERS

DOCS = Path(__file__).parents[2] / "docs" / "queries.md"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def column(name):
    return Field("column", name)


def metric(key, aggregate=""):
    return Field("metrics", key, aggregate)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (" \n\t ", None),
        ("metrics.auc > 0.9", Compare(metric("auc"), ">", 0.9)),
        ("metrics.auc==1", Compare(metric("auc"), "=", 1)),
        ("metrics.auc <> -1", Compare(metric("auc"), "!=", -1)),
        ("metrics.auc<=1e-3", Compare(metric("auc"), "<=", 0.001)),
        ("metrics.loss.max >= INF", Compare(metric("loss", "max"), ">=", math.inf)),
        ("metrics.loss.min = -infinity", Compare(metric("loss", "min"), "=", -math.inf)),
        ('metrics."loss.max" = 1', Compare(metric("loss.max"), "=", 1)),
        ('metrics."loss"."max" = 1', Compare(metric("loss.max"), "=", 1)),
        ("metrics.max = 1", Compare(metric("max"), "=", 1)),
        ("metrics.a/b-c.d.count = 1", Compare(metric("a/b-c.d", "count"), "=", 1)),
        ('metrics."a ""b""" = 1', Compare(metric('a "b"'), "=", 1)),
        ("metrics.`a ``b``` = 1", Compare(metric("a `b`"), "=", 1)),
        ("metrics.'it''s' = 1", Compare(metric("it's"), "=", 1)),
        ("metrics.and = 1", Compare(metric("and"), "=", 1)),
        ("hyperparameters.0.lr = 1", Compare(Field("hyperparameters", "0.lr"), "=", 1)),
        ("hyperparameters.lr.max = 1", Compare(Field("hyperparameters", "lr.max"), "=", 1)),
        ("hyperparameters.a = TRUE", Compare(Field("hyperparameters", "a"), "=", True)),
        ('name like "a%"', Compare(column("name"), "like", "a%")),
        ("name CONTAINS 'it''s'", Compare(column("name"), "contains", "it's")),
        ('name = "say ""hi"""', Compare(column("name"), "=", 'say "hi"')),
        (r'name = "C:\new"', Compare(column("name"), "=", r"C:\new")),
        ("run_id = 'x'", Compare(column("entity_id"), "=", "x")),
        ("name in ('a')", In(column("name"), ("a",))),
        ("metrics.a NOT IN (1, nan)", In(metric("a"), (1, pytest.approx(math.nan, nan_ok=True)), negated=True)),
        ("metrics.a exists", Exists(metric("a"))),
        ("metrics.a not exists", Not(Exists(metric("a")))),
        ("parent_id is null", IsNull(column("parent_id"))),
        ("parent_id is not null", IsNull(column("parent_id"), negated=True)),
        ("parent_id = null", IsNull(column("parent_id"))),
        ("parent_id != null", IsNull(column("parent_id"), negated=True)),
        ('tags contains "best"', Compare(Field("tags"), "contains", "best")),
        (
            "metrics.a = 1 or metrics.b = 2 and not metrics.c = 3",
            Or(
                (
                    Compare(metric("a"), "=", 1),
                    And((Compare(metric("b"), "=", 2), Not(Compare(metric("c"), "=", 3)))),
                )
            ),
        ),
        (
            "(metrics.a = 1 or metrics.b = 2) and metrics.c = 3",
            And((Or((Compare(metric("a"), "=", 1), Compare(metric("b"), "=", 2))), Compare(metric("c"), "=", 3))),
        ),
        ("duration > 60", Compare(column("duration"), ">", 60)),
        ('started_at >= "1970-01-02"', Compare(column("started_at"), ">=", 86_400_000_000)),
    ],
)
def test_filters_mean(text, expected):
    assert parse_filter(text) == expected


def test_relative_times_go_from_now():
    at = 1_000_000_000_000_000
    cases = {
        "now": 0,
        "now - 7d": -7 * 86400,
        "NOW+1.5h": 5400,
        "now - 1d + 2h - 30s": -86400 + 7200 - 30,
        "now-2w": -14 * 86400,
    }
    for text, seconds in cases.items():
        assert parse_filter(f"created_at > {text}", at_us=at) == Compare(
            column("created_at"), ">", at + seconds * 10**6
        )
    assert parse_filter("created_at > now - 250ms", at_us=at).value == at - 250_000
    assert parse_filter("created_at > now - 3us", at_us=at).value == at - 3


def test_now_is_the_time_of_each_parse():
    first = parse_filter("created_at > now").value
    assert parse_filter("created_at > now").value >= first


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("metrics.auc >", 14, "expected a value"),
        ("metrics.auc > and", 15, "expected a value"),
        ("metrics.auc 5", 13, "expected a comparison"),
        ("metrics.auc", 12, "but the filter ends"),
        ("metrics.auc > 1 metrics.b > 2", 17, r"expected and, or or the end"),
        ("(metrics.auc > 1", 17, r"expected .*\)"),
        ("metrics.auc > 1)", 16, "expected"),
        ("and", 1, "expected a field"),
        ("5 < metrics.auc", 1, "expected a field"),
        ("metrics. = 1", 8, "a key is written after"),
        ("metrics = 1", 1, "needs a key"),
        ('name = "abc', 8, "no closing"),
        ("name = 'abc", 8, "no closing"),
        ("metrics.`abc = 1", 8, "a key is written after"),
        ("name = abc", 8, "expected a value"),
        ("metrics.a @ 1", 11, "cannot stand here"),
        ("metrics.a = 1.2.3", 13, "not a number"),
        ("metrics.a = 1d", 13, "not a number"),
        ("nam = 'x'", 1, "did you mean 'name'"),
        ("nobody = 'x'", 1, "The columns are created_at"),
        ("metric.auc = 1", 1, "did you mean 'metrics'"),
        ("name = 5", 8, "name is a text"),
        ("name = true", 8, "name is a text"),
        ("duration = 'x'", 12, "duration is a number"),
        ("created_at > 5", 14, "created_at is a time"),
        ("created_at > 'yesterday'", 14, "is not a time"),
        ("name > now", 8, "name is a text"),
        ("created_at contains 'x'", 12, "is for text"),
        ("metrics.a contains 5", 11, "needs a quoted text"),
        ("metrics.a > null", 11, "is null"),
        ("metrics.a > true", 11, "true and false"),
        ("metrics.a in (1, null)", 18, "null cannot stand in a list"),
        ("metrics.a in ()", 15, "expected a value"),
        ("metrics.a in (1,)", 17, "expected a value"),
        ("tags > 'a'", 1, "tags cannot be compared"),
        ("tags != 'a'", 1, "tags cannot be compared"),
        ("tags = 5", 8, "a tag is text"),
        ("tags is null", 1, "tags exists"),
        ("tags not in ('a')", 1, r"not \(tags in"),
        ("tags.best exists", 1, "tags have no keys"),
        ("name.first = 'x'", 1, "not a field"),
        ("name like '" + "%" * 21 + "'", 6, "20 %"),
        ("name like '" + "x" * 1001 + "'", 6, "1,000 characters"),
        ("metrics.a = " + "9" * 5000, 13, "5,000 digits"),
        ('metrics.a = 1 and\n  metrics.b = "', 33, "no closing"),
        ("x" * 100_001, 100_001, "100,001 characters"),
        (" or ".join(["name = 'a'"] * 501), 7001, "more than 500"),
        ("name in (" + ",".join(["'a'"] * 1001) + ")", 1, "1,001 values"),
        ("(" * 10_000 + "name = 'a'" + ")" * 10_000, 101, "100 levels"),
        ("(" * 49_000, None, "but the filter ends"),
        (")" * 90_000, 1, "expected a field"),
        ("not " * 10_000 + "name = 'a'", None, "100 levels"),
        ("metrics.a = 1 and " * 4000, None, "but the filter ends"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_errors_point_at_the_column(text, at, words):
    with pytest.raises(QuerySyntaxError, match=words) as caught:
        parse_filter(text)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.text == text
    if at is not None:
        assert error.column == at
    if len(text) <= 100_000:
        message, shown, pointer = str(error).split("\n")
        assert f"column {error.column}" in message
        place = len(pointer) - 1
        assert pointer == " " * place + "^"
        if error.column <= len(text):
            expected = text[error.column - 1]
            assert shown[place] == (" " if expected.isspace() else expected)
        assert len(shown) < 130


@pytest.mark.parametrize("text", [None, 5, b"name = 'a'", ["name"]])
def test_what_is_no_text_is_a_typed_error(text):
    for parse in (parse_filter, parse_order):
        with pytest.raises(QuerySyntaxError, match=type(text).__name__):
            parse(text)


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(re.findall(r"\w+|\W", "metrics.a(>=<) and not or in 1.5 'x' \"exists is null now -7d tags,`")),
        max_size=14,
    ).map(" ".join)
)
def test_any_text_parses_or_says_why(text):
    for parse in (parse_filter, parse_order):
        try:
            parse(text)
        except QuerySyntaxError as error:
            found = error
        else:
            continue
        assert str(found)
        assert 1 <= found.column <= len(text) + 1


@given(FILTERS, ORDERS)
def test_what_the_state_machine_asks_parses(filter, order_by):
    parse_filter(filter)
    parse_order(order_by)


def test_other_kinds_have_other_fields():
    assert parse_filter("version > 2", "model_version") == Compare(column("version"), ">", 2)
    assert parse_filter("project_id = 'x'", "project") == Compare(column("entity_id"), "=", "x")
    assert parse_filter("project_id = 'x'", "experiment") == Compare(column("project_id"), "=", "x")
    with pytest.raises(QuerySyntaxError, match="a model version"):
        parse_filter("metrics.a > 2", "model_version")
    with pytest.raises(InvalidArgumentError, match="gadget"):
        parse_filter("", "gadget")


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_of_every_kind_parses(kind):
    literals = {"text": "'x'", "time": "now", "number": "1", "boolean": "true"}
    for name, column_type in COLUMNS[kind].items():
        if name == f"{kind}_id":  # the identifier of the entity itself
            continue
        assert parse_filter(f"{name} = {literals[column_type]}", kind).field == column(name)
        assert parse_order(f"{name} desc", kind) == (Order(column(name), descending=True),)


@given(TEXT)
def test_any_text_can_be_quoted(text):
    assert parse_filter(f"name = {quote(text)}") == Compare(column("name"), "=", text)


@given(TEXT.filter(bool), st.sampled_from(["metrics", "hyperparameters", "attributes"]))
def test_any_key_can_be_named(key, section):
    assert parse_field(field_name(section, key)) == Field(section, key)


@given(TEXT.filter(bool), st.sampled_from(["min", "max", "count"]))
def test_any_aggregate_can_be_named(key, aggregate):
    assert parse_field(field_name("metrics", key, aggregate)) == Field("metrics", key, aggregate)


@given(st.floats(allow_nan=False))
def test_any_float_can_be_written(value):
    assert parse_filter(f"metrics.a = {value!r}").value.hex() == value.hex()


@given(st.integers())
def test_any_integer_can_be_written(value):
    found = parse_filter(f"metrics.a = {value}").value
    assert (type(found), found) == (int, value)


def test_orders_parse():
    assert parse_order("") == ()
    assert parse_order("metrics.auc desc, name, started_at ASC") == (
        Order(metric("auc"), descending=True),
        Order(column("name")),
        Order(column("started_at")),
    )


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("metrics.auc down", 13, "expected asc, desc, a comma or the end"),
        ("name,", 6, "but the order ends"),
        ("tags", 1, "tags have no order"),
        ("nobody", 1, "not a field"),
        ("name desc desc", 11, "expected"),
        ("5", 1, "expected a field"),
    ],
)
def test_errors_in_an_order_point_at_the_column(text, at, words):
    with pytest.raises(QuerySyntaxError, match=words) as caught:
        parse_order(text)
    assert caught.value.column == at


@pytest.mark.parametrize(
    ("text", "first", "length"),
    [
        ("1970-01-01", 0, 86_400_000_000),
        ("19700101", 0, 86_400_000_000),
        ("1970-01-01T00", 0, 3_600_000_000),
        ("1970-01-01 00:01", 60_000_000, 60_000_000),
        ("1970-01-01T0001Z", 60_000_000, 60_000_000),
        ("1970-01-01T00:00:01", 1_000_000, 1_000_000),
        ("1970-01-01 00:00:01.5", 1_500_000, 100_000),
        ("1970-01-01 00:00:01,500", 1_500_000, 1000),
        ("1970-01-01 00:00:01.123456789", 1_123_456, 1),
        ("1970-01-01T01:00:00+01:00", 0, 1_000_000),
        ("1970-01-01 01:00:00 +01:00", 0, 1_000_000),
        ("1969-12-31 19:00 \N{MINUS SIGN}05:00", 0, 60_000_000),
        ("1969-12-31T23:59:59.999999Z", -1, 1),
        ("2026-11-23T21:00:00.123456Z", 1_795_467_600_123_456, 1),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999, 1),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000_000, 1_000_000),
    ],
)
def test_a_time_stands_for_all_that_is_written_like_it(text, first, length):
    assert parse_time(text) == (first, first + length - 1)


@pytest.mark.parametrize("text", ["", "now", "21:00", "2026-11", "2026-11-23T", "2026-11-23_21:00", "2026-11-23 21:0"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of datetime or ours
        parse_time(text)


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    st.sampled_from(["hours", "minutes", "seconds", "milliseconds", "microseconds"]),
    st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))]),
)
def test_any_time_is_within_what_is_shown_of_it(time, exactness, zone):
    stored = (time - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    shown = time if zone is None else time.replace(tzinfo=UTC).astimezone(zone)
    first, last = parse_time(shown.isoformat(" ", exactness))
    assert first <= stored <= last
    assert exactness != "microseconds" or first == last


@given(st.integers(0, 4 * 10**6), st.sampled_from(["1970-01-01T00:00:01", "1970-01-01T00:00:02.000001", "1970-01-01"]))
def test_a_time_is_before_at_or_after_what_a_filter_names_and_only_one_of_these(stored, text):
    def is_true(operator: str) -> bool:
        return matches(parse_filter(f'created_at {operator} "{text}"'), lambda field: stored)

    assert [is_true("<"), is_true("="), is_true(">")].count(True) == 1
    assert is_true("<=") == (is_true("<") or is_true("=")) == (not is_true(">"))
    assert is_true(">=") == (is_true(">") or is_true("=")) == (not is_true("<"))
    assert is_true("!=") != is_true("=")
    assert matches(parse_filter(f'created_at in ("{text}")'), lambda field: stored) == is_true("=")
    assert matches(parse_filter(f'created_at not in ("{text}")'), lambda field: stored) == is_true("!=")


def test_lists_of_times_count_as_the_conditions_that_they_become():
    times = [f'"1970-01-01T00:{at // 60:02}:{at % 60:02}"' for at in range(300)]
    assert parse_filter(f"created_at in ({', '.join(times[:249])})") is not None
    with pytest.raises(QuerySyntaxError, match="more than 500 conditions"):
        parse_filter(f"created_at in ({', '.join(times)})")


def test_leaves_flatten_maps_and_keep_types():
    document = {
        "hyperparameters": {"lr": 0.1, "opt": {"name": "adam", "x": {"y": True}}, "layers": [1, 2], "none": None},
        "metrics": {"nan": math.nan, "big": 2**60, "huge": 10**400, "empty": {}},
        "attributes": "no map",
        "tags": ["a", "b", "a", 5],
        "environment": {"python": "3.11"},
    }
    assert leaves("run", document) == [
        Leaf("metrics", "nan", "number"),
        Leaf("metrics", "big", "number", 2.0**60, str(2**60)),
        Leaf("metrics", "huge", "number", math.inf, str(10**400)),
        Leaf("metrics", "empty", "json"),
        Leaf("hyperparameters", "lr", "number", 0.1),
        Leaf("hyperparameters", "opt", "json"),
        Leaf("hyperparameters", "opt.name", "text", None, "adam"),
        Leaf("hyperparameters", "opt.x", "json"),
        Leaf("hyperparameters", "opt.x.y", "bool", 1.0),
        Leaf("hyperparameters", "layers", "json", None, "[1,2]"),
        Leaf("hyperparameters", "none", "null"),
        Leaf("tags", "a", "text", None, "a"),
        Leaf("tags", "b", "text", None, "b"),
    ]


def test_of_two_leaves_with_one_key_the_first_counts():
    assert searchable("run", {"attributes": {"a.b": 1, "a": {"b": 2}}})["attributes", "a.b"] == 1
    assert searchable("run", {"attributes": {"a": {"b": 2}, "a.b": 1}})["attributes", "a.b"] == 2


def test_a_value_has_a_limit_of_leaves_and_a_text_of_characters():
    many = {"attributes": {"wide": {f"k{number}": number for number in range(5000)}, "next": 1}}
    found = searchable("run", many)
    assert len(found) == MAX_LEAVES + 1
    assert ("attributes", "next") in found
    texts = {"attributes": {"fits": "x" * MAX_TEXT, "long": "x" * (MAX_TEXT + 1), "nul": "a\0b"}}
    assert [leaf.value_type for leaf in leaves("run", texts)] == ["text", "json", "json"]


def test_deep_maps_are_flattened_without_recursion():
    value = 1
    for _ in range(50_000):
        value = {"a": value}
    assert len(searchable("run", {"attributes": {"deep": value}})) == MAX_LEAVES


@given(TEXT, st.text("ab%_é", max_size=8))
def test_like_is_what_a_regular_expression_says(text, pattern):
    translated = "".join({"%": "(?s:.*)", "_": "(?s:.)"}.get(character, re.escape(character)) for character in pattern)
    assert is_like(text, pattern) == bool(re.fullmatch(translated, text, re.IGNORECASE | re.ASCII))


def test_like_is_quick_on_hostile_patterns():
    assert not is_like("a" * 10_000, "%a" * 20 + "b")


@pytest.mark.parametrize(
    ("filter", "expected"),
    [("attributes.x != 1", False), ("not attributes.x = 1", True), ("attributes.x is not null", False)],
)
def test_predicates_on_missing_keys_are_false(filter, expected):
    assert matches(parse_filter(filter), lambda _: MISSING) is expected


def test_no_filter_matches_everything():
    assert matches(None, lambda _: MISSING)


@pytest.mark.parametrize(
    ("value", "literals", "expected"),
    [
        (1, '"a", "b"', False),
        (1, '"a", 2', True),
        (1, '"a", 1', False),
        ("1", "1, 2", False),
        (True, "1, 2", False),
        (True, "false, 1", True),
        (None, '"a"', False),
    ],
)
def test_not_in_compares_with_what_is_of_the_same_type_only(value, literals, expected):
    assert matches(parse_filter(f"hyperparameters.x not in ({literals})"), lambda _: value) is expected


@given(FILTERS, st.sampled_from([MISSING, None, True, 1, 0.5, math.nan, "a", "", [1], {"a": 1}]))
def test_not_turns_every_filter_round(filter, value):
    expression = parse_filter(filter)
    if expression is not None:

        def look_up(field):
            if field.section == "tags":
                return ["a"]
            return value if field.section != "column" or value is not MISSING else None

        assert matches(Not(expression), look_up) is not matches(expression, look_up)


ORDER_VALUES = st.lists(st.sampled_from([None, -1, 0, 0.5, 2**60, "", "a", "b"]), min_size=2, max_size=2)


@given(ORDER_VALUES, ORDER_VALUES, ORDER_VALUES, st.booleans(), st.booleans())
def test_an_order_is_one(one, two, three, first, second):
    order = (Order(metric("a"), descending=first), Order(metric("b"), descending=second))
    assert (compare(one, two, order) > 0) == (compare(two, one, order) < 0)
    if compare(one, two, order) <= 0 and compare(two, three, order) <= 0:
        assert compare(one, three, order) <= 0
    assert (compare(one, two, order) == 0) == (one == two)


def test_missing_values_come_last_in_both_directions():
    for descending in (False, True):
        order = (Order(metric("a"), descending=descending),)
        assert compare([1], [None], order) < 0
        assert compare(["a"], [None], order) < 0
        assert compare([1], ["a"], order) < 0


def test_values_without_an_order_count_as_missing():
    assert [order_value(value) for value in (math.nan, None, [1], {}, MISSING, "a\0", "x" * (MAX_TEXT + 1))] == [
        None
    ] * 7
    assert [order_value(value) for value in (True, 10**400, -(10**400), "a", 2)] == [1.0, math.inf, -math.inf, "a", 2.0]


def test_every_order_is_made_total():
    newest = (Order(column("created_at"), descending=True), Order(column("entity_id"), descending=True))
    assert effective_order(Query()) == newest
    assert effective_order(Query(order_by="name")) == (Order(column("name")), newest[1])
    assert effective_order(Query(order_by="run_id, name")) == (Order(column("entity_id")),)


CURSOR_VALUES = st.tuples(
    st.one_of(
        st.none(),
        st.floats(allow_nan=False),
        st.integers(-(2**53) + 1, 2**53 - 1),
        TEXT.filter(lambda t: "\0" not in t),
    ),
    st.just("0197-id"),
)


@given(CURSOR_VALUES)
def test_cursors_come_back(values):
    query = Query(order_by="metrics.auc")
    cursor = encode_cursor(query, values)
    assert re.fullmatch(r"[\w-]+", cursor)
    found = decode_cursor(Query(order_by="metrics.auc", cursor=cursor))
    assert [repr(value) for value in found] == [repr(value) for value in values]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "project"},
        {"filter": "name = 'a'"},
        {"order_by": "name desc"},
        {"within": "x"},
        {"include_deleted": True},
    ],
)
def test_a_cursor_belongs_to_its_query(change):
    cursor = encode_cursor(Query(order_by="name"), ("a", "id"))
    assert decode_cursor(Query(order_by="name", cursor=cursor, limit=5, fields=("name",))) == ("a", "id")
    with pytest.raises(QuerySyntaxError, match="another query"):
        decode_cursor(Query(**{"order_by": "name", "cursor": cursor, **change}))


@pytest.mark.parametrize(
    "values", [["a"], [5, "id"], ["a", None], [True, "id"], [["a"], "id"], [{}, "id"], ["a\0", "id"], None, "ab"]
)
def test_forged_cursors_are_refused(values):
    query = Query(order_by="name")
    data = json.loads(base64.urlsafe_b64decode(encode_cursor(query, ("a", "id")) + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**data, "v": values}).encode()).decode()
    with pytest.raises(QuerySyntaxError, match="cursor"):
        decode_cursor(Query(order_by="name", cursor=forged))


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_no_cursor(text):
    with pytest.raises(QuerySyntaxError):
        decode_cursor(Query(cursor=text))


def test_fields_pick_parts_of_a_document():
    document = {
        "name": "a",
        "status": "finished",
        "description": "d",
        "metrics": {"auc": 1, "f1": 2},
        "hyperparameters": {"opt": {"name": "adam", "lr": 1}, "a.b": 3, "a": {"c": 4, "b": 5}},
    }
    names = (
        "metrics.auc",
        "hyperparameters.opt.lr",
        "hyperparameters.a.b",
        "hyperparameters.a.c",
        "hyperparameters.nowhere.x",
    )
    assert parse_fields(names, "run").document(document) == {
        "name": "a",
        "status": "finished",
        "metrics": {"auc": 1},
        "hyperparameters": {"opt": {"lr": 1}, "a.b": 3, "a": {"c": 4}},
    }
    assert parse_fields(("description", "run_id"), "run").document(document) == {
        "name": "a",
        "status": "finished",
        "description": "d",
    }
    assert parse_fields(("metrics", "metrics.auc"), "run").document(document)["metrics"] == {"auc": 1, "f1": 2}


def test_an_aggregate_asks_for_the_series():
    wanted = parse_fields(("metrics.loss.max", 'metrics."acc.max"', "series.lr"), "run")
    assert wanted.keys["series"] == ("loss", "lr")
    assert wanted.keys["metrics"] == ("acc.max",)


def test_a_column_that_is_worked_out_brings_what_it_is_worked_out_from():
    assert parse_fields(("experiment", "duration"), "run").whole >= {"experiment_id", "started_at", "finished_at"}


@pytest.mark.parametrize(
    "name", ["", "nobody", "metrics..a", ".metrics", "metrics.", "metrics.a b", 'metrics."a', "dataset", "a,b"]
)
def test_fields_that_do_not_exist_are_refused(name):
    with pytest.raises(QuerySyntaxError):
        parse_fields((name,), "run")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"kind": "gadget"}, InvalidArgumentError),
        ({"limit": -1}, InvalidArgumentError),
        ({"limit": 100_001}, InvalidArgumentError),
        ({"limit": "5"}, InvalidArgumentError),
        ({"limit": True}, InvalidArgumentError),
        ({"filter": None}, InvalidTypeError),
        ({"order_by": 5}, InvalidTypeError),
        ({"within": 5}, InvalidTypeError),
        ({"cursor": b"x"}, InvalidTypeError),
        ({"fields": "name"}, InvalidTypeError),
    ],
)
def test_queries_take_only_what_makes_sense(arguments, error):
    with pytest.raises(error):
        Query(**arguments)


def test_fields_may_be_any_list():
    assert Query(fields=["name", "status"]).fields == ("name", "status")


def test_many_threads_parse_at_once():
    results = []

    def work(number):
        results.append(parse_filter(f"metrics.a{number} = {number} or (name = 'x' and not tags exists)") is not None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 16


def test_importing_queries_does_not_import_the_parser():
    code = (
        "import sys, modeldb_core.queries; assert not {'lark', 'numpy', 'sqlalchemy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_every_filter_in_the_documentation_parses():
    filters = [line for block in blocks("filter") for line in block.splitlines() if line.strip()]
    assert len(filters) > 40
    for line in filters:
        text, _, comment = line.partition("   #")
        kind = re.search(r"\((\w+)s\)", comment)
        parse_filter(text, kind.group(1) if kind else "run")


def test_every_order_in_the_documentation_parses():
    orders = [line for block in blocks("order") for line in block.splitlines() if line.strip()]
    assert len(orders) > 3
    for line in orders:
        assert parse_order(line.partition("   #")[0])


def test_every_mistake_in_the_documentation_is_one():
    mistakes = [line for block in blocks("mistake") for line in block.splitlines() if line.strip()]
    assert len(mistakes) > 5
    for line in mistakes:
        with pytest.raises(QuerySyntaxError):
            parse_filter(line.partition("   #")[0])


def test_the_documentation_names_every_column_and_operator():
    text = DOCS.read_text(encoding="utf-8")
    for kind, columns in COLUMNS.items():
        for name in columns:
            assert f"`{name}`" in text, f"{name} of {kind} is not documented"
    for word in (
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "contains",
        "startswith",
        "endswith",
        "like",
        "in",
        "not in",
        "exists",
        "not exists",
        "is null",
        "is not null",
        "and",
        "or",
        "not",
    ):
        assert f"`{word}`" in text, f"{word} is not documented"


# -- what a program that only logs asks ------------------------------------------------------------------------------

NUMBER = Field("column", "version")
WRITTEN = [
    Or((Compare(NUMBER, "=", 0), IsNull(NUMBER))),
    And(
        (Compare(NUMBER, ">", -1), Or((IsNull(NUMBER, negated=True), Compare(Field("column", "name"), "!=", 'a "b"'))))
    ),
]


@pytest.mark.parametrize("expression", WRITTEN)
def test_a_filter_that_was_written_from_its_tree_is_read_as_that_tree(expression):
    text = write_filter(expression, "dataset_version")
    assert parse_filter(text, "dataset_version") is expression
    assert parse_filter(f"{text} ", "dataset_version") == expression, "by the parser"


def test_what_cannot_be_written_as_a_filter_is_refused():
    with pytest.raises(TypeError, match="not made of columns"):
        write_filter(Exists(Field("metrics", "auc")), "run")


@pytest.mark.parametrize("order", ["name", "created_at, entity_id", " name DESC ,status asc,created_at"])
def test_an_order_by_columns_alone_means_what_the_parser_says(order):
    by_the_parser = parse_order(f"{order}, metrics.a")
    assert parse_order(order) == by_the_parser[:-1]


def test_simple_orders_and_filters_of_the_program_import_no_parser():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from modeldb_core.queries import *\n"
            "assert len(parse_order('name desc, entity_id')) == 2\n"
            "parse_filter(write_filter(IsNull(Field('column', 'name')), 'run'))\n"
            "print('lark' in sys.modules)\n"
            "parse_filter('name is null and metrics.a > 1'), print('lark' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
