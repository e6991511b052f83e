"""Filters that are made of values mean those values, whatever characters they have."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeldb_core
from modeldb_core.model.entities import is_id, new_id
from modeldb_core.queries import COLUMN, And, Compare, Field, In, condition, parse_filter

HOSTILE = [
    *("' or status = 'running' or stream_id = '", '" or status = "running', '""', '"', "'", "\\", "\\'", "?", "%", ")"),
    *("a) or (b", "now - 7d", "\n", "\0", "--", "/*", "ａ", "", " ", "`", "null", "{}", "\u2028", "x" * 900),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_only_a_value(text: str) -> None:
    parsed = parse_filter(condition("stream_id = ? and status in ?", text, (text, "lost")))
    stream, status = Field(COLUMN, "stream_id"), Field(COLUMN, "status")
    assert parsed == And((Compare(stream, "=", text), In(status, (text, "lost"))))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_any_text_is_only_a_value(text: str) -> None:
    assert parse_filter(condition("name = ?", text)) == Compare(Field(COLUMN, "name"), "=", text)


def test_numbers_truth_values_and_times_are_values() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    microseconds = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_filter(condition("deleted_at < ?", time)) == Compare(Field(COLUMN, "deleted_at"), "<", microseconds)
    key = Field("hyperparameters", "k")
    assert parse_filter(condition("hyperparameters.k in ?", [True, -3])) == In(key, (True, -3))


def test_what_is_no_value_is_refused() -> None:
    for values in ((), ("a", "b")):
        with pytest.raises(ValueError, match="1 places"):
            condition("name = ?", *values)
    with pytest.raises(ValueError, match="no offset"):
        condition("deleted_at < ?", datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="at least one"):
        condition("name in ?", [])
    for value in (None, b"bytes", 1.5, [None], [["a"]]):
        with pytest.raises(TypeError, match=r"is of type \w+; expected"):
            condition("name in ?", value)  # type: ignore[arg-type]


def test_no_filter_of_the_product_is_made_by_formatting_text() -> None:
    made = re.compile(r"""filter\s*=\s*(?:f["']|["'][^"']*["']\s*(?:%|\.format|\+))""")
    folder = Path(modeldb_core.__file__).parent
    found = [path for path in folder.rglob("*.py") if made.search(path.read_text("utf-8"))]
    assert found == []


def test_identifiers_have_one_form() -> None:
    assert is_id(new_id())
    for text in (*HOSTILE, new_id().upper(), new_id() + "\n", f" {new_id()}", new_id().replace("-", ""), None, 7):
        assert not is_id(text)
